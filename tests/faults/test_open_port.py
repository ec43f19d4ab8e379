"""What a user could lose by what happens to the port on which images are received: callers, deaths, other runs."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
import pytest
from pacs.runs import MARK, arguments, has_received, instance_paths, port_is_free, read_table, until
from pacs.servers import EXPLICIT_LE, LOOPBACK, start_dcmqrscp
from pydicom.uid import DeflatedExplicitVRLittleEndian

from faults.quirk_pacs import FOR_EVER, Quirks, start_quirk_pacs
from faults.test_far_side import (
    LOCALIZER,
    QUICK,
    assert_complete,
    assert_incomplete,
    of,
    read_record,
    saved,
    unexpected,
)
from faults.test_this_side import ARCHIVE, ended, save, started, waiting
from pacsifier.demo import make_archive
from pacsifier.dicom import part10


@pytest.fixture(scope="module")
def archive(tmp_path_factory, peers):
    """A dcmqrscp with two series of 60 instances."""
    files = make_archive(tmp_path_factory.mktemp("archive"), 1, 1, 2, 60, 32)
    with start_dcmqrscp(tmp_path_factory.mktemp("pacs"), files, peers) as server:
        yield server


def processes_of(mark: str) -> Iterator[tuple[int, bytes]]:
    """The processes of a run, by what it hands on to them, and their command lines."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                yield int(entry.name), (entry / "cmdline").read_bytes()


def receiver_of(mark: str) -> int | None:
    """The storescp that listens for a run, not what it forked."""
    receivers = (pid for pid, argv in processes_of(mark) if b"storescp" in argv)
    return next((pid for pid in receivers if os.getpgid(pid) == pid), None)


def kill_at_once(pids: Sequence[int]) -> None:
    """Stopped first, none has the time to act on the death of another."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


# --- callers -----------------------------------------------------------------------------------------------------


def propose(port: int, abstract_syntax: str) -> None:
    """Proposes it as a scanner does, which checks no UID."""
    from pynetdicom import AE, _config, build_context

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_config, "ENFORCE_UID_CONFORMANCE", False)
        entity = AE(ae_title="SCANNER")
        # The second is taken, so that there is an association.
        contexts = [
            build_context(abstract_syntax, EXPLICIT_LE),
            build_context("1.2.840.10008.1.1", EXPLICIT_LE),
            build_context("1.2.840.10008.5.1.4.1.1.4", EXPLICIT_LE),
        ]
        association = entity.associate(LOOPBACK, port, contexts=contexts, ae_title="PACSIFIER")
        assert association.is_established
        association.release()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI:UserWarning")
@pytest.mark.parametrize("nonsense", ["FooBar", "1.2.3.", "1.2.840.10008.5.1.4.1.1.4.x"])
def test_a_proposal_of_nonsense_does_not_keep_the_second_round_from_coming(
    quirky, hospital, tmp_path, nonsense
):
    lost = of(hospital, LOCALIZER)[0]
    pacs = quirky(lose=(lost.sop_uid,), object_times=1, move_silence_s=2, move_times=1)
    args = arguments(pacs, tmp_path, [LOCALIZER], "--save", *QUICK)
    with started(args) as (process, _):
        until(lambda: pacs.moves, 30)
        propose(pacs.our_port, nonsense)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert len(pacs.moves) == 2
    assert len(instance_paths(tmp_path / "out")) == len(of(hospital, LOCALIZER))


def test_an_object_that_grows_is_no_silence(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 1, 1, 1, 1, 1024)
    records = list(map(read_record, files))
    pacs = quirky(files, slow={records[0].sop_uid: 5.0}, no_pending=True)
    assert_complete(saved(pacs, tmp_path, *ARCHIVE, options=("--silence_timeout", "2")), records)
    assert len(pacs.moves) == 1


def test_an_object_that_has_stopped_growing_is_a_silence(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 1, 1, 1, 1, 1024)
    pacs = quirky(files, slow={read_record(files[0]).sop_uid: FOR_EVER}, no_pending=True)
    began = time.monotonic()
    done = saved(pacs, tmp_path, *ARCHIVE, options=("--silence_timeout", "0.5"))
    assert (done.status, len(done.files)) == (1, 0)
    assert time.monotonic() - began < 20


# Less than the bomb of 280 MB needs on top of a run with its threads, whose stacks and arenas count too.
LITTLE_MEMORY = "import resource; resource.setrlimit(resource.RLIMIT_AS, (700 << 20, -1))"


def inflated(source: Path, target: Path, size: int) -> Path:
    """A copy whose data set is deflated and ends in so many MB of pixels, all zeros, as few bytes."""
    dataset = pydicom.dcmread(source)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.PixelData = b""
    dataset.save_as(target)
    content = target.read_bytes()
    offset = part10.read(target, ()).dataset_offset
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = zlib.decompress(content[offset:], -zlib.MAX_WBITS)[:-4]
    head = stream.compress(plain + struct.pack("<L", size << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    zeros = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    target.write_bytes(content[:offset] + head + zeros * size + stream.flush())
    return target


def test_an_object_that_inflates_without_end_is_named_and_the_others_come(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 1, 1, 1, 3, 32)
    bomb = inflated(files[0], tmp_path / "bomb.dcm", 280)
    assert bomb.stat().st_size < 1 << 20
    pacs = quirky([bomb, *files[1:]])
    args = arguments(pacs, tmp_path, ARCHIVE, "--save", *QUICK)
    done = ended(args, tmp_path / "out", patch=LITTLE_MEMORY)
    assert_incomplete(done, list(map(read_record, files[1:])), "inflates beyond")
    (row,) = read_table(done.out / "logs" / "unexpected.csv")
    assert row["SOPInstanceUID"] == read_record(files[0]).sop_uid
    assert row["Why"].startswith("it inflates to more than is read")
    assert [path.stat().st_size for path in unexpected(done)] == [bomb.stat().st_size]


# --- deaths ------------------------------------------------------------------------------------------------------


@pytest.fixture
def paced(tmp_path, peers):
    """A PACS of its own that sends 24 images, ten a second."""
    files = make_archive(tmp_path / "archive", 1, 1, 2, 12, 32)
    with start_quirk_pacs(tmp_path / "pacs", files, peers, Quirks(pace=10)) as pacs:
        yield pacs


def test_a_receiver_that_was_killed_is_started_again_and_all_comes(paced, tmp_path):
    args = arguments(paced, tmp_path, ARCHIVE, "--save", *QUICK)
    with started(args) as (process, mark):
        until(lambda: len(paced.sent) > 3, 30)
        os.kill(receiver_of(mark) or 0, signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "has died (signal 9); it is started again" in stderr
    assert len(instance_paths(tmp_path / "out")) == 24
    log = read_table(tmp_path / "out" / "logs" / "pacsifier_log.csv")
    assert {row["Completed"] for row in log} == {"True"}


@pytest.mark.parametrize("moment", ["objects arrive", "between two batches"])
def test_a_receiver_of_a_real_pacs_that_was_killed_is_started_again_and_all_comes(archive, tmp_path, moment):
    out = tmp_path / "out"
    came = {
        "objects arrive": lambda: has_received(out),
        "between two batches": lambda: len(instance_paths(out)) == 60,
    }
    args = arguments(archive, tmp_path, ARCHIVE, "--save", *QUICK, batch_size=1, batch_wait_time=2)
    with started(args) as (process, mark):
        until(came[moment], 30)
        os.kill(receiver_of(mark) or 0, signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "it is started again" in stderr
    assert len(instance_paths(out)) == 120


def test_a_receiver_that_is_killed_time_and_again_ends_a_run_that_can_be_resumed(paced, tmp_path):
    args = arguments(paced, tmp_path, ARCHIVE, "--save", *QUICK)
    with started(args) as (process, mark):
        until(lambda: len(paced.sent) > 3, 30)
        shot: set[int] = set()
        while process.poll() is None:
            receiver = receiver_of(mark)
            if receiver is not None and receiver not in shot and not port_is_free(paced.our_port):
                shot.add(receiver)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(receiver, signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "storescp ended by itself" in stderr
    again = save(paced, tmp_path, ARCHIVE, "--resume")
    assert (again.status, len(again.files)) == (0, 24)


def test_whoever_kills_all_that_names_pacsifier_leaves_no_receiver(archive, tmp_path):
    with started(waiting(archive, tmp_path)) as (process, mark):
        until(lambda: len(instance_paths(tmp_path / "out")) == 60, 30)
        named = [pid for pid, argv in processes_of(mark) if b"pacsifier" in argv]
        assert process.pid in named
        kill_at_once(named)
        process.wait(10)
        until(lambda: port_is_free(archive.our_port) and not list(processes_of(mark)), 5)
    assert save(archive, tmp_path, ARCHIVE, "--resume").status == 0


def test_a_receiver_that_outlived_its_run_is_told_with_how_to_end_it(archive, tmp_path):
    with started(waiting(archive, tmp_path)) as (process, mark):
        until(lambda: len(instance_paths(tmp_path / "out")) == 60, 30)
        orphan = receiver_of(mark) or 0
        kill_at_once([pid for pid, _ in processes_of(mark) if pid != orphan])
        process.wait(10)
        assert not port_is_free(archive.our_port)
        refused = save(archive, tmp_path, ARCHIVE, "--resume", clean=False)
        assert refused.status == 2
        for told in (f"kill {orphan}\n", str(tmp_path / "out"), "move_port"):
            assert told in refused.stderr
        os.kill(orphan, signal.SIGTERM)
        until(lambda: port_is_free(archive.our_port), 5)
    assert save(archive, tmp_path, ARCHIVE, "--resume").status == 0


# --- two runs, one port ------------------------------------------------------------------------------------------

LOST_RACE = """
import pacsifier.dcmtk.storescp as storescp, pacsifier.transfer.fetch.ways as ways
check, free = storescp.check_port, iter([None])
ways.check_port = lambda *_: None
storescp.check_port = lambda *it: next(free, it) and check(*it)
"""


@pytest.mark.parametrize("patch", ["", LOST_RACE])
def test_of_two_runs_on_one_port_the_second_is_told_who_holds_it(archive, tmp_path, patch):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    with started(waiting(archive, one)) as (process, _):
        until(lambda: len(instance_paths(one / "out")) == 60, 30)
        second = ended(arguments(archive, other, ARCHIVE, "--save"), other / "out", patch=patch)
        assert second.status == 2, second.stderr
        for told in (f"process {process.pid}", str(one / "out"), "move_port", "another run"):
            assert told in second.stderr
        assert instance_paths(other / "out") == []
        assert process.poll() is None
        process.terminate()
        assert process.wait(10) == 143
