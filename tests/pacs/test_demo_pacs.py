"""`pacsifier-demo-pacs`: what a newcomer tries first works word by word, and ends without a trace of a process."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest

from pacs.servers import LOOPBACK, RawScp, free_port, pacsifier_argv, run_pacsifier
from pacsifier.config import load_pacs_config
from pacsifier.query import read_query_file


def _until(condition: Callable[[], object], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _processes_in(folder: Path) -> list[int]:
    """The live processes that work in a folder: dcmqrscp does."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder.resolve():
                found.append(int(entry.name))
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _argv(folder: Path, port: int, move_port: int) -> list[str]:
    options = ["--port", str(port), "--move_port", str(move_port), "--directory", str(folder)]
    return [sys.executable, "-m", "pacsifier.cli.demo_pacs", *options]


@dataclass
class Demo:
    """A demo PACS that runs, with what it said on stdout when it was ready."""

    folder: Path
    port: int
    move_port: int
    process: subprocess.Popen[str] = field(repr=False)
    said: str = ""

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def query(self) -> Path:
        return self.folder / "query.csv"

    def read_until(self, mark: str, seconds: float = 60) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while mark not in self.said:
                assert selector.select(max(0.0, deadline - time.monotonic())), f"not ready in {seconds} s"
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"ended with {self.process.wait(10)} after {self.said!r}"
                self.said += data.decode()

    def end(self, number: int) -> tuple[int, str]:
        """Sends a signal; the exit status and stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=15)
        return self.process.returncode, said


@contextlib.contextmanager
def _demo(folder: Path, port: int | None = None) -> Iterator[Demo]:
    demo_port, move_port = port or free_port(), free_port()
    process = subprocess.Popen(
        _argv(folder, demo_port, move_port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    demo = Demo(folder, demo_port, move_port, process)
    try:
        demo.read_until("Ctrl-C ends it.\n")
        yield demo
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=15)
        if process.poll() is None:
            process.kill()
            process.communicate()
        assert _until(lambda: not _processes_in(folder)), "dcmqrscp was left behind"


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[Demo]:
    """One demo PACS for the tests that only read from it; its folder has a blank and a quote in its name."""
    with _demo(tmp_path_factory.mktemp("demo") / "Rey's demo") as demo:
        yield demo


def _asked(demo: Demo) -> dict[str, pydicom.Dataset]:
    """The instances of the demo hospital that the demo query names, told here once more by hand."""
    found = {}
    for path in sorted((demo.folder / "hospital").rglob("*")):
        if path.is_file():
            each = pydicom.dcmread(path)
            patient, date = each.PatientID, each.StudyDate
            if (
                (patient, date) == ("123421", "20150512")
                or patient == "45322"
                or date == "20180102"
                or (patient == "124588" and "20150512" <= date <= "20150612")
                or (
                    (each.PatientBirthDate, each.Modality) == ("19920611", "CT")
                    and each.get("ProtocolName", "").startswith("BEAT_SelfNav")
                )
                or (patient == "00123" and each.get("SeriesDescription", "").startswith("DWI"))
                or (str(each.PatientName).startswith("Müller") and each.Modality == "CT")
            ):
                found[str(each.SOPInstanceUID)] = each
    return found


# --- it works ----------------------------------------------------------------------------------------------------


def test_the_files_it_writes_are_sound(demo):
    config = load_pacs_config(demo.config)
    assert (config.server_address, config.port, config.move_port) == (LOOPBACK, demo.port, demo.move_port)
    table = read_query_file(demo.query)
    assert len(table.queries) == 7
    assert not table.notes


def test_what_is_asked_for_comes_complete_and_with_its_pixels(demo, tmp_path):
    out = tmp_path / "images"
    run = run_pacsifier("--save", "--info", "-c", demo.config, "-q", demo.query, "-d", out)
    assert run.returncode == 0, run.stderr
    asked = _asked(demo)
    saved = {}
    for path in out.glob("sub-*/ses-*/*/*"):
        each = pydicom.dcmread(path)
        saved[str(each.SOPInstanceUID)] = each
    assert len(asked) > 50
    assert saved.keys() == asked.keys()
    assert all(pydicom.Dataset(each) == pydicom.Dataset(asked[uid]) for uid, each in saved.items())
    series = {each.SeriesInstanceUID for each in asked.values()}
    assert len(list(out.glob("sub-*/ses-*/*.csv"))) == len(series)


def test_the_commands_it_prints_can_be_pasted_as_they_are(demo, tmp_path):
    lines = [line for line in demo.said.splitlines() if line.startswith("  pacsifier ")]
    assert len(lines) == 2
    for line in lines:
        arguments = shlex.split(line)[1:]
        run = subprocess.run(
            pacsifier_argv(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert "series: 21 found" in run.stderr, run.stderr
        # dcmqrscp tells no ProtocolName and no SeriesDescription: without the images two rows stay undecided.
        assert run.returncode == (0 if "--save" in arguments else 1), run.stderr
    assert not list(tmp_path.iterdir()), "something was written elsewhere"


def test_images_can_be_moved_to_the_second_title(demo, tmp_path):
    query = tmp_path / "query.csv"
    query.write_text("PatientID,Modality\n00123,CT\n", encoding="utf-8")
    with RawScp("OTHER", demo.move_port) as receiver:
        run = run_pacsifier("--move", "-c", demo.config, "-q", query, "-d", tmp_path / "out")
        assert run.returncode == 0, run.stderr
        assert len(receiver.objects) == 8


def test_it_says_what_it_holds(demo):
    held = [path for path in (demo.folder / "hospital").rglob("*") if path.is_file()]
    assert f"{len(held)} instances on port {demo.port}" in demo.said


# --- it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_its_server(number, status, tmp_path):
    with _demo(tmp_path / "demo") as demo:
        assert len(_processes_in(demo.folder)) == 1
        ended, said = demo.end(number)
        assert ended == status
        assert "Traceback" not in said
        assert "--resume" not in said, "there is nothing to resume"
        assert not _processes_in(demo.folder)
        assert _is_free(demo.port)


def test_shooting_it_ends_its_server_too(tmp_path):
    with _demo(tmp_path / "demo") as demo:
        demo.end(signal.SIGKILL)
        assert _until(lambda: not _processes_in(demo.folder) and _is_free(demo.port))


def test_a_server_that_died_is_told(tmp_path):
    with _demo(tmp_path / "demo") as demo:
        for pid in _processes_in(demo.folder):
            os.kill(pid, signal.SIGKILL)
        _, said = demo.process.communicate(timeout=15)
        assert demo.process.returncode == 4
        assert "dcmqrscp" in said


# --- it starts again ---------------------------------------------------------------------------------------------


def test_it_starts_again_in_the_same_directory_with_the_same_images(tmp_path):
    folder = tmp_path / "demo"
    (tmp_path / "all.csv").write_text("PatientID\n00123\n", encoding="utf-8")
    seen = []
    for out in ("first", "second"):
        with _demo(folder) as demo:
            arguments = ("-c", demo.config, "-q", tmp_path / "all.csv", "-d", tmp_path / out)
            run = run_pacsifier("--save", *arguments)
            assert run.returncode == 0, run.stderr
            demo.end(signal.SIGINT)
        seen.append(sorted(path.relative_to(tmp_path / out) for path in (tmp_path / out).glob("sub-*/**/*")))
    assert seen[0] == seen[1]
    assert len(seen[0]) > 20


def _fails(folder: Path, port: int, move_port: int) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        _argv(folder, port, move_port), capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        run = _fails(tmp_path / "demo", port, free_port())
    assert run.returncode == 2
    assert str(port) in run.stderr
    assert "--port" in run.stderr


def _archive(folder: Path) -> dict[str, int]:
    """The files of the archive, and when each was last touched."""
    return {path.name: path.stat().st_ctime_ns for path in sorted((folder / "archive").iterdir())}


def test_a_second_one_on_the_same_port_does_no_harm_to_the_first(demo, tmp_path):
    """The same command line typed into a second terminal, while someone else fetches from the first."""
    before = _archive(demo.folder)
    assert _fails(demo.folder, demo.port, demo.move_port).returncode == 2
    assert _archive(demo.folder) == before
    run = run_pacsifier("--save", "-c", demo.config, "-q", demo.query, "-d", tmp_path / "images")
    assert run.returncode == 0, run.stderr


def test_the_ports_must_differ(tmp_path):
    run = _fails(tmp_path / "demo", 11112, 11112)
    assert run.returncode == 2
    assert "--move_port" in run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "1e3", "²"])
def test_a_port_that_cannot_be_is_a_usage_error(port, tmp_path):
    argv = [
        sys.executable,
        "-m",
        "pacsifier.cli.demo_pacs",
        "--directory",
        str(tmp_path / "demo"),
        "--port",
        port,
    ]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert "--port" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_directory_that_is_a_file_is_named(tmp_path):
    (tmp_path / "demo").write_text("")
    run = _fails(tmp_path / "demo", free_port(), free_port())
    assert run.returncode == 2
    assert str(tmp_path / "demo") in run.stderr


def test_missing_dcmtk_is_told_before_anything_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    argv = [*_argv(tmp_path / "demo", free_port(), free_port()), "--dcmtk_dir", str(tmp_path / "empty")]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 4
    assert "dcmqrscp" in run.stderr
    assert not (tmp_path / "demo").exists()
