"""The staging folder of a run: nobody else can exchange what the tools are told, and nothing of it stays."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pacsifier.dcmtk import toolbox
from pacsifier.disk import holder as holders
from pacsifier.disk import staging
from pacsifier.disk.holder import Holder
from pacsifier.disk.lock import OutputLock, file_lock
from pacsifier.disk.names import is_staging, is_work_folder, staging_name
from pacsifier.disk.walk import Walk
from pacsifier.errors import InputError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")

VERSION = "$dcmtk: echoscu v3.6.7 2022-04-22 $"
ANNA, BOB, PROJECT = 71001, 71002, 71000


def test_each_run_has_a_staging_folder_of_its_own_that_no_walk_enters(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        with OutputLock(tmp_path) as lock:
            names.append(lock.staging.name)
            assert stat.S_IMODE(lock.staging.stat().st_mode) == 0o700
            (lock.staging / "MR.1").touch()
            assert list(Walk(tmp_path)) == []
    assert len({*names}) == 2
    assert all(map(is_staging, names))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (".pacsifier", True),
        (".pacsifier-0123456789abcdef", True),
        (".pacsifier-notes", False),
        (".pacsifier-0123456789ABCDEF", False),
        ("pacsifier", False),
        (".pacsifier-0123456789abcdef0", False),
    ],
)
def test_a_folder_of_the_user_is_not_taken_for_one_of_ours(name: str, ours: bool) -> None:
    assert is_work_folder(name) is ours


def test_what_killed_runs_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    left = tmp_path / staging_name() / "received"
    left.mkdir(parents=True)
    (left / "MR.1").write_bytes(b"half")
    (tmp_path / ".pacsifier-mine").mkdir()
    with OutputLock(tmp_path):
        assert not left.parent.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".pacsifier-mine"]


def test_what_cannot_be_removed_is_named_and_stops_no_run(tmp_path: Path, monkeypatch, caplog) -> None:
    left = tmp_path / staging_name()
    left.mkdir()
    monkeypatch.setattr(staging.shutil, "rmtree", lambda *_, **__: None)
    with OutputLock(tmp_path):
        pass
    assert left.is_dir()
    assert str(left) in caplog.text
    assert "cannot be removed" in caplog.text


def test_a_link_under_the_name_of_a_staging_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "image").touch()
    (tmp_path / staging_name()).symlink_to(tmp_path / "mine")
    with OutputLock(tmp_path):
        pass
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["image"]


# --- who owns what -----------------------------------------------------------------------------------------------


def test_files_that_a_server_gives_to_another_user_are_ours_all_the_same(tmp_path: Path, monkeypatch) -> None:
    """NFS with root_squash, or with all users mapped to one: what we make belongs to somebody else."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 12345)
    with OutputLock(tmp_path) as lock:
        assert lock.staging.is_dir()
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_a_folder_of_somebody_else_in_the_place_of_ours_is_refused(tmp_path: Path, monkeypatch) -> None:
    true = staging.Path.mkdir

    def exchanged(path: Path, *args: object, **named: object) -> None:
        true(path, *args, **named)
        if is_staging(path.name):
            os.chown(path, ANNA, ANNA)

    monkeypatch.setattr(staging.Path, "mkdir", exchanged)
    with pytest.raises(InputError, match="exchanged"), OutputLock(tmp_path):
        pass


@needs_root
@pytest.mark.parametrize("moment", ["before the command file", "after it"])
def test_no_tool_starts_in_a_folder_that_somebody_has_exchanged(tmp_path: Path, monkeypatch, moment) -> None:
    """Whoever may write to the output folder can rename what lies in it; not what a tool is told."""
    folder = tmp_path / staging_name()
    folder.mkdir(mode=0o700)
    tool = tmp_path / "echoscu"
    tool.write_text(
        f"#!/bin/sh\n[ $# = 1 ] && [ $1 != --version ] && touch {tmp_path}/started\necho '{VERSION}'\n"
    )
    tool.chmod(0o755)
    write = toolbox._write_private

    def exchange() -> None:
        folder.rename(tmp_path / "aside")
        folder.mkdir(mode=0o777)
        (folder / "x.args").write_text("theirs")
        for path in (folder, folder / "x.args"):
            os.chown(path, ANNA, ANNA)

    def written(path: Path, text: str) -> int:
        if moment == "before the command file":
            exchange()
            return write(path, text)
        owner = write(path, text)
        exchange()
        return owner

    monkeypatch.setattr(toolbox, "_write_private", written)
    with toolbox.Toolbox(tmp_path) as tools, pytest.raises(InputError, match="exchanged"):
        tools.start("echoscu", ["told"], folder, "x")
    assert not (tmp_path / "started").exists()


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder that a group shares, where every user can get to."""
    folder = Path(tempfile.mkdtemp(prefix="project-", dir="/var/tmp"))
    folder.chmod(0o755)
    shared = folder / "shared"
    shared.mkdir()
    os.chown(shared, ANNA, PROJECT)
    shared.chmod(0o2770)
    yield shared
    shutil.rmtree(folder)


HOLD = """
import os, sys
from pathlib import Path
from pacsifier.disk.lock import OutputLock
from pacsifier.errors import InputError
os.umask(0o022)
try:
    with OutputLock(Path(sys.argv[1])) as lock:
        (lock.staging / "received").mkdir()
        if sys.argv[2] == "is killed":
            os.kill(os.getpid(), 9)
        elif sys.argv[2] == "waits":
            print("holds", flush=True)
            sys.stdin.read()
        else:
            (lock.folder / ("sub-" + str(os.getuid()))).mkdir()
except InputError as error:
    sys.exit(str(error))
"""


def as_user(user: int, folder: Path, does: str) -> subprocess.Popen[str]:
    """A run of that user, member of the project, with a umask of 022."""
    who = ("setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={PROJECT}")
    return subprocess.Popen(
        [*who, sys.executable, "-c", HOLD, str(folder), does],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@needs_root
@pytest.mark.parametrize("first", ["ends", "is killed"])
def test_two_colleagues_can_use_a_shared_folder_one_after_the_other(project: Path, first: str) -> None:
    assert as_user(ANNA, project, first).wait() == (0 if first == "ends" else -9)
    with as_user(BOB, project, "ends") as bob:
        _, stderr = bob.communicate()
    assert bob.returncode == 0, stderr
    assert (project / f"sub-{BOB}").is_dir()
    left = [path for path in project.iterdir() if path.name.startswith(".")]
    if first == "ends":
        assert left == []
    else:
        # What lies in it is nobody's business but Anna's; her next run removes it.
        assert [stat.S_IMODE(path.stat().st_mode) & 0o777 for path in left] == [0o700]
        assert str(left[0]) in stderr
        assert as_user(ANNA, project, "ends").wait() == 0
        assert not [path for path in project.iterdir() if path.name.startswith(".")]


@needs_root
def test_two_colleagues_cannot_use_a_shared_folder_at_once(project: Path) -> None:
    with as_user(ANNA, project, "waits") as anna:
        assert anna.stdout.readline() == "holds\n"
        with as_user(BOB, project, "ends") as bob:
            _, stderr = bob.communicate()
        anna.communicate("")
    assert bob.returncode == 1
    assert f"in use by a run of user {ANNA}" in stderr


@needs_root
def test_the_lock_of_somebody_who_does_not_share_it_is_named_with_its_owner(project: Path) -> None:
    (project / ".pacsifier").mkdir(mode=0o700)
    os.chown(project / ".pacsifier", ANNA, ANNA)
    with as_user(BOB, project, "ends") as bob:
        _, stderr = bob.communicate()
    assert bob.returncode == 1
    assert f"belongs to user {ANNA}" in stderr
    assert "remove it" in stderr


# --- what others may have laid in the folder of the lock ----------------------------------------------------------


def test_a_record_that_is_a_link_or_a_pipe_or_a_flood_leads_nowhere(tmp_path: Path) -> None:
    record = tmp_path / "holder.json"
    true = tmp_path / "true.json"
    true.write_text(json.dumps(asdict(replace(Holder(), process="1"))))
    record.symlink_to(true)
    with pytest.raises(OSError):
        Holder.read(record)
    record.unlink()
    os.mkfifo(record)
    assert Holder.read(record) == Holder()
    record.unlink()
    with record.open("wb") as file:
        file.truncate(1 << 40)
    assert Holder.read(record) == Holder()


def test_a_link_in_the_place_of_the_record_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("{}")
    os.utime(tmp_path / "mine", (1, 1))
    (tmp_path / "out" / ".pacsifier").mkdir(parents=True)
    (tmp_path / "out" / ".pacsifier" / "holder.json").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="symbolic link"), OutputLock(tmp_path / "out"):
        pass
    assert (tmp_path / "mine").stat().st_mtime == 1


# --- the lock of one file ----------------------------------------------------------------------------------------

GONE = {"process": "4194400", "started": "1"}


@pytest.fixture
def no_flock(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_flock")
def test_a_file_is_guarded_where_there_are_no_locks(tmp_path: Path, monkeypatch) -> None:
    with file_lock(tmp_path / ".key.lock"):
        monkeypatch.setattr("pacsifier.disk.lock.STALE_S", 0.1)
        with pytest.raises(InputError, match=str(os.getpid())), file_lock(tmp_path / ".key.lock"):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_flock")
def test_a_killed_run_guards_no_file_for_ever(tmp_path: Path) -> None:
    record = tmp_path / ".key.lock.holder.json"
    holders.publish(replace(Holder.of_this_process(), **GONE), record)
    with file_lock(tmp_path / ".key.lock"):
        assert Holder.read(record).process == str(os.getpid())
    assert list(tmp_path.iterdir()) == []
