"""Who a patient becomes: decided for all of the patient's files before the first is written."""

from __future__ import annotations

from dataclasses import dataclass, field

from pacsifier.deidentify.engine.identifiers import Identifiers


@dataclass(frozen=True)
class Subject:
    """A patient as the engine needs it: who it becomes, how far the dates move, and what is known.

    `date_shift_days` moves the dates of the images (0: they stay), `birth_shift_days` the birth date;
    `moved_days` maps every known day of the patient to what is written instead. `has_id`: images of the patient have a
    PatientID, so that one without it gets it.
    """

    key: str
    new_id: str
    date_shift_days: int
    birth_shift_days: int
    birth_date_emptied: bool
    known: Identifiers = field(compare=False)
    moved_days: dict[str, str] = field(compare=False, default_factory=dict)
    has_id: bool = False
