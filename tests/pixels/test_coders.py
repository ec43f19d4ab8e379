"""DCMTK's coders are started quietly, for a limited time, and leave a file or an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacsifier.dcmtk.dcmcjpeg import encode_jpeg_lossless
from pacsifier.dcmtk.dcmcjpls import encode_jpeg_ls
from pacsifier.dcmtk.dcmdjpeg import decode_jpeg
from pacsifier.dcmtk.dcmdjpls import decode_jpeg_ls
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import ToolError
from pixels.kinds import ENCODINGS
from pixels.made import EXPLICIT, plain, scene

CODERS = {
    "dcmdjpeg": decode_jpeg,
    "dcmcjpeg": encode_jpeg_lossless,
    "dcmcjpls": encode_jpeg_ls,
    "dcmdjpls": decode_jpeg_ls,
}


@pytest.fixture
def toolbox() -> Iterator[Toolbox]:
    with Toolbox() as toolbox:
        yield toolbox


@pytest.mark.parametrize(("name", "syntax"), [("dcmcjpeg", "70"), ("dcmcjpls", "80")])
def test_what_is_encoded_has_the_same_pixels_and_uid(name, syntax, toolbox, tmp_path):
    array = scene(40, 50, bits=12, signed=True, frames=2)
    source = plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME2", 12)
    CODERS[name](toolbox, source, tmp_path / "out.dcm", tmp_path)
    made = dcmread(tmp_path / "out.dcm")
    assert made.file_meta.TransferSyntaxUID == f"1.2.840.10008.1.2.4.{syntax}"
    assert made.SOPInstanceUID == dcmread(source).SOPInstanceUID
    back = decode_jpeg if name == "dcmcjpeg" else decode_jpeg_ls
    back(toolbox, tmp_path / "out.dcm", tmp_path / "back.dcm", tmp_path)
    assert np.array_equal(dcmread(tmp_path / "back.dcm").pixel_array, array)


def test_colours_are_decoded_as_they_are_stored(toolbox, tmp_path):
    source = ENCODINGS["JPEG by DCMTK 422"](tmp_path / "in.dcm")
    decode_jpeg(toolbox, source, tmp_path / "out.dcm", tmp_path)
    assert dcmread(tmp_path / "out.dcm").PhotometricInterpretation == "YBR_FULL"


@pytest.mark.parametrize("name", CODERS)
def test_what_is_no_image_is_an_error(name, toolbox, tmp_path):
    (tmp_path / "in.dcm").write_bytes(b"no image")
    with pytest.raises(ToolError, match=f"{name} made no file"):
        CODERS[name](toolbox, tmp_path / "in.dcm", tmp_path / "out.dcm", tmp_path)


@pytest.mark.parametrize("name", CODERS)
def test_a_coder_that_takes_too_long_is_ended(name, toolbox, tmp_path):
    source = plain(tmp_path / "in.dcm", scene(900, 900, bits=12, frames=8), EXPLICIT, "MONOCHROME2", 12)
    with pytest.raises(ToolError, match=f"{name} had not ended after 0 s"):
        CODERS[name](toolbox, source, tmp_path / "out.dcm", tmp_path, patience_s=0)


def test_nothing_of_a_path_stands_in_the_process_list(toolbox, tmp_path, monkeypatch):
    started: list[tuple[str, ...]] = []
    start = toolbox.start

    def noting(*args, **options):
        process = start(*args, **options)
        started.append(process.argv)
        return process

    monkeypatch.setattr(toolbox, "start", noting)
    source: Path = plain(tmp_path / "DOE^JANE.dcm", scene(20, 20), EXPLICIT, "MONOCHROME2", 8)
    encode_jpeg_lossless(toolbox, source, tmp_path / "out.dcm", tmp_path)
    assert len(started) == 1
    assert "DOE" not in " ".join(started[0])
