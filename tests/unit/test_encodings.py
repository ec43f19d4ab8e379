"""One object that is sent twice in two encodings is no contradiction; two objects are, however they are encoded."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate

from pacsifier.transfer.fetch.encodings import are_one_object

np = pytest.importorskip("numpy")

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, RLE, JPEG, J2K = (f"1.2.840.10008.1.2.{end}" for end in ("1.99", "5", "4.50", "4.90"))


def made(
    path: Path, syntax: str, *, pixel: int = 7, name: str = "KENOBI^OBIWAN", pixels: bool = True
) -> Path:
    """An image of 16 bits, or an object without one, in a transfer syntax; compressed with loss: no real pixels."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
    dataset.PatientName, dataset.EchoTime = name, "4.50"
    dataset.ReferencedImageSequence = [pydicom.Dataset()]
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4"
    dataset.private_block(0x0019, "SOMEBODY", create=True).add_new(1, "UN", b"\1\2\3\4")
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    if pixels:
        dataset.Rows = dataset.Columns = 4
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        values = np.arange(16, dtype="<u2")
        values[-1] = pixel
        dataset.PixelData = values.astype(">u2" if syntax == BIG else "<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        if syntax == RLE:
            dataset.compress(RLE, generate_instance_uid=False)
        elif syntax in (JPEG, J2K):
            dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(
        path, enforce_file_format=True, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG
    )
    return path


@pytest.mark.parametrize("pixels", [True, False], ids=["image", "no image"])
@pytest.mark.parametrize("other", [IMPLICIT, BIG, DEFLATED, RLE])
def test_one_object_in_two_encodings_without_loss_is_one(other, pixels, tmp_path) -> None:
    first = made(tmp_path / "1", EXPLICIT, pixels=pixels)
    second = made(tmp_path / "2", other, pixels=pixels)
    assert are_one_object(first, second) is True
    assert are_one_object(second, first) is True


@pytest.mark.parametrize("other", [EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE])
@pytest.mark.parametrize("differs", [{"pixel": 8}, {"name": "KENOBI^BEN"}], ids=["pixels", "header"])
def test_two_objects_differ_in_whatever_encodings_they_are(other, differs, tmp_path) -> None:
    first, second = made(tmp_path / "1", EXPLICIT), made(tmp_path / "2", other, **differs)
    assert are_one_object(first, second) is False
    assert are_one_object(second, first) is False


@pytest.mark.parametrize("other", [JPEG, J2K], ids=["with loss", "it cannot be decoded"])
def test_what_cannot_be_compared_is_neither_one_nor_two(other, tmp_path) -> None:
    first, second = made(tmp_path / "1", EXPLICIT), made(tmp_path / "2", other)
    assert are_one_object(first, second) is None
    assert are_one_object(second, first) is None


def test_an_unknown_encoding_and_rubbish_contradict(tmp_path) -> None:
    first, rubbish = made(tmp_path / "1", EXPLICIT), tmp_path / "2"
    rubbish.write_bytes(b"rubbish")
    assert are_one_object(first, rubbish) is False
