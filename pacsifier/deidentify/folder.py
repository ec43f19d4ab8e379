"""A tree of DICOM files in, a de-identified tree out.

look at every file -> sort out the patients -> settle pseudonyms and shifts, and keep them in the key -> write every
instance beside its place and rename it there -> report. The input is only read, but where it is the output too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

from pacsifier.deidentify import report
from pacsifier.deidentify.crew import available_cpus, shared
from pacsifier.deidentify.engine import instance, uids
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.elements import Scope
from pacsifier.deidentify.engine.identifiers import Identifiers, fold_for_search, words_of
from pacsifier.deidentify.engine.profile import METHOD, Options, Profile
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.key import Key, opened, read
from pacsifier.deidentify.patients import (
    NEW_ID_FILE,
    Maps,
    Patient,
    choose_pseudonyms,
    choose_shifts,
    sort_out,
    subject_of,
)
from pacsifier.deidentify.scan import Facts, Gathered, Scanner
from pacsifier.deidentify.selection import Reason, left_out, shows_identity
from pacsifier.dicom import part10
from pacsifier.dicom.splice import UnreadableError
from pacsifier.disk.files import write_whole
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.names import deidentified_name, patient_folder_name, short_hash
from pacsifier.disk.tree import SeriesIdentity, Tree
from pacsifier.disk.walk import Walk
from pacsifier.errors import InputError
from pacsifier.query import WHOLE, Shard

_A_TASK = 32
_A_TASK_BYTES = 1 << 26
_ACCEPTING_PATIENTS = 3
_ENDING_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
LEFT_OUT_FOLDER = "left_out"


@dataclass(frozen=True)
class Request:
    """What the user asks for. `key` is the file of the key, `beside` the folder of the reports."""

    in_folder: Path
    out_folder: Path
    options: Options
    key: Path
    maps: Maps = field(default_factory=Maps)
    keep_patient_dir_names: bool = False
    write_mapper: bool = False
    kept_words: frozenset[str] = frozenset()
    reviewed: frozenset[str] = frozenset()
    verify: bool = False
    resume: bool = False
    shard: Shard = WHOLE
    workers: int = field(default_factory=available_cpus)

    @property
    def in_place(self) -> bool:
        """Whether the originals are replaced."""
        return self.in_folder.resolve() == self.out_folder.resolve()

    def beside(self, name: str) -> Path:
        """A file of this run beside the key."""
        return self.key.with_name(f"{self.out_folder.resolve().name}.{name}")


@dataclass(frozen=True)
class Job:
    """One instance to write: the file below the input folder, its place below the output folder."""

    name: str
    target: str
    identity_removed: bool
    size: int


@dataclass(frozen=True)
class Task:
    """Some instances of one patient."""

    subject: Subject
    jobs: tuple[Job, ...]


@dataclass
class Written:
    """What became of the instances of a task, and the words that were dropped from its descriptions."""

    patient: str
    done: list[tuple[Job, instance.Done | str]] = field(default_factory=list)
    words: list[tuple[int, str]] = field(default_factory=list)


Progress = Callable[[str, int, int], None]


def deidentify_folder(request: Request, progress: Progress = lambda *_: None) -> report.Totals:
    """Do what is asked; raises InputError before anything is written where the input is wrong, and OSError."""
    if not request.in_folder.is_dir():
        raise InputError(f"{request.in_folder}: is no folder")
    walk = Walk(request.in_folder.resolve())
    with OutputLock(request.out_folder) as lock:
        return _Run(request, walk, lock, progress).run()


class _Run:
    """One run, from the first look to the summary."""

    def __init__(self, request: Request, walk: Walk, lock: OutputLock, progress: Progress) -> None:
        self.request, self.walk, self.lock, self.progress = request, walk, lock, progress
        self.in_place = request.in_place
        self.totals = report.Totals()
        self.gathered = Gathered()
        self.profile = Profile(request.options)
        # Files of patients of other parts: looked at, for what only the whole input tells, but not reported.
        self.of_others: set[str] = set()
        self.out: list[tuple[str, Reason]] = []
        # Where originals are replaced: what earlier runs, with this key or another, have replaced.
        self.made: list[Facts] = []
        self.there: list[tuple[str, str]] = []
        self.words: dict[tuple[int, str], set[str]] = defaultdict(set)
        self.outputs: dict[str, list[str]] = defaultdict(list)

    def run(self) -> report.Totals:
        """The route; what is written first is the key."""
        start = time.monotonic()
        patients = self._patients(self._select(self._look()))
        with opened(self.request.key) as key:
            patients = self._settle(patients, key)
        vocabulary = Vocabulary(key.words)
        subjects = {name: self._subject(name, patient, key) for name, patient in patients.items()}
        tasks = self._plan(patients, subjects, vocabulary, key)
        with report.report_table(self.request.beside(report.REPORT), append=self.request.resume) as table:
            self._set_out_aside(table)
            self._write(tasks, vocabulary, key, table)
        self._finish(patients, key)
        if self.request.verify:
            self._verify(subjects)
        self.totals.patients = len(patients)
        self.totals.seconds = time.monotonic() - start
        write_whole(self.request.beside(report.SUMMARY), "\n".join(self.totals.lines()) + "\n", mode=0o600)
        return self.totals

    # --- looking --------------------------------------------------------------------------------------------

    def _look(self) -> list[Facts]:
        names = list(self._names(self.walk))
        tasks = [names[at : at + _A_TASK] for at in range(0, len(names), _A_TASK)]
        workers = min(self.request.workers, max(len(tasks), 1))
        files: list[Facts] = []
        for found, gathered in shared(
            _scan, tasks, workers, _begin_scan, self.request.in_folder, self.profile, self.request.verify
        ):
            files += found
            self.gathered.merge(gathered)
            self.progress("files looked at", len(files), len(names))
        # Never opened; but the report names them, and no folder with originals replaced keeps them.
        files += [Facts(name, of_logs=True) for name in self._names(self.walk.of_logs())]
        self.totals.passed_over = self.walk.notes
        self.of_others = {facts.path for facts in files if not self.request.shard.holds(facts.patient_id)}
        self.totals.found = len(files) - len(self.of_others)
        return sorted(files, key=lambda facts: facts.path)

    def _names(self, paths: Iterable[Path]) -> Iterator[str]:
        """The files of the input, without the output, the key and the reports where these lie below it."""
        source, out = self.walk.folder, self.request.out_folder.resolve()
        nested = source in out.parents
        own, prefix = f"{out.name}.", len(str(source / "x")) - 1
        for path in paths:
            if nested and out in path.parents:
                continue
            ours = path == self.request.key or (
                path.name.startswith(own) and path.parent == self.request.key.parent
            )
            if not ours and (self.in_place or path.name != NEW_ID_FILE):
                yield str(path)[prefix:]

    def _select(self, files: list[Facts]) -> list[Facts]:
        """The files that may go out, each instance once; the others are kept for the report."""
        by_uid: dict[str, list[Facts]] = defaultdict(list)
        for facts in self._without_ours(files):
            reason = left_out(facts, self.request.options)
            if reason:
                self._leave_out(facts.path, reason)
            else:
                by_uid[facts.sop_uid].append(facts)
        return [facts for twins in by_uid.values() for facts in self._one_of(twins)]

    def _without_ours(self, files: list[Facts]) -> Iterator[Facts]:
        """Where originals are replaced: without those that an earlier run with this key has replaced."""
        ours: set[str] = set()
        if self.in_place and self.request.key.exists():
            ours = set(read(self.request.key).pseudonyms.values())
        for facts in files:
            if self.in_place and (self.request.in_folder / facts.path).is_symlink():
                self._leave_out(facts.path, Reason("a link: the original lies elsewhere, and stays"))
                continue
            done = METHOD in facts.method and Path(facts.path).name == f"{facts.sop_uid}.dcm"
            if done and self.in_place:
                self.made.append(facts)
            if done and facts.patient_id in ours:
                self._already(facts.path, facts.path)
            else:
                yield facts

    def _one_of(self, twins: list[Facts]) -> list[Facts]:
        paths = [self.request.in_folder / twin.path for twin in twins]
        if all(part10.dataset_bytes_equal(paths[0], other) for other in paths[1:]):
            for twin in twins[1:]:
                self._leave_out(twin.path, Reason("the same instance once more", failed=False))
            return twins[:1]
        for twin in twins:
            self._leave_out(twin.path, Reason("one SOP Instance UID with different data sets", twin.sop_uid))
        return []

    def _patients(self, files: list[Facts]) -> dict[str, Patient]:
        patients, refused = sort_out(files)
        for name, reason in refused.items():
            self._leave_out(name, reason)
        return {
            name: patient
            for name, patient in patients.items()
            if self.request.shard.holds(patient.patient_id)
        }

    def _already(self, name: str, target: str) -> None:
        if name in self.of_others:
            return
        self.totals.already += 1
        self.there.append((name, target))

    def _leave_out(self, name: str, reason: Reason) -> None:
        if name in self.of_others:
            return
        self.out.append((name, reason))
        self.totals.left_out[reason.kind] += 1
        self.totals.failures += reason.failed

    # --- settling -------------------------------------------------------------------------------------------

    def _settle(self, patients: dict[str, Patient], key: Key) -> dict[str, Patient]:
        """Pseudonyms, shifts and accepted words, all of which the key remembers."""
        out, options = self.request.out_folder.resolve(), asdict(self.request.options)
        if self.request.resume:
            if key.options.get(out.name, options) != options:
                raise InputError("--resume: the options must be those of the run that is resumed")
            self._check_key(key)
        taken = set() if self.in_place else _numbers_in(out)
        refused = choose_pseudonyms(patients, self.request.maps, key, self.request.in_folder, taken)
        for name, reason in refused.items():
            for facts in patients.pop(name).files:
                self._leave_out(facts.path, reason)
        choose_shifts(patients, self.request.maps, key)
        for name, patient in patients.items():
            studies = {facts.study_uid for facts in patient.files}
            if not self.request.options.retain_uids:
                studies = {uids.new_uid(key.secret, old) if old else old for old in studies}
            key.add_studies(key.pseudonyms[name], studies)
        key.words |= {fold_for_search(word) for word in self.request.kept_words} | self._spread_words()
        key.options[out.name] = options
        return patients

    def _check_key(self, key: Key) -> None:
        """Another key than that of the run that is resumed would give its patients second pseudonyms."""
        made = self._made_before()
        first = next(made, None)
        if first is None or any(
            key.has_made(each.patient_id, each.study_uid) for each in chain([first], made)
        ):
            return
        path, out = self.request.key, self.request.out_folder
        if not path.exists():
            raise InputError(
                f"--resume: {out} holds images that were de-identified with a key, and there is none at {path}; "
                "bring it back there, or name its place with --key"
            )
        raise InputError(
            f"--resume: {path} is not the key that the images in {out} were de-identified with; name that one with "
            "--key, or take another output folder"
        )

    def _made_before(self) -> Iterator[Facts]:
        """What earlier runs have written into the output, an image of each study or all."""
        if self.in_place:
            yield from self.made
            return
        scanner, out = Scanner(self.profile), self.request.out_folder
        for study in out.glob("sub-*/*"):
            image = next(study.glob("*/*.dcm"), None)
            if image is not None:
                yield scanner.scan(out, str(image.relative_to(out)))

    def _spread_words(self) -> set[str]:
        """Words of descriptions that at least three patients share and that no name or address met here holds."""
        holders: Counter[str] = Counter()
        for words in self.gathered.words.values():
            holders.update(words)
        barred = self.gathered.barred_words | words_of(
            word for known in self.gathered.known.values() for word in known.words | known.wholes
        )
        return {
            word for word, number in holders.items() if number >= _ACCEPTING_PATIENTS and word not in barred
        }

    def _subject(self, name: str, patient: Patient, key: Key) -> Subject:
        known = Identifiers()
        for person in {facts.person for facts in patient.files}:
            known.merge(self.gathered.known.get(person, Identifiers()))
        for folder in patient.folders:
            known.add_id(Path(folder).name.removeprefix("sub-"))
        births = {facts.birth_date for facts in patient.files}
        return subject_of(name, key, known, self.request.options, births)

    # --- planning -------------------------------------------------------------------------------------------

    def _plan(
        self, patients: dict[str, Patient], subjects: dict[str, Subject], vocabulary: Vocabulary, key: Key
    ) -> list[Task]:
        """Where every instance goes; what lies there already is left alone by --resume."""
        tree = _OutTree(self.request.out_folder)
        tasks: list[Task] = []
        for name, patient in patients.items():
            subject = subjects[name]
            rules = Rules(self.profile, key.secret, subject, vocabulary)
            if self.request.keep_patient_dir_names:
                tree.keep_name(subject.new_id, patient)
            folders: dict[tuple[str, str], Path] = {}
            jobs = [job for facts in patient.files if (job := self._job(facts, rules, tree, folders))]
            tasks += [Task(subject, tuple(each)) for each in _portions(jobs)]
        return tasks

    def _job(
        self, facts: Facts, rules: Rules, tree: Tree, folders: dict[tuple[str, str], Path]
    ) -> Job | None:
        folder = folders.get((facts.study_uid, facts.series_uid))
        if folder is None:
            folder = tree.series_folder(_new_identity(facts, rules))
            folder.mkdir(parents=True, exist_ok=True)
            folder = folders[facts.study_uid, facts.series_uid] = folder.relative_to(self.request.out_folder)
        uid = facts.sop_uid if self.request.options.retain_uids else rules.new_uid(facts.sop_uid)
        target = f"{folder}/{deidentified_name(uid)}"
        if self.request.resume and not self.in_place and (self.request.out_folder / target).exists():
            self._already(facts.path, target)
            self.outputs[rules.subject.key].append(target)
            return None
        reviewed = not self.request.reviewed.isdisjoint((facts.sop_uid, facts.path))
        return Job(facts.path, target, reviewed or not shows_identity(facts), facts.size)

    # --- writing --------------------------------------------------------------------------------------------

    def _set_out_aside(self, table: report.Table) -> None:
        for name, target in self.there:
            table.row(report.report_row(name, "already there", output=target))
        for name, reason in self.out:
            table.row(
                report.report_row(name, "left out", reason=f"{reason.kind}: {reason.detail}".rstrip(": "))
            )
            if self.in_place:
                self._set_aside(name)

    def _set_aside(self, name: str) -> None:
        """Takes a file out of a folder that shall hold nothing identifying; nothing is lost."""
        home = self.request.beside(LEFT_OUT_FOLDER)
        home.mkdir(mode=0o700, exist_ok=True)
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while os.path.lexists(target):
            number += 1
            target = target.with_name(f"{Path(name).name}.{number}")
        (self.request.in_folder / name).rename(target)

    def _write(self, tasks: list[Task], vocabulary: Vocabulary, key: Key, table: report.Table) -> None:
        total = sum(len(task.jobs) for task in tasks)
        workers = min(self.request.workers, max(len(tasks), 1))
        settings = _Settings(
            self.request.in_folder,
            self.request.out_folder,
            self.in_place,
            self.lock.staging,
            self.profile,
            key.secret,
            vocabulary,
        )
        seen = 0
        for written in shared(_write, tasks, workers, _begin_write, settings):
            for job, done in written.done:
                self._account(written.patient, job, done, table)
            for tag, word in written.words:
                self.words[tag, word].add(written.patient)
            seen += len(written.done)
            self.progress("files written", seen, total)

    def _account(self, patient: str, job: Job, done: instance.Done | str, table: report.Table) -> None:
        if isinstance(done, str):
            self._leave_out(job.name, Reason(done.partition(":")[0], done))
            table.row(report.report_row(job.name, "left out", reason=done))
            return
        self.totals.written += 1
        self.totals.bytes += done.bytes
        self.totals.unclaimed += not job.identity_removed
        self.outputs[patient].append(job.target)
        table.row(
            report.report_row(
                job.name,
                "written",
                output=job.target,
                patient=job.target.partition("/")[0],
                identity_removed="YES" if job.identity_removed else "NO",
                way="pydicom" if done.by_pydicom else "raw elements",
                changes=done.changes,
            )
        )

    def _finish(self, patients: dict[str, Patient], key: Key) -> None:
        self.totals.words = len(self.words)
        with report.Table(self.request.beside(report.REVIEW), ("tag", "word", "patients")) as table:
            for (tag, word), holders in sorted(self.words.items()):
                table.row((f"{tag:08X}", word, len(holders)))
        if self.request.keep_patient_dir_names:
            self.totals.problems.append("the folders keep their names, which identify the patients")
        if self.request.write_mapper:
            self.totals.problems.append("mapper.json in the output identifies the patients")
            self._write_mapper(patients, key)
        if self.in_place:
            _remove_empty_folders(self.request.in_folder)

    def _write_mapper(self, patients: dict[str, Patient], key: Key) -> None:
        """The two files of PACSIFIER 1.0.0, which undo the work: only when asked for."""
        mapper = {key.pseudonyms[name]: patient.patient_id for name, patient in sorted(patients.items())}
        text = json.dumps(mapper, indent=4, ensure_ascii=False)
        write_whole(self.request.out_folder / "mapper.json", text + "\n", mode=0o600)
        columns = ("new_id", "birth_date_offset_days", "date_offset_days")
        with report.Table(self.request.out_folder / "date_offsets.csv", columns) as table:
            for name in sorted(patients):
                shifts = key.shifts[name]
                days = shifts.date_days if self.request.options.fuzz_dates else 0
                table.row((key.pseudonyms[name], shifts.birth_date_days, days))

    def _verify(self, subjects: dict[str, Subject]) -> None:
        from pacsifier.deidentify.verify import VerifySettings, begin_verify, verify

        tasks = [
            (subjects[name], tuple(outputs[at : at + _A_TASK]))
            for name, outputs in self.outputs.items()
            for at in range(0, len(outputs), _A_TASK)
        ]
        olds = (
            frozenset()
            if self.request.options.retain_uids
            else frozenset(self.gathered.uids - uids.registered())
        )
        columns = ("file", "tag", "what")
        workers = min(self.request.workers, max(len(tasks), 1))
        settings = VerifySettings(self.request.out_folder, self.request.keep_patient_dir_names, olds)
        with report.Table(self.request.beside(report.VERIFY), columns) as table:
            for number, hits in shared(verify, tasks, workers, begin_verify, settings):
                self.totals.verified += number
                self.totals.hits += len(hits)
                for hit in hits:
                    table.row(hit)
                self.progress("files verified", self.totals.verified, sum(len(names) for _, names in tasks))
            for subject in subjects.values():
                self.totals.not_searched += len(subject.known.wholes)
                for word in sorted(subject.known.wholes):
                    table.row(("", "", f"{subject.new_id}: not searched, too short ({len(word)} characters)"))
        self.totals.failures += self.totals.hits


class _OutTree(Tree):
    """The output tree; keeps the names of patients' folders where that was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._kept: dict[str, str] = {}

    def keep_name(self, new_id: str, patient: Patient) -> None:
        """The folder of this patient keeps the name that it has in the input."""
        names = sorted(Path(folder).name for folder in patient.folders)
        name = names[0] if names else patient_folder_name(patient.patient_id)
        if name in self._kept.values():
            name = f"{name}_{short_hash(patient.key)}"
        self._kept[new_id] = name

    def patient_folder(self, series: SeriesIdentity) -> Path:
        """The `sub-` folder of the series' patient."""
        kept = self._kept.get(series.patient_id)
        return self.folder / kept if kept else super().patient_folder(series)


def _new_identity(facts: Facts, rules: Rules) -> SeriesIdentity:
    """What the place of an instance depends on, in new values."""
    scope = Scope(0, b"ISO_IR 192")

    def new(tag: int, vr: str, value: str) -> str:
        return (rules.value(tag, vr, value.encode(), scope) or b"").decode() if value else ""

    retained = rules.options.retain_uids
    return SeriesIdentity(
        patient_id=rules.subject.new_id,
        issuer="",
        birth_date=new(0x00100030, "DA", facts.birth_date).strip(),
        study_uid=facts.study_uid if retained else rules.new_uid(facts.study_uid),
        study_date=new(0x00080020, "DA", facts.study_date),
        study_time=new(0x00080030, "TM", facts.study_time),
        series_uid=facts.series_uid if retained else rules.new_uid(facts.series_uid),
        series_number=new(0x00200011, "IS", facts.series_number),
        series_description=new(0x0008103E, "LO", facts.series_description),
    )


def _portions(jobs: list[Job]) -> Iterator[list[Job]]:
    """Jobs in portions that keep all workers busy to the end, whether files are many or large."""
    portion: list[Job] = []
    for job in jobs:
        portion.append(job)
        if len(portion) == _A_TASK or sum(each.size for each in portion) > _A_TASK_BYTES:
            yield portion
            portion = []
    if portion:
        yield portion


def _numbers_in(out: Path) -> set[str]:
    """Pseudonyms that folders of the output have already, from a run with another key."""
    return {path.name.removeprefix("sub-") for path in out.iterdir() if path.name.startswith("sub-")}


def _remove_empty_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        if Path(parent) != folder:
            with contextlib.suppress(OSError):
                Path(parent).rmdir()


# --- in the workers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """What a worker needs to write instances."""

    in_folder: Path
    out_folder: Path
    in_place: bool
    staging: Path
    profile: Profile
    secret: bytes
    vocabulary: Vocabulary


@dataclass
class _Worker:
    """What a process keeps from task to task."""

    folder: Path = Path()
    scanner: Scanner | None = None
    settings: _Settings | None = None
    rules: Rules | None = None
    staged: int = 0


_worker = _Worker()


def _begin_scan(folder: Path, profile: Profile, with_uids: bool) -> None:
    _worker.folder, _worker.scanner = folder, Scanner(profile, with_uids=with_uids)


def _scan(names: list[str]) -> tuple[list[Facts], Gathered]:
    assert _worker.scanner is not None  # noqa: S101 - set by _begin_scan
    return [_worker.scanner.scan(_worker.folder, name) for name in names], _worker.scanner.gathered()


def _begin_write(settings: _Settings) -> None:
    _worker.settings, _worker.rules = settings, None


def _write(task: Task) -> Written:
    settings = _worker.settings
    assert settings is not None  # noqa: S101 - set by _begin_write
    if _worker.rules is None or _worker.rules.subject != task.subject:
        _worker.rules = Rules(settings.profile, settings.secret, task.subject, settings.vocabulary)
    rules = _worker.rules
    rules.dropped_words = {}
    written = Written(task.subject.key)
    for job in task.jobs:
        written.done.append((job, _write_one(job, rules, settings)))
    written.words = list(rules.dropped_words)
    return written


def _write_one(job: Job, rules: Rules, settings: _Settings) -> instance.Done | str:
    """Writes one instance beside its place and renames it there; gives a reason where that cannot be."""
    _worker.staged += 1
    # Texts, for making a Path costs as much as the renaming.
    staged = f"{settings.staging}/{os.getpid()}-{_worker.staged}"
    source, target = f"{settings.in_folder}/{job.name}", f"{settings.out_folder}/{job.target}"
    try:
        done = instance.deidentify(source, staged, rules, identity_removed=job.identity_removed)
        if settings.in_place:
            _replace_original(Path(source), Path(staged), Path(target))
        else:
            os.replace(staged, target)  # noqa: PTH105
    except UnreadableError as error:
        Path(staged).unlink(missing_ok=True)
        return str(error)
    except OSError as error:
        Path(staged).unlink(missing_ok=True)
        if error.errno in _ENDING_ERRORS:
            raise
        return f"cannot be read or written: {error.strerror}"
    return done


def _replace_original(source: Path, staged: Path, target: Path) -> None:
    """The original goes when the new instance is on disk and in its place."""
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    same = target.exists() and target.samefile(source)
    staged.replace(target)
    if not same:
        source.unlink()
