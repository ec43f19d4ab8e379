"""Person names as users type them."""

from __future__ import annotations


def is_structured(name: str) -> bool:
    """Whether a name is asked as a DICOM pattern: with components (`^`) or wildcards (PS3.4 C.2.2.2.4)."""
    return any(character in name for character in "^*?")


def family_name(name: str) -> str:
    """The family name of a name without `^ * ?`: its last word (`Obi-Wan Kenobi` -> `Kenobi`).

    The family name may stand before a comma (`Kenobi, Obi-Wan`); of several component groups the first counts.
    """
    group = next(filter(str.strip, name.split("=")), name)
    words = group.partition(",")[0].split() or group.split()
    return words[-1] if words else name
