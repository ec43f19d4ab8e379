"""What a conda user installs: specifications that solve, and an environment that works without being activated."""

from __future__ import annotations

import asyncio
import bz2
import configparser
import hashlib
import io
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pacs.servers import find_binary
from rattler import Channel, Gateway, MatchSpec, install, solve
from rattler.index import index_fs
from rattler_build import Stage0Recipe

from pacsifier import __version__

ROOT = Path(__file__).resolve().parents[2]
# Of each name what a channel may hold; what a specification forbids is there too.
PACKAGES = {
    "python": ("3.9.18", "3.12.8", "3.14.0"),
    "pip": ("24.0",),
    "setuptools": ("70.0",),
    "dcmtk": ("3.6.7", "3.6.9"),
    "pydicom": ("2.4.4", "3.0.1", "4.0.0"),
    "pandas": ("1.5.3", "2.2.3"),
    "sh": ("1.14.3", "2.1.0", "3.0.0"),
    "jsonschema": ("4.17.3", "4.23.0"),
    "rich": ("12.6.0", "13.9.4"),
    "requests": ("2.31.0", "2.32.3", "3.0.0"),
    "ftfy": ("6.0.3", "6.3.1"),
    "openpyxl": ("3.0.10", "3.1.5"),
    "shtab": ("1.7.2", "1.10.0", "2.0.0"),
}
# What `pip install .` brings into the environment.
BY_PIP = {"ahocorasick_rs"}
TOOLS = ("echoscu", "findscu", "movescu", "getscu", "storescu", "storescp", "dcmmkdir")


def _environment() -> Mapping[str, object]:
    document: Mapping[str, object] = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    return document


def _specs() -> list[str]:
    specs = _environment()["dependencies"]
    assert isinstance(specs, list)
    return [spec for spec in specs if isinstance(spec, str)]


def _by_pip() -> list[str]:
    specs = _environment()["dependencies"]
    assert isinstance(specs, list)
    return [each for spec in specs if isinstance(spec, dict) for each in spec["pip"]]


def _required() -> dict[str, str]:
    """Name -> versions, of what setup.cfg requires."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split()
    return {found[1]: found[2] for line in lines if (found := re.fullmatch(r"([\w-]+)(.*)", line))}


def _package(channel: Path, name: str, version: str, files: Mapping[str, tuple[bytes, str]]) -> None:
    """A package of files, each (content, "") or (b"", the target of a link)."""
    paths = []
    for path, (content, link) in files.items():
        entry: dict[str, object] = {"_path": path, "path_type": "softlink" if link else "hardlink"}
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
        paths.append(entry)
    index = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": "noarch",
    }
    info = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, (content, link) in {**{key: (text, "") for key, text in info.items()}, **files}.items():
            member = tarfile.TarInfo(path)
            member.mode, member.size, member.linkname = 0o755, len(content), link
            member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(content))
    (channel / "noarch" / f"{name}-{version}-0.tar.bz2").write_bytes(bz2.compress(out.getvalue()))


def _contents(name: str) -> dict[str, tuple[bytes, str]]:
    """What the stand-in of a package holds: this Python with its packages, this machine's DCMTK; else nothing."""
    if name == "dcmtk":
        return {f"bin/{tool}": (f'#!/bin/sh\nexec {find_binary(tool)} "$@"\n'.encode(), "") for tool in TOOLS}
    if name != "python":
        return {f"share/{name}.txt": (b"a stand-in\n", "")}
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    packages = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    return {
        "bin/python": (b"", str(base)),
        "pyvenv.cfg": (f"home = {base.parent}\ninclude-system-site-packages = false\n".encode(), ""),
        f"{packages}/here.pth": (f"{ROOT}\n{sysconfig.get_path('purelib')}\n".encode(), ""),
    }


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local channel with all that is required, each in versions that fit and versions that do not."""
    folder = tmp_path_factory.mktemp("channel")
    (folder / "noarch").mkdir()
    (folder / "linux-64").mkdir()
    for name, versions in PACKAGES.items():
        for version in versions:
            _package(folder, name, version, _contents(name))
    asyncio.run(_index(folder))
    return folder


async def _index(folder: Path) -> None:
    await index_fs(folder)


async def _solved(channel: Path, specs: list[str]):
    return await solve(
        [Channel(channel.as_uri())],
        [MatchSpec(spec, strict=True) for spec in specs],
        gateway=Gateway(),
        platforms=["linux-64", "noarch"],
    )


def test_the_file_is_read_strictly_and_names_the_documented_environment():
    document = _environment()
    assert list(document) == ["name", "channels", "dependencies"]
    assert document["name"] == "pacsifier_minimal"
    assert document["channels"] == ["conda-forge", "nodefaults"]
    for spec in _specs():
        assert MatchSpec(spec, strict=True).name is not None


def test_an_environment_has_what_setup_cfg_requires_and_dcmtk():
    specs = {found[1]: found[2] for spec in _specs() if (found := re.fullmatch(r"([\w-]+)(.*)", spec))}
    required = {name: spec for name, spec in _required().items() if name not in BY_PIP}
    assert required.items() <= specs.items()
    assert specs.keys() - required.keys() == {"python", "pip", "dcmtk", "openpyxl"}


def test_an_environment_has_what_cleaning_of_pixels_needs():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extra = config["options.extras_require"]["pixels"].strip().splitlines()
    # pandas brings numpy.
    wanted = {line.partition(";")[0].strip() for line in extra if not line.startswith("numpy")}
    assert set(_by_pip()) == wanted


def test_the_recipe_parses_and_requires_what_setup_cfg_does():
    text = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    assert Stage0Recipe.from_yaml(text) is not None
    with pytest.raises(Exception, match="unknown field"):
        Stage0Recipe.from_yaml(text.replace("noarch:", "noarhc:"))
    recipe = yaml.safe_load(text)
    assert recipe["context"]["version"] == __version__
    assert recipe["build"]["noarch"] == "python"
    run = dict(spec.split(" ", 1) for spec in recipe["requirements"]["run"])
    assert run == {**_required(), "python": ">=3.10", "dcmtk": ">=3.6.9"}
    for spec in (*recipe["requirements"]["run"], *recipe["requirements"]["host"]):
        MatchSpec(spec, strict=True)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    commands = config["options.entry_points"]["console_scripts"].strip().splitlines()
    assert recipe["build"]["python"]["entry_points"] == commands


def test_the_environment_solves_to_what_fits_and_nothing_else(channel):
    records = asyncio.run(_solved(channel, _specs()))
    found = {record.name.normalized: str(record.version) for record in records}
    assert found["dcmtk"] == "3.6.9"
    assert found["python"] == "3.12.8"
    assert found["pydicom"] == "3.0.1"
    assert (found["sh"], found["requests"], found["jsonschema"]) == ("2.1.0", "2.32.3", "4.23.0")
    assert found.keys() == PACKAGES.keys() - {"setuptools"}


def test_an_environment_that_is_not_activated_works_without_path_and_home(channel, dcmqrscp, tmp_path):
    """As cron starts it, or sbatch, or a script by its full path."""
    prefix = tmp_path / "env"

    async def make() -> None:
        records = await _solved(channel, _specs())
        await install(records, prefix, cache_dir=tmp_path / "cache", show_progress=False)

    asyncio.run(make())
    config = dcmqrscp.write_config(tmp_path / "config.json")
    (tmp_path / "query.csv").write_text("PatientID\n00123\n")
    argv = [prefix / "bin/python", "-m", "pacsifier.cli.retrieve", "--save", "-c", config]
    argv += ["-q", tmp_path / "query.csv", "-d", tmp_path / "out"]
    run = subprocess.run(
        ["env", "-i", *map(str, argv)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "out").glob("sub-*/ses-*/*/*"))


@pytest.mark.parametrize("how", ["--dcmtk_dir", "PACSIFIER_DCMTK_DIR", "PATH"])
def test_dcmtk_is_found_where_it_is_named(how, dcmqrscp, tmp_path):
    named = tmp_path / "dcmtk"
    named.mkdir()
    for tool in TOOLS:
        (named / tool).write_text(
            f'#!/bin/sh\necho {tool} >>{tmp_path}/used\nexec {find_binary(tool)} "$@"\n'
        )
        (named / tool).chmod(0o755)
    config = dcmqrscp.write_config(tmp_path / "config.json")
    (tmp_path / "query.csv").write_text("PatientID\n00123\n")
    argv = [sys.executable, "-m", "pacsifier.cli.retrieve", "--info", "--dry_run", "-c", config]
    argv += ["-q", tmp_path / "query.csv", "-d", tmp_path / "out"]
    environment = {"PYTHONPATH": str(ROOT)}
    if how == "--dcmtk_dir":
        argv += [how, named]
    else:
        environment[how] = f"{named}:/usr/bin:/bin" if how == "PATH" else str(named)
    run = subprocess.run(
        [*map(str, argv)], env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "findscu" in (tmp_path / "used").read_text().split()
