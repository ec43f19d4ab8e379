"""A PACS, a way to it and a run made by hand, for the unit tests of a fetch; time moves only where somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from series import UNANSWERED, instance_uids

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.movescu import Move
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.disk.tree import Tree
from pacsifier.errors import AssociationError
from pacsifier.query import QueryTable
from pacsifier.transfer.fetch.placing import Placer
from pacsifier.transfer.fetch.pool import Pool
from pacsifier.transfer.fetch.traffic import Traffic
from pacsifier.transfer.fetch.ways import Means
from pacsifier.transfer.model import Came, Chunk, SeriesState, Tally, Unexpected
from pacsifier.transfer.options import Job, Observer, Options
from pacsifier.transfer.run import Run

CONFIG = PacsConfig("pacs.example.org", 104, "SERVER", "US", "OTHER", 11112, 30, 0.0)
WAITS_S = (2.0, 4.0, 8.0, 16.0)
"""The waits before the repeats of a request; there is no fifth."""
START_S = 1000.0
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.4"
_MODULES = ("pool", "rounds", "traffic")


class Clock:
    """Tells the time, which a sleep moves on."""

    def __init__(self) -> None:
        self.now_s = START_S

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    """The time of everything that fetches."""
    clock = Clock()
    first, second, third = (patch(f"pacsifier.transfer.fetch.{name}.time", clock) for name in _MODULES)
    with first, second, third:
        yield clock


class Waits:
    """As `Retry`, with waits that are known."""

    def wait_s(self, earlier: int) -> float | None:
        return WAITS_S[earlier] if earlier < len(WAITS_S) else None


class Ear(Observer):
    """Remembers what the user is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.plans: list[tuple[int, int | None]] = []
        self.steps: list[tuple[int, int]] = []

    def say(self, message: str) -> None:
        self.heard.append(message)

    def planned(self, series: int, instances: int | None) -> None:
        self.plans.append((series, instances))

    def progress(self, series_done: int, instances: int, size: int = 0) -> None:
        self.steps.append((series_done, instances))


class NoLimits:
    """Traffic that lets everything start, up to `most` at a time."""

    def __init__(self, most: int = 99) -> None:
        self.most = most
        self.answers: list[int] = []

    def may_start(self, running: int) -> bool:
        return running < self.most

    def answered(self, running: int) -> None:
        self.answers.append(running)


class Process:
    """What a movescu runs in; `endings` counts how often it was ended by us."""

    def __init__(self) -> None:
        self.endings = 0

    def end(self) -> None:
        self.endings += 1


@dataclass
class Association:
    """A movescu over one association: `tells` is what each poll brings, after the last it ends unless it `lasts`."""

    number: int = 1
    tells: list[list[MoveState]] = field(default_factory=list)
    lasts: bool = False
    admitted: bool = True
    rejected: bool = False
    associated: bool = True
    ended: bool = False
    heard: float = START_S
    closed: bool = False
    process: Process = field(default_factory=Process)
    answered: set[int] = field(default_factory=set)

    def poll(self) -> list[MoveState]:
        final = self.tells.pop(0) if self.tells and not self.process.endings else []
        self.answered |= {end.request for end in final}
        if self.process.endings or not (self.tells or self.lasts):
            self.ended = True
            open_ = [number for number in range(self.number) if number not in self.answered]
            final = [*final, *(replace(UNANSWERED, request=number) for number in open_)]
        return final

    def close(self) -> None:
        self.closed = True


def a_pool(
    start: Callable[[Chunk], Association] = lambda chunk: Association(lasts=True),
    *,
    traffic: Any = None,
    error: AssociationError | None = None,
    silence_timeout_s: float = 60,
    hold_last: bool = False,
) -> Pool:
    """A pool whose associations are made by hand; without `traffic` all may start."""
    return Pool(
        cast(Callable[[Chunk], Move], start),
        lambda process: error or AssociationError("no association"),
        traffic or NoLimits(),
        silence_timeout_s,
        hold_last=hold_last,
    )


@dataclass
class Inbox:
    """The place of what comes: `comes` is how many instances of each series are there when it is next looked at."""

    comes: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    taken: list[str] = field(default_factory=list)

    def scan(self) -> int:
        return 0

    def take(self, states: Iterable[SeriesState], end: MoveState | None = None) -> Came:
        new = 0
        for state in states:
            uid = state.series.series_uid
            self.taken.append(uid)
            there = len(state.found)
            for each in instance_uids(uid, range(there, there + self.comes.pop(uid, 0))):
                new += state.put(each, 1000)
        self.tally.new_instances += new
        self.tally.bytes += new * 1000
        return Came(new, new * 1000)

    def check(self) -> None:
        pass


@dataclass
class FakePlacer:
    """Only counts what it is asked for."""

    tally: Tally = field(default_factory=Tally)
    claimed: list[str] = field(default_factory=list)
    doubts: tuple[str, ...] = ()
    cleaned: list[str] = field(default_factory=list)

    def adopt(self, state: SeriesState, folder: Path, *, write: bool = True) -> None:
        raise NotImplementedError

    def decide_by_placed(self, state: SeriesState) -> None:
        raise NotImplementedError

    def claim_strangers(self, states: Sequence[SeriesState]) -> None:
        self.claimed += [state.series.series_uid for state in states]

    def doubted(self, states: Iterable[SeriesState]) -> list[SeriesState]:
        return [state for state in states if state.series.series_uid in self.doubts]

    def set_unlisted_aside(self, state: SeriesState) -> None:
        self.cleaned.append(state.series.series_uid)


class EmptyShelf:
    """Nothing was set aside."""

    def remarks(self) -> dict[tuple[str, str], str]:
        return {}

    def unasked(self) -> dict[tuple[str, str], int]:
        return {}

    def unexpected(self) -> list[Unexpected]:
        return []

    def contradictions(self) -> list[Unexpected]:
        return []


@dataclass
class Disk:
    """A disk on which room is left, until it is `full`; only a look `now` sees that. `looks`: came and still ahead."""

    full: str = ""
    looks: list[tuple[int, int]] = field(default_factory=list)

    def look(self, came: int, size: int, ahead: Callable[[], int], *, now: bool = False) -> str:
        self.looks.append((came, ahead()))
        return self.full if now else ""


@dataclass
class Index:
    """Answers at the IMAGE level: so many instances of each series, none of others; `lost`: no association."""

    holds: Mapping[str, int] = field(default_factory=dict)
    lost: bool = False
    asked: list[str] = field(default_factory=list)

    def find(self, level: str, requests: Sequence[Mapping[str, str]]) -> list[FindResult]:
        if self.lost:
            raise AssociationError("the index is gone")
        listed = [request["SeriesInstanceUID"].split("\\") for request in requests]
        self.asked += [uid for uids in listed for uid in uids]
        return [FindResult(self._answers(uids), 0x0000, None) for uids in listed]

    def _answers(self, uids: Sequence[str]) -> tuple[dict[str, str | None], ...]:
        return tuple(
            {"SeriesInstanceUID": uid, "SOPInstanceUID": each, "SOPClassUID": SOP_CLASS}
            for uid in uids
            for each in instance_uids(uid, range(self.holds.get(uid, 0)))
        )


def a_run(options: Options, *, placer: Any = None, finds: Any = None, room: Any = None, **config: Any) -> Run:
    """A run that writes nothing, with waits that are known."""
    observer = Ear()
    traffic = Traffic(options, observer)
    traffic.retry = cast(Any, Waits())
    table = QueryTable(Path("q.csv"), (), (), {}, ())
    return Run(
        job=Job(replace(CONFIG, **config), table, Path("out"), options),
        observer=observer,
        tree=cast(Tree, None),
        lock=None,
        finds=finds or Index(),
        traffic=traffic,
        placer=placer or FakePlacer(),
        aside=EmptyShelf(),
        room=room or Disk(),
        known=options.capabilities,
    )


def means_of(run: Run) -> Means:
    """What the real ways work with, for what they say without DCMTK."""
    return Means(
        run.job.config,
        run.job.options,
        cast(Toolbox, None),
        cast(Pacs, None),
        Path("staging"),
        cast(Placer, run.placer),
    )
