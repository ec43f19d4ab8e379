"""Pixels looked at, blanked, and looked at again: the part of the route that needs the extra `pixels`.

One worker a process, with one engine of its own. What follows from what was seen is decided in `cleaning.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pacsifier.deidentify.cleaning import RECORD, Cleaned, Look, Wanted, kept, line_of, looks_of, settle
from pacsifier.deidentify.coders import WithCoders
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.layout import Places, portions
from pacsifier.deidentify.looking import CANNOT_LOOK, has_pixels, read_at, search
from pacsifier.deidentify.model import Job, Left, Reason, Settings, Task
from pacsifier.dicom.splice import UnreadableError
from pacsifier.disk.files import open_new, open_to_append
from pacsifier.disk.walk import Progress
from pacsifier.pictures.blanking import CannotBlank, blank
from pacsifier.pictures.engine import Engine

KNOWN_IN_PIXELS = "known identifier, read in the pixels"


def look(places: Places, settings: Settings, progress: Progress) -> tuple[Places, dict[str, Look]]:
    """Looks at every file that is to be cleaned and was not looked at before; the record holds each look at once.

    Returns the places with what is to be done to the pixels of each file, without those that nobody could look at, and
    every look by its file. Raises OSError.
    """
    request = settings.request
    wanted = {job.name: job.wanted for task in places.tasks for job in task.jobs if job.wanted}
    path = request.beside(RECORD)
    looks = _earlier(path) if request.resume else {}
    tasks = [
        (task.subject, job, job.wanted)
        for task in places.tasks
        for job in task.jobs
        if job.wanted and (job.name not in looks or looks[job.name].problem)
    ]
    descriptor = open_to_append(path) if request.resume else open_new(path)
    with os.fdopen(descriptor, "a", encoding="utf-8") as record:
        seen = shared(lambda: Looker(settings), tasks, request.workers)
        for number, each in enumerate(seen, start=1):
            looks[each.file] = each
            record.write(line_of(each))
            progress("pictures looked at", number, len(tasks))
        cleaned = settle(wanted, looks)
        looks |= {name: each.look for name, each in cleaned.items()}
        record.writelines(line_of(each.look) for each in cleaned.values() if each.look.drawn)
    return _with(places, cleaned, looks), looks


def _earlier(path: Path) -> dict[str, Look]:
    try:
        with path.open(encoding="utf-8") as record:
            return looks_of(record)
    except FileNotFoundError:
        return {}


def _with(places: Places, cleaned: Mapping[str, Cleaned], looks: Mapping[str, Look]) -> Places:
    tasks = []
    left = list(places.left)
    for task in places.tasks:
        jobs = []
        for job in task.jobs:
            if job.wanted is None:
                jobs.append(job)
            elif done := cleaned.get(job.name):
                jobs.append(replace(job, cleaned=done, doubt=done.doubt))
            else:
                left.append(Left(job.name, Reason(CANNOT_LOOK, looks[job.name].problem)))
        tasks += [Task(task.subject, each) for each in portions(jobs)]
    return replace(places, tasks=tuple(tasks), left=tuple(left))


class _WithEngine(WithCoders):
    """What every process needs to look: the engine, made once, and the rules of the last patient; to be closed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.staging)
        self._settings = settings
        self.request = settings.request
        self._rules: Rules | None = None

    @cached_property
    def engine(self) -> Engine:
        """The engine of this process; one thread, for there is a process for each CPU."""
        models = self._settings.models
        assert models is not None  # noqa: S101 - a run that looks has found them
        return Engine(models, threads=1)

    def knows(self, subject: Subject) -> Callable[[str], bool]:
        """Whether a text that was read names the patient or anybody known of the patient."""
        if self._rules is None or self._rules.subject is not subject:
            self._rules = self._settings.rulebook.rules_of(subject)
        return self._rules.names_somebody_in

    def still_read(self, path: Path, knows: Callable[[str], bool]) -> str:
        """Why the pixels of a file may not go out: an identifier is read in them, or nobody can look; else ""."""
        try:
            found = search(path, self.engine, knows, self.coders)
        except UnreadableError as error:
            return f"{CANNOT_LOOK}: {error}"
        return KNOWN_IN_PIXELS if any(knows(each.text) for each in found.regions if each.text) else ""


class Looker(_WithEngine):
    """Looks at files, one Looker in each process."""

    def __call__(self, task: tuple[Subject, Job, Wanted]) -> Look:
        """Looks at one file."""
        subject, job, wanted = task
        knows = self.knows(subject)
        words = self.request.pixels.kept_words if self.request.pixels else frozenset()
        try:
            found = search(self.request.in_folder / job.name, self.engine, knows, self.coders)
        except UnreadableError as error:
            return Look(job.name, wanted.series, problem=str(error))
        regions = tuple(kept(found.regions, words, knows))
        size = found.columns, found.rows, found.frames, found.looked_at
        return Look(job.name, wanted.series, *size, self.engine.name, regions)


# --- the writing --------------------------------------------------------------------------------------------------


class Blanker(_WithEngine):
    """Blanks the boxes of files that were written, one Blanker in each process, and reads what is left."""

    def __call__(self, source: Path, target: Path, job: Job, rules: Rules) -> None:
        """Writes `target`; raises UnreadableError where that cannot be, or an identifier is still read."""
        boxes = job.cleaned.boxes if job.cleaned else ()
        try:
            blank(source, target, {None: boxes}, self.coders)
        except CannotBlank as error:
            raise UnreadableError("pixels that cannot be blanked", error.reason) from error
        # The rest is what was looked at before it was written.
        if any(map(rules.names_somebody_in, read_at(target, boxes, self.engine, self.coders))):
            raise UnreadableError("pixels that name somebody after they were blanked", KNOWN_IN_PIXELS)


# --- after the writing --------------------------------------------------------------------------------------------


class Proof(_WithEngine):
    """Looks at the pixels of outputs for what is known of their patient, one Proof in each process."""

    def __call__(self, task: tuple[Subject, str]) -> tuple[str, str]:
        """The name of a file below the output, and what is wrong with it; "" for nothing."""
        subject, name = task
        return name, self.still_read(self.request.out_folder / name, self.knows(subject))


def verify(
    outputs: Mapping[str, Sequence[str]],
    subjects: Mapping[str, Subject],
    settings: Settings,
    progress: Progress,
) -> Iterator[tuple[str, str]]:
    """The outputs with pixels that say who the patient is, or cannot be looked at, and which of the two."""
    tasks = [
        (subjects[patient], name)
        for patient, names in outputs.items()
        for name in names
        if has_pixels(settings.request.out_folder / name)
    ]
    proof = shared(lambda: Proof(settings), tasks, settings.request.workers)
    for done, (name, problem) in enumerate(proof, start=1):
        progress("pictures verified", done, len(tasks))
        if problem:
            yield name, problem
