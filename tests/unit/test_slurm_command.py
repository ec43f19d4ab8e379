"""`pacsifier-slurm` before it becomes its script: a mistake costs one line, not a task for each part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pacsifier.cli import slurm
from pacsifier.slurm.seats import Seat, read_seats
from pacsifier.slurm.seats import main as write_seats

FILES = ("--config", "config.json", "--queryfile", "query.csv", "-d", "out", "--parts", "4")
CONFIG = """{"server_address": "127.0.0.1", "port": 4242, "server_AET": "ORTHANC", "AET": "PACSIFIER",
"move_AET": "PACSIFIER", "move_port": 4243, "batch_size": 20, "batch_wait_time": 1}"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "query.csv").write_text("PatientID\n1\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "what"),
        (("states",), "name the output folder"),
        (("submit", "out", *FILES, "--", "--save"), "follow --"),
        (("submit", *FILES), "nothing to do"),
        (("submit", *FILES[2:], "--", "--save"), "needs --config"),
        (("submit", "--", "--save"), "needs --config and --queryfile and --out_directory and --parts"),
        (("submit", *FILES, "--seats", "nowhere", "--", "--save"), "--seats: there is no such file"),
        (("submit", *FILES, "--parts", "0", "--", "--save"), "--parts"),
        (("submit", *FILES, "--", "--svae"), "did you mean --save?"),
        (("submit", *FILES, "--", "--save", "--move"), "--save cannot be used together"),
        (("submit", *FILES, "--", "--save", "-d", "."), "--out_directory after -- is set for each part"),
        (("submit", *FILES, "--", "--save", "-d", "./data"), "--out_directory after -- is set for each part"),
        (("submit", *FILES, "--", "--save", "--shard", "1/4"), "--shard after -- is set for each part"),
        (("submit", *FILES, "--", "--upload"), "--upload after -- is nothing for parts"),
        (("submit", *FILES, "--", "--save", "--dry_run"), "--dry_run after -- is nothing for parts"),
        (
            ("submit", *FILES, "--anonymize", "a", "--anonymize_option=--fuzz_aq", "--", "--save"),
            "did you mean --fuzz_acq_dates?",
        ),
        (
            ("submit", *FILES, "--anonymize", "a", "--anonymize_option=--key=k", "--", "--save"),
            "--anonymize_option=--key: it is set for each part",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_submitted(words, said, here, capsys):
    with pytest.raises(SystemExit) as ended:
        slurm.main(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (here / "out").exists()


def run(folder: Path, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command where the programs of one folder alone are on the PATH."""
    return subprocess.run(
        [sys.executable, "-m", "pacsifier.cli.slurm", *words],
        cwd=folder,
        env={"PATH": str(path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_a_program_that_is_missing_is_named(here):
    (here / "bin").mkdir()
    done = run(here, here / "bin", "submit", *FILES, "--", "--save")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[0] == "pacsifier-slurm: sbatch is not on the PATH"
    assert not (here / "out").exists()


def test_a_config_that_no_part_would_take_is_refused(here):
    (here / "config.json").write_text("{}", encoding="utf-8")
    done = run(here, here, "submit", *FILES, "--", "--save")
    assert done.returncode == 2
    assert "server_AET" in done.stderr


def test_the_exit_status_is_that_of_the_script(here):
    (here / "bin").mkdir()
    for name in ("bash", "dirname"):
        (here / "bin" / name).symlink_to(f"/usr/bin/{name}")
    (here / "bin" / "squeue").symlink_to("/bin/true")
    done = run(here, here / "bin", "states", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"pacsifier-slurm: {here}/out holds no jobs of pacsifier-slurm\n"


# --- seats -------------------------------------------------------------------------------------------------------


def test_seats_are_read_line_by_line():
    text = "# node AET port\n\nn1 A 11112  # the first\nn1 B 11113\n* A 11112\n"
    assert read_seats(text) == [Seat("n1", "A", 11112), Seat("n1", "B", 11113), Seat("*", "A", 11112)]


@pytest.mark.parametrize("text", ["", "# none\n", "n1 A\n", "n1 A port\n", "n1 A 1 2\n", "n1 A 1\nn1 B 1\n"])
def test_seats_that_two_tasks_would_fight_for_or_nobody_could_take_are_refused(text):
    with pytest.raises(ValueError, match=r"expected|twice"):
        read_seats(text)


@pytest.mark.parametrize("seats", ["", "none"])
def test_without_seats_there_is_that_of_the_config_on_any_node(here, seats):
    assert write_seats("config.json", seats, str(here)) == 1
    assert (here / "1.node").read_text() == "*\n"
    assert '"move_port": 4243' in (here / "1.json").read_text()
