"""File systems that lack locks, access rights or hard links, as some network shares do: every command works there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Done, invoke

from pacsifier.demo import make_archive
from pacsifier.disk.files import append_line, make_folders, move_file
from pacsifier.disk.info import write_info
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.tree import Placed, Tree


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    make_archive(folder, 1, 1, 2, 2, 16)
    return folder


def refusing(number: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


LACKS = {
    "no flock (ENOSYS)": ((fcntl, "flock", errno.ENOSYS),),
    "no flock (ENOLCK)": ((fcntl, "flock", errno.ENOLCK),),
    "no chmod": ((os, "chmod", errno.EPERM), (os, "fchmod", errno.EPERM)),
    "no chmod (ENOTSUP)": ((os, "chmod", errno.ENOTSUP), (os, "fchmod", errno.ENOTSUP)),
    "no hard links": ((os, "link", errno.EPERM),),
    "no hard links (EOPNOTSUPP)": ((os, "link", errno.EOPNOTSUPP),),
    "nothing of all that": (
        *((fcntl, "flock", errno.ENOSYS), (os, "chmod", errno.EPERM), (os, "fchmod", errno.EPERM)),
        (os, "link", errno.EPERM),
    ),
}


@pytest.fixture
def folder(images: Path, tmp_path: Path) -> Path:
    """A folder with images in `in`, copied before anything is taken away."""
    shutil.copytree(images, tmp_path / "in")
    return tmp_path


@pytest.fixture(params=list(LACKS))
def bare(request, folder: Path, monkeypatch) -> str:
    for module, name, number in LACKS[request.param]:
        monkeypatch.setattr(module, name, refusing(number))
    return request.param


def anonymize(folder: Path) -> Done:
    return invoke("anonymize", "-d", "in", "-o", "out", cwd=folder)


def anonymize_again(folder: Path) -> Done:
    anonymize(folder)
    return invoke("anonymize", "-d", "in", "-o", "out", "--resume", cwd=folder)


def create_dicomdir(folder: Path) -> Done:
    return invoke("create_dicomdir", "--in_folder", "in", "--out_folder", "out", cwd=folder)


def add_karnak_tags(folder: Path) -> Done:
    (folder / "ids.json").write_text(json.dumps({"sub-BENCH00001": "P1"}))
    return invoke("add_karnak_tags", "-d", "in", "-n", "ids.json", "-a", "My album", cwd=folder)


def move_csv(folder: Path) -> Done:
    (folder / "in" / "info.csv").write_text("a,b\n")
    done = invoke("move_csv", "-d", "in", "-o", "info", cwd=folder)
    assert (folder / "info" / "info.csv").read_text() == "a,b\n"
    return done


def get_pseudonyms(folder: Path) -> Done:
    (folder / "map.csv").write_text("1234,P0001\n")
    return invoke("get_pseudonyms", "--mode", "custom", "-mf", "map.csv", "-a", "P", "-d", "ids", cwd=folder)


COMMANDS = (anonymize, anonymize_again, create_dicomdir, add_karnak_tags, move_csv, get_pseudonyms)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_on_a_file_system_that_lacks_something(folder, bare, command) -> None:
    done = command(folder)
    assert done.returncode == 0, done.stderr
    assert not list(folder.rglob(".*")), "a hidden file is left"
    if "flock" in bare or "nothing" in bare:
        assert "has no locks" in done.stderr


@pytest.mark.usefixtures("bare")
def test_a_received_image_is_placed_or_set_aside_all_the_same(tmp_path) -> None:
    for number in (1, 2):
        (tmp_path / f"staged{number}").write_bytes(b"x")
    assert Tree(tmp_path).place(tmp_path / "staged1", tmp_path / "sub-1" / "ses-1", "MR.1") is Placed.NEW
    aside = Tree(tmp_path).set_aside(tmp_path / "staged2", "MR", "1.2")
    assert aside.read_bytes() == b"x"
    assert (tmp_path / "sub-1" / "ses-1" / "MR.1").read_bytes() == b"x"


def test_a_file_moves_to_another_file_system_that_keeps_no_rights_or_times(tmp_path, monkeypatch) -> None:
    for name in ("link", "chmod", "utime"):
        monkeypatch.setattr(os, name, refusing(errno.EPERM))
    (tmp_path / "a.csv").write_text("x")
    move_file(tmp_path / "a.csv", tmp_path / "new" / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_where_rights_are_not_kept_one_line_says_so(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("pacsifier.disk.staging.limit_mode", lambda *_: False)
    with OutputLock(tmp_path):
        pass
    assert "keeps no access rights" in caplog.text
    assert len(caplog.records) == 1


# --- nothing is written through a link ----------------------------------------------------------------------------


def test_a_line_is_not_appended_through_a_link(tmp_path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"):
        append_line(tmp_path / "audit.jsonl", "{}")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_is_not_moved_through_a_link_in_the_place_of_the_partial_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "new").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "new" / ".a.csv.partial").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"):
        move_file(tmp_path / "a.csv", tmp_path / "new" / "a.csv")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("name", "status"),
    [("out.key.json", 2), ("out.deidentification_report.csv", 1), ("out.descriptor_words.csv", 1)],
)
def test_neither_key_nor_report_is_written_through_a_link(images, tmp_path, name, status) -> None:
    (tmp_path / "mine").write_text("{}")
    (tmp_path / name).symlink_to(tmp_path / "mine")
    done = invoke("anonymize", "-d", images, "-o", "out", cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert name in done.stderr
    assert "link" in done.stderr
    assert (tmp_path / "mine").read_text() == "{}"


def test_a_link_to_a_folder_stays_allowed_for_key_and_output(images, tmp_path) -> None:
    for name in ("keys", "real"):
        (tmp_path / name).mkdir()
        (tmp_path / f"to {name}").symlink_to(tmp_path / name)
    done = invoke("anonymize", "-d", images, "-o", "to real", "--key", "to keys/key.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "keys" / "key.json").exists()
    assert list((tmp_path / "real").rglob("*.dcm"))


# --- who may read what -------------------------------------------------------------------------------------------

OTHERS = stat.S_IRWXO


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027])
@pytest.mark.parametrize("command", [anonymize, create_dicomdir, move_csv])
def test_a_tree_is_nothing_for_others_and_the_group_has_what_the_umask_says(
    folder, tmp_path, umask, command
) -> None:
    for path in (folder / "in").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    before = os.umask(umask)
    try:
        assert command(tmp_path).returncode == 0
    finally:
        os.umask(before)
    made = [tmp_path / "out", *(tmp_path / "out").rglob("*"), *(tmp_path / "info").glob("*/")]
    for path in filter(Path.exists, made):
        wanted = (0o770 if path.is_dir() else 0o660) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_an_image_that_a_tool_left_open_to_others_is_closed(tmp_path) -> None:
    (tmp_path / "staged").write_bytes(b"x")
    (tmp_path / "staged").chmod(0o664)
    Tree(tmp_path).place(tmp_path / "staged", tmp_path / "sub-1", "MR.1")
    assert stat.S_IMODE((tmp_path / "sub-1" / "MR.1").stat().st_mode) == 0o660


def test_an_audit_that_was_open_to_others_is_closed(tmp_path) -> None:
    (tmp_path / "audit.jsonl").write_text("")
    (tmp_path / "audit.jsonl").chmod(0o644)
    append_line(tmp_path / "audit.jsonl", "{}")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_report_that_somebody_else_laid_out_is_not_written_into(images, tmp_path) -> None:
    report = tmp_path / "out.deidentification_report.csv"
    report.touch()
    report.chmod(0o666)
    with report.open() as theirs:
        assert invoke("anonymize", "-d", images, "-o", "out", cwd=tmp_path).returncode == 0
        assert theirs.read() == ""
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


@pytest.mark.parametrize("group", [0o7, 0o5, 0o0])
def test_an_acl_gives_the_group_its_rights_and_others_none(tmp_path, group) -> None:
    # acl(5) as the kernel keeps it: the owner, the group and others, each with no id.
    entries = ((0x01, 7), (0x04, group), (0x20, 5))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", tag, rights, -1) for tag, rights in entries)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"no ACL here: {error}")
    make_folders(tmp_path / "sub-1" / "ses-1")
    with OutputLock(tmp_path) as lock:
        (lock.staging / "staged").write_bytes(b"x")
        Tree(tmp_path).place(lock.staging / "staged", tmp_path / "sub-1" / "ses-1", "MR.1")
    write_info(tmp_path / "sub-1" / "ses-1.csv", {})
    for path in (tmp_path / "sub-1").rglob("*"):
        assert path.stat().st_mode & 0o077 == (group if path.is_dir() else group & 6) << 3, path


def test_a_folder_that_hands_its_group_on_goes_on_doing_so(tmp_path) -> None:
    tmp_path.chmod(0o2770)
    with OutputLock(tmp_path) as lock:
        assert lock.staging.stat().st_mode & 0o7777 == 0o2700
    make_folders(tmp_path / "sub-1" / "ses-1")
    assert (tmp_path / "sub-1" / "ses-1").stat().st_mode & stat.S_ISGID


# --- the token of the de-ID service ------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_token_that_others_may_read_is_warned_of(tmp_path, mode, told) -> None:
    path = tmp_path / "deid.json"
    path.write_text(json.dumps({"deid_URL": "https://127.0.0.1:9/x", "deid_token": "SECRET"}))
    path.chmod(mode)
    code = "import sys; from pathlib import Path; from pacsifier.config import load_deid_config as load; "
    argv = [sys.executable, "-c", f"{code} load(Path(sys.argv[1]))", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert (f"chmod 600 {path}" in done.stderr) is told
    assert len(done.stderr.splitlines()) == told
    assert "SECRET" not in done.stderr
