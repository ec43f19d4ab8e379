"""What the files of a series share: runs of elements that stood in the file before, byte for byte at the same place.

Where all bytes of a run stand again, nothing of it is read again, and what was decided about it holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pacsifier.dicom.part10 import CHARACTER_SETS, PIXEL_GROUP, STANDARD_VRS, Run, elements_from, in_memory

if TYPE_CHECKING:
    from pacsifier.dicom.part10 import Buffer, Coding, Element

_SHORTEST = 2  # elements
LONGEST_ELEMENT = 1 << 12  # bytes; nothing longer is in a run
_MOST_RUNS = 512
_TRIALS = 4


class Runs:
    """The runs of the files read so far, by their place. None reaches over one of the tags in `borders`."""

    def __init__(self, borders: Collection[int] = ()) -> None:
        self._borders = sorted(borders)
        self._known: dict[Coding, dict[int, Run]] = {}
        self._before = b""
        # Files with as many stretches as the last one are compared to it until some have taught nothing.
        self._number = self._trials = 0

    def walk(self, buf: Buffer, pos: int, coding: Coding, elements: list[Element]) -> list[Element | Run]:
        """Adds each element from `pos` on to the list; returns them with runs in the place of theirs.

        Learns from what was in no run. Raises BrokenError.
        """
        data, known = in_memory(buf), self._known.setdefault(coding, {})
        stretches: list[Element | Run] = []
        alone = elements_from(buf, pos, coding)
        at = pos
        while True:
            run = known.get(pos)
            if run is not None and data.startswith(run.whole, pos):
                elements += run.elements
                stretches.append(run)
                pos = run.end
                continue
            if at != pos:
                alone = elements_from(buf, pos, coding)
            element = next(alone, None)
            if element is None:
                break
            elements.append(element)
            stretches.append(element)
            at = pos = element[5]
        if len(stretches) != self._number:
            self._number, self._trials = len(stretches), _TRIALS
        if self._trials:
            self._trials -= not self._learn(stretches, data, coding)
        self._before = data
        return stretches

    def _learn(self, stretches: Sequence[Element | Run], data: bytes, coding: Coding) -> bool:
        """Remembers the runs of elements that are read for the second time; tells whether there were any."""
        learned = False
        again: list[Element] = []
        for stretch in stretches:
            if isinstance(stretch, Run) or not self._stood_before(stretch, data, coding):
                learned |= self._remember(again, data, coding)
                again = []
                continue
            if again and not self._are_together(again[-1], stretch):
                learned |= self._remember(again, data, coding)
                again = []
            again.append(stretch)
        return self._remember(again, data, coding) or learned

    def _stood_before(self, element: Element, data: bytes, coding: Coding) -> bool:
        tag, vr, head, _, stop, after = element
        return (
            after - head <= LONGEST_ELEMENT
            and self._before.startswith(data[head:after], head)
            and after <= len(data)
            and after == stop
            and not tag & 0x10000
            and tag != CHARACTER_SETS
            and tag >> 16 < PIXEL_GROUP
            and (coding.implicit or vr in STANDARD_VRS)
        )

    def _are_together(self, one: Element, other: Element) -> bool:
        return bisect_right(self._borders, one[0]) == bisect_right(self._borders, other[0])

    def _remember(self, elements: Sequence[Element], data: bytes, coding: Coding) -> bool:
        if len(elements) < _SHORTEST:
            return False
        known = self._known[coding]
        if len(known) > _MOST_RUNS:
            known.clear()
        begin, end = elements[0][2], elements[-1][5]
        tags = frozenset(element[0] for element in elements)
        known[begin] = Run(data[begin:end], tuple(elements), end, tags, max(tags))
        return True
