"""The way of every query row, in stages: find, plan, fetch, verify, record. Save, info, move, resume and dry run.

Nothing below calls back up: stages take values and return values; only this module, `resume` and `fetch/rounds` hold
the `Run`. Orders that protect: what an earlier run placed is read before anything is fetched; what comes is placed
before it is judged; strangers are set aside after the last scan; staging is emptied before the tables are written,
since on a full disk they need its room; the audit line comes last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.disk.durable import wait_until_on_disk
from pacsifier.disk.info import write_info
from pacsifier.disk.lock import OutputLock, temporary_folder
from pacsifier.disk.names import LOG_FOLDER
from pacsifier.disk.tree import SeriesIdentity, Tree
from pacsifier.errors import InputError
from pacsifier.transfer.fetch.aside import Limits
from pacsifier.transfer.fetch.placing import Placer
from pacsifier.transfer.fetch.rounds import fetch
from pacsifier.transfer.fetch.space import DiskWatch
from pacsifier.transfer.fetch.traffic import Traffic
from pacsifier.transfer.fetch.ways import Means, Way, kinds_of, passable
from pacsifier.transfer.find.against import held_against
from pacsifier.transfer.find.asking import CarefulFinds
from pacsifier.transfer.find.finder import find as find_series
from pacsifier.transfer.find.images import tell_instances
from pacsifier.transfer.model import Found, Plan, SeriesState, Status
from pacsifier.transfer.options import Job, Observer
from pacsifier.transfer.plan import first_of_each_kind, make_plan, within_limit
from pacsifier.transfer.record.audit import write_audit
from pacsifier.transfer.record.conflicts import open_conflicts, still_open, write_conflicts
from pacsifier.transfer.record.journal import Journal
from pacsifier.transfer.record.new_ids import write_new_ids
from pacsifier.transfer.record.outcomes import (
    ROWS_NAME,
    Outcome,
    by_row,
    outcomes_of,
    rows_in_doubt,
    write_rows,
)
from pacsifier.transfer.record.reporting import write_report
from pacsifier.transfer.record.summary import Summary, row_plans, summed_up
from pacsifier.transfer.record.unexpected import write_unexpected
from pacsifier.transfer.resume import skip_what_is_there
from pacsifier.transfer.run import Run

log = logging.getLogger(__name__)

# The lists of more series than these take a while, for which a person gets a reason.
_COUNTED_SILENTLY = 200
# Where the rows stand that are not told one by one.
_RECORDED = f"what becomes of each will be in {LOG_FOLDER}/{ROWS_NAME} at the end"
_PLANNED = "the table of the dry run has a line for each"
_TELL_EVERY_S = 0.5


def retrieve(job: Job, observer: Observer, toolbox: Toolbox) -> Summary:
    """Does the whole run: save, info, move, resume or dry run of every query row.

    Raises:
        InputError: the output folder or the receive port cannot be used.
        AssociationError: there was no association with the PACS.
        ToolError: a DCMTK binary is missing or died.
    """
    started = time.monotonic()
    options = job.options
    with open_run(job, observer, toolbox) as (run, ways), ahead(ways):
        found = find(run)
        if options.dry_run:
            summary = _rehearse(found, run)
        else:
            destination = job.config.move_aet if options.move else ""
            journal = Journal(run.tree, job.table, destination, job.name)
            plan = make_plan(found, options, journal.moved_to(job.config.move_aet))
            # As found, 100,000 series take as much again as what becomes of them.
            del found
            recall(plan, journal)
            confirm(plan, observer, dry_run=False)
            write_infos(plan, run)
            run.tree.heed(journal.earlier.folders)
            if options.save and options.resume:
                skip_what_is_there(plan.states, run, open_conflicts(run.tree), journal.earlier.claimed)
            teller = SeriesTeller(plan.states, observer)
            with recorded(plan, run, journal, teller) as record:
                if ways:
                    _fetch_within_limit(plan, ways, run, journal, teller)
                record.problems += write_new_ids(run.tree, plan.states, plan.rows, info=options.info)
            summary = record.summary
    return replace(summary, seconds=time.monotonic() - started)


@contextmanager
def open_run(job: Job, observer: Observer, toolbox: Toolbox) -> Iterator[tuple[Run, list[Way]]]:
    """The resources of a run and the ways that it may go, under the lock of the output folder.

    A dry run, which writes nothing, works in a temporary folder.
    """
    options, config = job.options, job.config
    kinds = kinds_of(options)
    toolbox.require(["findscu", *(binary for kind in kinds for binary in kind.binaries)])
    kinds = passable(kinds, config, observer)
    with ExitStack() as stack:
        lock = None if options.dry_run else stack.enter_context(OutputLock(job.out))
        staging = lock.staging if lock else stack.enter_context(temporary_folder())
        pacs = Pacs(config, toolbox, staging, options.timeouts, observer.finding)
        traffic = Traffic(options, observer)
        tree = Tree(job.out)
        limits = Limits(options.max_unexpected, options.max_unexpected_bytes, options.min_free_bytes)
        placer = Placer(
            *(tree, job.table.queries, options.excluded),
            info=options.info,
            limits=limits,
            conflicts=open_conflicts(tree),
        )
        run = Run(
            job=job,
            observer=observer,
            tree=tree,
            lock=lock,
            finds=CarefulFinds(pacs, traffic.retry, traffic.wait_until_open, traffic.most),
            traffic=traffic,
            placer=placer,
            aside=placer.aside,
            room=DiskWatch(job.out, options.min_free_bytes, observer),
            known=options.capabilities,
        )
        means = Means(config, options, toolbox, pacs, staging, placer)
        yield run, [kind(means) for kind in kinds]


@contextmanager
def ahead(ways: Sequence[Way]) -> Iterator[None]:
    """Starts what the first way will need, while the finds run."""
    with ExitStack() as stack:
        if ways:
            stack.enter_context(ways[0].ahead())
        yield


def find(run: Run) -> Found:
    """The series that the rows ask for."""
    options = run.job.options
    found = find_series(
        run.finds,
        run.job.table.queries,
        image_values=options.info,
        list_all=options.list_all,
        headers_decide=options.save,
        shard=options.shard,
    )
    if found.missing_keys:
        log.info("the PACS does not return %s", ", ".join(found.missing_keys))
    return held_against(found, run.job.table) if run.job.table.chosen else found


def confirm(plan: Plan, observer: Observer, *, dry_run: bool) -> None:
    """Tells what is to be known before the work, and asks about rows that match too much.

    Raises:
        InputError: a row was not confirmed.
    """
    told, others = first_of_each_kind(plan.notes)
    for line in told:
        observer.say(line)
    for line in others:
        log.info("%s", line)
    for question in plan.questions:
        if not observer.confirm(question.words):
            raise InputError(question.refusal)
    if others:
        # Only now: a run that was not confirmed writes no table.
        observer.say(f"--verbose shows all rows; {_PLANNED if dry_run else _RECORDED}")
    if plan.last_note:
        observer.say(plan.last_note)


def recall(plan: Plan, journal: Journal) -> None:
    """What earlier runs found to fail for good will be asked for once."""
    failed = journal.earlier.failed
    for state in plan.states:
        if state.series.key in failed:
            state.recall(*failed[state.series.key])


def write_infos(plan: Plan, run: Run) -> None:
    """Writes the info CSVs of series of which no image will come; with --save they are written as the images come."""
    if run.job.options.info and not run.job.options.save:
        for state in plan.states:
            if state.status is not Status.LEFT_OUT:
                write_info(run.tree.info_path(SeriesIdentity.of(state.series.values)), state.series.values)


def _fetch_within_limit(
    plan: Plan, ways: Sequence[Way], run: Run, journal: Journal, teller: SeriesTeller
) -> None:
    """Fetches what is open; where some of it was not wanted after all, further series until --limit is reached."""
    tick = ticking(plan, run, journal, teller)

    def claim_all() -> None:
        claim(plan, run, journal)

    fetch(plan, ways, run, tick, claim_all)
    while not run.stop and (more := within_limit(plan.states, run.job.options.limit)):
        for state in more:
            state.take()
        fetch(plan, ways, run, tick, claim_all)


def ticking(plan: Plan, run: Run, journal: Journal, teller: SeriesTeller) -> Callable[[], None]:
    """What is written down now and then; a contradiction at once, so that a kill does not hide it."""
    earlier, seen = open_conflicts(run.tree), 0

    def tick() -> None:
        nonlocal seen
        if run.job.options.save and run.placer.tally.unexpected != seen:
            seen = run.placer.tally.unexpected
            write_conflicts(run.tree, still_open(earlier, plan.states, run.aside.contradictions()))
        journal.tick()
        teller.tick()

    return tick


class SeriesTeller:
    """Tells the observer what has become of each series, now and then, where it wants to hear of it."""

    def __init__(self, states: Sequence[SeriesState], observer: Observer) -> None:
        self._states = states if observer.tells_series else ()
        self._observer = observer
        self._told: list[Status] = [Status.PENDING] * len(self._states)
        self._next = 0.0

    def tick(self, *, last: bool = False) -> None:
        """Tells of those that are settled, and not yet told of as that; what may still be lost only at the last."""
        started = time.monotonic()
        if started < self._next and not last:
            return
        for place, state in enumerate(self._states):
            if state.status is not self._told[place] and (last or not state.arrived):
                self._told[place] = state.status
                self._observer.settled(state)
        now = time.monotonic()
        self._next = now + max(_TELL_EVERY_S, 20 * (now - started))


def claim(plan: Plan, run: Run, journal: Journal) -> None:
    """Writes the log once what has come until now is on the disk itself."""
    secure(plan, run)
    journal.write_log()


def secure(plan: Plan, run: Run) -> None:
    """Waits until what has come in this run is on the disk; what could not be written is not complete."""
    fresh = [state for state in plan.states if state.arrived]
    if not fresh:
        return
    folders = [state.folder for state in fresh if state.folder is not None]
    files = (path for folder in folders for path in folder.iterdir())
    error = ""
    try:
        wait_until_on_disk(run.tree.folder, files)
    except OSError as failed:
        error = f"its images could not be written to the disk: {failed.strerror or failed}"
    for state in fresh:
        state.settle_on_disk(error)


class Record:
    """What a run has to tell at its end; `summary` is there once it was written down."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.summary = Summary()


@contextmanager
def recorded(plan: Plan, run: Run, journal: Journal, teller: SeriesTeller) -> Iterator[Record]:
    """Keeps the tables true on every way out: log, rows and redo, audit."""
    began, ended = time.monotonic(), "interrupted"
    record = Record()
    journal.follow((*plan.states, *plan.barred))
    try:
        yield record
        ended = "ended"
    finally:
        # What is in staging was never counted; on a full disk the tables need its room.
        run.make_room()
        left = still_open(open_conflicts(run.tree), plan.states, run.aside.contradictions())
        if run.job.options.save:
            write_conflicts(run.tree, left)
        for state in plan.states:
            if state.status is Status.NOT_WANTED:
                run.tree.drop_info(SeriesIdentity.of(state.series.values))
        # On the disk before a table says so.
        secure(plan, run)
        aside = run.aside.unexpected()
        kept = frozenset(each.study_uid for each in aside)
        saved = run.job.options.save
        rows = rows_in_doubt(plan, run.proven, run.aside.unasked(), saved=saved, kept=kept)
        outcomes = outcomes_of(rows, by_row(plan.states))
        redo = write_rows(run.tree, run.job.table, outcomes)
        record.summary = replace(_sum_up(plan, run, outcomes, record.problems), redo=redo)
        journal.write_log()
        teller.tick(last=True)
        patients = write_report(run.tree, run.job, plan, outcomes, record.summary, ended=ended)
        record.summary = replace(record.summary, patients=patients)
        write_unexpected(run.tree, aside)
        write_audit(run.tree, run.job, record.summary, ended, time.monotonic() - began)
        journal.close()


def _rehearse(found: Found, run: Run) -> Summary:
    """What a run would do, with nothing fetched and nothing written."""
    options = run.job.options
    plan = make_plan(found, options)
    confirm(plan, run.observer, dry_run=True)
    if options.save and options.resume:
        skip_what_is_there(plan.states, run, open_conflicts(run.tree))
    _count_instances([state for state in plan.states if state.status in (Status.PENDING, Status.LISTED)], run)
    for state in plan.todo:
        state.list()
    wanting = by_row(plan.states)
    outcomes = outcomes_of(rows_in_doubt(plan, (), {}, saved=False), wanting)
    rows = row_plans(run.job.table.queries, outcomes, wanting)
    return replace(_sum_up(plan, run, outcomes), plan=tuple(rows))


def _count_instances(states: Sequence[SeriesState], run: Run) -> None:
    """Asks the IMAGE level for the instances of series of which the PACS announced no number."""
    unknown = [state for state in states if state.series.expected is None]
    if len(unknown) > _COUNTED_SILENTLY:
        run.observer.say(
            f"the PACS announces no numbers of instances: it is asked for the lists of {len(unknown)} series"
        )
    run.lost(tell_instances(run.finds, unknown, uid_lists=run.known.uid_lists))


def _sum_up(plan: Plan, run: Run, outcomes: Mapping[int, Outcome], problems: Sequence[str] = ()) -> Summary:
    return summed_up(
        plan, run.job.table.queries, outcomes, run.placer.tally, stop=run.stop, problems=problems
    )
