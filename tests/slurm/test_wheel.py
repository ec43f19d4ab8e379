"""What is installed from the wheel submits and runs, where there is no clone: called by its path, from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from pacs.servers import Server

from slurm.cluster import Slurm
from slurm.work import PATIENTS, Work, submitted, tree

ROOT = Path(__file__).resolve().parents[2]


def run(*argv: object, cwd: Path) -> None:
    subprocess.run([*map(str, argv)], cwd=cwd, stdin=subprocess.DEVNULL, timeout=300, check=True)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment that holds the wheel; its requirements are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    unwanted = shutil.ignore_patterns(".git", ".venv*", "*.egg-info", "build", ".*cache", "tests", "docs")
    shutil.copytree(ROOT, folder / "source", ignore=unwanted)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, folder / "source", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(folder / "source")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent


def installed(commands: Path, slurm: Slurm, folder: Path, *words: str) -> str:
    """Run the installed command where a user stands; its stdout."""
    # Nothing of this clone or of the other tests is to be found: not by PYTHONPATH, not on the PATH.
    path = [each for each in os.environ["PATH"].split(":") if not (Path(each) / "pacsifier").exists()]
    environment = {**slurm.environment, "PATH": ":".join(path), "HOME": str(folder)}
    del environment["PYTHONPATH"]
    done = subprocess.run(
        [commands / "pacsifier-slurm", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def work(archive: Server, seats: dict[str, tuple[str, int]], tmp_path: Path) -> Work:
    made = Work(tmp_path, archive, seats)
    made.write_inputs()
    return made


def test_the_wheel_submits_and_its_tasks_run(commands, slurm: Slurm, work: Work, one):
    words = "submit -c config.json -q query.csv -d out --parts 2 --at_a_time 2 --seats seats --anonymize anonymized"
    ids = submitted(installed(commands, slurm, work.folder, *words.split(), "--", "--save", "--info"))
    assert list(ids) == ["retrieve", "merge", "anonymize", "merge-reports"]
    states = slurm.await_end(*ids.values())
    assert set(states.values()) == {"COMPLETED"}, (work.out / "slurm" / "part-1.log").read_text()
    assert f'PACSIFIER="{commands / "pacsifier"}"' in (work.out / "slurm" / "settings").read_text()
    assert tree(work.out) == tree(one)
    assert len(list((work.folder / "anonymized").glob("sub-*"))) == PATIENTS
    shown = [line.split() for line in installed(commands, slurm, work.folder, "states", "out").splitlines()]
    assert [line[2] for line in shown if line[:1] == ["part"] and line[1].isdigit()] == ["complete"] * 2
