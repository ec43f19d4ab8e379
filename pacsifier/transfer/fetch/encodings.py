"""Whether two received objects of one SOP Instance UID are the same, encoded in two ways without loss.

An archive that compresses what it stores, or converts what it sends, may send one object in two transfer syntaxes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.dcmtk import negotiation
from pacsifier.dicom import part10

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What an encoding changes beside the pixels: Photometric Interpretation, Planar Configuration; padding at the end.
_OF_THE_ENCODING = frozenset({0x00280004, 0x00280006, 0xFFFCFFFC})
_PIXELS = 0x7FE0


def are_one_object(first: Path, second: Path) -> bool | None:
    """Whether two files of different bytes hold the same object; None: that cannot be told here.

    It cannot where one is compressed with loss, or there is no decoder. Two in one transfer syntax differ.
    """
    syntaxes = [part10.read(path, ()).transfer_syntax for path in (first, second)]
    if syntaxes[0] == syntaxes[1] or not set(syntaxes) <= set(negotiation.EVERY_SYNTAX):
        return False
    try:
        return _compared(first, second, lossy=not set(syntaxes).isdisjoint(negotiation.LOSSY))
    except Exception:  # a decoder may fail in any way on what a scanner has written
        return None


def _compared(first: Path, second: Path, *, lossy: bool) -> bool | None:
    from pydicom import dcmread

    datasets = [dcmread(path) for path in (first, second)]
    headers = [_header(each) for each in datasets]
    if headers[0] != headers[1]:
        return None if lossy else False
    if lossy:
        return None
    if not any("PixelData" in each for each in datasets):
        return True
    return _pixels(datasets[0]) == _pixels(datasets[1])


def _header(dataset: Dataset) -> dict[int, bytes]:
    """Each element as bytes in one encoding, what depends on the encoding left out."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    written = {}
    for element in dataset:
        if element.tag.group != _PIXELS and element.tag not in _OF_THE_ENCODING and element.tag.element:
            target = DicomBytesIO()
            target.is_implicit_VR, target.is_little_endian = True, True
            write_data_element(target, element, [])
            written[int(element.tag)] = target.getvalue()
    return written


def _pixels(dataset: Dataset) -> bytes:
    """The decoded values in one byte order."""
    from pydicom.pixels import get_decoder

    array, _ = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=True)
    return bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
