"""The configuration files: JSON, checked against a schema, as frozen objects."""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import operator
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, NoReturn

from pacsifier.errors import Fault, InputError

log = logging.getLogger(__name__)

_PORT: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": 65535,
    "description": "an integer from 1 to 65535, without quotes",
}
_AE_TITLE: Final = {
    "type": "string",
    # PS3.5 table 6.2-1: printable ASCII without backslash; a title of blanks only is no title.
    "pattern": r"^(?=[ ]*[^ ])[ -\[\]-~]{1,16}\Z",
    "description": "an AE title: 1 to 16 printable ASCII characters, no backslash, not only blanks",
}
# The description of each key is what a message names as allowed.
PACS_SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "server_address": {
            "type": "string",
            # A host name or IPv4 address, or an IPv6 address: two colons at least, which `host:104` has not.
            "pattern": r"^(?:\w[\w.-]*|[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(?:%[\w.-]+)?)\Z",
            "maxLength": 255,
            "description": "a host name or IP address, without blanks and without the port",
        },
        "port": _PORT,
        "server_AET": _AE_TITLE,
        "AET": _AE_TITLE,
        "move_AET": _AE_TITLE,
        "move_port": _PORT,
        "batch_size": {
            "type": "integer",
            "minimum": 1,
            "description": "an integer from 1 (series before a pause), without quotes",
        },
        "batch_wait_time": {
            "type": "number",
            "minimum": 0,
            # A year: longer is a slip of the hand, and no clock of the system sleeps for 1e300 s.
            "maximum": 31_536_000,
            "description": "a number of seconds from 0 (at most a year), without quotes",
        },
    },
    "required": [
        "server_address",
        "port",
        "server_AET",
        "AET",
        "move_AET",
        "move_port",
        "batch_size",
        "batch_wait_time",
    ],
    "additionalProperties": False,
}
DEID_SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "deid_URL": {
            "type": "string",
            # `_shift` is appended to it: nothing may follow the path. A password in a URL ends in logs of proxies.
            "pattern": r"^(?i:https?)://[^\s/?#@\\]+(?:/[^\s?#\\]*)?\Z",
            "maxLength": 2000,
            "description": "an address that begins with https:// (or http://), without user, password, ? and #",
        },
        "deid_token": {
            "type": "string",
            "pattern": r"^[!-~]{1,4096}\Z",
            "description": "the token of the service: printable ASCII characters without blanks "
            "(its value is never shown)",
        },
    },
    "required": ["deid_URL", "deid_token"],
    "additionalProperties": False,
}
_FILE: Final = {
    "type": "string",
    "pattern": r"^[^\0\r\n]+\Z",
    "description": "the path of a file, from where this file lies",
}
# What holds for every run of a site; the configuration has no keys for it.
SITE_SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "tls": {"type": "boolean", "description": "true or false, without quotes"},
        "tls_ca": {**_FILE, "description": "the path of a file or folder, from where this file lies"},
        "tls_cert": _FILE,
        "tls_key": _FILE,
        "tls_name": {
            "type": "string",
            "pattern": r"^\w[\w.:-]*\Z",
            "maxLength": 253,
            "description": "a host name or IP address, without blanks and without the port",
        },
        "tls_plain_images": {"type": "boolean", "description": "true or false, without quotes"},
    },
    "additionalProperties": False,
}
_FILES_OF_SITE: Final = ("tls_ca", "tls_cert", "tls_key")
TOKEN_FROM_ENVIRONMENT: Final = "DEID_TOKEN"  # noqa: S105 - a name
_LONGEST_SHOWN: Final = 100
_PLAIN_WORDS: Final = frozenset(
    {"$schema", "type", "properties", "required", "additionalProperties", "description"}
    | {"pattern", "maxLength", "minimum", "maximum"}
)
_PLAIN_TYPES: Final[Mapping[str, type[Any]]] = {
    **{"string": str, "integer": int, "number": int},
    **{"boolean": bool, "object": dict},
}


@dataclass(frozen=True)
class Tls:
    """How a PACS is asked by DICOM TLS (PS3.15 B); always verified.

    `ca`: a PEM file, or a folder of such, of the certificates that are trusted: those of authorities, or the PACS's
    own, whose name then does not matter; None: the authorities of this system. `cert` and `key`: our own certificate
    and its private key. `name`: the name that the certificate of the PACS must have; "": server_address.
    `plain_images`: what C-MOVE brings comes unencrypted.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    name: str = ""
    plain_images: bool = False


@dataclass(frozen=True)
class PacsConfig:
    """The PACS, our own AE title and the move destination; `batch_size` counts series.

    AE titles carry no leading or trailing blanks: those are not significant (PS3.5 6.2, VR AE). `tls` stands in no
    configuration file, which holds its eight keys: it comes from options or a site file; None: nothing is encrypted.
    """

    server_address: str
    port: int
    server_aet: str
    aet: str
    move_aet: str
    move_port: int
    batch_size: int
    batch_wait_s: float
    tls: Tls | None = None

    @property
    def receiver_tls(self) -> Tls | None:
        """With what our receiver encrypts; None: images come to it in plain."""
        return None if self.tls is None or self.tls.plain_images else self.tls


@dataclass(frozen=True)
class DeidServiceConfig:
    """The de-ID service: `url` answers pseudonyms, `url` + `_shift` day shifts; `token` appears in no message."""

    url: str
    token: str = field(repr=False)


def load_deid_config(path: Path) -> DeidServiceConfig:
    """Read and check the configuration of the de-ID service; DEID_TOKEN of the environment wins over its token.

    Warns where others may read a file with a token.
    Raises InputError with every fault at once, and never with a value that may be the token.
    """
    document, repeated = load_json(path)
    if isinstance(document, dict) and document.get("deid_token"):
        _warn_of_readers(path)
    from_environment = os.environ.get(TOKEN_FROM_ENVIRONMENT, "").strip()
    if from_environment and isinstance(document, dict):
        document = {**document, "deid_token": from_environment}
    faults = repeats(str(path), repeated)
    faults += _faults(str(path), document, DEID_SCHEMA, secret=True)
    if faults:
        raise InputError(*faults)
    return DeidServiceConfig(url=document["deid_URL"], token=document["deid_token"])


def _warn_of_readers(path: Path) -> None:
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
            log.warning("%s holds a token, and others may read it: chmod 600 %s", path, path)


def load_pacs_config(config: Path | Mapping[str, object]) -> PacsConfig:
    """Read and check the PACS configuration: its file, or a mapping of its keys, which messages call "config".

    Raises InputError with every fault at once: file, key, value, what is allowed. Source: the section
    "Configuration File" of the documentation.
    """
    if isinstance(config, Path):
        source = str(config)
        document, repeated = load_json(config)
    else:
        source = "config"
        document, repeated = _json(source, _as_json(source, config))
    faults = repeats(source, repeated)
    faults += _faults(source, document, PACS_SCHEMA)
    if faults:
        raise InputError(*faults)
    return PacsConfig(
        server_address=document["server_address"],
        port=int(document["port"]),
        server_aet=document["server_AET"].strip(),
        aet=document["AET"].strip(),
        move_aet=document["move_AET"].strip(),
        move_port=int(document["move_port"]),
        batch_size=int(document["batch_size"]),
        batch_wait_s=float(document["batch_wait_time"]),
    )


def load_site(path: Path) -> dict[str, Any]:
    """Read and check a site file: what it gives of the keys of its schema, with paths made absolute.

    Raises InputError with every fault at once.
    """
    document, repeated = load_json(path)
    faults = repeats(str(path), repeated)
    faults += _faults(str(path), document, SITE_SCHEMA)
    if faults:
        raise InputError(*faults)
    files = {key: path.absolute().parent / document[key] for key in _FILES_OF_SITE if key in document}
    return {**document, **files}


def load_json(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The JSON document of a file, and the keys that stand twice in it; raises InputError where it holds none."""
    source = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(Fault(source, f"cannot be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise InputError(
            Fault(source, f"is not UTF-8 text (byte {error.start + 1}): save it as UTF-8")
        ) from error
    return _json(source, text)


def _as_json(source: str, mapping: Mapping[str, object]) -> str:
    """A mapping as the text of a file that holds it; a path is text, a number of numpy is a number."""

    def plain(value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else operator.index(value)

    try:
        return json.dumps(dict(mapping), default=plain)
    except (TypeError, ValueError) as error:
        raise InputError(Fault(source, f"holds what a JSON file cannot hold: {error}")) from error


def _json(source: str, text: str) -> tuple[Any, tuple[str, ...]]:
    if not text.strip():
        raise InputError(Fault(source, "is empty: a JSON object with the documented keys is expected"))
    repeated: list[str] = []
    try:
        document = json.loads(
            text,
            object_pairs_hook=lambda pairs: _object(pairs, repeated),
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise InputError(Fault(source, f"is not JSON: {error.msg} ({at})")) from error
    except (ValueError, RecursionError) as error:
        raise InputError(Fault(source, f"is not a JSON document that can be used: {error}")) from error
    return document, tuple(dict.fromkeys(repeated))


def _object(pairs: list[tuple[str, Any]], repeated: list[str]) -> dict[str, Any]:
    """A JSON object; notes the keys that stand twice, of which `json` would keep the last without a word."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            repeated.append(key)
        result[key] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def repeats(source: str, keys: Iterable[str]) -> list[Fault]:
    """The faults of a document in which these keys stand twice."""
    return [Fault(source, "the key stands twice: keep one", column=key) for key in keys]


# --- against a schema ---------------------------------------------------------------------------------------------


class Breach(Enum):
    """How a document departs from a schema; the value begins the message."""

    MISSING = "the key is missing; "
    UNKNOWN = "unknown key; "
    WRONG = ""


@dataclass(frozen=True)
class Departure:
    """One departure: the keys that lead there, the part of the schema that says what is allowed, what stands there."""

    breach: Breach
    keys: tuple[str, ...]
    rule: Mapping[str, Any]
    value: Any = None

    def fault(self, source: str, *, hint: str = "", note: str = "", secret: bool = False) -> Fault:
        """As a message says it, with a hint before and a note after what is allowed; `secret`: without the value."""
        unknown = self.breach is Breach.UNKNOWN
        allowed = ", ".join(self.rule["properties"]) if unknown else self.rule["description"]
        value = None if secret or self.breach is Breach.MISSING else in_message(self.value)
        problem = f"{self.breach.value}{hint}allowed: {allowed}{note}"
        return Fault(source, problem, column=".".join(self.keys) or None, value=value)


def departures(document: Any, schema: Mapping[str, Any]) -> list[Departure]:
    """Every departure of a document from a schema: wrong values, then missing keys, then unknown ones."""
    if _is_plainly_sound(document, schema):
        return []
    from jsonschema import Draft202012Validator

    found: dict[tuple[str, ...], Departure] = {}
    for error in Draft202012Validator(schema).iter_errors(document):
        keys, rule, value = tuple(map(str, error.absolute_path)), error.schema, error.instance
        # `required` tells of all missing keys once for every one that is missing.
        if error.validator == "required":
            told = [
                Departure(Breach.MISSING, (*keys, key), rule["properties"][key])
                for key in rule["required"]
                if key not in value
            ]
        elif error.validator == "additionalProperties":
            told = [
                Departure(Breach.UNKNOWN, (*keys, key), rule, value[key])
                for key in value
                if key not in rule["properties"]
            ]
        else:
            told = [Departure(Breach.WRONG, keys, rule, value)]
        for each in told:
            found.setdefault(each.keys, each)
    return [*found.values()]


def _is_plainly_sound(value: Any, rule: Mapping[str, Any]) -> bool:
    """Whether a value surely keeps a schema; where this does not know a word of it, jsonschema has to say.

    Nearly every run has a sound configuration, and the import of jsonschema costs 45 to 75 ms of CPU.
    """
    if rule.keys() - _PLAIN_WORDS or type(value) is not _PLAIN_TYPES.get(str(rule.get("type"))):
        return False
    if isinstance(value, str):
        return len(value) <= rule.get("maxLength", len(value)) and bool(
            re.search(rule.get("pattern", ""), value)
        )
    if isinstance(value, int):
        return bool(rule.get("minimum", value) <= value <= rule.get("maximum", value))
    properties = rule.get("properties", {})
    return set(rule.get("required", ())) <= value.keys() <= properties.keys() and all(
        _is_plainly_sound(each, properties[key]) for key, each in value.items()
    )


def _faults(
    source: str, document: Any, schema: Mapping[str, Any], *, secret: bool = False
) -> Iterator[Fault]:
    """Every fault of a configuration, in the order of the schema, then the keys that it does not know.

    `secret`: show no value, for any of them may be one that nobody should read over a shoulder.
    """
    if not isinstance(document, dict):
        problem = f"holds no JSON object ({{...}}) but a {type(document).__name__}"
        yield Fault(source, problem, value=None if secret else in_message(document))
        return
    properties: Mapping[str, Any] = schema["properties"]
    order = [*properties, *document]
    for each in sorted(departures(document, schema), key=lambda each: order.index(each.keys[0])):
        (key,) = each.keys
        if each.breach is Breach.MISSING and key == "server_address" and "server_ip" in document:
            continue
        if each.breach is Breach.UNKNOWN and key == "server_ip" and "server_address" in properties:
            problem = "migrating from PACSMAN? server_ip → server_address: rename the key"
            yield Fault(source, problem, column=key, value=None if secret else in_message(each.value))
            continue
        hint = _nearest(key, properties) if each.breach is Breach.UNKNOWN else ""
        note = _note(key, each.rule, each.value) if each.breach is Breach.WRONG else ""
        yield each.fault(source, hint=hint, note=note, secret=secret)


def _note(key: str, rule: Mapping[str, Any], value: Any) -> str:
    if key == "server_address" and isinstance(value, str) and value.count(":") > 1 and set("[]") & set(value):
        return (
            " (an IPv6 address stands without brackets; DCMTK 3.6.7 knows IPv4 only: write an IPv4 address)"
        )
    return _as_pacsman(rule, value)


def _as_pacsman(rule: Mapping[str, Any], value: Any) -> str:
    """A note on a number that stands in quotes, as PACSMAN wrote it."""
    if rule["type"] == "string" or not isinstance(value, str) or not _is_number(value):
        return ""
    return f" (migrating from PACSMAN? string → {rule['type']}: write {value.strip()})"


def _is_number(text: str) -> bool:
    stripped = text.strip()
    return stripped.isascii() and stripped.replace(".", "", 1).isdigit()


def _nearest(key: str, properties: Mapping[str, Any]) -> str:
    lower = {name.lower(): name for name in properties}
    nearest = difflib.get_close_matches(key.lower(), lower, n=1)
    return f"did you mean {lower[nearest[0]]}? " if nearest else ""


def in_message(value: Any) -> str:
    """A value as a message shows it: text as it is, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
