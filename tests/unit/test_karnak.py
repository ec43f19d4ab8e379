"""Tags that route a study: right for every patient, nothing else touched, each file old or new at any moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
from commands import Done, invoke
from pydicom.data import get_testdata_file

from pacsifier.demo import make_hospital
from pacsifier.dicom import part10


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    make_hospital(folder := tmp_path_factory.mktemp("hospital"))
    return folder


@pytest.fixture(scope="module")
def patients(hospital: Path) -> list[str]:
    return sorted(
        {pydicom.dcmread(path, stop_before_pixels=True).PatientID for path in hospital.rglob("IM*")}
    )


@pytest.fixture
def folder(hospital: Path, patients: list[str], tmp_path: Path) -> Path:
    """A copy of the hospital, and maps for everybody in it."""
    shutil.copytree(hospital, tmp_path / "in")
    write(tmp_path, {f"sub-{patient}": f"P{n:04}" for n, patient in enumerate(patients)})
    write(tmp_path, {f"sub-{patient}": str(n - 3) for n, patient in enumerate(patients)}, "shifts.json")
    return tmp_path


def write(folder: Path, values: dict[str, Any], name: str = "ids.json") -> None:
    (folder / name).write_text(json.dumps(values))


def run(folder: Path, *more: str) -> Done:
    return invoke(
        "add_karnak_tags",
        "-d",
        "in",
        "-n",
        "ids.json",
        "-s",
        "shifts.json",
        "-a",
        "My album",
        *more,
        cwd=folder,
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def block(path: Path) -> tuple[str, str, str]:
    """What the tags say; Implicit VR tells no VR, and pydicom does not know this creator."""
    dataset = pydicom.dcmread(path)
    found = [dataset.private_block(0x000B, "CHUV_DEV_TML")[number] for number in (1, 2, 3)]
    if dataset.file_meta.TransferSyntaxUID.is_implicit_VR:
        return tuple(each.value.decode().rstrip() for each in found)
    assert [each.VR for each in found] == ["LO"] * 3
    return tuple(each.value for each in found)


def one(folder: Path, name: str, **changes: Any) -> Path:
    """A folder `in` with one of pydicom's files, and maps for its patient."""
    (folder / "in").mkdir(exist_ok=True)
    path = Path(shutil.copy(get_testdata_file(name, download=False), folder / "in"))
    patient = pydicom.dcmread(path, force=True).get("PatientID") or ""
    write(folder, {patient: "P1", **changes.pop("ids", {})})
    write(folder, {patient: -12}, "shifts.json")
    return path


def test_every_instance_carries_its_patients_code_album_and_shift(folder, patients, hospital):
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert f"patients: {len(patients)}; instances: 102 tagged, 0 were tagged already, 0 failed" in done.stderr
    for path in (folder / "in").rglob("IM*"):
        number = patients.index(pydicom.dcmread(path).PatientID)
        assert block(path) == (f"P{number:04}", "My album", str(number - 3))
    assert sorted(tree(folder / "in")) == sorted(tree(hospital))


def test_nothing_but_the_block_differs_and_pixel_data_stays_byte_for_byte(folder, hospital):
    assert run(folder).returncode == 0
    for path in (folder / "in").rglob("IM*"):
        before, after = (hospital / path.relative_to(folder / "in")).read_bytes(), path.read_bytes()
        at = next(at for at, (one, two) in enumerate(zip(before, after, strict=False)) if one != two)
        added = len(after) - len(before)
        assert before[:at] + after[at : at + added] + before[at:] == after
        assert part10.read(path, ()).whole


def test_a_second_run_changes_nothing_and_a_new_album_only_the_block(folder):
    run(folder)
    before = {path: path.stat().st_ino for path in (folder / "in").rglob("IM*")}
    again = run(folder)
    assert again.returncode == 0
    assert "0 tagged, 102 were tagged already" in again.stderr
    assert {path: path.stat().st_ino for path in before} == before
    sizes = {path: path.stat().st_size for path in before}
    assert run(folder, "-a", "Album Nr.2").returncode == 0
    assert all(block(path)[1] == "Album Nr.2" for path in before)
    assert all(path.stat().st_size == size + 2 for path, size in sizes.items())


def test_a_dry_run_checks_everything_and_changes_nothing(folder):
    before = tree(folder)
    done = run(folder, "--dry_run")
    assert done.returncode == 0
    assert "102 would be tagged" in done.stderr
    assert tree(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        *("MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "rtplan.dcm"),
        *("badVR.dcm", "waveform_ecg.dcm", "SC_rgb_rle_2frame.dcm", "MR_small_padded.dcm"),
    ],
)
def test_every_transfer_syntax_is_tagged_in_its_own_encoding(tmp_path, name):
    path = one(tmp_path, name)
    before = pydicom.dcmread(path)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert block(path) == ("P1", "My album", "-12")
    after = pydicom.dcmread(path)
    assert after.file_meta == before.file_meta
    del after[0x000B0010:0x000C0000]
    assert after == before
    dumped = subprocess.run(["dcmdump", "+P", "000b,1001", path], capture_output=True, text=True, check=True)
    assert "[P1]" in dumped.stdout or "50\\31" in dumped.stdout


def test_a_deflated_data_set_is_tagged_inside(tmp_path):
    path = one(tmp_path, "CT_small.dcm")
    before = pydicom.dcmread(path)
    before.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    before.save_as(path)
    before = pydicom.dcmread(path)
    assert run(tmp_path).returncode == 0
    assert block(path) == ("P1", "My album", "-12")
    assert part10.read(path, ()).whole
    after = pydicom.dcmread(path)
    del after[0x000B0010:0x000C0000]
    assert (after, after.file_meta) == (before, before.file_meta)


@pytest.mark.parametrize(
    ("there", "place"),
    [
        ([(0x10, "ANOTHER")], 0x11),
        ([(0x10, "ANOTHER"), (0x11, "CHUV_DEV_TML")], 0x11),
        ([(0x12, "ANOTHER")], 0x10),
        ([(0x11, "CHUV_DEV_TML"), (0x13, "CHUV_DEV_TML")], 0x11),
    ],
)
def test_the_block_of_another_creator_stays_as_it_is(tmp_path, there, place):
    path = one(tmp_path, "CT_small.dcm")
    dataset = pydicom.dcmread(path)
    for number, creator in there:
        dataset.add_new((0x000B, number), "LO", creator)
        dataset.add_new((0x000B, number << 8 | 1), "LO", "old")
        dataset.add_new((0x000B, number << 8 | 9), "LO", "kept")
    dataset.save_as(path)
    assert run(tmp_path).returncode == 0
    after = pydicom.dcmread(path)
    assert [after[0x000B, place << 8 | number].value for number in (1, 2, 3)] == ["P1", "My album", "-12"]
    for number, creator in there:
        assert after[0x000B, number].value == creator
        assert after[0x000B, number << 8 | 9].value == "kept"
        old = after.get((0x000B, number << 8 | 1))
        if creator == "ANOTHER":
            assert old.value == "old"
        else:
            assert old is None or old.value == "P1"


def test_elements_without_a_creator_and_a_group_length_do_not_mislead(tmp_path):
    path = one(tmp_path, "CT_small.dcm")
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x000B, 0x0000), "UL", 10)
    dataset.add_new((0x000B, 0x1001), "LO", "orphan")
    dataset.save_as(path)
    assert run(tmp_path).returncode == 0
    after = pydicom.dcmread(path)
    assert (0x000B, 0x0000) not in after
    assert [after[0x000B, tag].value for tag in (0x0011, 0x1001, 0x1101)] == ["CHUV_DEV_TML", "orphan", "P1"]


@pytest.mark.parametrize(
    ("ids", "shifts", "album", "said"),
    [
        ({"1CT1": "P1"}, {}, "", "--album_name '': 1 to 64 ASCII"),
        ({"1CT1": "P1"}, {}, "x" * 65, "--album_name 'xxx"),
        ({"1CT1": "P1"}, {}, "a\\b", "without backslash"),
        ({"1CT1": "P1"}, {}, "Müller", "ASCII"),
        ({"1CT1": ""}, {}, "a", "ids.json, '1CT1': '': a text of 1 to 64"),
        ({"1CT1": "x" * 65}, {}, "a", "ids.json, '1CT1'"),
        ({"1CT1": 5}, {}, "a", "ids.json, '1CT1'"),
        ({"1CT1": "P1"}, {"1CT1": "1.5"}, "a", "shifts.json, '1CT1': '1.5': a whole number"),
        ({"1CT1": "P1"}, {"1CT1": True}, "a", "shifts.json"),
        ({"1CT1": "P1", "sub-1CT1": "P2"}, {}, "a", "with and without sub-, and differs"),
        ({"2": "P1"}, {}, "a", "--new_ids has no code for 1 patient: '1CT1'; nothing was changed"),
        ([], {}, "a", "no JSON object"),
    ],
)
def test_what_cannot_be_right_stops_the_run_before_any_change(tmp_path, ids, shifts, album, said):
    path = one(tmp_path, "CT_small.dcm")
    write(tmp_path, ids)
    write(tmp_path, shifts, "shifts.json")
    before = path.read_bytes()
    done = run(tmp_path, "-a", album)
    assert done.returncode == 2
    assert said in done.stderr
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ids.json", "in", "shifts.json"]


def test_the_faults_of_both_maps_are_told_together(tmp_path):
    one(tmp_path, "CT_small.dcm")
    write(tmp_path, {"1CT1": ""})
    write(tmp_path, {"1CT1": "soon"}, "shifts.json")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "ids.json, '1CT1'" in done.stderr
    assert "shifts.json, '1CT1'" in done.stderr


def test_patients_without_a_code_are_named_ten_of_them_and_counted(folder, patients):
    before = tree(folder / "in")
    write(folder, {patients[0]: "P1"})
    done = run(folder)
    assert done.returncode == 2
    assert f"no code for {len(patients) - 1} patients: {patients[1]!r}" in done.stderr
    assert tree(folder / "in") == before


def test_two_patients_never_get_one_code(folder, patients):
    write(folder, dict.fromkeys(patients[:2], "P1") | {each: each for each in patients[2:]})
    done = run(folder)
    assert done.returncode == 2
    assert f"gives one code to 2 patients: {patients[0]!r}, {patients[1]!r}" in done.stderr


def test_one_patient_id_of_two_issuers_must_be_named_apart(tmp_path):
    path = one(tmp_path, "CT_small.dcm")
    for issuer, name in (("A", "one"), ("B", "two")):
        dataset = pydicom.dcmread(path)
        dataset.IssuerOfPatientID = issuer
        dataset.save_as(tmp_path / "in" / name)
    path.unlink()
    done = run(tmp_path)
    assert done.returncode == 2
    assert "no code for 2 patients: 'A|1CT1', 'B|1CT1'" in done.stderr
    write(tmp_path, {"A|1CT1": "PA", "sub-B|1CT1": "PB"})
    assert run(tmp_path).returncode == 0
    assert [block(tmp_path / "in" / name)[0] for name in ("one", "two")] == ["PA", "PB"]


def test_a_file_without_issuer_belongs_to_the_only_issuer_there_is(tmp_path):
    path = one(tmp_path, "CT_small.dcm")
    dataset = pydicom.dcmread(path)
    dataset.IssuerOfPatientID = "A"
    dataset.save_as(tmp_path / "in" / "issued")
    write(tmp_path, {"A|1CT1": "PA"})
    assert run(tmp_path).returncode == 0
    assert {block(each)[0] for each in (tmp_path / "in").iterdir()} == {"PA"}


def test_one_patient_id_with_two_birth_dates_gets_a_word(tmp_path):
    path = one(tmp_path, "CT_small.dcm")
    dataset = pydicom.dcmread(path)
    for day in ("19500101", "19800101"):
        dataset.PatientBirthDate = day
        dataset.save_as(tmp_path / "in" / day)
    assert "patient '1CT1' has 2 birth dates" in run(tmp_path).stderr


def test_a_missing_day_shift_is_0_with_a_word_a_patient(folder, patients):
    write(folder, {patients[0]: 4}, "shifts.json")
    done = run(folder)
    assert done.returncode == 0
    for patient in patients[1:]:
        assert f"patient {patient!r}: no day shift in the map, 0 is written" in done.stderr
    assert {block(path)[2] for path in (folder / "in").rglob("IM*")} == {"0", "4"}


def test_without_a_map_of_shifts_one_line_says_that_all_are_0(folder):
    done = invoke("add_karnak_tags", "-d", "in", "-n", "ids.json", "-a", "A", cwd=folder)
    assert done.returncode == 0
    assert done.stderr.count("no --day_shift: 0 days for all") == 1


def test_what_cannot_be_tagged_is_named_and_the_others_are(folder):
    inside = folder / "in"
    images = sorted(inside.rglob("IM*"))
    images[0].write_bytes(cut := images[0].read_bytes()[:-50])
    images[1].write_bytes(headless := images[1].read_bytes()[132:])
    (inside / "link").symlink_to(images[2])
    (inside / "table.csv").write_text("a\n")
    shutil.copy(get_testdata_file("DICOMDIR", download=False), inside / "DICOMDIR")
    done = run(folder)
    assert done.returncode == 1
    assert "IM0001: not whole: cut at byte" in done.stderr
    assert "IM0002: has no DICOM preamble" in done.stderr
    assert "in/link: a link" in done.stderr
    assert "100 tagged, 0 were tagged already, 3 failed; 2 other files left" in done.stderr
    assert (images[0].read_bytes(), images[1].read_bytes()) == (cut, headless)
    assert (inside / "link").is_symlink()


@pytest.mark.parametrize("name", ["absent", "ids.json"])
def test_an_in_folder_that_is_none_is_refused(folder, name):
    done = run(folder, "-d", name)
    assert done.returncode == 2
    assert f"--in_folder {folder / name}: there is no such folder" in done.stderr


def test_a_folder_without_instances_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path, {"1": "P"})
    write(tmp_path, {"1": 0}, "shifts.json")
    done = run(tmp_path)
    assert done.returncode == 1
    assert f"no DICOM instance below {tmp_path / 'in'}\n" in done.stderr


def test_modes_of_files_stay_and_the_run_leaves_nothing_behind(folder):
    path = sorted((folder / "in").rglob("IM*"))[0]
    path.chmod(0o640)
    run(folder)
    assert path.stat().st_mode & 0o777 == 0o640
    assert not (folder / "in/.pacsifier").exists()


@pytest.mark.parametrize("after", [1, 30, 90])
def test_a_kill_leaves_every_file_old_or_new_and_the_next_run_does_the_rest(folder, hospital, after):
    program = f"""
import os, signal
from pathlib import Path
from pacsifier.cli import add_karnak_tags
done, there = [], Path.replace
def replace(self, target):
    done.append(self)
    if len(done) > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return there(self, target)
Path.replace = replace
add_karnak_tags.main(["-d", "in", "-n", "ids.json", "-s", "shifts.json", "-a", "My album"])
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=folder, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    old, half = tree(hospital), tree(folder / "in")
    assert run(folder).returncode == 0
    new = tree(folder / "in")
    assert new.keys() == old.keys()
    assert all(half[name] in (old[name], new[name]) for name in old)
    assert sum(half[name] == new[name] for name in old) >= after - 4


def test_a_full_disk_leaves_files_as_they_were(folder, hospital, monkeypatch):
    monkeypatch.setattr(os, "fsync", _full)
    done = run(folder)
    assert done.returncode == 1
    assert tree(folder / "in") == tree(hospital)


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")
