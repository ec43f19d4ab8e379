"""A soak: one archive is saved again and again with `--resume` while both sides are killed at random.

    python benchmarks/soak.py [--instances 20000] [--minutes 10] [--seed 1]

Orthanc holds the archive. A first run without disturbance gives the tree to compare with. Then runs are started into
another folder and disturbed: SIGKILL (the process, or its group), SIGTERM, SIGINT, the PACS killed and started
again, the PACS stopped for a while. Whenever a run ends complete, both trees must be equal byte for byte, and it begins
anew; after `--minutes` runs are left alone until one ends complete. Nothing may be left of
any run. Everything goes to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import filecmp
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
from collections.abc import Callable
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

from pacsifier.demo import make_archive  # noqa: E402

_A_PATIENT = 2 * 5 * 10
_GONE_WITHIN_S = 5
_MOST_RUNS_AT_THE_END = 5


@dataclass
class Soak:
    """The archive in its PACS, the folder that is filled, and what was done to both."""

    server: Server
    folder: Path
    patients: int
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)
    peak_kb: int = 0

    def arguments(self, out: str) -> list[str]:
        """A run over everything into `out`."""
        query = self.folder / "query.csv"
        query.write_text("PatientID\n" + "".join(f"BENCH{n:05d}\n" for n in range(1, self.patients + 1)))
        config = self.server.write_config(self.folder / "config.json")
        paths = ("--config", config, "--queryfile", query, "--out_directory", self.folder / out)
        return pacsifier_argv("--save", "--info", "--resume", "--retry_wait", "0.5", *paths)

    def run(self, out: str, disturb: Callable[[subprocess.Popen[bytes]], None] | None = None) -> int:
        """One run, disturbed or not; nothing of it may be left. Its exit status."""
        mark = uuid.uuid4().hex
        with (self.folder / "output.log").open("wb") as log:
            run = subprocess.Popen(
                self.arguments(out),
                env={**os.environ, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if disturb is not None:
            disturb(run)
        while run.poll() is None:
            self._measure(run)
            time.sleep(0.05)
        until(lambda: not processes(mark) and port_is_free(self.server.our_port), _GONE_WITHIN_S)
        self.ends[run.returncode] += 1
        return run.returncode

    def disturb(self, run: subprocess.Popen[bytes]) -> None:
        """Waits a while, and does something to one of the two sides."""
        deadline = time.monotonic() + self.chance.uniform(0.3, 6)
        while time.monotonic() < deadline and run.poll() is None:
            self._measure(run)
            time.sleep(0.02)
        if run.poll() is not None:
            return
        name = self.chance.choice(
            ["SIGKILL", "SIGKILL of the group", "SIGTERM", "SIGINT", "PACS killed", "PACS stopped for 2 s"]
        )
        self.done[name] += 1
        if name == "PACS killed":
            self.restart()
        elif name.startswith("PACS stopped"):
            os.killpg(self.server.process.pid, signal.SIGSTOP)
            time.sleep(2)
            os.killpg(self.server.process.pid, signal.SIGCONT)
        elif name == "SIGKILL of the group":
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.send_signal(getattr(signal, name))

    def restart(self) -> None:
        """Kills the PACS and starts it again on its storage and port after a while."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()
        time.sleep(self.chance.uniform(0, 2))
        self.server.process = _spawn([find_binary("Orthanc"), "orthanc.json"], self.server.folder, True)
        _await_echo(self.server)

    def _measure(self, run: subprocess.Popen[bytes]) -> None:
        try:
            text = Path(f"/proc/{run.pid}/status").read_text(encoding="ascii")
        except OSError:
            return
        peaks = [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")]
        self.peak_kb = max([self.peak_kb, *peaks])


def main(argv: list[str] | None = None) -> int:
    """Runs the soak; 0: everything came, once, equal and in its place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    patients = max(1, arguments.instances // _A_PATIENT)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pacsifier-soak-") as name:
        folder = Path(name)
        files = make_archive(folder / "archive", patients, 2, 5, 10, 32)
        with start_orthanc(folder / "pacs", files, make_peers()) as server:
            print(f"{len(files)} instances are in Orthanc after {time.monotonic() - began:.0f} s", flush=True)
            soak = Soak(server, folder, patients, random.Random(arguments.seed))
            return _soak(soak, len(files), arguments.minutes * 60)


def _soak(soak: Soak, instances: int, seconds: float) -> int:
    if soak.run("quiet"):
        sys.exit(f"the undisturbed run failed:\n{(soak.folder / 'output.log').read_text()[-3000:]}")
    began = time.monotonic()
    wrong: list[str] = []
    laps = 0
    while not wrong and time.monotonic() - began < seconds:
        if soak.run("soaked", soak.disturb) == 0:
            wrong = _differences(soak.folder / "quiet", soak.folder / "soaked", instances)
            shutil.rmtree(soak.folder / "soaked")
            laps += 1
    ends = (soak.run("soaked") for _ in range(_MOST_RUNS_AT_THE_END))
    if not wrong and 0 not in ends:
        wrong.append(f"no run ended complete:\n{(soak.folder / 'output.log').read_text()[-3000:]}")
    wrong += _differences(soak.folder / "quiet", soak.folder / "soaked", instances)
    print(f"disturbances: {dict(soak.done)}; runs by exit status: {dict(sorted(soak.ends.items()))}")
    print(f"peak memory of a run: {soak.peak_kb // 1024} MB; {time.monotonic() - began:.0f} s of soak")
    print(
        "\n".join(wrong[:20]) or f"{laps + 1} times all {instances} instances: in place, once, byte for byte"
    )
    return 1 if wrong or not soak.done else 0


def _differences(quiet: Path, soaked: Path, instances: int) -> list[str]:
    trees = [{path.relative_to(out) for path in out.glob("sub-*/**/*")} for out in (quiet, soaked)]
    wrong = [f"only in one tree: {path}" for path in trees[0] ^ trees[1]]
    files = [path for path in trees[0] & trees[1] if (quiet / path).is_file()]
    _, mismatched, errors = filecmp.cmpfiles(quiet, soaked, map(str, files), shallow=False)
    wrong += [f"differs: {path}" for path in (*mismatched, *errors)]
    wrong += left_over(soaked, "")
    if len(instance_paths(soaked)) != instances:
        wrong.append(f"{len(instance_paths(soaked))} of {instances} instances")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
