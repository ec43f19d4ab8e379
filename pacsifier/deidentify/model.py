"""The values that the stages of a run hand on to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pacsifier.allowed import PATH, POSITIVE, TEXT, Kind, kind, made_by, several
from pacsifier.deidentify.cleaning import ALL, SUSPICIOUS, Cleaned, Wanted
from pacsifier.deidentify.crew import available_cpus
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.profile import Options, Profile
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.reviewed import Reviewed
from pacsifier.dicom.splice import UnreadableError
from pacsifier.maps import day_shifts_of, new_ids_of
from pacsifier.pictures.models import Models
from pacsifier.query import SHARD, WHOLE, Shard

NEW_ID_FILE = "new_id.txt"
FILES_PER_TASK = 32


@dataclass(frozen=True)
class Maps:
    """What the user gave: pseudonyms and day shifts by patient; None where nothing was given."""

    new_ids: Mapping[str, str] | None = None
    day_shifts: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Pixels:
    """What the user asks about text in pixels: of which files (`cleaning.SUSPICIOUS` or `ALL`).

    `kept_words` are never blanked where they are all that stands in a place.
    """

    which: str
    kept_words: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.which not in (SUSPICIOUS, ALL):
            raise ValueError(self.which)


_WORDS: Final = several(TEXT, frozenset, "a list of words is allowed")


def _maps(value: Any) -> Maps:
    new_ids, day_shifts = value.new_ids, value.day_shifts
    if not all(each is None or isinstance(each, Mapping) for each in (new_ids, day_shifts)):
        raise TypeError(value)
    return Maps(
        None if new_ids is None else new_ids_of("new_ids", new_ids),
        None if day_shifts is None else day_shifts_of("day_shifts", day_shifts),
    )


_MAPS: Final = Kind("pacsifier.deidentify.model.Maps(...), with mappings, is allowed", _maps, _maps)
_REVIEWED: Final = made_by(Reviewed, "what pacsifier.deidentify.reviewed.read gives is allowed")
_PIXELS: Final = made_by(
    Pixels, f"{SUSPICIOUS}, {ALL} or pacsifier.deidentify.model.Pixels(...) is allowed", Pixels
)


@dataclass(frozen=True)
class Request:
    """What the user asks for. `key` is the file of the key, `beside` names the reports that lie next to it."""

    in_folder: Path
    out_folder: Path
    options: Options
    key: Path
    maps: Maps = field(default_factory=Maps, metadata=kind(_MAPS))
    keep_patient_dir_names: bool = False
    write_mapper: bool = False
    kept_words: frozenset[str] = field(default=frozenset(), metadata=kind(_WORDS))
    reviewed: Reviewed = field(default_factory=Reviewed, metadata=kind(_REVIEWED))
    pixels: Pixels | None = field(default=None, metadata=kind(_PIXELS))
    verify: bool = False
    verify_pixels: bool = False
    ocr_models: Path | None = field(default=None, metadata=kind(PATH))
    resume: bool = False
    allow_identifying_ids: bool = False
    shard: Shard = field(default=WHOLE, metadata=kind(SHARD))
    workers: int = field(default_factory=available_cpus, metadata=kind(POSITIVE))

    @cached_property
    def in_place(self) -> bool:
        """Whether the originals are replaced."""
        return self.in_folder.resolve() == self.out_folder.resolve()

    def beside(self, name: str) -> Path:
        """A file of this run beside the key."""
        return self.key.with_name(f"{self.out_folder.resolve().name}.{name}")


@dataclass(frozen=True)
class Reason:
    """Why a file stays out: `kind` is fit for the console, `detail` for the report; `failed` counts as a failure."""

    kind: str
    detail: str = ""
    failed: bool = True

    @property
    def text(self) -> str:
        """As the report spells it."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    @classmethod
    def of(cls, error: UnreadableError) -> Reason:
        """Why the engine wrote no instance."""
        return cls(error.reason, str(error))


@dataclass(frozen=True)
class Left:
    """A file that stays out of the output."""

    path: str
    reason: Reason


@dataclass(frozen=True)
class There:
    """A file whose successor is there already; `patient` where an earlier run into this output has written it."""

    path: str
    target: str
    patient: str = ""


@dataclass(frozen=True)
class Facts:
    """What one file tells; values as text, "" where absent. `defect`: why it cannot be read, then the rest is "".

    `captured`: it has attributes of secondary capture. `of_logs`: it lies in logs of ours and was not opened.
    `is_link`: asked only where originals are replaced.
    """

    path: str
    size: int = 0
    defect: Reason | None = None
    image_type: str = ""
    sop_class: str = ""
    sop_uid: str = ""
    study_date: str = ""
    study_time: str = ""
    modality: str = ""
    series_description: str = ""
    patient_name: str = ""
    patient_id: str = ""
    issuer: str = ""
    birth_date: str = ""
    age: str = ""
    study_uid: str = ""
    series_uid: str = ""
    series_number: str = ""
    burned_in: str = ""
    transfer_syntax: str = ""
    protocol: str = ""
    label: str = ""
    features: str = ""
    conversion: str = ""
    captured: bool = False
    has_pixels: bool = True
    removed_before: str = ""
    method: str = ""
    days: tuple[str, ...] = ()
    overlay_stays: bool = False
    of_logs: bool = False
    is_link: bool = False

    @property
    def person(self) -> tuple[str, str]:
        """Issuer and PatientID; without a PatientID the study stands for the patient."""
        return self.issuer, self.patient_id or f"no PatientID, study {self.study_uid}"


@dataclass(frozen=True)
class Patient:
    """One person of the input: issuer and PatientID, the files, and the `sub-` folders they lie in."""

    issuer: str
    patient_id: str
    files: tuple[Facts, ...] = ()
    folders: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """How maps and the key name the person."""
        return f"{self.issuer}|{self.patient_id}" if self.issuer else self.patient_id

    @property
    def is_nameless(self) -> bool:
        """Whether the images have no PatientID."""
        return not any(facts.patient_id for facts in self.files)

    def days(self) -> Iterable[tuple[str, str, str]]:
        """Birth date, age and a day of each study met."""
        for facts in self.files:
            for day in facts.days or ("",):
                yield facts.birth_date, facts.age, day


@dataclass(frozen=True)
class Rulebook:
    """What the rules of all patients share; `vocabulary` holds the words that may stay in descriptions."""

    profile: Profile
    secret: bytes
    vocabulary: Vocabulary

    def rules_of(self, subject: Subject) -> Rules:
        """The rules for the files of one patient."""
        return Rules(self.profile, self.secret, subject, self.vocabulary)


@dataclass(frozen=True)
class Settings:
    """What a process needs to write instances; `staging` lies on the file system of the output.

    `models`: what text in pixels is found with, where it is looked for.
    """

    request: Request
    staging: Path
    rulebook: Rulebook
    models: Models | None = None


@dataclass(frozen=True)
class Job:
    """One instance to write: the file below the input folder, its place below the output folder.

    `doubt` says why the mark may not claim that nobody is recognizable; "" where it may. `wanted`: its pixels are to
    be cleaned; `cleaned`: how, once it was looked at.
    """

    name: str
    target: str
    doubt: str
    size: int
    wanted: Wanted | None = None
    cleaned: Cleaned | None = None

    @property
    def identity_removed(self) -> bool:
        """What the mark says."""
        return not self.doubt


@dataclass(frozen=True)
class Task:
    """Some instances of one patient."""

    subject: Subject
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Ended:
    """What has become of a patient's files: written now, there from an earlier run, or not to be written.

    `patient` is as maps and the key name the person, `bytes` the size of what was written.
    """

    patient: str
    new_id: str
    written: int = 0
    already: int = 0
    failed: int = 0
    bytes: int = 0


OnEnd = Callable[[Ended], None]
"""Called with each patient once none of the patient's files is left to be written."""


@dataclass(frozen=True)
class Verified:
    """How many files were read again, how many hits they had, and how many identifiers are too short to be searched.

    `pixels`: what the pixels show was looked at, too.
    """

    files: int = 0
    hits: int = 0
    not_searched: int = 0
    pixels: bool = False
