"""`pacsifier --upload` to a PACS of one transfer syntax: all values and pixels arrive, or the file is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from pacs.servers import LOOPBACK, RLE, Peers, Server, free_port, run_pacsifier, start_dcmqrscp, start_orthanc
from pacsifier.dcmtk.storescu import Sendable, associations, contexts

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = (EXPLICIT, IMPLICIT, BIG)
MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"
BITS = (8, 16)
PIXELS = 0x7FE00010


def _dataset(syntax: str, bits: int, number: int) -> Dataset:
    """An instance with values of all kinds that look otherwise in another byte order or without VR."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    made.SOPClassUID, made.SOPInstanceUID = MR, f"2.25.77.1.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = "2.25.77", "2.25.77.1"
    made.PatientName, made.PatientID = "Müller^Zoë", "P77"
    made.StudyDate, made.StudyTime, made.AccessionNumber = "20200101", "101112.25", ""
    made.Modality, made.SeriesNumber, made.InstanceNumber = "MR", 1, number
    made.EchoTime, made.ImagePositionPatient = 2.5, [-1.25, 0, 3]
    made.FrameIncrementPointer = 0x00181063
    made.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
    made.RedPaletteColorLookupTableData = bytes(range(256)) * 2
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-A0100", "Brain, très long"
    item.add_new(0x00091010, "US", [1, 258])
    made.AnatomicRegionSequence = Sequence([item, Dataset()])
    made.add_new(0x00090010, "LO", "A COMPANY")
    made.add_new(0x00091001, "US", [1, 258, 65535])
    made.add_new(0x00091002, "FD", [1.5, -2.25])
    made.add_new(0x00091003, "OB", b"\x01\x02\x03\x04")
    made.add_new(0x00091004, "SL", -5)
    made.Rows, made.Columns, made.SamplesPerPixel = 3, 5, 1
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.SmallestImagePixelValue = 2
    pixels = (np.arange(15) * (7 if bits == 8 else 4099)).astype(np.uint8 if bits == 8 else np.uint16)
    order = ">" if syntax == BIG else "<"
    raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made.add_new(PIXELS, "OB" if bits == 8 and syntax != IMPLICIT else "OW", raw + bytes(len(raw) % 2))
    return made


def _write(folder: Path, syntax: str, bits: int = 16, number: int = 1) -> Path:
    made = _dataset(syntax, bits, number)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = (
        MR,
        made.SOPInstanceUID,
    )
    made.file_meta.TransferSyntaxUID = pydicom.uid.UID(EXPLICIT if syntax == RLE else syntax)
    if syntax == RLE:
        made.compress(RLE, generate_instance_uid=False)
    path = folder / f"{number}.dcm"
    folder.mkdir(parents=True, exist_ok=True)
    made.save_as(path, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG, enforce_file_format=True)
    return path


def _same(sent: Dataset, got: Dataset) -> None:
    """All values are there, whatever the encoding; of private ones without VR the bytes are looked at elsewhere."""
    _same_values(sent, got, [_words(each) for each in (sent, got)])
    assert np.array_equal(sent.pixel_array, got.pixel_array)


def _same_values(sent: Dataset, got: Dataset, words: list[str]) -> None:
    assert [each.tag for each in got if each.tag.element] == [each.tag for each in sent if each.tag.element]
    for element in sent:
        other = got[element.tag]
        if element.VR == "SQ":
            for one, another in zip(element.value, other.value, strict=True):
                _same_values(one, another, words)
        elif element.VR == "OW" and element.tag != PIXELS:
            here, there = (
                np.frombuffer(*each) for each in zip((element.value, other.value), words, strict=True)
            )
            assert np.array_equal(here, there), element
        elif element.tag != PIXELS and not (element.tag.is_private and other.VR == "UN"):
            assert other.value == element.value, element


def _words(instance: Dataset) -> str:
    """How 16 bits are written in it."""
    return ">u2" if instance.file_meta.TransferSyntaxUID == BIG else "<u2"


def _private(got: Dataset) -> list[bytes]:
    """The private values of an instance that came without their VR, in their order."""
    return [got[tag].value for tag in (0x00091001, 0x00091002, 0x00091003, 0x00091004)]


class Scp:
    """A Storage SCP that takes these transfer syntaxes and keeps what comes, as it was encoded."""

    def __init__(self, folder: Path, *syntaxes: str, classes: tuple[str, ...] = (MR,)) -> None:
        from pynetdicom import AE, evt

        self.folder, self.port, self.proposed = folder, free_port(), [list[Any]()]
        folder.mkdir()
        self._entity = AE(ae_title="NARROW")
        for sop_class in classes:
            self._entity.add_supported_context(sop_class, list(syntaxes))
        handlers = [(evt.EVT_C_STORE, self._keep), (evt.EVT_REQUESTED, self._hear)]
        self._thread = self._entity.start_server((LOOPBACK, self.port), block=False, evt_handlers=handlers)

    def _hear(self, event: Any) -> None:
        self.proposed.append(
            [
                (str(each.abstract_syntax), [*map(str, each.transfer_syntax)])
                for each in event.assoc.requestor.requested_contexts
            ]
        )

    def _keep(self, event: Any) -> int:
        path = self.folder / f"{event.request.AffectedSOPInstanceUID}.dcm"
        path.write_bytes(event.encoded_dataset())
        return 0x0000

    def __enter__(self) -> Server:
        peers = {"PACSIFIER": (LOOPBACK, free_port())}
        return Server("narrow", self.folder, "NARROW", self.port, peers, None)  # type: ignore[arg-type]

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    @property
    def taken(self) -> list[Dataset]:
        return [pydicom.dcmread(path) for path in sorted(self.folder.glob("2.25*"))]


def _upload(server: Server, tmp_path: Path) -> Any:
    config = server.write_config(tmp_path / "config.json")
    return run_pacsifier("--upload", "-c", config, "-ud", tmp_path / "in", cwd=tmp_path)


# --- one syntax only ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("held", UNCOMPRESSED)
@pytest.mark.parametrize("taken", UNCOMPRESSED)
def test_an_uncompressed_file_arrives_with_all_values_in_the_syntax_that_the_pacs_takes(
    tmp_path: Path, held: str, taken: str, bits: int
) -> None:
    sent = pydicom.dcmread(_write(tmp_path / "in", held, bits))
    scp = Scp(tmp_path / "scp", taken)
    with scp as server:
        run = _upload(server, tmp_path)
    assert run.returncode == 0, run.stderr
    assert ("another uncompressed transfer syntax" in run.stderr) is (held != taken)
    (got,) = scp.taken
    assert got.file_meta.TransferSyntaxUID == taken
    _same(sent, got)
    if taken == IMPLICIT:
        us, fd = np.array([1, 258, 65535], "<u2").tobytes(), np.array([1.5, -2.25], "<f8").tobytes()
        assert _private(got) == [us, fd, b"\x01\x02\x03\x04", np.array([-5], "<i4").tobytes()]


@pytest.mark.parametrize("held", UNCOMPRESSED)
def test_a_file_goes_as_it_is_where_the_pacs_takes_that(tmp_path: Path, held: str) -> None:
    _write(tmp_path / "in", held)
    scp = Scp(tmp_path / "scp", *UNCOMPRESSED)
    with scp as server:
        run = _upload(server, tmp_path)
    assert (run.returncode, "another" in run.stderr) == (0, False), run.stderr
    assert [each.file_meta.TransferSyntaxUID for each in scp.taken] == [held]
    proposed = {syntax for _, syntaxes in scp.proposed[-1] for syntax in syntaxes}
    assert IMPLICIT in proposed, "PS3.5 10.1"


@contextmanager
def _orthanc(folder: Path, peers: Peers, syntax: str) -> Iterator[tuple[Server, Callable[[], list[Dataset]]]]:
    with start_orthanc(folder, [], peers, AcceptedTransferSyntaxes=[syntax]) as server:
        yield server, lambda: [pydicom.dcmread(BytesIO(server.file("2.25.77.1.1")))]


@contextmanager
def _dcmqrscp(
    folder: Path, peers: Peers, syntax: str
) -> Iterator[tuple[Server, Callable[[], list[Dataset]]]]:
    with start_dcmqrscp(folder, [], peers, classes={MR: (syntax,)}) as server:
        yield server, lambda: [pydicom.dcmread(path) for path in (folder / "storage").glob("*MR*")]


@pytest.mark.parametrize("start", [_orthanc, _dcmqrscp])
@pytest.mark.parametrize("held", UNCOMPRESSED)
@pytest.mark.parametrize("taken", UNCOMPRESSED)
def test_a_real_pacs_of_one_syntax_gets_all_values(
    tmp_path: Path, peers: Peers, start: Any, held: str, taken: str
) -> None:
    sent = pydicom.dcmread(_write(tmp_path / "in", held))
    with start(tmp_path / "pacs", peers, taken) as (server, held_now):
        run = _upload(server, tmp_path)
        assert run.returncode == 0, run.stderr
        (got,) = held_now()
    assert got.file_meta.TransferSyntaxUID == taken
    _same(sent, got)


# --- compressed files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [RLE, DEFLATED])
@pytest.mark.parametrize("beside", [True, False])
def test_a_compressed_file_is_never_decompressed_in_silence(tmp_path: Path, held: str, beside: bool) -> None:
    path = _write(tmp_path / "in", held)
    if beside:
        _write(tmp_path / "in", EXPLICIT, number=2)
        _write(tmp_path / "in", IMPLICIT, number=3)
    scp = Scp(tmp_path / "scp", EXPLICIT, IMPLICIT)
    with scp as server:
        run = _upload(server, tmp_path)
    assert run.returncode == 1
    assert len(scp.taken) == (2 if beside else 0)
    (reason,) = [line for line in run.stderr.splitlines() if str(path) in line]
    for word in (held, "presentation", "decompress"):
        assert word in reason


def test_compressed_and_uncompressed_files_of_one_class_arrive_each_as_it_is(tmp_path: Path) -> None:
    for number, syntax in enumerate((RLE, EXPLICIT, IMPLICIT, BIG, RLE), 1):
        _write(tmp_path / "in", syntax, number=number)
    scp = Scp(tmp_path / "scp", *UNCOMPRESSED, RLE)
    with scp as server:
        run = _upload(server, tmp_path)
    assert run.returncode == 0, run.stderr
    got = [each.file_meta.TransferSyntaxUID for each in scp.taken]
    assert got == [RLE, EXPLICIT, IMPLICIT, BIG, RLE]


def test_a_class_that_the_pacs_does_not_take_is_named_with_what_to_do(tmp_path: Path) -> None:
    _write(tmp_path / "in", EXPLICIT)
    with Scp(tmp_path / "scp", EXPLICIT, classes=(CT,)) as server:
        run = _upload(server, tmp_path)
    assert run.returncode == 1
    assert MR in run.stderr
    assert "accept this class" in run.stderr


# --- what an association offers ----------------------------------------------------------------------------------


def _files(*pairs: tuple[str, str]) -> list[Sendable]:
    return [Sendable(Path(f"{number}.dcm"), *pair) for number, pair in enumerate(pairs)]


@pytest.mark.parametrize(
    ("held", "offered"),
    [
        ([EXPLICIT], [(EXPLICIT,), (IMPLICIT, BIG)]),
        ([IMPLICIT], [(IMPLICIT,), (EXPLICIT, BIG)]),
        ([BIG], [(BIG,), (EXPLICIT, IMPLICIT)]),
        ([EXPLICIT, IMPLICIT], [(IMPLICIT,), (EXPLICIT,), (BIG,)]),
        ([*UNCOMPRESSED], [(IMPLICIT,), (EXPLICIT,), (BIG,)]),
        ([RLE], [(RLE,)]),
        ([DEFLATED], [(DEFLATED,)]),
    ],
)
def test_beside_a_files_own_syntax_the_other_uncompressed_ones_are_offered(
    held: list[str], offered: list[tuple[str, ...]]
) -> None:
    files = _files(*((MR, each) for each in held))
    assert associations(files) == [files]
    assert contexts(files) == [(MR, each) for each in offered]


def test_forms_of_a_class_that_are_not_made_of_each_other_never_share_an_association() -> None:
    files = _files((MR, RLE), (MR, EXPLICIT), (CT, EXPLICIT), (MR, DEFLATED), (MR, IMPLICIT), (CT, RLE))
    for part in associations(files):
        forms = {(each.sop_class, each.form) for each in part}
        assert len({sop_class for sop_class, _ in forms}) == len(forms)
