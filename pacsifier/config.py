"""The configuration file: JSON, checked against a schema, as a frozen object."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pacsifier.errors import Fault, InputError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

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
_PROPERTIES: Final[Mapping[str, Mapping[str, Any]]] = PACS_SCHEMA["properties"]
_LONGEST_SHOWN: Final = 100


@dataclass(frozen=True)
class PacsConfig:
    """The PACS, our own AE title and the move destination; `batch_size` counts series.

    AE titles carry no leading or trailing blanks: those are not significant (PS3.5 6.2, VR AE).
    """

    server_address: str
    port: int
    server_aet: str
    aet: str
    move_aet: str
    move_port: int
    batch_size: int
    batch_wait_s: float


def load_pacs_config(path: Path) -> PacsConfig:
    """Read and check the PACS configuration file.

    Raises InputError with every fault at once: file, key, value, what is allowed. Source: the section
    "Configuration File" of the documentation.
    """
    document, repeated = load_json(path)
    faults = [Fault(str(path), "the key stands twice: keep one", column=key) for key in repeated]
    faults += _faults(str(path), document)
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


def load_json(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The JSON document of a file, and the keys that stand twice in it; InputError when it is none."""
    source = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(Fault(source, f"cannot be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise InputError(
            Fault(source, f"is not UTF-8 text (byte {error.start + 1}): save it as UTF-8")
        ) from error
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
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(Fault(source, f"is not JSON: {error.msg} ({place})")) from error
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


def _faults(source: str, document: Any) -> Iterator[Fault]:
    """Every fault of a document, in the order of the schema, then the keys it does not know."""
    from jsonschema import Draft202012Validator

    if not isinstance(document, dict):
        kind = type(document).__name__
        yield Fault(source, f"holds no JSON object ({{...}}) but a {kind}", value=shown(document))
        return
    by_key: dict[str, ValidationError] = {}
    for error in Draft202012Validator(PACS_SCHEMA).iter_errors(document):
        if error.absolute_path:
            by_key.setdefault(str(error.absolute_path[0]), error)
    for key, schema in _PROPERTIES.items():
        if key in by_key:
            yield Fault(source, _problem(key, document[key]), column=key, value=shown(document[key]))
        elif key not in document and not (key == "server_address" and "server_ip" in document):
            yield Fault(source, f"the key is missing; allowed: {schema['description']}", column=key)
    for key in document:
        if key not in _PROPERTIES:
            yield Fault(source, _unknown_key(key), column=key, value=shown(document[key]))


def _problem(key: str, value: Any) -> str:
    """What is wrong with the value of a documented key: what is allowed, and how PACSMAN wrote it."""
    schema = _PROPERTIES[key]
    problem = f"allowed: {schema['description']}"
    if schema["type"] != "string" and isinstance(value, str) and _is_number(value):
        problem += f" (migrating from PACSMAN? string → {schema['type']}: write {value.strip()})"
    return problem


def _is_number(text: str) -> bool:
    stripped = text.strip()
    return stripped.isascii() and stripped.replace(".", "", 1).isdigit()


def _unknown_key(key: str) -> str:
    if key == "server_ip":
        return "migrating from PACSMAN? server_ip → server_address: rename the key"
    lower = {name.lower(): name for name in _PROPERTIES}
    nearest = difflib.get_close_matches(key.lower(), lower, n=1)
    hint = f"did you mean {lower[nearest[0]]}? " if nearest else ""
    return f"unknown key; {hint}allowed: {', '.join(_PROPERTIES)}"


def shown(value: Any) -> str:
    """A value as a message shows it: text as it is, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
