"""What is offered to a PACS: every class that may come, and no syntax that would let pixels be lost."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
from pacs.servers import find_binary, free_port
from pydicom.uid import UID, UID_dictionary
from pynetdicom import sop_class
from pynetdicom.sop_class import _STORAGE_CLASSES

from pacsifier.dcmtk import negotiation

CLASSES = negotiation.storage_classes()


def test_every_storage_class_that_pynetdicom_knows_is_known_here() -> None:
    # Tests of private classes register some more in this process.
    standard = {uid for uid in _STORAGE_CLASSES.values() if uid.startswith("1.2.840.10008.")}
    assert len(standard) > 100
    assert standard <= set(CLASSES)
    assert len(CLASSES) > 128


def test_every_storage_class_of_the_standard_is_known_the_retired_ones_too() -> None:
    named = {
        uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class" and "Storage" in entry[0]
    }
    storage = {uid for uid in named if "Commitment" not in UID(uid).name and "Directory" not in UID(uid).name}
    assert len(storage) > 180
    assert storage <= set(CLASSES)


def test_no_storage_class_stands_twice() -> None:
    assert len(set(CLASSES)) == len(CLASSES)


def test_every_storage_class_is_one_of_the_standard() -> None:
    for uid in CLASSES:
        assert UID(uid).is_valid
        assert UID(uid).name != uid or uid in _STORAGE_CLASSES.values(), uid
        assert "Retired" not in UID(uid).info or "Storage" in UID(uid).name


def test_common_classes_are_offered_when_nothing_is_known_of_the_images() -> None:
    offered = negotiation.receiver_classes([])
    assert len(offered) == negotiation.MAX_CONTEXTS
    for name in ("CTImageStorage", "MRImageStorage", "EnhancedMRImageStorage", "EnhancedSRStorage"):
        assert getattr(sop_class, name) in offered[:40], name


def test_what_was_found_is_offered_before_the_common_classes() -> None:
    private = "1.3.12.2.1107.5.9.1"
    offered = negotiation.receiver_classes([private, CLASSES[-1], CLASSES[0], private])
    assert offered[:3] == (private, CLASSES[-1], CLASSES[0])
    assert len(offered) == len(set(offered)) == 128


@pytest.mark.parametrize("nonsense", ["FooBar", "", "1.2.", "1..2", "1.2\\1.3", "1.2 ", "1." * 32 + "1", "é"])
def test_nonsense_of_a_pacs_or_a_scanner_is_not_offered(nonsense: str) -> None:
    assert negotiation.receiver_classes([nonsense, "1.3.12.2"]) == negotiation.receiver_classes(["1.3.12.2"])


@pytest.mark.parametrize(
    ("said", "uid"),
    [
        ("1.3.12.2.1107.5.9.1", "1.3.12.2.1107.5.9.1"),
        ("CTImageStorage", "1.2.840.10008.5.1.4.1.1.2"),
        ("DigitalXRayImageStorageForPresentation", "1.2.840.10008.5.1.4.1.1.1.1"),
        ("UltrasoundMultiframeImageStorage", "1.2.840.10008.5.1.4.1.1.3.1"),
        ("TwelveLeadECGWaveformStorage", "1.2.840.10008.5.1.4.1.1.9.1.1"),
        ("MacularGridThicknessAndVolumeReportStorage", "1.2.840.10008.5.1.4.1.1.79.1"),
        ("ImplantationPlanSRDocumentStorage", "1.2.840.10008.5.1.4.1.1.88.70"),
        ("RETIRED_UltrasoundImageStorage", "1.2.840.10008.5.1.4.1.1.6"),
        ("UltrasoundImageStorageRetired", "1.2.840.10008.5.1.4.1.1.6"),
        ("UltrasoundImageStorage", "1.2.840.10008.5.1.4.1.1.6.1"),
        ("DRAFT_SRTextStorage", "1.2.840.10008.5.1.4.1.1.88.1"),
        ("DICOS_CTImageStorage", "1.2.840.10008.5.1.4.1.1.501.1"),
        ("VerificationSOPClass", ""),
        ("FooBar", ""),
        ("1.2.", ""),
        ("", ""),
    ],
)
def test_a_class_is_known_by_its_uid_and_by_dcmtks_name(said: str, uid: str) -> None:
    assert negotiation.class_uid(said) == uid


IMPLICIT = ("1.2.840.10008.1.2",)


@pytest.mark.parametrize(
    ("contexts", "senders"),
    [
        ([], ()),
        ([("FooBar", IMPLICIT)], ()),
        ([("1.2.3", ("Foo",))], ()),
        ([("1.2.3", ())], ()),
        ([("1.2.3", IMPLICIT)], ("Foo",)),
        ([("1.2.3", IMPLICIT), ("1.2.3", IMPLICIT)], ()),
        ([(f"1.2.{number}", IMPLICIT) for number in range(129)], ()),
    ],
)
def test_a_profile_that_dcmtk_would_refuse_is_never_written(contexts: list, senders: tuple) -> None:
    with pytest.raises(ValueError, match=r"UID|contexts"):
        negotiation.config_text(contexts, senders)


def test_an_association_never_offers_more_than_128_contexts() -> None:
    assert len(negotiation.receiver_classes(f"1.2.{number}" for number in range(500))) == 128


def test_uncompressed_stands_before_lossless_and_lossless_before_lossy() -> None:
    # storescp takes the first syntax of the list that the sender offers.
    order = {uid: place for place, uid in enumerate(negotiation.EVERY_SYNTAX)}
    assert max(order[uid] for uid in negotiation.UNCOMPRESSED) < min(
        order[uid] for uid in negotiation.LOSSLESS
    )
    assert max(order[uid] for uid in negotiation.LOSSLESS) < min(order[uid] for uid in negotiation.LOSSY)
    assert negotiation.EVERY_SYNTAX[0] == "1.2.840.10008.1.2.1"
    assert len(order) == len(negotiation.EVERY_SYNTAX)


def test_syntaxes_are_called_lossless_as_the_standard_calls_them() -> None:
    plain = ("Deflated", "Encapsulated Uncompressed", "Big Endian")
    for uid in negotiation.LOSSLESS:
        assert "Lossless" in UID(uid).name or any(word in UID(uid).name for word in plain), uid
    for uid in negotiation.LOSSY:
        assert "Lossless Only" not in UID(uid).name
        assert "(Process 14" not in UID(uid).name


def test_no_object_can_come_without_its_pixels() -> None:
    assert not [uid for uid in negotiation.EVERY_SYNTAX if "JPIP" in UID(uid).name]


def test_every_other_transfer_syntax_of_the_standard_is_taken_by_some_dcmtk() -> None:
    named = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    left_out = {UID(uid).name for uid in named - set(negotiation.EVERY_SYNTAX)}
    no_objects = ("JPIP", "SMPTE", "MIME", "XML", "Papyrus")
    assert not [name for name in left_out if not any(word in name for word in no_objects)], left_out


@pytest.mark.parametrize(
    ("version", "taken", "not_yet"),
    [
        ("3.6.6", ["50", "52", "58", "66", "90", "108"], ["201", "100.1", "110"]),
        ("3.6.7", ["50", "52", "58", "66", "90", "108"], ["201", "202", "203", "106.1", "111"]),
        ("3.6.8", ["100.1", "106.1"], ["201", "112"]),
        ("3.6.9", ["201", "202", "203", "110", "111", "112", "100.1"], ["204"]),
        ("3.10.0", ["201", "112"], ["94", "95", "204", "205"]),
    ],
)
def test_a_receiver_takes_what_its_version_of_dcmtk_receives(
    version: str, taken: list, not_yet: list
) -> None:
    received = negotiation.received_syntaxes(version)
    assert {f"1.2.840.10008.1.2.4.{end}" for end in taken} <= set(received)
    assert not {f"1.2.840.10008.1.2.4.{end}" for end in not_yet} & set(received)
    assert list(received) == [uid for uid in negotiation.EVERY_SYNTAX if uid in received]


def test_classes_and_syntaxes_are_told_with_their_names_in_the_standard() -> None:
    for uid in (*negotiation.storage_classes(), *negotiation.EVERY_SYNTAX):
        name = UID(uid).name.replace(" SOP Class", "")
        assert negotiation.named(uid) == f"{uid} ({name})" or name == uid, uid
    assert negotiation.named("1.3.12.2") == "1.3.12.2"


def test_contexts_of_one_syntax_list_share_it() -> None:
    text = negotiation.config_text([("1.2.3", ("1.2.840.10008.1.2",)), ("1.2.4", ("1.2.840.10008.1.2",))])
    assert text.count("TransferSyntax1 = 1.2.840.10008.1.2") == 1
    assert "PresentationContext1 = 1.2.3\\Syntaxes0" in text
    assert "PresentationContext2 = 1.2.4\\Syntaxes0" in text


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
    return False


@pytest.mark.parametrize(
    "found", [(), ("1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.66"), ("FooBar", "1.2.3")]
)
def test_a_real_storescp_accepts_the_profile_and_listens(tmp_path: Path, found: tuple[str, ...]) -> None:
    contexts = [(uid, negotiation.EVERY_SYNTAX) for uid in negotiation.receiver_classes(found)]
    (tmp_path / "receiver.cfg").write_text(negotiation.config_text(contexts), encoding="ascii")
    port = free_port()
    argv = [find_binary("storescp"), "-xf", "receiver.cfg", negotiation.NAME, str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=tmp_path, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        assert _listens(process, port), (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait(30)
