"""From series that are open to series that are settled: asked for once, verified, and once more what is short.

A round opens its way, cuts the work, and handles what the pool tells until all is done: objects are placed first, then
`decide` and `health` say what follows, then it is entered. Objects that come late are waited for before a round ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import AssociationError, ToolError
from pacsifier.transfer.fetch.decide import (
    UNABLE,
    Refusal,
    Said,
    Unable,
    cut_off,
    decide,
    first_of,
    refusal,
)
from pacsifier.transfer.fetch.health import after, may_hide_unreached, told
from pacsifier.transfer.fetch.lists import doubted, heard, trusted
from pacsifier.transfer.fetch.pool import CutOff, Ended, Event, NotAdmitted, Pool
from pacsifier.transfer.fetch.verdict import (
    conclude,
    is_complete,
    is_short,
    judge,
    lasting,
    moved_by,
    proven,
    unproven,
)
from pacsifier.transfer.fetch.ways import Place, Way, turned
from pacsifier.transfer.fetch.work import Task, batches, chunks, one_chunk
from pacsifier.transfer.find.images import tell_instances
from pacsifier.transfer.model import Chunk, Cut, Lasting, Part, Plan, SeriesState, Status, Stop
from pacsifier.transfer.run import Run

log = logging.getLogger(__name__)

_POLL_S = 0.01
_LONGEST_SETTLE = 15
_LAG_S = 0.5


@dataclass(frozen=True)
class Round:
    """What a round works with; `again`: it asks for what is short, `whole`: for studies as a whole, to compare.

    `tick` writes the log now and then, `claim` once what has come is on the disk itself, before a pause.
    """

    way: Way
    run: Run
    plan: Plan
    tick: Callable[[], None]
    claim: Callable[[], None]
    again: bool = False
    whole: bool = False

    @property
    def cut(self) -> Cut:
        """How small the requests must be; with a rate the work comes in pieces as small as can be."""
        own, rated = self.way.cut, self.run.traffic.one_request_each
        return Cut(
            one_series_each=not self.whole and (self.again or own.one_series_each or rated),
            one_request_each=own.one_request_each or rated or (self.again and self.way.apart),
        )

    @property
    def reached(self) -> bool:
        """Whether the PACS has ever sent anything to the destination."""
        return self.way.reached(self.plan.states)

    def once(self, state: SeriesState) -> bool:
        """Whether an earlier run, or the first round, found that the series fails for good by this way."""
        in_vain = self.again and state.lasting is Lasting.NOT_SENT
        return in_vain or state.failed_by == self.way.terms.act


def fetch(
    plan: Plan, ways: Sequence[Way], run: Run, tick: Callable[[], None], claim: Callable[[], None]
) -> None:
    """Asks for all open series by the first way that reaches us, verifies, and asks once more for what is short.

    Afterwards every open series has its verdict; of a run that is interrupted, every one that was begun.

    Raises:
        InputError: another run has taken the output folder over.
        AssociationError: the PACS never admitted an association.
        ToolError: a DCMTK binary cannot be started.
    """
    todo = plan.todo
    _tell_of_work(todo, run)
    if not todo and not plan.short:
        return
    way = ways[0]
    try:
        for number, way in enumerate(ways if todo else (), 1):
            this = Round(way, run, plan, tick, claim)
            _prepare(this, plan.todo)
            _tell_of_failed(plan.todo, this)
            _one_round(plan.todo, this)
            if number == len(ways) or not _turns(this):
                break
        # What the PACS refused for good it would refuse again.
        short = [state for state in _verify(todo, way, run) if not state.refused and _may_differ(state, this)]
        if short and not run.stop:
            _ask_once_more(short, Round(way, run, plan, tick, claim, again=True))
        _compare_studies(Round(way, run, plan, tick, claim, whole=True))
        if not run.stop:
            _look_back(way, run)
    except Exception:
        raise
    except BaseException:
        # A signal: what was not begun has not failed.
        done = sum(state.status.settled for state in todo)
        run.observer.say(f"{done} of {len(todo)} series done, {len(todo) - done} left")
        todo = [state for state in todo if not state.pending or state.tried or state.files]
        raise
    finally:
        _close(todo, way, plan, run)


def _ask_once_more(short: Sequence[SeriesState], this: Round) -> None:
    """Asks for series that are incomplete, apart by what must be taken for them, and verifies."""
    this.run.observer.say(f"{len(short)} series are incomplete; asking for them once more")
    for some, classes in this.way.askings(short):
        _one_round([state for state in some if state.pending], this, classes)
    _verify(short, this.way, this.run)


def _compare_studies(this: Round) -> None:
    """Asks for whole studies of which fewer series are listed than announced, where that can still decide."""
    plan, run = this.plan, this.run
    undecided = unproven(plan, run.whole_studies, run.aside.unasked())
    if undecided and not run.stop and this.way.compares and run.known.whole_studies:
        run.observer.say(
            f"of {len(undecided)} studies fewer series are listed than announced; asking for all of them to compare"
        )
        _one_round([state for states in undecided.values() for state in states], this)
    run.proven = proven(plan, run.whole_studies, run.aside.unasked())


def _look_back(way: Way, run: Run) -> None:
    """Asks what is to be said of what has come; all of it is there, whatever the answer."""
    try:
        way.look_back(run.finds)
    except AssociationError as error:
        log.info("how the PACS holds the images could not be asked: %s", error)


def _may_differ(state: SeriesState, this: Round) -> bool:
    """Whether a second asking may bring what the first did not."""
    return not this.once(state) or this.way.has_learned()


def _close(states: Sequence[SeriesState], way: Way, plan: Plan, run: Run) -> None:
    """The last word on each series; of what a run that stops leaves, an earlier run knows better whether it lasts."""
    remarks = run.aside.remarks()
    reached = way.reached(plan.states)
    for state in states:
        state.close(run.stop.reason if run.stop else "")
        if state.tried and (run.stop is None or run.stop.failures):
            state.remember(way.terms.act, proven=reached)
        state.remark(way.remark(state), remarks.get(state.series.key, ""))
    if words := way.afterword(states):
        run.observer.say(words)
    for state in plan.states:
        if state.series.study_uid in run.proven:
            announced = plan.short[state.series.study_uid].announced
            state.remark(f"announced differs: {announced} series of the study")


def _tell_of_work(todo: Sequence[SeriesState], run: Run) -> None:
    # It would be asked afterwards; asked now, it also says how much work there is.
    unknown = [state for state in todo if state.series.expected is None]
    run.lost(tell_instances(run.finds, unknown, uid_lists=run.known.uid_lists))
    numbers = [state.series.expected for state in todo]
    run.observer.planned(len(todo), None if None in numbers else sum(number or 0 for number in numbers))


def _tell_of_failed(todo: Sequence[SeriesState], this: Round) -> None:
    if known := sum(map(this.once, todo)):
        this.run.observer.say(
            f"{known} series failed for good before (see FailedForGood in the log): each is asked for once, without "
            "repeats"
        )


def _turns(this: Round) -> bool:
    """Whether this way brought nothing for want of a way to us, and the next is to be tried; the user is told."""
    way, run = this.way, this.run
    if this.reached or (run.stop is not None and not run.stop.unreachable):
        return False
    nothing = f"nothing reached port {run.job.config.move_port}: {way.advice('')}"
    run.observer.say(turned(run.stop.reason if run.stop else nothing))
    run.stop = None
    return True


def _prepare(this: Round, states: Sequence[SeriesState]) -> None:
    run = this.run
    try:
        for words in this.way.prepare(run.finds, states, uid_lists=run.known.uid_lists):
            run.observer.say(words)
    except AssociationError as error:
        run.lost(error)


def _one_round(states: Sequence[SeriesState], this: Round, needed: Sequence[str] = ()) -> None:
    """Asks once for all the series; `needed`: the SOP classes that must come first."""
    plan, run = this.plan, this.run
    if run.stop or not states:
        return
    classes = [*needed, *run.job.options.sop_classes, *sorted(plan.sop_classes)]
    if this.again:
        listed = {instance.sop_class for state in states for instance in state.series.instances or ()}
        classes += sorted(listed - {""})
    with this.way.open(states, classes, plan.every) as place:
        _work_in_batches(states, place, this)
        if this.way.sees:
            _settle(states, place, run)


def _work_in_batches(states: Sequence[SeriesState], place: Place, this: Round) -> None:
    """Works in batches of `batch_size` series with the configured pause between them."""
    run, config, way = this.run, this.run.job.config, this.way
    silence_timeout_s = run.job.options.timeouts.silence_timeout_s
    hold_last = not this.cut.one_request_each
    pool = Pool(way.start, way.explain, run.traffic, silence_timeout_s, hold_last=hold_last)
    # A study must not be cut where it is asked for as a whole.
    every_batch = [states] if this.whole else batches(states, config.batch_size, config.batch_wait_s)
    try:
        for number, batch in enumerate(every_batch, 1):
            pool.add(_cut(batch, this))
            _work(pool, place, this)
            if run.stop:
                break
            if number < len(every_batch):
                this.claim()
                log.info("batch %d of %d done; pausing %g s", number, len(every_batch), config.batch_wait_s)
                time.sleep(config.batch_wait_s)
    finally:
        pool.close()


def _cut(batch: Sequence[SeriesState], this: Round) -> Iterator[Task]:
    """The work of a batch; what failed for good before comes last, each series by a request of its own."""
    failed = [state for state in batch if this.once(state)]
    others = [state for state in batch if not this.once(state)]
    for states, once in ((others, False), (failed, True)):
        for group in this.way.groups(states):
            for chunk in _chunks(group, this, one_series_each=once or this.cut.one_series_each):
                yield Task(chunk, once=once)


def _chunks(group: Sequence[SeriesState], this: Round, *, one_series_each: bool) -> list[Chunk]:
    return chunks(
        group,
        this.run.job.options.associations,
        this.plan.series_of_study,
        this.run.known,
        one_series_each=one_series_each,
        one_request_each=this.cut.one_request_each,
        alone=() if this.again else this.plan.short,
    )


def _work(pool: Pool, place: Place, this: Round) -> None:
    """Works until every task has ended, or the run is stopped."""
    run = this.run
    while pool.working or (pool.waiting and not run.stop):
        _check_place(this)
        try:
            place.check()
        except ToolError as error:
            run.halt(Stop(str(error)))
        _start_what_is_due(pool, place, this)
        for event in pool.step(heard=place.scan()):
            _handle(event, pool, place, this)
        if run.stop:
            pool.end()
        moved = 0 if this.way.sees else sum(state.moved for state in this.plan.states)
        tally = run.placer.tally
        run.observer.progress(run.done, tally.new_instances + moved, tally.bytes)
        this.tick()
        pool.rest()


def _check_place(this: Round, *, now: bool = False) -> None:
    """Stops the run before the disk is full; `now`: also where that was looked at a moment ago.

    Raises:
        InputError: another run has taken the output folder over.
    """
    run = this.run
    run.check_lock()
    if this.way.sees:
        tally = run.placer.tally
        ahead = _instances_ahead(this.plan.states)
        if reason := run.room.look(tally.new_instances, tally.bytes, ahead, now=now):
            run.halt(Stop(reason))


def _instances_ahead(states: Iterable[SeriesState]) -> Callable[[], int]:
    def ahead() -> int:
        pending = (state for state in states if state.pending)
        return sum(max(0, (state.series.expected or 0) - len(state.found)) for state in pending)

    return ahead


def _start_what_is_due(pool: Pool, place: Place, this: Round) -> None:
    run = this.run
    while not run.stop and (task := pool.due()):
        if task.doubt:
            pool.add(_without_what_came(task, place, this))
            continue
        # While lists are in doubt, none is asked for.
        known = run.known
        for kind in this.way.lists.doubted:
            known = UNABLE[kind].enter(known)
        first, rest = first_of(task, known, reached=this.reached, single=this.cut.one_request_each)
        pool.add([rest] if rest else [])
        pool.start(first)


def _without_what_came(task: Task, place: Place, this: Round) -> list[Task]:
    """What of a task that may have been on its way is to be asked for; it waits on as long as some comes."""
    states = [state for _, each in task.chunk.parts for state in each]
    came = place.take(states).instances
    parts = [part for part in task.chunk.parts if not all(is_complete(state) for state in part[1])]
    if parts and came:
        return [replace(task, chunk=one_chunk(parts))]
    this.way.lists = trusted(this.way.lists, task.doubt)
    if not parts:
        return []
    _learn(UNABLE[task.doubt], this.run)
    return [replace(task, chunk=one_chunk(parts), wait_s=0.0, first=True, doubt="")]


def _learn(unable: Unable, run: Run) -> None:
    run.known = unable.enter(run.known)
    log.info("the PACS does not take %s: asking for %s", unable.refused, unable.instead)


def _handle(event: Event, pool: Pool, place: Place, this: Round) -> None:
    """What came is placed before anything is said of it."""
    way = this.way
    way.health = replace(way.health, associated=way.health.associated or pool.admitted)
    if isinstance(event, NotAdmitted):
        _wait_for_admission(event, pool, this)
        return
    if isinstance(event, CutOff):
        said = _of_cut_off(event, place, this)
        _enter(said, event, this, silent=event.silent)
    else:
        said = _of_end(event, place, this)
        _enter(said, event, this)
    pool.add(said.again)


def _of_cut_off(event: CutOff, place: Place, this: Round) -> Said:
    way, run = this.way, this.run
    wait_s = run.traffic.retry.wait_s(event.task.repeats)
    came_of = [place.take(states).instances for _, states in event.parts]
    unfit = way.unfit(_surely_before(event), event.parts[0])
    stopped = run.stop is not None
    said = cut_off(event, wait_s, way.terms.silence, stopped=stopped, lists=way.lists, unfit=unfit)
    if not stopped and not event.silent and not unfit:
        _hear_of_lists(event.parts[0], event.ends[0], came_of[0], this)
    return said


def _of_end(event: Ended, place: Place, this: Round) -> Said:
    way, run = this.way, this.run
    wait_s = run.traffic.retry.wait_s(event.task.repeats)
    # An end is believed only where its objects had room.
    _check_place(this, now=True)
    request, states = event.part
    came = place.take(states, event.end)
    if request.of_one_study:
        run.whole_studies[request.study_uids[0]] = event.end
    run.traffic.brought(max(came.instances, event.end.begun), came.bytes, event.since)
    last, once = wait_s is None, event.task.once
    others = [] if once else way.others(event.part, event.end, came.instances, last=last)
    unfit = way.unfit(_surely_before(event), event.part)
    said = decide(
        *(event, came.instances, others, wait_s if way.may_repeat(event.part) else None),
        verb=way.terms.verb,
        sees=way.sees,
        lists=way.lists,
        unfit=unfit,
        settle_s=run.job.options.timeouts.settle_time_s,
    )
    if not unfit:
        _hear_of_lists(event.part, event.end, came.instances, this)
    way.lists = doubted(way.lists, (task.doubt for task in said.again))
    return said


def _surely_before(event: Ended | CutOff) -> float:
    """A time before a request began; behind others its begin is known only from when their ends were read."""
    return event.since - (_LAG_S if len(event.task.chunk.parts) > 1 else 0.0)


def _enter(said: Said, event: Ended | CutOff, this: Round, *, silent: bool = False) -> None:
    """Enters what an end says into the series, the run and the health of the way."""
    way, run = this.way, this.run
    why = told(said.end, way.terms.act)
    for state in said.postponed:
        state.postpone(why, lasting(state, said.end, said.postponed))
    if said.settled:
        _conclude(said, why, time.monotonic() - event.since, this)
    if said.unable:
        _learn(said.unable, run)
    if said.counts:
        settled = bool(said.settled)
        way.health, stop = after(
            way.health, said.end, way.terms, reached=this.reached, settled=settled, silent=silent
        )
        if stop is not None and stop.unreachable:
            stop = replace(stop, reason=f"{stop.reason}: {way.advice(why, said.end)}")
        elif not way.advised and stop is None and may_hide_unreached(said.end, reached=this.reached):
            way.advised = True
            run.observer.say(f"{why}, and nothing has come yet: {way.advice('', said.end)}")
        run.halt(stop)
    if said.warning and not run.stop:
        log.warning("%s", said.warning)


def _hear_of_lists(part: Part, end: MoveState, came: int, this: Round) -> None:
    """Learns from what requests with one UID bring where a list brought nothing."""
    this.way.lists, not_understood = heard(this.way.lists, part[0], end, came)
    for kind in sorted(not_understood):
        _learn(UNABLE[kind], this.run)


def _conclude(said: Said, why: str, seconds: float, this: Round) -> None:
    alone = len(said.settled) == 1
    elsewhere = alone and not this.way.sees
    for state in said.settled:
        this.run.done += not state.tried
        moved = moved_by(state, said.end) if elsewhere else None
        state.take_time(seconds / len(said.settled), moved)
        if state.pending:
            conclude(state, said.end, why, of=said.settled, unfit=said.unfit)
            log.info("series %s: %s %s", state.series.series_uid, state.status.value, state.reason)


def _wait_for_admission(event: NotAdmitted, pool: Pool, this: Round) -> None:
    """There was no association: the task waits, unless there never was one, or too many tries were in vain."""
    way, run = this.way, this.run
    # On a full disk the tool's log could not be written: nothing is known of the association.
    _check_place(this, now=True)
    if run.stop:
        return
    meaning = refusal(event, associated=way.health.associated)
    if meaning is Refusal.FOR_GOOD:
        raise event.error
    if meaning is Refusal.TOO_MANY:
        run.traffic.rejected(event.beside)
    elif not run.traffic.lost():
        if not way.health.associated:
            raise event.error
        run.lost(event.error)
    pool.add([replace(event.task, wait_s=0.0, first=True)])


def _settle(states: Sequence[SeriesState], place: Place, run: Run) -> None:
    """Waits for objects that come after the final response, as long as a series is short and some do come.

    What does not belong to the series, such as a stranger's objects, is not waited for without end.
    """
    settle_s = run.job.options.timeouts.settle_time_s
    heard = came = time.monotonic()
    while time.monotonic() - heard < settle_s and time.monotonic() - came < _LONGEST_SETTLE * settle_s:
        if place.scan():
            heard = time.monotonic()
        if place.take(states).instances:
            heard = came = time.monotonic()
        # Of what was judged and discarded nothing more is wanted.
        if not any(state.tried and state.pending and is_short(state) for state in states):
            return
        time.sleep(_POLL_S)


def _verify(states: Sequence[SeriesState], way: Way, run: Run) -> list[SeriesState]:
    """Settles by the IMAGE level what counts and statuses left open; returns the series that remain short."""
    still_open = [state for state in states if state.pending and state.tried]
    doubted = [state for state in run.placer.doubted(states) if state not in still_open]
    if not run.stop:
        unlisted = [state for state in (*still_open, *doubted) if state.series.instances is None]
        run.lost(tell_instances(run.finds, unlisted, uid_lists=run.known.uid_lists))
    run.placer.claim_strangers([*still_open, *doubted])
    for state in run.placer.doubted([*still_open, *doubted]):
        run.placer.set_unlisted_aside(state)
    for state in doubted:
        if state.status is Status.COMPLETE and not is_complete(state):
            state.reopen()
            still_open.append(state)
    for state in still_open:
        judge(state, moved=not way.sees)
    return [state for state in still_open if state.pending]
