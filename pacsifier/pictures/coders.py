"""DCMTK's coders as callables that are given from outside, and the small files by which frames go to them and back.

This room starts no process: `Coders` says what it needs, and who starts them gives it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsifier.pictures.stored import EXPLICIT, Meaning, PixelsError, opened

Coder = Callable[[Path, Path], None]
"""Reads a DICOM file and writes another in its own transfer syntax; raises an exception where it does not."""

_CLASS: Final = "1.2.840.10008.5.1.4.1.1.7"
_INSTANCE: Final = "2.25.1"


@dataclass(frozen=True)
class Coders:
    """What decodes and encodes by DCMTK, each None where it is absent, and a folder of the user's own (0700) for it.

    `djpeg` decodes any JPEG (dcmdjpeg), colours as they are stored; `cjpeg` encodes JPEG lossless SV1 (dcmcjpeg);
    `cjpls` JPEG-LS lossless (dcmcjpls); `djpls` decodes JPEG-LS where pyjpegls is not installed (dcmdjpls). None of
    them may give another SOP Instance UID or wait for ever.
    """

    scratch: Path | None = None
    djpeg: Coder | None = None
    cjpeg: Coder | None = None
    cjpls: Coder | None = None
    djpls: Coder | None = None


def recoded(
    coder: Coder | None, name: str, coders: Coders, meaning: Meaning, frames: Sequence[bytes]
) -> tuple[list[bytes], Meaning]:
    """The frames of a file of the meaning's transfer syntax as a coder gives them back, and what they mean then.

    Raises:
        PixelsError: the coder is absent or failed.
    """
    if coder is None:
        raise PixelsError(f"it needs DCMTK's {name}")
    with _folder(coders) as folder:
        source, target = folder / "in.dcm", folder / "out.dcm"
        _write(source, meaning, frames)
        try:
            coder(source, target)
        except Exception as error:
            raise PixelsError(f"DCMTK's {name} failed") from error
        with opened(target) as made:
            if made.meaning.frames != len(frames) or _form(made.meaning) != _form(meaning):
                raise PixelsError(f"DCMTK's {name} gave something else back")
            return [made.frame(index) for index in range(len(frames))], made.meaning


def _form(meaning: Meaning) -> tuple[object, ...]:
    return meaning.rows, meaning.columns, meaning.samples


@contextlib.contextmanager
def _folder(coders: Coders) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=coders.scratch) as folder:
        yield Path(folder)


def _photometric(meaning: Meaning) -> str:
    """What its samples are to a coder: one of a palette is a number as any other, and no colours are halved."""
    if meaning.samples == 1:
        return "MONOCHROME2"
    halved = meaning.syntax == EXPLICIT and meaning.photometric.endswith("422")
    return "YBR_FULL" if halved else meaning.photometric


def _write(path: Path, meaning: Meaning, frames: Sequence[bytes]) -> None:
    """A file with these frames and nothing else of where they come from."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.filewriter import dcmwrite

    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = _CLASS, _INSTANCE
    data.SamplesPerPixel, data.PhotometricInterpretation = meaning.samples, _photometric(meaning)
    if meaning.samples > 1:
        data.PlanarConfiguration = 0
    data.NumberOfFrames = len(frames)
    data.Rows, data.Columns = meaning.rows, meaning.columns
    data.BitsAllocated, data.BitsStored, data.HighBit = meaning.allocated, meaning.stored, meaning.high
    data.PixelRepresentation = int(meaning.signed)
    plain = meaning.syntax == EXPLICIT
    whole = b"".join(frames) if plain else encapsulate(list(frames))
    data.add_new(
        0x7FE00010, "OW" if plain and meaning.allocated > 8 else "OB", whole + b"\0" * (len(whole) % 2)
    )
    data["PixelData"].is_undefined_length = not plain
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = _CLASS, _INSTANCE
    meta.TransferSyntaxUID = meaning.syntax
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        dcmwrite(
            file, FileDataset(None, data, preamble=b"\0" * 128, file_meta=meta), enforce_file_format=True
        )
