"""The ways that images take, behind one small protocol: to our receiver, by C-GET, or elsewhere.

`ToReceiver`: C-MOVE to storescp here (`--save`). `ByGet`: C-GET over our own association (`--retrieve_method get`).
`Elsewhere`: C-MOVE to another AE title (`--move`). `--retrieve_method auto` is a list of the first two. What a way has
seen is born with it and gone with it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import confinement
from pacsifier.dcmtk.association import own_place
from pacsifier.dcmtk.movescu import Move
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.storescp import Receiver, check_port, received_folder
from pacsifier.dcmtk.tls import how_to_send, receiver_faults
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, MoveState
from pacsifier.errors import AssociationError, InputError
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.fetch.callers import Callers
from pacsifier.transfer.fetch.converted import Converted
from pacsifier.transfer.fetch.health import Health, Terms
from pacsifier.transfer.fetch.lists import Lists
from pacsifier.transfer.fetch.placing import Placer
from pacsifier.transfer.fetch.pool import silence_words
from pacsifier.transfer.fetch.refused import Asking, Refused, askings, missing_classes
from pacsifier.transfer.fetch.syntaxes import NotedArrivals, Syntaxes
from pacsifier.transfer.model import Came, Chunk, Cut, Finds, Part, SeriesKey, SeriesState
from pacsifier.transfer.options import Observer, Options

# Strangers' objects are taken out of staging so often while a round goes on.
_CLEARED_S = 1.0
_AS_HELD = "by C-MOVE (--retrieve_method move) most archives send them as they hold them"

AllSeries = Mapping[SeriesKey, SeriesState]


@dataclass(frozen=True)
class Means:
    """What the ways work with: the PACS and its config, DCMTK's tools, the staging folder, where objects go."""

    config: PacsConfig
    options: Options
    toolbox: Toolbox
    pacs: Pacs
    staging: Path
    placer: Placer


class Place(Protocol):
    """Where objects come to while a way is open."""

    def scan(self) -> bool:
        """Reads the headers of objects that are new; whether any came whole, or one that is not whole grows."""
        ...

    def take(self, states: Iterable[SeriesState], end: MoveState | None = None) -> Came:
        """Places all that has arrived of some series, after the `end` of their request; what of it is new."""
        ...

    def check(self) -> None:
        """Mends what lets objects come, and clears what nobody waits for; raises ToolError where nothing can come."""
        ...


class Way(ABC):
    """How images come; what stands here holds for a way that has nothing to say on it.

    `terms` is what it calls things, `cut` how small its requests must be, `health` and `lists` what it has seen of the
    PACS; `sees`: what comes can be looked at here; `compares`: what is here may come again as it is, to be compared;
    `advised`: the user was told what to do where nothing comes.
    """

    binaries: tuple[str, ...] = ()
    cut = Cut()
    sees = True
    compares = True

    def __init__(self, means: Means, terms: Terms) -> None:
        self.means = means
        self.terms = terms
        self.health = Health()
        self.lists = Lists()
        self.advised = False

    def ahead(self) -> AbstractContextManager[None]:
        """Starts what the first round will need, while the finds run."""
        return nullcontext()

    def prepare(self, finds: Finds, states: Sequence[SeriesState], *, uid_lists: bool) -> Iterator[str]:
        """Asks what must be known before it begins, and yields what the user is told; may raise AssociationError."""
        yield from ()

    @abstractmethod
    def open(
        self, states: Sequence[SeriesState], classes: Sequence[str], every: AllSeries
    ) -> AbstractContextManager[Place]:
        """Lets objects of the series come; `classes`: SOP classes expected; `every`: all series of the run."""

    def start(self, chunk: Chunk) -> Move:
        """Begins the requests of a chunk over one association."""
        return self.means.pacs.move(chunk.requests, self.terms.destination)

    def explain(self, process: Process) -> AssociationError:
        """Why a process got no association."""
        return self.means.pacs.no_association(process)

    def groups(self, states: Sequence[SeriesState]) -> list[Sequence[SeriesState]]:
        """The series apart that may not be asked for together."""
        return [states]

    def others(self, part: Part, end: MoveState, came: int, *, last: bool = False) -> list[Part]:
        """Requests in another form for what could not be sent in this one; `last`: it is not repeated any more."""
        return []

    @property
    def apart(self) -> bool:
        """Whether each request of the second asking needs an association, so that it shows what is wrong with it."""
        return False

    def unfit(self, since: float, part: Part) -> bool:
        """Whether a request, begun after `since`, brought less since we do not take what the PACS proposed to send."""
        return False

    def may_repeat(self, part: Part) -> bool:
        """Whether the same request may bring more later."""
        return True

    def askings(self, states: Sequence[SeriesState]) -> list[Asking]:
        """The series that are asked for once more, apart by what must be taken for them."""
        return [([*states], ())]

    def has_learned(self) -> bool:
        """Whether a second round would offer more than the first."""
        return False

    def reached(self, states: Iterable[SeriesState]) -> bool:
        """Whether the PACS has ever sent anything to the destination."""
        return any(state.files for state in states)

    def look_back(self, finds: Finds) -> None:  # noqa: B027 - a way that has nothing to ask
        """Asks what is to be said of what has come; may raise AssociationError."""

    def advice(self, why: str, end: MoveState | None = None) -> str:
        """What to do where nothing comes; `why`: how the last request ended, `end`: the same as it was told."""
        return f"have the AE title {self.terms.destination} declared on the PACS"

    def remark(self, state: SeriesState) -> str:
        """What is to be said of a series at the end; "" for nothing."""
        return ""

    def afterword(self, states: Iterable[SeriesState]) -> str:
        """What the user is told at the end; "" for nothing."""
        return ""


class Elsewhere(Way):
    """C-MOVE to another AE title, series by series; what arrives there, only the counters tell."""

    binaries = ("movescu",)
    cut = Cut(one_series_each=True)
    sees = False
    compares = False

    def __init__(self, means: Means) -> None:
        super().__init__(means, _move_terms(means, means.config.move_aet))

    def open(
        self, states: Sequence[SeriesState], classes: Sequence[str], every: AllSeries
    ) -> AbstractContextManager[Place]:
        """See `Way`."""
        return nullcontext(_Nowhere())

    def prepare(self, finds: Finds, states: Sequence[SeriesState], *, uid_lists: bool) -> Iterator[str]:
        """See `Way`."""
        if self.means.config.tls is not None:
            yield (
                f"only what is asked goes by TLS: how the PACS sends the images to {self.terms.destination} is entered "
                "there"
            )

    def advice(self, why: str, end: MoveState | None = None) -> str:
        """See `Way`; whether the destination is known only some statuses tell."""
        place = "with the address and port where it listens"
        declare = f"{super().advice(why)}, {place}"
        if end is None or end.status == MOVE_DESTINATION_UNKNOWN:
            return declare
        name = self.terms.destination
        listen = f"see that {name} listens at the address and port that the PACS has for it, and takes what is sent"
        return f"the PACS knows {name}: {listen}" if end.failed else f"{declare}; if it is, {listen}"


class ToReceiver(Way):
    """C-MOVE to DCMTK's storescp, which runs here while the way is open."""

    binaries = ("movescu", "storescp")

    def __init__(self, means: Means) -> None:
        super().__init__(means, _move_terms(means, means.config.aet))
        self._refused = Refused()
        self._converted = Converted()
        self._contacted = False
        self._callers = Callers()
        self._ahead: Receiver | None = None
        self._last: Receiver | None = None

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """See `Way`; with --hours it may be long until anything is asked for."""
        if self.means.options.hours:
            yield
            return
        receiver = self._ahead = self._receiver(self.means.options.sop_classes)
        with ExitStack() as stack:
            stack.callback(receiver.end)
            receiver.start()
            yield

    def prepare(self, finds: Finds, states: Sequence[SeriesState], *, uid_lists: bool) -> Iterator[str]:
        """See `Way`."""
        if self.means.config.tls is not None and self.means.config.receiver_tls is None:
            yield "only what is asked goes by TLS: the images come unencrypted (--tls_plain_images)"

    @contextmanager
    def open(
        self, states: Sequence[SeriesState], classes: Sequence[str], every: AllSeries
    ) -> Iterator[Place]:
        """See `Way`; SOP classes that senders proposed and an earlier receiver did not know are taken too."""
        with self._next_receiver([*classes, *self._refused.classes]) as receiver:
            self._last = receiver
            arrivals = NotedArrivals(receiver.folder, self._converted)
            inbox = _Inbox(arrivals, self.means.placer, every, self._callers, receiver)
            with _emptied(inbox, states):
                yield inbox
            self._refused.classes |= dict.fromkeys(receiver.refused_classes())

    @property
    def apart(self) -> bool:
        """See `Way`."""
        return self._refused.seen

    def unfit(self, since: float, part: Part) -> bool:
        """See `Way`."""
        if self._last is None:
            return False
        _, states = part
        return self._refused.hear(self._last.refusals(since), states)

    def askings(self, states: Sequence[SeriesState]) -> list[Asking]:
        """See `Way`: by SOP classes, of which a receiver takes 128."""
        return askings(states, [*self._refused.classes])

    def look_back(self, finds: Finds) -> None:
        """See `Way`: in which transfer syntaxes the PACS holds it."""
        self._converted.ask(finds)

    def remark(self, state: SeriesState) -> str:
        """See `Way`: the SOP class or the transfer syntax for which it could not come, or was converted."""
        refused = self._refused.remark(state, self._last) if self._last else ""
        return "; ".join(filter(None, (refused, self._converted.remark(state))))

    def afterword(self, states: Iterable[SeriesState]) -> str:
        """See `Way`."""
        return self._converted.afterword(states)

    def has_learned(self) -> bool:
        """See `Way`: SOP classes that were refused will be taken."""
        return bool(self._refused.classes)

    def reached(self, states: Iterable[SeriesState]) -> bool:
        """See `Way`; an association was opened to us, whatever came of it."""
        self._contacted = self._contacted or (self._last is not None and self._last.contacted())
        return self._contacted or super().reached(states)

    def advice(self, why: str, end: MoveState | None = None) -> str:
        """See `Way`; a PACS that began to send knows the name, but perhaps another address or port."""
        where, name = own_place(self.means.config), self.terms.destination
        if end is not None and end.failed and end.status != MOVE_DESTINATION_UNKNOWN:
            return (
                f"the PACS knows {name}, but does not reach it: have {where} entered for it there, and let no firewall "
                f"stand between{self._over_tls()}"
            )
        return f"{super().advice(why)} with {where}, and let no firewall stand between{self._over_tls()}"

    def _over_tls(self) -> str:
        """What a PACS has to know besides of a receiver by TLS, and what it ran into."""
        config = self.means.config
        tls = config.receiver_tls
        if tls is None:
            return "; see that it sends in plain there (--tls_plain_images)" if config.tls else ""
        said = self._last.tls_fault() if self._last else ""
        seen = f"; a caller's TLS was not good: {said}" if said else ""
        return f"{seen}; {how_to_send(tls)}"

    def _next_receiver(self, classes: Sequence[str]) -> Receiver:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.knows(classes):
                return ahead
            ahead.end()
        return self._receiver(classes)

    def _receiver(self, classes: Sequence[str]) -> Receiver:
        means = self.means
        config = means.config
        return Receiver(
            *(means.toolbox, means.staging, config.aet, config.move_port, classes), tls=config.receiver_tls
        )


class ByGet(Way):
    """C-GET by getscu: one request an association, in one compressed syntax at a time."""

    binaries = ("getscu",)
    cut = Cut(one_request_each=True)
    # Each request has one compressed syntax; in another one an object would contradict itself.
    compares = False

    def __init__(self, means: Means) -> None:
        super().__init__(means, _get_terms(means))
        self._syntaxes = Syntaxes()

    def prepare(self, finds: Finds, states: Sequence[SeriesState], *, uid_lists: bool) -> Iterator[str]:
        """See `Way`: in which syntaxes the PACS holds the series."""
        if not confinement.is_possible():
            yield (
                "this system has no Landlock to keep getscu in its folder: by C-GET objects are stored with the same "
                "values, but not byte for byte"
            )
        if not self._syntaxes.ask(finds, states, uid_lists=uid_lists):
            yield (
                "the PACS does not tell which images it holds compressed: by C-GET they may come decompressed, "
                f"unnoticed; {_AS_HELD}"
            )

    @contextmanager
    def open(
        self, states: Sequence[SeriesState], classes: Sequence[str], every: AllSeries
    ) -> Iterator[Place]:
        """See `Way`; getscu knows a fixed list of SOP classes."""
        inbox = _Inbox(NotedArrivals(self._folder, self._syntaxes), self.means.placer, every)
        with _emptied(inbox, states):
            yield inbox

    def start(self, chunk: Chunk) -> Move:
        """See `Way`."""
        ((request, states),) = chunk.parts
        return self.means.pacs.get(request, self._folder, self._syntaxes.of(states))

    def groups(self, states: Sequence[SeriesState]) -> list[Sequence[SeriesState]]:
        """See `Way`: a request has one syntax."""
        return [*self._syntaxes.groups(states)]

    def others(self, part: Part, end: MoveState, came: int, *, last: bool = False) -> list[Part]:
        """See `Way`: in another syntax."""
        return self._syntaxes.others(part, end, came, last=last)

    def may_repeat(self, part: Part) -> bool:
        """See `Way`: not where all syntaxes were tried in vain."""
        _, states = part
        return not any(map(self._syntaxes.exhausted, states))

    def advice(self, why: str, end: MoveState | None = None) -> str:
        """See `Way`."""
        return "; ".join(filter(None, (why, f"have C-GET allowed to {self.means.config.aet}")))

    def remark(self, state: SeriesState) -> str:
        """See `Way`: what did not come as held, and the SOP classes of what is missing, for getscu's are fixed."""
        missing = "" if state.status.completed else _missing_classes(state)
        return "; ".join(filter(None, (self._syntaxes.remark(state), missing)))

    def afterword(self, states: Iterable[SeriesState]) -> str:
        """See `Way`."""
        told = sum(bool(self._syntaxes.remark(state)) for state in states)
        if not told:
            return ""
        return (
            f"the objects of {told} series did not come in the compressed form in which the PACS holds, or "
            f"once had, them (see the reasons in the log); {_AS_HELD}"
        )

    @property
    def _folder(self) -> Path:
        return received_folder(self.means.staging)


class _Inbox:
    """The place of what comes to us: read as it arrives, renamed into the tree once its request has ended."""

    def __init__(
        self,
        arrivals: Arrivals,
        placer: Placer,
        every: AllSeries,
        callers: Callers | None = None,
        receiver: Receiver | None = None,
    ) -> None:
        self.arrivals = arrivals
        self.placer = placer
        self.every = every
        self._cleared = time.monotonic()
        # Over an association of our own nobody else can send.
        self._callers = callers
        self._receiver = receiver

    def scan(self) -> bool:
        """See `Place`."""
        return self.arrivals.scan() > 0 or self.arrivals.grew()

    def take(self, states: Iterable[SeriesState], end: MoveState | None = None) -> Came:
        """See `Place`."""
        states = tuple(states)
        self.arrivals.scan()
        if end is not None and self._callers is not None:
            keys = [state.series.key for state in states]
            if not self._callers.hear(self.arrivals.callers(keys), end):
                self.placer.doubt(keys)
        known = self._callers.known if self._callers else frozenset()
        tally = self.placer.tally
        instances, size = tally.new_instances, tally.bytes
        for state in states:
            self.placer.place(state, self.arrivals, known)
        return Came(tally.new_instances - instances, tally.bytes - size)

    def check(self) -> None:
        """See `Place`."""
        if self._receiver is not None:
            self._receiver.check()
        if time.monotonic() - self._cleared > _CLEARED_S:
            self._clear()
            self._cleared = time.monotonic()

    def _clear(self) -> None:
        """Takes out of staging what nobody waits for, so that strangers fill no disk while a round goes on."""
        waiting = {key: self.every.get(key) for key in self.arrivals.waiting()}
        self.take(state for state in waiting.values() if state and state.tried and not state.pending)
        for key, state in waiting.items():
            if state is None or not (state.tried or state.pending):
                self.placer.keep_strangers(self.arrivals.take(key), self.every)


class _Nowhere:
    """The place of what goes elsewhere: nothing of it is seen here."""

    def scan(self) -> bool:
        """See `Place`."""
        return False

    def take(self, states: Iterable[SeriesState], end: MoveState | None = None) -> Came:
        """See `Place`."""
        return Came()

    def check(self) -> None:
        """See `Place`."""


@contextmanager
def _emptied(inbox: _Inbox, states: Sequence[SeriesState]) -> Iterator[None]:
    """Keeps what came whole, also of requests that were cut short; strangers go aside after the last scan."""
    try:
        yield
    finally:
        inbox.take(states)
        inbox.placer.set_strangers_aside(inbox.arrivals, inbox.every)


def _missing_classes(state: SeriesState) -> str:
    """The SOP classes of what is missing: C-GET knows a fixed list of them."""
    classes = missing_classes(state) - {""}
    return f"missing are objects of the SOP class {', '.join(sorted(classes))}" if classes else ""


def _move_terms(means: Means, destination: str) -> Terms:
    return Terms(
        server=means.config.server_aet,
        verb="C-MOVE",
        act=f"C-MOVE to {destination}",
        destination=destination,
        reaching=f"reaching {destination}",
        silence=silence_words(means.options.timeouts.silence_timeout_s),
        max_failures=means.options.max_failures,
    )


def _get_terms(means: Means) -> Terms:
    return Terms(
        server=means.config.server_aet,
        verb="C-GET",
        act="C-GET",
        destination=means.config.aet,
        reaching="bringing anything by C-GET",
        silence=silence_words(means.options.timeouts.silence_timeout_s),
        max_failures=means.options.max_failures,
        hangs_up=True,
    )


Kind = type[ToReceiver] | type[ByGet] | type[Elsewhere]


def kinds_of(options: Options) -> tuple[Kind, ...]:
    """The kinds of ways that a run may go, in this order; none where nothing is fetched."""
    if options.dry_run:
        return ()
    if options.move:
        return (Elsewhere,)
    saved: Mapping[str, tuple[Kind, ...]] = {
        "move": (ToReceiver,),
        "get": (ByGet,),
        "auto": (ToReceiver, ByGet),
    }
    return saved[options.retrieve_method] if options.save else ()


def passable(kinds: Sequence[Kind], config: PacsConfig, observer: Observer) -> tuple[Kind, ...]:
    """The kinds without our receiver where its port is taken, or TLS not possible, and another way is left.

    Raises:
        InputError: there is no other.
    """
    if ToReceiver not in kinds:
        return tuple(kinds)
    try:
        if faults := receiver_faults(config.receiver_tls):
            raise InputError(*faults)
        check_port(config.move_port, "'move_port'")
    except InputError as error:
        others = tuple(kind for kind in kinds if kind is not ToReceiver)
        if not others:
            raise
        observer.say(turned(str(error.faults[0])))
        return others
    return tuple(kinds)


def turned(why: str) -> str:
    """How it is told that another way is gone than the first."""
    return f"--retrieve_method auto: C-GET is used instead of C-MOVE: {why}"
