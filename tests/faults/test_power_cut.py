"""The power fails right after a run has said that all is there: what lies on the disk itself is looked at.

A file system on a loop device stands for the disk; a copy of its image is what a power cut would have left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pacs.runs import instance_paths, read_table, run
from pacs.servers import read_record

from faults.test_far_side import BRAIN, QUICK, body, of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system whose image is `disk.img` beside it; it writes nothing by itself for minutes."""
    if os.geteuid():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root may mount a file system; CI does")
    image, mounted = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop,commit=300", image, mounted], check=True)
    yield mounted
    subprocess.run(["umount", mounted], check=True)


@pytest.fixture
def after_the_cut(disk: Path, tmp_path: Path) -> Iterator[Path]:
    """Where what has survived is mounted; to be filled by `cut`."""
    mounted = tmp_path / "survived"
    mounted.mkdir()
    yield mounted
    if os.path.ismount(mounted):
        subprocess.run(["umount", mounted], check=True)


def cut(disk: Path, survived: Path) -> Path:
    """Copies the image as it is now, and mounts the copy."""
    copy = disk.with_name("copy.img")
    subprocess.run(["cp", "--sparse=always", disk.with_name("disk.img"), copy], check=True)
    subprocess.run(["mount", "-o", "loop", copy, survived], check=True)
    return survived


def test_images_that_the_log_calls_complete_are_on_the_disk(
    quirky, hospital, tmp_path, disk, after_the_cut
) -> None:
    work = disk / "work"
    work.mkdir()
    done = run(quirky(), work, [BRAIN], "--save", "--min_free", "1MB", *QUICK)
    assert done.status == 0, done.stderr
    survived = cut(disk, after_the_cut) / done.out.relative_to(disk)
    log = read_table(survived / "logs" / "pacsifier_log.csv")
    assert {row["Completed"] for row in log} == {"True"}
    expected = {record.sop_uid: body(record.path) for record in of(hospital, BRAIN)}
    assert {read_record(path).sop_uid: body(path) for path in instance_paths(survived)} == expected


def test_images_of_a_killed_run_are_on_the_disk_before_resume_calls_them_complete(
    quirky, hospital, tmp_path, disk, after_the_cut
) -> None:
    work = disk / "work"
    work.mkdir()
    pacs = quirky()
    run(pacs, work, [BRAIN], "--save", "--min_free", "1MB", *QUICK)
    # As a killed run leaves them: in place, not on the disk, in no log.
    (work / "out" / "logs" / "pacsifier_log.csv").unlink()
    for path in instance_paths(work / "out"):
        path.write_bytes(path.read_bytes())
    done = run(pacs, work, [BRAIN], "--save", "--resume", "--min_free", "1MB", *QUICK)
    assert {(row["Status"], row["Completed"]) for row in done.log} == {("skipped", "True")}
    survived = cut(disk, after_the_cut) / done.out.relative_to(disk)
    expected = {record.sop_uid: body(record.path) for record in of(hospital, BRAIN)}
    assert {read_record(path).sop_uid: body(path) for path in instance_paths(survived)} == expected


def test_images_that_anonymize_has_written_are_on_the_disk(hospital, tmp_path, disk, after_the_cut) -> None:
    (disk / "work").mkdir()
    command = [
        sys.executable,
        "-m",
        "pacsifier.cli.anonymize",
        "-d",
        hospital.folder,
        "-o",
        disk / "work" / "out",
    ]
    subprocess.run([*map(str, command), "--workers", "2"], check=True, cwd=ROOT, capture_output=True)
    written = {path.relative_to(disk): path.read_bytes() for path in (disk / "work" / "out").rglob("*.dcm")}
    assert written
    survived = cut(disk, after_the_cut)
    assert {name: (survived / name).read_bytes() for name in written} == written
