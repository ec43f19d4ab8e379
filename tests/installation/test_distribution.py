"""What is handed out: a wheel that works in a clean environment of each Python, a source archive with its tests."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from pacs.servers import free_port

from pacsifier import __version__

ROOT = Path(__file__).resolve().parents[2]
OLDEST = Path(__file__).with_name("oldest.txt")
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")


def _run(argv: Sequence[object], folder: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    run = subprocess.run(
        [*map(str, argv)],
        cwd=folder,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    return run.stdout


def _python(version: str) -> Path | None:
    """A Python of that version on this machine: on PATH, or one of pyenv."""
    found = shutil.which(f"python{version}")
    of_pyenv = sorted(
        Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*")
    )
    candidates = [*(each / "bin" / "python" for each in of_pyenv), *([Path(found)] if found else [])]
    for each in candidates:
        try:
            told = subprocess.run([each, "-V"], capture_output=True, encoding="utf-8", check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if told.startswith(f"Python {version}."):
            return each
    return None


PYTHONS = {version: path for version in SUPPORTED if (path := _python(version))}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the source archive; the wheel is built from the archive."""
    folder = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv", "*.egg-info", "build", ".*cache")
    )
    _run([sys.executable, "-m", "build", "--outdir", folder, source], folder)
    return folder


def test_a_python_that_is_supported_is_here():
    assert PYTHONS, f"none of {', '.join(SUPPORTED)} was found"


def test_wheel_and_archive_hold_what_they_must_and_nothing_else(built):
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"pacsifier", f"pacsifier-{__version__}.dist-info"}
    assert {"pacsifier/py.typed", "pacsifier/deidentify/engine/data/table_e1_1.txt"} <= set(names)
    assert {f"pacsifier/slurm/{each.name}" for each in (ROOT / "pacsifier/slurm").glob("*.*")} <= set(names)
    with tarfile.open(archive) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if listed.returncode == 0:
        wanted = {line for line in listed.stdout.splitlines() if not line.startswith((".ci/", ".git"))}
        assert wanted <= held, sorted(wanted - held)
    assert not [name for name in held if "__pycache__" in name or name.startswith((".venv", ".git/"))]


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_in_a_clean_environment(version, built, tmp_path):
    (wheel,) = built.glob("*.whl")
    python = _installed(PYTHONS[version], wheel, tmp_path)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    commands = [
        line.split()[0] for line in config["options.entry_points"]["console_scripts"].strip().splitlines()
    ]
    assert len(commands) == 19
    for command in commands:
        told = _run([python.with_name(command), "--version"], tmp_path)
        assert told.split()[-1] == __version__, told
        # Where nobody can take what is printed, that is no fault of the command.
        for streams in (">/dev/full", ">&-", "<&- >&- 2>&-"):
            _run(["sh", "-c", f'exec "$@" {streams}', "sh", python.with_name(command), "--version"], tmp_path)
    _brings_the_images_of_a_demo_pacs(python, tmp_path)


def test_the_list_of_the_oldest_packages_is_that_of_the_lower_bounds():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = config["options"]["install_requires"] + config["options.extras_require"]["xlsx"]
    listed = _versions(OLDEST.read_text())
    assert listed.pop("numpy")
    assert listed == _versions(wanted)


def test_the_oldest_packages_that_are_admitted_are_enough(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    python = _installed(next(iter(PYTHONS.values())), wheel, tmp_path, "-c", OLDEST)
    frozen = _versions(_run([python, "-m", "pip", "list", "--format=freeze"], tmp_path))
    oldest = _versions(OLDEST.read_text())
    assert oldest == {name: frozen[name] for name in oldest}, "newer ones were tried"
    _brings_the_images_of_a_demo_pacs(python, tmp_path)


def _versions(text: str) -> dict[str, tuple[int, ...]]:
    """The versions that lines such as `name==1.2` or `name>=1.2` give, by name; 3.0 is 3.0.0."""
    listed = re.findall(r"^([\w-]+)[=>]=([\d.]*\d)", text, re.MULTILINE)
    numbers = {
        name.lower().replace("-", "_"): [int(each) for each in version.split(".")] for name, version in listed
    }
    return {name: (*each, *[0] * (3 - len(each))) for name, each in numbers.items()}


def _installed(base: Path, wheel: Path, folder: Path, *options: object) -> Path:
    """The Python of a new environment with the wheel in it."""
    _run([base, "-m", "venv", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    quietly = ("--quiet", "--disable-pip-version-check")
    _run([python, "-m", "pip", "install", *quietly, *options, f"{wheel}[xlsx]"], folder)
    return python


def _brings_the_images_of_a_demo_pacs(python: Path, folder: Path) -> None:
    ports = ("--port", free_port(), "--move_port", free_port())
    argv = [python.with_name("pacsifier-demo-pacs"), "--directory", folder / "pacs", *ports]
    with subprocess.Popen(
        [*map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8"
    ) as server:
        assert server.stdout is not None
        try:
            assert "ready" in server.stdout.readline()
            files = ["-c", folder / "pacs/config.json", "-q", folder / "pacs/query.csv", "-d", folder / "out"]
            _run([python.with_name("pacsifier"), "--save", "--info", *files], folder)
        finally:
            server.terminate()
    _run([python.with_name("pacsifier-anonymize"), "-d", folder / "out", "-o", folder / "shared"], folder)
    assert len(list((folder / "shared").rglob("*.dcm"))) > 0


def test_the_archives_own_tests_pass(built, tmp_path):
    """Those of its parts that need no PACS: with the archive's files alone, by this environment's packages."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    parts = [
        f"tests/unit/test_{each}.py" for each in ("query_table", "query_wire", "tree", "part10", "transcript")
    ]
    parts += [
        f"tests/unit/test_{each}.py" for each in ("pace", "journal", "lock", "docker_wrappers", "process")
    ]
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *parts,
        "tests/deid/test_table.py",
    ]
    told = _run(argv, tree, PYTHONPATH=str(tree))
    assert " passed" in told
    assert "failed" not in told
