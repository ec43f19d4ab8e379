"""Whether the PACS sent objects in another transfer syntax than it holds them in, as some archives do unasked.

Only the PACS can tell what it holds (AvailableTransferSyntaxUID at the IMAGE level). It is asked once all has come, for
one object of each SOP class, study and syntax that came uncompressed or with loss: what came so may be held otherwise.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pacsifier.dcmtk import negotiation
from pacsifier.figures import counted
from pacsifier.transfer.fetch.arrivals import Arrival
from pacsifier.transfer.model import Finds, SeriesKey, SeriesState

AVAILABLE = "AvailableTransferSyntaxUID"
_UNIQUE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_LOOKED_AT = frozenset({*negotiation.NATIVE, *negotiation.LOSSY})

_Kind = tuple[str, str]
"""SOP class and transfer syntax."""


@dataclass(slots=True)
class _Came:
    """Objects of one SOP class, study and transfer syntax: one of them, and how many came of each series.

    They come series by series: of each a number, and the hash of its key, are a tenth of what the key itself takes.
    """

    sample: tuple[str, str, str]
    series: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[int] = field(default_factory=lambda: array("I"))
    # The syntaxes in which the PACS tells to have them; None: not asked.
    held: frozenset[str] | None = None

    def count(self, key: SeriesKey) -> None:
        """One more of that series has come."""
        if not self.series or self.series[-1] != hash(key):
            self.series.append(hash(key))
            self.numbers.append(0)
        self.numbers[-1] += 1

    def number(self, key: SeriesKey) -> int:
        """How many of that series have come."""
        numbers = zip(self.series, self.numbers, strict=True)
        return sum(number for each, number in numbers if each == hash(key))


class Converted:
    """What of a run's objects came in another transfer syntax than the PACS tells."""

    def __init__(self) -> None:
        # By Study Instance UID.
        self._came: dict[str, dict[_Kind, _Came]] = defaultdict(dict)

    def note(self, arrival: Arrival) -> None:
        """Takes note of how an object came."""
        syntax = arrival.file.transfer_syntax
        if syntax in _LOOKED_AT:
            study_uid, series_uid = arrival.series_key
            kind = arrival.sop_class, syntax
            sample = study_uid, series_uid, arrival.sop_instance_uid
            self._came[study_uid].setdefault(kind, _Came(sample)).count(arrival.series_key)

    def ask(self, finds: Finds) -> None:
        """Asks the PACS in which syntaxes it has what came; once only where it does not tell.

        Raises:
            AssociationError: there was no association.
        """
        every = [came for kinds in self._came.values() for came in kinds.values()]
        left = [came for came in every if came.held is None]
        for some in filter(None, (left[:1], left[1:])):
            requests = [{**dict(zip(_UNIQUE, came.sample, strict=True)), AVAILABLE: ""} for came in some]
            for came, result in zip(some, finds.find("IMAGE", requests), strict=True):
                came.held = _told(result.answers, came.sample[-1])
            if not any(came.held for came in every):
                break

    def remark(self, state: SeriesState) -> str:
        """What is to be said of a series of which objects were converted; "" for nothing."""
        return "; ".join(
            f"{counted(number, 'instance')} came as {negotiation.named(syntax)}, held by the PACS as "
            f"{', '.join(map(negotiation.named, sorted(came.held)))}"
            for (_, syntax), came in self._came.get(state.series.study_uid, {}).items()
            if came.held and _is_converted(syntax, came.held) and (number := came.number(state.series.key))
        )

    def afterword(self, states: Iterable[SeriesState]) -> str:
        """What the user is told at the end; "" for nothing."""
        number = sum(bool(self.remark(state)) for state in states)
        if not number:
            return ""
        return (
            f"the PACS converted objects of {number} series before it sent them (see the reasons in the log); to get "
            'them as held, let it not convert: Orthanc has the setting "TranscodeDicomProtocol": false for that'
        )


def _told(answers: Iterable[Mapping[str, str | None]], sop_instance_uid: str) -> frozenset[str]:
    """The syntaxes in which the PACS tells to have an instance; empty where it does not tell."""
    for answer in answers:
        if (answer.get("SOPInstanceUID") or sop_instance_uid) == sop_instance_uid:
            return frozenset((answer.get(AVAILABLE) or "").split("\\")) - {""}
    return frozenset()


def _is_converted(came: str, held: frozenset[str]) -> bool:
    """Whether an object was compressed or decompressed on its way; between uncompressed syntaxes nothing is lost."""
    if came in held:
        return False
    return came not in negotiation.NATIVE or held.isdisjoint(negotiation.NATIVE)
