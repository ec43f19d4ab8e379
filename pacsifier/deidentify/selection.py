"""Which instances may go out at all, and which ones may claim that nobody is recognizable in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from pacsifier.deidentify.engine.profile import METHOD, Options
from pacsifier.deidentify.model import Facts, Left, Reason, There
from pacsifier.dicom import part10
from pacsifier.disk.names import COMPANIONS

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE = f"{_STORAGE}7"
_ENCAPSULATED = f"{_STORAGE}104."
_STRUCTURED_REPORT = f"{_STORAGE}88."
_KEY_OBJECT_SELECTION = f"{_STORAGE}88.59"
_COMPANIONS = frozenset(name.lower() for name in COMPANIONS)
_ULTRASOUND = tuple(f"{_STORAGE}{suffix}" for suffix in ("3", "3.1", "6", "6.1", "6.2"))
_DOSE = re.compile(r"(?i)(?<![a-z])(dos[eis]\w*|dosis\w*|exposure|ctdi\w*|dlp)(?![a-z])")


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
    if facts.sop_class.startswith(_ENCAPSULATED):
        return Reason("encapsulated document: nobody reads its text", failed=False)
    if facts.overlay_stays:
        return Reason("an overlay stands inside compressed pixel data")
    asked = _asked_out(facts, options) if options.delete_identifiable else ""
    if asked:
        return Reason(f"--delete_identifiable: {asked}", failed=False)
    return None


def _unreadable(facts: Facts, defect: Reason) -> Reason:
    """What pacsifier itself lays beside images is expected; anything else that is no instance is not."""
    path = PurePath(facts.path)
    if path.suffix == ".csv" or path.parts[0] == "logs" or path.name.lower() in _COMPANIONS:
        return Reason("table, log or DICOMDIR", failed=False)
    return defect


def _asked_out(facts: Facts, options: Options) -> str:
    """What of --delete_identifiable's list an instance is; "" for nothing."""
    if facts.burned_in.upper() == "YES":
        return "BurnedInAnnotation is YES"
    if _is_screen_save(facts):
        return "screen save"
    if _is_secondary_capture(facts) and _DOSE.search(f"{facts.series_description} {facts.image_type}"):
        return "secondary capture of dose"
    if _is_report(facts) and not options.keep_sr:
        return "structured report (--keep_sr keeps it, cleaned)"
    return ""


def shows_identity(facts: Facts) -> bool:
    """Whether the pixels may name the patient: nobody may claim otherwise before a person has looked."""
    return (
        _is_secondary_capture(facts)
        or facts.sop_class in _ULTRASOUND
        or facts.modality == "US"
        or _is_screen_save(facts)
        or facts.burned_in.upper() == "YES"
    )


def _is_secondary_capture(facts: Facts) -> bool:
    return facts.sop_class == _SECONDARY_CAPTURE or facts.sop_class.startswith(f"{_SECONDARY_CAPTURE}.")


def _is_screen_save(facts: Facts) -> bool:
    return "SCREEN SAVE" in facts.image_type.upper().replace("_", " ")


def _is_report(facts: Facts) -> bool:
    return facts.sop_class.startswith(_STRUCTURED_REPORT) and facts.sop_class != _KEY_OBJECT_SELECTION
