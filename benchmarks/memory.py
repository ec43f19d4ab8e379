"""What `pacsifier --info` costs at 1,000, 10,000 and 100,000 series: peak memory, time, files in staging.

    python benchmarks/memory.py [--series N ...] [--shape one|many|both] [--runs N] [--there] [--limit MB]

A synthetic PACS (127.0.0.1, a process of its own) answers one row: `one` study of N series, or `many` studies of 11
series each. It writes the protocol itself: pynetdicom would need 2.5 ms an answer, and so hide whether the reader of
the answers keeps up with a fast PACS. Measured is the process of pacsifier itself (VmHWM), without DCMTK's tools.
`--there` lays an image of each series on disk first, and measures `--save --resume` over them, which moves nothing.
`--limit` makes the exit status 1 when the largest run needs so many MB more than the smallest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from pacs.servers import free_port, pacsifier_argv  # noqa: E402 - the tests are no package that is installed

from pacsifier.dicom import part10  # noqa: E402
from pacsifier.disk.names import instance_name  # noqa: E402
from pacsifier.disk.tree import SeriesIdentity, Tree  # noqa: E402
from pacsifier.query import ATTRIBUTES  # noqa: E402

SERIES_OF_A_STUDY = {"one": 10**9, "many": 11}
_ASSOCIATE_RQ, _ASSOCIATE_AC, _P_DATA, _RELEASE_RQ, _RELEASE_RP = 1, 2, 4, 5, 6
IN_HEADER = (
    *(
        "SOPClassUID",
        "SOPInstanceUID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "PatientID",
        "PatientBirthDate",
    ),
    *("StudyDate", "StudyTime", "Modality", "SeriesNumber", "SeriesDescription"),
)
INSTANCES_OF_A_SERIES = 192
_LEVEL, _STUDY, _SERIES = (
    ATTRIBUTES[keyword].tag for keyword in ("QueryRetrieveLevel", "StudyInstanceUID", "SeriesInstanceUID")
)
_DESTINATION, _STATUS = 0x00000600, 0x00000900
_INSTANCES = ATTRIBUTES["NumberOfSeriesRelatedInstances"].tag
_UIDS = {0x00000002, 0x00001000, *(each.tag for each in ATTRIBUTES.values() if each.vr == "UI")}
_IMPLICIT = b"1.2.840.10008.1.2"
_IMPLEMENTATION = b"1.2.826.0.1.3680043.8.498.1"
_AET = "PACSIFIER"
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY_S = 0.02


# --- the synthetic PACS


@dataclass(frozen=True)
class Held:
    """What the PACS holds: so many series of so many instances each, and how many series make a study.

    `receiver`: the port at which `PACSIFIER` listens.
    """

    series: int
    of_a_study: int
    instances: int
    receiver: int

    def study(self, first: int) -> range:
        """The numbers of the series of the study that begins with `first`."""
        return range(first, min(first + self.of_a_study, self.series))


def serve(port: int, held: Held) -> None:
    """Answers C-FIND and C-MOVE until it is ended, each association by a thread of its own."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=attend, args=(connection, held), daemon=True).start()


def attend(connection: socket.socket, held: Held) -> None:
    """Serves one association until either side ends it."""
    with (
        connection,
        connection.makefile("rb") as source,
        contextlib.suppress(ConnectionError, struct.error),
    ):
        associate(connection, source, held)


def associate(connection: socket.socket, source: BinaryIO, held: Held) -> None:
    """One association, as PS3.8 9.3 spells it, in Implicit VR Little Endian; only C-FIND and C-MOVE are known."""
    command: dict[int, bytes] = {}
    while True:
        kind, body = read_pdu(source)
        if kind == _ASSOCIATE_RQ:
            connection.sendall(pdu(_ASSOCIATE_AC, accepted(body)))
        elif kind == _RELEASE_RQ:
            connection.sendall(pdu(_RELEASE_RP, bytes(4)))
            return
        elif kind != _P_DATA:
            return
        while kind == _P_DATA and body:
            size, context, control = struct.unpack(">LBB", body[:6])
            elements, body = parsed(body[6 : size + 4]), body[size + 4 :]
            if control & 1:
                command = elements
            else:
                is_move = command[0x00000100].startswith(b"\x21")
                respond = moved if is_move else answers
                for part in respond(context, command, elements, held):
                    connection.sendall(part)


def accepted(request: bytes) -> bytes:
    """The fields of an A-ASSOCIATE-AC that takes every context in Implicit VR Little Endian."""
    items, rest = b"", request[68:]
    while rest:
        kind, length = struct.unpack(">BxH", rest[:4])
        if kind == 0x10:
            items += rest[: 4 + length]
        if kind == 0x20:
            items += item(0x21, rest[4:5] + bytes(3) + item(0x40, _IMPLICIT))
        rest = rest[4 + length :]
    return request[:68] + items + user_information()


def user_information() -> bytes:
    """What both sides of an association say of themselves."""
    return item(0x50, item(0x51, struct.pack(">L", 1 << 16)) + item(0x52, _IMPLEMENTATION))


def answers(context: int, command: dict[int, bytes], asked: dict[int, bytes], held: Held) -> Iterator[bytes]:
    """The responses to one C-FIND, about 100 in one piece."""
    is_study = asked[_LEVEL].startswith(b"STUDY")
    if study := asked[_STUDY].rstrip(b"\0"):
        first = int(study.rpartition(b".")[2])
        numbers = range(first, first + 1) if is_study else held.study(first)
    else:
        numbers = range(0, held.series, held.of_a_study)
    said = {0x00000002: command[0x00000002], 0x00000100: b"\x20\x80", 0x00000120: command[0x00000110]}
    pending = encoded(said | {0x00000800: b"\0\0", 0x00000900: b"\0\xff"})
    final = encoded(said | {0x00000800: b"\1\1", 0x00000900: b"\0\0"})
    for start in range(0, len(numbers), 100):
        found = (values(number, held) for number in numbers[start : start + 100])
        data_sets = (
            encoded({tag: each.get(tag, b"") for tag in asked} | {_LEVEL: asked[_LEVEL]}) for each in found
        )
        yield b"".join(
            pdu(_P_DATA, pdv(context, 3, pending) + pdv(context, 2, data_set)) for data_set in data_sets
        )
    yield pdu(_P_DATA, pdv(context, 3, final))


def moved(context: int, command: dict[int, bytes], asked: dict[int, bytes], held: Held) -> Iterator[bytes]:
    """The response to one C-MOVE: all was sent to `PACSIFIER`; of another destination it is only said."""
    wanted = asked_series(asked, held)
    if command[_DESTINATION].strip() == _AET.encode():
        send(wanted, held)
    said = {0x00000002: command[0x00000002], 0x00000100: b"\x21\x80", 0x00000120: command[0x00000110]}
    said |= {0x00000800: b"\1\1", 0x00000900: b"\0\0"}
    counts = {0x00001021: len(wanted) * held.instances, 0x00001022: 0, 0x00001023: 0}
    said |= {tag: struct.pack("<H", count & 0xFFFF) for tag, count in counts.items()}
    yield pdu(_P_DATA, pdv(context, 3, encoded(said)))


def asked_series(asked: dict[int, bytes], held: Held) -> list[int]:
    """The numbers of the series that a C-MOVE asks for, by their own UIDs or by those of their studies."""
    if uids := asked.get(_SERIES, b"").rstrip(b"\0"):
        return last_numbers(uids)
    return [number for first in last_numbers(asked[_STUDY].rstrip(b"\0")) for number in held.study(first)]


def last_numbers(uids: bytes) -> list[int]:
    """What the UIDs of a list end with."""
    return [int(uid.rpartition(b".")[2]) for uid in uids.split(b"\\")]


def send(numbers: Sequence[int], held: Held) -> None:
    """Stores all instances of the series by one association, each once the one before was answered."""
    with (
        socket.create_connection(("127.0.0.1", held.receiver)) as connection,
        connection.makefile("rb") as source,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(pdu(_ASSOCIATE_RQ, requested()))
        if read_pdu(source)[0] != _ASSOCIATE_AC:
            sys.exit("the receiver takes no association")
        for number in numbers:
            for instance in range(held.instances):
                connection.sendall(stored(number, instance, held))
                command = parsed(read_pdu(source)[1][6:])
                if command[_STATUS] != b"\0\0":
                    sys.exit(f"the receiver does not take series {number}: {command[_STATUS]!r}")
        connection.sendall(pdu(_RELEASE_RQ, bytes(4)))
        read_pdu(source)


def requested() -> bytes:
    """The fields of an A-ASSOCIATE-RQ for MR images in Implicit VR Little Endian."""
    syntaxes = item(0x30, texts(0, 0)["SOPClassesInStudy"].encode()) + item(0x40, _IMPLICIT)
    titles = _AET.ljust(16).encode() + b"SYNTHETIC".ljust(16)
    context = item(0x20, b"\1\0\0\0" + syntaxes)
    return (
        b"\0\1\0\0" + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1") + context + user_information()
    )


def stored(number: int, instance: int, held: Held) -> bytes:
    """A C-STORE of one instance, of a header and no pixels."""
    header = in_header(number, number - number % held.of_a_study, instance)
    said = {0x00000002: header["SOPClassUID"].encode(), 0x00000100: b"\1\0", 0x00000110: b"\1\0"}
    said |= {0x00000700: b"\0\0", 0x00000800: b"\0\0", 0x00001000: header["SOPInstanceUID"].encode()}
    data_set = {ATTRIBUTES[keyword].tag: text.encode() for keyword, text in header.items()}
    return pdu(_P_DATA, pdv(1, 3, encoded(said)) + pdv(1, 2, encoded(data_set)))


def values(number: int, held: Held) -> dict[int, bytes]:
    """What is told of a series, by tag."""
    told = texts(number, number - number % held.of_a_study)
    said = {ATTRIBUTES[keyword].tag: text.encode() for keyword, text in told.items()}
    return said | {_INSTANCES: str(held.instances).encode()}


def texts(number: int, study: int) -> dict[str, str]:
    """The values of a series, by keyword; nearly all that a real PACS repeats is repeated."""
    return {
        "StudyInstanceUID": f"1.2.826.0.1.3680043.8.498.7142857142857142857142857.{study}",
        "SeriesInstanceUID": f"1.2.826.0.1.3680043.8.498.31415926535897932384626433.{number}",
        "PatientID": f"SYN{study:08d}",
        "PatientName": f"Synthetic^Patient {study}",
        "PatientBirthDate": "19700101",
        "StudyDate": f"20{study % 20:02d}0{study % 9 + 1}1{study % 10}",
        "StudyTime": f"{study % 24:02d}1530.125",
        "AccessionNumber": f"A{study:010d}",
        "StudyDescription": "Head^Routine",
        "ModalitiesInStudy": "MR",
        "SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.4",
        "Modality": "MR",
        "SeriesNumber": str(number % 1000 + 1),
        "SeriesDescription": f"t1_mprage_sag_p2_iso_{number % 40}",
        "ProtocolName": f"t1_mprage_sag_p2_iso_{number % 40}",
        "DeviceSerialNumber": "45123",
        "ImageType": "ORIGINAL\\PRIMARY\\M\\ND\\NORM",
        "SequenceName": "*tfl3d1_16ns",
        "AcquisitionDate": "20120101",
    }


def in_header(number: int, study: int, instance: int = 0) -> dict[str, str]:
    """What stands in the header of an image of a series, by keyword."""
    told = texts(number, study)
    told |= {"SOPClassUID": told["SOPClassesInStudy"], "SOPInstanceUID": f"1.2.3.{number}.{instance}"}
    return {keyword: told[keyword] for keyword in IN_HEADER}


def read_pdu(source: BinaryIO) -> tuple[int, bytes]:
    """The kind and the body of the next protocol data unit."""
    kind, length = struct.unpack(">BxL", source.read(6))
    return kind, source.read(length)


def pdu(kind: int, body: bytes) -> bytes:
    """A protocol data unit (PS3.8 9.3)."""
    return struct.pack(">BxL", kind, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """An item of an association request or its answer (PS3.8 9.3.2)."""
    return struct.pack(">BxH", kind, len(body)) + body


def pdv(context: int, control: int, body: bytes) -> bytes:
    """A presentation data value (PS3.8 9.3.5.1); `control`: 2 the last of a data set, 3 of a command."""
    return struct.pack(">LBB", len(body) + 2, context, control) + body


def encoded(elements: dict[int, bytes]) -> bytes:
    """Elements by tag in Implicit VR Little Endian; a command set gets its group length."""
    data = b""
    for tag, value in sorted(elements.items()):
        even = value + b" " * (len(value) % 2) if tag not in _UIDS else value + b"\0" * (len(value) % 2)
        data += struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(even)) + even
    if min(elements) < 0x00010000:
        return struct.pack("<HHLL", 0, 0, 4, len(data)) + data
    return data


def parsed(data: bytes) -> dict[int, bytes]:
    """The elements of a flat data set in Implicit VR Little Endian, by tag."""
    found, at = {}, 0
    while at < len(data):
        group, element, length = struct.unpack("<HHL", data[at : at + 8])
        found[group << 16 | element] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return found


class Ports(NamedTuple):
    """Where the PACS listens, and where it sends what is moved to `PACSIFIER`."""

    pacs: int
    receiver: int


@contextlib.contextmanager
def synthetic_pacs(series: int, shape: str, instances: int = INSTANCES_OF_A_SERIES) -> Iterator[Ports]:
    """A synthetic PACS of so many series of so many instances; gives its ports."""
    ports = Ports(free_port(), free_port())
    numbers = (ports.pacs, series, SERIES_OF_A_STUDY[shape], instances, ports.receiver)
    process = subprocess.Popen([sys.executable, __file__, "--serve", *map(str, numbers)])
    try:
        yield ports
    finally:
        process.kill()
        process.wait()


# --- one run


@dataclass
class Figures:
    """What one run took; memory in kB, time in s."""

    peak_kb: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    most_answer_files: int = 0

    def look(self, process: int, staging: Path) -> None:
        """Reads what the process has used until now, and what waits in staging."""
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
            self.peak_kb = max(self.peak_kb, int(status.partition("VmHWM:")[2].split()[0]))
            stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
            self.cpu_s = sum(map(int, stat.rpartition(")")[2].split()[11:13])) / _TICKS
        # What is looked at may vanish meanwhile.
        with contextlib.suppress(OSError):
            for answers in staging.glob(".pacsifier*/find*/answers"):
                self.most_answer_files = max(self.most_answer_files, sum(1 for _ in answers.iterdir()))


def lay(out: Path, series: int, shape: str) -> None:
    """Lays an image of each series into the tree, as an earlier run would have placed it."""
    of_a_study = SERIES_OF_A_STUDY[shape]
    tree = Tree(out)
    for number in range(series):
        told = in_header(number, number - number % of_a_study)
        keywords = sorted(IN_HEADER, key=lambda keyword: ATTRIBUTES[keyword].tag)
        elements = [(ATTRIBUTES[each].tag, ATTRIBUTES[each].vr, told[each].encode()) for each in keywords]
        folder = tree.series_folder(SeriesIdentity.of(told))
        folder.mkdir(parents=True)
        (folder / instance_name("MR", told["SOPInstanceUID"])).write_bytes(part10.encode(elements))


def measure(series: int, shape: str, runs: int, *, there: bool) -> Iterator[Figures]:
    """Runs `pacsifier --info`, or `--save --resume`, for all series, `runs` times into one folder."""
    with (
        tempfile.TemporaryDirectory(prefix="pacsifier-memory-") as name,
        synthetic_pacs(series, shape, 1 if there else INSTANCES_OF_A_SERIES) as ports,
    ):
        folder = Path(name)
        prepare(folder, ports)
        out = folder / "out"
        if there:
            lay(out, series, shape)
        options = (*(("--save", "--resume") if there else ("--info",)), "-q", folder / "query.csv", "-d", out)
        for _ in range(runs):
            figures = run_once(folder, options)
            infos = sum(1 for _ in out.glob("sub-*/ses-*/*.csv"))
            told = (folder / "log").read_text()
            done = f"({series} skipped)" in told if there else infos == series
            if not done:
                sys.exit(f"{infos} info CSVs of {series} series: {told}")
            yield figures


def prepare(folder: Path, ports: Ports) -> None:
    """Writes config and query of a run, and waits until the synthetic PACS listens."""
    wait_for(ports.pacs)
    config = {"server_address": "127.0.0.1", "port": ports.pacs, "server_AET": "SYNTHETIC", "AET": _AET}
    config |= {"move_AET": "OTHER", "move_port": ports.receiver, "batch_size": 30, "batch_wait_time": 0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "query.csv").write_text("Modality\nMR\n", encoding="utf-8")


def run_once(folder: Path, options: Sequence[object]) -> Figures:
    """Runs `pacsifier` once with these options and the config of a folder; it must end well."""
    figures = Figures()
    out, log = Path(str(options[-1])), folder / "log"
    arguments = (*options, "-c", folder / "config.json")
    began = time.monotonic()
    with log.open("wb") as output:
        run = subprocess.Popen(
            pacsifier_argv(*arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT
        )
    while run.poll() is None:
        figures.look(run.pid, out)
        time.sleep(_LOOK_EVERY_S)
    figures.wall_s = time.monotonic() - began
    if run.returncode:
        sys.exit(f"exit status {run.returncode}: {log.read_text()}")
    return figures


def wait_for(port: int) -> None:
    """Waits until the synthetic PACS listens."""
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("the synthetic PACS does not listen")


def main(argv: list[str]) -> int:
    """Measures and prints."""
    if argv[:1] == ["--serve"]:
        port, *numbers = map(int, argv[1:])
        serve(port, Held(*numbers))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--shape", choices=["one", "many", "both"], default="both")
    parser.add_argument(
        "--runs", type=int, default=1, help="runs into one folder: the second reads the log table"
    )
    parser.add_argument("--there", action="store_true", help="--save --resume over series that are on disk")
    parser.add_argument(
        "--limit", type=float, metavar="MB", help="exit 1 when more is needed above the smallest"
    )
    options = parser.parse_args(argv)
    print(f"{'shape':6}{'series':>9}{'run':>4}{'peak MB':>9}{'wall s':>9}{'CPU s':>9}{'answer files':>14}")
    worst = 0.0
    for shape in ("one", "many") if options.shape == "both" else (options.shape,):
        peaks = []
        for series in options.series:
            for number, one in enumerate(measure(series, shape, options.runs, there=options.there), 1):
                peaks.append(one.peak_kb / 1000)
                figures = f"{peaks[-1]:9.1f}{one.wall_s:9.1f}{one.cpu_s:9.1f}{one.most_answer_files:14}"
                print(f"{shape:6}{series:9}{number:4}{figures}", flush=True)
        worst = max(worst, max(peaks) - min(peaks))
    return int(options.limit is not None and worst > options.limit)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
