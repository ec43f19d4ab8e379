#!/usr/bin/env python3
"""What a report costs: its time, size and memory for 10, 1,000 and 10,000 series, and how long its first page takes.

A folder is made with that many series and the logs of a run, then `pacsifier-report` is timed on it. Beside it stands
the time of the pictures alone, with the same number of processes: what is not decoding is the cost of all the rest.
With --browser the first page, and the last one, are opened in Debian's Chromium.

    benchmarks/report.py [--series 10,1000,10000] [--images 4] [--size 256] [--workers 2] [--browser] [--folder DIR]
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pacsifier.deidentify.crew import shared
from pacsifier.demo import make_archive
from pacsifier.dicom import part10
from pacsifier.query import SERIES_COLUMNS

PATIENT_ID, MODALITY, STUDY, SERIES = 0x00100020, 0x00080060, 0x0020000D, 0x0020000E
PER_PATIENT = 10  # series, in two studies


def made(home: Path, series: int, images: int, size: int) -> Path:
    """A folder as a run leaves it: `series` of so many images of size x size pixels of 16 bits, and its logs."""
    folder = home / f"{series}"
    paths = make_archive(
        folder, max(series // PER_PATIENT, 1), 2, min(series, PER_PATIENT) // 2, images, size
    )
    logs = folder / "logs"
    logs.mkdir(mode=0o700)
    (logs / "made_by_pacsifier").touch()
    with (logs / "series.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, SERIES_COLUMNS, restval="")
        table.writeheader()
        table.writerows(rows_of(paths, images))
    ended = datetime.now().astimezone().isoformat(timespec="seconds")
    line = f'{{"ended_at": "{ended}", "seconds": 60, "did": ["save"], "series": {{}}, "bytes": 1}}\n'
    (logs / "audit.jsonl").write_text(line)
    return folder


def rows_of(paths: Sequence[Path], images: int) -> Iterator[dict[str, object]]:
    for path in paths[::images]:
        file = part10.read(path, (PATIENT_ID, MODALITY, STUDY, SERIES))
        yield {
            "PatientID": file.text(PATIENT_ID),
            "Modality": file.text(MODALITY),
            "StudyInstanceUID": file.text(STUDY),
            "SeriesInstanceUID": file.text(SERIES),
            "announced": images,
            "arrived": images,
            "status": "complete",
            "folder": "here",
        }


class Drawer:
    """Draws the picture of a file, as the report does, and nothing else."""

    def __call__(self, path: Path) -> int:
        from pacsifier.pictures.decoding import frames_of, shown
        from pacsifier.pictures.thumbnail import jpeg
        from pacsifier.report.looking import SMALL_PX

        return len(jpeg(shown(next(iter(frames_of(path, None, {0})))), SMALL_PX))


def drawing(paths: Sequence[Path], workers: int) -> tuple[float, float]:
    """The time and the CPU time of the pictures alone, in seconds."""
    begun, before = time.monotonic(), cpu_s()
    for _ in shared(Drawer, paths, workers):
        pass
    return time.monotonic() - begun, cpu_s() - before


def cpu_s() -> float:
    """CPU time of this process and of those that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in usages)


def reported(folder: Path, workers: int) -> tuple[float, float, float]:
    """The time and the CPU time of the command, in seconds, and the most memory of one of its processes, in MB."""
    command = [sys.executable, "-m", "pacsifier.cli.report", str(folder), "--workers", str(workers)]
    begun = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).resolve().parent.parent)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"pacsifier-report: exit status {process.returncode}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def opening_s(page: Path) -> float:
    """The time from the address to the load event of a page, pictures that are in view included."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.get("about:blank")
        begun = time.monotonic()
        driver.get(page.as_uri())
        return time.monotonic() - begun
    finally:
        driver.quit()


def measure(home: Path, series: int, arguments: argparse.Namespace) -> str:
    folder = made(home, series, arguments.images, arguments.size)
    images = [path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    by_series = {path.parent: path for path in images}
    # Once before, so that both read from the cache.
    for path in images:
        path.read_bytes()
    drawn, drawn_cpu = drawing(list(by_series.values()), arguments.workers)
    took, took_cpu, memory = reported(folder, arguments.workers)
    page = folder / "report.html"
    beside = list((folder / "report_files").glob("*")) if (folder / "report_files").exists() else []
    whole = page.stat().st_size + sum(path.stat().st_size for path in beside)
    pages = 1 + sum(path.suffix == ".html" for path in beside)
    line = (
        f"{len(by_series):7,} {len(images):8,} {took:9.2f} {drawn:9.2f} {took_cpu:8.2f} {drawn_cpu:10.2f}"
        f" {took_cpu / drawn_cpu:6.2f} {page.stat().st_size / 1e6:8.2f} {whole / 1e6:9.1f} {pages:6} {memory:9.0f}"
    )
    if arguments.browser:
        last = folder / "report_files" / f"{pages}.html" if pages > 1 else page
        line += f" {opening_s(page):9.2f} {opening_s(last):8.2f}"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", default="10,1000,10000")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    head = (
        " series   images  report_s drawing_s    cpu_s drawing_cpu  ratio  page_MB  whole_MB  pages memory_MB"
    )
    print(head + ("   first_s   last_s" if arguments.browser else ""))
    for series in map(int, arguments.series.split(",")):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as home:
            print(measure(Path(home), series, arguments), flush=True)


if __name__ == "__main__":
    main()
