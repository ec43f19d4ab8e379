"""`Run`: what a run holds while it works, and what it has learned. It owns resources and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from pacsifier.dcmtk.transcript import MoveState
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.tree import Tree
from pacsifier.errors import AssociationError
from pacsifier.transfer.capabilities import Capabilities
from pacsifier.transfer.model import Finds, Placer, Room, Shelf, Stop, Traffic
from pacsifier.transfer.options import Job, Observer


@dataclass
class Run:
    """One run over a checked query table; `lock` is None where nothing is written.

    `known` is what the PACS can do, `stop` why nothing more is started, `done` the number of series of which a request
    has ended, `whole_studies` how the last request for one whole study ended, by StudyInstanceUID;
    `proven` are studies of which fewer series are listed than announced, but all that a request for them brings.
    """

    job: Job
    observer: Observer
    tree: Tree
    lock: OutputLock | None
    finds: Finds
    traffic: Traffic
    placer: Placer
    aside: Shelf
    room: Room
    known: Capabilities
    stop: Stop | None = None
    done: int = 0
    whole_studies: dict[str, MoveState] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)

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
