"""What each archive of the matrix cannot do: the table that `test_matrix` holds true and docs/archives.md shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacs.servers import (
    RLE,
    OrthancServer,
    Peers,
    Server,
    start_dcmqrscp,
    start_orthanc,
    start_pixelmed,
    start_qrscp,
    start_tiny_pacs,
)

FLOWS = ("check", "find", "info", "save", "resume", "get", "move", "upload")
OPTIONS = {
    "check": "--check --yes",
    "find": "--save --dry_run",
    "info": "--info",
    "save": "--save",
    "resume": "--save --resume",
    "get": "--save --retrieve_method get",
    "move": "--move",
    "upload": "--upload",
}
PIXELS = ("JPEG Baseline", "JPEG Extended", "JPEG Lossless", "JPEG-LS", "JPEG-LS near-lossless")
PIXELS = (*PIXELS, "JPEG 2000 lossless", "JPEG 2000", "RLE multi-frame")
"""The traps with encapsulated pixels."""


@dataclass(frozen=True)
class Cell:
    """What comes of a flow where that is not all: `lacks` names what does not arrive (then `status` is not 0).

    `ANY` stands for what differs from run to run; `says`: what the user reads of it, on the terminal or in the log;
    `warns`: the probes of a check that warn; `recodes`: objects may come in another transfer syntax; `why`: what the
    archive cannot do, in the docs' words.
    """

    status: int = 0
    lacks: tuple[str, ...] = ()
    says: str = ""
    warns: tuple[str, ...] = ()
    recodes: bool = False
    why: str = ""


@dataclass(frozen=True)
class Archive:
    """An archive, and where it departs from what all of them should do.

    `not_held`: traps, or transfer syntaxes, that it does not take; `untold`: columns that `--info` leaves empty;
    `garbled`: character sets of which it answers question marks.
    """

    name: str
    title: str
    start: Callable[[Path, Sequence[Path], Peers], Server]
    not_held: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    garbled: tuple[str, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)


ALL_WELL = Cell()
LISTS, IMAGES = "C-MOVE of a UID list", "C-MOVE at the IMAGE level"
KEYS, RELATIONAL = "returned keys", "relational C-FIND"

CHARACTER_SETS = (*("ISO_IR 101", "ISO_IR 109", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126", "ISO_IR 138"),)
CHARACTER_SETS = (*CHARACTER_SETS, "ISO_IR 148", "GB18030", "ISO_IR 192")
NO_LISTS = "it does not understand lists of UIDs: runs ask for one series at a time"
ANY = ("any",)
OF_ONE = Cell(
    1,
    ANY,
    says="the PACS announces",
    recodes=True,
    why="of several series or studies it tells one as often as there are; the rows are named",
)
FAILS_COMPRESSED = "C-GET of compressed objects fails where it was asked for them in another syntax"

ARCHIVES = (
    Archive(
        "orthanc",
        "Orthanc 1.10.1",
        start_orthanc,
        cells={
            "get": Cell(
                1,
                ("JPEG 2000", "JPEG 2000 lossless"),
                says="C-GET ended with 0xC000",
                recodes=True,
                why="it decompresses, and fails of what it cannot decompress (JPEG 2000)",
            ),
        },
    ),
    Archive(
        "dcmqrscp",
        "dcmqrscp 3.6.7",
        start_dcmqrscp,
        untold=(
            *("AcquisitionDate", "DeviceSerialNumber", "ImageType", "ProtocolName", "SequenceName"),
            "SeriesDescription",
        ),
        cells={
            "check": Cell(warns=(KEYS,), why="it tells fewer columns than asked for"),
        },
    ),
    Archive(
        "pixelmed",
        "PixelMed 20220618",
        start_pixelmed,
        not_held=(*PIXELS, "deflated", "big endian", RLE),
        untold=("AcquisitionDate", "DeviceSerialNumber", "ImageType", "SequenceName"),
        cells={
            "check": Cell(warns=(KEYS, RELATIONAL, LISTS, IMAGES), why=NO_LISTS),
            "upload": Cell(
                1, ("JPEG-LS",), says="no presentation context", why="it takes uncompressed objects only"
            ),
        },
    ),
    Archive(
        "qrscp",
        "qrscp of pynetdicom 3",
        start_qrscp,
        untold=(
            *("AcquisitionDate", "DeviceSerialNumber", "ImageType", "PatientBirthDate", "ProtocolName"),
            *("SequenceName", "SeriesDescription", "StudyDescription"),
        ),
        garbled=CHARACTER_SETS,
        cells={
            "check": Cell(warns=(KEYS, LISTS, IMAGES), why=NO_LISTS),
            "get": Cell(
                1,
                (*PIXELS, "big endian"),
                says="C-GET ended with 0xA702",
                recodes=True,
                why=FAILS_COMPRESSED,
            ),
        },
    ),
    Archive(
        "tiny-pacs",
        "tiny-pacs 0.4",
        start_tiny_pacs,
        not_held=("big endian",),
        untold=(
            *("AcquisitionDate", "DeviceSerialNumber", "ImageType", "ProtocolName", "SequenceName"),
            "SeriesDescription",
        ),
        garbled=CHARACTER_SETS,
        cells={
            "check": Cell(
                warns=("C-FIND, IMAGE level",),
                why="asked for counts it answers one series for all: runs ask without",
            ),
            **dict.fromkeys(("find", "info", "save", "resume", "get", "move"), OF_ONE),
        },
    ),
)


def cells_of(archive: Archive, server: Server) -> Mapping[str, Cell]:
    """What comes of the flows with the version that runs here; the table is of those of Debian 12."""
    if isinstance(server, OrthancServer) and server.version >= (1, 12):
        # It decompresses JPEG 2000, too.
        return {**archive.cells, "get": Cell(recodes=True)}
    return archive.cells


def as_markdown() -> str:
    """The table as the docs show it."""
    lines = ["| | " + " | ".join(each.title for each in ARCHIVES) + " |", "|---" * (len(ARCHIVES) + 1) + "|"]
    for flow in FLOWS:
        cells = [_words(each.cells.get(flow, ALL_WELL)) for each in ARCHIVES]
        lines.append(f"| `{OPTIONS[flow]}` | " + " | ".join(cells) + " |")
    lines += ["", "What no command can change:", ""]
    lines += [f"- **{each.title}**: {words}" for each in ARCHIVES if (words := _limits(each))]
    return "\n".join(lines) + "\n"


def _words(cell: Cell) -> str:
    verdict = f"exit {cell.status}" if cell.status else "passed"
    return f"{verdict}: {cell.why}" if cell.why else verdict


def _limits(archive: Archive) -> str:
    parts = (
        ("it does not take", [each for each in archive.not_held if each != RLE]),
        ("its answers leave out", archive.untold),
        ("its answers hold question marks for letters of", archive.garbled),
    )
    return "; ".join(f"{words} {', '.join(names)}" for words, names in parts if names)
