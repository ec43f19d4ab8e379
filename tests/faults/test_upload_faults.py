"""Uploads under faults: what the PACS did not take is named once with its reason, and what it can take it gets."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pacs.runs import until
from pacs.servers import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    LOOPBACK,
    RLE,
    Server,
    find_binary,
    free_port,
    run_pacsifier,
    start_orthanc,
)

from faults.corpus import ROOT, TEXT_SR, write_instance
from pacsifier.config import load_pacs_config
from pacsifier.dcmtk.storescu import Sendable, store
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox

AT_ONCE = ("--retry_wait", "0.01")
DROP_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def _upload(
    server: Server, tmp_path: Path, *more: object, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Uploads `tmp_path/in`; every file is told of at most once, and nothing is left behind."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    config = server.write_config(tmp_path / "config.json")
    run = run_pacsifier(
        *("--upload", "-c", config, "-ud", tmp_path / "in", *more),
        env={"TMPDIR": str(tmp_path / "tmp")},
        cwd=tmp_path,
        timeout=timeout,
    )
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    assert not list((tmp_path / "tmp").iterdir())
    assert [name for name, times in Counter(_failed(run)).items() if times > 1] == []
    return run


def _failed(run: subprocess.CompletedProcess[str]) -> list[str]:
    """The names of the files that were told of as not stored."""
    return [Path(path).name for path, _ in _told(run)]


def _told(run: subprocess.CompletedProcess[str]) -> list[tuple[str, str]]:
    return re.findall(r"^pacsifier: (/.*?): (.*)$", run.stderr, re.MULTILINE)


def _reason(run: subprocess.CompletedProcess[str], name: str) -> str:
    (reason,) = [reason for path, reason in _told(run) if Path(path).name == name]
    return reason


def _counts(run: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    found = re.search(r"^files: (\d+) found, (\d+) stored, (\d+) not stored, ", run.stderr, re.MULTILINE)
    assert found, run.stderr
    files, stored, failed = map(int, found.groups())
    assert stored + failed == files
    assert failed == len(_failed(run))
    assert run.returncode == (1 if failed else 0)
    return files, stored, failed


def _write(tmp_path: Path, number: int) -> list[Path]:
    """Files `00001.dcm` and so on; the n-th holds study `ROOT.n`."""
    return [write_instance(tmp_path / "in" / f"{n:05d}.dcm", n) for n in range(1, number + 1)]


class Scp:
    """A Storage SCP whose answer to each C-STORE the test decides; `asked` lists the studies in the order sent."""

    def __init__(self, answer: Callable[[int, Any], int], **limits: Any) -> None:
        self.answer = answer
        self.asked: list[int] = []
        self.port = free_port()
        self.limits: dict[str, Any] = {"syntaxes": [EXPLICIT_LE, IMPLICIT_LE], **limits}

    def store(self, event: Any) -> int:
        number = int(event.request.AffectedSOPInstanceUID.removeprefix(f"{ROOT}.").split(".")[0])
        self.asked.append(number)
        return self.answer(number, event)

    @contextlib.contextmanager
    def serve(self, tmp_path: Path, *handlers: tuple[Any, Any]) -> Iterator[Server]:
        from pynetdicom import AE, evt

        entity = AE(ae_title="MOODY")
        entity.maximum_associations = self.limits.get("associations", 10)
        entity.add_supported_context(TEXT_SR, self.limits["syntaxes"])
        entity.add_supported_context("1.2.840.10008.1.1")
        served = [(evt.EVT_C_STORE, self.store), *handlers]
        thread = entity.start_server((LOOPBACK, self.port), block=False, evt_handlers=served)
        peers = {"PACSIFIER": (LOOPBACK, free_port())}
        try:
            yield Server("moody", tmp_path, "MOODY", self.port, peers, None)  # type: ignore[arg-type]
        finally:
            thread.shutdown()


def _take(number: int, event: Any) -> int:
    return 0x0000


# --- the association is lost -------------------------------------------------------------------------------------


def test_what_was_cut_off_by_a_lost_association_is_sent_again_and_nothing_twice(tmp_path):
    _write(tmp_path, 10)
    aborted = []

    def answer(number: int, event: Any) -> int:
        if number == 5 and not aborted:
            aborted.append(number)
            event.assoc.abort()
        return 0x0000

    scp = Scp(answer)
    with scp.serve(tmp_path) as server:
        run = _upload(server, tmp_path, *AT_ONCE)
    assert _counts(run) == (10, 10, 0)
    assert Counter(scp.asked) == Counter([*range(1, 11), 5]), "only what had no answer is sent again"


def test_a_file_that_ends_every_association_holds_up_no_other_and_is_named(tmp_path):
    _write(tmp_path, 10)

    def answer(number: int, event: Any) -> int:
        if number == 5:
            event.assoc.abort()
        return 0x0000

    scp = Scp(answer)
    with scp.serve(tmp_path) as server:
        run = _upload(server, tmp_path, *AT_ONCE)
    assert _counts(run) == (10, 9, 1)
    assert _failed(run) == ["00005.dcm"]
    assert "aborted" in _reason(run, "00005.dcm")
    assert 1 < scp.asked.count(5) < 10, "tried again, and not for ever"


def test_a_pacs_that_takes_one_file_an_association_gets_them_all(tmp_path):
    _write(tmp_path, 12)
    taken: set[int] = set()

    def answer(number: int, event: Any) -> int:
        if event.assoc in first:
            event.assoc.abort()
        first.append(event.assoc)
        taken.add(number)
        return 0x0000

    first: list[Any] = []
    with Scp(answer).serve(tmp_path) as server:
        run = _upload(server, tmp_path, *AT_ONCE)
    assert _counts(run) == (12, 12, 0)
    assert taken == set(range(1, 13))


def test_a_pacs_that_has_gone_for_good_is_given_up_and_every_file_it_lacks_is_named(tmp_path):
    _write(tmp_path, 10)
    scp = Scp(_take)
    with contextlib.ExitStack() as stack:

        def answer(number: int, event: Any) -> int:
            if number == 6:
                # What listens goes first: a new association must not slip in.
                event.assoc.ae._servers[0].socket.close()
                event.assoc.abort()
            return 0x0000

        scp.answer = answer
        with contextlib.suppress(Exception):
            server = stack.enter_context(scp.serve(tmp_path))
        run = _upload(server, tmp_path, *AT_ONCE)
        with contextlib.suppress(OSError, ValueError):
            stack.close()
    assert _counts(run) == (10, 5, 5)
    assert sorted(_failed(run)) == [f"{n:05d}.dcm" for n in range(6, 11)]


@pytest.fixture
def storescp(tmp_path) -> Iterator[Callable[[], tuple[Server, subprocess.Popen[bytes]]]]:
    """Starts DCMTK's storescp, always on the same port and into the same folder."""
    port, started = free_port(), []
    (tmp_path / "taken").mkdir()
    peers = {"PACSIFIER": (LOOPBACK, free_port())}

    def start() -> tuple[Server, subprocess.Popen[bytes]]:
        argv = [find_binary("storescp"), "-od", "taken", "-aet", "TAKER", str(port)]
        process = subprocess.Popen(argv, cwd=tmp_path, env={**os.environ, "TCP_NODELAY": "1"})
        started.append(process)
        until(lambda: _listens(port), 20)
        return Server("storescp", tmp_path, "TAKER", port, peers, process), process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def test_a_pacs_that_is_killed_and_started_again_gets_everything_in_one_run(tmp_path, storescp):
    _write(tmp_path, 400)
    server, process = storescp()

    def kill_and_start() -> None:
        until(lambda: len(list((tmp_path / "taken").iterdir())) > 50, 30)
        process.kill()
        process.wait()
        storescp()

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    try:
        run = _upload(server, tmp_path, "--retry_wait", "0.3")
    finally:
        killer.join()
    assert "sent again" in run.stderr, "it was not killed in the middle"
    assert _counts(run) == (400, 400, 0)
    assert len(list((tmp_path / "taken").iterdir())) == 400


def test_after_orthanc_was_killed_a_second_run_completes(tmp_path, peers):
    _write(tmp_path, 300)
    server = start_orthanc(tmp_path / "orthanc", [], peers)

    def kill() -> None:
        until(lambda: server.count() > 30, 30)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run = _upload(server, tmp_path, *AT_ONCE)
    finally:
        killer.join()
    _, stored, failed = _counts(run)
    assert stored > 30
    assert failed > 0, "it was not killed in the middle"
    with start_orthanc(tmp_path / "orthanc", [], peers) as server:
        assert server.count() >= stored - 1, "what was called stored is there"
        assert _counts(_upload(server, tmp_path)) == (300, 300, 0)
        assert server.count() == 300


# --- the association is not admitted -----------------------------------------------------------------------------


def test_a_pacs_that_is_busy_for_the_moment_is_asked_again(tmp_path):
    from pynetdicom import AE, evt

    _write(tmp_path, 3)
    rejections = []

    def rejected(event: Any) -> None:
        rejections.append(event)
        if len(rejections) == 2:
            held.release()

    scp = Scp(_take, associations=1)
    with scp.serve(tmp_path, (evt.EVT_REJECTED, rejected)) as server:
        busy = AE()
        busy.add_requested_context("1.2.840.10008.1.1")
        held = busy.associate(LOOPBACK, scp.port, ae_title="MOODY")
        assert held.is_established
        run = _upload(server, tmp_path, "--retry_wait", "0.2")
    assert _counts(run) == (3, 3, 0)
    assert len(rejections) >= 2


@pytest.mark.parametrize("fault", ["down", "unknown title"])
def test_what_will_not_change_is_not_tried_again(fault, tmp_path, dcmqrscp):
    _write(tmp_path, 3)
    server = Server(dcmqrscp.kind, tmp_path, dcmqrscp.aet, dcmqrscp.port, dcmqrscp.peers, dcmqrscp.process)
    if fault == "down":
        server.port = free_port()
    else:
        server.aet = "SOMEBODY"
    run = _upload(server, tmp_path, "--retry_wait", "60", timeout=30)
    assert run.returncode == 3
    assert "again" not in run.stderr
    assert _told(run) == [], "nothing at all was sent: one line says so"


def test_a_peer_that_accepts_and_never_answers_is_left(tmp_path):
    _write(tmp_path, 1)
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen()
        server = Server(
            "silent", tmp_path, "SILENT", silent.getsockname()[1], {"PACSIFIER": (LOOPBACK, 1)}, None
        )  # type: ignore[arg-type]
        run = _upload(server, tmp_path, "--acse_timeout", 1, *AT_ONCE, timeout=30)
    assert run.returncode == 3, run.stderr


def test_a_pacs_that_is_silent_at_every_file_is_left_after_a_few(tmp_path):
    _write(tmp_path, 20)
    over = threading.Event()

    def answer(number: int, event: Any) -> int:
        over.wait(30)
        return 0x0000

    scp = Scp(answer)
    with scp.serve(tmp_path) as server:
        try:
            run = _upload(server, tmp_path, "--silence_timeout", 0.3, *AT_ONCE, timeout=30)
        finally:
            over.set()
    assert _counts(run) == (20, 0, 20)
    assert len(scp.asked) <= 5


# --- files -------------------------------------------------------------------------------------------------------


def test_files_that_vanish_or_change_while_others_are_sent_are_named(tmp_path):
    paths = _write(tmp_path, 8)

    def answer(number: int, event: Any) -> int:
        if number == 1:
            paths[2].unlink()
            os.truncate(paths[4], 300)
            paths[6].write_bytes(b"no DICOM file any more" * 50)
        return 0x0000

    with Scp(answer).serve(tmp_path) as server:
        run = _upload(server, tmp_path, *AT_ONCE)
    assert _counts(run) == (8, 5, 3)
    assert sorted(_failed(run)) == ["00003.dcm", "00005.dcm", "00007.dcm"]
    assert "No such file" in _reason(run, "00003.dcm")


def test_a_file_that_is_gone_before_the_tool_starts_is_named_and_not_sent_again(tmp_path):
    paths = _write(tmp_path, 3)
    files = [Sendable(path, TEXT_SR, EXPLICIT_LE) for path in paths]
    paths[1].unlink()
    (tmp_path / "work").mkdir()
    with Scp(_take).serve(tmp_path) as server, Toolbox() as toolbox:
        config = load_pacs_config(server.write_config(tmp_path / "config.json"))
        ends = {file.path: end for file, end in store(config, toolbox, tmp_path / "work", files, Timeouts())}
    assert [ends[path].stored for path in paths] == [True, False, True]
    assert ends[paths[1]].words == "cannot be read any more"
    assert not any(end.lost for end in ends.values())


def test_a_syntax_that_the_pacs_does_not_take_is_named_and_not_changed(tmp_path):
    _write(tmp_path, 3)
    for number in (1, 2):
        write_instance(tmp_path / "in" / f"{number:05d}.dcm", number, TransferSyntaxUID=RLE)
    with Scp(_take, syntaxes=[IMPLICIT_LE]).serve(tmp_path) as server:
        run = _upload(server, tmp_path)
    assert _counts(run) == (3, 1, 2)
    assert "resentation" in _reason(run, "00001.dcm")


HOSTILE_UIDS = [
    *("1.2.3 x", "1.2\n[[Profiles]]", "1.2é", "1..2", "1." * 50 + "1", "$(id)", "*", "1.2\\1.3", ".", "CT"),
    *("-aec OTHER", "@/etc/passwd", "", "../..", "1.2\0.3"),
]


@pytest.mark.parametrize("keyword", ["SOPClassUID", "TransferSyntaxUID"])
def test_a_file_with_a_hostile_uid_spoils_no_other(keyword, tmp_path):
    for number, uid in enumerate(HOSTILE_UIDS, 1):
        path = write_instance(tmp_path / "in" / f"{number:05d}.dcm", number, **{keyword: uid})
        assert uid.encode() in path.read_bytes()
    write_instance(tmp_path / "in" / "good.dcm", 99)
    scp = Scp(_take)
    with scp.serve(tmp_path) as server:
        run = _upload(server, tmp_path)
    assert scp.asked == [99]
    assert _counts(run) == (len(HOSTILE_UIDS) + 1, 1, len(HOSTILE_UIDS))
    assert {reason for _, reason in _told(run)} == {"no SOP Class UID or no transfer syntax that is a UID"}


def test_what_cannot_be_read_is_named_and_the_rest_is_sent(tmp_path):
    folder = tmp_path / "in"
    _write(tmp_path, 2)
    write_instance(folder / "locked.dcm", 3).chmod(0)
    write_instance(folder / "closed" / "inside.dcm", 4)
    write_instance(tmp_path / "elsewhere" / "linked.dcm", 5)
    (folder / "link.dcm").symlink_to(tmp_path / "elsewhere" / "linked.dcm")
    (folder / "folder link").symlink_to(tmp_path / "elsewhere")
    (folder / "error.dcm").symlink_to("/proc/self/mem")
    os.mkfifo(folder / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.dcm"))
        scp = Scp(_take)
        with scp.serve(tmp_path) as server:
            (folder / "closed").chmod(0)
            try:
                run = _run_without_privileges(server, tmp_path)
            finally:
                (folder / "closed").chmod(0o700)
    assert sorted(scp.asked) == [1, 2, 5]
    failed = {"locked.dcm", "closed", "folder link", "error.dcm", "pipe.dcm", "socket.dcm"}
    assert set(_failed(run)) == failed
    assert "3 stored, 6 not stored" in run.stderr


def _run_without_privileges(server: Server, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    from pacs.servers import pacsifier_argv

    config = server.write_config(tmp_path / "config.json")
    argv = [*DROP_CAPABILITIES, *pacsifier_argv("-u", "-c", config, "-ud", tmp_path / "in")]
    return subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=30, check=False)


def test_five_thousand_files_go_over_one_association(tmp_path, storescp):
    _write(tmp_path, 5000)
    server, _ = storescp()
    run = _upload(server, tmp_path)
    assert _counts(run) == (5000, 5000, 0)
    assert len(list((tmp_path / "taken").iterdir())) == 5000
    assert "again" not in run.stderr


# --- what is told ------------------------------------------------------------------------------------------------


def test_the_console_names_no_patient_and_obeys_no_file_name(tmp_path):
    folder = tmp_path / "in" / "sub-KENOBI4711" / "ses-20200101120000" / "00001-T1"
    write_instance(folder / "SRt.1.2.3", 1)
    for name in ("\x1b]0;owned\x07", "line\nfiles: 0 found, 0 stored, 0 not stored", "\u202egpj", "\x9b31m"):
        (folder / name).write_text("no image")
    with Scp(_take).serve(tmp_path) as server:
        run = _upload(server, tmp_path, "-v")
    assert run.returncode == 1
    assert "KENOBI" not in run.stderr
    assert all(character.isprintable() or character == "\n" for character in run.stderr)
    assert run.stderr.count("\nfiles: ") == 1
    assert "5 found, 1 stored, 4 not stored" in run.stderr
    assert "sub-…/ses-20200101120000/00001-T1/" in run.stderr
