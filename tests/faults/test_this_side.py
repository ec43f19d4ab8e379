"""What a user could lose by faults of the own machine: signals, locks, disks, folders, tools, the environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from commands import glimpse
from pacs.runs import (
    MARK,
    Row,
    Run,
    arguments,
    has_received,
    instance_paths,
    left_over,
    port_is_free,
    processes,
    read_table,
    until,
)
from pacs.servers import Server, find_binary, free_port, pacsifier_argv, start_dcmqrscp

from pacsifier.demo import make_archive

LOCALIZER: list[Row] = [{"PatientID": "00123", "SeriesNumber": "1", "Modality": "MR"}]
ARCHIVE: list[Row] = [{"PatientID": "BENCH00001"}]
TOOLS = ("findscu", "movescu", "storescp")
DROP_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Root without the right to pass over the bits of files and folders; for everybody else it changes nothing."""


# --- how a run is started ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(
    args: Sequence[object],
    *,
    prefix: Sequence[str] = (),
    env: Mapping[str, str | None] | None = None,
    patch: str = "",
    **popen: object,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run and its mark; `env` is laid over the environment (None: unset), `patch` is Python that runs before it."""
    mark = uuid.uuid4().hex
    argv = pacsifier_argv(*args)
    if patch:
        code = f"import sys\n{patch}\nfrom pacsifier.cli.retrieve import main\nsys.exit(main())"
        argv = [sys.executable, "-c", code, *map(str, args)]
    environment = {**os.environ, **(env or {}), MARK: mark}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [*prefix, *argv],
        env={name: value for name, value in environment.items() if value is not None},
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
        **{**streams, **popen},
    )
    try:
        yield process, mark
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(args: Sequence[object], out: Path, *, clean: bool = True, **how: object) -> Run:
    """A run to its end; where `clean`, nothing of it may be left."""
    with started(args, **how) as (process, mark):
        stdout, stderr = process.communicate(timeout=90)
    assert not stdout, stdout
    assert "Traceback" not in (stderr or ""), stderr
    if clean:
        assert left_over(out, mark) == []
    return Run(out, process.returncode, stdout or "", stderr or "", mark)


def save(pacs: Server, folder: Path, rows: Sequence[Row] = LOCALIZER, *options: object, **how: object) -> Run:
    """`--save` of the rows into `folder/out`."""
    return ended(arguments(pacs, folder, rows, "--save", *options), folder / "out", **how)


def whole(paths: Sequence[Path], pixels: int) -> bool:
    """Whether pydicom finds so many pixels of 16 bits in each file."""
    return all(len(pydicom.dcmread(path).PixelData) == 2 * pixels for path in paths)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, peers) -> Iterator[Server]:
    """A dcmqrscp with two series of 60 instances of 32 x 32 pixels, so that a run can be caught in mid-transfer."""
    files = make_archive(tmp_path_factory.mktemp("archive"), 1, 1, 2, 60, 32)
    with start_dcmqrscp(tmp_path_factory.mktemp("pacs"), files, peers) as server:
        yield server


# --- signals -----------------------------------------------------------------------------------------------------


def twice(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)


SHOTS: dict[str, tuple[Callable[[subprocess.Popen[str]], object], int]] = {
    "SIGKILL": (lambda process: process.kill(), -9),
    "SIGKILL of the group": (lambda process: os.killpg(process.pid, signal.SIGKILL), -9),
    "SIGTERM": (lambda process: process.terminate(), 143),
    "SIGHUP": (lambda process: process.send_signal(signal.SIGHUP), 129),
    "SIGINT": (lambda process: process.send_signal(signal.SIGINT), 130),
    "SIGINT of the group": (lambda process: os.killpg(process.pid, signal.SIGINT), 130),
    "SIGINT twice": (twice, 130),
}

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the lock is taken": lambda out: (out / ".pacsifier" / "holder.json").exists(),
    "the PACS is asked": lambda out: bool(glimpse(out, ".pacsifier-*/find*")),
    "objects arrive": has_received,
    "objects are placed": lambda out: bool(instance_paths(out)),
}


def waiting(pacs: Server, folder: Path) -> list[object]:
    """The arguments of a run that pauses for a minute after its first series."""
    return arguments(pacs, folder, ARCHIVE, "--save", batch_size=1, batch_wait_time=60)


def shoot(pacs: Server, folder: Path, shot: str, moment: str) -> tuple[int, str, str]:
    """Start a run into `folder/out`, end it so at that moment; its exit status, stderr and mark."""
    act, _ = SHOTS[shot]
    with started(waiting(pacs, folder)) as (process, mark):
        until(lambda: MOMENTS[moment](folder / "out") or process.poll() is not None, 60)
        assert process.poll() is None, f"it ended before it could be shot: {process.communicate()}"
        act(process)
        _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr, mark


@pytest.mark.parametrize(
    ("shot", "moment"),
    [
        *((shot, "objects arrive") for shot in SHOTS),
        *(("SIGKILL of the group", moment) for moment in MOMENTS if moment != "objects arrive"),
        ("SIGTERM", "the PACS is asked"),
        ("SIGTERM", "objects are placed"),
    ],
)
def test_a_run_that_was_ended_leaves_nothing_running_and_can_be_resumed(archive, tmp_path, shot, moment):
    out = tmp_path / "out"
    status, stderr, mark = shoot(archive, tmp_path, shot, moment)
    assert status == SHOTS[shot][1], stderr
    assert "Traceback" not in stderr
    until(lambda: port_is_free(archive.our_port) and not processes(mark), 5)
    assert whole(instance_paths(out), 32 * 32)
    assert {left.stat().st_mode & 0o777 for left in out.glob(".pacsifier*")} <= {0o700}
    if status > 0 and shot != "SIGINT twice":
        assert left_over(out, mark) == []
        begun = (out / "logs" / "pacsifier_log.csv").exists()
        assert ("--resume goes on from here" in stderr) is begun, "only where something was begun"
    log = out / "logs" / "pacsifier_log.csv"
    if log.exists():
        assert {row["Completed"] for row in read_table(log) if row["FilesFound"] != "60"} == {"False"}
    again = save(archive, tmp_path, ARCHIVE, "--resume")
    assert again.status == 0, again.stderr
    assert len(again.files) == 120
    assert whole(list(again.files.values()), 32 * 32)
    assert len(again.log) == 2
    assert {row["Completed"] for row in again.log} == {"True"}


def fake_tools(folder: Path, scripts: Mapping[str, str], real: Sequence[str] = TOOLS) -> Path:
    """A folder with links to DCMTK's tools; those in `scripts` are shell scripts that know their version."""
    folder.mkdir()
    for name in {*real} - {*scripts}:
        (folder / name).symlink_to(find_binary(name))
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def banner(name: str, version: str = "3.6.7") -> str:
    return f"[ \"$1\" = --version ] && exec echo '$dcmtk: {name} v{version} 2022-04-22 $'"


def test_a_second_ctrl_c_waits_for_nothing(archive, tmp_path):
    ready = tmp_path / "ready"
    stubborn = f"{banner('movescu')}\ntrap '' TERM INT\n: >'{ready}'\nwhile :; do sleep 0.05; done"
    tools = fake_tools(tmp_path / "tools", {"movescu": stubborn})
    args = arguments(archive, tmp_path, ARCHIVE, "--save", "--dcmtk_dir", tools)
    with started(args) as (process, mark):
        until(ready.exists, 30)
        process.send_signal(signal.SIGINT)
        # It waits for movescu now; SIGTERM has ended storescp.
        until(lambda: port_is_free(archive.our_port), 10)
        assert process.poll() is None
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - asked < 1
    until(lambda: not processes(mark), 5)
    assert save(archive, tmp_path, ARCHIVE).status == 0


SHOT_AT_FORK = """
import os, signal
forks = iter(range(100))
def shoot():
    if next(forks) == {}:
        os.kill(os.getpid(), signal.SIGTERM)
os.register_at_fork(after_in_parent=shoot)
"""


@pytest.mark.parametrize("fork", [0, 5])
def test_a_signal_is_not_lost_while_a_tool_is_started(archive, tmp_path, fork):
    """Python swallows what a signal handler raises in its callbacks at a fork."""
    stopped = save(archive, tmp_path, ARCHIVE, patch=SHOT_AT_FORK.format(fork))
    assert stopped.status == 143, stopped.stderr
    assert "SIGTERM" in stopped.stderr


def test_a_tool_whose_version_is_asked_does_not_outlive_a_signal(archive, tmp_path):
    slow = tmp_path / "bin" / "findscu"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    path = f"{slow.parent}{os.pathsep}{os.environ['PATH']}"
    stopped = save(archive, tmp_path, ARCHIVE, patch=SHOT_AT_FORK.format(0), env={"PATH": path})
    assert stopped.status == 143, stopped.stderr


SHOT_IN_A_FINALIZER = """
import os, signal, sh
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
signal_, kept = signal.signal, []
def install(number, handler):
    was = signal_(number, handler)
    if number == signal.SIGHUP and not kept:
        kept.append(Last())
        kept[0] = None
    return was
signal.signal = install
"""


def test_a_signal_is_not_lost_in_a_finalizer(archive, tmp_path):
    stopped = save(archive, tmp_path, ARCHIVE, patch=SHOT_IN_A_FINALIZER)
    assert stopped.status == 143, stopped.stderr
    assert "SIGTERM" in stopped.stderr


# --- two runs, one folder ----------------------------------------------------------------------------------------


def test_a_second_run_into_a_folder_is_told_who_holds_it_and_harms_nothing(archive, tmp_path):
    out = tmp_path / "out"
    with started(waiting(archive, tmp_path)) as (process, _):
        until(lambda: len(instance_paths(out)) == 60, 30)
        before = instance_paths(out)
        other = arguments(archive, tmp_path, ARCHIVE, "--save", "--resume", move_port=free_port())
        second = ended(other, out, clean=False)
        assert second.status == 2
        import pwd

        for told in (pwd.getpwuid(os.geteuid()).pw_name, socket.gethostname(), str(process.pid), "since 20"):
            assert told in second.stderr
        assert process.poll() is None
        assert instance_paths(out) == before
        assert len([*out.glob(".pacsifier-*/received")]) == 1
        process.terminate()
        assert process.wait(10) == 143
    assert save(archive, tmp_path, ARCHIVE, "--resume").status == 0


QUICK = "import pacsifier.disk.lock as lock; lock.BEAT_S = 0.1"


def killed(archive: Server, folder: Path) -> Path:
    """Leaves a folder with the lock of a run that was killed; the file that says who it was."""
    shoot(archive, folder, "SIGKILL", "objects arrive")
    until(lambda: port_is_free(archive.our_port), 5)
    return folder / "out" / ".pacsifier" / "holder.json"


def rewrite(holder: Path, age_s: float, **values: str) -> None:
    """Changes what the holder file says, and makes its last sign of life so old."""
    holder.write_text(json.dumps(json.loads(holder.read_text()) | values))
    then = time.time() - age_s
    os.utime(holder, (then, then))


OTHER_MACHINE = {"host": "pc-of-anna", "user": "anna", "boot": "another"}


def test_a_run_on_another_machine_is_taken_at_its_word_and_the_way_on_is_told(archive, tmp_path):
    holder = killed(archive, tmp_path)
    rewrite(holder, 60, **OTHER_MACHINE)
    refused = save(archive, tmp_path, ARCHIVE, "--resume", clean=False)
    assert refused.status == 2
    for told in ("anna", "pc-of-anna", "sign of life", str(holder)):
        assert told in refused.stderr
    holder.unlink()
    assert save(archive, tmp_path, ARCHIVE, "--resume").status == 0


def test_a_run_killed_on_another_machine_does_not_hold_the_folder_for_ever(archive, tmp_path):
    rewrite(killed(archive, tmp_path), 3600, **OTHER_MACHINE)
    again = save(archive, tmp_path, ARCHIVE, "--resume", patch=QUICK)
    assert again.status == 0, again.stderr
    assert "pc-of-anna" in again.stderr
    assert len(again.files) == 120


def test_a_file_system_without_locks_keeps_a_second_run_out_all_the_same(archive, tmp_path):
    out = tmp_path / "out"
    no_locks = (
        "import errno, fcntl, os\n"
        "def refuse(*_): raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))\n"
        "fcntl.flock = refuse"
    )
    with started(waiting(archive, tmp_path), patch=no_locks) as (process, _):
        until(lambda: bool(instance_paths(out)), 30)
        other = arguments(archive, tmp_path, ARCHIVE, "--save", move_port=free_port())
        second = ended(other, out, clean=False, patch=no_locks)
        assert second.status == 2
        assert str(process.pid) in second.stderr
        assert "has no locks" in second.stderr
        process.kill()
        process.wait()
    until(lambda: port_is_free(archive.our_port), 5)
    assert save(archive, tmp_path, ARCHIVE, "--resume", patch=no_locks).status == 0


BARE = """
import errno, fcntl, os
def lacks(module, name, number):
    def refuse(*_, **__): raise OSError(number, os.strerror(number))
    setattr(module, name, refuse)
lacks(fcntl, "flock", errno.ENOSYS)
lacks(os, "chmod", errno.EPERM)
lacks(os, "fchmod", errno.EPERM)
lacks(os, "link", errno.EOPNOTSUPP)
"""


def test_a_file_system_without_locks_rights_and_hard_links_takes_images_all_the_same(archive, tmp_path):
    for more in ((), ("--resume",)):
        done = save(archive, tmp_path, ARCHIVE, "--info", *more, patch=BARE)
        assert done.status == 0, done.stderr
        assert len(done.files) == 120
        assert "has no locks" in done.stderr


# --- other people on this machine --------------------------------------------------------------------------------

SOMEBODY = 71001


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_nothing_that_a_tool_is_told_lies_in_a_folder_of_somebody_else(archive, tmp_path):
    out = tmp_path / "out"
    theirs = out / ".pacsifier"
    theirs.mkdir(parents=True)
    (theirs / "storescp.args").write_text("--exec-on-reception")
    for path in (theirs, theirs / "storescp.args"):
        os.chown(path, SOMEBODY, SOMEBODY)
    theirs.chmod(0o777)
    with started(waiting(archive, tmp_path)) as (process, _):
        until(lambda: bool(instance_paths(out)) or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()
        assert {path.name for path in theirs.iterdir()} <= {"lock", "holder.json", "storescp.args"}
        (staging,) = out.glob(".pacsifier-*")
        assert staging.stat().st_uid == os.geteuid()
        assert staging.stat().st_mode & 0o777 == 0o700
        assert (staging / "storescp.args").stat().st_uid == os.geteuid()
        process.terminate()
        assert process.wait(10) == 143
    assert (theirs / "storescp.args").read_text() == "--exec-on-reception"
    assert list(out.glob(".pacsifier-*")) == []


@pytest.mark.parametrize(
    "name", ["audit.jsonl", "pacsifier_log.csv", ".pacsifier_log.csv.partial", "series.csv"]
)
def test_no_table_of_a_run_is_written_through_a_link(dcmqrscp, tmp_path, name):
    logs = tmp_path / "out" / "logs"
    logs.mkdir(parents=True, mode=0o700)
    (tmp_path / "mine").write_text("mine")
    (logs / name).symlink_to(tmp_path / "mine")
    done = save(dcmqrscp, tmp_path, clean=False)
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(done.files) == 3
    if name == "audit.jsonl":
        assert done.status == 1
        assert "audit.jsonl is a symbolic link" in done.stderr
    else:
        assert done.status == 0, done.stderr
        assert not (logs / "pacsifier_log.csv").is_symlink()


# --- the receive port --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "127.0.0.1"])
def test_a_receive_port_that_is_taken_is_told_with_its_key_before_anything_is_made(
    dcmqrscp, tmp_path, address
):
    with socket.socket() as taken:
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        args = arguments(dcmqrscp, tmp_path, LOCALIZER, "--save", move_port=port)
        refused = ended(args, tmp_path / "out")
    assert refused.status == 2
    for told in (str(port), "move_port", "another program"):
        assert told in refused.stderr
    assert not refused.out.exists()


def test_a_port_that_needs_more_rights_is_told(dcmqrscp, tmp_path):
    args = arguments(dcmqrscp, tmp_path, LOCALIZER, "--save", move_port=1)
    refused = ended(args, tmp_path / "out", prefix=DROP_CAPABILITIES)
    assert refused.status == 2
    assert "more rights" in refused.stderr


# --- the output folder -------------------------------------------------------------------------------------------

HARD_NAMES = ["two words 'and' \"quotes\"", "Zürich 名", "line\nbreak", "-d", "$(id);*a\\b"]


@pytest.mark.parametrize("name", HARD_NAMES)
def test_any_folder_name_will_do(dcmqrscp, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    done = save(dcmqrscp, folder, LOCALIZER, "--info")
    assert done.status == 0, done.stderr
    assert len(done.files) == 3
    assert {row["Completed"] for row in done.log} == {"True"}


def test_a_link_to_a_folder_will_do(dcmqrscp, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    done = save(dcmqrscp, tmp_path)
    assert done.status == 0, done.stderr
    assert len(instance_paths(tmp_path / "real")) == 3


def make_file(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")


def make_link(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    path.symlink_to(elsewhere)


def make_barred(path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o500)


@pytest.mark.parametrize(
    ("what", "make", "said"),
    [
        ("out", make_file, "not a folder"),
        ("out", make_barred, "Permission denied"),
        ("out/logs", make_file, "is a file"),
        ("out/logs", make_link, "is a link"),
        ("out/logs", make_barred, "Permission denied"),
        ("out/.pacsifier", make_file, "is a file"),
        ("out/.pacsifier", make_link, "is a link"),
        ("out/.pacsifier", make_barred, "Permission denied"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_before_the_pacs_is_asked(dcmqrscp, tmp_path, what, make, said):
    path = tmp_path / what
    make(path)
    before = sorted(tmp_path.rglob("*"))
    refused = save(dcmqrscp, tmp_path, clean=False, prefix=DROP_CAPABILITIES)
    assert refused.status == 2, refused.stderr
    assert str(path) in refused.stderr
    assert said in refused.stderr
    inputs = {tmp_path / "config.json", tmp_path / "query.csv"}
    assert sorted({*tmp_path.rglob("*")} - inputs) == before


def test_a_folder_whose_parent_cannot_be_written_is_told(dcmqrscp, tmp_path):
    (tmp_path / "deep").mkdir()
    args = arguments(dcmqrscp, tmp_path / "deep", LOCALIZER, "--save")
    (tmp_path / "deep").chmod(0o500)
    refused = ended(args, tmp_path / "deep" / "out", prefix=DROP_CAPABILITIES)
    assert refused.status == 2
    assert "Permission denied" in refused.stderr


def test_a_folder_on_path_that_may_not_be_searched_stops_no_run(dcmqrscp, tmp_path):
    barred = tmp_path / "root" / "bin"
    barred.mkdir(parents=True)
    (tmp_path / "root").chmod(0)
    path = f"{barred}{os.pathsep}{os.environ['PATH']}"
    done = save(dcmqrscp, tmp_path, prefix=DROP_CAPABILITIES, env={"PATH": path})
    (tmp_path / "root").chmod(0o700)
    assert done.status == 0, done.stderr


def test_a_folder_of_dcmtk_that_may_not_be_searched_is_told(dcmqrscp, tmp_path):
    tools = fake_tools(tmp_path / "tools", {})
    tools.chmod(0)
    refused = save(dcmqrscp, tmp_path, LOCALIZER, "--dcmtk_dir", tools, prefix=DROP_CAPABILITIES)
    tools.chmod(0o700)
    assert refused.status == 4, refused.stderr
    assert f"{tools} may not be searched: Permission denied" in refused.stderr


def test_an_input_that_may_not_be_looked_at_is_named(dcmqrscp, tmp_path):
    args = arguments(
        dcmqrscp, tmp_path, LOCALIZER, "--save", "--capabilities", tmp_path / "barred" / "c.json"
    )
    (tmp_path / "barred").mkdir(mode=0)
    refused = ended(args, tmp_path / "out", prefix=DROP_CAPABILITIES)
    assert refused.status in (1, 2)
    assert "Permission denied" in refused.stderr
    assert str(tmp_path / "barred" / "c.json") in refused.stderr


def test_a_patients_folder_of_somebody_else_loses_nothing_and_is_told(dcmqrscp, tmp_path):
    rows = [*LOCALIZER, {"PatientID": "SYN 05", "SeriesNumber": "201"}]
    folder = tmp_path / "out" / "sub-00123"
    make_barred(folder)
    done = save(dcmqrscp, tmp_path, rows, prefix=DROP_CAPABILITIES)
    assert done.status == 1
    assert "Permission denied" in done.stderr
    assert "00123" not in done.stderr
    folder.chmod(0o700)
    again = save(dcmqrscp, tmp_path, rows, "--resume")
    assert again.status == 0
    assert {path.parts[-4] for path in again.files.values()} == {"sub-00123", "sub-SYN_05"}


def test_a_log_that_can_no_longer_be_written_is_told(archive, tmp_path):
    out = tmp_path / "out"
    with started(waiting(archive, tmp_path), prefix=DROP_CAPABILITIES) as (process, mark):
        until(lambda: len(instance_paths(out)) == 60, 30)
        (out / "logs").chmod(0o500)
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "logs cannot be written to: Permission denied" in stderr
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    (out / "logs").chmod(0o700)
    # A table that was being written just then cannot be removed; the next run does that.
    assert [
        path for path in left_over(out, mark) if not path.endswith("/logs/.pacsifier_log.csv.partial")
    ] == []
    assert save(archive, tmp_path, ARCHIVE, "--resume").status == 0
    assert left_over(out, mark) == []


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_the_tree_is_nothing_for_others_and_logs_are_always_private(dcmqrscp, tmp_path, mask):
    done = save(dcmqrscp, tmp_path, LOCALIZER, "--info", umask=mask)
    assert done.status == 0
    assert {path.stat().st_mode & 0o777 for path in done.files.values()} == {0o660 & ~mask}
    folders = {path.parent for path in done.files.values()} | {done.out}
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o770 & ~mask}
    # `ended` has looked at their modes.
    assert (done.out / "logs" / "pacsifier_log.csv").exists()


def test_logs_that_an_older_version_left_open_to_all_are_closed(dcmqrscp, tmp_path):
    (tmp_path / "out" / "logs").mkdir(parents=True)
    (tmp_path / "out" / "logs").chmod(0o755)
    assert save(dcmqrscp, tmp_path).status == 0


# --- disks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mounts:
    """A mount namespace of its own: what is mounted there is gone with it, whatever becomes of the test."""

    holder: subprocess.Popen[str]
    prefix: tuple[str, ...]

    def run(self, command: str, *args: object) -> None:
        """Runs a line of shell there, with the arguments as $1 and so on."""
        subprocess.run([*self.prefix, "sh", "-ec", command, "sh", *map(str, args)], check=True)

    def seen(self, path: Path) -> Path:
        """A path there, as it can be reached from here."""
        return Path(f"/proc/{self.holder.pid}/root") / path.relative_to("/")


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    argv = ["unshare", "--mount", *user, "sh", "-c", "echo ready; exec cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        if holder.stdout.readline() != "ready\n":
            holder.wait(10)
            reason = "unshare cannot make a mount namespace here, as in a chroot whose root is no mount point"
            # CI leaves nothing untried.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        enter = ("nsenter", "--mount", *(("--user", "--preserve-credentials") if user else ()))
        yield Mounts(holder, (*enter, "--target", str(holder.pid)))
        holder.stdin.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory, peers) -> Iterator[Server]:
    """A dcmqrscp with four series of 12 MB together: 24 instances each of 256 x 256 pixels."""
    files = make_archive(tmp_path_factory.mktemp("large"), 1, 1, 4, 24, 256)
    with start_dcmqrscp(tmp_path_factory.mktemp("pacs"), files, peers) as server:
        yield server


@pytest.mark.parametrize(
    ("size", "options"),
    [("2m", ["--min_free", "0"]), ("3m", ["--min_free", "0"]), ("8m", ["--min_free", "0"]), ("8m", [])],
)
def test_a_full_disk_is_told_and_costs_nothing_but_another_run(large, tmp_path, mounts, size, options):
    out = tmp_path / "out"
    out.mkdir()
    mounts.run('mount -t tmpfs -o "size=$2,mode=700" tmpfs "$1"', out, size)
    seen = mounts.seen(out)
    args = arguments(large, tmp_path, ARCHIVE, "--save", *options)
    with started(args, prefix=mounts.prefix) as (process, mark):
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    assert "No space left" in stderr or "make room" in stderr, stderr
    assert "--resume" in stderr
    until(lambda: not processes(mark), 5)
    assert left_over(seen, mark) == []
    placed = instance_paths(seen)
    assert whole(placed, 256 * 256)
    log = read_table(seen / "logs" / "pacsifier_log.csv")
    assert len(log) == 4
    assert sum(int(row["FilesFound"]) for row in log) == len(placed)
    assert all(row["FilesFound"] == "24" for row in log if row["Completed"] == "True")
    assert len(read_table(seen / "logs" / "redo.csv")) == 1
    mounts.run('mount -o remount,size=64m "$1"', out)
    with started([*args, "--resume", "--min_free", "1MB"], prefix=mounts.prefix) as (process, mark):
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert left_over(seen, mark) == []
    assert len(instance_paths(seen)) == 96
    assert whole(instance_paths(seen), 256 * 256)


READ_ONLY = """
mount --bind "$1" "$1"
while read -r _ point _ options _; do
    case $point in /proc*|/sys*|/dev*|"$1") ;; *) mount -o remount,bind,ro "$point" 2>/dev/null || true ;; esac
done </proc/self/mounts
! touch "$1/../x" 2>/dev/null
"""


def test_no_place_but_the_output_folder_is_written_to(dcmqrscp, tmp_path, mounts):
    args = arguments(dcmqrscp, tmp_path, LOCALIZER, "--save", "--info")
    out = tmp_path / "out"
    out.mkdir()
    mounts.run(READ_ONLY, out)
    done = ended(args, out, prefix=mounts.prefix, env={"TMPDIR": None, "HOME": None})
    assert done.status == 0, done.stderr
    assert len(done.files) == 3


def test_an_output_folder_on_a_read_only_disk_is_told(dcmqrscp, tmp_path, mounts):
    args = arguments(dcmqrscp, tmp_path, LOCALIZER, "--save")
    (tmp_path / "other").mkdir()
    mounts.run(READ_ONLY, tmp_path / "other")
    refused = ended(args, tmp_path / "out", prefix=mounts.prefix)
    assert refused.status == 2
    assert "Read-only file system" in refused.stderr


def test_an_upload_needs_a_temporary_folder_and_says_which(orthanc, hospital, tmp_path, mounts):
    config = orthanc.write_config(tmp_path / "config.json")
    images = tmp_path / "images"
    images.mkdir()
    record = hospital.by_patient["00123"][0]
    (images / "one").write_bytes(record.path.read_bytes())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mounts.run(READ_ONLY, temporary)
    args = ["--upload", "-c", config, "-ud", images]
    refused = ended(args, images, prefix=mounts.prefix, env={"TMPDIR": None})
    assert refused.status == 2
    assert "TMPDIR" in refused.stderr
    done = ended(args, images, prefix=mounts.prefix, env={"TMPDIR": str(temporary)})
    assert done.status == 0, done.stderr
    assert list(temporary.iterdir()) == []


# --- DCMTK -------------------------------------------------------------------------------------------------------

IN_HASTE = "import pacsifier.dcmtk.binaries as binaries; binaries._VERSION_S = 0.3"


@pytest.mark.parametrize("missing", TOOLS)
def test_one_tool_that_is_missing_is_named_before_anything_is_made(dcmqrscp, tmp_path, missing):
    tools = fake_tools(tmp_path / "tools", {}, [name for name in TOOLS if name != missing])
    refused = save(dcmqrscp, tmp_path, LOCALIZER, "--dcmtk_dir", tools)
    assert refused.status == 4
    assert f"{missing} was not found in {tools}" in refused.stderr
    assert "install DCMTK" in refused.stderr
    assert not refused.out.exists()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exec sleep 600", "has not ended after"),
        ("sleep 600 & exec sleep 600", "has not ended after"),
        ("echo 'libdcmnet.so.17: cannot open shared object file' >&2; exit 127", "libdcmnet.so.17"),
        ("kill -ILL $$", "does not run"),
        ("echo 'dcm4che movescu 5.31.0'", "is not DCMTK's movescu"),
        ("echo 'movescu.py: error: unrecognized arguments' >&2; exit 2", "is not DCMTK's movescu"),
        ("echo '$dcmtk: movescu v3.6.5 2019-10-28 $'", "3.6.6 or later"),
    ],
    ids=["hangs", "hangs with a child", "lacks a library", "crashes", "dcm4che", "pynetdicom", "old"],
)
def test_a_tool_that_does_not_work_is_told_with_its_path_and_a_remedy(dcmqrscp, tmp_path, does, said):
    tools = fake_tools(tmp_path / "tools", {"movescu": does})
    refused = save(dcmqrscp, tmp_path, LOCALIZER, "--dcmtk_dir", tools, patch=IN_HASTE)
    assert refused.status == 4, refused.stderr
    assert said in refused.stderr
    assert str(tools / "movescu") in refused.stderr
    assert not refused.out.exists()


@pytest.mark.parametrize(
    ("value", "status"), [("", 0), ("right", 0), ("wrong", 4), ("/no/such/folder", 4), ("tools/findscu", 4)]
)
def test_the_folder_of_dcmtk_in_the_environment_is_taken_at_its_word(dcmqrscp, tmp_path, value, status):
    fake_tools(tmp_path / "right", {})
    fake_tools(tmp_path / "wrong", {}, ["findscu"])
    folder = str(tmp_path / value) if value else ""
    done = save(dcmqrscp, tmp_path, env={"PACSIFIER_DCMTK_DIR": folder})
    assert done.status == status, done.stderr
    assert status == 0 or folder in done.stderr


def test_a_data_dictionary_that_is_not_there_is_not_blamed_on_the_pacs(dcmqrscp, tmp_path):
    refused = save(dcmqrscp, tmp_path, env={"DCMDICTPATH": "/no/such/dicom.dic"})
    assert refused.status == 4
    assert "DCMDICTPATH" in refused.stderr
    assert not refused.out.exists()


# --- the environment ---------------------------------------------------------------------------------------------

NO_LOCALE = {"LANG": None, "LC_ALL": None, "LC_CTYPE": None, "LANGUAGE": None}
ASCII_ONLY = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "env",
    [
        NO_LOCALE | {"LC_ALL": "C"},
        NO_LOCALE,
        NO_LOCALE | ASCII_ONLY | {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii:strict"},
        {"HOME": None, "USER": None, "LOGNAME": None, "TMPDIR": None, "SHELL": None, "TERM": None},
        {"HOME": "/proc", "LC_ALL": "xx_YY.nonsense", "TZ": "Mars/Olympus"},
    ],
    ids=["C", "no locale", "ASCII strict", "no HOME", "HOME read-only, locale unknown"],
)
def test_accents_survive_any_environment(orthanc, hospital, tmp_path, env):
    folder = tmp_path / "Zürich 名"
    folder.mkdir()
    rows = [{"PatientID": "45322"}, {"PatientName": "Šimůnek Größe 名"}]
    done = save(orthanc, folder, rows, "--info", "-v", env=env)
    assert [row["reason"].partition(":")[0] for row in done.redo] == ["not_found"], done.stderr
    assert done.redo[0]["PatientName"] == rows[1]["PatientName"]
    assert done.files.keys() == {record.sop_uid for record in hospital.by_patient["45322"]}
    wanted = {record.series_description for record in hospital.by_patient["45322"]} - {None}
    told = {
        row["SeriesDescription"] for path in done.out.glob("sub-*/ses-*/*.csv") for row in read_table(path)
    }
    assert not all(map(str.isascii, wanted))
    assert told - {""} == wanted


JUMPING_CLOCK = """
import itertools, time
true, jumps = time.time, itertools.cycle((0, 86400 * 365, -86400 * 365, 3600, -7200))
time.time = lambda: true() + next(jumps)
"""


def test_a_clock_that_jumps_changes_nothing(archive, tmp_path):
    for _ in range(2):
        done = save(archive, tmp_path, ARCHIVE, "--resume", patch=JUMPING_CLOCK + QUICK)
        assert done.status == 0, done.stderr
        assert len(done.files) == 120


def test_a_tree_from_the_future_is_resumed_all_the_same(archive, tmp_path):
    first = save(archive, tmp_path, ARCHIVE)
    ahead = time.time() + 86400 * 365
    for path in (first.out, *first.out.rglob("*")):
        os.utime(path, (ahead, ahead))
    sorted(first.files.values())[0].unlink()
    again = save(archive, tmp_path, ARCHIVE, "--resume")
    assert again.status == 0
    assert again.files.keys() == first.files.keys()


# --- standard streams --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "streams", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full"]
)
def test_closed_or_full_streams_change_nothing(dcmqrscp, tmp_path, streams):
    args = arguments(dcmqrscp, tmp_path, LOCALIZER, "--save", "--info", "-vv")
    done = ended(args, tmp_path / "out", prefix=["sh", "-c", f'exec "$@" {streams}', "sh"])
    assert done.status == 0, done.stderr
    assert len(done.files) == 3
    assert {row["Completed"] for row in done.log} == {"True"}
    # What was meant for the console must not stand in a file that took its number.
    texts = [path.read_text() for path in done.out.rglob("*.csv")]
    assert not any("INFO" in text or "rows: 1" in text for text in texts)


@pytest.mark.parametrize("rows", [LOCALIZER, [{"PatientID": "NOSUCH"}]], ids=["complete", "not found"])
def test_a_console_that_is_gone_does_not_end_the_run(dcmqrscp, tmp_path, rows):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as broken:
        args = arguments(dcmqrscp, tmp_path, rows, "--save", "-vv")
        done = ended(args, tmp_path / "out", stdout=broken, stderr=broken)
    assert done.status == (0 if rows == LOCALIZER else 1)
    assert len(done.files) == (3 if rows == LOCALIZER else 0)


@pytest.mark.parametrize("streams", [">/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("option", "status"), [("--version", 0), ("--nonsense", 2)])
def test_closed_streams_do_not_change_the_status_of_a_word(tmp_path, streams, option, status):
    done = ended(
        [option], tmp_path, prefix=["sh", "-c", f'exec "$@" {streams}', "sh"], stdout=subprocess.DEVNULL
    )
    assert done.status == status
