"""A tool that takes its file names from a PACS writes where it is told to and nowhere else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pacsifier.dcmtk import confinement

pytestmark = pytest.mark.skipif(not confinement.is_possible(), reason="this kernel has no Landlock")


def shell(folder: Path, command: str) -> int:
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, preexec_fn=lambda: confinement.confine(folder), check=False
    ).returncode


def test_a_confined_tool_writes_into_its_folder_and_reads_everywhere(tmp_path):
    (tmp_path / "other").write_text("other", encoding="ascii")
    folder = tmp_path / "own"
    folder.mkdir()
    assert shell(folder, "cat ../other > new && mkdir more && mv new more && rm -r more && touch left") == 0
    assert [path.name for path in folder.iterdir()] == ["left"]


@pytest.mark.parametrize(
    "command", ["> ../new", "> ../other", "rm ../other", "mkdir ../new", "ln -s other ../new"]
)
def test_a_confined_tool_changes_nothing_elsewhere(tmp_path, command):
    (tmp_path / "other").write_text("other", encoding="ascii")
    folder = tmp_path / "own"
    folder.mkdir()
    assert shell(folder, command) != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "own"]
    assert (tmp_path / "other").read_text(encoding="ascii") == "other"
