"""How long a query in 8 parts takes with 1, 2 and 4 tasks at a time, on a Slurm of this machine; and a large merge.

    python benchmarks/cluster.py [--patients N] [--at_a_time K ...] [--rate RATE] [--merge SERIES]

PACS (dcmqrscp), Slurm and tasks share the processors of this machine, so these are upper bounds. `--rate` holds each
task to so many instances a second, as a PACS does that serves each association at its own pace. `--merge` writes the
logs of 100 parts with so many series in all and measures what merging them costs.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from pacs.servers import LOOPBACK, Server, free_port, start_dcmqrscp  # noqa: E402
from slurm.cluster import Slurm  # noqa: E402

from pacsifier.demo import make_archive  # noqa: E402
from pacsifier.disk.names import part_folder  # noqa: E402
from pacsifier.disk.tree import Tree  # noqa: E402
from pacsifier.query import Query, QueryTable, Shard  # noqa: E402
from pacsifier.query.series import Series  # noqa: E402
from pacsifier.transfer.model import SeriesState, Status  # noqa: E402
from pacsifier.transfer.record.journal import Journal  # noqa: E402
from pacsifier.transfer.record.merging import merge_parts  # noqa: E402

COMMANDS = {
    "pacsifier": (sys.executable, "-m", "pacsifier.cli.retrieve"),
    "pacsifier-merge-parts": (sys.executable, "-m", "pacsifier.cli.merge_parts"),
}
PARTS, MERGED_PARTS = 8, 100


def fetch(
    slurm: Slurm, server: Server, folder: Path, query: str, at_a_time: int, *options: str
) -> tuple[float, float]:
    """Submit and wait; the seconds until all tasks were over, and until the merge was."""
    (folder / "query.csv").write_text(query)
    seats = [f"* {aet} {port}\n" for aet, (_, port) in server.peers.items()]
    (folder / "seats").write_text("".join(seats[:at_a_time]))
    started = time.monotonic()
    told = slurm.run(
        *(sys.executable, "-m", "pacsifier.cli.slurm", "submit"),
        *("--config", server.write_config(folder / "config.json")),
        *("--queryfile", folder / "query.csv", "--out_directory", folder / "out", "--parts", PARTS),
        *(
            "--seats",
            folder / "seats",
            "--at_a_time",
            at_a_time,
            "--",
            "--save",
            "--associations",
            1,
            *options,
        ),
    )
    ids = [
        words[2]
        for words in map(str.split, told.splitlines())
        if words[1:2] == ["job"] and words[2].isdigit()
    ]
    slurm.await_end(ids[0], patience_s=3600)
    fetched = time.monotonic() - started
    assert set(slurm.await_end(*ids).values()) == {"COMPLETED"}
    return fetched, time.monotonic() - started


def measure_growth(patients: int, at_a_time: list[int], *options: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="growth-"))
    peers = {f"SEAT{n}": (LOOPBACK, free_port()) for n in range(max(at_a_time))}
    peers = {"PACSIFIER": (LOOPBACK, free_port())} | peers
    files = make_archive(folder / "archive", patients, 1, 2, 20, 256)
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    query = "PatientID\n" + "".join(f"BENCH{number:05d}\n" for number in range(1, patients + 1))
    print(f"{os.cpu_count()} processors; {len(files)} instances, {megabytes:.0f} MB, {PARTS} parts")
    with start_dcmqrscp(folder / "pacs", files, peers) as server, Slurm(COMMANDS) as slurm:
        for number in at_a_time:
            (folder / str(number)).mkdir()
            fetched, merged = fetch(slurm, server, folder / str(number), query, number, *options)
            print(
                f"{number} at a time: {fetched:.1f} s, {len(files) / fetched:.0f} instances/s, "
                f"{megabytes / fetched:.0f} MB/s; with the merge {merged:.1f} s",
                flush=True,
            )
    shutil.rmtree(folder)


def measure_merge(series: int) -> None:
    """Run in a process of its own: what counts is its peak."""
    folder = Path(tempfile.mkdtemp(prefix="merge-"))
    table = QueryTable(
        folder, ("StudyDate",), (Query((2,), {"StudyDate": "2020"}, None),), {2: ("2020",)}, ()
    )
    for number in range(1, MERGED_PARTS + 1):
        part = part_folder(folder, number)
        part.mkdir(parents=True)
        states = [
            SeriesState(Series(_values(number, each), (2,), {}, 100), Status.COMPLETE, secure=True)
            for each in range(series // MERGED_PARTS)
        ]
        journal = Journal(Tree(part), Shard(number, MERGED_PARTS).part(table))
        journal.follow(states)
        journal.write_rows({2: ("complete", "")})
    benchmarks = str(ROOT / "benchmarks")
    program = (
        f"import sys; sys.path.insert(0, {benchmarks!r}); import cluster; cluster.merge({str(folder)!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    size = (folder / "logs" / "pacsifier_log.csv").stat().st_size
    print(f"{series} series: the log is {size / 1e6:.0f} MB, {size / series:.0f} bytes a series")
    shutil.rmtree(folder)


def merge(folder: str) -> None:
    table = QueryTable(Path(folder), ("StudyDate",), (Query((2,), {}, None),), {2: ("2020",)}, ())
    started = time.monotonic()
    merge_parts(Path(folder), table, MERGED_PARTS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"merge of {MERGED_PARTS} parts: {time.monotonic() - started:.1f} s, peak {peak:.0f} MB")


def _values(part: int, number: int) -> dict[str, str]:
    uid = f"1.2.840.113619.2.55.3.604688119.868.1234567890.{part:03d}{number:06d}"
    return {
        "PatientID": f"{number:06d}{part:03d}",
        "StudyDate": "20200101",
        "StudyTime": "101500.123456",
        "StudyInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.1",
        "SeriesNumber": "7",
        "SeriesDescription": "t1_mprage_sag_p2_iso",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=48)
    parser.add_argument("--at_a_time", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rate")
    parser.add_argument("--merge", type=int, metavar="SERIES")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.merge:
        measure_merge(arguments.merge)
    else:
        rate = ["--rate", arguments.rate] if arguments.rate else []
        measure_growth(arguments.patients, arguments.at_a_time, *rate)


if __name__ == "__main__":
    main()
