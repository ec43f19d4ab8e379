"""Every instance is written beside its place and renamed there; where originals are replaced, each goes after that."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.deidentify import report
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine import instance
from pacsifier.deidentify.engine.marks import MARKS
from pacsifier.deidentify.engine.rules import Rules, Told
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.layout import Places
from pacsifier.deidentify.model import Ended, Job, Left, OnEnd, Reason, Settings, Task
from pacsifier.deidentify.review import Review
from pacsifier.dicom.runs import Runs
from pacsifier.dicom.splice import UnreadableError
from pacsifier.disk.files import make_folders
from pacsifier.disk.walk import Progress

if TYPE_CHECKING:
    from pacsifier.deidentify.pixels import Blanker

_ENDING_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Written:
    """What became of the instances of a task, by the names of their jobs, and what there is to say of descriptions."""

    patient: str
    done: tuple[tuple[str, instance.Done | Reason], ...]
    told: Told


@dataclass(frozen=True)
class Wrote:
    """What was written: targets by patient; what could not be; what there is to say of descriptions."""

    targets: Mapping[str, Sequence[str]]
    bytes: int
    unclaimed: int
    left: tuple[Left, ...]
    review: Review
    pixels: report.Seen = field(default_factory=report.Seen)

    @property
    def number(self) -> int:
        """How many instances were written."""
        return sum(map(len, self.targets.values()))


class Ends:
    """Tells what has become of each patient whose files are to be written, or are there, when it is known."""

    def __init__(self, places: Places, subjects: Mapping[str, Subject], tell: OnEnd) -> None:
        self._tell = tell
        self._open = Counter(task.subject.key for task in places.tasks)
        there = Counter(each.patient for each in places.there)
        self._ends = {
            name: Ended(name, subject.new_id, already=there[name])
            for name, subject in subjects.items()
            if name in self._open or name in there
        }
        for name in [name for name in self._ends if not self._open[name]]:
            tell(self._ends.pop(name))

    def add(self, written: Written) -> None:
        """One task of a patient was done."""
        name = written.patient
        end, sizes = (
            self._ends[name],
            [done.bytes for _, done in written.done if isinstance(done, instance.Done)],
        )
        self._ends[name] = replace(
            end,
            written=end.written + len(sizes),
            failed=end.failed + len(written.done) - len(sizes),
            bytes=end.bytes + sum(sizes),
        )
        self._open[name] -= 1
        if not self._open[name]:
            self._tell(self._ends.pop(name))


def write(places: Places, settings: Settings, table: report.Table, ends: Ends, progress: Progress) -> Wrote:
    """Writes all instances, and a row of the report for each one as soon as it is done."""
    for folder in places.folders:
        make_folders(folder)
    jobs = {job.name: job for task in places.tasks for job in task.jobs}
    total, seen = len(jobs), 0
    targets: dict[str, list[str]] = defaultdict(list)
    review = Review()
    left: list[Left] = []
    size = unclaimed = 0
    pixels = report.Seen()
    for written in shared(lambda: Writer(settings), places.tasks, settings.request.workers):
        for name, done in written.done:
            job = jobs[name]
            if isinstance(done, Reason):
                left.append(Left(job.name, done))
                table.row(report.row(job.name, "left out", reason=done.detail))
                continue
            targets[written.patient].append(job.target)
            size += done.bytes
            unclaimed += not job.identity_removed
            pixels = pixels.and_of(job.cleaned) if job.cleaned else pixels
            table.row(report.row_of_written(job, done))
        review.add(written.patient, written.told)
        seen += len(written.done)
        progress("files written", seen, total, size)
        ends.add(written)
    return Wrote(targets, size, unclaimed, tuple(left), review, pixels)


class Writer:
    """Writes the instances of tasks, one Writer in each process; keeps the rules of the last patient."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        request = settings.request
        self._in_folder, self._out_folder = str(request.in_folder), str(request.out_folder)
        self._rules: Rules | None = None
        self._staged = 0
        self._runs = Runs(borders=MARKS)
        self._blanker: Blanker | None = None

    def __call__(self, task: Task) -> Written:
        """Writes the instances of a task."""
        if self._rules is None or self._rules.subject != task.subject:
            self._rules = self._settings.rulebook.rules_of(task.subject)
        done = tuple((job.name, self._write(job, self._rules)) for job in task.jobs)
        return Written(task.subject.key, done, self._rules.told())

    def close(self) -> None:
        """Ends what runs for the blanking."""
        if self._blanker:
            self._blanker.close()

    def _write(self, job: Job, rules: Rules) -> instance.Done | Reason:
        """Writes one instance beside its place and renames it there; returns a reason where that cannot be."""
        self._staged += 1
        # Texts, for making a Path costs as much as the renaming.
        staged = f"{self._settings.staging}/{os.getpid()}-{self._staged}"
        source, target = f"{self._in_folder}/{job.name}", f"{self._out_folder}/{job.target}"
        try:
            claim = job.cleaned.claim if job.cleaned else None
            done = instance.deidentify(
                source,
                staged,
                rules,
                identity_removed=job.identity_removed,
                pixel_claim=claim,
                runs=self._runs,
            )
            if job.cleaned and job.cleaned.boxes:
                self._blanked(Path(staged), job, rules)
            if self._settings.request.in_place:
                _replace_original(Path(source), Path(staged), Path(target))
            else:
                os.replace(staged, target)  # noqa: PTH105
        except UnreadableError as error:
            Path(staged).unlink(missing_ok=True)
            return Reason.of(error)
        except OSError as error:
            Path(staged).unlink(missing_ok=True)
            if error.errno in _ENDING_ERRORS:
                raise
            kind = "cannot be read or written"
            return Reason(kind, f"{kind}: {error.strerror}")
        return done

    def _blanked(self, staged: Path, job: Job, rules: Rules) -> None:
        """Puts the file with blanked pixels in the place of the staged one."""
        if self._blanker is None:
            # It imports what comes with an extra, and only this needs it.
            from pacsifier.deidentify.pixels import Blanker

            self._blanker = Blanker(self._settings)
        blanked = staged.with_name(f"{staged.name}.blanked")
        try:
            self._blanker(staged, blanked, job, rules)
            blanked.replace(staged)
        finally:
            blanked.unlink(missing_ok=True)


def _replace_original(source: Path, staged: Path, target: Path) -> None:
    """The original goes when the new instance is on disk and in its place."""
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    same = target.exists() and target.samefile(source)
    staged.replace(target)
    if not same:
        source.unlink()


def set_aside(in_folder: Path, names: Iterable[str], home: Path) -> None:
    """Takes files out of a folder that shall hold nothing identifying; nothing is lost."""
    for name in names:
        home.mkdir(mode=0o700, exist_ok=True)
        target = home / name
        make_folders(target.parent)
        number = 1
        while os.path.lexists(target):
            number += 1
            target = target.with_name(f"{Path(name).name}.{number}")
        (in_folder / name).rename(target)


def remove_empty_folders(folder: Path) -> None:
    """Removes the folders that the originals lay in: their names identify the patients."""
    for parent, _, _ in os.walk(folder, topdown=False):
        if Path(parent) != folder:
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
