"""How fast images come out of a PACS, side by side: this tree, DCMTK driven by hand, other tools, `cp -r`.

    python benchmarks/retrieve.py [--data T S L L10 W S1 L1 S4 XL] [--pacs orthanc dcmqrscp nagle slow late]

All contenders of a case alternate, round by round; medians and the medians of the ratios of each round are printed.
Every run is checked before its time counts: every byte, and every place where the contender has places. XL and R are
`--info`. `--peer` measures PACSIFIER 1.0.0 from the package index too (minutes for one patient). The PACS: orthanc and
dcmqrscp without Nagle's algorithm, nagle: Orthanc with it, slow: one written with pynetdicom that sends 50 instances a
second, late: Orthanc, of which every answer comes after 50 ms (relay.py).
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import RLELossless

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
os.environ["PYTHONPATH"] = str(ROOT)
# As users have it: pip compiles what it installs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from contenders import (  # noqa: E402
    Contender,
    Copy,
    FailedError,
    Info,
    OwnCpu,
    Pacsifier,
    Pacsifier4,
    PacsifierGet,
    Peer,
    PynetdicomGet,
    PynetdicomMove,
    Raw,
    RawInfo,
    Resume,
    Work,
    await_port,
    new_folder,
)
from faults.quirk_pacs import Quirks, start_quirk_pacs  # noqa: E402
from pacs.servers import (  # noqa: E402
    Record,
    Server,
    free_port,
    make_peers,
    read_record,
    start_dcmqrscp,
    start_orthanc,
)
from start import install  # noqa: E402

from pacsifier.demo import make_archive  # noqa: E402
from pacsifier.dicom import part10  # noqa: E402
from pacsifier.disk.names import LOG_FOLDER  # noqa: E402

# patients, studies each, series each, slices each, pixels a side
DATA = {
    "S": (40, 2, 5, 8, 128),
    "L": (2, 1, 3, 200, 512),
    "W": (1, 1, 200, 8, 128),
    "X": (100, 10, 10, 1, 16),
    "T": (6, 2, 3, 6, 64),
    "L10": (20, 1, 3, 200, 512),
    "R": (5000, 1, 1, 1, 16),
    "R200": (200, 1, 1, 1, 16),
}
"""S1 and L1 are one patient of S and L, S4 four of S. XL is X, and only `--info`, as are R and R200, of a row a study.
Of T every third series is RLE."""
ONLY_INFO = ("XL", "R", "R200")
SLOW = 50.0
LATE_S = 0.05


@dataclass(frozen=True)
class Bench:
    """Where it all happens, what was asked for, and the environment with PACSIFIER 1.0.0."""

    scratch: Path
    arguments: argparse.Namespace
    environment: Path | None


@dataclass
class Case:
    """One kind of data on one PACS, and what each contender took in each round.

    `cpu_s`: of its processes, without the PACS, which a busy machine changes little.
    """

    data: str
    pacs: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: dict[str, list[float]] = field(default_factory=dict)
    instances: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    own_ms: float | None = None

    def lines(self) -> Iterator[str]:
        """The table of the case, against the contender of this tree."""
        own = self.seconds["pacsifier"]
        yield f"{self.data} on {self.pacs}: {self.instances} instances, {len(own)} rounds"
        for name, times in self.seconds.items():
            ratios = [theirs / ours for theirs, ours in zip(times, own, strict=True)]
            inverse = statistics.median(1 / ratio for ratio in ratios)
            yield (
                f"  {name:22} {statistics.median(times):8.2f} s ({min(times):.2f} to {max(times):.2f})"
                f"   it / this {statistics.median(ratios):7.2f}   this / it {inverse:6.2f}"
                f"   CPU {statistics.median(self.cpu_s[name]):6.2f} s"
            )
        if self.own_ms is not None:
            yield f"  pacsifier's own CPU time beyond that for one patient: {self.own_ms:.2f} ms an instance"
        for name, why in self.failed.items():
            yield f"  {name:22} did not do it: {why}"


def main() -> int:
    """Runs the cases asked for and prints their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["S", "L", "W", "S1", "L1"])
    parser.add_argument("--pacs", nargs="+", default=["orthanc", "dcmqrscp"], help="also: nagle, slow, late")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="contenders besides pacsifier")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--associations", type=int, default=2)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument(
        "--own", action="store_true", help="also: the CPU time of an instance in pacsifier itself"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    compileall.compile_dir(ROOT / "pacsifier", quiet=1)
    cases = []
    with tempfile.TemporaryDirectory(prefix="pacsifier-benchmark-") as folder:
        scratch = Path(folder)
        environment = install(scratch / "peer-env", "pacsifier==1.0.0").parent if arguments.peer else None
        for data in arguments.data:
            for pacs in arguments.pacs:
                if (data, pacs) == ("T", "dcmqrscp"):
                    print("T on dcmqrscp: not possible, it holds one transfer syntax of a SOP class")
                    continue
                place = new_folder(scratch)
                files = make_data(data, place / "data")
                with _serving(pacs, place / "pacs", files) as server:
                    work = _work(data, server, files, place)
                    case = _case(data, pacs, work, Bench(scratch, arguments, environment))
                    if arguments.own and len(work.patients) > 1:
                        case.own_ms = _own_ms(work, scratch, arguments.rounds)
                cases.append(case)
                print("\n".join(case.lines()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(case) for case in cases], indent=1) + "\n")
    return 0


def make_data(data: str, folder: Path) -> list[Path]:
    """The files of a data set; of T the third series of each study is compressed: a twin of the others as RLE."""
    files = make_archive(folder, *DATA.get(data, DATA[data[0]]))
    for path in files if data == "T" else ():
        if path.parent.name == "SE003":
            data_set = dcmread(path)
            data_set.compress(RLELossless, generate_instance_uid=False)
            data_set.save_as(path)
    return files


@contextmanager
def _serving(pacs: str, folder: Path, files: Sequence[Path]) -> Iterator[Server]:
    peers = make_peers()
    starting: Server
    if pacs == "dcmqrscp":
        starting = start_dcmqrscp(folder, files, peers)
    elif pacs == "slow":
        starting = start_quirk_pacs(folder, files, peers, Quirks(pace=SLOW))
    else:
        starting = start_orthanc(folder, files, peers, nagle_off=pacs != "nagle")
    with starting as server:
        if pacs != "late":
            yield server
            return
        with _relayed(server) as port:
            yield replace(server, port=port)


@contextmanager
def _relayed(server: Server) -> Iterator[int]:
    """A port behind which the server answers late."""
    port = free_port()
    argv = [sys.executable, Path(__file__).with_name("relay.py"), str(port), str(server.port), str(LATE_S)]
    with subprocess.Popen(argv) as relay:
        try:
            await_port(port)
            yield port
        finally:
            relay.terminate()


def _work(data: str, server: Server, files: Sequence[Path], scratch: Path) -> Work:
    """The patients of a case; the files of the others are moved away once the PACS has them."""
    records = [read_record(path) for path in files]
    folder = scratch / "data"
    if data not in DATA and data[1:].isdigit():
        wanted = {folder / f"P{number:04d}" for number in range(1, int(data[1:]) + 1)}
        records = [record for record in records if wanted & set(record.path.parents)]
        (scratch / "others").mkdir()
        for other in set(folder.iterdir()) - wanted:
            other.rename(scratch / "others" / other.name)
    return Work(server, records, folder)


def _case(data: str, pacs: str, work: Work, bench: Bench) -> Case:
    scratch, arguments = bench.scratch, bench.arguments
    if data in ONLY_INFO:
        return _info_case(
            data, pacs, replace(work, associations=arguments.associations), scratch, arguments.rounds
        )
    records = work.records
    work = replace(work, associations=1 if pacs == "slow" else arguments.associations)
    contenders: list[Contender] = [Pacsifier(scratch), Raw(scratch), Resume(scratch), Copy(scratch)]
    if pacs == "nagle":
        contenders.append(Pacsifier4(scratch))
    contenders += [
        PacsifierGet(scratch),
        PynetdicomMove(scratch),
        PynetdicomGet(scratch),
        Peer(scratch, bench.environment),
    ]
    chosen = [each for each in contenders if not each.why_not]
    if arguments.only:
        chosen = [each for each in chosen if each.name == "pacsifier" or each.name in arguments.only]
    case = Case(data, pacs, {each.name: [] for each in chosen}, instances=len(records))
    # Orthanc trims trailing blanks of values: what counts is what it sends, as storescp stores it bit by bit.
    raw = Raw(scratch)
    sent = new_folder(scratch) / "sent"
    raw.prepare(work, sent)
    raw.fetch(work, sent)
    expected = _data_sets(sent)
    assert expected.keys() == {record.sop_uid for record in records}, "the PACS does not send everything"
    for number in range(arguments.rounds):
        # The order turns from round to round, so that nobody always comes after the same one.
        for each in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
            if each.name not in case.failed:
                _enter(case, each, lambda each=each: _timed(each, work, scratch, records, expected))
    return case


def _enter(case: Case, contender: Contender, measure: Callable[[], tuple[float, float]]) -> None:
    """Enters the times, or why another program cannot do it here; this tree's own failure ends the benchmark."""
    try:
        seconds, cpu_s = measure()
        case.seconds[contender.name].append(seconds)
        case.cpu_s.setdefault(contender.name, []).append(cpu_s)
    except (FailedError, AssertionError) as error:
        if isinstance(contender, Pacsifier | Raw):
            raise
        case.failed[contender.name] = f"{error}".strip().splitlines()[-1][:150]
        del case.seconds[contender.name]


def _own_ms(work: Work, scratch: Path, rounds: int) -> float:
    """CPU ms of an instance in the process itself: what all patients cost more than the first one."""
    first = replace(work, records=[each for each in work.records if each.patient_id == work.patients[0]])
    spent: dict[int, list[float]] = {len(each.records): [] for each in (first, work)}
    for _ in range(rounds):
        for each in (first, work):
            own = OwnCpu(scratch)
            own.prepare(each, scratch)
            own.fetch(each, new_folder(scratch) / "out")
            spent[len(each.records)].append(own.cpu_s)
    (few, least), (many, most) = ((number, statistics.median(each)) for number, each in spent.items())
    return 1000 * (most - least) / (many - few)


def _info_case(data: str, pacs: str, work: Work, scratch: Path, rounds: int) -> Case:
    chosen: list[Contender] = [Info(scratch), RawInfo(scratch)]
    case = Case(f"{data} (--info)", pacs, {Pacsifier.name: [], RawInfo.name: []}, instances=len(work.records))
    for number in range(rounds):
        for each in chosen[:: 1 if number % 2 else -1]:
            out = new_folder(scratch) / "out"
            each.prepare(work, out)
            _enter(case, each, lambda each=each, out=out: _spent(each, work, out))
            if isinstance(each, Info):
                listed = sum(1 for path in out.rglob("*.csv") if path.parent.name != "logs")
                assert listed == len(work.series), f"{listed} of {len(work.series)} series listed"
    return case


def _timed(
    contender: Contender, work: Work, scratch: Path, records: Sequence[Record], expected: dict[str, int]
) -> tuple[float, float]:
    out = new_folder(scratch) / "out"
    contender.prepare(work, out)
    os.sync()
    spent = _spent(contender, work, out)
    if not isinstance(contender, Peer):
        _check(contender, out, records, expected)
    for path in _instances(out):
        # Not removed: ext4 passes over each inode of the last minutes' removals at each file that is created.
        os.truncate(path, 0)
    return spent


def _spent(contender: Contender, work: Work, out: Path) -> tuple[float, float]:
    """The seconds that a contender takes, and the CPU time of the processes that it starts and waits for."""
    started, before = time.perf_counter(), os.times()
    contender.fetch(work, out)
    seconds, after = time.perf_counter() - started, os.times()
    return seconds, sum(after[2:4]) - sum(before[2:4])


def _check(contender: Contender, out: Path, records: Sequence[Record], expected: dict[str, int]) -> None:
    """Every instance once, byte for byte, and in its own place."""
    found = _data_sets(out)
    assert found.keys() == expected.keys(), f"{contender.name}: {len(found)} of {len(expected)} instances"
    if contender.name == Copy.name:
        expected = {record.sop_uid: _data_set(record.path) for record in records}
    assert contender.re_encodes or found == expected, f"{contender.name}: other bytes"
    if contender.checks_places:
        series_of = {record.sop_uid: record.series_uid for record in records}
        places = {(path.parent, series_of[_uid(path)]) for path in _instances(out)}
        assert len(places) == len(set(series_of.values())), f"{contender.name}: series are mixed up"


def _instances(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".csv" and path.parent != folder / LOG_FOLDER:
            yield path


def _data_sets(folder: Path) -> dict[str, int]:
    found = {}
    for path in _instances(folder):
        uid = _uid(path)
        assert uid not in found, "an instance lies there twice"
        found[uid] = _data_set(path)
    return found


def _uid(path: Path) -> str:
    return (part10.read(path, {0x00080018}).values[0x00080018]).rstrip(b"\0 ").decode()


def _data_set(path: Path) -> int:
    return hash(path.read_bytes()[part10.read(path, ()).dataset_offset :])


if __name__ == "__main__":
    sys.exit(main())
