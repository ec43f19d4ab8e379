"""The way of a query row: find, plan, move, place, compare, write down. Save, info, move and resume.

`Retrieval.run` reads from top to bottom; finding, chunks and tables are called from here and know nothing of it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.process import Toolbox
from pacsifier.dcmtk.receiver import Receiver, check_port
from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, SUCCESS, MoveState
from pacsifier.errors import InputError
from pacsifier.query import QueryTable
from pacsifier.query.series import Series
from pacsifier.transfer.arrivals import Arrivals
from pacsifier.transfer.engine import Engine
from pacsifier.transfer.finding import Finder, Found, instances_of, list_instances, looks_capped
from pacsifier.transfer.journal import Journal, SeriesState, Status, row_outcome
from pacsifier.transfer.pace import batches, chunks
from pacsifier.transfer.placing import Placer
from pacsifier.tree import OutputLock, SeriesIdentity, Tree, write_info, write_whole

log = logging.getLogger(__name__)

_POLL_S = 0.01
_SETTLE_S = 1.0
_LONGEST_SETTLE_S = 15.0
_ASK_ABOVE_SERIES = 500
_UNREACHED_BEFORE_STOP = 3
_NAMED = ("PatientID", "AccessionNumber", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class Options:
    """What a retrieval is to do; exactly one of save and move, or info alone."""

    save: bool = False
    info: bool = False
    move: bool = False
    resume: bool = False
    list_all: bool = False
    associations: int = 2
    limit: int | None = None
    silence_timeout_s: float = 1800.0
    sop_classes: tuple[str, ...] = ()


class Observer:
    """What a run tells while it works; `cli` shows it. This one shows nothing."""

    def say(self, message: str) -> None:
        """A word to the user that no result holds."""

    def planned(self, series: int, instances: int | None) -> None:
        """The work ahead; None: not all numbers were announced."""

    def progress(self, series_done: int, instances: int) -> None:
        """The work done so far."""

    def confirm(self, question: str) -> bool:
        """Asks a person; without one the run goes on."""
        log.warning("%s", question)
        return True


@dataclass
class Summary:
    """The figures at the end of a run; `outcomes` counts query rows by outcome."""

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    series: Counter[Status] = field(default_factory=Counter)
    instances: int = 0
    bytes: int = 0
    unexpected: int = 0
    conflicts: int = 0
    seconds: float = 0.0
    redo: Path | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return not self.problems and not self.conflicts and self.redo is None


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
        self._table = table
        self._options = options
        self._toolbox = toolbox
        self._observer = observer or Observer()
        self._tree = Tree(out)
        self._states: list[SeriesState] = []
        self._series_of_study: Mapping[str, int] = {}
        self._summary = Summary()
        self._placer = Placer(self._tree, table.queries, {}, info=options.info)
        self.associated = False
        self._stop_reason = ""
        self._series_done = 0
        self._receiver: Receiver | None = None
        self._unreached = 0

    def run(self) -> Summary:
        """Does the whole run.

        Raises:
            InputError: the output folder or the receive port cannot be used.
            AssociationError: there was no association with the PACS.
            ToolError: a DCMTK binary is missing or died.
        """
        started = time.monotonic()
        self._toolbox.require(self._binaries())
        if self._options.save:
            check_port(self._config.move_port, "'move_port'")
        with OutputLock(self._tree.folder) as lock:
            pacs = Pacs(self._config, self._toolbox, lock.staging, self._options.silence_timeout_s)
            found = self._find(pacs)
            journal = Journal(self._tree, self._table, self._config.move_aet if self._options.move else "")
            self._plan(pacs, found, journal)
            journal.follow(self._states)
            try:
                if self._options.save or self._options.move:
                    self._transfer(pacs, found, journal, lock.staging)
                self._write_new_ids(found)
                self._conclude(found, journal)
            finally:
                journal.write_log()
        self._summary.seconds = time.monotonic() - started
        return self._summary

    def _binaries(self) -> list[str]:
        names = ["findscu"]
        if self._options.save or self._options.move:
            names.append("movescu")
        if self._options.save:
            names.append("storescp")
        return names

    # -- find and plan

    def _find(self, pacs: Pacs) -> Found:
        finder = Finder(
            pacs,
            self._table.queries,
            image_values=self._options.info,
            list_all=self._options.list_all,
            headers_decide=self._options.save,
        )
        found = finder.find()
        self._series_of_study = found.series_of_study
        if found.missing_keys:
            log.info("the PACS does not return %s", ", ".join(found.missing_keys))
        self._tell_of_rows(found)
        self._warn_of_broad_rows(found)
        return found

    def _tell_of_rows(self, found: Found) -> None:
        for row, report in found.rows.items():
            words = [each for each in (report.failure, report.not_found, report.ambiguous) if each]
            if report.lenient:
                columns = ", ".join(sorted(report.lenient))
                words.append(f"{columns} matched only without regard to case, accents or parts")
            if report.empty:
                columns = ", ".join(f"{column} ({number})" for column, number in sorted(report.empty.items()))
                words.append(f"series that came with an empty value were taken as not matching: {columns}")
            for each in words:
                self._observer.say(f"row {row}: {each}")

    def _warn_of_broad_rows(self, found: Found) -> None:
        for row, report in found.rows.items():
            wanted = sum(1 for series in found.series if row in series.rows or row in series.undecided)
            if wanted <= _ASK_ABOVE_SERIES or any(column in report.query.cells for column in _NAMED):
                continue
            question = f"row {row} names no patient, accession or UID and matches {wanted} series; go on?"
            if not self._options.list_all and not self._observer.confirm(question):
                raise InputError(f"row {row} was not confirmed; narrow it, or give --yes or --limit")

    def _plan(self, pacs: Pacs, found: Found, journal: Journal) -> None:
        chosen = sorted(found.series, key=lambda series: (series.values.get("PatientID") or "", *series.key))
        if self._options.limit is not None and len(chosen) > self._options.limit:
            self._observer.say(f"--limit: {self._options.limit} of {len(chosen)} series are taken")
            for series in chosen[self._options.limit :]:
                for row in {*series.rows, *series.undecided}:
                    found.rows[row].failure = "series were left out by --limit"
            chosen = chosen[: self._options.limit]
        self._states = [SeriesState(series) for series in chosen]
        by_key = {state.series.key: state for state in self._states}
        self._placer = Placer(self._tree, self._table.queries, by_key, info=self._options.info)
        for state in self._states:
            self._plan_series(state, journal)
        if self._options.save and self._options.resume:
            self._skip_complete(pacs)

    def _plan_series(self, state: SeriesState, journal: Journal) -> None:
        series, options = state.series, self._options
        if options.move:
            if not series.rows:
                state.status = Status.UNDECIDED
                state.reason = (
                    f"the PACS does not tell {_columns(series)}; --move cannot decide by the images"
                )
            elif options.resume and (row := journal.moved_earlier(series, self._config.move_aet)):
                state.status, state.moved = Status.SKIPPED, int(row.get("FilesFound") or 0)
        elif not options.save:
            state.status = Status.LISTED
            if not series.rows:
                state.reason = f"unverified: the PACS does not tell {_columns(series)}"
                state.status = Status.UNDECIDED
        if options.info and not options.save:
            write_info(self._tree.info_path(SeriesIdentity.of(series.values)), series.values)

    def _skip_complete(self, pacs: Pacs) -> None:
        """Reads what is on disk (the truth for --resume) and skips the series that are whole there."""
        present = [state for state in self._states if self._read_folder(state)]
        unknown = [state for state in present if state.series.expected is None]
        self._list_instances(pacs, unknown)
        for state in present:
            if _is_complete(state):
                state.status = Status.SKIPPED
                state.reason = "was complete"

    def _read_folder(self, state: SeriesState) -> bool:
        for folder in self._tree.placed_folders(SeriesIdentity.of(state.series.values)):
            self._placer.adopt(state, folder)
        return bool(state.found)

    # -- transfer

    def _transfer(self, pacs: Pacs, found: Found, journal: Journal, staging: Path) -> None:
        todo = [state for state in self._states if state.status is Status.PENDING]
        numbers = [state.series.expected for state in todo]
        known = None if None in numbers else sum(number or 0 for number in numbers)
        self._observer.planned(len(todo), known)
        if not todo:
            return
        classes = [*self._options.sop_classes, *sorted(found.sop_classes)]
        refused = self._round(pacs, todo, journal, staging, classes)
        short = self._recheck(pacs, todo)
        if short and not self._stop_reason:
            self._observer.say(f"{len(short)} series are incomplete; asking for them once more")
            listed = {instance.sop_class for state in short for instance in state.series.instances or ()}
            self._round(
                pacs, short, journal, staging, [*classes, *sorted(listed - {""}), *refused], again=True
            )
            self._recheck(pacs, short)
        for state in todo:
            self._close(state)

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
            self._run_batches(Engine(self, pacs, journal, None, None), states, again=again)
            return ()
        config = self._config
        with Receiver(self._toolbox, staging, config.aet, config.move_port, classes) as receiver:
            self._receiver = receiver
            arrivals = Arrivals(receiver.folder)
            self._run_batches(Engine(self, pacs, journal, arrivals, receiver), states, again=again)
            self._settle(states, arrivals)
            self._placer.set_strangers_aside(arrivals)
            return receiver.refused_classes()

    def _run_batches(self, engine: Engine, states: Sequence[SeriesState], *, again: bool) -> None:
        """Works in batches of `batch_size` series with the configured pause between them."""
        config = self._config
        every_batch = batches(states, config.batch_size, config.batch_wait_s)
        for number, batch in enumerate(every_batch, 1):
            one_each = again or self._options.move
            work = chunks(batch, self._options.associations, self._series_of_study, one_series_each=one_each)
            engine.run(work)
            if self._stop_reason:
                break
            if number < len(every_batch):
                log.info("batch %d of %d done; pausing %g s", number, len(every_batch), config.batch_wait_s)
                time.sleep(config.batch_wait_s)

    def place(self, state: SeriesState, arrivals: Arrivals) -> None:
        """Places all that has arrived of a series."""
        self._placer.place(state, arrivals)

    @property
    def options(self) -> Options:
        """What this run is to do."""
        return self._options

    @property
    def destination(self) -> str:
        """The AE title that the PACS is asked to send to."""
        return self._config.move_aet if self._options.move else self._config.aet

    @property
    def stopped(self) -> bool:
        """Whether nothing more is to be started: it would fail for the same reason."""
        return bool(self._stop_reason)

    def report_progress(self) -> None:
        """Tells the observer how far the run is."""
        moved = sum(state.moved for state in self._states) if self._options.move else 0
        self._observer.progress(self._series_done, self._placer.new_instances + moved)

    def request_ended(self, states: Sequence[SeriesState], end: MoveState, seconds: float) -> None:
        """Draws what can be said of the series of one C-MOVE request from its final state and the counts."""
        for state in states:
            self._series_done += not state.tried
            state.tried = True
            state.seconds += seconds / len(states)
            if self._options.move:
                state.moved = max(state.moved, end.completed or 0)
            if state.status is not Status.PENDING:
                continue
            state.reason = self._why(end)
            state.failed = end.status != SUCCESS or bool(end.failed)
            clean = end.status == SUCCESS and not end.failed
            if clean and state.series.expected is not None and _is_complete(state) and state.series.rows:
                state.status, state.reason = Status.COMPLETE, ""
            elif (
                clean and state.series.expected is None and len(states) == 1 and end.completed == state.files
            ):
                # Not announced: the IMAGE level will be asked; should it be silent, the counters stand for it.
                state.reason = _COUNTERS_AGREE
            log.info("series %s: %s %s", state.series.series_uid, state.status.value, state.reason)
        self._stop_where_all_would_fail(end)

    def _why(self, end: MoveState) -> str:
        if end.status is None:
            return end.words
        failed = f", {end.failed} sub-operations failed" if end.failed else ""
        words = end.words.partition(": ")[2] or end.words
        return f"C-MOVE to {self.destination} ended with 0x{end.status:04X} {words}{failed}"

    def _stop_where_all_would_fail(self, end: MoveState) -> None:
        """An unknown destination, or several failures before the PACS ever reached our port, end the run early."""
        config = self._config
        remedy = (
            f"have the AE title {self.destination} declared on the PACS"
            if self._options.move
            else f"have the AE title {config.aet} declared on the PACS with this machine's address and port "
            f"{config.move_port}, and let no firewall stand between"
        )
        if end.status == MOVE_DESTINATION_UNKNOWN:
            name = f"{config.server_aet} does not know the move destination {self.destination}"
            self._stop_reason = f"{name} (0xA801): {remedy}"
        elif end.status != SUCCESS and not self._reached():
            self._unreached += 1
            if self._unreached == _UNREACHED_BEFORE_STOP:
                self._stop_reason = (
                    f"{config.server_aet} failed {self._unreached} times without ever reaching "
                    f"{self.destination}: {remedy}"
                )

    def _reached(self) -> bool:
        """Whether the PACS has ever sent anything to the destination."""
        if any(state.files for state in self._states):
            return True
        return self._receiver is not None and self._receiver.contacted()

    # -- verdict

    def _settle(self, states: Sequence[SeriesState], arrivals: Arrivals) -> None:
        """Waits for objects that come after the final response, as long as a series is short and some do come."""
        heard = began = time.monotonic()
        while time.monotonic() - heard < _SETTLE_S and time.monotonic() - began < _LONGEST_SETTLE_S:
            if arrivals.scan():
                heard = time.monotonic()
            for state in states:
                self._placer.place(state, arrivals)
            if not any(state.tried and _is_short(state) for state in states):
                return
            time.sleep(_POLL_S)

    def _recheck(self, pacs: Pacs, states: Sequence[SeriesState]) -> list[SeriesState]:
        """Settles by the IMAGE level what counts and statuses left open; the series that remain short."""
        open_states = [state for state in states if state.status is Status.PENDING and state.tried]
        self._list_instances(pacs, [state for state in open_states if state.series.instances is None])
        for state in open_states:
            self._judge(state)
        return [state for state in open_states if state.status is Status.PENDING]

    def _judge(self, state: SeriesState) -> None:
        series = state.series
        if state.spoiled or (not series.rows and not self._options.move):
            return
        if series.expected is None:
            if state.reason == _COUNTERS_AGREE and state.files:
                state.status, state.reason = Status.COMPLETE, "not announced; the counters agree"
        elif state.failed and len(series.instances or ()) < (series.announced or 0):
            # The operation failed, and the PACS lists fewer than it announced: nothing says that all is here.
            return
        elif _is_complete(state):
            differs = series.instances is not None and series.announced not in (None, len(series.instances))
            state.status = Status.COMPLETE
            state.reason = f"announced differs: {series.announced}" if differs else ""

    def _list_instances(self, pacs: Pacs, states: Sequence[SeriesState]) -> None:
        listed = list_instances(pacs, [state.series for state in states])
        for state, result in zip(states, listed, strict=True):
            instances = instances_of(result)
            if result.failure is not None or not instances:
                continue
            # A list that looks cut by the PACS cannot speak against a larger announced number, or for none.
            announced = state.series.announced
            if not looks_capped(result) or (announced is not None and len(instances) >= announced):
                state.series = replace(state.series, instances=instances)

    def _close(self, state: SeriesState) -> None:
        """The final verdict on a series that is still open."""
        if state.spoiled:
            state.status, state.reason = Status.INCOMPLETE, state.spoiled
        if state.status is not Status.PENDING:
            return
        expected = state.series.expected
        counts = f"{state.files} of {'?' if expected is None else expected} instances"
        why = state.reason if state.reason != _COUNTERS_AGREE else ""
        state.status = Status.INCOMPLETE if state.files else Status.FAILED
        state.reason = "; ".join(each for each in (counts, why, self._stop_reason) if each)

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

    def _conclude(self, found: Found, journal: Journal) -> None:
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
        if self._stop_reason:
            summary.problems.append(self._stop_reason)
        summary.problems = list(dict.fromkeys(summary.problems))
        summary.redo = journal.write_rows(outcomes)


_COUNTERS_AGREE = "counters agree"


def _is_complete(state: SeriesState) -> bool:
    """Whether the instances in place are those expected: by the IMAGE-level list where there is one."""
    series = state.series
    if series.instances is not None and state.found:
        return {instance.sop_instance_uid for instance in series.instances} <= state.found.keys()
    return series.expected is not None and state.files == series.expected > 0


def _is_short(state: SeriesState) -> bool:
    expected = state.series.expected
    return expected is not None and len(state.found) < expected


def _columns(series: Series) -> str:
    return ", ".join(sorted({column for columns in series.undecided.values() for column in columns}))
