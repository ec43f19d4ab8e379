"""The receiver as a PACS meets it: what is sent is kept bit by bit, lossless comes first, nothing is overwritten."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pacs.servers import EXPLICIT_LE, IMPLICIT_LE, LOOPBACK, RLE, free_port
from pydicom.uid import UID_dictionary

from pacsifier.dcmtk import negotiation, storescp
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import InputError, ToolError

MR = "1.2.840.10008.5.1.4.1.1.4"
US = "1.2.840.10008.5.1.4.1.1.3.1"
PRIVATE = "1.2.826.0.1.3680043.10.1.4.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_LOSSY = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
JPIP = "1.2.840.10008.1.2.4.94"
JPIP_DEFLATE = "1.2.840.10008.1.2.4.95"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K = "1.2.840.10008.1.2.4.203"
JPEG_PROCESS_3 = "1.2.840.10008.1.2.4.52"
JPEG_PROCESS_15 = "1.2.840.10008.1.2.4.58"
MPEG4 = "1.2.840.10008.1.2.4.102"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


@pytest.fixture
def toolbox() -> Iterator[Toolbox]:
    with Toolbox() as toolbox:
        yield toolbox


@contextlib.contextmanager
def _receiver(toolbox: Toolbox, staging: Path, *sop_classes: str) -> Iterator[tuple[Receiver, int]]:
    staging.mkdir(exist_ok=True)
    port = free_port()
    with Receiver(toolbox, staging, "PACSIFIER", port, sop_classes) as receiver:
        yield receiver, port


@contextlib.contextmanager
def _association(port: int, *contexts: tuple[str, Sequence[str]]) -> Iterator[Any]:
    from pynetdicom import AE

    entity = AE(ae_title="SENDER")
    for sop_class, syntaxes in contexts:
        entity.add_requested_context(sop_class, list(syntaxes))
    association = entity.associate(LOOPBACK, port, ae_title="PACSIFIER")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _chosen(port: int, sop_class: str, syntaxes: Sequence[str]) -> str | None:
    """The transfer syntax that the receiver takes where all these are offered in one context."""
    with _association(port, (sop_class, syntaxes)) as association:
        return next((str(each.transfer_syntax[0]) for each in association.accepted_contexts), None)


def _instance(
    sop_class: str = MR, syntax: str = EXPLICIT_LE, study: str = "1.2.3", sop: str = "1.2.3.4"
) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, sop
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.5"
    dataset.PatientID, dataset.PatientName = "007", "BOND^JAMES"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = sop
    return dataset


def _data_set(content: bytes) -> bytes:
    """What follows the file meta information (PS3.10 7.1), whose group length comes first."""
    assert content[128:132] == b"DICM"
    assert content[132:140] == b"\x02\0\0\0UL\x04\0"
    return content[144 + int.from_bytes(content[140:144], "little") :]


def _files(receiver: Receiver) -> list[Path]:
    return sorted(receiver.folder.iterdir())


def _until(condition: Callable[[], object], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# --- what is sent is kept ----------------------------------------------------------------------------------------


def _odd_explicit() -> bytes:
    """Legal and unusual: a sequence of undefined length, a private element, a group length, trailing padding."""
    sequence = (
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
        + (b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\0\x55\x11UI\x06\x001.2.3\0")
        + (b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0")
    )
    return (
        b"\x08\0\x00\0UL\x04\0\x63\0\0\0"
        b"\x08\0\x16\0UI\x1a\x001.2.840.10008.5.1.4.1.1.4\0"
        b"\x08\0\x18\0UI\x08\x001.2.3.4\0"
        + sequence
        + b"\x09\0\x10\0LO\x04\0ACME\x09\0\x01\x10UN\0\0\x04\0\0\0\xff\0\x01\x02"
        b"\x10\0\x20\0LO\x06\0 007  "
        b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0\0\0\0\0\0\0\0\0"
    )


def _part10(syntax: str, data_set: bytes) -> bytes:
    from io import BytesIO

    from pydicom.filewriter import write_file_meta_info

    buffer = BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, _instance(syntax=syntax).file_meta)
    return buffer.getvalue() + data_set


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, RLE, DEFLATED, JPEG_2000, BIG_ENDIAN, MPEG4])
def test_what_is_sent_is_stored_bit_by_bit(syntax, toolbox, tmp_path, monkeypatch):
    from pynetdicom import _config

    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    sent = tmp_path / "sent.dcm"
    sent.write_bytes(_part10(syntax, _odd_explicit()))
    with _receiver(toolbox, tmp_path / "staging") as (receiver, port):
        with _association(port, (MR, [syntax])) as association:
            assert association.send_c_store(sent).Status == 0x0000
        (stored,) = _files(receiver)
        content = stored.read_bytes()
    assert _data_set(content) == _odd_explicit()
    assert syntax.encode() in content[:1000]


def test_instances_of_the_hospital_arrive_bit_by_bit(toolbox, tmp_path, hospital, monkeypatch):
    from pynetdicom import _config

    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    records = [records[0] for records in hospital.by_series.values()]
    contexts = {(each.sop_class, (each.transfer_syntax,)) for each in records}
    with _receiver(toolbox, tmp_path) as (receiver, port):
        with _association(port, *contexts) as association:
            assert {association.send_c_store(each.path).Status for each in records} == {0x0000}
        arrived = sorted(_data_set(path.read_bytes()) for path in _files(receiver))
    assert arrived == sorted(_data_set(each.path.read_bytes()) for each in records)


def test_two_studies_that_share_an_instance_uid_give_two_files(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (receiver, port):
        with _association(port, (MR, [EXPLICIT_LE])) as association:
            for study in ("1.2.3", "1.2.4"):
                assert association.send_c_store(_instance(study=study)).Status == 0x0000
        contents = [path.read_bytes() for path in _files(receiver)]
    assert len(contents) == 2
    assert {b"1.2.3.5" in each for each in contents} == {True, False}


def test_the_same_instance_twice_gives_two_files(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (receiver, port):
        for _ in range(2):
            with _association(port, (MR, [EXPLICIT_LE])) as association:
                assert association.send_c_store(_instance()).Status == 0x0000
        assert len(_files(receiver)) == 2


def test_associations_are_served_at_the_same_time(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (receiver, port), contextlib.ExitStack() as stack:
        callers = [stack.enter_context(_association(port, (MR, [EXPLICIT_LE]))) for _ in range(4)]
        for number, association in enumerate(callers):
            assert association.send_c_store(_instance(sop=f"1.2.3.{number}")).Status == 0x0000
        assert len(_files(receiver)) == 4


def test_what_arrives_is_for_our_own_eyes(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (receiver, _):
        assert stat.S_IMODE(receiver.folder.stat().st_mode) == 0o700


# --- which transfer syntax is taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ([JPEG_2000, JPEG_2000_LOSSLESS], JPEG_2000_LOSSLESS),
        ([JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS], JPEG_LOSSLESS),
        ([JPEG_LS_LOSSY, JPEG_LS], JPEG_LS),
        ([HTJ2K, HTJ2K_LOSSLESS, JPEG_PROCESS_3, JPEG_PROCESS_15], JPEG_PROCESS_15),
        ([JPEG_2000, JPEG_BASELINE, RLE], RLE),
        ([JPEG_2000, DEFLATED], DEFLATED),
        ([JPEG_2000, BIG_ENDIAN], BIG_ENDIAN),
    ],
)
def test_lossless_is_taken_where_lossy_is_offered_first(offered, taken, toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (_, port):
        assert _chosen(port, MR, offered) == taken
        assert _chosen(port, MR, offered[::-1]) == taken


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ([JPEG_2000, JPEG_2000_LOSSLESS, IMPLICIT_LE, EXPLICIT_LE], EXPLICIT_LE),
        ([IMPLICIT_LE, EXPLICIT_LE], EXPLICIT_LE),
        ([JPEG_LOSSLESS, IMPLICIT_LE], IMPLICIT_LE),
        ([DEFLATED, BIG_ENDIAN, IMPLICIT_LE], IMPLICIT_LE),
    ],
)
def test_uncompressed_is_taken_where_it_is_offered(offered, taken, toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (_, port):
        assert _chosen(port, MR, offered) == taken


def test_each_transfer_syntax_of_the_standard_is_received_or_refused_and_never_ends_the_association(
    toolbox, tmp_path
):
    """storescp would accept any that it is told to, and end the association at the first object."""
    syntaxes = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
    assert len(syntaxes) > 60
    received = negotiation.received_syntaxes(toolbox.binary("storescp").version)
    with _receiver(toolbox, tmp_path) as (receiver, port):
        for number, syntax in enumerate(syntaxes):
            with _association(port, (US, [syntax])) as association:
                assert bool(association.accepted_contexts) == (syntax in received), syntax
                if association.accepted_contexts:
                    assert association.send_c_store(_instance(US, syntax, sop=f"1.2.3.{number}")).Status == 0
        assert len(_files(receiver)) == len(set(syntaxes) & set(received))
        refused = {each.syntaxes for each in receiver.refusals()}
        assert refused == {(syntax,) for syntax in syntaxes if syntax not in received}


def test_what_a_sender_proposed_in_vain_is_told_by_class_and_syntax(toolbox, tmp_path):
    contexts = [
        (MR, [EXPLICIT_LE]),
        (MR, [HTJ2K]),
        (US, [JPIP, HTJ2K]),
        (US, [HTJ2K_LOSSLESS]),
        (PRIVATE, [RLE]),
    ]
    with _receiver(toolbox, tmp_path) as (receiver, port), _association(port, *contexts):
        told = {each.sop_class: (each.syntaxes, each.whole) for each in receiver.refusals()}
    assert told == {
        MR: ((HTJ2K,), False),
        US: ((JPIP, HTJ2K, HTJ2K_LOSSLESS), True),
        PRIVATE: ((), True),
    }


def test_each_storage_class_of_the_standard_is_told_as_its_uid(toolbox, tmp_path):
    classes = [each for each in negotiation.storage_classes() if each != MR]
    with _receiver(toolbox, tmp_path, *(f"{PRIVATE}.{number}" for number in range(128))) as (receiver, port):
        for start in range(0, len(classes), 100):
            with _association(port, *((each, [EXPLICIT_LE]) for each in classes[start : start + 100])):
                pass
        assert _until(lambda: len(receiver.refusals()) >= len(classes))
        assert {each.sop_class for each in receiver.refusals()} == set(classes)


# --- which SOP classes are taken ---------------------------------------------------------------------------------


def test_a_class_outside_the_profile_is_refused_and_the_others_are_not(toolbox, tmp_path):
    contexts = [(PRIVATE, [EXPLICIT_LE]), (MR, [EXPLICIT_LE])]
    with _receiver(toolbox, tmp_path) as (_, port), _association(port, *contexts) as association:
        assert [str(each.abstract_syntax) for each in association.accepted_contexts] == [MR]
        (refused,) = association.rejected_contexts
        assert (str(refused.abstract_syntax), refused.result) == (PRIVATE, 3)


def test_a_class_that_was_refused_is_told_and_so_is_who_called(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (receiver, port):
        assert (receiver.contacted(), receiver.refused_classes()) == (False, ())
        with _association(port, (MR, [EXPLICIT_LE]), (PRIVATE, [EXPLICIT_LE]), (PRIVATE, [RLE])):
            assert _until(receiver.contacted)
        assert _until(receiver.refused_classes)
        assert receiver.refused_classes() == (PRIVATE,)


def test_a_log_of_many_associations_fills_no_disk_and_what_it_said_is_kept(toolbox, tmp_path, monkeypatch):
    monkeypatch.setattr("pacsifier.dcmtk.storescp.LONGEST_LOG", 20_000, raising=False)
    log = tmp_path / "storescp.log"
    with _receiver(toolbox, tmp_path) as (receiver, port):
        with _association(port, (MR, [EXPLICIT_LE]), (PRIVATE, [EXPLICIT_LE])):
            pass
        assert _until(lambda: b"Association Release" in log.read_bytes())
        for _ in range(20):
            with _association(port, (MR, [EXPLICIT_LE]), *((f"{PRIVATE}.{n}", [RLE]) for n in range(40))):
                pass
            receiver.check()
        assert _until(lambda: receiver.check() or log.stat().st_size < 60_000)
        assert receiver.contacted()
        assert receiver.refused_classes()[0] == PRIVATE


def test_a_private_class_that_is_named_is_stored(toolbox, tmp_path):
    from pynetdicom import _config

    with _receiver(toolbox, tmp_path, PRIVATE) as (receiver, port), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", True)
        with _association(port, (PRIVATE, [EXPLICIT_LE])) as association:
            assert association.send_c_store(_instance(sop_class=PRIVATE)).Status == 0x0000
        assert len(_files(receiver)) == 1


def test_named_classes_displace_common_ones_where_an_association_is_full():
    named = [f"{PRIVATE}.{number}" for number in range(100)]
    classes = negotiation.receiver_classes(named)
    assert classes[:100] == tuple(named)
    assert len(classes) == negotiation.MAX_CONTEXTS == 128
    assert len(set(classes)) == 128
    assert MR in classes


def test_a_class_is_offered_once_however_often_it_is_named():
    classes = negotiation.receiver_classes([MR, PRIVATE, MR])
    assert classes[:2] == (MR, PRIVATE)
    assert len(set(classes)) == len(classes)


def test_as_many_classes_as_an_association_holds_are_all_taken(toolbox, tmp_path):
    named = [f"{PRIVATE}.{number}" for number in range(128)]
    contexts = [(each, [EXPLICIT_LE]) for each in named]
    with _receiver(toolbox, tmp_path, *named) as (_, port), _association(port, *contexts) as association:
        assert len(association.accepted_contexts) == 128


# --- the port, the beginning and the end -------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", LOOPBACK])
def test_a_port_that_is_taken_is_named_with_its_key(address, toolbox, tmp_path):
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError) as caught, Receiver(toolbox, tmp_path, "PACSIFIER", port, []):
            pass
    assert str(port) in str(caught.value)
    assert "'move_port'" in str(caught.value)
    assert "another program" in str(caught.value)


def test_a_second_run_on_the_same_port_is_told_so_and_the_first_goes_on(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path / "first") as (first, port):
        (tmp_path / "second").mkdir()
        with pytest.raises(InputError), Receiver(toolbox, tmp_path / "second", "PACSIFIER", port, []):
            pass
        first.check()
        with _association(port, (MR, [EXPLICIT_LE])) as association:
            assert association.send_c_store(_instance()).Status == 0x0000


def test_the_next_run_can_listen_at_once_where_the_last_one_did(toolbox, tmp_path):
    port = free_port()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with Receiver(toolbox, tmp_path / name, "PACSIFIER", port, []) as receiver:
            with _association(port, (MR, [EXPLICIT_LE])) as association:
                assert association.send_c_store(_instance()).Status == 0x0000
            assert len(_files(receiver)) == 1


def test_a_caller_that_stays_does_not_keep_the_port(toolbox, tmp_path):
    port = free_port()
    (tmp_path / "first").mkdir()
    with contextlib.ExitStack() as stack:
        with Receiver(toolbox, tmp_path / "first", "PACSIFIER", port, []):
            caller = stack.enter_context(_association(port, (MR, [EXPLICIT_LE])))
            assert caller.is_established
        assert _until(lambda: not caller.is_established)
        (tmp_path / "second").mkdir()
        with Receiver(toolbox, tmp_path / "second", "PACSIFIER", port, []) as receiver:
            receiver.check()


def _leader(folder: Path) -> int:
    """The storescp that works in a folder, not what it forked or what of an earlier one is still ending."""
    leaders: list[int] = []

    def found() -> bool:
        leaders[:] = [pid for pid in _processes_in(folder) if _leads(pid)]
        return len(leaders) == 1

    assert _until(found)
    return leaders[0]


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


@pytest.mark.parametrize("busy", [False, True])
def test_a_receiver_that_died_is_started_again_and_told(busy, toolbox, tmp_path, caplog):
    with _receiver(toolbox, tmp_path) as (receiver, port), contextlib.ExitStack() as stack:
        if busy:
            stack.enter_context(_association(port, (PRIVATE, [EXPLICIT_LE])))
            caller = stack.enter_context(_association(port, (MR, [EXPLICIT_LE])))
            assert _until(lambda: len(_processes_in(tmp_path)) > 1)
        first = _leader(tmp_path)
        os.kill(first, signal.SIGKILL)
        assert _until(lambda: first not in _processes_in(tmp_path))
        receiver.check()
        assert _leader(tmp_path) != first
        assert "has died (signal 9); it is started again" in caplog.text
        assert not busy or _until(lambda: not caller.is_established)
        with _association(port, (MR, [EXPLICIT_LE])) as association:
            assert association.send_c_store(_instance()).Status == 0x0000
        assert len(_files(receiver)) == 1
        assert receiver.contacted()
        assert not busy or receiver.refused_classes() == (PRIVATE,)
        assert (tmp_path / "storescp.log").exists()
        assert (tmp_path / "storescp1.log").exists()


def test_a_receiver_that_dies_while_nobody_looks_is_started_before_anything_is_asked(toolbox, tmp_path):
    port = free_port()
    receiver = Receiver(toolbox, tmp_path, "PACSIFIER", port, [])
    receiver.start()
    os.kill(_leader(tmp_path), signal.SIGKILL)
    assert _until(lambda: not _processes_in(tmp_path)), "until then its port is still open"
    with receiver, _association(port, (MR, [EXPLICIT_LE])) as association:
        assert association.send_c_store(_instance()).Status == 0x0000


def test_a_receiver_that_dies_time_and_again_is_given_up(toolbox, tmp_path):
    with _receiver(toolbox, tmp_path) as (receiver, _):
        for _ in range(storescp.MOST_DEATHS):
            os.kill(_leader(tmp_path), signal.SIGKILL)
            assert _until(lambda: not _processes_in(tmp_path))
            receiver.check()
        os.kill(_leader(tmp_path), signal.SIGKILL)
        assert _until(lambda: not _processes_in(tmp_path))
        with pytest.raises(ToolError, match="storescp ended by itself") as caught:
            receiver.check()
    assert caught.value.exit_status == -signal.SIGKILL


@pytest.mark.parametrize("race", [False, True])
def test_a_port_that_another_run_holds_is_told_with_its_process_and_folder(
    race, toolbox, tmp_path, monkeypatch
):
    with _receiver(toolbox, tmp_path / ".first") as (first, port):
        (tmp_path / "second").mkdir()
        if race:
            free = iter([None])
            check = storescp.check_port
            monkeypatch.setattr(storescp, "check_port", lambda *it: next(free, it) and check(*it))
        with pytest.raises(InputError) as caught, Receiver(toolbox, tmp_path / "second", "P", port, []):
            pass
        for told in (
            "another run",
            str(os.getpid()),
            f"into {tmp_path} (",
            str(_leader(tmp_path / ".first")),
        ):
            assert told in str(caught.value)
        first.check()
        with _association(port, (MR, [EXPLICIT_LE])) as association:
            assert association.send_c_store(_instance()).Status == 0x0000
        assert len(_files(first)) == 1


_RUN = """
import sys, time
from pathlib import Path
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.toolbox import Toolbox
with Toolbox() as toolbox, Receiver(toolbox, Path(sys.argv[1]), "PACSIFIER", int(sys.argv[2]), []):
    print(flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("left", ["idle", "with a caller", "only what it forked"])
def test_a_receiver_that_outlived_its_run_is_told_with_how_to_end_it(left, tmp_path):
    port, staging = free_port(), tmp_path / "out" / ".staging"
    staging.mkdir(parents=True)
    argv = [sys.executable, "-c", _RUN, str(staging), str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as run, contextlib.ExitStack() as stack:
        assert run.stdout is not None
        assert run.stdout.readline()
        orphan = _leader(staging)
        if left != "idle":
            stack.enter_context(_association(port, (MR, [EXPLICIT_LE])))
            assert _until(lambda: len(_processes_in(staging)) > 1)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        # Stopped first, none has the time to act on the death of another.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in {run.pid, *map(int, children)} - {orphan}:
                os.kill(pid, number)
        run.wait()
        if left == "only what it forked":
            os.kill(orphan, signal.SIGKILL)
            assert _until(lambda: orphan not in _processes_in(staging))
        with pytest.raises(InputError, match="outlived its run") as caught:
            storescp.check_port(port, "'move_port'")
        assert str(tmp_path / "out;") in str(caught.value)
        subprocess.run(str(caught.value).rpartition(": ")[2].split(), check=True)
        assert _until(lambda: not _processes_in(staging))
        storescp.check_port(port, "'move_port'")


def test_a_receiver_that_dies_at_its_start_is_told_with_what_it_said(tmp_path):
    tool = tmp_path / "storescp"
    tool.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec echo '$dcmtk: storescp v3.6.7 2022-04-22 $'\n"
        "echo 'F: out of order' >&2\nexit 60\n"
    )
    tool.chmod(0o755)
    (tmp_path / "staging").mkdir()
    with Toolbox(tmp_path) as toolbox:
        receiver = Receiver(toolbox, tmp_path / "staging", "PACSIFIER", free_port(), [])
        with pytest.raises(ToolError, match="F: out of order") as caught, receiver:
            pass
    assert caught.value.exit_status == 60


def _processes_in(folder: Path) -> list[int]:
    """The live processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder.resolve():
                found.append(int(entry.name))
    return found
