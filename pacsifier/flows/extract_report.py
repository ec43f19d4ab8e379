"""Plain text of structured reports: found by SOP class in any tree, written beside them, gathered in one table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pacsifier.dicom import kinds
from pacsifier.dicom.kinds import Kind
from pacsifier.disk.files import write_all_whole
from pacsifier.disk.names import is_by_product, report_name
from pacsifier.disk.walk import Progress, Walk
from pacsifier.errors import InputError
from pacsifier.flows.plaintext import plain_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


TABLE_NAME: Final = "reports.csv"
_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
_MEDIA_CLASS: Final = 0x00020002
# As DCMTK names reports that it received: SRc.1.2.3 and the like.
_NAMED_REPORT: Final = re.compile(r"SRc.*|SR[a-z]{0,2}(?:[^A-Za-z].*)?", re.DOTALL)
_KEY_OBJECTS: Final = "1.2.840.10008.5.1.4.1.1.88.59"  # a list of images, not a report
_NO_UNITS: Final = frozenset(("", "1"))
_CODE_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")
_VALUES: Final = {
    "TEXT": "TextValue",
    "PNAME": "PersonName",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "UIDREF": "UID",
}
_TABLE_KEYS: Final = (
    *("PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SOPInstanceUID", "CompletionFlag", "VerificationFlag"),
)


@dataclass(frozen=True)
class Item:
    """One content item: value type, concept name and value as plain text ("" where none), its children in order.

    `codes` holds (code value, coding scheme, meaning) of the name and, for CODE, of the value; `references` the SOP
    Instance UIDs that it points to. Source: DICOM PS3.3 section C.17.3.
    """

    type: str
    name: str
    value: str
    codes: tuple[tuple[str, str, str], ...]
    references: tuple[str, ...]
    children: tuple[Item, ...]


@dataclass(frozen=True)
class Report:
    """A structured report: what identifies it, by keyword, and its content."""

    path: Path
    values: dict[str, str]
    content: Item

    @property
    def text(self) -> str:
        """The content as plain text: headings on lines of their own, the order kept."""
        lines = list(_lines(self.content, ""))
        return "\n".join(lines).strip("\n") + "\n" if any(_told(self.content)) else ""


@dataclass(frozen=True)
class Extracted:
    """What a run found, wrote, passed over (`notes`) and could not read; `failures` are path and reason."""

    files: int
    reports: int
    changed: int
    table: Path | None
    notes: tuple[str, ...]
    failures: tuple[tuple[Path, str], ...]


class UnreadableReportError(Exception):
    """A report that cannot be read; the text says why."""


def extract(data_folder: Path, *, as_json: bool, progress: Progress) -> Extracted:
    """Writes the text of every report below a folder beside it, and the table of all into the folder.

    Files that are as they should be stay untouched. Raises InputError when there is no such folder, or it lies in logs
    of ours, or holds another table of that name.
    """
    if not data_folder.is_dir():
        raise InputError(f"--data_folder {data_folder}: there is no such folder")
    table = data_folder / TABLE_NAME
    _check_table(table)
    rows: list[list[str]] = []
    failures: list[tuple[Path, str]] = []
    written: dict[Path, str] = {}
    files = changed = 0
    walk = Walk(data_folder)
    for path in walk:
        files += 1
        progress("files looked at", files, 0)
        try:
            report = _read(path)
            if report is None:
                continue
            changed += _write(report, written, as_json=as_json)
            rows.append([str(path.relative_to(data_folder)), *report.values.values(), report.text])
        except (UnreadableReportError, OSError) as error:
            failures.append((path, getattr(error, "strerror", None) or str(error)))
        except RecursionError:
            failures.append((path, "nested too deep"))
    if rows:
        changed += len(write_all_whole({table: _table(rows)}))
    return Extracted(files, len(rows), changed, table if rows else None, walk.notes, tuple(failures))


def _header() -> list[str]:
    return ["File", *_TABLE_KEYS, "Title", "Text"]


def _check_table(path: Path) -> None:
    if path.exists():
        try:
            with path.open(encoding="utf-8", newline="") as file:
                ours = next(csv.reader(file), []) == _header()
        except (OSError, UnicodeDecodeError, csv.Error):
            ours = False
        if not ours:
            raise InputError(f"{path} is no table of this command and would be lost: move it away")


def _table(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_header())
    writer.writerows([[value.replace("\0", "") for value in row] for row in rows])
    return text.getvalue()


def _write(report: Report, written: dict[Path, str], *, as_json: bool) -> int:
    """Writes the files of one report; returns how many changed."""
    text = report.text
    if not text:
        raise UnreadableReportError("holds no text")
    name = report_name(report.values["SOPInstanceUID"])
    files = {report.path.with_name(f"{name}.txt"): text}
    if as_json:
        files[report.path.with_name(f"{name}.json")] = _json(report)
    for path, content in files.items():
        if written.setdefault(path, content) != content:
            raise UnreadableReportError(
                f"another report in this folder has its SOP Instance UID: {path.name} is that one's"
            )
    return len(write_all_whole(files))


def _json(report: Report) -> str:
    document = {**report.values, "Text": report.text, "Content": asdict(report.content)}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# --- reading ------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Report | None:
    """The report in a file; None where there is none. Raises UnreadableReportError, OSError."""
    read = kinds.examine(path, ())
    if read.kind in (Kind.LINKED_FOLDER, Kind.FOLDER):
        raise UnreadableReportError(f"{read.kind.value}: not looked into")
    if read.kind is Kind.UNREADABLE:
        raise UnreadableReportError(read.why)
    # One that is cut before its SOP class tells it in its head, or by its name.
    sop_class = read.sop_class or (read.file.text(_MEDIA_CLASS) or "").strip()
    if not sop_class and _NAMED_REPORT.fullmatch(path.name) and not is_by_product(path.name):
        raise UnreadableReportError(f"is named like a report, and is {_no_report(read)}")
    if not sop_class.startswith(_REPORTS) or sop_class == _KEY_OBJECTS:
        return None
    if read.kind is Kind.NOT_WHOLE:
        raise UnreadableReportError(f"not whole: {read.why}")
    return read_report(path)


def _no_report(read: kinds.Examined) -> str:
    what = {Kind.NOT_WHOLE: "not whole", Kind.INSTANCE: "of no SOP class"}.get(read.kind, read.kind.value)
    return f"{what}: {read.why}" if read.why else what


def read_report(path: Path) -> Report:
    """Read a structured report, its text by its own character sets. Raises UnreadableReportError, OSError."""
    from pydicom import dcmread

    try:
        dataset = dcmread(path, force=True)
        values = {key: _text(dataset, key) for key in _TABLE_KEYS}
        content = _item(dataset)
    except OSError:
        raise
    except Exception as error:  # whatever a malformed file makes of pydicom
        raise UnreadableReportError(f"cannot be read ({type(error).__name__})") from error
    if not values["SOPInstanceUID"]:
        raise UnreadableReportError("has no SOP Instance UID")
    return Report(path, {**values, "Title": content.name}, content)


def _item(dataset: Dataset) -> Item:
    """A content item with all below it; a document is its own root item."""
    kind = _text(dataset, "ValueType") or "CONTAINER"
    names = _items(dataset, "ConceptNameCodeSequence")
    meant = _items(dataset, "ConceptCodeSequence") if kind == "CODE" else []
    references = [*_items(dataset, "ReferencedSOPSequence")]
    return Item(
        type=kind,
        name=plain_text(" / ".join(_meaning(code) for code in names)),
        value=_value(dataset, kind),
        codes=tuple(_code(code) for code in (*names, *meant)),
        references=tuple(_text(each, "ReferencedSOPInstanceUID") for each in references),
        children=tuple(_item(child) for child in _items(dataset, "ContentSequence")),
    )


def _value(dataset: Dataset, kind: str) -> str:
    if kind == "CODE":
        return plain_text(" / ".join(_meaning(code) for code in _items(dataset, "ConceptCodeSequence")))
    if kind == "NUM":
        return _measured(dataset)
    if kind == "PNAME":
        return plain_text(" ".join(_text(dataset, "PersonName").replace("=", " ").replace("^", " ").split()))
    return plain_text(_text(dataset, _VALUES[kind])) if kind in _VALUES else ""


def _measured(dataset: Dataset) -> str:
    """`235.5 mm`; where there is no number, the reason that the report states."""
    for measured in _items(dataset, "MeasuredValueSequence"):
        units = _items(measured, "MeasurementUnitsCodeSequence")
        unit = _code(units[0])[0] if units else ""
        suffix = "" if unit in _NO_UNITS or unit.startswith("{") else f" {unit}"
        return f"{_text(measured, 'NumericValue')}{suffix}"
    return " / ".join(_meaning(code) for code in _items(dataset, "NumericValueQualifierCodeSequence"))


def _items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    value: Any = dataset.get(keyword)
    return value if value is not None and not isinstance(value, str | bytes) else ()


def _text(dataset: Dataset, keyword: str) -> str:
    """A value as text, several joined as they stand in the file."""
    value = dataset.get(keyword)
    if isinstance(value, list) or type(value).__name__ == "MultiValue":
        return "\\".join(map(str, value))
    if isinstance(value, bytes):
        return value.decode("latin_1")
    return "" if value is None else str(value)


def _meaning(code: Dataset) -> str:
    return _text(code, "CodeMeaning") or _code(code)[0]


def _code(code: Dataset) -> tuple[str, str, str]:
    value = next(filter(None, (_text(code, keyword) for keyword in _CODE_VALUES)), "")
    return value, _text(code, "CodingSchemeDesignator"), _text(code, "CodeMeaning")


# --- text ---------------------------------------------------------------------------------------------------------


def _told(item: Item) -> Iterator[str]:
    """Every value in a content tree that is not empty."""
    if item.value.strip():
        yield item.value
    for child in item.children:
        yield from _told(child)


def _lines(item: Item, heading: str) -> Iterator[str]:
    """The lines of an item and all below it; containers that tell nothing are left out."""
    if not any(_told(item)):
        return
    name = item.name if item.name.casefold() != heading.casefold() else ""
    if item.type == "CONTAINER":
        if name:
            yield from ("", name)
    elif item.value.strip():
        if "\n" in item.value:
            yield from ([f"{name}:"] if name else [])
            yield item.value
        else:
            yield f"{name}: {item.value}" if name else item.value
    for child in item.children:
        yield from _lines(child, item.name)
