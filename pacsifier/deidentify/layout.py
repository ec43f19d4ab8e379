"""Where every instance goes: the output tree, in new values, and what is there already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pacsifier.deidentify import claims
from pacsifier.deidentify.cleaning import ALL, Wanted
from pacsifier.deidentify.engine.elements import Scope
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.model import (
    FILES_PER_TASK,
    Facts,
    Job,
    Left,
    Patient,
    Reason,
    Request,
    Rulebook,
    Task,
    There,
)
from pacsifier.deidentify.reviewed import Answer, Reviewed
from pacsifier.dicom import part10
from pacsifier.disk.names import deidentified_name, patient_folder_name, short_hash
from pacsifier.disk.tree import Occupant, SeriesIdentity, Tree

BY_PERSON = Reason("a person wants it left out (--reviewed)", failed=False)
_TASK_BYTES = 1 << 26


@dataclass(frozen=True)
class Places:
    """What is to be written, what is there already, and the folders that must be there first.

    `left`: what a person wants left out; `unwanted`: what an earlier run has written of it.
    """

    tasks: tuple[Task, ...]
    there: tuple[There, ...]
    folders: tuple[Path, ...]
    left: tuple[Left, ...] = ()
    unwanted: tuple[str, ...] = ()


def lay_out(
    patients: Mapping[str, Patient],
    subjects: Mapping[str, Subject],
    request: Request,
    rulebook: Rulebook,
) -> Places:
    """The place of each instance; creates nothing. What lies there already is left alone by --resume, except where
    --reviewed names it."""
    tree = _OutTree(request.out_folder)
    tasks: list[Task] = []
    there: list[There] = []
    left: list[Left] = []
    unwanted: list[str] = []
    folders: dict[Path, None] = {}
    for name, patient in patients.items():
        subject = subjects[name]
        tree.expect(subject.new_id, patient, keep_name=request.keep_patient_dir_names)
        rules = rulebook.rules_of(subject)
        jobs: list[Job] = []
        for facts, folder, target, uid in _targets(patient, rules, tree):
            names = facts.sop_uid, facts.path, uid, target, target.rpartition("/")[2].removesuffix(".dcm")
            is_there = request.resume and not request.in_place and _is_whole(request.out_folder / target)
            answer = request.reviewed.answer(names)
            if answer is not None and answer.leave_out:
                left.append(Left(facts.path, BY_PERSON))
                unwanted += [target] if is_there else []
                continue
            folders[folder] = None
            if is_there and answer is None and not request.reviewed.lists(names):
                there.append(There(facts.path, target, name))
            else:
                jobs.append(_job(facts, target, names, request))
        tasks += [Task(subject, each) for each in portions(jobs)]
    return Places(tuple(tasks), tuple(there), tuple(folders), tuple(left), tuple(unwanted))


def _job(facts: Facts, target: str, names: Sequence[str], request: Request) -> Job:
    why = doubt(facts, request.reviewed, names)
    return Job(facts.path, target, why, facts.size, wanted(facts, names, request) if request.pixels else None)


def doubt(facts: Facts, reviewed: Reviewed, names: Sequence[str]) -> str:
    """Why the mark may not say that nobody is recognizable: "" by the kind of image, or since a person has looked."""
    return "" if reviewed.seen(names) else claims.doubt(facts)


def wanted(facts: Facts, names: Sequence[str], request: Request) -> Wanted | None:
    """What is wanted of the pixels of a file; None where they stay.

    What a person has looked at is cleaned, too: nobody knows whether it was before the cleaning or after.
    """
    if request.pixels is None or not facts.has_pixels:
        return None
    answer = request.reviewed.answer(names) or Answer()
    if not claims.doubt(facts) and request.pixels.which != ALL and not answer.boxes:
        return None
    seen = request.reviewed.seen(names)
    series = f"{facts.study_uid}/{facts.series_uid}"
    return Wanted(series, claims.doubt_when_cleaned(facts), seen, answer.boxes)


def portions(jobs: Sequence[Job]) -> Iterator[tuple[Job, ...]]:
    """Jobs in portions that keep all workers busy to the end, whether files are many or large."""
    portion: list[Job] = []
    size = 0
    for job in jobs:
        portion.append(job)
        size += job.size
        if len(portion) == FILES_PER_TASK or size > _TASK_BYTES:
            yield tuple(portion)
            portion, size = [], 0
    if portion:
        yield tuple(portion)


def _targets(patient: Patient, rules: Rules, tree: Tree) -> Iterator[tuple[Facts, Path, str, str]]:
    """Of each file its series folder, its place below the output, and its new SOP Instance UID."""
    folders: dict[tuple[str, str], tuple[Path, str]] = {}
    for facts in patient.files:
        series = facts.study_uid, facts.series_uid
        if series not in folders:
            folder = tree.series_folder(_new_identity(facts, rules))
            folders[series] = folder, str(folder.relative_to(tree.folder))
        folder, below = folders[series]
        uid = facts.sop_uid if rules.options.retain_uids else rules.new_uid(facts.sop_uid)
        yield facts, folder, f"{below}/{deidentified_name(uid)}", uid


def _new_identity(facts: Facts, rules: Rules) -> SeriesIdentity:
    """What the place of an instance depends on, in new values."""
    scope = Scope(0, b"ISO_IR 192")

    def new(tag: int, vr: str, value: str) -> str:
        return (rules.value(tag, vr, value.encode(), scope) or b"").decode() if value else ""

    retained = rules.options.retain_uids
    return SeriesIdentity(
        patient_id=rules.subject.new_id,
        issuer="",
        birth_date=new(0x00100030, "DA", facts.birth_date).strip(),
        study_uid=facts.study_uid if retained else rules.new_uid(facts.study_uid),
        study_date=new(0x00080020, "DA", facts.study_date),
        study_time=new(0x00080030, "TM", facts.study_time),
        series_uid=facts.series_uid if retained else rules.new_uid(facts.series_uid),
        series_number=new(0x00200011, "IS", facts.series_number),
        series_description=new(0x0008103E, "LO", facts.series_description),
    )


class _OutTree(Tree):
    """The output tree; knows which patients' folders keep their names, and whose images have no PatientID."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._kept: dict[str, str] = {}
        self._nameless: set[str] = set()

    def expect(self, new_id: str, patient: Patient, *, keep_name: bool) -> None:
        """Notes a patient, before the first of the patient's folders is asked for."""
        if patient.is_nameless:
            self._nameless.add(new_id)
        if not keep_name:
            return
        names = sorted(PurePath(folder).name for folder in patient.folders)
        name = names[0] if names else patient_folder_name(patient.patient_id)
        if name in self._kept.values():
            name = f"{name}_{short_hash(patient.key)}"
        self._kept[new_id] = name

    def patient_folder(self, series: SeriesIdentity) -> Path:
        """The `sub-` folder of the series' patient."""
        if kept := self._kept.get(series.patient_id):
            return self.folder / kept
        if series.patient_id not in self._nameless:
            return super().patient_folder(series)
        # What was written of them has no PatientID either: their study tells whose folder it is.
        me = Occupant("", "", "", series.study_uid, series.series_uid)
        return self._patients.choose(
            self.folder, patient_folder_name(series.patient_id), me, series.study_uid
        )


def _is_whole(path: Path) -> bool:
    """Whether an earlier run has written a file to its end: a power cut leaves empty ones under their names."""
    try:
        return part10.read(path, ()).whole
    except FileNotFoundError:
        return False
