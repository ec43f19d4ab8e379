"""Whether the PACS sent objects in another transfer syntax than it holds them in, as some archives do unasked.

Only the PACS can tell what it holds (AvailableTransferSyntaxUID at the IMAGE level). It is asked once all has come, for
one object of each SOP class, study and syntax that came uncompressed or with loss: what came so may be held otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pacsifier.dcmtk import negotiation
from pacsifier.transfer.fetch.arrivals import Arrival
from pacsifier.transfer.model import Finds, SeriesKey, SeriesState

AVAILABLE = "AvailableTransferSyntaxUID"
_UNIQUE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_LOOKED_AT = frozenset({*negotiation.NATIVE, *negotiation.LOSSY})

_Kind = tuple[str, str, str]


@dataclass
class _Came:
    """Objects of one SOP class, study and transfer syntax: one of them, and how many of each series."""

    sample: tuple[str, str, str]
    numbers: Counter[SeriesKey] = field(default_factory=Counter)


class Converted:
    """What of a run's objects came in another transfer syntax than the PACS tells."""

    def __init__(self) -> None:
        self._came: dict[_Kind, _Came] = {}
        self._held: dict[_Kind, frozenset[str]] = {}

    def note(self, arrival: Arrival) -> None:
        """Takes note of how an object came."""
        syntax = arrival.file.transfer_syntax
        if syntax in _LOOKED_AT:
            study_uid, series_uid = arrival.series_key
            kind = study_uid, arrival.sop_class, syntax
            sample = study_uid, series_uid, arrival.sop_instance_uid
            self._came.setdefault(kind, _Came(sample)).numbers[arrival.series_key] += 1

    def ask(self, finds: Finds) -> None:
        """Asks the PACS in which syntaxes it has what came; once only where it does not tell.

        Raises:
            AssociationError: there was no association.
        """
        kinds = [kind for kind in self._came if kind not in self._held]
        for some in filter(None, (kinds[:1], kinds[1:])):
            samples = [self._came[kind].sample for kind in some]
            requests = [{**dict(zip(_UNIQUE, each, strict=True)), AVAILABLE: ""} for each in samples]
            for kind, result in zip(some, finds.find("IMAGE", requests), strict=True):
                self._held[kind] = _told(result.answers, self._came[kind].sample[-1])
            if not any(self._held.values()):
                break

    def remark(self, state: SeriesState) -> str:
        """What is to be said of a series of which objects were converted; "" for nothing."""
        key = state.series.key
        return "; ".join(
            f"{came.numbers[key]} instances came as {negotiation.named(kind[-1])}, though the PACS holds them as "
            f"{', '.join(map(negotiation.named, sorted(self._held[kind])))}"
            for kind, came in self._came.items()
            if key in came.numbers and _is_converted(kind[-1], self._held.get(kind, frozenset()))
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
    if not held or came in held:
        return False
    return came not in negotiation.NATIVE or held.isdisjoint(negotiation.NATIVE)
