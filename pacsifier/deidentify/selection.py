"""Which instances may go out at all, and which ones may claim that nobody is recognizable in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from pacsifier.deidentify.engine.profile import Options
from pacsifier.deidentify.scan import Facts


@dataclass(frozen=True)
class Reason:
    """Why a file stays out: `kind` is fit for the console, `detail` for the report; `failed` counts as a failure."""

    kind: str
    detail: str = ""
    failed: bool = True


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE = f"{_STORAGE}7"
_ENCAPSULATED = f"{_STORAGE}104."
_STRUCTURED_REPORT = f"{_STORAGE}88."
_KEY_OBJECT_SELECTION = f"{_STORAGE}88.59"
_COMPANIONS = frozenset(("dicomdir", "mapper.json", "new_id.txt"))
_REPORT = "structured report (--keep_sr keeps it, cleaned)"
_ULTRASOUND = tuple(f"{_STORAGE}{suffix}" for suffix in ("3", "3.1", "6", "6.1", "6.2"))
_DOSE = re.compile(r"(?i)(?<![a-z])(dos[eis]\w*|dosis\w*|exposure|ctdi\w*|dlp)(?![a-z])")


def left_out(facts: Facts, options: Options) -> Reason | None:
    """Why an instance stays out of the output; None where it may go. Decisions are by header, never by pixels."""
    if facts.of_logs:
        return Reason("in the logs of a pacsifier run: not read", failed=False)
    if facts.defect:
        return _unreadable(facts)
    if facts.sop_class.startswith(_ENCAPSULATED):
        return Reason("encapsulated document: nobody reads its text", failed=False)
    if facts.overlay_stays:
        return Reason("an overlay stands inside compressed pixel data")
    asked = _asked_out(facts) if options.delete_identifiable else ""
    if asked and not (asked == _REPORT and options.keep_sr):
        return Reason(f"--delete_identifiable: {asked}", failed=False)
    return None


def _unreadable(facts: Facts) -> Reason:
    """What pacsifier itself lays beside images is expected; anything else that is no instance is not."""
    path = PurePath(facts.path)
    if path.suffix == ".csv" or path.parts[0] == "logs" or path.name.lower() in _COMPANIONS:
        return Reason("table, log or DICOMDIR", failed=False)
    return Reason(facts.defect.partition(":")[0], facts.defect)


def _asked_out(facts: Facts) -> str:
    """What of --delete_identifiable's list an instance is; "" for nothing."""
    if facts.burned_in.upper() == "YES":
        return "BurnedInAnnotation is YES"
    if _is_screen_save(facts):
        return "screen save"
    if _is_secondary_capture(facts) and _DOSE.search(f"{facts.series_description} {facts.image_type}"):
        return "secondary capture of dose"
    return _REPORT if _is_report(facts) else ""


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
