"""Runs of `pacsifier` against a PACS: what was asked, what came of it, and what it should have been by pydicom."""

from __future__ import annotations

import contextlib
import csv
import fnmatch
import io
import os
import signal
import socket
import subprocess
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path

import pydicom
from commands import glimpse

from pacs.servers import Record, Server, pacsifier_argv, run_pacsifier

INFO_HEADER = [
    *("StudyDate", "StudyTime", "SeriesDescription", "PatientID", "ProtocolName", "StudyInstanceUID"),
    *("PatientName", "PatientBirthDate", "SeriesInstanceUID", "DeviceSerialNumber", "Modality", "ImageType"),
    *("SeriesNumber", "StudyDescription", "AccessionNumber", "SequenceName", "AcquisitionDate"),
]
"""The columns of an info CSV, from spec/README.md."""

IMAGE_COLUMNS = ("ProtocolName", "DeviceSerialNumber", "AcquisitionDate", "SequenceName", "ImageType")
"""Columns that are no keys of the SERIES level: a PACS need not tell them."""

UNTOLD: dict[str, tuple[str, ...]] = {"dcmqrscp": ("SeriesDescription", *IMAGE_COLUMNS), "orthanc": ()}
"""What each PACS leaves out of its answers, at any level (seen on dcmqrscp 3.6.7 and Orthanc 1.10.1)."""

MARK = "PACSIFIER_TEST_MARK"

Row = Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """A run that has ended; `files` and tables are read when first asked for."""

    out: Path
    status: int
    stdout: str
    stderr: str
    mark: str

    @cached_property
    def files(self) -> dict[str, Path]:
        """SOP Instance UID -> file, of every file in a series folder; none may be there twice."""
        paths = instance_paths(self.out)
        found = {
            str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): path
            for path in paths
        }
        assert len(found) == len(paths), "an instance lies in the tree twice"
        return found

    @cached_property
    def log(self) -> list[dict[str, str]]:
        return read_table(self.out / "logs" / "pacsifier_log.csv")

    @cached_property
    def redo(self) -> list[dict[str, str]]:
        """The rows to run again; none where there is no such file."""
        path = self.out / "logs" / "redo.csv"
        return read_table(path) if path.exists() else []

    def statuses(self) -> set[tuple[str, str]]:
        return {(row["Status"], row["Completed"]) for row in self.log}

    def series_of_row(self, number: int) -> set[str]:
        """The series that the log names for a query row (the header is row 1), those not wanted left out."""
        return {
            row["SeriesInstanceUID"]
            for row in self.log
            if str(number) in row["query_rows"].split() and row["Status"] != "not_wanted"
        }


def instance_paths(out: Path) -> list[Path]:
    """Return what lies in `sub-*/ses-*/*/`."""
    return sorted(path for path in glimpse(out, "sub-*/ses-*/*/*") if path.is_file())


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_query(path: Path, rows: str | Iterable[Row]) -> Path:
    """Write a query file: CSV text as it is, or rows by column."""
    if not isinstance(rows, str):
        rows = list(rows)
        out = io.StringIO()
        writer = csv.DictWriter(
            out, list(dict.fromkeys(column for row in rows for column in row)), restval=""
        )
        writer.writeheader()
        writer.writerows(rows)
        rows = out.getvalue()
    path.write_text(rows, encoding="utf-8")
    return path


def arguments(
    server: Server, folder: Path, rows: str | Iterable[Row], *options: object, **config: object
) -> list[object]:
    """Write config and query into `folder` and return the arguments of a run into `folder/out`."""
    query = write_query(folder / "query.csv", rows)
    paths = ("-c", server.write_config(folder / "config.json", **config), "-q", query, "-d", folder / "out")
    return [*options, *paths]


def run(server: Server, folder: Path, rows: str | Iterable[Row], *options: object, **config: object) -> Run:
    """Run `pacsifier` for `rows` into `folder/out`; stdout must stay empty, and nothing of the run may be left."""
    folder.mkdir(parents=True, exist_ok=True)
    return run_arguments(folder / "out", arguments(server, folder, rows, *options, **config))


def run_arguments(out: Path, args: Sequence[object]) -> Run:
    """Run `pacsifier` with these arguments, with the same care."""
    mark = uuid.uuid4().hex
    ended = run_pacsifier(*args, env={MARK: mark})
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr, ended.stderr
    assert left_over(out, mark) == []
    return Run(out, ended.returncode, ended.stdout, ended.stderr, mark)


def left_over(out: Path, mark: str) -> list[str]:
    """Return what a run must not leave: processes after 5 s, the staging folder, half files, readable logs."""
    with contextlib.suppress(AssertionError):
        until(lambda: not processes(mark), 5)
    logs = [path for path in out.glob("logs/**/*") if path.is_file()]
    return [
        *(f"process: {each}" for each in processes(mark)),
        *(str(path) for path in out.rglob(".*")),
        *(f"{path}: {path.stat().st_mode:o}" for path in logs if path.stat().st_mode & 0o777 != 0o600),
        *(
            f"{path}: {path.stat().st_mode:o}"
            for path in out.glob("logs")
            if path.stat().st_mode & 0o777 != 0o700
        ),
    ]


def has_received(out: Path) -> bool:
    """Tell whether objects lie in the staging folder of the run at work, not yet placed."""
    return bool(glimpse(out, ".pacsifier-*/received/*"))


def processes(mark: str) -> list[str]:
    """Return the command lines of the living processes that a run left; they inherit its mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it ended, or is somebody else's
    return found


# --- runs that are interrupted -----------------------------------------------------------------------------------


def interrupt(
    args: Sequence[object], number: signal.Signals, ready: Callable[[], bool]
) -> tuple[int, str, str]:
    """Start a run, send it a signal once `ready()`, and return its exit status, its stderr and its mark."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        pacsifier_argv(*args),
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        encoding="utf-8",
    )
    try:
        until(lambda: ready() or process.poll() is not None, 60)
        assert process.poll() is None, f"it ended before it could be interrupted: {process.communicate()}"
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert stdout == ""
    return process.returncode, stderr, mark


def until(condition: Callable[[], bool], patience_s: float) -> None:
    """Poll until `condition()`, and fail when the time is over."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {patience_s} s"
        time.sleep(0.01)


def port_is_free(port: int) -> bool:
    """Tell whether a server can listen on the port (a listener holds it, what lingers of connections does not)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


# --- what should come, by pydicom and the specification ----------------------------------------------------------


def slug(text: str) -> str:
    """Return a folder name as spec/README.md describes it."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    runs = ((plain_run, "".join(characters)) for plain_run, characters in groupby(plain, _is_plain))
    return "".join(text if plain_run else "_" for plain_run, text in runs)


def _is_plain(character: str) -> bool:
    return character.isascii() and character.isalnum()


@cache
def header(record: Record) -> pydicom.Dataset:
    """Return the header of an instance of the hospital, decoded; not to be changed."""
    dataset = pydicom.dcmread(record.path, stop_before_pixels=True)
    dataset.decode()
    return dataset


def value(dataset: pydicom.Dataset, column: str) -> str:
    """Return a value as text, several of them with backslashes between; "" where there is none."""
    found = dataset.get(column, "")
    several = isinstance(found, pydicom.multival.MultiValue)
    return "\\".join(map(str, found)) if several else str("" if found is None else found)


def wants(row: Row, dataset: pydicom.Dataset) -> bool:
    """Tell whether a query row asks for an instance, by the user documentation."""
    return all(_wants_cell(column, asked, value(dataset, column)) for column, asked in row.items() if asked)


def _wants_cell(column: str, asked: str, found: str) -> bool:
    if not found:
        return False
    if column == "PatientName" and not set(asked) & set("^*?"):
        return found.partition("^")[0].casefold() == asked.rsplit(maxsplit=1)[-1].casefold()
    compare = {
        "StudyDate": _wants_date,
        "AcquisitionDate": _wants_date,
        "StudyTime": lambda asked, found: found.startswith(asked),
        "SeriesNumber": lambda asked, found: int(found) == int(asked),
        "ImageType": lambda asked, found: set(asked.split("\\")) <= set(found.split("\\")),
    }
    return compare.get(column, lambda asked, found: fnmatch.fnmatchcase(found, _literal(asked)))(asked, found)


def _wants_date(asked: str, found: str) -> bool:
    first, hyphen, last = asked.partition("-")
    return (first or "0") <= found <= (last or "9") if hyphen else found == asked


def _literal(asked: str) -> str:
    """Return a DICOM pattern for fnmatch, which knows brackets and DICOM does not."""
    return asked.replace("[", "[[]")


def wanted_series(records: Iterable[Record], row: Row) -> set[str]:
    """Return the series of which a row wants an instance."""
    return {record.series_uid for record in records if wants(row, header(record))}
