"""`new_id.txt`: the pseudonym that the query's column `new_ids` gives a patient, for pacsifier-anonymize."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

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
    # By the name of the patient's folder; a Path and a set of each of 10,000 patients would be 10 MB.
    wanted: dict[str, tuple[str, ...]] = {}
    for state in states:
        if state.folder is not None or info:
            patient = tree.patient_folder(SeriesIdentity.of(state.series.values)).name
            new_ids = [new_id for row in state.series.rows if (new_id := rows[row].query.new_id)]
            if new_ids and not {*new_ids} <= {*wanted.get(patient, ())}:
                wanted[patient] = tuple(dict.fromkeys([*wanted.get(patient, ()), *new_ids]))
    holders = Counter(new_id for ids in wanted.values() for new_id in ids)
    problems = []
    for patient, ids in wanted.items():
        folder = tree.folder / patient
        if len(ids) > 1 or holders[ids[0]] > 1:
            problems.append(_AMBIGUOUS)
        elif folder.is_dir():
            write_whole(folder / "new_id.txt", f"{ids[0]}\n", 0o600)
    return problems
