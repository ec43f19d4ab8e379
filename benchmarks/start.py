"""What starting a command costs, in CPU time, from an installed wheel.

    python benchmarks/start.py [--rounds N] [--peer] [--limit MS]

Builds a wheel of this tree, installs it into a virtual environment of its own (where pip compiles the byte code,
as for users), and measures user + system CPU time of whole processes; the rounds of all cases alternate.
`--peer` measures PACSIFIER 1.0.0 from the package index beside it. `--limit` makes the exit status 1 when a
case of pacsifier takes longer (median).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER = "pacsifier==1.0.0"
BASELINE = "python -c pass"


@dataclass
class Case:
    """One command line, the exit status it must have, and the CPU time of each of its runs in ms."""

    name: str
    argv: list[str]
    status: int = 0
    cpu_ms: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Runs it once, all output thrown away."""
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
        pid = os.posix_spawn(self.argv[0], self.argv, os.environ, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        os.close(null)
        if os.waitstatus_to_exitcode(status) != self.status:
            sys.exit(f"{self.name}: exit status {os.waitstatus_to_exitcode(status)}, not {self.status}")
        self.cpu_ms.append(1000 * (usage.ru_utime + usage.ru_stime))


def pip(environment: Path, *arguments: str) -> None:
    """Runs the environment's pip and shows only errors."""
    python = str(environment / "bin/python")
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "-qq", *arguments], check=True)


def install(folder: Path, requirement: str) -> Path:
    """Makes a virtual environment in `folder` that holds `requirement`; returns its bin folder."""
    venv.create(folder, with_pip=True)
    pip(folder, "install", "--compile", requirement)
    return folder / "bin"


def build_wheel(folder: Path) -> str:
    """Builds the wheel of this tree, from a copy of it so that no build folder stays behind."""
    venv.create(folder / "build-env", with_pip=True)
    source = folder / "source"
    source.mkdir()
    names = ["setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "pacsifier"]
    subprocess.run(["cp", "-R", *names, source], cwd=ROOT, check=True)
    pip(folder / "build-env", "wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    return str(next(folder.glob("pacsifier-*.whl")))


def cases(binaries: Path, label: str) -> list[Case]:
    """The command lines that a person waits for without any work being done."""
    program = str(binaries / "pacsifier")
    return [
        Case(f"{label} --help", [program, "--help"]),
        Case(f"{label} --version", [program, "--version"]),
        Case(f"{label} --no-such-option", [program, "--no-such-option"], status=2),
    ]


def report(measured: list[Case]) -> None:
    """Prints one line a case: median, best, worst, and how many times the bare interpreter it is."""
    bare = statistics.median(measured[0].cpu_ms)
    print(f"{'CPU time in ms':34} {'median':>8} {'min':>8} {'max':>8} {'ratio':>7}")
    for case in measured:
        median = statistics.median(case.cpu_ms)
        print(
            f"{case.name:34} {median:8.0f} {min(case.cpu_ms):8.0f} {max(case.cpu_ms):8.0f} {median / bare:7.1f}"
        )


def main() -> int:
    """Builds, installs, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peer", action="store_true", help=f"measure {PEER} too")
    parser.add_argument("--limit", type=float, metavar="MS", help="exit 1 when a median is above this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pacsifier-start-") as name:
        folder = Path(name)
        ours = cases(install(folder / "ours", build_wheel(folder)), "pacsifier")
        baseline = Case(BASELINE, [str(folder / "ours/bin/python"), "-c", "pass"])
        measured = [baseline, *ours]
        if options.peer:
            measured += cases(install(folder / "peer", PEER), PEER)
        for _ in range(options.rounds):
            for case in measured:
                case.run()
    report(measured)
    slow = [case.name for case in ours if options.limit and statistics.median(case.cpu_ms) > options.limit]
    if slow:
        print(f"above {options.limit:.0f} ms: {', '.join(slow)}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
