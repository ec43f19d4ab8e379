"""Text of a data set by its SpecificCharacterSet (0008,0005): PS3.3 section C.12.1.1.2, PS3.5 section 6.1."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

# PS3.3 table C.12-2 to C.12-5, single-byte and stand-alone; keys without blanks, hyphens and underscores.
_CODECS = {
    b"ISOIR13": "shift_jis",
    b"ISOIR100": "latin_1",
    b"ISOIR101": "iso8859_2",
    b"ISOIR109": "iso8859_3",
    b"ISOIR110": "iso8859_4",
    b"ISOIR126": "iso8859_7",
    b"ISOIR127": "iso8859_6",
    b"ISOIR138": "iso8859_8",
    b"ISOIR144": "iso8859_5",
    b"ISOIR148": "iso8859_9",
    b"ISOIR166": "tis_620",
    b"ISOIR192": "utf_8",
    b"ISOIR203": "iso8859_15",
    b"ISOIR58": "gb2312",
    b"ISOIR87": "iso2022_jp",
    b"ISOIR149": "euc_kr",
    b"ISOIR159": "iso2022_jp_2",
    b"GB18030": "gb18030",
    b"GBK": "gbk",
}


def decode_text(raw: bytes, character_sets: bytes) -> str:
    """Decode a text value by the raw value of SpecificCharacterSet; the padding of the value stays.

    Without a character set (or with an unknown one) the value is taken for UTF-8, and where it is not, for
    Latin-1: many PACS do not declare what they send. Bytes that the declared set does not know become U+FFFD;
    never raises. Code extensions need pydicom. Source: DICOM PS3.3 section C.12.1.1.2, PS3.5 section 6.1.
    """
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    terms = [term.translate(None, b" _-\0").upper() for term in character_sets.split(b"\\")]
    if b"\x1b" in raw and any(terms):
        return _decode_extended(raw, terms)
    codec = _CODECS.get(terms[0].replace(b"2022", b""))
    if codec:
        return raw.decode(codec, "replace")
    try:
        return raw.decode("utf_8")
    except UnicodeDecodeError:
        return raw.decode("latin_1")


def encode_like(text: str, raw: bytes, character_sets: bytes) -> bytes:
    """Encode a shortened text as the value `raw` was encoded, of which it is made; never raises.

    What the character set cannot hold becomes `?`, which only text that was not in `raw` can do.
    """
    if text.isascii():
        return text.encode("ascii")
    terms = [term.translate(None, b" _-\0").upper() for term in character_sets.split(b"\\")]
    if b"\x1b" in raw:
        return _encode_extended(text, terms)
    codec = _CODECS.get(terms[0].replace(b"2022", b""))
    if not codec:
        try:
            raw.decode("utf_8")
            codec = "utf_8"
        except UnicodeDecodeError:
            codec = "latin_1"
    return text.encode(codec, "replace")


def encode_text(text: str) -> tuple[str, bytes]:
    """Return the plainest SpecificCharacterSet that holds the text ('', ISO_IR 100, ISO_IR 192), and its bytes."""
    if text.isascii():
        return "", text.encode("ascii")
    try:
        return "ISO_IR 100", text.encode("latin_1")
    except UnicodeEncodeError:
        return "ISO_IR 192", text.encode("utf_8", "replace")


def _decode_extended(raw: bytes, terms: Sequence[bytes]) -> str:
    """Decode a value with escape sequences (ISO 2022, PS3.5 section 6.1.2.5)."""
    from pydicom import charset

    encodings = _pydicom_encodings(terms)
    delimiters = set(b"\t\n\f\r^=\\")  # each ends a designation made by an escape sequence
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(charset.decode_bytes(raw, encodings, delimiters))
        except (LookupError, ValueError):
            return raw.decode("latin_1")


def _encode_extended(text: str, terms: Sequence[bytes]) -> bytes:
    """Encode a value with escape sequences."""
    from pydicom import charset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bytes(charset.encode_string(text, _pydicom_encodings(terms)))
        except (LookupError, ValueError):
            return text.encode("ascii", "replace")


def _pydicom_encodings(terms: Sequence[bytes]) -> list[str]:
    from pydicom import charset

    codecs = {
        name.translate({32: None, 95: None}).encode(): codec
        for name, codec in charset.python_encoding.items()
    }
    return [codecs.get(term, "latin_1") for term in terms]
