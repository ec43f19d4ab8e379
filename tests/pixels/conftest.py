"""What the tests of text in pixels share: one engine, and no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pacsifier.pictures import models
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
