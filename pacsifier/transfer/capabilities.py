"""What a PACS can do, as `pacsifier --check` found out or a run learned: frozen, kept in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pacsifier.config import PacsConfig, departures, load_json, repeats
from pacsifier.disk.files import write_whole
from pacsifier.errors import Fault, InputError

FORMAT: Final = 1
LEVELS: Final = ("STUDY", "SERIES", "IMAGE")
_TOLD: Final = {"type": ["boolean", "null"], "description": "true, false, or null (not known)"}
_KEYS: Final = {
    "type": "object",
    "additionalProperties": {"type": "boolean", "description": "true or false"},
    "description": "an object of attribute keywords, each true or false",
}
# The description of each key is what a message names as allowed.
SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "format": {"const": FORMAT, "description": f"{FORMAT}, the only format that this version reads"},
        "server": {
            "type": "object",
            "properties": {
                "server_address": {"type": "string", "description": "the PACS's address, as in the config"},
                "port": {"type": "integer", "description": "the PACS's port, as in the config"},
                "server_AET": {"type": "string", "description": "the PACS's AE title, as in the config"},
            },
            "required": ["server_address", "port", "server_AET"],
            "additionalProperties": False,
            "description": "an object that names the PACS by server_address, port and server_AET",
        },
        "checked_at": {"type": "string", "description": "date and time of the check, as text"},
        "uid_lists": _TOLD,
        "image_moves": _TOLD,
        "associations": {
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "an integer from 1, or null (not known)",
        },
        "relational": _TOLD,
        "c_get": _TOLD,
        "retrieve_method": {
            "enum": ["move", "get", "auto", None],
            "description": "move, get, auto, or null (not known)",
        },
        "returned_keys": {
            "type": "object",
            "properties": dict.fromkeys(LEVELS, _KEYS),
            "additionalProperties": False,
            "description": f"an object with the levels {', '.join(LEVELS)}",
        },
    },
    "required": ["format", "server", "uid_lists", "image_moves", "associations"],
    "additionalProperties": False,
    "description": "a JSON object as pacsifier --check writes it",
}


@dataclass(frozen=True)
class Capabilities:
    """Abilities that change how a run asks; the defaults are what most PACS can do.

    `uid_lists`: C-MOVE of several SeriesInstanceUIDs in one identifier; `study_lists`: of several StudyInstanceUIDs,
    and `whole_studies`: of one alone, which a run learns and no file holds; `image_moves`: C-MOVE at the IMAGE level;
    `associations`: how many it admits at a time, None: not known.
    """

    uid_lists: bool = True
    image_moves: bool = True
    associations: int | None = None
    study_lists: bool = True
    whole_studies: bool = True


USUAL = Capabilities()


@dataclass(frozen=True)
class Seen:
    """What a check saw of a PACS; None: it was not tried, or nothing can be said.

    `c_get`: images come by C-GET; `retrieve_method`: the way that it recommends.
    `relational`: a SERIES-level C-FIND of a SeriesInstanceUID alone is answered rightly; `returned_keys`: level ->
    keyword -> whether any answer held that key.
    """

    uid_lists: bool | None = None
    image_moves: bool | None = None
    associations: int | None = None
    relational: bool | None = None
    c_get: bool | None = None
    retrieve_method: str | None = None
    returned_keys: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)


def load_capabilities(path: Path, config: PacsConfig) -> Capabilities:
    """Reads what `save_capabilities` wrote; what is not known there is taken as usual.

    Raises:
        InputError: every fault at once (file, key, value, what is allowed), or the file is of another PACS.
    """
    document, repeated = load_json(path)
    faults = repeats(str(path), repeated)
    faults += [each.fault(str(path)) for each in departures(document, SCHEMA)]
    if faults:
        raise InputError(*faults)
    if (there := _key(document["server"])) != (here := _key(_server(config))):
        raise InputError(
            Fault(
                str(path),
                f"is of another PACS than the config: {_named(there)} there, {_named(here)} in the config; "
                f"make one for this PACS with --check --capabilities FILE",
                column="server",
            )
        )
    known = {each.name: document[each.name] for each in fields(Capabilities) if each.name in document}
    if known["associations"] is not None:
        # JSON knows no difference between 2 and 2.0.
        known["associations"] = int(known["associations"])
    return Capabilities(**{name: value for name, value in known.items() if value is not None})


def save_capabilities(path: Path, config: PacsConfig, seen: Seen) -> None:
    """Writes what a check saw, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    document = {
        "format": FORMAT,
        "server": _server(config),
        "checked_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        **{each.name: getattr(seen, each.name) for each in fields(Seen)},
    }
    try:
        write_whole(path, json.dumps(document, indent=4) + "\n", 0o666)
    except OSError as error:
        raise InputError(Fault(str(path), f"cannot be written: {error.strerror or error}")) from error


def _server(config: PacsConfig) -> dict[str, Any]:
    return {
        "server_address": config.server_address,
        "port": config.port,
        "server_AET": config.server_aet,
    }


def _key(server: Mapping[str, Any]) -> tuple[str, int, str]:
    # Names of hosts know no case; blanks around an AE title are not significant (PS3.5 6.2).
    return server["server_address"].casefold(), server["port"], server["server_AET"].strip()


def _named(key: tuple[str, int, str]) -> str:
    address, port, ae_title = key
    return f"{ae_title} at {address}:{port}"
