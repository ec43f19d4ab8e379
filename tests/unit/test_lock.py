"""The run lock: two runs never share an output folder, a killed one never holds it for ever."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pacsifier.disk import lock, staging
from pacsifier.disk.holder import Holder, Judgement, judge, judge_life, start_time
from pacsifier.disk.lock import OutputLock, temporary_folder
from pacsifier.errors import InputError

# --- one run after the other -----------------------------------------------------------------------------------------


def test_two_runs_cannot_share_an_output_folder(tmp_path: Path) -> None:
    with OutputLock(tmp_path) as first:
        (first.staging / "received").mkdir()
        with pytest.raises(InputError, match="in use"), OutputLock(tmp_path):
            pass
        assert (first.staging / "received").is_dir(), "the refused run must leave the other's objects alone"
    with OutputLock(tmp_path):
        pass


def test_a_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    with OutputLock(tmp_path), pytest.raises(InputError, match=str(os.getpid())), OutputLock(tmp_path):
        pass


def test_another_process_is_kept_out_too(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pacsifier.disk.lock import OutputLock\n"
        "with OutputLock(Path(sys.argv[1])): pass"
    )
    with OutputLock(tmp_path):
        ended = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert ended.returncode == 1
    assert "HeldError" in ended.stderr


def test_what_a_killed_run_left_in_staging_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".pacsifier" / "received"
    left.mkdir(parents=True)
    (left / "MR.1").write_bytes(b"half")
    (tmp_path / ".pacsifier" / "query.dcm").write_bytes(b"x")
    (tmp_path / ".pacsifier" / "lock").write_text("{}")
    with OutputLock(tmp_path) as lock:
        assert {path.name for path in (tmp_path / ".pacsifier").iterdir()} == {"lock", "holder.json"}
        assert {path.name for path in lock.staging.iterdir()} == {"reserve"}


def test_staging_is_nobody_elses_business_and_is_gone_afterwards(tmp_path: Path) -> None:
    with OutputLock(tmp_path) as lock:
        assert lock.staging.parent == tmp_path
        assert stat.S_IMODE(lock.staging.stat().st_mode) == 0o700
        (lock.staging / "received").mkdir()
        (lock.staging / "received" / "MR.1").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_folders_made_for_a_run_that_wrote_nothing_are_removed_again(tmp_path: Path, fails: bool) -> None:
    out = tmp_path / "new" / "deeper" / "out"
    try:
        with OutputLock(out) as lock:
            assert lock.staging.is_dir()
            if fails:
                raise RuntimeError("the PACS is down")
    except RuntimeError:
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_made_for_a_run_that_wrote_something_stay(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with OutputLock(out):
        (out / "sub-1").mkdir()
    assert [path.name for path in out.iterdir()] == ["sub-1"]


def test_an_empty_folder_of_the_user_is_not_removed(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    with OutputLock(out):
        pass
    assert out.is_dir()


def test_an_output_folder_that_is_a_file_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="cannot write"), OutputLock(tmp_path / "out"):
        pass


@pytest.mark.parametrize("call", ["_make_folders", "_take"])
def test_a_run_that_is_interrupted_on_its_way_in_leaves_nothing(
    tmp_path: Path, monkeypatch, call: str
) -> None:
    true = getattr(OutputLock, call)

    def interrupted(self: OutputLock, *args: object, **named: object) -> None:
        true(self, *args, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(OutputLock, call, interrupted)
    with pytest.raises(KeyboardInterrupt), OutputLock(tmp_path / "new" / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_runs_that_come_and_go_at_once_never_hold_a_folder_together(tmp_path: Path, locks: bool) -> None:
    """Each writes its number into a file and finds it there a moment later, or the lock is none."""
    program = """
import errno, fcntl, logging, os, sys, time
from pathlib import Path
from pacsifier.errors import InputError
from pacsifier.disk.lock import OutputLock
out, own, held = Path(sys.argv[1]), Path(sys.argv[2]), 0
logging.disable()
if sys.argv[3] == "False":
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")
    fcntl.flock = refuse
deadline = time.monotonic() + 60
while held < 15 and time.monotonic() < deadline:
    try:
        with OutputLock(out) as lock:
            own.write_text(str(os.getpid()))
            (lock.staging / "received").mkdir()
            time.sleep(0.001)
            assert own.read_text() == str(os.getpid()), "two runs hold the folder"
            assert (lock.staging / "received").is_dir(), "another run has emptied staging"
            held += 1
    except InputError as error:
        assert "in use" in str(error), error
    time.sleep(0.001)
print(held)
"""
    argv = [sys.executable, "-c", program, str(tmp_path / "out"), str(tmp_path / "owner"), str(locks)]
    runs = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(run.communicate()[0].strip(), run.returncode) for run in runs] == [("15", 0)] * 3
    assert not (tmp_path / "out" / ".pacsifier").exists()


# --- a run that was killed -------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.02)


def left(out: Path, age_s: float = 0, **values: str) -> Path:
    """The staging folder of a run that was killed: this process's own record with other values."""
    holder = out / ".pacsifier" / "holder.json"
    holder.parent.mkdir(parents=True)
    (holder.parent / "lock").touch()
    holder.write_text(json.dumps(asdict(replace(Holder.of_this_process(), **values))))
    then = time.time() - age_s
    os.utime(holder, (then, then))
    return holder


def no_locks(number: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


GONE = {"process": "4194400", "started": "1"}
OTHER = {"boot": "another", "host": "pc-of-anna", "user": "anna"}


@pytest.mark.parametrize(
    "values",
    [GONE, {"started": "1"}, {"namespace": "pid:[1]"}, {"started": "", "process": "1"}],
    ids=["process gone", "number taken by another process", "in a container that is gone", "unknown start"],
)
def test_a_run_killed_on_this_machine_holds_nothing(tmp_path: Path, values: dict[str, str]) -> None:
    left(tmp_path, **values)
    with OutputLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_on_this_machine_holds_nothing_even_without_locks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", no_locks(errno.ENOLCK))
    left(tmp_path, **GONE)
    with OutputLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values", [{}, {"namespace": "pid:[1]"}, OTHER], ids=["process", "container", "machine"]
)
def test_a_run_that_may_live_is_left_alone_without_locks(tmp_path: Path, monkeypatch, values) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", no_locks(errno.EOPNOTSUPP))
    holder = left(tmp_path, **values)
    before = holder.read_text()
    with pytest.raises(InputError, match="in use by a run of"), OutputLock(tmp_path):
        pass
    assert holder.read_text() == before


@pytest.mark.parametrize("age_s", [0, 119, -119])
def test_a_run_on_another_machine_that_showed_life_lately_is_left_alone(tmp_path: Path, age_s: float) -> None:
    holder = left(tmp_path, age_s, **OTHER)
    with pytest.raises(InputError, match="anna on pc-of-anna") as caught, OutputLock(tmp_path):
        pass
    assert f"remove {holder}" in str(caught.value)
    assert holder.exists()


@pytest.mark.parametrize("age_s", [130, 86400, -130, -86400])
@pytest.mark.usefixtures("quick")
def test_a_run_on_another_machine_that_shows_no_life_any_more_is_not_waited_for(
    tmp_path: Path, age_s
) -> None:
    left(tmp_path, age_s, **OTHER)
    with OutputLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_live_run_is_left_alone_though_a_clock_has_jumped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 2)
    holder = left(tmp_path, 86400, **OTHER)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.05):
            then = time.time() - 86400
            os.utime(holder, (then, then))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(InputError, match="in use"), OutputLock(tmp_path):
            pass
    finally:
        over.set()
        beating.join()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"process": 7}', "\0" * 100, '{"process": "x", "boot": null}']
)
@pytest.mark.usefixtures("quick")
def test_a_damaged_record_holds_a_folder_for_a_while_only(tmp_path: Path, content: str) -> None:
    holder = left(tmp_path)
    holder.write_text(content)
    with pytest.raises(InputError, match="in use"), OutputLock(tmp_path):
        pass
    then = time.time() - 200
    os.utime(holder, (then, then))
    with OutputLock(tmp_path):
        pass


def test_of_two_that_find_the_same_dead_run_one_gets_the_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", no_locks(errno.ENOLCK))
    holder = left(tmp_path, **GONE)
    faster = json.dumps(asdict(Holder.of_this_process()))
    may_run = OutputLock._may_run

    def judge(self: OutputLock, *args: object, **named: object) -> bool:
        answer = may_run(self, *args, **named)
        holder.write_text(faster)
        return answer

    monkeypatch.setattr(OutputLock, "_may_run", judge)
    with pytest.raises(InputError, match="in use"), OutputLock(tmp_path):
        pass
    assert holder.read_text() == faster


# --- the judgement, as tables ----------------------------------------------------------------------------------------

HERE = Holder(process="10", started="500", boot="b", namespace="n")


@pytest.mark.parametrize(
    ("holder", "started", "flocked", "judgement"),
    [
        (HERE, "500", True, Judgement.MAY_RUN),
        (HERE, "500", False, Judgement.MAY_RUN),
        (HERE, "501", False, Judgement.GONE),  # its number belongs to another process now
        (HERE, "", False, Judgement.GONE),
        (replace(HERE, started=""), "", True, Judgement.GONE),  # the kernel lets no second one have the lock
        (replace(HERE, started=""), "", False, Judgement.OPEN),
        (replace(HERE, namespace="m"), "500", True, Judgement.GONE),
        (
            replace(HERE, namespace="m"),
            "500",
            False,
            Judgement.OPEN,
        ),  # 10 is another process in its container
        (replace(HERE, namespace="m"), "", False, Judgement.OPEN),
        (replace(HERE, boot="c"), "500", True, Judgement.OPEN),  # flock may not reach another machine
        (replace(HERE, boot="c"), "", True, Judgement.OPEN),
        (Holder(), "", True, Judgement.OPEN),
    ],
)
def test_a_holder_that_may_run_is_never_judged_gone_by_its_process(
    holder, started, flocked, judgement
) -> None:
    assert judge(holder, replace(HERE, process="11"), started=started, flocked=flocked) is judgement


@pytest.mark.parametrize(
    ("age_s", "changed", "judgement"),
    [
        (0, None, Judgement.MAY_RUN),
        (120, None, Judgement.MAY_RUN),
        (-120, None, Judgement.MAY_RUN),
        (120.5, None, Judgement.OPEN),
        (-120.5, None, Judgement.OPEN),
        (120.5, True, Judgement.MAY_RUN),  # a clock has jumped
        (-9e9, True, Judgement.MAY_RUN),
        (120.5, False, Judgement.GONE),
        (-120.5, False, Judgement.GONE),
    ],
)
def test_no_old_sign_of_life_is_believed_before_it_was_watched(age_s, changed, judgement) -> None:
    assert judge_life(age_s, changed=changed) is judgement


def test_only_a_process_that_runs_has_a_start_time() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert start_time(str(os.getpid())).isdecimal()
    assert [start_time(each) for each in ("", "x", "../self", "4194400")] == [""] * 4
    # Not reaped yet: a zombie.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(str(ended.pid)) == ""
    ended.wait()


# --- a run that lives ------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.usefixtures("quick")
def test_a_run_shows_that_it_lives(tmp_path: Path) -> None:
    with OutputLock(tmp_path) as lock:
        holder = tmp_path / ".pacsifier" / "holder.json"
        os.utime(holder, (1, 1))
        wait_for(lambda: holder.stat().st_mtime > 1)
        lock.check()
        assert holder.stat().st_mtime > 1


@pytest.mark.usefixtures("quick")
def test_a_run_that_stood_still_too_long_learns_that_another_has_the_folder(tmp_path: Path) -> None:
    with OutputLock(tmp_path) as lock:
        other = replace(Holder.of_this_process(), **OTHER)
        (tmp_path / ".pacsifier" / "holder.json").write_text(json.dumps(asdict(other)))
        others = tmp_path / ".pacsifier-0123456789abcdef" / "received"
        others.mkdir(parents=True)

        def told() -> bool:
            try:
                lock.check()
            except InputError as error:
                return "taken over" in str(error)
            return False

        wait_for(told)
        lock.make_room()
    assert others.is_dir()
    assert (tmp_path / ".pacsifier" / "holder.json").exists(), "it is the other run's now"
    assert not lock.staging.exists()


def test_the_record_is_nobody_elses_business(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with OutputLock(tmp_path):
            place = tmp_path / ".pacsifier"
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    finally:
        os.umask(before)
    assert (modes["holder.json"], modes["lock"]) == (0o600, 0o600)


def test_a_folder_of_the_lock_that_is_open_to_all_is_closed(tmp_path: Path) -> None:
    (tmp_path / ".pacsifier").mkdir(mode=0o755)
    with OutputLock(tmp_path):
        assert stat.S_IMODE((tmp_path / ".pacsifier").stat().st_mode) == 0o700


def test_a_lock_works_where_there_are_no_hard_links(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock.os, "link", no_locks(errno.EPERM))
    with OutputLock(tmp_path), pytest.raises(InputError, match=str(os.getpid())), OutputLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_lock_is_told_as_what_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", no_locks(errno.EIO))
    with pytest.raises(InputError, match=r"cannot lock.*Input/output error"), OutputLock(tmp_path):
        pass


def test_no_room_for_the_log_is_told_before_anything_begins(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(staging.Staging, "_keep_reserve", no_locks(errno.ENOSPC))
    with pytest.raises(InputError, match="No space left on device"), OutputLock(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_room_for_the_log_is_there_when_it_is_needed(tmp_path: Path) -> None:
    with OutputLock(tmp_path) as lock:
        assert (lock.staging / "reserve").stat().st_size >= 1_000_000
        (lock.staging / "received").mkdir()
        lock.make_room()
        assert list(lock.staging.iterdir()) == []
        with pytest.raises(InputError, match="in use"), OutputLock(tmp_path):
            pass


# --- temporary folders -----------------------------------------------------------------------------------------------


def test_a_temporary_folder_is_private_and_gone_afterwards(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock.tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "x").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_where_no_temporary_folder_can_be_made_the_remedy_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock.tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(InputError, match="TMPDIR"), temporary_folder():
        pass
