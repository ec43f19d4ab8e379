"""Synthetic DICOM files in every encoding that is blanked, and a decoder that is not ours to look at them with."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID

IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".2", ".1.99"))
RLE, ENCAPSULATED, DEFLATED_FRAMES = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"
BASELINE, EXTENDED, PROCESS_14, LOSSLESS, LS, LS_NEAR, J2K_LOSSLESS, J2K = (
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91)
)
INSTANCE = "1.2.826.0.1.3680043.8.498.1"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
Array = NDArray[Any]


def scene(
    rows: int,
    columns: int,
    *,
    frames: int = 1,
    samples: int = 1,
    bits: int = 8,
    signed: bool = False,
    seed: int = 0,
) -> Array:
    """Frames of a smooth ground with noise and letters-like bars; (frames, rows, columns[, samples])."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    top = (1 << bits) - 1
    whole = []
    for frame in range(frames):
        planes = []
        for sample in range(samples):
            ground = np.sin(x / 17 + frame + sample) * np.cos(y / 11 - sample) * 0.3 + 0.45
            ground = ground + random.normal(0, 0.03, ground.shape)
            ground[4:16, 10:70] = np.where(x[4:16, 10:70] // 3 % 2, 1.0, ground[4:16, 10:70])
            ground[rows - 12 : rows - 2, columns - 50 :: 4] = 1.0
            planes.append(np.clip(ground, 0, 1) * top)
        whole.append(np.stack(planes, axis=-1) if samples > 1 else planes[0])
    values = np.round(np.stack(whole)).astype(np.int64) - ((1 << (bits - 1)) if signed else 0)
    return values.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def header(array: Array, photometric: str, stored: int, **more: Any) -> Dataset:
    """A Secondary Capture with the attributes of its pixels; frames stand first in the array."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID, data.SOPInstanceUID = SECONDARY, INSTANCE
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{INSTANCE}.2", f"{INSTANCE}.3"
    data.Modality, data.ConversionType, data.PatientName, data.PatientID = "OT", "WSD", "^", "1"
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.SamplesPerPixel = array.shape[3] if array.ndim == 4 else 1
    data.PhotometricInterpretation = photometric
    if array.ndim == 4:
        data.PlanarConfiguration = 0
    data.NumberOfFrames = len(array)
    data.Rows, data.Columns = array.shape[1:3]
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * array.dtype.itemsize, stored, stored - 1
    data.PixelRepresentation = int(array.dtype.kind == "i")
    for name, value in more.items():
        setattr(data, name, value)
    return data


def save(data: Dataset, path: Path, syntax: str, value: bytes, *, vr: str = "") -> Path:
    """Writes a file with this value as its pixel data, as it is."""
    compressed = syntax not in (IMPLICIT, EXPLICIT, BIG, DEFLATED)
    vr = vr or ("OB" if compressed or data.BitsAllocated <= 8 else "OW")
    data.add_new(0x7FE00010, vr, value + b"\0" * (len(value) % 2))
    data["PixelData"].is_undefined_length = compressed
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = SECONDARY, INSTANCE
    # pydicom does not know the youngest transfer syntax, which another of its length stands for.
    data.file_meta.TransferSyntaxUID = UID(ENCAPSULATED if syntax == DEFLATED_FRAMES else syntax)
    data.save_as(path, enforce_file_format=True, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG)
    if syntax == DEFLATED_FRAMES:
        path.write_bytes(path.read_bytes().replace(ENCAPSULATED.encode(), f"{syntax}\0".encode()))
    return path


def plain(path: Path, array: Array, syntax: str, photometric: str, stored: int, **more: Any) -> Path:
    """An uncompressed file."""
    data = header(array, photometric, stored, **more)
    if data.get("PlanarConfiguration") == 1:
        array = array.transpose(0, 3, 1, 2)
    kind = array.dtype.newbyteorder(">" if syntax == BIG else "<")
    return save(data, path, syntax, np.ascontiguousarray(array).astype(kind).tobytes())


def halved(path: Path, array: Array) -> Path:
    """YBR_FULL_422, uncompressed: two pixels share their colours."""
    colours = array[:, :, ::2, 1:]
    pairs = np.concatenate([array[..., 0].reshape(*colours.shape[:3], 2), colours], axis=3)
    return save(header(array, "YBR_FULL_422", 8), path, EXPLICIT, pairs.tobytes())


def bits(path: Path, array: Array) -> Path:
    """A segmentation of single bits, frames not at whole bytes."""
    data = header(array, "MONOCHROME2", 1, BitsAllocated=1)
    return save(data, path, EXPLICIT, np.packbits(array.ravel(), bitorder="little").tobytes())


def floats(path: Path, array: Array) -> Path:
    """Values of 32 bit floating point."""
    data = header(array, "MONOCHROME2", 16, BitsAllocated=32)
    del data.BitsStored, data.HighBit, data.PixelRepresentation
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = SECONDARY, INSTANCE
    data.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    data.FloatPixelData = array.astype("<f4").tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def compressed(
    path: Path,
    data: Dataset,
    frames: Sequence[bytes],
    syntax: str,
    *,
    table: bool = True,
    extended: bool = False,
    fragments: int = 1,
) -> Path:
    """A file of compressed frames, with the offset tables asked for."""
    if extended:
        value, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(list(frames))
    else:
        value = encapsulate(list(frames), fragments_per_frame=fragments, has_bot=table)
    return save(data, path, syntax, value)


def jpeg(array: Array, **options: Any) -> list[bytes]:
    """Frames as baseline JPEG by Pillow."""
    from PIL import Image

    out = []
    for frame in array:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", **options)
        out.append(file.getvalue())
    return out


def by_dcmtk(program: str, options: Sequence[str], source: Path, target: Path) -> Path:
    """One file made from another by a program of DCMTK."""
    subprocess.run(
        [program, *options, os.fspath(source), os.fspath(target)],
        check=True,
        timeout=120,
        capture_output=True,
    )
    return target


def of_dcmtk(path: Path, array: Array, coder: Sequence[str], photometric: str, stored: int) -> Path:
    """A file that DCMTK encoded, by a program and its options."""
    raw = plain(path.with_suffix(".raw"), array, EXPLICIT, photometric, stored)
    return by_dcmtk(coder[0], ["-q", "+un", *coder[1:]], raw, path)


def rle(array: Array) -> list[bytes]:
    """Frames as RLE by pydicom's own encoder."""
    from pydicom.pixels.encoders import RLELosslessEncoder

    return [
        RLELosslessEncoder.encode(frame, encoding_plugin="pydicom", **_described(frame)) for frame in array
    ]


def _described(frame: Array) -> dict[str, Any]:
    samples = frame.shape[2] if frame.ndim == 3 else 1
    return {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "samples_per_pixel": samples,
        "bits_allocated": 8 * frame.dtype.itemsize,
        "bits_stored": 8 * frame.dtype.itemsize,
        "pixel_representation": int(frame.dtype.kind == "i"),
        "number_of_frames": 1,
        "planar_configuration": 0,
        "photometric_interpretation": "RGB" if samples == 3 else "MONOCHROME2",
    }


def j2k(array: Array, stored: int, *, colour: int = 2, **options: Any) -> list[bytes]:
    """Frames as JPEG 2000 codestreams; colour 1: with a transform."""
    from openjpeg import utils as openjpeg

    return [
        openjpeg.encode_array(frame, bits_stored=stored, photometric_interpretation=colour, **options)
        for frame in array
    ]


_TO_EXPLICIT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((IMPLICIT, EXPLICIT, BIG, DEFLATED), ("dcmconv", "-q", "+te")),
    **dict.fromkeys((BASELINE, EXTENDED, PROCESS_14, LOSSLESS), ("dcmdjpeg", "-q", "+cn", "+px")),
    **dict.fromkeys((LS, LS_NEAR), ("dcmdjpls", "-q")),
    RLE: ("dcmdrle", "-q"),
}


def independent(path: Path) -> Array:
    """The stored values as others decode them: DCMTK, where it can; Pillow or pydicom; (frames, rows, columns[, 3])."""
    data = dcmread(path)
    syntax = data.file_meta.TransferSyntaxUID
    if "FloatPixelData" in data:
        return np.frombuffer(data.FloatPixelData, "<f4").reshape(
            int(data.NumberOfFrames), data.Rows, data.Columns
        )
    if syntax in _TO_EXPLICIT and data.BitsAllocated > 1:
        made = path.with_suffix(".plain")
        program, *options = _TO_EXPLICIT[syntax]
        data = dcmread(by_dcmtk(program, options, path, made))
        made.unlink()
    return _values(data)


def _values(data: Dataset) -> Array:
    from pydicom.pixels import pixel_array

    plugin = (
        "pillow"
        if data.file_meta.TransferSyntaxUID in (J2K, J2K_LOSSLESS) and not data.PixelRepresentation
        else ""
    )
    values = pixel_array(data, raw=True, decoding_plugin=plugin)
    return values if int(data.get("NumberOfFrames", 1)) > 1 else values[None]


Maker = Callable[[Path], Path]
