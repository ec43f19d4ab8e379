"""Moving CSV files: none is lost, none is overwritten, a second run has nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from commands import Done, invoke

from pacsifier.disk import files

FILES = {
    "sub-1/ses-2/00003-T1.csv": "a",
    "sub-1/ses-2/00003-T1/MR.1.2": "image",
    "sub-1/ses-2/deep/er/still/X.CSV": "b",
    "logs/pacsifier_log.csv": "log",
    "mapper.json": "{}",
    "other.json": "{}",
    "top.csv": "c",
}
MOVED = sorted(set(FILES) - {"sub-1/ses-2/00003-T1/MR.1.2", "other.json"})


def fill(folder: Path, files: dict[str, str] = FILES) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def found(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(folder: Path, *more: str) -> Done:
    return invoke("move_csv", "-d", "data", "-o", "new/info", *more, cwd=folder)


def test_every_csv_at_any_depth_moves_into_the_same_tree(tmp_path):
    fill(tmp_path / "data")
    (tmp_path / "data" / "top.csv").chmod(0o600)
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{len(MOVED)} moved" in done.stderr
    assert found(tmp_path / "new" / "info") == {name: FILES[name] for name in MOVED}
    assert set(found(tmp_path / "data")) == set(FILES) - set(MOVED)
    assert (tmp_path / "new/info/top.csv").stat().st_mode & 0o777 == 0o600


def test_a_second_run_changes_nothing(tmp_path):
    fill(tmp_path / "data")
    run(tmp_path)
    before = found(tmp_path)
    done = run(tmp_path)
    assert (done.returncode, found(tmp_path)) == (0, before)
    assert "0 moved" in done.stderr


def test_a_dry_run_prints_and_moves_nothing(tmp_path):
    fill(tmp_path / "data")
    before = found(tmp_path)
    done = run(tmp_path, "--dry_run")
    assert (done.returncode, found(tmp_path)) == (0, before)
    assert len(done.stdout.splitlines()) == len(MOVED)
    assert f"{tmp_path / 'data/top.csv'} -> {tmp_path / 'new/info/top.csv'}" in done.stdout
    assert not (tmp_path / "new").exists()


def test_a_different_file_in_the_place_is_never_overwritten_and_nothing_moves(tmp_path):
    fill(tmp_path / "data")
    fill(tmp_path / "new" / "info", {"sub-1/ses-2/00003-T1.csv": "mine", "top.csv": "c"})
    before = found(tmp_path)
    done = run(tmp_path)
    assert (done.returncode, found(tmp_path)) == (2, before)
    assert "00003-T1.csv" in done.stderr
    assert "top.csv" not in done.stderr


def test_a_run_that_was_killed_between_copy_and_removal_is_finished(tmp_path):
    fill(tmp_path / "data")
    fill(tmp_path / "new" / "info", {"top.csv": "c"})
    assert run(tmp_path).returncode == 0
    assert "top.csv" not in found(tmp_path / "data")
    assert found(tmp_path / "new" / "info")["top.csv"] == "c"


def test_an_info_folder_inside_the_data_folder_is_not_moved_into_itself(tmp_path):
    fill(tmp_path / "data")
    for _ in range(2):
        assert invoke("move_csv", "-d", "data", "-o", "data/info", cwd=tmp_path).returncode == 0
    assert {name for name in found(tmp_path / "data") if name.startswith("info/")} == {
        f"info/{each}" for each in MOVED
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-d data", "--info_folder"),
        ("-o info", "--data_folder"),
        ("", "--data_folder and --info_folder"),
        ("-d absent -o info", "absent"),
        ("-d data -o data/../data", "the data folder itself"),
        ("-d data -o data/top.csv", "is a file"),
        ("-d data -o data/top.csv/below", "top.csv"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(tmp_path, arguments, said):
    fill(tmp_path / "data")
    before = found(tmp_path)
    done = invoke("move_csv", *arguments.split(), cwd=tmp_path)
    assert (done.returncode, found(tmp_path)) == (2, before)
    assert said in done.stderr


def test_a_file_where_a_folder_is_needed_is_named_before_anything_moves(tmp_path):
    fill(tmp_path / "data")
    fill(tmp_path / "new" / "info", {"sub-1": "a file"})
    before = found(tmp_path)
    done = run(tmp_path)
    assert (done.returncode, found(tmp_path)) == (2, before)
    assert "sub-1: is a file" in done.stderr


def test_links_are_named_and_stay_and_the_others_move(tmp_path):
    fill(tmp_path / "data")
    fill(tmp_path / "elsewhere", {"x.csv": "x"})
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "elsewhere" / "x.csv")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "link.csv" in done.stderr
    assert "linked" in done.stderr
    assert set(found(tmp_path / "new" / "info")) == set(MOVED)
    assert found(tmp_path / "elsewhere") == {"x.csv": "x"}


def test_a_folder_that_a_run_still_writes_to_is_left_alone(tmp_path):
    fill(tmp_path / "data")
    program = "import sys; from pathlib import Path; from pacsifier.disk.lock import OutputLock\n"
    program += "with OutputLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        done = run(tmp_path)
        assert done.returncode == 2
        assert str(holder.pid) in done.stderr
        holder.stdin.close()
    assert run(tmp_path).returncode == 0


def test_another_file_system_is_reached_by_a_copy(tmp_path):
    fill(tmp_path / "data")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.fail("/dev/shm is no file system of its own here")
        assert invoke("move_csv", "-d", "data", "-o", other, cwd=tmp_path).returncode == 0
        assert found(Path(other)) == {name: FILES[name] for name in MOVED}
    assert set(found(tmp_path / "data")) == set(FILES) - set(MOVED)


@pytest.mark.parametrize("links", [True, False])
def test_a_place_that_is_taken_meanwhile_is_not_overwritten(tmp_path, monkeypatch, links):
    source, target = tmp_path / "a.csv", tmp_path / "b" / "a.csv"
    source.write_text("a")
    target.parent.mkdir()
    target.write_text("b")
    if not links:
        monkeypatch.setattr(files.os, "link", _no_links)
    with pytest.raises(FileExistsError):
        files.move_file(source, target)
    assert (source.read_text(), target.read_text(), len(list(target.parent.iterdir()))) == ("a", "b", 1)


def _no_links(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")
