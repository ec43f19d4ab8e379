"""What the tests of text in pixels share: one engine, and no network."""

from __future__ import annotations

import socket

import pytest

from pacsifier.pictures import models
from pacsifier.pictures.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(models.find(), threads=1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach a network, or to look up a host, fails the test."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("text in pixels is found without a network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
