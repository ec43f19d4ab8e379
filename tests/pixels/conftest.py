"""DCMTK's coders, which come to the code under test from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsifier.dcmtk.dcmcjpeg import encode_jpeg_lossless
from pacsifier.dcmtk.dcmcjpls import encode_jpeg_ls
from pacsifier.dcmtk.dcmdjpeg import decode_jpeg
from pacsifier.dcmtk.dcmdjpls import decode_jpeg_ls
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.pictures.coders import Coders


@pytest.fixture(scope="session")
def coders(tmp_path_factory) -> Iterator[Coders]:
    """DCMTK's coders, in a folder of their own."""
    folder = tmp_path_factory.mktemp("coders")
    with Toolbox() as toolbox:
        yield Coders(
            folder,
            djpeg=lambda source, target: decode_jpeg(toolbox, source, target, folder),
            cjpeg=lambda source, target: encode_jpeg_lossless(toolbox, source, target, folder),
            djpls=lambda source, target: decode_jpeg_ls(toolbox, source, target, folder),
            cjpls=lambda source, target: encode_jpeg_ls(toolbox, source, target, folder),
        )
