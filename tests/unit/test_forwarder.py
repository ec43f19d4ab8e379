"""The forwarder of TLS: nobody but the process that it is for comes through, and what goes through comes whole."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pacs.secure import Office, Paper
from pacs.servers import LOOPBACK

from pacsifier.config import PacsConfig, Tls
from pacsifier.dcmtk import listeners
from pacsifier.dcmtk.dialing import Dialer
from pacsifier.dcmtk.forwarder import Door
from pacsifier.dcmtk.listeners import connected_by
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import AssociationError

# What a process does that a door is for: says something and prints what it is answered.
CALLER = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.sendall(b"x" * int(sys.argv[2]))
come, wanted = 0, int(sys.argv[3])
while come < wanted and (data := connection.recv(1 << 16)):
    come += len(data)
print(come)
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)
    print("twice")
except OSError:
    print("once")
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def paper(office: Office) -> Paper:
    return office.issue("server", LOOPBACK)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel tells, to be written by the test."""
    (tmp_path / "net").mkdir()
    monkeypatch.setattr(listeners, "_PROC", tmp_path)
    return tmp_path


def echo(connection: ssl.SSLSocket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def silent(connection: ssl.SSLSocket) -> None:
    while connection.recv(1 << 16):
        pass


@contextlib.contextmanager
def served(paper: Paper, serve: Callable[[ssl.SSLSocket], None] = echo) -> Iterator[int]:
    """A server of TLS, a thread a connection; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paper.cert, paper.key)
    listener = socket.create_server((LOOPBACK, 0))
    threads: list[threading.Thread] = []

    def answer(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as connection:
            serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(plain,), daemon=True))
                threads[-1].start()

    threads.append(threading.Thread(target=accept, daemon=True))
    threads[0].start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def dialer(port: int, tls: Tls) -> Dialer:
    return Dialer(
        PacsConfig(LOOPBACK, port, "PACS", "ME", "ME", 11112, 30, 0, tls), Timeouts(acse_timeout_s=5)
    )


@contextlib.contextmanager
def opened(port: int, tls: Tls, answer_s: float = 5) -> Iterator[Door]:
    door = Door(dialer(port, tls), answer_s)
    try:
        yield door
    finally:
        door.end(2)
        assert not door._thread.is_alive()


@contextlib.contextmanager
def caller(door: Door, size: int, wanted: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that sends so many bytes, and waits for as many, or as many as are wanted."""
    argv = [sys.executable, "-I", "-c", CALLER, str(door.port), str(size), str(wanted or size)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def is_shut_out(door: Door) -> bool:
    """Whether a connection of this process comes to nothing."""
    with socket.create_connection((door.host, door.port), 10) as stranger:
        with contextlib.suppress(ConnectionError):
            stranger.sendall(b"C-FIND in your name")
            return stranger.recv(1) == b""
        return True


@pytest.mark.parametrize("size", [5, 8_000_000])
def test_what_a_process_sends_comes_back_whole_and_only_over_one_connection(size, office, paper):
    with served(paper) as port, opened(port, Tls(office.ca)) as door, caller(door, size) as process:
        door.admit(process.pid)
        assert process.communicate(timeout=60)[0].split() == [str(size), "once"]
        assert door.failure() is None


def test_a_stranger_is_shut_out_and_the_process_is_not(office, paper, caplog):
    with (
        served(paper) as port,
        opened(port, Tls(office.ca)) as door,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle,
    ):
        door.admit(idle.pid)
        # Of our own user, and yet not the process.
        assert is_shut_out(door)
        assert "that this run did not open" in caplog.text
        with caller(door, 7) as process:
            door._process = process.pid
            assert process.communicate(timeout=30)[0].split() == ["7", "once"]
        idle.communicate(b"\n")


def test_nobody_comes_in_before_a_process_is_named_or_after_it_has_ended(office, paper):
    with served(paper) as port, opened(port, Tls(office.ca)) as door:
        waiting = socket.create_connection((door.host, door.port), 10)
        door.shut()
        with waiting, contextlib.suppress(ConnectionResetError):
            assert waiting.recv(1) == b""


@pytest.mark.parametrize(
    ("user", "inode", "port", "admitted"),
    [
        (0, "77", 40000, True),
        (1, "77", 40000, False),  # another user
        (0, "78", 40000, False),  # another process
        (0, "77", 40001, False),  # another connection
    ],
)
def test_whose_a_connection_is_the_kernel_says(proc: Path, user: int, inode: str, port: int, admitted: bool):
    columns = "0: 0100007F:9C40 0100007F:2B67 01 00000000:00000000 00:00000000 00000000"
    (proc / "net/tcp").write_text(f"  sl  local_address ...\n {columns} {os.geteuid() + user} 0 {inode} 1\n")
    (proc / "4711/fd").mkdir(parents=True)
    (proc / "4711/fd/3").symlink_to("socket:[77]")
    assert connected_by(port, 0x2B67, 4711) is admitted


def test_without_proc_nobody_is_admitted(proc):
    assert not connected_by(40000, 104, os.getpid())


def test_why_it_did_not_reach_the_pacs_is_known_before_the_process_ends(paper, tmp_path):
    foreign = Office(tmp_path / "foreign")
    with served(paper) as port, opened(port, Tls(foreign.ca)) as door, caller(door, 5) as process:
        door.admit(process.pid)
        process.communicate(timeout=30)
        assert "is of no authority in --tls_ca" in str(door.failure())


def test_a_name_that_no_certificate_can_have_is_told(office, paper):
    with (
        served(paper) as port,
        pytest.raises(AssociationError, match=r"no certificate can have the name 'a\.\.b'"),
    ):
        dialer(port, Tls(office.ca, name="a..b")).dial()


def test_a_long_run_keeps_no_door_of_what_has_ended(office, paper, tmp_path):
    with served(paper) as port, Toolbox() as toolbox:
        config = PacsConfig(LOOPBACK, port, "PACS", "ME", "ME", 11112, 30, 0, Tls(office.ca))
        pacs = Pacs(config, toolbox, tmp_path, Timeouts(acse_timeout_s=5))
        for _ in range(3):
            # What comes back is what was sent, and so no answer.
            with pytest.raises(AssociationError):
                pacs.echo()
        assert len(toolbox._doors) <= 1


def test_a_pacs_that_never_answers_is_told_after_the_time_of_an_association(office, paper):
    with served(paper, silent) as port, opened(port, Tls(office.ca), 0.2) as door, caller(door, 5) as process:
        door.admit(process.pid)
        assert process.communicate(timeout=30)[0].split()[0] == "0"
        assert "read timeout: no answer for 0.2 s" in str(door.failure())


def test_a_connection_that_goes_on_is_ended_with_the_run(office, paper):
    with served(paper) as port, opened(port, Tls(office.ca)) as door, caller(door, 5, 6) as process:
        door.admit(process.pid)
        deadline = time.monotonic() + 20
        while len(door._sockets) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        door.end(0.1)
        assert process.communicate(timeout=20)[0].split()[0] in ("0", "5")


def test_no_process_list_shows_a_key(office, paper):
    """The key is read by this process: no tool has it in its arguments, nor its path."""
    tls = Tls(office.ca, paper.cert, paper.key)
    with served(paper) as port, opened(port, tls) as door, caller(door, 5) as process:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert str(paper.key).encode() not in command
        door.admit(process.pid)
        process.communicate(timeout=30)
