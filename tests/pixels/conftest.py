"""What the tests of pixels share: one engine, no network, and DCMTK's coders, which come to pictures from outside."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsifier.dcmtk.dcmcjpeg import encode_jpeg_lossless
from pacsifier.dcmtk.dcmcjpls import encode_jpeg_ls
from pacsifier.dcmtk.dcmdjpeg import decode_jpeg
from pacsifier.dcmtk.dcmdjpls import decode_jpeg_ls
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.pictures import models
from pacsifier.pictures.coders import Coders
from pacsifier.pictures.engine import Engine


@pytest.fixture(scope="session")
def found() -> models.Models:
    """The models of the installed package, or in the folder PACSIFIER_OCR_MODELS (Python 3.13 and later)."""
    folder = os.environ.get("PACSIFIER_OCR_MODELS")
    return models.find(Path(folder) if folder else None)


@pytest.fixture(scope="session")
def engine(found: models.Models) -> Engine:
    return Engine(found, threads=1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach a network, or to look up a host, fails the test."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("text in pixels is found without a network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)


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
