"""Keeps labels of regions and segments inside one object apart, where cleaning makes two of them equal."""

from __future__ import annotations

from dataclasses import dataclass, field

from pacsifier.deidentify.engine.replacing import REMOVED, Replacement, Value, encoded, padded
from pacsifier.dicom.text import decode_text

LABELS = frozenset((0x30060026, 0x30060085, 0x00620005, 0x300A00C2, 0x0040A0A0))
"""ROIName, ROIObservationLabel, SegmentLabel, BeamName."""


@dataclass
class Labels:
    """The labels of one sequence of an object: of each written value, the value that it was written for.

    `sequence` is the sequence as it came in: a label that stays as it is keeps its name, wherever it stands.
    """

    sequence: bytes = b""
    _taken: dict[tuple[int, int, bytes | None], bytes] = field(default_factory=dict)

    def apart(self, value: Value, parent: int, known: Replacement) -> Replacement:
        """The replacement, with a number behind the label where another label became the same."""
        new, number = known.new, 1
        while not self._is_free(new, value, parent):
            number += 1
            new = _numbered(known.new, number, value)
        self._taken[parent, value.tag, new] = value.raw
        return known if number == 1 else known._replace(new=new, change="cleaned")

    def _is_free(self, new: bytes | None, value: Value, parent: int) -> bool:
        if new == value.raw:
            # What stays as it is was not given to another one: see below.
            return True
        if self._taken.get((parent, value.tag, new), value.raw) != value.raw:
            return False
        return not new or not any(len(new).to_bytes(size, "little") + new in self.sequence for size in (2, 4))


def _numbered(new: bytes | None, number: int, value: Value) -> bytes:
    text = decode_text(new or b"", value.character_sets).strip(" \0") or REMOVED
    text = f"{text} {number}"
    return encoded(text, value.raw, value.character_sets) if value.raw else padded(text)
