"""The way of a query row: find, plan, move, place, compare, write down. Save, info, move and resume.

`Retrieval.run` reads from top to bottom; finding, chunks and tables are called from here and know nothing of it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import confinement
from pacsifier.dcmtk.association import own_place
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import Receiver, check_port, received_folder
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, SUCCESS, MoveState
from pacsifier.disk.files import write_whole
from pacsifier.disk.info import write_info
from pacsifier.disk.lock import OutputLock, temporary_folder
from pacsifier.disk.tree import SeriesIdentity, Tree
from pacsifier.errors import AssociationError, InputError
from pacsifier.query import QueryTable
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.fetch.engine import Engine
from pacsifier.transfer.fetch.placing import Placer
from pacsifier.transfer.fetch.space import DiskWatch
from pacsifier.transfer.fetch.syntaxes import NotedArrivals, Syntaxes
from pacsifier.transfer.fetch.traffic import Traffic
from pacsifier.transfer.fetch.verdict import (
    close,
    conclude,
    is_clean,
    is_complete,
    is_short,
    judge,
    untold_columns,
)
from pacsifier.transfer.fetch.work import Breaker, batches, chunks
from pacsifier.transfer.find.answers import looks_capped
from pacsifier.transfer.find.asking import CarefulFinds
from pacsifier.transfer.find.finder import find
from pacsifier.transfer.find.images import instances_of, list_instances
from pacsifier.transfer.model import Found, Part, SeriesState, Status
from pacsifier.transfer.options import Observer, Options
from pacsifier.transfer.record.journal import Journal
from pacsifier.transfer.record.outcomes import row_outcome
from pacsifier.transfer.record.summary import RowPlan, Summary

log = logging.getLogger(__name__)

_POLL_S = 0.01
_LONGEST_SETTLE = 15
_ASK_ABOVE_SERIES = 500
_UNREACHED_BEFORE_STOP = 3
_SILENT_BEFORE_STOP = 3
_NAMED = ("PatientID", "AccessionNumber", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")


class Retrieval:
    """One run of `pacsifier --save`, `--move` or `--info` over a checked query table."""

    def __init__(
        self,
        config: PacsConfig,
        table: QueryTable,
        out: Path,
        options: Options,
        *,
        toolbox: Toolbox,
        observer: Observer | None = None,
    ) -> None:
        self._config = config
        self._table = options.shard.part(table)
        self._options = options
        self._toolbox = toolbox
        self._observer = observer or Observer()
        self._tree = Tree(out)
        self._states: list[SeriesState] = []
        self._series_of_study: Mapping[str, int] = {}
        self._summary = Summary()
        self._placer = Placer(self._tree, self._table.queries, {}, options.excluded, info=options.info)
        self._traffic = Traffic(options, self._observer)
        self._breaker = Breaker(options.max_failures)
        self._silence = Breaker(_SILENT_BEFORE_STOP)
        self._disk = DiskWatch(out, options.min_free_bytes, self._observer)
        self.capabilities = options.capabilities
        self.associated = False
        self.out_of_space = False
        self._lock: OutputLock | None = None
        self._stop_reason = ""
        self._series_done = 0
        self._receiver: Receiver | None = None
        self._ahead: Receiver | None = None
        self._unreached = 0
        self._unreachable = False
        self._gets = options.save and options.retrieve_method == "get"
        self.syntaxes = Syntaxes()

    def run(self) -> Summary:
        """Does the whole run.

        Raises:
            InputError: the output folder or the receive port cannot be used.
            AssociationError: there was no association with the PACS.
            ToolError: a DCMTK binary is missing or died.
        """
        started = time.monotonic()
        self._toolbox.require(self._binaries())
        with self._workplace() as staging, self._receiver_ahead(staging):
            pacs = Pacs(self._config, self._toolbox, staging, self._options.timeouts)
            finds = CarefulFinds(pacs, self._traffic.retry, self._traffic.wait_until_open, self._traffic.most)
            found = self._find(finds)
            if self._options.dry_run:
                found = self._plan(finds, found, None)
                for state in self._states:
                    if state.status is Status.PENDING:
                        state.status = Status.LISTED
                self._conclude(found, None)
            else:
                self._fetch(pacs, finds, found, staging)
        self._summary.seconds = time.monotonic() - started
        return self._summary

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        """The staging folder under the lock of the output folder; of a dry run, which writes nothing, elsewhere."""
        if self._options.dry_run:
            with temporary_folder() as folder:
                yield folder
            return
        if self._options.save and not self._gets:
            self._check_port()
        with OutputLock(self._tree.folder) as lock:
            self._lock = lock
            yield lock.staging

    @contextmanager
    def _receiver_ahead(self, staging: Path) -> Iterator[None]:
        """Starts the receiver that the first round will need while the finds run."""
        options = self._options
        if not options.save or self._gets or options.dry_run or options.hours:
            yield
            return
        config = self._config
        ahead = Receiver(self._toolbox, staging, config.aet, config.move_port, options.sop_classes)
        self._ahead = ahead
        with ExitStack() as stack:
            stack.callback(ahead.end)
            ahead.start()
            yield

    def _next_receiver(self, staging: Path, classes: Sequence[str]) -> Receiver:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.knows(classes):
                return ahead
            ahead.end()
        return Receiver(self._toolbox, staging, self._config.aet, self._config.move_port, classes)

    def _fetch(self, pacs: Pacs, finds: CarefulFinds, found: Found, staging: Path) -> None:
        """All after the find; what the tables say is true on every way out."""
        journal = Journal(self._tree, self._table, self._config.move_aet if self._options.move else "")
        began, ended = time.monotonic(), "interrupted"
        found = self._plan(finds, found, journal)
        journal.follow(self._states)
        try:
            if self._options.save or self._options.move:
                self._transfer(pacs, finds, found, journal, staging)
            self._write_new_ids(found)
            ended = "ended"
        finally:
            if self._lock is not None:
                # What is in staging was never counted; on a full disk the tables need its room.
                self._lock.make_room()
            self._conclude(found, journal)
            journal.write_log()
            journal.write_audit(self._config, self._options, self._summary, ended, time.monotonic() - began)

    def _binaries(self) -> list[str]:
        names = ["findscu"]
        options = self._options
        if (options.save or options.move) and not options.dry_run:
            names += [] if self._gets else ["movescu", "storescp"] if options.save else ["movescu"]
            names += ["getscu"] if options.save and options.retrieve_method != "move" else []
        return names

    def _check_port(self) -> None:
        try:
            check_port(self._config.move_port, "'move_port'")
        except InputError as error:
            if self._options.retrieve_method != "auto":
                raise
            self._turn_to_get(str(error))

    def _turn_to_get(self, why: str) -> None:
        self._observer.say(f"--retrieve_method auto: C-GET is used instead of C-MOVE: {why}")
        self._gets, self.associated, self._unreached = True, False, 0
        self._stop_reason, self._breaker.in_a_row = "", 0

    # -- find and plan

    def _find(self, finds: CarefulFinds) -> Found:
        found = find(
            finds,
            self._table.queries,
            image_values=self._options.info,
            list_all=self._options.list_all,
            headers_decide=self._options.save,
            shard=self._options.shard,
        )
        self._series_of_study = found.series_of_study
        if found.missing_keys:
            log.info("the PACS does not return %s", ", ".join(found.missing_keys))
        self._tell_of_rows(found)
        self._warn_of_broad_rows(found)
        return found

    def _tell_of_rows(self, found: Found) -> None:
        for row, report in found.rows.items():
            not_found = "" if report.divided else report.not_found
            words = [each for each in (report.failure, not_found, report.ambiguous) if each]
            if report.lenient:
                columns = ", ".join(sorted(report.lenient))
                words.append(f"{columns} matched only without regard to case, accents or parts")
            if report.empty:
                columns = ", ".join(f"{column} ({number})" for column, number in sorted(report.empty.items()))
                words.append(f"series that came with an empty value were taken as not matching: {columns}")
            for each in words:
                self._observer.say(f"row {row}: {each}")

    def _warn_of_broad_rows(self, found: Found) -> None:
        wanted = Counter(row for series in found.series for row in {*series.rows, *series.undecided})
        for row, report in found.rows.items():
            if wanted[row] <= _ASK_ABOVE_SERIES or any(column in report.query.cells for column in _NAMED):
                continue
            question = (
                f"row {row} names no patient, accession or UID and matches {wanted[row]} series; go on?"
            )
            if not self._options.list_all and not self._observer.confirm(question):
                raise InputError(f"row {row} was not confirmed; narrow it, or give --yes or --limit")

    def _plan(self, finds: CarefulFinds, found: Found, journal: Journal | None) -> Found:
        rows = dict(found.rows)
        allowed = [
            series for series in found.series if series.values.get("PatientID") not in self._options.excluded
        ]
        self._summary.excluded_series = len(found.series) - len(allowed)
        for series in found.series:
            if series.values.get("PatientID") in self._options.excluded:
                for row in {*series.rows, *series.undecided}:
                    rows[row] = replace(rows[row], excluded=rows[row].excluded + 1)
        chosen = sorted(allowed, key=lambda series: (series.values.get("PatientID") or "", *series.key))
        if self._options.limit is not None and len(chosen) > self._options.limit:
            self._observer.say(f"--limit: {self._options.limit} of {len(chosen)} series are taken")
            for series in chosen[self._options.limit :]:
                for row in {*series.rows, *series.undecided}:
                    rows[row] = replace(rows[row], failure="series were left out by --limit")
            chosen = chosen[: self._options.limit]
        self._states = [SeriesState(series) for series in chosen]
        by_key = {state.series.key: state for state in self._states}
        self._placer = Placer(
            self._tree, self._table.queries, by_key, self._options.excluded, info=self._options.info
        )
        for state in self._states:
            self._plan_series(state, journal)
        if self._options.save and self._options.resume:
            self._skip_complete(finds, journal)
        return replace(found, rows=rows)

    def _plan_series(self, state: SeriesState, journal: Journal | None) -> None:
        series, options = state.series, self._options
        untold = untold_columns(series)
        if options.move and options.excluded and not series.values.get("PatientID"):
            state.status = Status.UNDECIDED
            state.reason = (
                "the PACS does not tell PatientID; --move cannot tell whether the patient is excluded"
            )
        elif options.move:
            if not series.rows:
                state.status = Status.UNDECIDED
                state.reason = f"the PACS does not tell {untold}; --move cannot decide by the images"
            elif options.resume and journal and (row := journal.moved_earlier(series, self._config.move_aet)):
                state.status, state.moved = Status.SKIPPED, int(row["FilesMoved"] or 0)
        elif not options.save:
            state.status = Status.LISTED
            if not series.rows:
                state.reason = f"unverified: the PACS does not tell {untold}"
                state.status = Status.UNDECIDED
        if options.info and not options.save and not options.dry_run:
            write_info(self._tree.info_path(SeriesIdentity.of(series.values)), series.values)

    def _skip_complete(self, finds: CarefulFinds, journal: Journal | None) -> None:
        """Reads what is on disk (the truth for --resume) and skips the series that are whole there."""
        present = [state for state in self._states if self._read_folder(state, journal)]
        # Of what is there in part only the missing instances are asked for, by their UIDs.
        self._list_instances(finds, [state for state in present if not is_complete(state)])
        for state in present:
            if is_complete(state):
                self._placer.decide_by_placed(state)
            if is_complete(state) and state.series.rows and state.status is Status.PENDING:
                state.status = Status.SKIPPED
                state.reason = "was complete"

    def _read_folder(self, state: SeriesState, journal: Journal | None) -> bool:
        identity = SeriesIdentity.of(state.series.values)
        hint = journal.folder_of(state.series) if journal else ""
        for folder in self._tree.placed_folders(identity, hint):
            self._placer.adopt(state, folder, write=not self._options.dry_run)
        return bool(state.found)

    # -- transfer

    def _transfer(
        self, pacs: Pacs, finds: CarefulFinds, found: Found, journal: Journal, staging: Path
    ) -> None:
        todo = [state for state in self._states if state.status is Status.PENDING]
        # It would be asked afterwards; asked now, it also says how much work there is.
        self._list_instances(finds, [state for state in todo if state.series.expected is None])
        numbers = [state.series.expected for state in todo]
        known = None if None in numbers else sum(number or 0 for number in numbers)
        self._observer.planned(len(todo), known)
        if not todo:
            return
        classes = [*self._options.sop_classes, *sorted(found.sop_classes)]
        try:
            if self._gets:
                self._ask_for_syntaxes(finds, todo)
            refused = self._round(pacs, todo, journal, staging, classes)
            if self._turns_to_get():
                self._ask_for_syntaxes(finds, todo)
                pending = [state for state in todo if state.status is Status.PENDING]
                self._round(pacs, pending, journal, staging, classes)
            short = self._recheck(finds, todo)
            # What the PACS refused for good it would refuse again.
            short = [state for state in short if not state.refused]
            if short and not self._stop_reason:
                self._observer.say(f"{len(short)} series are incomplete; asking for them once more")
                listed = {instance.sop_class for state in short for instance in state.series.instances or ()}
                again = [*classes, *sorted(listed - {""}), *refused]
                self._round(pacs, short, journal, staging, again, again=True)
                self._recheck(finds, short)
        finally:
            for state in todo:
                close(state, self._stop_reason)
            self._remark_on_gets(todo)

    def _turns_to_get(self) -> bool:
        """With `auto`: whether C-MOVE brought nothing for want of a way to us, and C-GET is to be tried."""
        other_trouble = self._stop_reason and not self._unreachable
        if self._gets or self._options.retrieve_method != "auto" or self.reached() or other_trouble:
            return False
        nothing = f"nothing reached port {self._config.move_port}: {self._declaration()}"
        self._turn_to_get(self._stop_reason or nothing)
        return True

    def _ask_for_syntaxes(self, finds: CarefulFinds, states: Sequence[SeriesState]) -> None:
        if not confinement.is_possible():
            self._observer.say(
                "this system has no Landlock to keep getscu in its folder: by C-GET objects are stored with the same "
                "values, but not byte for byte"
            )
        pending = [state for state in states if state.status is Status.PENDING]
        try:
            told = self.syntaxes.ask(finds, pending, uid_lists=self.capabilities.uid_lists)
        except AssociationError as error:
            self.stop(str(error))
            return
        if not told:
            self._observer.say(
                "the PACS does not tell which images it holds compressed: by C-GET they may come decompressed, "
                "unnoticed; by C-MOVE (--retrieve_method move) they come as held"
            )

    def _remark_on_gets(self, states: Sequence[SeriesState]) -> None:
        told = 0
        for state in states:
            remark = self.syntaxes.remark(state)
            told += bool(remark)
            missing = _missing_classes(state) if self._gets and not state.status.completed else ""
            state.reason = "; ".join(filter(None, (state.reason, remark, missing)))
        if told:
            self._observer.say(
                f"the objects of {told} series did not come in the compressed form in which the PACS holds, or "
                "once had, them (see the reasons in the log); by C-MOVE (--retrieve_method move) they come as held"
            )

    def _round(
        self,
        pacs: Pacs,
        states: Sequence[SeriesState],
        journal: Journal,
        staging: Path,
        classes: Sequence[str],
        *,
        again: bool = False,
    ) -> tuple[str, ...]:
        """Asks once for all the series; the SOP classes that the PACS offered and our receiver did not know."""
        if self._options.move:
            self._run_batches(Engine(self, pacs, self._traffic, journal), states, again=again)
            return ()
        with ExitStack() as stack:
            receiver = None
            if self._gets:
                arrivals: Arrivals = NotedArrivals(received_folder(staging), self.syntaxes)
            else:
                receiver = stack.enter_context(self._next_receiver(staging, classes))
                arrivals = Arrivals(receiver.folder)
            self._receiver = receiver
            engine = Engine(self, pacs, self._traffic, journal, (receiver, arrivals))
            try:
                self._run_batches(engine, states, again=again)
                self._settle(states, arrivals)
            finally:
                # What came whole is kept, also of requests that were cut short.
                arrivals.scan()
                for state in states:
                    self._placer.place(state, arrivals)
                self._placer.set_strangers_aside(arrivals)
            return receiver.refused_classes() if receiver else ()

    def _run_batches(self, engine: Engine, states: Sequence[SeriesState], *, again: bool) -> None:
        """Works in batches of `batch_size` series with the configured pause between them."""
        config = self._config
        every_batch = batches(states, config.batch_size, config.batch_wait_s)
        for number, batch in enumerate(every_batch, 1):
            work = [
                chunk
                for group in (self.syntaxes.groups(batch) if self._gets else [batch])
                for chunk in chunks(
                    group,
                    self._options.associations,
                    self._series_of_study,
                    self.capabilities,
                    # With a rate the work comes in pieces as small as can be.
                    one_series_each=again or self._options.move or self._traffic.one_request_each,
                    one_request_each=self._traffic.one_request_each or self._gets,
                )
            ]
            engine.run(work)
            if self._stop_reason:
                break
            if number < len(every_batch):
                log.info("batch %d of %d done; pausing %g s", number, len(every_batch), config.batch_wait_s)
                time.sleep(config.batch_wait_s)

    # -- what the engine tells and asks

    def place(self, state: SeriesState, arrivals: Arrivals) -> None:
        """Places all that has arrived of a series."""
        self._placer.place(state, arrivals)

    @property
    def options(self) -> Options:
        """What this run is to do."""
        return self._options

    @property
    def verb(self) -> str:
        """By what the images come."""
        return "C-GET" if self._gets else "C-MOVE"

    @property
    def destination(self) -> str:
        """The AE title that the PACS is asked to send to."""
        return self._config.move_aet if self._options.move else self._config.aet

    @property
    def silence(self) -> str:
        """How a silence that was too long is told."""
        return f"no response and no object for {self._options.timeouts.silence_timeout_s:g} s (--silence_timeout)"

    @property
    def stopped(self) -> bool:
        """Whether nothing more is to be started: it would fail for the same reason."""
        return bool(self._stop_reason)

    def stop(self, reason: str) -> None:
        """Lets nothing more be started."""
        self._stop_reason = self._stop_reason or reason

    def learn(self, part: Part) -> None:
        """The PACS did not take a list of UIDs: from now on it gets no such request."""
        request, _ = part
        if request.instance_uids:
            unable, instead = "image_moves", "whole series"
        elif len(request.study_uids) > 1:
            unable, instead = "study_lists", "one study at a time"
        else:
            unable, instead = "uid_lists", "one series at a time"
        self.capabilities = replace(self.capabilities, **{unable: False})
        log.info("the PACS does not take a list of UIDs: asking for %s", instead)

    def check_place(self, *, now: bool = False) -> None:
        """Stops the run before the disk is full; `now`: also where that was looked at a moment ago.

        Raises:
            InputError: another run has taken the output folder over.
        """
        if self._lock is not None:
            self._lock.check()
        if not self._options.save:
            return
        placer = self._placer
        if reason := self._disk.look(placer.new_instances, placer.bytes, self._instances_ahead, now=now):
            self.out_of_space = True
            self.stop(reason)

    def _instances_ahead(self) -> int:
        pending = [state for state in self._states if state.status is Status.PENDING]
        return sum(max(0, (state.series.expected or 0) - len(state.found)) for state in pending)

    def report_progress(self) -> None:
        """Tells the observer how far the run is."""
        moved = sum(state.moved for state in self._states) if self._options.move else 0
        self._observer.progress(self._series_done, self._placer.new_instances + moved)

    def request_ended(
        self, states: Sequence[SeriesState], end: MoveState, seconds: float, *, silent: bool = False
    ) -> None:
        """Draws what can be said of the series of one C-MOVE request from its final state and the counts."""
        for state in states:
            self._series_done += not state.tried
            state.tried = True
            state.seconds += seconds / len(states)
            if self._options.move and len(states) == 1:
                state.moved = max(state.moved, end.completed or 0)
            if state.status is not Status.PENDING:
                continue
            conclude(state, end, self._why(end), of=states)
            log.info("series %s: %s %s", state.series.series_uid, state.status.value, state.reason)
        if self._silence.count(failed=silent):
            self.stop(f"the PACS was silent {self._silence.in_a_row} times in a row: {self.silence}")
        self._note_end(end)

    def request_failed(self, states: Sequence[SeriesState], end: MoveState, *, counts: bool = True) -> None:
        """A request failed that will be repeated, or asked in another way; `counts`: as a failure of the PACS."""
        for state in states:
            state.tried, state.reason = True, self._why(end)
        if counts:
            self._note_end(end)

    def _why(self, end: MoveState) -> str:
        if end.status is None:
            return end.words
        failed = f", {end.failed} sub-operations failed" if end.failed else ""
        words = end.words.partition(": ")[2] or end.words
        verb = self.verb if self._gets else f"{self.verb} to {self.destination}"
        return f"{verb} ended with 0x{end.status:04X} {words}{failed}"

    def _note_end(self, end: MoveState) -> None:
        """An unknown destination, or too many failures, end the run early."""
        config = self._config
        failed = not is_clean(end) and not end.completed
        if end.status == MOVE_DESTINATION_UNKNOWN:
            name = f"{config.server_aet} does not know the move destination {self.destination}"
            self._unreachable = not self._stop_reason
            self.stop(f"{name} (0xA801): {self._declaration()}")
        elif (
            end.status not in (SUCCESS, None) or (self._gets and end.status is None)
        ) and not self.reached():
            self._unreached += 1
            if self._unreached == _UNREACHED_BEFORE_STOP:
                brought = (
                    f"bringing anything by C-GET: {self._why(end)}; have C-GET allowed to {config.aet}"
                    if self._gets
                    else f"reaching {self.destination}: {self._declaration()}"
                )
                self._unreachable = not self._stop_reason
                self.stop(f"{config.server_aet} failed {self._unreached} times without ever {brought}")
        if self._breaker.count(failed=failed):
            self.stop(
                f"{self._breaker.in_a_row} {self.verb} requests failed in a row (--max_failures): {self._why(end)}"
            )

    def _declaration(self) -> str:
        """What the PACS administrator is to be asked for."""
        declared = f"have the AE title {self.destination} declared on the PACS"
        if self._options.move:
            return declared
        return f"{declared} with {own_place(self._config)}, and let no firewall stand between"

    def reached(self) -> bool:
        """Whether the PACS has ever sent anything to the destination."""
        if any(state.files for state in self._states):
            return True
        return self._receiver is not None and self._receiver.contacted()

    # -- verdict

    def _settle(self, states: Sequence[SeriesState], arrivals: Arrivals) -> None:
        """Waits for objects that come after the final response, as long as a series is short and some do come."""
        settle_s = self._options.timeouts.settle_time_s
        heard = began = time.monotonic()
        while time.monotonic() - heard < settle_s and time.monotonic() - began < _LONGEST_SETTLE * settle_s:
            if arrivals.scan():
                heard = time.monotonic()
            for state in states:
                self._placer.place(state, arrivals)
            if not any(state.tried and is_short(state) for state in states):
                return
            time.sleep(_POLL_S)

    def _recheck(self, finds: CarefulFinds, states: Sequence[SeriesState]) -> list[SeriesState]:
        """Settles by the IMAGE level what counts and statuses left open; the series that remain short."""
        open_states = [state for state in states if state.status is Status.PENDING and state.tried]
        if not self._stop_reason:
            self._list_instances(finds, [state for state in open_states if state.series.instances is None])
        self._placer.claim_strangers(open_states)
        for state in open_states:
            judge(state, moved=self._options.move)
        return [state for state in open_states if state.status is Status.PENDING]

    def _list_instances(self, finds: CarefulFinds, states: Sequence[SeriesState]) -> None:
        try:
            series = [state.series for state in states]
            listed = list_instances(finds, series, uid_lists=self.capabilities.uid_lists)
        except AssociationError as error:
            self.stop(str(error))
            return
        for state, result in zip(states, listed, strict=True):
            instances = instances_of(result)
            if result.failure is not None or not instances:
                continue
            # A list that looks cut by the PACS cannot speak against a larger announced number, or for none.
            announced = state.series.announced
            if not looks_capped(result) or (announced is not None and len(instances) >= announced):
                state.series = replace(state.series, instances=instances)

    # -- write down

    def _write_new_ids(self, found: Found) -> None:
        """Writes `new_id.txt` into the folders of those patients for whom a row brought a pseudonym."""
        wanted: dict[Path, set[str]] = defaultdict(set)
        for state in self._states:
            if state.folder is None and not self._options.info:
                continue
            patient = self._tree.patient_folder(SeriesIdentity.of(state.series.values))
            for row in state.series.rows:
                if new_id := found.rows[row].query.new_id:
                    wanted[patient].add(new_id)
        folders: dict[str, set[Path]] = defaultdict(set)
        for patient, new_ids in wanted.items():
            for new_id in new_ids:
                folders[new_id].add(patient)
        for patient, new_ids in wanted.items():
            if len(new_ids) > 1 or any(len(folders[new_id]) > 1 for new_id in new_ids):
                self._summary.problems.append(
                    "new_ids: a pseudonym of the query would stand for two patients, or a patient would have two; "
                    "no new_id.txt was written for them: name the patients by PatientID"
                )
            elif patient.is_dir():
                write_whole(patient / "new_id.txt", f"{next(iter(new_ids))}\n", 0o600)

    def _conclude(self, found: Found, journal: Journal | None) -> None:
        by_row: dict[int, list[SeriesState]] = defaultdict(list)
        for state in self._states:
            if state.status is Status.NOT_WANTED:
                continue
            for row in {*state.series.rows, *state.series.undecided}:
                by_row[row].append(state)
        outcomes = {row: row_outcome(report, by_row[row]) for row, report in found.rows.items()}
        summary = self._summary
        summary.rows = sum(len(query.rows) for query in self._table.queries)
        for query in self._table.queries:
            summary.outcomes[outcomes[query.rows[0]][0]] += len(query.rows)
        summary.series = Counter(state.status for state in self._states)
        summary.instances = sum(state.files for state in self._states)
        summary.bytes = self._placer.bytes
        summary.unexpected, summary.conflicts = self._placer.unexpected, self._placer.conflicts
        summary.excluded_objects = self._placer.excluded
        if self._stop_reason and not all(state.status.settled for state in self._states):
            summary.problems.append(self._stop_reason)
        summary.problems = list(dict.fromkeys(summary.problems))
        if journal is not None:
            summary.redo = journal.write_rows(outcomes)
        else:
            summary.plan = tuple(
                _row_plan(row, *outcomes[query.rows[0]], by_row[query.rows[0]])
                for query in self._table.queries
                for row in query.rows
            )


def _missing_classes(state: SeriesState) -> str:
    """The SOP classes of what is missing: C-GET knows a fixed list of them."""
    instances = state.series.instances or ()
    classes = {each.sop_class for each in instances if each.sop_instance_uid not in state.found} - {""}
    return f"missing are objects of the SOP class {', '.join(sorted(classes))}" if classes else ""


def _row_plan(row: int, outcome: str, reason: str, states: Sequence[SeriesState]) -> RowPlan:
    ahead = [state for state in states if not state.status.completed]
    numbers = [state.series.expected for state in ahead]
    return RowPlan(
        row,
        outcome,
        reason,
        studies=len({state.series.study_uid for state in ahead}),
        series=len(ahead),
        instances=None if None in numbers else sum(number or 0 for number in numbers),
    )
