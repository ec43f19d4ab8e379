"""A soak: one archive is saved again and again with `--resume` while both sides are killed at random.

    python benchmarks/soak.py [--instances 20000] [--minutes 10] [--seed 1]

Orthanc holds the archive. A first run is left alone: every instance of the archive must be in its place, once, with
the data set of the archive by pydicom. Then runs are started into another folder and disturbed: SIGKILL (of the
process, or of its group), SIGTERM, SIGINT, SIGSTOP and SIGCONT; the PACS killed and started again on its storage and
port, or stopped for a while. Whenever a run ends complete, its tree must be that of the first run, byte for byte, and
it begins anew; after `--minutes` runs are left alone until one ends complete. Nothing may be left of any run. All
goes to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT)

from pacs.runs import MARK, instance_paths, left_over, port_is_free, processes, until  # noqa: E402
from pacs.servers import (  # noqa: E402
    Server,
    _await_echo,
    _spawn,
    find_binary,
    make_peers,
    pacsifier_argv,
    start_orthanc,
)
from pydicom import dcmread  # noqa: E402

from pacsifier.demo import demo_uid, make_archive  # noqa: E402

STUDIES, SERIES, SLICES = 2, 5, 10
"""Studies of a patient, series of a study, instances of a series."""

_ORTHANC = ("--verbose-generic", "orthanc.json")
_READ = b'of "DICOM" content type'  # what Orthanc logs for each file that it reads
_GONE_WITHIN_S = 5
_PAUSE_S = 2
_MOST_RUNS_AT_THE_END = 5


@dataclass
class Soak:
    """The archive in its PACS, the folder that is filled, and what was done to both."""

    server: Server
    folder: Path
    # Place in the tree -> file of the archive.
    expected: dict[Path, Path]
    chance: random.Random
    longest_s: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)
    peaks_kb: list[int] = field(default_factory=list)
    sent_before: int = 0

    def arguments(self, out: str) -> list[str]:
        """A run over everything into `out`."""
        query = self.folder / "query.csv"
        patients = sorted({place.parts[0].removeprefix("sub-") for place in self.expected})
        query.write_text("\n".join(["PatientID", *patients, ""]), encoding="utf-8")
        config = self.server.write_config(self.folder / "config.json")
        paths = ("--config", config, "--queryfile", query, "--out_directory", self.folder / out)
        return pacsifier_argv("--save", "--info", "--resume", "--retry_wait", "0.5", *paths)

    def run(self, out: str, disturb: Callable[[subprocess.Popen[bytes]], str] | None = None) -> int:
        """One run, disturbed or not; prints a line about it, and nothing of it may be left. Its exit status."""
        mark, began, sent = uuid.uuid4().hex, time.monotonic(), self.sent()
        self.peaks_kb.append(0)
        with (self.folder / "output.log").open("wb") as log:
            run = subprocess.Popen(
                self.arguments(out),
                env={**os.environ, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        name = disturb(run) if disturb else ""
        self.watch(run)
        until(lambda: not processes(mark) and port_is_free(self.server.our_port), _GONE_WITHIN_S)
        self.ends[run.returncode] += 1
        figures = f"{time.monotonic() - began:8.1f}{self.sent() - sent:8}{self.peaks_kb[-1] / 1000:9.1f}"
        print(f"{sum(self.ends.values()):4}  {name:24}{run.returncode:7}{figures}", flush=True)
        return run.returncode

    def disturb(self, run: subprocess.Popen[bytes]) -> str:
        """Waits a while, and does something to one of the two sides; what it was."""
        self.watch(run, self.chance.uniform(0.3, self.longest_s))
        names = ("SIGKILL", "SIGKILL of the group", "SIGTERM", "SIGINT", "stopped for a while")
        name = self.chance.choice((*names, "PACS killed", "PACS stopped for a while"))
        if run.poll() is not None:
            return ""
        self.done[name] += 1
        if name == "PACS killed":
            self.restart()
        elif name.endswith("for a while"):
            process = self.server.process.pid if name.startswith("PACS") else run.pid
            os.kill(process, signal.SIGSTOP)
            time.sleep(_PAUSE_S)
            os.kill(process, signal.SIGCONT)
        elif name == "SIGKILL of the group":
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.send_signal(getattr(signal, name))
        return name

    def restart(self) -> None:
        """Kills the PACS and starts it again on its storage and port after a while."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()
        self.sent_before = self.sent()
        time.sleep(self.chance.uniform(0, _PAUSE_S))
        self.server.process = _spawn([find_binary("Orthanc"), *_ORTHANC], self.server.folder, True)
        _await_echo(self.server)

    def sent(self) -> int:
        """The instances that the PACS has sent until now: what it read for a C-MOVE, not for a C-FIND."""
        first, *others = (self.server.folder / "server.log").read_bytes().split(b"Incoming Find request")
        moves = (part.partition(b"Incoming Move request")[2] for part in others)
        return self.sent_before + first.count(_READ) + sum(part.count(_READ) for part in moves)

    def watch(self, run: subprocess.Popen[bytes], seconds: float = float("inf")) -> None:
        """Follows the memory of a run until it has ended, or the time is over."""
        deadline = time.monotonic() + seconds
        while run.poll() is None and time.monotonic() < deadline:
            # A process that has just ended has a status, but no memory any more.
            status = (
                Path(f"/proc/{run.pid}/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()
            )
            self.peaks_kb[-1] = max(self.peaks_kb[-1], int(status[0]) if status else 0)
            time.sleep(0.02)

    def wrong(self, out: str, equal: Callable[[Path, Path], bool]) -> list[str]:
        """What is missing, too much, in a wrong place or not `equal` in a tree; nothing where all is well."""
        tree = self.folder / out
        found = {path.relative_to(tree): path for path in instance_paths(tree)}
        infos = {path.relative_to(tree) for path in tree.glob("sub-*/ses-*/*.csv")}
        beside = {place.parent.with_name(f"{place.parent.name}.csv") for place in self.expected}
        return [
            *(f"missing: {place}" for place in sorted(self.expected.keys() - found.keys())),
            *(f"too much: {place}" for place in sorted(found.keys() - self.expected.keys())),
            *(f"info CSV missing or too much: {place}" for place in sorted(infos ^ beside)),
            *(
                f"differs: {place}"
                for place in sorted(self.expected.keys() & found.keys())
                if not equal(self.expected[place], found[place])
            ),
            *map(str, (tree / "logs" / "unexpected").glob("*")),
            *left_over(tree, "of no run"),
        ]


def same_data_set(path: Path, other: Path) -> bool:
    """Whether two files hold the same values; bytes may differ, for Orthanc sends no superfluous padding."""
    return bool(dcmread(path) == dcmread(other))


def same_bytes(path: Path, other: Path) -> bool:
    """Whether two files are the same."""
    return path.read_bytes() == other.read_bytes()


def places(files: Sequence[Path]) -> dict[Path, Path]:
    """Where each file of `make_archive` belongs, by its number in the archive (spec/README.md of the layout)."""
    found = {}
    for path in files:
        patient, study, series, instance = (int(part.lstrip("PSTEIM")) for part in path.parts[-4:])
        uid = demo_uid("bench", f"1/{patient}/{study}/{series}", "instance", str(instance - 1))
        folders = (
            f"sub-BENCH{patient:05d}",
            f"ses-{2000 + study}0101120000",
            f"{series:05d}-bench_{series:08d}",
        )
        found[Path(*folders, f"MR.{uid}")] = path
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs the soak; 0: everything came, once, equal and in its place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    patients = max(1, arguments.instances // (STUDIES * SERIES * SLICES))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pacsifier-soak-") as name:
        folder = Path(name)
        files = make_archive(folder / "archive", patients, STUDIES, SERIES, SLICES, 32)
        with start_orthanc(folder / "pacs", files, make_peers()) as server:
            print(f"{len(files)} instances are in Orthanc after {time.monotonic() - began:.0f} s", flush=True)
            soak = Soak(server, folder, places(files), random.Random(arguments.seed))
            return _soak(soak, arguments.minutes * 60)


def _soak(soak: Soak, seconds: float) -> int:
    instances = len(soak.expected)
    soak.restart()
    print(f" run  {'disturbance':24}{'status':>7}{'wall s':>8}{'sent':>8}{'peak MB':>9}")
    began = time.monotonic()
    if soak.run("quiet"):
        sys.exit(f"the undisturbed run failed:\n{(soak.folder / 'output.log').read_text()[-3000:]}")
    soak.longest_s = time.monotonic() - began
    wrong = soak.wrong("quiet", same_data_set)
    soak.expected = {place: soak.folder / "quiet" / place for place in soak.expected}
    began, sent, laps = time.monotonic(), soak.sent(), 0
    while not wrong and time.monotonic() - began < seconds:
        if soak.run("soaked", soak.disturb) == 0:
            wrong = soak.wrong("soaked", same_bytes)
            shutil.rmtree(soak.folder / "soaked")
            laps += 1
    if not wrong:
        ends = (soak.run("soaked") for _ in range(_MOST_RUNS_AT_THE_END))
        if 0 not in ends:
            wrong.append(f"no run ended complete:\n{(soak.folder / 'output.log').read_text()[-3000:]}")
        wrong += soak.wrong("soaked", same_bytes)
        laps += 1
    print(f"{sum(soak.ends.values())} runs by exit status: {dict(sorted(soak.ends.items()))}")
    print(f"disturbances: {dict(soak.done)}; {time.monotonic() - began:.0f} s of soak")
    print(f"instances sent: {soak.sent() - sent} where {laps * instances} were needed")
    print(f"peak memory: {max(soak.peaks_kb) / 1000:.1f} MB")
    print("\n".join(wrong[:20]) or f"{laps} times all {instances} instances: in place, once, byte for byte")
    return 1 if wrong or not soak.done else 0


if __name__ == "__main__":
    sys.exit(main())
