"""`Run`: what a run holds while it works, and what it has learned. It owns resources and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pacsifier.disk.lock import OutputLock
from pacsifier.disk.tree import Tree
from pacsifier.errors import AssociationError
from pacsifier.transfer.capabilities import Capabilities
from pacsifier.transfer.find.answers import Finds
from pacsifier.transfer.model import SeriesState, Stop, Tally
from pacsifier.transfer.options import Job, Observer
from pacsifier.transfer.retry import Retry


class Traffic(Protocol):
    """How many associations there may be, and when the next may start."""

    retry: Retry

    @property
    def one_request_each(self) -> bool:
        """Whether each request needs an association of its own."""
        ...

    def may_start(self, running: int) -> bool:
        """Whether one more association may be opened beside those that run."""
        ...

    def answered(self, running: int) -> None:
        """All associations that run have been answered."""
        ...

    def rejected(self, running: int) -> None:
        """The PACS admits no more than those that run."""
        ...

    def lost(self) -> bool:
        """There was no association; whether it is worth another try."""
        ...

    def brought(self, instances: int, size: int, since: float) -> None:
        """So much has come by work that began at `since`."""
        ...


class Placer(Protocol):
    """What brings objects to their place in the tree."""

    tally: Tally

    def adopt(self, state: SeriesState, folder: Path, *, write: bool = True) -> None:
        """Takes over what an earlier run has placed."""
        ...

    def decide_by_placed(self, state: SeriesState) -> None:
        """Settles by what an earlier run has placed whether a row wants the series."""
        ...

    def claim_strangers(self, states: Sequence[SeriesState]) -> None:
        """Places objects under other UIDs that the IMAGE level lists for these series."""
        ...


class Room(Protocol):
    """What watches the room that is left on the disk."""

    def look(self, came: int, size: int, ahead: Callable[[], int], *, now: bool = False) -> str:
        """Why the run must stop, "" while there is room."""
        ...


@dataclass
class Run:
    """One run over a checked query table; `lock` is None where nothing is written.

    `known` is what the PACS can do, `stop` why nothing more is started, `done` the number of series of which a request
    has ended.
    """

    job: Job
    observer: Observer
    tree: Tree
    lock: OutputLock | None
    finds: Finds
    traffic: Traffic
    placer: Placer
    room: Room
    known: Capabilities
    stop: Stop | None = None
    done: int = 0

    def halt(self, stop: Stop | None) -> None:
        """Lets nothing more be started; the first reason counts."""
        self.stop = self.stop or stop

    def lost(self, error: AssociationError | None) -> None:
        """Lets nothing more be started where there was no association any more."""
        if error is not None:
            self.halt(Stop(str(error)))

    def check_lock(self) -> None:
        """Raises InputError where another run has taken the output folder over."""
        if self.lock is not None:
            self.lock.check()

    def make_room(self) -> None:
        """Empties staging, of which nothing was ever counted."""
        if self.lock is not None:
            self.lock.make_room()
