"""The first look at all files of the input: everything known of a patient is known before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pacsifier.deidentify.cleaning import RECORD
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine.dictionary import public_vr
from pacsifier.deidentify.engine.identifiers import Identifiers
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.profile import PATIENT_ID, Profile
from pacsifier.deidentify.model import FILES_PER_TASK, NEW_ID_FILE, Facts, Left, Request, There
from pacsifier.deidentify.patients import adopted
from pacsifier.deidentify.report import REPORT, REVIEW, SUMMARY, VERIFY
from pacsifier.deidentify.scan import Gathered, Scanner
from pacsifier.disk.names import shown
from pacsifier.disk.walk import PASSED_OVER, Progress, Walk

# What lies beside an output; of a folder of images only the first two tell that it is one.
_BESIDE = tuple(f".{each}" for each in ("key.json", REPORT, SUMMARY, REVIEW, VERIFY, RECORD))
_PAGES = re.compile(r"\.(pixels(\.[0-9]+)?|report)\.html$")
_File = TypeVar("_File", Left, There)


@dataclass(frozen=True)
class Survey:
    """The files of the input by path, what they tell about each person, and what a run says of logs it passed over.

    `of_others` are files of patients of other parts: looked at, for what only the whole input tells, but not reported.
    """

    files: tuple[Facts, ...]
    gathered: Gathered
    passed_over: tuple[str, ...]
    of_others: frozenset[str]

    @property
    def found(self) -> int:
        """How many files this part reports."""
        return len(self.files) - len(self.of_others)

    def own(self, files: Iterable[_File]) -> tuple[_File, ...]:
        """Those of the files that this part reports."""
        return tuple(each for each in files if each.path not in self.of_others)


def look(request: Request, walk: Walk, profile: Profile, progress: Progress) -> Survey:
    """Reads every file once, except those in the logs of our runs."""
    # Read before the processes part, which need it all.
    lexicon()
    public_vr(PATIENT_ID)
    outputs = _Outputs(request, walk.folder)
    names = list(_names(walk, outputs, request))
    tasks = [names[at : at + FILES_PER_TASK] for at in range(0, len(names), FILES_PER_TASK)]
    files: list[Facts] = []
    gathered = Gathered()
    for found, new in shared(lambda: _Reader(request, profile), tasks, request.workers):
        files += found
        gathered.merge(new)
        progress("files looked at", len(files), len(names))
    # Never opened; but the report names them, and no folder with originals replaced keeps them.
    files += [Facts(name, of_logs=True) for name in _names(walk.of_logs(), outputs, request)]
    if request.in_place:
        files = [replace(facts, is_link=(request.in_folder / facts.path).is_symlink()) for facts in files]
    files = _adopted(files, gathered)
    of_others = frozenset(facts.path for facts in files if not request.shard.holds(facts.patient_id))
    return Survey(
        tuple(sorted(files, key=lambda facts: facts.path)),
        gathered,
        (*walk.notes, *outputs.notes()),
        of_others,
    )


def _adopted(files: list[Facts], gathered: Gathered) -> list[Facts]:
    """The files, those without PatientID with that of the one patient of their study, and what is known with them."""
    patients = adopted(facts for facts in files if not facts.defect and not facts.of_logs)
    for person, patient in patients.items():
        gathered.known.setdefault(patient, Identifiers()).merge(gathered.known.get(person, Identifiers()))
        gathered.words.setdefault(patient, set()).update(gathered.words.get(person, ()))
    return [
        replace(facts, issuer=mine[0], patient_id=mine[1]) if (mine := patients.get(facts.person)) else facts
        for facts in files
    ]


class _Reader:
    """Looks at files, one Reader in each process."""

    def __init__(self, request: Request, profile: Profile) -> None:
        self._folder, self._scanner = request.in_folder, Scanner(profile, with_uids=request.verify)

    def __call__(self, names: list[str]) -> tuple[list[Facts], Gathered]:
        return [self._scanner.scan(self._folder, name) for name in names], self._scanner.gathered()


def _names(paths: Iterable[Path], outputs: _Outputs, request: Request) -> Iterator[str]:
    """The files of the input, without outputs, keys and reports where these lie below it."""
    prefix = len(str(outputs.source / "x")) - 1
    for path in map(str, paths):
        folder, _, name = path.rpartition("/")
        if not outputs.hold(folder, name) and (request.in_place or name != NEW_ID_FILE):
            yield path[prefix:]


class _Outputs:
    """Outputs of this run and of earlier ones below the input: an earlier one is known by what lies beside it."""

    def __init__(self, request: Request, source: Path) -> None:
        self.source = source
        self._out, self._key = request.out_folder.resolve(), request.key
        self._beside_ours = f"{self._out.name}."
        self._key_folder = str(self._key.parent)
        self._met: dict[Path, None] = {}
        self._folders: dict[str, bool] = {}

    def hold(self, folder: str, file: str) -> bool:
        """Whether a file of a folder lies in an output, or is a key or a report beside one."""
        if self._is_within(folder):
            return True
        if folder == self._key_folder and (file == self._key.name or file.startswith(self._beside_ours)):
            return True
        if not file.endswith((*_BESIDE, ".html")):
            return False
        endings = (end for end in _BESIDE if file.endswith(end))
        name = _PAGES.sub("", file.removesuffix(next(endings, "")))
        return name not in ("", file) and self._is_output(Path(folder, name))

    def notes(self) -> Iterator[str]:
        """What the run says of the outputs that it passed over."""
        for folder in sorted(self._met):
            yield f"{shown(folder.relative_to(self.source))}: {PASSED_OVER}: the output of a de-identification"

    def _is_within(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is None:
            path = Path(folder)
            inside = self.source in path.parents
            known = inside and (self._is_output(path) or self._is_within(str(path.parent)))
            self._folders[folder] = known
        return known

    def _is_output(self, folder: Path) -> bool:
        if folder == self.source:
            return False
        found = folder == self._out or (
            folder.is_dir() and any(folder.with_name(folder.name + end).is_file() for end in _BESIDE[:2])
        )
        if found:
            self._met[folder] = None
        return found
