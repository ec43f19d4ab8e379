"""One Slurm and one PACS for all tests here: the PACS must know every seat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pacs.runs import run_arguments
from pacs.servers import LOOPBACK, Server, free_port, start_dcmqrscp

from pacsifier.demo import make_archive
from slurm.cluster import Slurm
from slurm.work import COMMANDS, PATIENTS, SEATS, Work


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    with Slurm(COMMANDS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def seats() -> dict[str, tuple[str, int]]:
    return {aet: (LOOPBACK, free_port()) for aet in ("PACSIFIER", *SEATS)}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, seats: dict[str, tuple[str, int]]) -> Iterator[Server]:
    files = make_archive(tmp_path_factory.mktemp("archive"), PATIENTS, 1, 2, 2, 16)
    with start_dcmqrscp(tmp_path_factory.mktemp("pacs"), files, seats) as server:
        yield server


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory, archive: Server, seats) -> Path:
    """The output folder of the same query on one machine."""
    work = Work(tmp_path_factory.mktemp("one"), archive, seats)
    work.write_inputs()
    config = archive.write_config(work.folder / "config.json")
    arguments = ("--save", "--info", "-c", config, "-q", work.folder / "query.csv", "-d", work.out)
    assert run_arguments(work.out, arguments).status == 0
    return work.out
