"""The wrapper commands on real engines: as the caller, with the caller's paths, and the command's own exit status."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import glimpse

from image.conftest import OWNER, Demo
from image.engines import WITHIN_S, Engine, wait_until
from image.test_image import _files, _owners

# As an ordinary user who may use the engine; modules are read before, for they may lie where only root can read.
_AS_A_USER = f"""
import os, sys, pacsifier.transfer.fetch.work
from pacsifier.cli import docker
docker.build_parser(sys.argv[1]), docker.command_line
os.setgroups([]), os.setgid({OWNER[1]}), os.setuid({OWNER[0]})
sys.exit(docker.main(sys.argv[2:], sys.argv[1]))
"""


def _argv(engine: Engine, name: str, arguments: str) -> list[str]:
    # Rootless podman needs ids of its own for each user; podman runs as root here.
    start = ["-c", _AS_A_USER] if engine.name == "docker" else ["-m", "pacsifier.cli.docker"]
    return [sys.executable, *start, name, *shlex.split(arguments)]


def _environment(engine: Engine) -> dict[str, str]:
    return {**engine.environment, "PACSIFIER_ENGINE": shlex.join(engine.words)}


def _wrapper(engine: Engine, name: str, arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _argv(engine, name, arguments),
        cwd=cwd,
        env=_environment(engine),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=WITHIN_S,
        check=False,
    )


@pytest.fixture
def here(docker: Engine, demo: Demo, tmp_path: Path) -> Path:
    """A folder of an ordinary user, with a name that is hard to mount."""
    socket = Path(docker.environment["DOCKER_HOST"].removeprefix("unix://"))
    socket.chmod(0o666)
    for folder in (socket.parent, tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return demo.inputs(tmp_path / "my, dir: ü")


def test_a_run_from_the_pacs_to_shareable_images_belongs_to_the_caller(engine: Engine, here: Path):
    caller = {OWNER} if engine.name == "docker" else {(0, 0)}
    run = _wrapper(engine, "docker_pacsifier", "-si -c my_config.json -q my_query.csv -d out", here)
    assert run.returncode == 0, run.stderr
    images = _files(here / "out")
    assert images
    run = _wrapper(engine, "docker_anonymize_dicoms", "-d out -o shared --verify", here)
    assert run.returncode == 0, run.stderr
    assert len(list((here / "shared").rglob("*.dcm"))) > 0
    assert (here / "shared.key.json").exists(), "the key lies beside the output, on this machine"
    run = _wrapper(engine, "docker_move_dumps", "-d out -o dumps", here)
    assert run.returncode == 0, run.stderr
    assert list((here / "dumps").rglob("*.csv"))
    assert not list((here / "out").glob("sub-*/ses-*/*.csv"))
    run = _wrapper(engine, "docker_create_dicomdir", "-d shared -o disc", here)
    assert (here / "disc" / "DICOMDIR").exists(), run.stderr
    assert _files(here / "out") == images, "the input of the de-identification changed"
    for reported, page in (("out", "out/report.html"), ("shared", "shared.report.html")):
        run = _wrapper(engine, "docker_report", reported, here)
        assert run.returncode == 0, run.stderr
        assert "data:image/" in (here / page).read_text(), "the image has what draws pictures"
        assert (here / page).lstat().st_mode & 0o777 == 0o600
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in here.glob("*.report.html")} == caller
    made = [here / each for each in ("out", "shared", "dumps", "disc")]
    assert set().union(*map(_owners, made)) == caller
    assert engine.containers() == []


def test_a_path_that_does_not_exist_is_the_commands_own_error(engine: Engine, here: Path):
    run = _wrapper(engine, "docker_pacsifier", "-s -c absent.json -q my_query.csv -d out", here)
    assert run.returncode == 2
    assert f"/host{here}/absent.json" in run.stderr


def test_an_input_cannot_be_written_even_by_mistake(docker: Engine, here: Path):
    command = _wrapper(
        docker, "docker_pacsifier", "-s -c my_config.json -q my_query.csv -d out --print", here
    )
    assert f"it needs: mkdir -p -- {shlex.quote(str(here / 'out'))}" in command.stderr
    (here / "out").mkdir()
    words = shlex.split(command.stdout)
    words = [
        *words[: words.index("pacsifier")],
        "sh",
        "-c",
        f"echo >{shlex.quote(f'/host{here}/my_query.csv')}",
    ]
    run = subprocess.run(words, env=_environment(docker), capture_output=True, timeout=WITHIN_S, check=False)
    assert run.returncode != 0
    assert b"Read-only" in run.stderr
    assert (here / "my_query.csv").stat().st_size > 0


def test_an_image_that_is_not_there_is_the_engines_error(docker: Engine, here: Path):
    assert (
        _wrapper(docker, "docker_move_dumps", "-d . -o o --image localhost:1/absent", here).returncode == 125
    )


def test_a_signal_reaches_the_run_which_ends_resumable(engine: Engine, here: Path):
    # It waits for its hours, with its output folder locked.
    hours = "--hours 00:00-00:01" if _hour() != "00" else "--hours 12:00-12:01"
    argv = _argv(engine, "docker_pacsifier", f"-v -s -c my_config.json -q my_query.csv -d out {hours}")
    with subprocess.Popen(
        argv,
        cwd=here,
        env=_environment(engine),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        begun = lambda: process.poll() is not None or glimpse(here, "out/.*")  # noqa: E731
        wait_until(begun, "the run has not begun")
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 143
        assert "SIGTERM" in process.stderr.read()
    wait_until(lambda: engine.containers() == [], "a container is left")


def _hour() -> str:
    return subprocess.run(["date", "+%H"], capture_output=True, encoding="utf-8", check=True).stdout.strip()
