"""Fixtures for everyone: the demo hospital and two real PACS that hold it, started once a session.

A test that changes what a PACS holds starts its own (`pacs.servers.start_orthanc` and `start_dcmqrscp`).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from pacs.servers import (
    Hospital,
    OrthancServer,
    Server,
    build_hospital,
    capture,
    make_peers,
    start_dcmqrscp,
    start_orthanc,
)

# What ignores these signals, nohup for example, must not hand that on to the commands under test.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast a machine is says nothing about what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for minutes begins first; the others go to whoever is free meanwhile."""
    items.sort(key=lambda item: "test_every_flow_on_an_archive" not in item.nodeid)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """The synthetic hospital, on disk; read-only for tests."""
    return build_hospital(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="session")
def peers() -> dict[str, tuple[str, int]]:
    """The AE titles that both PACS know: PACSIFIER (us), OTHER (a move destination), RAWSCP (`capture`)."""
    return make_peers()


@pytest.fixture(scope="session")
def dcmqrscp(tmp_path_factory, hospital: Hospital, peers) -> Iterator[Server]:
    """DCMTK's dcmqrscp with the hospital in it."""
    with start_dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"), hospital.files, peers) as server:
        yield server


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory, hospital: Hospital, peers) -> Iterator[OrthancServer]:
    """Orthanc with the hospital in it."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc"), hospital.files, peers) as server:
        yield server


@pytest.fixture(scope="session", params=["dcmqrscp", "orthanc"])
def pacs(request: pytest.FixtureRequest) -> Server:
    """Each PACS in turn."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def sent(pacs: Server, hospital: Hospital) -> dict[str, tuple[str, bytes]]:
    """What `pacs` sends, byte for byte: SOP Instance UID -> (transfer syntax, data set)."""
    return capture(pacs, hospital)
