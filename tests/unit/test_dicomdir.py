"""A File-set for a CD or a partner: complete, read by others, the same every time, and the input untouched."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest
from commands import Done, invoke
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet
from pydicom.uid import generate_uid

from pacsifier.dcmtk import dcmmkdir
from pacsifier.demo import make_hospital
from pacsifier.dicom import mediadir
from pacsifier.errors import InputError, ToolError
from pacsifier.flows import create_dicomdir

PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    make_hospital(folder := tmp_path_factory.mktemp("hospital"))
    return folder


@pytest.fixture
def template(hospital: Path) -> pydicom.Dataset:
    return pydicom.dcmread(hospital / "P0001/ST01/SE01/IM0001")


def save(template: pydicom.Dataset, path: Path, **values: Any) -> Path:
    """An instance like the template; None removes an element, a name as value is a UID made of it."""
    for keyword, value in {"SOPInstanceUID": str(path), **values}.items():
        if value is None:
            del template[keyword]
        elif keyword.endswith("InstanceUID"):
            setattr(template, keyword, generate_uid(entropy_srcs=[value]))
        else:
            setattr(template, keyword, value)
    template.file_meta.MediaStorageSOPClassUID = template.SOPClassUID
    template.file_meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    template.save_as(path)
    return path


def run(folder: Path, *more: str, source: object = "in", target: object = "out") -> Done:
    return invoke("create_dicomdir", "--in_folder", source, "--out_folder", target, *more, cwd=folder)


def listed(folder: Path) -> dict[str, pydicom.Dataset]:
    """What pydicom finds in a File-set: file ID -> instance; dcmmkdir has to understand the DICOMDIR too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = {
            Path(each.path).relative_to(folder).as_posix(): each.load()
            for each in FileSet(folder / "DICOMDIR")
        }
    copy = folder.parent / "copy of DICOMDIR"
    shutil.copy(folder / "DICOMDIR", copy)
    refused = subprocess.run(
        ["dcmmkdir", "-Pmi", "-nb", "+U", "+id", folder, "+D", copy, next(iter(found))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "E:" not in refused.stderr
    assert {each.file_id for each in mediadir.read(copy.read_bytes()).leaves()} == found.keys()
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_instance_is_copied_byte_for_byte_and_listed_once(hospital, tmp_path):
    before = tree(hospital)
    done = run(tmp_path, source=hospital)
    assert done.returncode == 0, done.stderr
    assert "instances: 102; 102 written" in done.stderr
    found = listed(tmp_path / "out")
    originals = {pydicom.dcmread(path).SOPInstanceUID: path for path in hospital.rglob("IM*")}
    assert Counter(each.SOPInstanceUID for each in found.values()) == Counter(originals.keys())
    for name, each in found.items():
        assert all(len(part) == 8 and part.isalnum() and part.isupper() for part in name.split("/"))
        assert filecmp.cmp(tmp_path / "out" / name, originals[each.SOPInstanceUID], shallow=False)
    assert tree(hospital) == before
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {
        "DICOMDIR",
        *(f"PA{n:06}" for n in range(20)),
    }


def test_the_same_input_gives_the_same_bytes_and_a_second_run_changes_nothing(hospital, tmp_path):
    run(tmp_path, source=hospital)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    again = run(tmp_path, source=hospital)
    assert again.returncode == 0
    assert "0 written" in again.stderr
    assert f"as it was: {tmp_path / 'out/DICOMDIR'}" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run(tmp_path, source=hospital, target="other")
    assert tree(tmp_path / "other") == tree(tmp_path / "out")


def test_a_later_run_adds_what_is_new_and_keeps_names(hospital, template, tmp_path):
    shutil.copytree(hospital / "P0001", tmp_path / "in/a")
    run(tmp_path)
    before = tree(tmp_path / "out")
    save(template, tmp_path / "in/new", InstanceNumber=0)
    shutil.rmtree(next((tmp_path / "in/a").glob("ST01")))
    done = run(tmp_path)
    assert done.returncode == 0
    assert "from earlier runs only; 1 written" in done.stderr
    after = tree(tmp_path / "out")
    assert {name: after[name] for name in before if name != "DICOMDIR"} == {
        name: data for name, data in before.items() if name != "DICOMDIR"
    }
    assert len(listed(tmp_path / "out")) == len(before)


def test_what_a_dicomdir_needs_is_invented_in_the_copy_and_told(template, tmp_path):
    lacking = ("StudyDate", "StudyTime", "StudyID", "SeriesNumber", "InstanceNumber", "PatientID")
    original = template.PixelData
    save(
        template,
        tmp_path / "in/bare",
        PatientName=None,
        SeriesDate="",
        AcquisitionDate="",
        ContentDate="",
        SeriesTime="",
        AcquisitionTime="",
        ContentTime="",
        **dict.fromkeys(lacking, ""),
    )
    save(
        template,
        tmp_path / "in/dated",
        StudyInstanceUID="two",
        SeriesInstanceUID="two",
        SeriesDate="20150512",
        SeriesTime="1405",
        PatientID="7",
        PatientName="A",
    )
    save(template, tmp_path / "in/twin", StudyTime="1406", StudyID="S1", SeriesNumber="12")
    before = tree(tmp_path / "in")
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    for keyword in (*lacking, "PatientName"):
        assert f"{keyword} was missing in " in done.stderr
    copies = {each.SOPInstanceUID: each for each in listed(tmp_path / "out").values()}
    bare, dated = (
        copies[pydicom.dcmread(tmp_path / "in" / name).SOPInstanceUID] for name in ("bare", "dated")
    )
    assert bare.PatientID.startswith("NOID_")
    assert [bare.get(each) for each in ("PatientName", *lacking[:2])] == ["", "19000101", "000000"]
    assert [str(dated.get(each)) for each in lacking[:5]] == ["20150512", "1406", "S1", "12", "1"]
    assert bare.PixelData == original
    assert tree(tmp_path / "in") == before


def test_nothing_but_the_invented_elements_differs_from_the_original(template, tmp_path):
    save(template, tmp_path / "in/bare", StudyID=None, SeriesNumber=None, StudyTime="")
    original = pydicom.dcmread(tmp_path / "in/bare")
    assert run(tmp_path).returncode == 0
    (copy,) = listed(tmp_path / "out").values()
    differing = {each.keyword for each in copy if each.tag not in original or original[each.tag] != each}
    assert differing == {"StudyID", "SeriesNumber", "StudyTime"}
    assert copy.file_meta == original.file_meta


@pytest.mark.parametrize(
    ("names", "profile"),
    [
        (["CT_small.dcm"], "STD-GEN-CD"),
        (["CT_small.dcm", "SC_rgb_jpeg_dcmtk.dcm"], "STD-GEN-USB-JPEG"),
        (["CT_small.dcm", "MR_small_jp2klossless.dcm"], "STD-GEN-USB-J2K"),
        (["CT_small.dcm", "MR_small_RLE.dcm"], "STD-GEN-MIME"),
        (["image_dfl.dcm", "rtplan.dcm", "SC_rgb_jpeg_dcmtk.dcm"], "STD-GEN-MIME"),
        (
            [
                "JPEG-lossy.dcm",
                "MR_small_bigendian.dcm",
                "waveform_ecg.dcm",
                "reportsi.dcm",
                "rtdose.dcm",
                "rtplan.dcm",
            ],
            "STD-GEN-MIME",
        ),
    ],
)
def test_every_transfer_syntax_and_modality_is_listed_under_the_profile_that_fits(tmp_path, names, profile):
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy(get_testdata_file(name, download=False), tmp_path / "in")
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"(fits {profile})" in done.stderr
    assert len(listed(tmp_path / "out")) == len(names)


def test_what_dcmmkdir_refuses_is_listed_all_the_same(template, tmp_path):
    save(template, tmp_path / "in/known")
    save(template, tmp_path / "in/private", SOPClassUID=PRIVATE_CLASS)
    save(template, tmp_path / "in/private2", SOPClassUID=PRIVATE_CLASS)
    save(template, tmp_path / "in/young", SOPClassUID="1.2.840.10008.5.1.4.1.1.6.3")
    save(
        template,
        tmp_path / "in/alone",
        SOPClassUID=PRIVATE_CLASS,
        StudyInstanceUID="x",
        SeriesInstanceUID="x",
        PatientID="another",
        PatientName="Müller^Zoë",
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"since dcmmkdir says: invalid SOP class ({PRIVATE_CLASS})") == 3
    assert len(listed(tmp_path / "out")) == 5
    directory = pydicom.dcmread(tmp_path / "out/DICOMDIR")
    kinds = Counter(each.DirectoryRecordType for each in directory.DirectoryRecordSequence)
    assert kinds == {"PATIENT": 2, "STUDY": 2, "SERIES": 2, "IMAGE": 2, "PRIVATE": 3}
    names = {str(each.PatientName) for each in directory.DirectoryRecordSequence if "PatientName" in each}
    assert "Müller^Zoë" in names
    again = run(tmp_path)
    assert "as it was" in again.stderr


def test_what_cannot_be_listed_is_named_and_the_others_go_on(template, tmp_path):
    good = save(template, tmp_path / "in/good")
    shutil.copy(good, tmp_path / "in/good twin")
    save(template, tmp_path / "in/differs", SOPInstanceUID=str(good), SeriesNumber=99)
    save(template, tmp_path / "in/modality", Modality="")
    save(template, tmp_path / "in/cut", Modality="MR").write_bytes((tmp_path / "in/cut").read_bytes()[:-100])
    save(template, tmp_path / "in/whole")
    (tmp_path / "in/headless").write_bytes((tmp_path / "in/whole").read_bytes()[132:])
    (tmp_path / "in/table.csv").write_text("a,b\n")
    shutil.copy(get_testdata_file("DICOMDIR", download=False), tmp_path / "in/DICOMDIR")
    done = run(tmp_path)
    assert done.returncode == 1
    for said in (
        "in/modality: not taken: lacks Modality, which cannot be invented",
        "in/cut: not taken: not whole",
        "in/headless: not taken: has no DICOM preamble",
        "in/differs: not taken: another file has the same SOP Instance UID and differs",
        "in/good: not taken: another file has the same SOP Instance UID and differs",
        "instances: 1; 1 written, 2 other files left",
    ):
        assert said in done.stderr
    assert len(listed(tmp_path / "out")) == 1


def test_the_folder_itself_gets_a_dicomdir_where_names_allow(hospital, tmp_path):
    shutil.copytree(hospital, tmp_path / "cd")
    before = tree(tmp_path / "cd")
    done = run(tmp_path, source="cd", target=tmp_path / "cd")
    assert done.returncode == 0, done.stderr
    after = tree(tmp_path / "cd")
    assert after.pop("DICOMDIR")
    assert after == before
    assert len(listed(tmp_path / "cd")) == len(before)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("sub-1/MR.1.2", {}, "in/sub-1/MR.1.2: no name that PS3.10 allows"),
        ("lower", {}, "no name that PS3.10 allows"),
        ("DICOMDIR", {}, "is of another File-set"),
        ("A/B/C/D/E/F/G/H/I", {}, "no name that PS3.10 allows"),
        ("IM1", {"StudyID": ""}, "in/IM1: lacks StudyID"),
    ],
)
def test_the_folder_itself_is_left_alone_where_they_do_not_and_why_is_said(
    template, tmp_path, name, values, said
):
    save(template, tmp_path / "in" / name, **values)
    before = tree(tmp_path)
    done = run(tmp_path, target="in")
    assert done.returncode == 2
    assert said in done.stderr
    assert "give another --out_folder" in done.stderr or name == "DICOMDIR"
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("absent", "out", "--in_folder {0}/absent: there is no such folder"),
        ("in/file", "out", "--in_folder {0}/in/file: there is no such folder"),
        ("in", "in/file", "--out_folder {0}/in/file: is a file"),
        ("empty", "out", "--in_folder {0}/empty: no DICOM instance in 0 files"),
        ("text", "out", "--in_folder {0}/text: no DICOM instance in 1 file"),
        ("in", "cd", "{0}/cd/DICOMDIR is of another File-set and would be lost"),
        ("cd", "cd", "{0}/cd/DICOMDIR is of another File-set and would be lost"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused_before_anything_is_written(
    template, tmp_path, source, target, said
):
    save(template, tmp_path / "in/file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cd").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.csv").write_text("x\n")
    shutil.copy(get_testdata_file("DICOMDIR", download=False), tmp_path / "cd/DICOMDIR")
    shutil.copy(tmp_path / "in/file", tmp_path / "cd/FILE")
    before = tree(tmp_path)
    done = run(tmp_path, source=source, target=target)
    assert done.returncode == 2
    assert said.format(tmp_path) in done.stderr
    assert tree(tmp_path) == before


def test_a_disk_too_small_is_said_before_the_first_copy(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(create_dicomdir, "free_bytes", lambda _: 1000)
    done = run(tmp_path, source=hospital)
    assert done.returncode == 2
    assert "MB are needed" in done.stderr
    assert not (tmp_path / "out/DICOMDIR").exists()


def test_links_take_no_room_and_copies_do_not_follow_the_original(hospital, template, tmp_path):
    shutil.copytree(hospital / "P0001", tmp_path / "in")
    save(template, tmp_path / "in/bare", StudyID="")
    done = run(tmp_path, "--link")
    assert done.returncode == 0, done.stderr
    originals = {
        pydicom.dcmread(path).SOPInstanceUID: path for path in (tmp_path / "in").rglob("*") if path.is_file()
    }
    found = listed(tmp_path / "out")
    for name, each in found.items():
        shared = (tmp_path / "out" / name).stat().st_ino == originals[each.SOPInstanceUID].stat().st_ino
        # A reflink has an inode of its own.
        assert shared is False or originals[each.SOPInstanceUID].name != "bare"
    run(tmp_path, target="plain")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "plain").rglob("IM*"))
    assert "0 written" in run(tmp_path, "--link").stderr


def test_an_out_folder_inside_the_in_folder_is_not_copied_into_itself(hospital, tmp_path):
    shutil.copytree(hospital / "P0001", tmp_path / "in/a")
    for _ in range(2):
        done = run(tmp_path, target="in/cd")
        assert done.returncode == 0, done.stderr
    assert "0 written" in done.stderr


def test_a_run_that_was_killed_is_finished_by_the_next(hospital, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    run(tmp_path, source=hospital, target=whole)

    def killed(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if not left:
            raise OSError(4, "killed")
        return there(self, target)

    there, left = Path.replace, 30
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        assert run(tmp_path, source=hospital).returncode == 1
    assert not (tmp_path / "out/DICOMDIR").exists()
    assert run(tmp_path, source=hospital).returncode == 0
    assert tree(tmp_path / "out") == tree(whole)


def test_an_old_or_missing_dcmmkdir_is_said_before_anything_else(hospital, tmp_path):
    (tmp_path / "bin").mkdir()
    done = run(tmp_path, "--dcmtk_dir", str(tmp_path / "bin"), source=hospital)
    assert done.returncode == 4
    assert "dcmmkdir was not found" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_dicomdir_that_lists_too_little_is_not_kept(hospital, tmp_path, monkeypatch):
    def without_the_other_patients(data: bytes) -> bytes:
        directory = mediadir.read(data)
        first = next(directory.children(directory.roots_at))
        directory.data[first.next_at : first.next_at + 4] = bytes(4)
        return bytes(directory.data)

    monkeypatch.setattr(mediadir, "named_by_content", without_the_other_patients)
    done = run(tmp_path, source=hospital)
    assert done.returncode == 4
    assert "does not list every instance once" in done.stderr
    assert not (tmp_path / "out/DICOMDIR").exists()


def test_names_do_not_clash_however_many_there_are():
    names = create_dicomdir._Names()
    given = [names.of((str(n % 7), str(n % 50), str(n % 350), str(n))) for n in range(100_000)]
    assert len(set(given)) == len(given)
    with pytest.raises(InputError, match="more than 999999"):
        names._highest[""] = 999_999
        names.of(("one more", "a", "b", "c"))


@pytest.mark.parametrize("damage", [b"", b"x" * 400, None])
def test_what_is_no_dicomdir_is_said(hospital, tmp_path, damage):
    run(tmp_path, source=hospital)
    data = (tmp_path / "out/DICOMDIR").read_bytes()
    with pytest.raises(ToolError):
        list(mediadir.read(data[:-1000] if damage is None else damage).leaves())


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "transcripts").glob("*/media_refused.log")), ids=str
)
def test_what_dcmmkdir_says_is_understood(path):
    log = path.read_text()
    names = ("GOOD", "OTHER", "CLASS", "NONUMBER", "NOID", "CUT")
    assert dcmmkdir._refused(log, names) == {
        "CLASS": "invalid SOP class (1.3.12.2.1107.5.9.1) for STD-GEN-MIME profile",
        "NONUMBER": "required attribute SeriesNumber (0020,0011) empty",
        "NOID": "required attribute PatientID (0010,0020) empty",
        "CUT": "I/O suspension or premature end of stream",
    }
    assert log.count("W: file inconsistent with existing DICOMDIR record") == 1
