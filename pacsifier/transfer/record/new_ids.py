"""`new_id.txt`: the pseudonym that the query's column `new_ids` gives a patient, for pacsifier-anonymize."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from pacsifier.disk.files import write_whole
from pacsifier.disk.tree import SeriesIdentity, Tree
from pacsifier.transfer.model import RowReport, SeriesState

_AMBIGUOUS = (
    "new_ids: a pseudonym of the query would stand for two patients, or a patient would have two; "
    "no new_id.txt was written for them: name the patients by PatientID"
)


def write_new_ids(
    tree: Tree, states: Iterable[SeriesState], rows: Mapping[int, RowReport], *, info: bool
) -> list[str]:
    """Writes `new_id.txt` into the folders of those patients for whom a row brought a pseudonym; returns problems.

    Patients without images have a folder only with `info`.
    """
    wanted: dict[Path, set[str]] = defaultdict(set)
    for state in states:
        if state.folder is not None or info:
            patient = tree.patient_folder(SeriesIdentity.of(state.series.values))
            new_ids = (rows[row].query.new_id for row in state.series.rows)
            wanted[patient].update(new_id for new_id in new_ids if new_id)
    patients: dict[str, set[Path]] = defaultdict(set)
    for patient, ids in wanted.items():
        for new_id in ids:
            patients[new_id].add(patient)
    problems = []
    for patient, ids in wanted.items():
        if len(ids) > 1 or any(len(patients[new_id]) > 1 for new_id in ids):
            problems.append(_AMBIGUOUS)
        elif ids and patient.is_dir():
            write_whole(patient / "new_id.txt", f"{next(iter(ids))}\n", 0o600)
    return problems
