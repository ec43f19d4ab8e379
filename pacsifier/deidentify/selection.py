"""Which instances may go out at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from pacsifier.deidentify import claims
from pacsifier.deidentify.engine.profile import METHOD, Options
from pacsifier.deidentify.model import Facts, Left, Reason, There
from pacsifier.dicom import part10
from pacsifier.disk.names import is_by_product


@dataclass(frozen=True)
class Selection:
    """What may go out, and the others; `made`: what earlier runs, with this key or another, have replaced."""

    files: tuple[Facts, ...]
    left: tuple[Left, ...] = ()
    there: tuple[There, ...] = ()
    made: tuple[Facts, ...] = ()


def select(
    files: Iterable[Facts], options: Options, *, in_place: bool = False, pseudonyms: Collection[str] = ()
) -> Selection:
    """Sorts the files of the input; `pseudonyms` are those of the key, by which a run knows what it has replaced."""
    chosen: list[Facts] = []
    left: list[Left] = []
    there: list[There] = []
    made: list[Facts] = []
    for facts in files:
        if in_place and facts.is_link:
            left.append(Left(facts.path, Reason("a link: the original lies elsewhere, and stays")))
            continue
        replaced = in_place and _is_made(facts)
        if replaced:
            made.append(facts)
        if replaced and facts.patient_id in pseudonyms:
            there.append(There(facts.path, facts.path))
        elif reason := left_out(facts, options):
            left.append(Left(facts.path, reason))
        else:
            chosen.append(facts)
    return Selection(tuple(chosen), tuple(left), tuple(there), tuple(made))


def _is_made(facts: Facts) -> bool:
    """Whether a run has written the file."""
    return METHOD in facts.method and PurePath(facts.path).name == f"{facts.sop_uid}.dcm"


def each_once(files: Iterable[Facts], folder: Path) -> Selection:
    """Each instance once; of those that contradict each other none. Reads the files that share a UID."""
    by_uid: dict[str, list[Facts]] = defaultdict(list)
    for facts in files:
        by_uid[facts.sop_uid].append(facts)
    chosen: list[Facts] = []
    left: list[Left] = []
    for twins in by_uid.values():
        if len(twins) == 1:
            chosen.append(twins[0])
            continue
        first, *others = (folder / twin.path for twin in twins)
        if all(part10.dataset_bytes_equal(first, other) for other in others):
            chosen.append(twins[0])
            again = Reason("the same instance once more", failed=False)
            left += [Left(twin.path, again) for twin in twins[1:]]
        else:
            differs = Reason("one SOP Instance UID with different data sets", twins[0].sop_uid)
            left += [Left(twin.path, differs) for twin in twins]
    return Selection(tuple(chosen), tuple(left))


def left_out(facts: Facts, options: Options) -> Reason | None:
    """Why an instance stays out of the output; None where it may go. Decisions are by header, never by pixels."""
    if facts.of_logs:
        return Reason("in the logs of a pacsifier run: not read", failed=False)
    if facts.defect:
        return _unreadable(facts, facts.defect)
    if kind := claims.always_out(facts):
        return Reason(kind, failed=False)
    if facts.overlay_stays:
        return Reason("an overlay stands inside compressed pixel data")
    asked = claims.asked_out(facts, options) if options.delete_identifiable else ""
    if asked:
        return Reason(f"--delete_identifiable: {asked}", failed=False)
    return None


def _unreadable(facts: Facts, defect: Reason) -> Reason:
    """What pacsifier itself lays beside images is expected; anything else that is no instance is not."""
    path = PurePath(facts.path)
    if path.parts[0] == "logs" or is_by_product(path.name):
        return Reason("table, log or DICOMDIR", failed=False)
    return defect
