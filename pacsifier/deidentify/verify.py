"""The proof: the output read again in search of what is known of the input, by all processes of the run.

Every value and all bytes are searched, except pixels, but with what stands beside the pixels of every compressed frame.
A hit is an error. What the pixels show is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pacsifier.deidentify import report
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES, Identifiers, is_technical
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.model import FILES_PER_TASK, Request, Verified
from pacsifier.deidentify.rereading import Rereader
from pacsifier.deidentify.searching import Search
from pacsifier.disk.walk import Progress

Hit = tuple[str, str, str]
"""File, tag and kind of what was found; never a value."""


def verify(
    outputs: Mapping[str, Sequence[str]],
    subjects: Mapping[str, Subject],
    old_uids: frozenset[str],
    request: Request,
    progress: Progress,
) -> Verified:
    """Searches the outputs of each patient; a row of the report is written for each hit as it is found."""
    tasks = [
        (subjects[name], tuple(names[at : at + FILES_PER_TASK]))
        for name, names in outputs.items()
        for at in range(0, len(names), FILES_PER_TASK)
    ]
    total, files, hits = sum(len(names) for _, names in tasks), 0, 0
    verifier = Verifier(request.out_folder, request.keep_patient_dir_names, old_uids)
    with report.Table(request.beside(report.VERIFY), ("file", "tag", "what")) as table:
        for number, found in shared(lambda: verifier, tasks, request.workers):
            files += number
            hits += len(found)
            for hit in found:
                table.row(hit)
            progress("files verified", files, total)
        for subject in subjects.values():
            for said in _not_searched(subject.known):
                table.row(("", "", f"{subject.new_id}: {said}"))
    return Verified(files, hits, sum(len(subject.known.wholes) for subject in subjects.values()))


def _not_searched(known: Identifiers) -> Iterator[str]:
    """What is too short to be looked for, each without its text."""
    for word in sorted(known.wholes):
        yield f"not searched, too short ({len(word)} characters)"
    for word in sorted(word for word in known.words if len(word) < SHORTEST_IN_BYTES):
        if is_technical(word):
            yield f"not searched in bytes, a short word of how images are made ({len(word)} characters)"
            continue
        where = "not searched in bytes" if word.isdigit() else "searched in bytes only as a word of a text"
        yield f"{where}, too short ({len(word)} characters)"


@dataclass(frozen=True)
class Verifier:
    """Searches files of one patient, one Verifier in each process.

    It knows where the output lies, whether folders keep their names, and every old UID met.
    """

    out_folder: Path
    names_kept: bool
    old_uids: frozenset[str]
    _last: list[tuple[Subject, Rereader]] = field(default_factory=list, compare=False, repr=False)

    @cached_property
    def _old_uids(self) -> frozenset[bytes]:
        return frozenset(uid.encode("utf_8", "replace") for uid in self.old_uids)

    def __call__(self, task: tuple[Subject, tuple[str, ...]]) -> tuple[int, list[Hit]]:
        """How many files were read, and their hits. The first file is read by pydicom as well."""
        subject, names = task
        rereader = self._of(subject)
        hits: list[Hit] = []
        for number, name in enumerate(names):
            searched = "" if self.names_kept else name
            found = rereader.in_file(self.out_folder / name, name=searched, by_pydicom=not number)
            hits += ((name, tag, kind) for tag, kind in found)
        return len(names), hits

    def _of(self, subject: Subject) -> Rereader:
        """Kept for the next files of the patient: what is looked for is put together once."""
        if not self._last or self._last[0][0] is not subject:
            self._last[:] = [(subject, Rereader(Search(subject, self._old_uids)))]
        return self._last[0][1]
