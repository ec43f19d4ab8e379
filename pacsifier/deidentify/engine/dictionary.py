"""pydicom's dictionaries without the rest of pydicom, whose import takes longer than hundreds of instances.

Source: PS3.6, and pydicom's own list for private elements.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any


@cache
def _tables(name: str) -> Any:
    """A module of pydicom that holds only tables, loaded alone."""
    package = importlib.util.find_spec("pydicom")
    assert package is not None  # noqa: S101 - installed with pacsifier
    assert package.submodule_search_locations  # noqa: S101 - a package
    path = Path(package.submodule_search_locations[0], f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"pacsifier._{name}", path)
    assert spec is not None  # noqa: S101 - pydicom 3 has these files
    assert spec.loader is not None  # noqa: S101 - as above
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def public_vr(tag: int) -> str:
    """The VR of a public element, the first of several; UN where the dictionary has none."""
    if tag & 0xFFFF == 0:
        return "UL"
    return str(_entry(tag)[0])[:2]


@cache
def public_vrs(tag: int) -> frozenset[str]:
    """The VRs that a public element may have; UN alone where the dictionary has none."""
    return frozenset(str(_entry(tag)[0]).split(" or ")) if tag & 0xFFFF else frozenset(("UL",))


@cache
def keyword(tag: int) -> str:
    """The keyword of a public element, or ""."""
    return str(_entry(tag)[4])


def tags_of_group(group: int) -> tuple[int, ...]:
    """The tags of a group, retired ones too."""
    return tuple(tag for tag in _tables("_dicom_dict").DicomDictionary if tag >> 16 == group)


@cache
def private_vr(tag: int, creator: str) -> str:
    """The VR of a private element of a known creator; UN where the list has none."""
    return str(_private_entry(tag, creator)[0])[:2]


@cache
def private_name(tag: int, creator: str) -> str:
    """What a private element of a known creator is called, or ""."""
    return str(_private_entry(tag, creator)[2])


@cache
def private_groups(creator: str) -> frozenset[int]:
    """The groups in which the list knows elements of a creator."""
    elements = _tables("_private_dict").private_dictionaries.get(creator, {})
    return frozenset(int(each[:4], 16) for each in elements if "x" not in each[:4])


def _private_entry(tag: int, creator: str) -> tuple[str, ...]:
    elements = _tables("_private_dict").private_dictionaries.get(creator, {})
    group, element = tag >> 16, tag & 0xFF
    for key in (f"{group:04X}xx{element:02X}", f"{group:04x}xx{element:02x}", f"{tag:08X}", f"{tag:08x}"):
        if key in elements:
            entry: tuple[str, ...] = elements[key]
            return entry
    return "UN", "", "", ""


def _entry(tag: int) -> tuple[str, ...]:
    tables = _tables("_dicom_dict")
    unknown = ("UN", "", "", "", "")
    entry: tuple[str, ...] = tables.DicomDictionary.get(tag) or _repeaters().get(tag & 0xFF00FFFF, unknown)
    return entry


@cache
def _repeaters() -> dict[int, tuple[str, ...]]:
    """The groups 50xx, 60xx and 7Fxx, by the first of each; other repeating elements belong to retired encodings."""
    entries = _tables("_dicom_dict").RepeatersDictionary.items()
    return {int(mask.replace("x", "0"), 16): entry for mask, entry in entries if mask[2:4] == "xx"}
