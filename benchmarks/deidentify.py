"""What de-identifying costs, beside `cp -r` and four other programs, from an installed wheel.

    python benchmarks/deidentify.py [--set A|B|small] [--rounds N] [--only NAME,NAME] [--folder DIR] [--limits]

Set A: 2000 slices of 512x512 with private headers of 64 and 24 kB, as Siemens writes them, and 20 multi-frames of 50
MB; B: 2000 slices of 128x128; small: 200 of B's. Each program gets a virtual environment of its own below a temporary
folder; gdcmanon (Debian: libgdcm-tools) gets a certificate, so that its full profile works. The rounds of all cases
alternate, and every run ends with a sync that counts. Outputs stay until the end (a round of set A needs 2 GB a
program): ext4 passes over inodes deleted in the last minutes one by one, which makes every file that is created after
a removal 1 to 2 ms slower. `--limits` makes the exit status 1 where the table of the project is not met.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from start import build_wheel, install

PEERS = {
    "pacsifier-1.0.0": "pacsifier==1.0.0",
    "dicognito": "dicognito",
    "dicom-anonymizer": "dicom-anonymizer",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
OUT = "<OUT>"
FRAMES_MB = 50
WORKERS = 2
# Of the project's table: name -> least ratio of that program's wall time to ours, for the sets A and B.
LEAST = {"pacsifier-1.0.0": (4, 3), "gdcmanon": (2.5, 1), "dicognito": (7, 4)}
MOST_CP, MOST_CPU_MS, MOST_RSS_MB = 1.2, 0.8, 150


@dataclass
class Case:
    """One program: its command lines for a run, in which OUT stands for a new folder, and what each run took."""

    name: str
    commands: list[list[str]]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    files: int = 0
    failed: int = 0

    def run(self, home: Path) -> None:
        """Runs it once into a new folder."""
        output = home / f"{self.name.replace(' ', '')}-{len(self.wall_s)}"
        os.sync()
        start, cpu, rss = time.perf_counter(), 0.0, 0.0
        for command in ([each.replace(OUT, str(output)) for each in template] for template in self.commands):
            null = os.open(os.devnull, os.O_RDWR)
            actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
            pid = os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=actions)
            _, status, usage = os.wait4(pid, 0)
            os.close(null)
            self.failed += bool(os.waitstatus_to_exitcode(status))
            cpu += usage.ru_utime + usage.ru_stime
            rss = max(rss, usage.ru_maxrss / 1024)
        os.sync()
        self.wall_s.append(time.perf_counter() - start)
        self.cpu_s.append(cpu)
        self.rss_mb.append(rss)
        self.files = sum(path.is_file() for path in output.rglob("*"))


def make_set(folder: Path, name: str) -> int:
    """Writes a set as the documented tree; returns how many files it has."""
    from pacsifier import demo

    studies, series, slices, size = {"A": (4, 5, 50, 512), "B": (4, 5, 50, 128), "small": (2, 2, 25, 128)}[
        name
    ]
    demo.make_archive(folder, 2, studies, series, slices, size)
    for number, patient in enumerate(sorted(folder.iterdir()), 1):
        for study in sorted(patient.iterdir()):
            for home in sorted(study.iterdir()):
                home.rename(home.with_name(f"{home.name[2:].zfill(5)}-bench"))
            study.rename(study.with_name(f"ses-{2000 + int(study.name[2:])}0101120000"))
        patient.rename(patient.with_name(f"sub-BENCH{number:05d}"))
    if name == "A":
        add_private_headers(folder)
        make_multi_frames(folder)
    return sum(path.is_file() for path in folder.rglob("*"))


def add_private_headers(folder: Path) -> None:
    """Puts the two headers of a Siemens image into every file: tags with values, and a protocol in text."""
    import pydicom

    lines = (f"sSliceArray.asSlice[{at}].sPosition.dSag\t = \t{at * 1.5 - 90:.6f}\n" for at in range(1300))
    protocol = "".join(lines).encode()
    tags = b"".join(
        f"Tag{at:03d}".encode().ljust(64, b"\0") + at.to_bytes(20, "little") + b"1.0\0" for at in range(270)
    )
    for number, path in enumerate(sorted(each for each in folder.rglob("*") if each.is_file())):
        ds = pydicom.dcmread(path)
        block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        mark = b"SV10\4\3\2\1" + number.to_bytes(8, "little")
        block.add_new(0x10, "OB", (mark + tags).ljust(24 << 10, b"\0"))
        block.add_new(0x20, "OB", (mark + protocol)[: 64 << 10].ljust(64 << 10, b"\0"))
        ds.save_as(path)


def make_multi_frames(folder: Path) -> None:
    """Twenty multi-frames beside the slices: the first slice's header, with many frames behind it."""
    import pydicom

    from pacsifier import demo

    source = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    home = source.parent.with_name("00099-frames")
    home.mkdir()
    for number in range(20):
        ds = pydicom.dcmread(source)
        frames = FRAMES_MB * (1 << 20) // len(ds.PixelData)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = demo.demo_uid("frames", str(number))
        ds.SeriesInstanceUID, ds.SeriesNumber = demo.demo_uid("frames"), 99
        ds.NumberOfFrames, ds.PixelData = frames, ds.PixelData * frames
        ds["PixelData"].VR = "OW"
        ds.save_as(home / f"MF.{number}")


def cases(source: Path, home: Path, only: list[str]) -> list[Case]:
    """All programs that are asked for, installed."""
    ours = install(home / "ours", build_wheel(home)) / "pacsifier-anonymize"
    command = [str(ours), "-d", str(source), "-o", OUT, "--workers", str(WORKERS), "-a"]
    made = [
        Case("cp -r", [["/bin/cp", "-r", "--reflink=never", str(source), OUT]]),
        Case("ours", [command]),
    ]
    if "gdcmanon" in only:
        made.append(_gdcmanon(source, home))
    chosen = {name: requirement for name, requirement in PEERS.items() if name in only}
    made += [_peer(name, install(home / name, each), source, home) for name, each in chosen.items()]
    return made


def _gdcmanon(source: Path, home: Path) -> Case:
    certificate = home / "certificate.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "9",
        "-subj",
        "/CN=bench",
        "-keyout",
    ]
    subprocess.run([*make, str(home / "key.pem"), "-out", str(certificate)], check=True, capture_output=True)
    program = shutil.which("gdcmanon")
    if program is None:
        sys.exit("gdcmanon is missing: Debian package libgdcm-tools")
    return Case("gdcmanon", [[program, "-e", "-c", str(certificate), "-r", str(source), OUT]])


def _peer(name: str, binaries: Path, source: Path, home: Path) -> Case:
    if name == "dicognito":
        return Case(name, [[str(binaries / "python"), "-m", name, "-q", "-o", OUT, str(source)]])
    if name == "dicom-anonymizer":  # takes a folder of files, not a tree
        leaves = sorted({path.parent for path in source.rglob("*") if path.is_file()})
        program = str(binaries / name)
        targets = [f"{OUT}/{leaf.relative_to(source)}" for leaf in leaves]
        commands = [["/bin/mkdir", "-p", *targets]]
        commands += [[program, str(leaf), target] for leaf, target in zip(leaves, targets, strict=True)]
        return Case(name, commands)
    new_ids = home / "new_ids.json"
    new_ids.write_text(json.dumps({path.name: f"N{at}" for at, path in enumerate(sorted(source.iterdir()))}))
    program = str(binaries / "pacsifier-anonymize")
    made = ["/bin/mkdir", "-p", OUT]
    return Case(name, [made, [program, "-d", str(source), "-o", OUT, "-a", "-n", str(new_ids)]])


def report(measured: list[Case], files: int) -> None:
    """Prints a line a program: medians, and how much longer than `cp -r` and than ours."""
    cp, ours = measured[0], measured[1]
    heads = f"{'medians':18}{'wall s':>9}{'/ cp':>7}{'/ ours':>8}{'CPU s':>8}{'ms a file beyond cp':>21}"
    print(f"{heads}{'peak MB':>9}{'files':>7}")
    for case in measured:
        wall, cpu = statistics.median(case.wall_s), statistics.median(case.cpu_s)
        beyond = 1000 * (cpu - statistics.median(cp.cpu_s)) / files
        print(
            f"{case.name:18}{wall:9.2f}{wall / statistics.median(cp.wall_s):7.2f}"
            f"{wall / statistics.median(ours.wall_s):8.2f}{cpu:8.2f}{beyond:21.2f}"
            f"{max(case.rss_mb):9.0f}{case.files:7}{'  exit status not 0' if case.failed else ''}"
        )


def broken_limits(name: str, measured: list[Case], files: int) -> list[str]:
    """What of the project's table does not hold."""
    medians = {case.name: statistics.median(case.wall_s) for case in measured}
    cpu = {case.name: statistics.median(case.cpu_s) for case in measured}
    broken = []
    if name == "A" and medians["ours"] / medians["cp -r"] > MOST_CP:
        broken.append("ours / cp -r")
    if 1000 * (cpu["ours"] - cpu["cp -r"]) / files > MOST_CPU_MS:
        broken.append("CPU beyond cp -r")
    if max(measured[1].rss_mb) > MOST_RSS_MB:
        broken.append("peak memory")
    at = 0 if name == "A" else 1
    broken += [
        peer
        for peer, least in LEAST.items()
        if peer in medians and medians[peer] / medians["ours"] < least[at]
    ]
    return broken


def main() -> int:
    """Makes the set, installs, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--set", choices=("A", "B", "small"), default="small", dest="name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="gdcmanon,pacsifier-1.0.0,dicognito,dicom-anonymizer")
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument(
        "--limits", action="store_true", help="exit 1 where the table of the project is not met"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pacsifier-deid-", dir=options.folder) as name:
        home = Path(name)
        (home / "out").mkdir()
        # In a process of its own: what is started here inherits the peak memory of the one that starts it.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            files = pool.apply(make_set, (home / "in", options.name))
        measured = cases(home / "in", home, options.only.split(","))
        for _ in range(options.rounds):
            for case in measured:
                case.run(home / "out")
    print(f"set {options.name}: {files} files, {options.rounds} rounds, {WORKERS} workers")
    report(measured, files)
    broken = broken_limits(options.name, measured, files)
    if options.limits and broken:
        print(f"not met: {', '.join(broken)}")
    return int(bool(options.limits and broken))


if __name__ == "__main__":
    sys.exit(main())
