"""The tree: nobody's file lands outside it, in another's folder, or over another file."""

from __future__ import annotations

import csv
import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pacsifier.dicom import part10
from pacsifier.disk import tree
from pacsifier.disk.files import free_bytes, write_whole
from pacsifier.disk.info import read_info, write_info
from pacsifier.disk.names import (
    LOG_MARK,
    instance_name,
    patient_folder_name,
    series_folder_name,
    short_hash,
    study_folder_name,
)
from pacsifier.disk.tree import Placed, SeriesIdentity, Tree
from pacsifier.disk.walk import Walk, walk_with_logs
from pacsifier.errors import InputError
from pacsifier.query import ATTRIBUTES, INFO_COLUMNS

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Surrogates cannot come from decoded bytes, but nothing must break on them either.
anything = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="./\\~ \0\n-_aA1", max_size=20),
    st.text(min_size=200, max_size=400),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Mn"]), max_size=10),
    st.sampled_from(["", ".", "..", "../..", "/etc/passwd", "~root", "CON", "a\0b", "ﷺ" * 90]),
)

BASE = SeriesIdentity.of(
    {
        "PatientID": "123421",
        "IssuerOfPatientID": "CHUV",
        "PatientBirthDate": "19920611",
        "StudyInstanceUID": "1.2.3",
        "StudyDate": "20150512",
        "StudyTime": "140500",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": "3",
        "SeriesDescription": "T1 MPRAGE",
    }
)


def identity(**values: str) -> SeriesIdentity:
    return replace(BASE, **values)


def instance(path: Path, series: SeriesIdentity, sop_uid: str = "1.2.3.4.5", **more: bytes) -> Path:
    """A small DICOM file of the series at `path`."""
    values = {
        "SOPClassUID": b"1.2.840.10008.5.1.4.1.1.88.11",
        "SOPInstanceUID": sop_uid.encode(),
        "SpecificCharacterSet": b"ISO_IR 192",
        "PatientID": series.patient_id.encode(),
        "PatientBirthDate": series.birth_date.encode(),
        "StudyInstanceUID": series.study_uid.encode(),
        "StudyDate": series.study_date.encode(),
        "StudyTime": series.study_time.encode(),
        "SeriesInstanceUID": series.series_uid.encode(),
        "SeriesNumber": series.series_number.encode(),
        "SeriesDescription": series.series_description.encode(),
        **more,
    }
    if series.issuer:
        values["IssuerOfPatientID"] = series.issuer.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        part10.encode([(ATTRIBUTES[key].tag, ATTRIBUTES[key].vr, value) for key, value in values.items()])
    )
    return path


def save(folder: Tree, series: SeriesIdentity, staging: Path, sop_uid: str = "1.2.3.4.5") -> Path:
    """Place one instance of the series as a run does, and return its folder."""
    place = folder.series_folder(series)
    staged = instance(staging / f"MR.{sop_uid}.{short_hash(series.series_uid)}", series, sop_uid)
    assert folder.place(staged, place, instance_name("MR", sop_uid)) is Placed.NEW
    return place


def parts(folder: Tree, series: SeriesIdentity) -> tuple[str, ...]:
    return folder.series_folder(series).relative_to(folder.folder).parts


# --- names ----------------------------------------------------------------------------------------------------------


def test_folders_are_named_as_documented(tmp_path: Path) -> None:
    assert parts(Tree(tmp_path), BASE) == ("sub-123421", "ses-20150512140500", "00003-T1_MPRAGE")


@pytest.mark.parametrize(
    ("number", "description", "name"),
    [
        ("3", "T1 MPRAGE", "00003-T1_MPRAGE"),
        ("03 ", " T1 ", "00003-T1"),
        ("123456", "x", "123456-x"),
        ("", "x", "00000-x"),
        ("1", "", "00001-No_series_description"),
        ("1", "  ", "00001-No_series_description"),
        ("2", 'T1 "axial" [3D]/été', "00002-T1_axial_3D_ete"),
        ("201", "Břicho 5.0", "00201-Bricho_5_0"),
        ("1", "a - - b", "00001-a_b"),
    ],
)
def test_a_series_folder_is_named_by_number_and_description(number: str, description: str, name: str) -> None:
    assert series_folder_name(number, description) == name


@pytest.mark.parametrize(
    ("date", "time", "name"),
    [
        ("20150512", "140500", "ses-20150512140500"),
        ("20150512", "", "ses-20150512"),
        ("20150512", "140500.250000 ", "ses-20150512140500_250000"),
        ("", "", "ses-No_study_date"),
    ],
)
def test_a_study_folder_is_named_by_date_and_time(date: str, time: str, name: str) -> None:
    assert study_folder_name(date, time) == name


@pytest.mark.parametrize(
    ("patient_id", "name"),
    [("00123", "sub-00123"), ("SYN 05", "sub-SYN_05"), (" 1 ", "sub-1"), ("", "sub-No_patient_ID")],
)
def test_a_patient_folder_is_named_by_the_patient_id(patient_id: str, name: str) -> None:
    assert patient_folder_name(patient_id) == name


def test_an_instance_is_named_as_dcmtk_names_it() -> None:
    assert instance_name("MR", "1.2.840.1") == "MR.1.2.840.1"
    assert instance_name("SRc", "1.2") == "SRc.1.2"


@unhurried
@given(st.lists(anything, min_size=9, max_size=9), anything, anything)
@example(["..", "", "", "..", "..", "..", "..", "..", ".."], "..", "..")
def test_no_value_of_a_pacs_leads_out_of_the_output_folder(
    values: list[str], prefix: str, sop_uid: str
) -> None:
    out = Path("/nowhere/out")
    folder = Tree(out)
    series = SeriesIdentity(*values)
    path = folder.series_folder(series) / instance_name(prefix, sop_uid)
    for each in (path, folder.info_path(series)):
        names = each.relative_to(out).parts
        assert len(names) in (3, 4)
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)
        assert all(len(name) <= 255 for name in names)
        assert not {".", ".."} & set(names)
        assert Path(os.path.normpath(each)) == each


@unhurried
@given(anything, anything)
def test_two_malformed_uids_never_share_a_file_name(one: str, two: str) -> None:
    if one != two and not re.fullmatch(r"[0-9.]{1,64}", one):
        assert instance_name("MR", one) != instance_name("MR", two)


def test_long_descriptions_that_differ_at_their_end_have_two_folders(tmp_path: Path) -> None:
    one = series_folder_name("1", "x" * 200 + "a")
    two = series_folder_name("1", "x" * 200 + "b")
    assert one != two


# --- twins and collisions -------------------------------------------------------------------------------------------


def test_twin_series_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    first = folder.series_folder(BASE)
    twin = folder.series_folder(identity(series_uid="1.2.3.9"))
    assert first.name == "00003-T1_MPRAGE"
    assert twin == first.with_name(f"00003-T1_MPRAGE_{short_hash('1.2.3.9')}")


def test_three_twins_have_three_folders(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    assert len({folder.series_folder(identity(series_uid=f"1.2.3.{n}")) for n in range(3)}) == 3


def test_two_studies_of_one_moment_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    first = folder.series_folder(BASE).parent
    second = folder.series_folder(identity(study_uid="1.2.9", series_uid="1.2.9.1")).parent
    assert second == first.with_name(f"{first.name}_{short_hash('1.2.9')}")


def test_the_series_of_one_study_stay_together(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    others = (identity(series_uid="1.2.3.7", series_number="4"), identity(series_uid="1.2.3.8"))
    assert {folder.series_folder(each).parent for each in (BASE, *others)} == {
        tmp_path / "sub-123421" / "ses-20150512140500"
    }


@pytest.mark.parametrize("other", ["A B", "a/b", "A//B"])
def test_two_patients_whose_ids_look_alike_as_names_do_not_share_a_folder(tmp_path: Path, other: str) -> None:
    folder = Tree(tmp_path)
    first = folder.patient_folder(identity(patient_id="A_B"))
    second = folder.patient_folder(identity(patient_id=other, study_uid="1.9"))
    assert first.name == "sub-A_B"
    assert second != first
    assert second.name.casefold() != first.name.casefold()


def test_names_that_differ_in_case_only_are_kept_apart_for_systems_that_ignore_case(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    paths = [
        folder.series_folder(identity(patient_id=patient, series_uid=uid, series_description=text))
        for patient, uid, text in (
            *(("ABC", "1.1", "Thorax"), ("ABC", "1.2", "THORAX"), ("abc", "1.3", "Thorax")),
            ("aBc", "1.4", "Thorax"),
        )
    ]
    assert len({str(path).casefold() for path in paths}) == 4


@pytest.mark.parametrize("other", [{"issuer": "HUG"}, {"birth_date": "19680229"}])
def test_one_patient_id_of_two_people_gives_two_folders(tmp_path: Path, other: dict[str, str]) -> None:
    folder = Tree(tmp_path)
    first = folder.patient_folder(BASE)
    second = folder.patient_folder(identity(study_uid="1.9", **other))
    assert (first.name, second.name[:11]) == ("sub-123421", "sub-123421_")
    assert folder.patient_folder(BASE) == first


@pytest.mark.parametrize("other", [{"issuer": ""}, {"birth_date": ""}, {"issuer": "", "birth_date": ""}])
def test_a_value_that_the_pacs_left_out_makes_no_second_person(tmp_path: Path, other: dict[str, str]) -> None:
    folder = Tree(tmp_path)
    assert folder.patient_folder(BASE) == folder.patient_folder(identity(study_uid="1.9", **other))


def test_a_study_that_tells_no_birth_date_does_not_join_two_people(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    folder.patient_folder(identity(birth_date="", study_uid="1.7"))
    one = folder.patient_folder(identity(birth_date="19920611", study_uid="1.8"))
    two = folder.patient_folder(identity(birth_date="19680229", study_uid="1.9"))
    assert one != two


def test_a_later_run_does_not_join_two_people_where_the_first_study_tells_no_birth_date(
    tmp_path: Path,
) -> None:
    first = Tree(tmp_path / "out")
    unknown = identity(birth_date="", study_uid="1.7", study_date="20010101")
    known = identity(birth_date="19920611", study_uid="1.8", study_date="20020101")
    for number, series in enumerate((unknown, known)):
        save(first, series, tmp_path / "staging", f"1.2.{number}")
    other = Tree(tmp_path / "out").patient_folder(identity(birth_date="19680229", study_uid="1.9"))
    same = Tree(tmp_path / "out").patient_folder(identity(birth_date="19920611", study_uid="1.10"))
    assert other != same == first.patient_folder(known)


def test_studies_without_a_patient_id_are_not_taken_for_one_person(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    one = folder.patient_folder(identity(patient_id="", study_uid="1.1"))
    two = folder.patient_folder(identity(patient_id=" ", study_uid="1.2"))
    named = folder.patient_folder(identity(patient_id="No_patient_ID", study_uid="1.3"))
    assert len({one, two, named}) == 3


def test_a_patient_whose_id_is_the_name_made_for_another_is_not_mixed_up_with_him(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    folder.patient_folder(identity(patient_id="A_B"))
    other = identity(patient_id="A B", study_uid="1.9")
    made = Tree(tmp_path)
    made.patient_folder(identity(patient_id="A_B"))
    name = made.patient_folder(other).name.removeprefix("sub-")
    taken = folder.patient_folder(identity(patient_id=name, study_uid="1.8"))
    assert folder.patient_folder(other) != taken


@unhurried
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A B", "A_B", "a-b", ""]),
            st.sampled_from(["1.1", "1.2", "1.3"]),
            st.sampled_from(["", "x", "X", "é"]),
            st.sampled_from(["1", "01", ""]),
        ),
        unique=True,
        max_size=30,
    )
)
def test_no_two_series_ever_share_a_folder(rows: list[tuple[str, str, str, str]]) -> None:
    folder = Tree(Path("/nowhere"))
    made = [
        folder.series_folder(
            identity(
                patient_id=patient,
                study_uid=f"{study}.{patient.encode().hex() or 0}",
                series_uid=f"2.{number}",
                series_description=description,
                series_number=series_number,
            )
        )
        for number, (patient, study, description, series_number) in enumerate(rows)
    ]
    assert len({str(path).casefold() for path in made}) == len(rows)


# --- recognized again -----------------------------------------------------------------------------------------------


def test_a_later_run_finds_every_series_where_the_first_has_put_it(tmp_path: Path) -> None:
    out, staging = tmp_path / "out", tmp_path / "staging"
    everyone = [
        BASE,
        identity(series_uid="1.2.3.9"),
        identity(study_uid="1.2.9", series_uid="1.2.9.1"),
        identity(issuer="HUG", study_uid="1.2.10", series_uid="1.2.10.1"),
        identity(patient_id="123/421", study_uid="1.2.11", series_uid="1.2.11.1"),
        identity(patient_id="123-421", study_uid="1.2.12", series_uid="1.2.12.1"),
    ]
    first = Tree(out)
    places = [save(first, each, staging, f"{each.series_uid}.1") for each in everyone]
    assert len(set(places)) == len(everyone)
    for order in (everyone, everyone[::-1]):
        later = Tree(out)
        assert {each: later.series_folder(each) for each in order} == dict(zip(everyone, places, strict=True))
    later = Tree(out)
    assert [later.placed_folders(each) for each in everyone] == [[place] for place in places]


def test_a_series_is_found_again_though_the_pacs_now_describes_it_otherwise(tmp_path: Path) -> None:
    place = save(Tree(tmp_path / "out"), BASE, tmp_path / "staging")
    renamed = identity(series_description="", series_number="", study_time="")
    assert Tree(tmp_path / "out").placed_folders(renamed) == [place]


def test_a_series_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    save(Tree(tmp_path / "out"), BASE, tmp_path / "staging")
    later = Tree(tmp_path / "out")
    assert later.placed_folders(identity(series_uid="1.2.3.9")) == []
    assert later.placed_folders(identity(patient_id="nobody", study_uid="9", series_uid="9.1")) == []
    assert Tree(tmp_path / "empty").placed_folders(BASE) == []


def test_a_resumed_run_looks_at_each_folder_of_a_patient_once_however_many_series_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone = [identity(series_uid=f"1.2.3.{number}", series_number=str(number)) for number in range(1, 41)]
    first = Tree(tmp_path / "out")
    places = [save(first, each, tmp_path / "staging", f"{each.series_uid}.1") for each in everyone]
    looked_at: Counter[Path] = Counter()
    is_dir = Path.is_dir

    def counted(path: Path) -> bool:
        looked_at[path] += 1
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", counted)
    later = Tree(tmp_path / "out")
    assert [later.placed_folders(each) for each in everyone] == [[place] for place in places]
    assert max(looked_at[place] for place in places) <= 2


def test_a_folder_known_by_its_info_csv_alone_is_recognized(tmp_path: Path) -> None:
    first = Tree(tmp_path)
    write_info(first.info_path(BASE), _info_of(BASE))
    later = Tree(tmp_path)
    twin = identity(series_uid="1.2.3.9")
    assert later.info_path(twin) != first.info_path(BASE)
    assert later.info_path(BASE) == first.info_path(BASE)


def _info_of(series: SeriesIdentity) -> dict[str, str]:
    return {
        "PatientID": series.patient_id,
        "PatientBirthDate": series.birth_date,
        "StudyInstanceUID": series.study_uid,
        "SeriesInstanceUID": series.series_uid,
    }


def test_a_tree_of_pacsifier_1_0_0_is_recognized_by_its_images(tmp_path: Path) -> None:
    # 1.0.0 stripped blanks, slashes and accents from the values of its info CSVs.
    series = identity(patient_id="SYN 05", issuer="")
    place = save(Tree(tmp_path / "out"), series, tmp_path / "staging")
    write_info(place.with_name(f"{place.name}.csv"), _info_of(series) | {"PatientID": "SYN05"})
    later = Tree(tmp_path / "out")
    assert later.placed_folders(series) == [place]
    assert later.series_folder(series) == place


@pytest.mark.parametrize(
    "name",
    [
        "notes.csv",
        "new_id.txt",
        "report.pdf",
    ],
)
def test_a_users_own_file_in_a_patient_folder_does_not_hide_the_patient(tmp_path: Path, name: str) -> None:
    place = save(Tree(tmp_path / "out"), BASE, tmp_path / "staging")
    (place.parent.parent / name).write_text("who,what\nme,a remark\n")
    later = Tree(tmp_path / "out")
    assert later.series_folder(BASE) == place
    assert later.placed_folders(BASE) == [place]


def test_a_description_with_accents_is_recognized_again(tmp_path: Path) -> None:
    series = identity(patient_id="Šimůnek", series_description="páteř")
    place = save(Tree(tmp_path / "out"), series, tmp_path / "staging")
    assert Tree(tmp_path / "out").series_folder(series) == place


# --- placing --------------------------------------------------------------------------------------------------------


def test_a_received_instance_moves_into_its_folder(tmp_path: Path) -> None:
    staged = instance(tmp_path / "staged", BASE)
    content = staged.read_bytes()
    folder = tmp_path / "out" / "sub-1"
    assert Tree(tmp_path / "out").place(staged, folder, "MR.1") is Placed.NEW
    assert (folder / "MR.1").read_bytes() == content
    assert not staged.exists()


def test_the_same_instance_twice_is_one(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    assert folder.place(instance(tmp_path / "a", BASE), tmp_path / "s", "MR.1") is Placed.NEW
    inode = (tmp_path / "s" / "MR.1").stat().st_ino
    assert folder.place(instance(tmp_path / "b", BASE), tmp_path / "s", "MR.1") is Placed.EQUAL
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["MR.1"]
    assert (tmp_path / "s" / "MR.1").stat().st_ino == inode
    assert not (tmp_path / "b").exists()


def test_a_different_instance_of_the_same_name_never_overwrites(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    folder.place(instance(tmp_path / "a", BASE), tmp_path / "s", "MR.1")
    first = (tmp_path / "s" / "MR.1").read_bytes()
    other = instance(tmp_path / "b", identity(series_description="another"))
    assert folder.place(other, tmp_path / "s", "MR.1") is Placed.CONFLICT
    assert (tmp_path / "s" / "MR.1").read_bytes() == first
    assert other.exists(), "the other one must not be thrown away"


def test_an_instance_that_was_cut_short_on_disk_is_replaced_by_the_whole_one(tmp_path: Path) -> None:
    whole = instance(tmp_path / "a", BASE).read_bytes()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "MR.1").write_bytes(whole[:-5])
    assert Tree(tmp_path).place(tmp_path / "a", tmp_path / "s", "MR.1") is Placed.NEW
    assert (tmp_path / "s" / "MR.1").read_bytes() == whole


def test_placing_works_where_there_are_no_hard_links(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(tree.os, "link", refuse)
    folder = Tree(tmp_path)
    assert folder.place(instance(tmp_path / "a", BASE), tmp_path / "s", "MR.1") is Placed.NEW
    assert folder.place(instance(tmp_path / "b", BASE), tmp_path / "s", "MR.1") is Placed.EQUAL
    other = instance(tmp_path / "c", identity(series_description="another"))
    assert folder.place(other, tmp_path / "s", "MR.1") is Placed.CONFLICT


def test_what_nobody_asked_for_is_kept_aside_readable_by_its_owner_only(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    one = folder.set_aside(instance(tmp_path / "a", BASE), "MR", "1.2")
    assert one == tmp_path / "logs" / "unexpected" / "MR.1.2"
    assert one.is_file()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (one.parent, one.parent.parent)] == [0o700, 0o700]


def test_different_objects_of_one_uid_are_all_kept_aside_and_equal_ones_once(tmp_path: Path) -> None:
    folder = Tree(tmp_path)
    others = [identity(series_description=text) for text in ("x", "y", "z", "y", "x")]
    kept = [folder.set_aside(instance(tmp_path / "a", each), "MR", "1.2") for each in others]
    assert [path.name for path in kept] == ["MR.1.2", "MR.1.2_2", "MR.1.2_3", "MR.1.2_2", "MR.1.2"]
    assert len(list(kept[0].parent.iterdir())) == 3
    assert not (tmp_path / "a").exists()


# --- files ----------------------------------------------------------------------------------------------------------


def test_an_info_csv_keeps_every_value_exactly(tmp_path: Path) -> None:
    awkward = [
        'line\nbreak\r\nand "quotes"',
        "=1+1",
        "+41, a; b\\c",
        "Müller^Zoé=山田",
        " blanks ",
        "00123",
        "\t",
    ]
    values = dict(zip(INFO_COLUMNS, [*awkward, *[""] * (len(INFO_COLUMNS) - len(awkward))], strict=True))
    write_info(tmp_path / "new" / "00001-x.csv", values)
    assert read_info(tmp_path / "new" / "00001-x.csv") == values


def test_an_info_csv_has_one_header_and_one_row_in_the_documented_order(tmp_path: Path) -> None:
    write_info(tmp_path / "i.csv", {"PatientID": "1", "Modality": None, "SOPClassUID": "no column"})
    with (tmp_path / "i.csv").open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == INFO_COLUMNS
    assert dict(zip(header, row, strict=True)) == dict.fromkeys(INFO_COLUMNS, "") | {"PatientID": "1"}


@unhurried
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=17
    )
)
def test_an_info_csv_survives_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    values = dict.fromkeys(INFO_COLUMNS, "") | dict(zip(INFO_COLUMNS, texts, strict=False))
    write_info(path, values)
    assert read_info(path) == values


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe\x00", b'"', b"\0"])
def test_a_csv_that_is_no_info_file_is_read_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    assert not any(read_info(tmp_path / "x.csv").values())
    assert read_info(tmp_path / "none.csv") == {}


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("old")
    path.chmod(0o644)
    write_whole(path, "a\r\né\n", 0o600)
    assert path.read_bytes() == "a\r\né\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["log.csv"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "log.csv"
    write_whole(path, "old", 0o600)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tree.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new", 0o600)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["log.csv"], "half a file stayed"


def test_an_info_csv_that_cannot_be_written_leaves_no_half_of_it(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("csv.writer", full)
    with pytest.raises(OSError, match="No space"):
        write_info(tmp_path / "sub-1" / "00001-x.csv", {"PatientID": "1"})
    assert list((tmp_path / "sub-1").iterdir()) == []


def test_a_file_is_never_written_through_a_link_that_somebody_laid(tmp_path: Path) -> None:
    (tmp_path / ".log.csv.partial").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        write_whole(tmp_path / "log.csv", "new", 0o600)
    assert not (tmp_path / "victim").exists()


def test_logs_are_never_written_through_a_link_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        _ = Tree(tmp_path).logs
    (tmp_path / "logs").unlink()
    (tmp_path / "logs").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        _ = Tree(tmp_path).logs


def test_logs_that_were_open_to_all_are_closed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o755)
    assert stat.S_IMODE(Tree(tmp_path).logs.stat().st_mode) == 0o700


def test_the_free_space_is_told_for_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    told = [free_bytes(path) for path in (tmp_path, tmp_path / "a" / "b")]
    status = os.statvfs(tmp_path)
    for each in told:
        assert abs(each - status.f_bavail * status.f_frsize) < 1 << 30


def test_a_walk_finds_every_file_but_our_own_in_a_stable_order(tmp_path: Path) -> None:
    names = (
        "sub-1/ses-1/b",
        "sub-1/ses-1/a",
        "sub-1/logs/x",
        "top",
        "logs/y",
        "logs/pacsifier_log.csv",
        "logs/unexpected/MR.1.2",
        ".pacsifier/z",
        "sub-1/.pacsifier/w",
    )
    fill(tmp_path, *names)
    assert below(tmp_path, Walk(tmp_path)) == ["top", "sub-1/logs/x", "sub-1/ses-1/a", "sub-1/ses-1/b"]


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(AUDIT if name.endswith("audit.jsonl") else "")


def below(folder: Path, paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


AUDIT = '{"ended_at": "2026-01-01", "did": ["save"], "query_sha256": "0", "rows": {}}\n'
OBJECT = "unexpected/MR.1.2.3"

OURS = {
    "marked": ("logs", LOG_MARK, "pacsifier_log.csv", OBJECT),
    "marked, its tables moved": ("logs", LOG_MARK, OBJECT),
    "marked, renamed by the user": ("logs of monday", LOG_MARK, OBJECT),
    "marked, empty but for the mark": ("logs", LOG_MARK),
    "marked, of a tree in the tree": ("site1/logs", LOG_MARK, OBJECT),
    "marked, of a part": ("parts/1/logs", LOG_MARK, OBJECT),
    "older, as the run left it": ("logs", "pacsifier_log.csv", "audit.jsonl", OBJECT),
    "older, of a part": ("parts/1/logs", "pacsifier_log.csv", "redo.csv"),
    "older, its tables moved": ("logs", "audit.jsonl", OBJECT),
    "older, killed, its tables moved": ("logs", OBJECT),
    "older, twins and a malformed UID": ("logs", "unexpected/notes", "unexpected/UN.malformed_0123abcd_2"),
}

OF_A_USER = {
    "images": ("logs", "a.dcm", "MR.1.2.3"),
    "a folder called unexpected": ("logs", "unexpected/a.dcm", "unexpected/slice 1"),
    "an audit of another program": ("logs", "other/audit.jsonl", "MR.1"),
    "the mark's name as part of one": ("logs", f"{LOG_MARK}.txt"),
    "our names in a folder called otherwise": ("images", "pacsifier_log.csv", "audit.jsonl", OBJECT),
}


@pytest.mark.parametrize(("place", "names"), [(each[0], each[1:]) for each in OURS.values()], ids=OURS)
def test_what_a_run_laid_aside_is_nobodys_input(place: str, names: tuple[str, ...], tmp_path: Path) -> None:
    fill(tmp_path / place, *names)
    fill(tmp_path, "sub-1/ses-1/a", "z")
    walk = Walk(tmp_path)
    for _ in range(2):
        assert sorted(below(tmp_path, walk)) == ["sub-1/ses-1/a", "z"]
        assert below(tmp_path, walk.passed_over) == [place]
    assert walk.notes == (f"{place}: passed over, not read: the logs of a pacsifier run",)
    of_logs = sorted(f"{place}/{name}" for name in names)
    assert sorted(below(tmp_path, walk.of_logs())) == of_logs
    assert sorted(below(tmp_path, walk_with_logs(tmp_path))) == sorted([*of_logs, "sub-1/ses-1/a", "z"])


@pytest.mark.parametrize(("place", "names"), [(each[0], each[1:]) for each in OURS.values()], ids=OURS)
@pytest.mark.parametrize("inside", [".", "unexpected", "deep/er", "through a link"])
def test_logs_of_a_run_cannot_be_named_as_input(
    place: str, names: tuple[str, ...], inside: str, tmp_path: Path
) -> None:
    fill(tmp_path / place, *names)
    if inside == "through a link":
        (tmp_path / "link").symlink_to(tmp_path / place)
        folder = tmp_path / "link" / "unexpected"
    else:
        folder = tmp_path / place / inside
    with pytest.raises(InputError, match="lies in the logs of a pacsifier run"):
        Walk(folder)


@pytest.mark.parametrize(
    ("place", "names"), [(each[0], each[1:]) for each in OF_A_USER.values()], ids=OF_A_USER
)
def test_a_folder_of_the_user_is_read_whatever_it_is_called(
    place: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    fill(tmp_path / place, *names)
    for top in (tmp_path, tmp_path / place):
        walk = Walk(top)
        assert sorted(below(tmp_path / place, walk)) == sorted(names)
        assert walk.notes == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"ended_at": 1}', "\xff", "[" * 100_000])
def test_an_audit_of_another_program_does_not_hide_a_folder(text: str, tmp_path: Path) -> None:
    fill(tmp_path / "logs", "MR.1")
    (tmp_path / "logs" / "audit.jsonl").write_text(text, encoding="latin_1")
    assert below(tmp_path, Walk(tmp_path)) == ["logs/MR.1", "logs/audit.jsonl"]


def test_what_is_said_of_logs_names_no_patient(tmp_path: Path) -> None:
    fill(tmp_path / "sub-4711" / "logs", LOG_MARK)
    walk = Walk(tmp_path)
    assert list(walk) == []
    assert walk.notes == ("sub-…/logs: passed over, not read: the logs of a pacsifier run",)
    with pytest.raises(InputError) as raised:
        Walk(tmp_path / "sub-4711" / "logs")
    assert "4711" not in str(raised.value)


def test_logs_are_marked_before_anything_lies_in_them_and_stay_so(tmp_path: Path) -> None:
    logs = Tree(tmp_path).logs
    assert [path.name for path in logs.iterdir()] == [LOG_MARK]
    assert stat.S_IMODE((logs / LOG_MARK).stat().st_mode) == 0o600
    before = (logs / LOG_MARK).stat()
    assert Tree(tmp_path).logs == logs
    assert (logs / LOG_MARK).stat() == before


def test_logs_of_an_older_version_are_marked_by_the_next_run(tmp_path: Path) -> None:
    fill(tmp_path / "logs", "pacsifier_log.csv")
    assert (Tree(tmp_path).logs / LOG_MARK).is_file()


@pytest.mark.parametrize("lay", ["link", "dangling link", "folder"])
def test_the_mark_is_never_made_through_a_link_or_taken_for_one(lay: str, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o700)
    mark = tmp_path / "logs" / LOG_MARK
    if lay == "folder":
        mark.mkdir()
    else:
        mark.symlink_to(tmp_path / "victim")
    if lay == "link":
        (tmp_path / "victim").write_text("mine")
    with pytest.raises(InputError, match="is no file"):
        _ = Tree(tmp_path).logs
    assert (tmp_path / "victim").exists() == (lay == "link")


def test_a_value_with_a_nul_in_it_does_not_end_a_run(tmp_path: Path) -> None:
    write_info(tmp_path / "i.csv", {"PatientID": "1", "SeriesDescription": "T1\0T2"})
    assert read_info(tmp_path / "i.csv")["PatientID"] == "1"
