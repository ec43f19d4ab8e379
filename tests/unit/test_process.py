"""The door to DCMTK on real processes: nothing of a patient in the process list, and nothing outlives the run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pacs.servers import LOOPBACK, find_binary, free_port

from pacsifier.dcmtk import binaries, guardian
from pacsifier.dcmtk.binaries import Binary
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import ToolError

PATIENT = "SECRET^PATIENT"


# --- what the kernel tells ---------------------------------------------------------------------------------------


def _until(condition: Callable[[], object], seconds: float = 5) -> bool:
    """Polls until the condition holds; tells whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Process ids with the fields of /proc/PID/stat after the name: state, parent, group ..."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()


def _group(group: int) -> list[int]:
    """The processes of a group that live (a zombie does not)."""
    return [pid for pid, stats in _stats() if int(stats[2]) == group and stats[0] not in "ZX"]


def _children(parent: int) -> list[int]:
    return [pid for pid, stats in _stats() if int(stats[1]) == parent and stats[0] not in "ZX"]


def _alive(pid: int) -> bool:
    return any(each == pid and stats[0] not in "ZX" for each, stats in _stats())


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _is_free(port: int) -> bool:
    """Whether a new run could listen there (what waits in TIME_WAIT does not matter to storescp)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


@pytest.fixture
def toolbox() -> Iterator[Toolbox]:
    with Toolbox() as toolbox:
        yield toolbox


def _storescp(toolbox: Toolbox, folder: Path, port: int) -> Process:
    process = toolbox.start(
        "storescp", ["--fork", "-aet", PATIENT, "-od", ".", str(port)], folder, "storescp"
    )
    assert _until(lambda: _listens(port)), process.last_lines()
    return process


@contextlib.contextmanager
def _mute_peer() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextlib.contextmanager
def _open_connection(process: Process, port: int) -> Iterator[socket.socket]:
    """A caller that says nothing: storescp has forked a child for it."""
    with socket.create_connection((LOOPBACK, port)) as connection:
        assert _until(lambda: len(_group(process.group)) > 1), "storescp did not fork"
        yield connection


# --- privacy -----------------------------------------------------------------------------------------------------


def test_no_value_of_a_query_stands_in_the_process_list(toolbox, tmp_path):
    with _mute_peer() as port:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"PatientName={PATIENT}"]
        process = toolbox.start("findscu", ["-S", *keys, LOOPBACK, str(port)], tmp_path, "find")
        proc = Path("/proc") / str(process.group)
        argv = (proc / "cmdline").read_bytes()
        assert process.poll() is None
        environment = (proc / "environ").read_bytes()
        process.end()
    assert argv == os.fsencode(f"{find_binary('findscu')}\0@find.args\0")
    assert PATIENT.encode() not in environment
    assert str(tmp_path).encode() not in argv
    assert PATIENT in (tmp_path / "find.args").read_text()
    assert not any(PATIENT in argument for argument in process.argv)


def test_no_argument_of_the_receiver_or_its_children_stands_in_the_process_list(toolbox, tmp_path):
    port = free_port()
    process = _storescp(toolbox, tmp_path, port)
    with _open_connection(process, port):
        shown = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _group(process.group)}
    # A child that has ended and is not yet waited for shows nothing.
    assert shown - {b""} == {os.fsencode(f"{find_binary('storescp')}\0@storescp.args\0")}


def test_logs_and_arguments_are_readable_by_their_owner_only(toolbox, tmp_path):
    before = os.umask(0)
    try:
        process = toolbox.start("echoscu", [LOOPBACK, str(free_port())], tmp_path, "echo")
        assert process.wait(10) is not None
    finally:
        os.umask(before)
    for path in (process.log_path, tmp_path / "echo.args"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_no_argument_goes_to_our_own_log(toolbox, tmp_path, caplog):
    with caplog.at_level("DEBUG"):
        process = toolbox.start(
            "echoscu", ["-aet", "SECRETTITLE", LOOPBACK, str(free_port())], tmp_path, "echo"
        )
        assert process.wait(10) is not None
    assert "SECRETTITLE" not in caplog.text


# --- speed -------------------------------------------------------------------------------------------------------


def test_every_child_sends_without_nagles_delay(toolbox, tmp_path, monkeypatch):
    monkeypatch.setenv("TCP_NODELAY", "0")
    process = _storescp(toolbox, tmp_path, free_port())
    environment = Path(f"/proc/{process.group}/environ").read_bytes().split(b"\0")
    assert b"TCP_NODELAY=1" in environment
    assert b"TCP_NODELAY=0" not in environment


def test_a_tool_is_asked_for_its_version_only_once(tmp_path):
    asked = tmp_path / "asked"
    _script(tmp_path / "echoscu", f'echo x >>{asked}; exec {find_binary("echoscu")} "$@"')
    with Toolbox(tmp_path) as toolbox:
        toolbox.require(["echoscu", "echoscu"])
        toolbox.require(["echoscu"])
    assert asked.read_text() == "x\n"


def test_a_tool_that_was_asked_ahead_answers_once_and_is_waited_for(tmp_path):
    asked = tmp_path / "asked"
    _script(tmp_path / "echoscu", f'echo x >>{asked}; exec {find_binary("echoscu")} "$@"')
    with Toolbox(tmp_path) as toolbox:
        toolbox.ask(["echoscu"])
        assert toolbox.binary("echoscu").path == tmp_path / "echoscu"
    assert asked.read_text() == "x\n"


@pytest.mark.parametrize("end", [Toolbox.close, Toolbox.kill])
def test_a_tool_that_was_asked_ahead_does_not_outlive_a_run_that_never_needed_it(tmp_path, end):
    mark = tmp_path / "asked"
    _script(tmp_path / "echoscu", f"echo $$ >{mark}.new; mv {mark}.new {mark}; sleep 60")
    toolbox = Toolbox(tmp_path)
    toolbox.ask(["echoscu"])
    assert _until(mark.exists)
    end(toolbox)
    assert _until(lambda: not _alive(int(mark.read_text())))


def test_a_tool_that_is_asked_for_its_version_reads_nothing(tmp_path):
    _script(tmp_path / "echoscu", f"cat >{tmp_path}/read; echo '$dcmtk: echoscu v3.6.7 2022-04-22 $'")
    with Toolbox(tmp_path) as toolbox:
        toolbox.require(["echoscu"])
    assert (tmp_path / "read").read_bytes() == b""


# --- arguments arrive as they were meant ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def callers() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """The port of a real SCP, and the (calling, called) AE titles of those who echoed to it."""
    from pynetdicom import AE, evt

    seen: list[tuple[str, str]] = []

    def keep(event) -> int:
        seen.append((event.assoc.requestor.ae_title, event.assoc.requestor.primitive.called_ae_title))
        return 0x0000

    entity = AE()
    entity.add_supported_context("1.2.840.10008.1.1")
    port = free_port()
    server = entity.start_server((LOOPBACK, port), block=False, evt_handlers=[(evt.EVT_C_ECHO, keep)])
    yield port, seen
    server.shutdown()


@pytest.mark.parametrize(
    "title",
    [
        *("MR SCANNER 3", "O'NEIL", 'THE "PACS"', "-X", "--version", "-aec", "-", "@PACS", "@", "#1", "A#B"),
        *("A=B", "*", "?", "$HOME", "`id`", "%n", "A;B", "A|B", "'Q'", '"Q"', "[P]", "A,B", "~"),
    ],
)
def test_an_ae_title_arrives_letter_by_letter(title, toolbox, tmp_path, callers):
    port, seen = callers
    seen.clear()
    arguments = ["-aet", title, "-aec", title, LOOPBACK, str(port)]
    process = toolbox.start("echoscu", arguments, tmp_path, "echo")
    assert process.wait(10) == 0, process.last_lines()
    assert seen == [(title, title)]


@pytest.mark.parametrize("argument", ["both ' and \"", "'\"", "\"a\" and 'b'"])
def test_what_dcmtk_cannot_be_told_is_refused_before_anything_starts(argument, toolbox, tmp_path):
    with pytest.raises(ToolError, match="both kinds of quotes") as caught:
        toolbox.start("echoscu", ["-aet", argument, LOOPBACK, "1"], tmp_path, "echo")
    assert repr(argument) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_line_break_in_an_argument_is_refused_as_that(toolbox, tmp_path):
    with pytest.raises(ToolError, match="line break"):
        toolbox.start("echoscu", ["-aet", "A\nB", LOOPBACK, "1"], tmp_path, "echo")


def test_more_files_than_a_command_line_holds_can_be_named(toolbox, tmp_path):
    names = [f"f{number:07d}-{'x' * 40}" for number in range(60_000)]
    process = toolbox.start("storescu", ["-v", LOOPBACK, str(free_port()), *names], tmp_path, "store")
    assert sum(map(len, names)) > os.sysconf("SC_ARG_MAX")
    assert process.wait(60) is not None
    assert f"cannot access file: {names[0]}" in process.log_path.read_text()


# --- the end of one process --------------------------------------------------------------------------------------


def test_a_process_tells_its_exit_status_and_its_last_lines(toolbox, tmp_path):
    port = free_port()
    process = toolbox.start("echoscu", ["-v", LOOPBACK, str(port)], tmp_path, "echo")
    assert process.wait(10) not in (None, 0)
    assert process.poll() == process.wait(0)
    assert any("Connection refused" in line for line in process.last_lines())


def test_waiting_for_a_process_ends_when_the_time_is_over(toolbox, tmp_path):
    process = _storescp(toolbox, tmp_path, free_port())
    started = time.monotonic()
    assert process.wait(0.1) is None
    assert time.monotonic() - started < 2


def test_ending_the_receiver_ends_the_children_it_forked(toolbox, tmp_path):
    port = free_port()
    process = _storescp(toolbox, tmp_path, port)
    with _open_connection(process, port) as connection:
        process.end()
        connection.settimeout(5)
        assert connection.recv(1) == b"", "a child still holds the connection"
    assert process.poll() is not None
    assert _until(lambda: not _group(process.group))
    assert _until(lambda: _is_free(port))


def test_a_receiver_that_died_leaves_no_child_behind(toolbox, tmp_path):
    port = free_port()
    process = _storescp(toolbox, tmp_path, port)
    with _open_connection(process, port):
        os.kill(process.group, signal.SIGKILL)
        assert process.wait(5) == -signal.SIGKILL
        assert _until(lambda: not _group(process.group))
    assert _until(lambda: _is_free(port))


def test_a_process_that_ignores_sigterm_ends_all_the_same(tmp_path):
    _script(
        tmp_path / "echoscu",
        "[ \"$1\" = --version ] && exec echo '$dcmtk: echoscu v3.6.7 2022-04-22 $'\n"
        "trap '' TERM\necho ready\nwhile :; do sleep 0.05; done",
    )
    with Toolbox(tmp_path) as toolbox:
        process = toolbox.start("echoscu", [], tmp_path, "echo")
        assert _until(process.last_lines)
        process.end(grace_s=0.3)
        assert process.poll() == -signal.SIGKILL
    assert _until(lambda: not _group(process.group))


def test_ending_twice_harms_nobody(toolbox, tmp_path):
    process = _storescp(toolbox, tmp_path, free_port())
    process.end()
    process.end()
    assert process.poll() is not None


# --- the end of a run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_nothing_that_was_started_outlives_the_run(error, tmp_path):
    ports = [free_port(), free_port()]
    before = set(_children(os.getpid()))
    with contextlib.suppress(*([error] if error else [])), Toolbox() as toolbox:
        processes = []
        for port in ports:
            (tmp_path / str(port)).mkdir()
            processes.append(_storescp(toolbox, tmp_path / str(port), port))
        guardians = set(_children(os.getpid())) - before - {each.group for each in processes}
        assert len(guardians) == 1
        if error:
            raise error
    for process, port in zip(processes, ports, strict=True):
        assert _until(lambda group=process.group: not _group(group))
        assert _until(lambda port=port: _is_free(port))
    assert _until(lambda: not set(_children(os.getpid())) - before), "the guardian stayed"


def test_killing_waits_for_nothing(toolbox, tmp_path):
    port = free_port()
    process = _storescp(toolbox, tmp_path, port)
    with _open_connection(process, port):
        toolbox.kill()
        assert _until(lambda: not _group(process.group))
    assert process.wait(5) == -signal.SIGKILL


def test_a_run_can_be_closed_after_everything_has_ended(tmp_path):
    toolbox = Toolbox()
    process = _storescp(toolbox, tmp_path, free_port())
    process.end()
    toolbox.close()
    toolbox.close()
    assert process.poll() is not None


_HOLDER = """
import sys, time
from pathlib import Path
from pacsifier.dcmtk.toolbox import Toolbox
toolbox = Toolbox()
process = toolbox.start("storescp", ["--fork", "-od", ".", sys.argv[1]], Path(sys.argv[2]), "storescp")
print(process.group, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def _holder(folder: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A Python process, in a group of its own, that holds a Toolbox with a receiver; and the receiver's group."""
    argv = [sys.executable, "-c", _HOLDER, str(port), str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as holder:
        group = 0
        try:
            assert holder.stdout is not None
            group = int(holder.stdout.readline())
            assert _until(lambda: _listens(port))
            yield holder, group
        finally:
            for each in filter(None, (holder.pid, group)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(each, signal.SIGKILL)


@pytest.mark.parametrize("target", ["the process", "its whole group"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a caller"])
def test_a_run_that_was_shot_leaves_no_receiver_on_the_port(target, busy, tmp_path):
    port = free_port()
    with _holder(tmp_path, port) as (holder, group):
        guardians = set(_children(holder.pid)) - {group}
        caller = socket.create_connection((LOOPBACK, port)) if busy else contextlib.nullcontext()
        with caller:
            assert not busy or _until(lambda: len(_group(group)) > 1)
            (os.kill if target == "the process" else os.killpg)(holder.pid, signal.SIGKILL)
            shot = time.monotonic()
            assert _until(lambda: not _group(group) and _is_free(port)), "storescp outlived its run"
            assert time.monotonic() - shot < 5
        assert len(guardians) == 1
        assert _until(lambda: not any(map(_alive, guardians)))


def test_a_run_that_was_shot_ends_even_a_receiver_that_hangs(tmp_path):
    port = free_port()
    with _holder(tmp_path, port) as (holder, group):
        os.kill(group, signal.SIGSTOP)
        os.kill(holder.pid, signal.SIGKILL)
        assert _until(lambda: not _group(group) and _is_free(port))


# --- the guardian alone ------------------------------------------------------------------------------------------


def _sleeper(shell: str = "exec sleep 60") -> subprocess.Popen[bytes]:
    argv = ["/bin/sh", "-c", f"echo ready; {shell}"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_guardian_ends_what_runs_and_spares_what_has_ended_before():
    ours, stubborn, strangers = _sleeper(), _sleeper("trap '' TERM; while :; do sleep 0.05; done"), _sleeper()
    try:
        with subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__], stdin=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            facts = f"+{ours.pid}\n+{strangers.pid}\n+{stubborn.pid}\n-{strangers.pid}\n-{strangers.pid}\n"
            process.stdin.write(facts.encode())
            process.stdin.flush()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                assert _until(lambda: _ignores(process.pid, signal.SIGHUP))
                process.send_signal(number)
            assert ours.poll() is None
            process.stdin.close()
            assert process.wait(guardian.GRACE_S + 5) == 0
        assert ours.wait(5) == -signal.SIGTERM
        assert stubborn.wait(5) == -signal.SIGKILL
        assert strangers.poll() is None
    finally:
        for each in (ours, stubborn, strangers):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.communicate()


def test_whoever_ends_all_that_names_pacsifier_spares_the_guardian(toolbox, tmp_path):
    before = set(_children(os.getpid()))
    receiver = _storescp(toolbox, tmp_path, free_port()).group
    (guarding,) = set(_children(os.getpid())) - before - {receiver}
    assert "pacsifier" in guardian.__file__
    assert _until(lambda: b"guardian" in Path(f"/proc/{guarding}/cmdline").read_bytes())
    assert _until(lambda: b"pacsifier" not in Path(f"/proc/{guarding}/cmdline").read_bytes())


def _ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


# --- finding the binaries ----------------------------------------------------------------------------------------


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _echoscu(folder: Path, version: str = "v3.6.7") -> Path:
    """Something that says that it is DCMTK's echoscu."""
    return _script(folder / "echoscu", f"echo '$dcmtk: echoscu {version} 2022-04-22 $'")


def _chosen(folder: Path, dcmtk_dir: Path | None = None) -> Path:
    """The echoscu that a run would start."""
    with Toolbox(dcmtk_dir) as toolbox:
        process = toolbox.start("echoscu", [], folder, "chosen")
        process.wait(5)
    return Path(process.argv[0])


@pytest.fixture
def clean(monkeypatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("PACSIFIER_DCMTK_DIR", raising=False)
    return monkeypatch


def test_a_named_folder_wins_over_the_environment_and_that_over_path(tmp_path, clean):
    option, environment, path = (_echoscu(tmp_path / each) for each in ("option", "environment", "path"))
    clean.setenv("PATH", f"{tmp_path}:{path.parent}:/usr/bin")
    assert _chosen(tmp_path) == path
    clean.setenv("PACSIFIER_DCMTK_DIR", str(environment.parent))
    assert _chosen(tmp_path) == environment
    assert _chosen(tmp_path, option.parent) == option


def test_an_environment_that_is_not_activated_is_looked_into(tmp_path, clean):
    binary = _echoscu(tmp_path / "env" / "bin")
    (binary.parent / "python").symlink_to(sys.executable)
    clean.setenv("PATH", str(tmp_path))
    clean.setattr(sys, "executable", str(binary.parent / "python"))
    assert _chosen(tmp_path) == binary


def test_a_named_folder_is_not_left_for_another_one(tmp_path):
    with pytest.raises(ToolError, match="echoscu was not found in") as caught, Toolbox(tmp_path) as toolbox:
        toolbox.require(["echoscu"])
    assert "--dcmtk_dir" in caught.value.remedy


def test_a_file_that_cannot_be_executed_and_a_folder_are_no_tools(tmp_path, clean):
    (tmp_path / "a" / "echoscu").mkdir(parents=True)
    _echoscu(tmp_path / "b").chmod(0o644)
    good = _echoscu(tmp_path / "c")
    clean.setenv("PATH", ":".join(str(tmp_path / each) for each in "abc"))
    assert _chosen(tmp_path) == good


def test_entries_of_path_that_lead_nowhere_are_passed_over(tmp_path, clean):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("no folder")
    good = _echoscu(tmp_path / "good")
    clean.setenv(
        "PATH", ":".join(str(tmp_path / each) for each in ("loop", "n" * 300, "file", "absent", "good"))
    )
    assert _chosen(tmp_path) == good


def test_strangers_and_old_ones_on_path_do_not_hide_a_good_dcmtk(tmp_path, clean):
    _script(tmp_path / "a" / "echoscu", "echo echoscu.py v0.7.0")
    _echoscu(tmp_path / "b", "v3.6.1")
    good = _echoscu(tmp_path / "c")
    clean.setenv("PATH", ":".join(str(tmp_path / each) for each in "abc"))
    assert _chosen(tmp_path) == good


def test_a_python_tool_of_the_same_name_costs_no_run_its_start(tmp_path, clean):
    (tmp_path / "a").mkdir()
    stranger = tmp_path / "a" / "echoscu"
    stranger.write_text(f"#!{sys.executable}\nopen('{tmp_path}/ran', 'w')\n")
    stranger.chmod(0o755)
    good = _echoscu(tmp_path / "b")
    clean.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b:/usr/bin:/bin")
    assert _chosen(tmp_path) == good
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("$dcmtk: echoscu v3.6.5 2019-10-28 $", "3.6.5; 3.6.6 or later"),
        ("$dcmtk: findscu v3.6.7 2022-04-22 $", "is not DCMTK's echoscu"),
        ("echoscu 5.31.0", "is not DCMTK's echoscu"),
        ("", "is not DCMTK's echoscu"),
    ],
)
def test_a_wrong_tool_is_told_with_its_path(said, reason, tmp_path):
    path = _script(tmp_path / "echoscu", f"echo '{said}'")
    with Toolbox(tmp_path) as toolbox, pytest.raises(ToolError) as caught:
        toolbox.require(["echoscu"])
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("version", ["3.6.6", "3.6.10", "3.7.0", "4.0.0"])
def test_a_later_dcmtk_is_taken(version, tmp_path):
    _script(tmp_path / "echoscu", f"echo '$dcmtk: echoscu v{version} 2030-01-01 $'")
    with Toolbox(tmp_path) as toolbox:
        toolbox.require(["echoscu"])
        assert toolbox.binary("echoscu") == Binary(tmp_path / "echoscu", version)


@pytest.mark.parametrize("does", ["exec sleep 60", "trap '' TERM INT\nsleep 60 &\nsleep 60"])
def test_a_tool_that_hangs_is_told_and_ended(does, tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "_VERSION_S", 0.2)
    path = _script(tmp_path / "echoscu", f"echo $$ >{tmp_path}/group; {does}")
    with Toolbox(tmp_path) as toolbox, pytest.raises(ToolError, match="has not ended") as caught:
        toolbox.require(["echoscu"])
    assert str(path) in str(caught.value)
    assert _until(lambda: not _group(int((tmp_path / "group").read_text())))


def test_a_tool_that_hangs_does_not_hide_a_good_one(tmp_path, clean):
    clean.setattr(binaries, "_VERSION_S", 0.2)
    _script(tmp_path / "a" / "echoscu", "exec sleep 60")
    good = _echoscu(tmp_path / "b")
    clean.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b:/usr/bin:/bin")
    assert _chosen(tmp_path) == good


def test_what_a_tool_leaves_behind_does_not_hold_a_run_up(tmp_path):
    _script(tmp_path / "echoscu", "sleep 60 & echo '$dcmtk: echoscu v3.6.7 2022-04-22 $'")
    started = time.monotonic()
    with Toolbox(tmp_path) as toolbox:
        toolbox.require(["echoscu"])
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("echo 'libdcmnet.so.17: cannot open shared object file' >&2; exit 127", "libdcmnet.so.17"),
        ("kill -SEGV $$", "-11"),
        ("echo 'unknown option' >&2; exit 1", "is not DCMTK's echoscu"),
    ],
)
def test_a_tool_that_does_not_run_is_told_from_another_program(does, reason, tmp_path):
    _script(tmp_path / "echoscu", does)
    with Toolbox(tmp_path) as toolbox, pytest.raises(ToolError) as caught:
        toolbox.require(["echoscu"])
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("value", "told"),
    [("", False), ("{0}/dicom.dic", False), ("/none:{0}/dicom.dic", False), ("/none", True)],
)
def test_a_data_dictionary_that_is_not_there_is_told(value, told, tmp_path, clean):
    (tmp_path / "dicom.dic").touch()
    clean.setenv("DCMDICTPATH", value.format(tmp_path))
    expected = pytest.raises(ToolError, match="DCMDICTPATH") if told else contextlib.nullcontext()
    with Toolbox() as toolbox, expected:
        toolbox.require(["echoscu"])


# --- signals while a tool is started ---------------------------------------------------------------------------------


def test_a_signal_during_a_fork_is_heard_afterwards(toolbox, tmp_path):
    heard = []

    def shoot() -> None:
        if not heard and not shot:
            shot.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    class Ended(BaseException):
        pass

    def handle(number, _frame):
        heard.append(number)
        raise Ended

    shot: list[bool] = [True]
    os.register_at_fork(after_in_parent=shoot)
    before = signal.signal(signal.SIGTERM, handle)
    try:
        shot.clear()
        with pytest.raises(Ended):
            toolbox.start("storescp", [str(free_port())], tmp_path, "storescp")
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is handle
        assert len(toolbox._running) <= 1
    finally:
        shot.append(True)
        signal.signal(signal.SIGTERM, before)


def test_a_tool_that_cannot_be_started_is_a_tool_error(tmp_path):
    (tmp_path / "echoscu").write_bytes(b"#!/no/such/interpreter\n")
    (tmp_path / "echoscu").chmod(0o755)
    with Toolbox(tmp_path) as toolbox, pytest.raises(ToolError, match="echoscu"):
        toolbox.require(["echoscu"])
