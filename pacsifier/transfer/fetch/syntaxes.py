"""Which compressed transfer syntax C-GET asks for, and whether what came was decompressed on the way.

getscu proposes the uncompressed syntaxes and at most one compressed one before them. So a series that is held
compressed is asked for in the syntax that the PACS tells (AvailableTransferSyntaxUID), else, where objects failed, in
one after the other. A PACS may decompress all the same: what it then sends is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.figures import counted
from pacsifier.transfer.fetch.arrivals import Arrival, Arrivals
from pacsifier.transfer.fetch.converted import AVAILABLE, Converted
from pacsifier.transfer.fetch.verdict import is_complete
from pacsifier.transfer.find.images import list_instances
from pacsifier.transfer.model import Finds, Part, SeriesState
from pacsifier.transfer.retry import may_have_failed

# What images are held in, the lossless ones first; videos are asked for in what the PACS tells.
_TRIED = tuple(negotiation.GETSCU_PREFERENCES)[:9]
# So many series in a row for which no syntax helped; then only those are tried that ever did.
_VAIN = 3

SeriesKey = tuple[str, str]


@dataclass
class _Came:
    """The SOP Instance UIDs of a series that came uncompressed though held compressed, or though once lossy."""

    decompressed: set[str] = field(default_factory=set)
    lossy: set[str] = field(default_factory=set)


class Syntaxes:
    """What is known of the transfer syntaxes of the series of one run."""

    def __init__(self) -> None:
        # Series -> instance -> the syntaxes that the PACS can send it in.
        self._told: dict[SeriesKey, Mapping[str, frozenset[str]]] = {}
        # Series -> the compressed syntax in which it is held, and the one that is tried after failures.
        self._held: dict[SeriesKey, str] = {}
        self._trying: dict[SeriesKey, str] = {}
        self._left: dict[SeriesKey, list[str]] = {}
        # The syntaxes that ever brought what others could not, the latest first, and the series tried in vain since.
        self._worked: list[str] = []
        self._vain = 0
        self._came: dict[SeriesKey, _Came] = defaultdict(_Came)

    def ask(self, finds: Finds, states: Sequence[SeriesState], *, uid_lists: bool = False) -> bool:
        """Asks the PACS at the IMAGE level in which syntaxes it has the series, and returns whether it tells.

        One series shows that; `uid_lists` as for `list_instances`.
        """
        for some in (states[:1], states[1:]):
            series = [state.series for state in some]
            results = list_instances(finds, series, (AVAILABLE,), uid_lists=uid_lists) if some else []
            for state, result in zip(some, results, strict=True):
                told = {
                    answer.get("SOPInstanceUID") or "": syntaxes_told(answer) for answer in result.answers
                }
                self._told[state.series.key] = {uid: syntaxes for uid, syntaxes in told.items() if syntaxes}
                self._held[state.series.key] = preferred(told.values())
            if not any(self._told.values()):
                return False
        return True

    def of(self, states: Sequence[SeriesState]) -> str:
        """The compressed syntax to propose for series that are asked for together; "" for none."""
        asked = {self._proposed(state) for state in states}
        return asked.pop() if len(asked) == 1 else ""

    def groups(self, states: Sequence[SeriesState]) -> list[list[SeriesState]]:
        """The series apart by the syntax to propose, which a request has in common; the order kept."""
        groups: dict[str, list[SeriesState]] = defaultdict(list)
        for state in states:
            groups[self._proposed(state)].append(state)
        return list(groups.values())

    def others(self, part: Part, end: MoveState, came: int, *, last: bool = False) -> list[Part]:
        """One request a series, in another syntax, for what the PACS could not send in this one; empty: none is left.

        What is there is not asked for in another form, which would contradict it: of a series that came in part only
        the missing instances, where the request names them. Where the PACS tells its
        syntaxes, no other is tried. Where none helped for a few series, only those are tried that ever did. `last`: the
        request was repeated as often as it may be.
        """
        request, states = part
        syntax = self.of(states)
        if came and any(self._trying.get(state.series.key) == syntax for state in states):
            self._worked = [syntax, *(each for each in self._worked if each != syntax)]
            self._vain = 0
        if not may_have_failed(end, last=last):
            return []
        parts: list[Part] = []
        for state in states:
            missing = tuple(uid for uid in request.instance_uids if uid not in state.found)
            if is_complete(state) or (state.found and not missing) or not self._next(state):
                continue
            series = state.series
            parts.append((MoveRequest((series.study_uid,), (series.series_uid,), missing), (state,)))
        return parts

    def _proposed(self, state: SeriesState) -> str:
        key = state.series.key
        return self._trying.get(key) or self._held.get(key, "")

    def _next(self, state: SeriesState) -> bool:
        """Chooses the next syntax to try for a series; False, and the first one again, where none is left."""
        key = state.series.key
        if key not in self._left:
            told = frozenset().union(*self._told.get(key, {}).values())
            any_other = _TRIED if self._vain < _VAIN else ()
            order = negotiation.GETSCU_PREFERENCES.keys() & told if told else (*self._worked, *any_other)
            self._left[key] = [uid for uid in dict.fromkeys(order) if uid != self._held.get(key)]
        if self._left[key]:
            self._trying[key] = self._left[key].pop(0)
            return True
        self._vain += self._trying.pop(key, None) is not None
        return False

    def exhausted(self, state: SeriesState) -> bool:
        """Whether it could not be sent in any syntax that can be proposed."""
        key = state.series.key
        return not is_complete(state) and self._left.get(key) == [] and key not in self._trying

    def note(self, arrival: Arrival) -> None:
        """Takes note of how an object came."""
        if arrival.file.transfer_syntax not in negotiation.NATIVE:
            return
        told = self._told.get(arrival.series_key, {}).get(arrival.sop_instance_uid)
        if told is not None and not told & set(negotiation.NATIVE):
            self._came[arrival.series_key].decompressed.add(arrival.sop_instance_uid)
        elif told is None and arrival.is_lossy:
            self._came[arrival.series_key].lossy.add(arrival.sop_instance_uid)

    def remark(self, state: SeriesState) -> str:
        """What is to be said of a series whose objects were not sent as the PACS holds them; "" for nothing."""
        if self.exhausted(state):
            return self._not_sent(state)
        came = self._came.get(state.series.key)
        if came is None:
            return ""
        if came.decompressed:
            return f"{counted(len(came.decompressed), 'instance')} came decompressed"
        return f"{counted(len(came.lossy), 'instance')} came uncompressed, though once compressed with loss"

    def _not_sent(self, state: SeriesState) -> str:
        told = self._told.get(state.series.key, {}).values()
        held = sorted({uid for each in told if not each & set(negotiation.NATIVE) for uid in each})
        return (
            "the PACS could send it in no transfer syntax that getscu proposes, among which are always uncompressed "
            f"ones{'; it holds it in ' if held else ''}{', '.join(map(negotiation.named, held))}"
        )


class NotedArrivals(Arrivals):
    """Arrivals whose transfer syntaxes are noted as they are handed out."""

    def __init__(self, folder: Path, noted: Syntaxes | Converted) -> None:
        super().__init__(folder)
        self._noted = noted

    def take(self, series_key: SeriesKey) -> Iterator[Arrival]:
        """As `Arrivals.take`."""
        for arrival in super().take(series_key):
            self._noted.note(arrival)
            yield arrival


def syntaxes_told(answer: Mapping[str, str | None]) -> frozenset[str]:
    """The transfer syntaxes in which the PACS tells that it can send an instance."""
    return frozenset((answer.get(AVAILABLE) or "").split("\\")) - {""}


def preferred(told: Iterable[frozenset[str]]) -> str:
    """The compressed syntax that most instances are held in, the better one of two; "" where native ones do."""
    counts = Counter(
        uid
        for each in told
        if not each & set(negotiation.NATIVE)
        for uid in each
        if uid in negotiation.GETSCU_PREFERENCES
    )
    return max(counts, key=lambda uid: (counts[uid], -negotiation.EVERY_SYNTAX.index(uid)), default="")
