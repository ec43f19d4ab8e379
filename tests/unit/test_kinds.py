"""What kind of file this is: whoever errs sends, changes or lists what is no image, or loses one that is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from pacsifier.dicom import kinds
from pacsifier.dicom.kinds import Kind

PATIENT_ID = 0x00100020
PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"


def lay(path: Path, what: str) -> None:
    """Makes a file of the named kind."""
    image = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
    media = Path(get_testdata_file("DICOMDIR", download=False)).read_bytes()
    contents = {
        "image": image,
        "cut image": image[:-50],
        "image without preamble": image[132:],
        "medium's directory": media,
        "cut directory": media[:-50],
        "empty": b"",
        "text": b"a,b\n",
    }
    match what:
        case "folder":
            path.mkdir()
        case "link to a folder":
            path.symlink_to(path.parent)
        case "link to an image":
            (path.parent / "image").write_bytes(image)
            path.symlink_to("image")
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "link to itself":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "private image" | "private image without preamble":
            dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = PRIVATE_CLASS
            dataset.save_as(path)
            if what.endswith("preamble"):
                path.write_bytes(path.read_bytes()[132:])
        case "nothing":
            pass
        case _:
            path.write_bytes(contents[what])


@pytest.mark.parametrize(
    ("what", "kind", "why"),
    [
        ("image", Kind.INSTANCE, ""),
        ("private image", Kind.INSTANCE, ""),
        ("link to an image", Kind.INSTANCE, ""),
        ("cut image", Kind.NOT_WHOLE, "cut at byte"),
        ("image without preamble", Kind.BARE, "no DICM prefix"),
        ("private image without preamble", Kind.OTHER, "no DICM prefix"),
        ("medium's directory", Kind.DIRECTORY, ""),
        ("cut directory", Kind.DIRECTORY, "cut at byte"),
        ("empty", Kind.OTHER, "no DICM prefix"),
        ("text", Kind.OTHER, "no DICM prefix"),
        ("folder", Kind.FOLDER, ""),
        ("link to a folder", Kind.LINKED_FOLDER, ""),
        ("link to nowhere", Kind.DEAD_LINK, "No such file or directory"),
        ("link to itself", Kind.DEAD_LINK, "Too many levels of symbolic links"),
        ("pipe", Kind.SPECIAL, ""),
        ("nothing", Kind.UNREADABLE, "No such file or directory"),
    ],
)
def test_a_file_is_taken_for_what_it_is(what, kind, why, tmp_path):
    lay(tmp_path / "file", what)
    examined = kinds.examine(tmp_path / "file", (PATIENT_ID,))
    assert examined.kind is kind
    assert examined.why.startswith(why)
    assert bool(examined.why) is bool(why)


def test_what_was_wanted_of_it_is_there_and_its_sop_class(tmp_path):
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path / "file")
    examined = kinds.examine(tmp_path / "file", (PATIENT_ID,))
    assert examined.file.text(PATIENT_ID) == "1CT1"
    assert examined.sop_class == "1.2.840.10008.5.1.4.1.1.2"
    assert kinds.examine(tmp_path, ()).sop_class == ""


def test_a_file_that_the_system_does_not_let_us_read_says_why(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")

    def barred(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kinds.part10, "read", barred)
    assert kinds.examine(tmp_path / "file", ()) == kinds.Examined(Kind.UNREADABLE, why="Permission denied")
