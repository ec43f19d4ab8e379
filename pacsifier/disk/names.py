"""The names of folders and files on disk: each is spelled here, and nowhere else.

No value of a query or of a PACS reaches a path except through `slug`, which leaves ASCII letters, digits and `_`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from pathlib import Path

from pacsifier.query import is_uid

# Where runs meet: the run lock and who holds it. The staging folder of each run lies beside it, see `staging_name`.
WORK_FOLDER = ".pacsifier"
LOG_FOLDER = "logs"
LOG_NAME = "pacsifier_log.csv"
SERIES_NAME = "series.csv"
# The series table that was given as the query file, where it stood in the place of the one that the run writes.
ASKED_NAME = "series_asked.csv"
SUMMARY_NAME = "summary.csv"
SUMMARY_JSON_NAME = "summary.json"
AUDIT_NAME = "audit.jsonl"
# Tells our logs folder from a user's own of that name, also when its tables were moved or the folder was renamed.
# Not hidden: a run leaves no hidden file behind, and the name tells people too.
LOG_MARK = "made_by_pacsifier"
UNEXPECTED_FOLDER = "unexpected"
UNEXPECTED_NAME = "unexpected.csv"
CONFLICTS_NAME = "conflicts.json"
PARTS_FOLDER = "parts"
# The page that shows what a folder holds, and where its pictures and further pages lie when they are many.
REPORT_NAME = "report.html"
REPORT_FOLDER = "report_files"
# What pacsifier itself lays beside images, in any folder of a tree; tables and logs apart.
# What pacsifier's commands lay beside images: no input of any of them, and no failure.
_BY_PRODUCTS = re.compile(
    r"DICOMDIR|new_id\.txt|Clean_Report_.*\.txt|report\.html|.*\.(csv|json|partial)", re.IGNORECASE
)
NO_PATIENT_ID = "No_patient_ID"
NO_STUDY_DATE = "No_study_date"
NO_SERIES_DESCRIPTION = "No_series_description"

_LONGEST_SLUG = 100
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9]+")
_STAGING = re.compile(rf"{re.escape(WORK_FOLDER)}-[0-9a-f]{{16}}")


def staging_name() -> str:
    """A name for the staging folder of one run, which nobody can guess: what lies there is never taken over."""
    return f"{WORK_FOLDER}-{secrets.token_hex(8)}"


def is_staging(name: str) -> bool:
    """Whether a folder of that name is the staging folder of a run."""
    return _STAGING.fullmatch(name) is not None


def is_work_folder(name: str) -> bool:
    """Whether a folder of that name is a run's own: where runs meet, or a staging folder."""
    return name == WORK_FOLDER or is_staging(name)


def slug(text: str) -> str:
    """The text with accents stripped and every run of other than ASCII letters and digits as one `_`."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    name = _NOT_ALLOWED.sub("_", plain)
    if len(name) > _LONGEST_SLUG:
        return f"{name[:_LONGEST_SLUG]}_{short_hash(text)}"
    return name


def short_hash(text: str) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def is_by_product(name: str) -> bool:
    """Whether a file of this name that holds no image is one that our commands lay beside images."""
    return _BY_PRODUCTS.fullmatch(name) is not None


def part_folder(out: Path, number: int) -> Path:
    """The output folder of one part of many: `<out>/parts/<number>`, a tree of its own."""
    return out / PARTS_FOLDER / str(number)


def patient_folder_name(patient_id: str) -> str:
    """`sub-<PatientID>`."""
    return f"sub-{slug(patient_id.strip()) or NO_PATIENT_ID}"


def study_folder_name(study_date: str, study_time: str) -> str:
    """`ses-<StudyDate><StudyTime>`; without a StudyTime `ses-<StudyDate>`."""
    return f"ses-{slug((study_date.strip() or NO_STUDY_DATE) + study_time.strip())}"


def series_folder_name(series_number: str, series_description: str) -> str:
    """`<SeriesNumber, zero-filled to 5>-<SeriesDescription>`."""
    description = series_description.strip()
    return f"{slug(series_number.strip()).zfill(5)}-{slug(description) if description else NO_SERIES_DESCRIPTION}"


def instance_name(prefix: str, sop_instance_uid: str) -> str:
    """`<prefix>.<SOPInstanceUID>`, as DCMTK names a received object; a malformed UID is hashed."""
    return f"{slug(prefix) or 'UN'}.{_uid_as_name(sop_instance_uid)}"


def deidentified_name(sop_instance_uid: str) -> str:
    """`<SOPInstanceUID>.dcm`; a malformed UID is hashed."""
    return f"{_uid_as_name(sop_instance_uid)}.dcm"


def _uid_as_name(uid: str) -> str:
    return uid if is_uid(uid) else f"malformed_{short_hash(uid)}"


def report_name(sop_instance_uid: str) -> str:
    """`Clean_Report_<SOPInstanceUID with _ for .>`, without suffix; a malformed UID is hashed."""
    if not is_uid(sop_instance_uid):
        sop_instance_uid = f"malformed_{short_hash(sop_instance_uid)}"
    return f"Clean_Report_{sop_instance_uid.replace('.', '_')}"


def pseudonym_paths(folder: Path, project: str) -> tuple[Path, Path, Path]:
    """Where pacsifier-get-pseudonyms writes: the pseudonyms, the day shifts, the log."""
    return (
        folder / f"new_ids_{project}.json",
        folder / f"day_shift_{project}.json",
        folder / "log_get_pseudonyms.csv",
    )


def shown(path: Path) -> str:
    """A path as the console may name it: without the PatientIDs in the folders of our trees, on one line."""
    parts = ("sub-…" if part.startswith("sub-") else part for part in path.parts)
    return str(Path(*parts)).replace("\n", "\\n")
