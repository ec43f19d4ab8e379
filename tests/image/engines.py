"""A docker engine and podman of Debian's packages, on sockets and in folders of their own; nothing of the machine's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "quay.io/translationalml/pacsifier:latest"
WITHIN_S = 120.0
BUILD_S = 900.0


@dataclass(frozen=True)
class Engine:
    """docker or podman with the image in it; `words` start it, in `environment`."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    # What podman needs on a machine without systemd, beside what is documented.
    run_options: tuple[str, ...] = ()
    name: str = field(default="docker")

    def argv(self, *arguments: object, options: Sequence[str] = ()) -> list[str]:
        """The command line that runs `arguments` in the image."""
        return [*self.words, "run", "--rm", *self.run_options, *options, IMAGE, *map(str, arguments)]

    def run(
        self, *arguments: object, options: Sequence[str] = ("--net=host",), stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the image to its end."""
        return self.call(*self.argv(*arguments, options=options)[len(self.words) :], stdin=stdin)

    def call(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the engine itself to its end."""
        return subprocess.run(
            [*self.words, *arguments],
            env=dict(self.environment),
            input=stdin or "",
            capture_output=True,
            encoding="utf-8",
            timeout=WITHIN_S,
            check=False,
        )

    def containers(self) -> list[str]:
        """The containers that there are, running or not."""
        return self.call("ps", "--all", "--quiet").stdout.split()

    def inspect(self) -> dict[str, object]:
        """The configuration of the image."""
        config: dict[str, object] = json.loads(self.call("image", "inspect", IMAGE).stdout)[0]["Config"]
        return config


def checked(*argv: object, env: Mapping[str, str] | None = None, within_s: float = WITHIN_S) -> str:
    """Runs a command that has to succeed; its output."""
    run = subprocess.run(
        [*map(str, argv)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=within_s,
        check=False,
    )
    assert run.returncode == 0, f"{argv}\n{run.stdout[-4000:]}"
    return run.stdout


def wait_until(condition, what: str) -> None:
    """Polls until the condition holds."""
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _binary(name: str) -> str:
    """Debian's own, whatever else stands on PATH under that name."""
    path = Path("/usr/bin", name) if Path("/usr/bin", name).exists() else Path("/usr/sbin", name)
    assert path.exists(), f"{name} is not installed: run scripts/test-image, which installs it"
    return str(path)


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """A docker engine without images, on a private socket."""
    # A socket's path may not be long.
    folder = Path(tempfile.mkdtemp(prefix="dock-", dir="/tmp"))
    socket = folder / "d.sock"
    command = [
        *(_binary("dockerd"), "--host", f"unix://{socket}", "--pidfile", folder / "d.pid"),
        *("--data-root", folder / "data", "--exec-root", folder / "exec"),
        *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
    ]
    with (folder / "log").open("w") as log:
        daemon = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    environment = {**os.environ, "DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(folder / "config")}
    # The documented line says `docker`: Debian's one.
    (folder / "bin").mkdir()
    (folder / "bin" / "docker").symlink_to(_binary("docker"))
    environment |= {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "DOCKER_BUILDKIT": "1"}
    engine = Engine(("docker",), environment)
    try:
        answers = lambda: daemon.poll() is not None or engine.call("version").returncode == 0  # noqa: E731
        wait_until(answers, "the docker engine does not answer")
        assert daemon.poll() is None, (folder / "log").read_text()[-3000:]
        yield engine
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        _remove(folder)


@contextlib.contextmanager
def podman_engine() -> Iterator[Engine]:
    """Podman with a storage of its own."""
    folder = Path(tempfile.mkdtemp(prefix="pod-", dir="/tmp"))
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(storage)
    # A machine without systemd, with groups of both versions, and with limits of its own.
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\nevents_logger = "file"\n'
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "TMPDIR": str(folder),
    }
    try:
        yield Engine((_binary("podman"),), environment, name="podman")
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Unmounts what an engine left mounted below its folder, and removes it."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for each in sorted((path for path in mounted if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", each], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def make_base(folder: Path) -> Path:
    """A Debian 12 with its own Python, and with this machine's set-up of apt and pip: stands for `BASE_IMAGE`."""
    program = r"""
        say() { printf '%s\n' "$*"; }
        fail() { say "$*" >&2; exit 2; }
        . "$1/scripts/bare.sh"
        WORK=$2 BARE=$2/system
        make_base python3-venv
        hand_in_network
    """
    checked("bash", "-euc", program, "-", ROOT, folder, within_s=BUILD_S)
    return folder / "system"


def import_image(engine: Engine, system: Path, name: str) -> None:
    """Makes a folder an image of that name."""
    with subprocess.Popen(["tar", "-C", system, "-c", "."], stdout=subprocess.PIPE) as tar:
        run = subprocess.run(
            [*engine.words, "import", "-", name],
            env=dict(engine.environment),
            stdin=tar.stdout,
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
        )
    assert run.returncode == 0, run.stderr


def build_image(engine: Engine, version: str) -> None:
    """Builds the stand-in of micromamba, then the image by the one Dockerfile."""
    standin = Path(__file__).parent / "micromamba"
    checked(*engine.words, "build", "-t", "micromamba-standin", standin, env=engine.environment)
    arguments = {"MICROMAMBA_IMAGE": "micromamba-standin", "VERSION": version, "REVISION": "tested"}
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    command = (*engine.words, "build", "--network=host", *options, "-t", IMAGE, ROOT)
    checked(*command, env=engine.environment, within_s=BUILD_S)


def hand_over(giver: Engine, taker: Engine) -> None:
    """Gives the very same image to another engine."""
    with subprocess.Popen(
        [*giver.words, "save", IMAGE], env=dict(giver.environment), stdout=subprocess.PIPE
    ) as save:
        run = subprocess.run(
            [*taker.words, "load"],
            env=dict(taker.environment),
            stdin=save.stdout,
            capture_output=True,
            timeout=BUILD_S,
            check=False,
        )
    assert run.returncode == 0, run.stderr
