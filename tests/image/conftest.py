"""Fixtures of the image: engines, the image built once, and a demo PACS on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pacs.servers import free_port

from image.engines import (
    Engine,
    build_image,
    docker_engine,
    hand_over,
    import_image,
    make_base,
    podman_engine,
)
from pacsifier import __version__

OWNER = (12345, 23456)


@dataclass(frozen=True)
class Demo:
    """A demo PACS; `folder` holds its config.json and query.csv."""

    folder: Path
    port: int
    move_port: int

    def inputs(self, folder: Path) -> Path:
        """A folder of a user of this machine, with the inputs of the documented command line in it."""
        folder.mkdir()
        config = json.loads((self.folder / "config.json").read_text())
        (folder / "my_config.json").write_text(json.dumps(config))
        (folder / "my_query.csv").write_text((self.folder / "query.csv").read_text())
        for path in (folder, *folder.iterdir()):
            os.chown(path, *OWNER)
        return folder


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A docker engine in which the image was built."""
    with docker_engine() as engine:
        system = make_base(tmp_path_factory.mktemp("base"))
        import_image(engine, system, "debian:bookworm-slim")
        build_image(engine, __version__)
        yield engine


@pytest.fixture(scope="session")
def podman(docker: Engine) -> Iterator[Engine]:
    """Podman with the image that docker built."""
    with podman_engine() as engine:
        hand_over(docker, engine)
        yield engine


@pytest.fixture(scope="session", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo PACS, served by this machine's DCMTK."""
    folder = tmp_path_factory.mktemp("demo") / "pacs"
    demo = Demo(folder, free_port(), free_port())
    argv = ["--port", demo.port, "--move_port", demo.move_port, "--directory", folder]
    with subprocess.Popen(
        [sys.executable, "-m", "pacsifier.cli.demo_pacs", *map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as server:
        assert server.stdout is not None
        assert "ready" in server.stdout.readline()
        yield demo
        server.terminate()
