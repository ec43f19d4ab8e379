"""From whom what we asked for comes: the AE titles that callers give, as storescp writes them (0002,0016).

Anybody may send to the open port, and an archive may send from another title than the one asked. A title is known
once the completed and warning counters of a request equal what it sent. This stops accidents, not attackers: whoever
knows the archive's title can give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pacsifier.dcmtk.transcript import MoveState


def learned(known: frozenset[str], sent: Mapping[str, int], end: MoveState) -> frozenset[str]:
    """The known titles after the end of a request, for which each title has `sent` so many objects. Pure.

    Where two titles sent as many as the counters tell, neither is learned.
    """
    told = _told(end)
    fitting = [title for title, number in sent.items() if number == told] if told else []
    return known | frozenset(fitting) if len(fitting) == 1 else known


def _told(end: MoveState) -> int | None:
    """How many objects the counters of a final response tell of; None: of none."""
    return None if end.at_least else end.begun or end.done


def is_foreign(title: str, known: frozenset[str]) -> bool:
    """Whether an object comes from somebody who is not known to send what was asked for; nobody, while none is."""
    return bool(known) and title not in known


@dataclass
class Callers:
    """The titles that one way has come to know."""

    known: frozenset[str] = frozenset()

    def hear(self, sent: Mapping[str, int], end: MoveState) -> bool:
        """Takes note of the end of a request for which each title has `sent` so many objects.

        Returns whether the counters tell of as many as the known titles sent.
        """
        self.known = learned(self.known, sent, end)
        return sum(number for title, number in sent.items() if title in self.known) == _told(end)
