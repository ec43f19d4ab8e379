"""The first look at all files of the input: everything known of a patient is known before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.profile import Profile
from pacsifier.deidentify.model import FILES_PER_TASK, NEW_ID_FILE, Facts, Left, Request, There
from pacsifier.deidentify.scan import Gathered, Scanner
from pacsifier.disk.walk import Progress, Walk

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
    names = list(_names(walk, request, walk.folder))
    tasks = [names[at : at + FILES_PER_TASK] for at in range(0, len(names), FILES_PER_TASK)]
    files: list[Facts] = []
    gathered = Gathered()
    for found, new in shared(lambda: _Reader(request, profile), tasks, request.workers):
        files += found
        gathered.merge(new)
        progress("files looked at", len(files), len(names))
    # Never opened; but the report names them, and no folder with originals replaced keeps them.
    files += [Facts(name, of_logs=True) for name in _names(walk.of_logs(), request, walk.folder)]
    if request.in_place:
        files = [replace(facts, is_link=(request.in_folder / facts.path).is_symlink()) for facts in files]
    of_others = frozenset(facts.path for facts in files if not request.shard.holds(facts.patient_id))
    return Survey(tuple(sorted(files, key=lambda facts: facts.path)), gathered, walk.notes, of_others)


class _Reader:
    """Looks at files, one Reader in each process."""

    def __init__(self, request: Request, profile: Profile) -> None:
        self._folder, self._scanner = request.in_folder, Scanner(profile, with_uids=request.verify)

    def __call__(self, names: list[str]) -> tuple[list[Facts], Gathered]:
        return [self._scanner.scan(self._folder, name) for name in names], self._scanner.gathered()


def _names(paths: Iterable[Path], request: Request, source: Path) -> Iterator[str]:
    """The files of the input, without the output, the key and the reports where these lie below it."""
    out, in_place = request.out_folder.resolve(), request.in_place
    nested = source in out.parents
    own, prefix = f"{out.name}.", len(str(source / "x")) - 1
    for path in paths:
        if nested and out in path.parents:
            continue
        ours = path == request.key or (path.name.startswith(own) and path.parent == request.key.parent)
        if not ours and (in_place or path.name != NEW_ID_FILE):
            yield str(path)[prefix:]
