"""New UIDs by a keyed hash: the same old UID becomes the same new one in every file, worker and later run."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from functools import cache, lru_cache

from pacsifier.deidentify.engine.profile import read_words

# What looks like a UID inside other bytes: made of a UUID, or at least six components, so that version numbers stay.
# What must not stand before is asked behind the first component: so headers of 64 kB take an eighth of the time.
IN_BYTES = re.compile(
    rb"[0-2]\.(?<![0-9.][0-2]\.)(?:(?<=2\.)25\.[1-9][0-9]{15,38}|(?:0|[1-9][0-9]{0,38})(?:\.(?:0|[1-9][0-9]{0,38})){4,})"
    rb"(?![0-9]|\.[0-9])"
)
_SHORTEST_IN_BYTES = 14
# The second part of every UID, between its dots, and a digit of the third: no UID begins in another one's parts.
_SECOND_PART = re.compile(rb"\.[0-9]{1,39}\.[0-9]")


@lru_cache(maxsize=1 << 13)
def new_uid(secret: bytes, old: str) -> str:
    """The new UID of an old one: 128 bits of HMAC-SHA256 as a UUID of version 8 under 2.25 (PS3.5 B.2, RFC 9562)."""
    digest = bytearray(_digest(secret, b"uid", old)[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"


def same_length_uid(secret: bytes, old: str) -> str:
    """A new UID as long as the old one, for places where no byte may move; not the one that `new_uid` returns."""
    number = str(int.from_bytes(_digest(secret, b"uid in place", old) * 2, "big"))
    return "2.25." + ("1" + number)[: len(old) - 5]


def derived_name(secret: bytes, old: str) -> str:
    """A short name that replaces an old one everywhere."""
    return f"ID-{_digest(secret, b'name', old)[:6].hex()}"


def drawn_shift(secret: bytes, person: str) -> int:
    """The day shift of a person: -30 to 30, never 0."""
    number = int.from_bytes(_digest(secret, b"day shift", person)[:8], "big") % 60
    return number - 30 if number < 30 else number - 29


def drawn_place(secret: bytes, person: str) -> str:
    """By which a person is sorted where the order must tell nothing of the identifiers."""
    return _digest(secret, b"place", person).hex()


@cache
def registered() -> frozenset[str]:
    """The UIDs of the standard itself."""
    return read_words("registered_uids.txt")


def replace_in_bytes(raw: bytes, secret: bytes) -> bytes:
    """The bytes with every UID in them that is not the standard's own replaced by one of equal length."""
    parts, done = [], 0
    for start, stop in in_bytes(raw):
        old = raw[start:stop].decode("ascii")
        if len(old) >= _SHORTEST_IN_BYTES and old not in registered():
            parts += [raw[done:start], same_length_uid(secret, old).encode("ascii")]
            done = stop
    return b"".join([*parts, raw[done:]]) if parts else raw


def in_bytes(raw: bytes) -> Iterator[tuple[int, int]]:
    """Where UIDs stand in bytes: as the pattern finds them, by their dots, which takes half of the time."""
    for dot in _SECOND_PART.finditer(raw):
        if dot.start() and (found := IN_BYTES.match(raw, dot.start() - 1)):
            yield found.span()


def _digest(secret: bytes, purpose: bytes, value: str) -> bytes:
    return hmac.digest(secret, purpose + b"\0" + value.encode("utf-8", "surrogateescape"), "sha256")
