"""Every flow on every archive: what comes, and what the program says of what an archive cannot do."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest

from pacs.matrix import ALL_WELL, ANY, ARCHIVES, FLOWS, Archive, Cell, as_markdown, cells_of
from pacs.runs import INFO_HEADER, Run, arguments, run, value
from pacs.servers import Hospital, Record, Server, find, read_record, run_pacsifier, start_storescp
from pacs.test_check import check
from pacs.test_move_info import infos
from pacs.traps import make_traps
from pacsifier.dicom import part10

DOCS = Path(__file__).parents[2] / "docs" / "archives.md"
QUICK = ("--retry_wait", "0.1", "--settle_time", "0.2", "--max_failures", "1000")
FEW = ("TRAP-OBJECTS", "TRAP-PIXELS", "SYN 05", "TRAP-NAME-0")
"""Patients of whom the slower flows bring everything; the others are brought by --save."""
TO_UPLOAD = ("multi-frame", "PDF", "JPEG-LS", "name in ISO_IR 101")


@dataclass(frozen=True)
class Site:
    """An archive that runs, what it holds by name, and where its flows work."""

    archive: Archive
    server: Server
    held: Mapping[str, Record]
    folder: Path

    def rows(self, patients: Iterable[str] = ()) -> list[dict[str, str]]:
        every = dict.fromkeys(record.patient_id for record in self.held.values())
        return [{"PatientID": each} for each in every if each in (patients or every)]

    def of(self, patients: Iterable[str] = ()) -> dict[str, Record]:
        """The instances of some patients, or all, by name."""
        wanted = {row["PatientID"] for row in self.rows(patients)}
        return {name: record for name, record in self.held.items() if record.patient_id in wanted}


@dataclass(frozen=True)
class Seen:
    """What came of a flow: the names of what does not arrive, and of what arrived otherwise than it should."""

    status: int
    said: str
    lacks: frozenset[str] = frozenset()
    wrong: tuple[str, ...] = ()
    warns: frozenset[str] = frozenset()
    recoded: frozenset[str] = frozenset()


def _said(done: Run) -> str:
    return done.stderr + "".join(row["Reason"] + "\n" for row in done.log)


# --- flows -------------------------------------------------------------------------------------------------------


def checked(site: Site) -> Seen:
    site.server.write_config(site.folder / "config.json")
    done = check(site.folder, "--yes")
    return Seen(done.status, done.stdout, warns=frozenset(done.named("warning") | done.named("FAILED")))


def found(site: Site) -> Seen:
    ended = run_pacsifier(*arguments(site.server, site.folder, site.rows(), "--save", "--dry_run"))
    told = list(csv.DictReader(io.StringIO(ended.stdout)))
    lacks = set()
    for row, asked in zip(told, site.rows(), strict=True):
        series = {each.series_uid for each in site.of([asked["PatientID"]]).values()}
        lacks |= set() if row["series"] == str(len(series)) else {asked["PatientID"]}
    return Seen(ended.returncode, ended.stderr, frozenset(lacks))


def listed(site: Site) -> Seen:
    done = run(site.server, site.folder, site.rows(), "--info")
    told = infos(done)
    wrong, untold, garbled = [], set(), set()
    for name, record in site.held.items():
        dataset = pydicom.dcmread(record.path, stop_before_pixels=True)
        dataset.decode()
        for column in INFO_HEADER if record.series_uid in told else ():
            expected, got = value(dataset, column), told[record.series_uid][column]
            if expected and not got:
                untold.add(column)
            elif "?" in got:
                garbled.add(dataset.get("SpecificCharacterSet", ""))
            elif got != expected:
                wrong.append(f"{name}: {column} is {got!r}, not {expected!r}")
    if untold != {*site.archive.untold}:
        wrong.append(f"untold are {sorted(untold)}")
    if garbled != {*site.archive.garbled}:
        wrong.append(f"garbled are {sorted(garbled)}")
    lacks = {name for name, record in site.held.items() if record.series_uid not in told}
    return Seen(done.status, _said(done), frozenset(lacks), tuple(wrong))


def saved(site: Site) -> Seen:
    return _compared(site, run(site.server, site.folder, site.rows(), "--save", *QUICK), site.held)


def resumed(site: Site) -> Seen:
    """A run has brought everything, but for one instance of the largest series, and the smallest series."""
    rows = site.rows(["SYN 05"])
    before = run(site.server, site.folder, rows, "--save", *QUICK)
    folders = sorted(
        {path.parent for path in before.files.values()}, key=lambda folder: len([*folder.iterdir()])
    )
    next(folders[-1].iterdir()).unlink()
    shutil.rmtree(folders[0])
    kept = {path: path.stat().st_mtime_ns for path in before.files.values() if path.exists()}
    done = run(site.server, site.folder, rows, "--save", "--resume", *QUICK)
    seen = _compared(site, done, site.of(["SYN 05"]))
    again = [f"{path} came again" for path, time in kept.items() if path.stat().st_mtime_ns != time]
    return replace(seen, wrong=(*seen.wrong, *again))


def got(site: Site) -> Seen:
    options = ("--save", "--retrieve_method", "get", *QUICK)
    return _compared(
        site, run(site.server, site.folder, site.rows(FEW), *options), site.of(FEW), as_held=False
    )


def moved(site: Site) -> Seen:
    # tiny-pacs fills AE titles with NUL: pynetdicom does not take that, DCMTK does.
    with start_storescp(site.folder / "elsewhere", site.server.move_aet, site.server.move_port) as came:
        done = run(site.server, site.folder, site.rows(FEW), "--move", *QUICK)
        metas = map(pydicom.filereader.read_file_meta_info, came.iterdir())
        there = {meta.MediaStorageSOPInstanceUID for meta in metas}
    lacks = {name for name, record in site.of(FEW).items() if record.sop_uid not in there}
    return Seen(done.status, _said(done), frozenset(lacks))


def uploaded(site: Site) -> Seen:
    files = make_traps(site.folder / "all", seed="UP")
    (site.folder / "upload").mkdir()
    for name in TO_UPLOAD:
        shutil.copy(files[name], site.folder / "upload")
    config = site.server.write_config(site.folder / "config.json")
    ended = run_pacsifier("--upload", "-c", config, "-ud", site.folder / "upload")
    lacks = {name for name in TO_UPLOAD if not _holds(site.server, read_record(files[name]))}
    return Seen(ended.returncode, ended.stderr, frozenset(lacks))


def _holds(server: Server, record: Record) -> bool:
    keys = {"StudyInstanceUID": record.study_uid, "SeriesInstanceUID": record.series_uid}
    return record.sop_uid in {
        each.SOPInstanceUID for each in find(server, "IMAGE", **keys, SOPInstanceUID="")
    }


def _compared(site: Site, done: Run, held: Mapping[str, Record], *, as_held: bool = True) -> Seen:
    """What came against what the archive was given; `as_held`: also in which transfer syntax."""
    lacks = {name for name, record in held.items() if record.sop_uid not in done.files}
    there = {
        name: (record.path, done.files[record.sop_uid]) for name, record in held.items() if name not in lacks
    }
    recoded = {name for name, paths in there.items() if len({*map(_syntax, paths)}) > 1}
    wrong = [f"{name} was changed" for name in {*there} - recoded if not _is_same(*there[name])]
    named = {row["PatientID"] for row in done.redo}
    wrong += [
        f"{each} lacks objects and is not in redo.csv"
        for each in {held[name].patient_id for name in lacks} - named
    ]
    wrong += [f"{name} came in {_syntax(there[name][1])}" for name in recoded if as_held]
    return Seen(done.status, _said(done), frozenset(lacks), tuple(wrong), recoded=frozenset(recoded))


def _syntax(path: Path) -> str:
    return str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID)


def _is_same(given: Path, came: Path) -> bool:
    """Whether the data set is the same, encoded anew or not: some archives write lengths and items their own way."""
    return _body(given) == _body(came) or pydicom.dcmread(given) == pydicom.dcmread(came)


def _body(path: Path) -> bytes:
    """The data set of a Part 10 file."""
    return path.read_bytes()[part10.read(path, ()).dataset_offset :]


RUN: Mapping[str, Callable[[Site], Seen]] = {
    "check": checked,
    "find": found,
    "info": listed,
    "save": saved,
    "resume": resumed,
    "get": got,
    "move": moved,
    "upload": uploaded,
}


# --- the matrix --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name)
def test_every_flow_on_an_archive_brings_everything_or_says_what_it_does_not(
    archive: Archive, hospital: Hospital, peers, tmp_path: Path
) -> None:
    """One test an archive, for its start costs as much as a flow; all that departs from the table is told at once."""
    traps = make_traps(tmp_path / "traps")
    held = {f"{each.series_number} {each.sop_uid}": each for each in hospital.records}
    held |= {name: read_record(path) for name, path in traps.items()}
    compressed_too = {name for name, record in held.items() if record.transfer_syntax in archive.not_held}
    for name in {*archive.not_held, *compressed_too} & held.keys():
        del held[name]
    departures: list[str] = []
    with archive.start(tmp_path / "pacs", [each.path for each in held.values()], peers) as server:
        for flow in FLOWS:
            (tmp_path / flow).mkdir()
            seen = RUN[flow](Site(archive, server, held, tmp_path / flow))
            departures += [
                f"{flow}: {words}" for words in departs(cells_of(archive, server).get(flow, ALL_WELL), seen)
            ]
    assert not departures, "\n".join(departures)


def departs(cell: Cell, seen: Seen) -> list[str]:
    """Where a flow departs from its cell."""
    words = [*seen.wrong]
    if seen.status != cell.status:
        words.append(f"exit status {seen.status}, not {cell.status}: {seen.said[-1000:]}")
    if cell.lacks == ANY:
        words += [] if seen.lacks else ["everything arrives"]
    elif seen.lacks != {*cell.lacks}:
        words.append(f"does not arrive: {sorted(seen.lacks)}, not {sorted(cell.lacks)}")
    if seen.recoded and not cell.recodes:
        words.append(f"came in another transfer syntax: {sorted(seen.recoded)}")
    if seen.warns != {*cell.warns}:
        words.append(f"warned of {sorted(seen.warns)}, not {sorted(cell.warns)}")
    if cell.says not in seen.said:
        words.append(f"does not say {cell.says!r}: {seen.said[-1000:]}")
    return words


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name)
def test_what_does_not_arrive_is_never_a_success(archive: Archive) -> None:
    for flow, cell in archive.cells.items():
        assert flow in FLOWS
        assert bool(cell.lacks) == bool(cell.status), flow
        assert cell.why or not (cell.lacks or cell.warns), f"{flow}: the docs have no words for it"


def test_the_docs_show_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    begin, end = "<!-- the table of tests/pacs/matrix.py -->\n", "<!-- end of the table -->"
    shown = text.partition(begin)[2].partition(end)[0]
    assert shown == as_markdown(), "replace it by what is right here"
