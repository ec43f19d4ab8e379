"""What a user of `pacsifier --save` could lose, on both PACS."""

from __future__ import annotations

import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from pacs.runs import (
    INFO_HEADER,
    UNTOLD,
    Run,
    arguments,
    has_received,
    header,
    instance_paths,
    interrupt,
    left_over,
    port_is_free,
    processes,
    read_table,
    run,
    run_arguments,
    slug,
    until,
    value,
    wanted_series,
)
from pacs.servers import EXPLICIT_LE, RLE, Hospital, Server, free_port, start_dcmqrscp, start_orthanc
from pacsifier.demo import make_archive
from pacsifier.dicom import part10

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
LOCALIZER = {"PatientID": "00123", "SeriesNumber": "1", "Modality": "MR"}

EXAMPLES = {
    "date and patient": "StudyDate,PatientID\n20150512,123421\n,45322\n20180102,\n",
    "date range": "StudyDate,PatientID\n20150512-20150612,124588\n",
    "wildcard protocol": "ProtocolName,Modality,PatientBirthDate\nBEAT_SelfNav*,CT,19920611\n",
}
"""The query files of the user documentation, word for word."""


@pytest.fixture(scope="module")
def everything(pacs: Server, tmp_path_factory) -> Run:
    """`--save --info` of everything that the PACS holds, once a PACS; read-only for tests."""
    return run(pacs, tmp_path_factory.mktemp("everything"), EVERYONE, "--save", "--info")


def snapshot(out: Path) -> dict[str, tuple[int, int, int]]:
    """Return what tells that a file was not touched: inode, time of last change, size."""
    stats = {str(path): path.stat() for path in instance_paths(out)}
    return {path: (each.st_ino, each.st_mtime_ns, each.st_size) for path, each in stats.items()}


def folder_names(run_: Run, hospital: Hospital, patient_id: str) -> dict[str, str]:
    """Return the series folder's name for each series of a patient."""
    uids = {record.sop_uid: record.series_uid for record in hospital.by_patient[patient_id]}
    return {uids[uid]: path.parent.name for uid, path in run_.files.items() if uid in uids}


# --- everything --------------------------------------------------------------------------------------------------


def test_a_run_that_brought_everything_says_so(everything, hospital):
    assert everything.status == 0, everything.stderr
    assert everything.statuses() == {("complete", "True")}
    assert everything.redo == []
    assert {row["SeriesInstanceUID"] for row in everything.log} == hospital.by_series.keys()
    for row in everything.log:
        assert int(row["FilesFound"]) == len(hospital.by_series[row["SeriesInstanceUID"]])


def test_every_instance_comes_once(everything, hospital):
    assert everything.files.keys() == hospital.by_sop.keys()


def test_every_instance_lies_where_scripts_look_for_it(everything, hospital):
    for uid, path in everything.files.items():
        dataset = header(hospital.by_sop[uid])
        number, _, description = path.parent.name.partition("-")
        assert path.parts[-4] == f"sub-{slug(dataset.PatientID)}"
        assert path.parts[-3] == f"ses-{slug(dataset.StudyDate + dataset.StudyTime)}"
        assert number == f"{dataset.SeriesNumber:05d}"
        expected = slug(dataset.get("SeriesDescription") or "No_series_description")
        assert re.fullmatch(re.escape(expected) + "(_[0-9a-f]{8})?", description)


def test_only_the_second_twin_gets_another_name(everything):
    marked = {
        path.parent.name for path in everything.files.values() if re.search("_[0-9a-f]{8}$", path.parent.name)
    }
    assert len(marked) == 1
    assert marked.pop().startswith("00003-DWI_b1000_")


def test_files_are_named_as_dcmtk_names_them(everything, hospital):
    prefixes = {"MR": "MR", "CT": "CT", "US": "USm", "SR": "SRe"}
    for uid, path in everything.files.items():
        prefix, _, own_uid = path.name.partition(".")
        assert own_uid == uid
        assert prefix[:2] == prefixes[hospital.by_sop[uid].modality][:2]


def test_every_data_set_is_byte_for_byte_what_the_pacs_sent(everything, sent):
    for uid, path in everything.files.items():
        assert path.read_bytes()[part10.read(path, ()).dataset_offset :] == sent[uid][1]


def test_the_file_meta_information_fits_the_data_set(everything, sent, hospital):
    for uid, path in everything.files.items():
        meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
        assert meta.TransferSyntaxUID == sent[uid][0]
        assert meta.MediaStorageSOPInstanceUID == uid
        assert meta.MediaStorageSOPClassUID == hospital.by_sop[uid].sop_class


def test_a_compressed_series_stays_compressed_and_can_be_looked_at(everything, hospital):
    (echo,) = [record for record in hospital.records if record.transfer_syntax == RLE]
    got = pydicom.dcmread(everything.files[echo.sop_uid])
    assert got.file_meta.TransferSyntaxUID == RLE
    assert (got.pixel_array == pydicom.dcmread(echo.path).pixel_array).all()


def test_an_orthanc_as_it_is_installed_loses_no_pixel(hospital, peers, tmp_path):
    """From 1.12 on it decompresses what a receiver takes either way, and no Orthanc tells how it holds an image."""
    (echo,) = [record for record in hospital.records if record.transfer_syntax == RLE]
    files = [record.path for record in hospital.by_study[echo.study_uid]]
    with start_orthanc(tmp_path / "pacs", files, peers, DicomScuPreferredTransferSyntax=EXPLICIT_LE) as pacs:
        done = run(pacs, tmp_path, [{"StudyInstanceUID": echo.study_uid}], "--save")
        decompresses = pacs.version >= (1, 12)
    assert done.status == 0, done.stderr
    assert done.statuses() == {("complete", "True")}
    got = pydicom.dcmread(done.files[echo.sop_uid])
    assert got.file_meta.TransferSyntaxUID == (EXPLICIT_LE if decompresses else RLE)
    assert (got.pixel_array == pydicom.dcmread(echo.path).pixel_array).all()
    # What cannot be known is not said.
    assert not [row["Reason"] for row in done.log if row["Reason"]]
    assert "convert" not in done.stderr


def test_accents_become_plain_letters_in_folder_names(everything, hospital):
    assert "00001-T1_axial_3D_ete" in folder_names(everything, hospital, "123421").values()
    assert {"00001-T2_TSE_sag_pater", "00001-Bricho_5_0"} <= set(
        folder_names(everything, hospital, "45322").values()
    )


def test_twin_series_lie_in_two_folders(everything, hospital):
    names = folder_names(everything, hospital, "00123")
    twins = {
        record.series_uid
        for record in hospital.by_patient["00123"]
        if record.series_description == "DWI b1000"
    }
    assert len(twins) == 2
    assert len({names[uid] for uid in twins}) == 2


def test_no_two_series_share_a_folder(everything, hospital):
    series = {}
    for uid, path in everything.files.items():
        series.setdefault(path.parent, set()).add(hospital.by_sop[uid].series_uid)
    assert {len(uids) for uids in series.values()} == {1}


def test_a_series_without_description_has_the_documented_name(everything, hospital):
    (uid,) = {record.series_uid for record in hospital.records if record.series_description is None}
    assert folder_names(everything, hospital, "00123")[uid] == "00004-No_series_description"


def test_patients_are_never_mixed(everything):
    for path in instance_paths(everything.out):
        own_id = pydicom.dcmread(path, specific_tags=["PatientID"]).PatientID
        assert path.parts[-4] == f"sub-{slug(own_id)}"
    assert not (everything.out / "logs" / "unexpected").exists()


def test_the_info_beside_each_series_folder_has_the_exact_columns_and_values(everything, hospital):
    for folder in {path.parent for path in everything.files.values()}:
        info = folder.with_name(f"{folder.name}.csv")
        (row,) = read_table(info)
        dataset = header(hospital.by_series[row["SeriesInstanceUID"]][0])
        assert info.read_text(encoding="utf-8").splitlines()[0].split(",") == INFO_HEADER
        assert row == {column: value(dataset, column) for column in INFO_HEADER}


def test_without_info_there_is_no_csv_in_the_tree(pacs, tmp_path):
    done = run(pacs, tmp_path, [LOCALIZER], "--save")
    assert (done.status, len(done.files)) == (0, 3)
    assert list(done.out.glob("sub-*/**/*.csv")) == []


def test_the_receive_port_can_be_used_again(pacs, everything):
    assert port_is_free(pacs.our_port)


def test_a_run_that_finds_nothing_leaves_no_receiver_behind(pacs, tmp_path):
    done = run(pacs, tmp_path, [{"PatientID": "NOSUCH"}], "--save")
    assert (done.status, done.files) == (1, {})
    assert port_is_free(pacs.our_port)


# --- what a row asks for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_of_the_documentation_brings_what_it_says_and_nothing_else(
    pacs, hospital, tmp_path, example
):
    done = run(pacs, tmp_path, EXAMPLES[example], "--save")
    assert done.status == 0, done.stderr
    columns, *rows = (line.split(",") for line in EXAMPLES[example].splitlines())
    wanted = set().union(
        *(wanted_series(hospital.records, dict(zip(columns, row, strict=True))) for row in rows)
    )
    assert 0 < len(wanted) < len(hospital.by_series)
    assert {hospital.by_sop[uid].series_uid for uid in done.files} == wanted
    assert len(done.files) == sum(len(hospital.by_series[uid]) for uid in wanted)


COLUMNS = {
    "StudyDate": [
        {"StudyDate": each} for each in ("20180102", "20150512-20150612", "-20150512", "20190101-")
    ],
    "StudyTime": [{"StudyTime": each} for each in ("140500", "1015", "08", "163000", "153012.5")],
    "PatientID": [{"PatientID": each} for each in ("00123", "SYN 05", "1245*")],
    "PatientName": [
        {"PatientName": each}
        for each in ("Kenobi", "Obi-Wan KENOBI", "Müller", "Šimůnek^*", "Leia ORGANA", "KENOBI^OBI-WAN")
    ],
    "PatientBirthDate": [{"PatientBirthDate": each} for each in ("19920611", "19680229")],
    "SeriesDescription": [
        {"SeriesDescription": each}
        for each in ("T2 TSE sag", "Thorax artériel 1.0", "*cor*", 'T1 "axial" [3D]/été')
    ],
    "StudyInstanceUID": [],
    "SeriesInstanceUID": [],
    "Modality": [{"Modality": each} for each in ("US", "SR")],
    "SeriesNumber": [{"SeriesNumber": each} for each in ("3", "007", "201")],
    "StudyDescription": [{"StudyDescription": each} for each in ("IRM tête", "CT *", "MR páteř a srdce")],
    "AccessionNumber": [{"AccessionNumber": each} for each in ("ACC000201", "ACC0003*")],
    "ProtocolName": [{"ProtocolName": each} for each in ("BEAT_SelfNav*", "Thorax_art")],
    "AcquisitionDate": [
        {"AcquisitionDate": each, "PatientID": "45322"} for each in ("20180102", "20190101-")
    ],
    "DeviceSerialNumber": [
        {"DeviceSerialNumber": "CT-4711", "PatientID": each} for each in ("00123", "124588")
    ],
    "SequenceName": [{"SequenceName": each} for each in ("*tse2d1_9", "*fl?d1")],
    "ImageType": [{"ImageType": each} for each in ("LOCALIZER", "DERIVED\\SECONDARY\\MPR")],
}


def rows_for(column: str, hospital: Hospital) -> list[dict[str, str]]:
    uids = {
        "StudyInstanceUID": list(hospital.by_study)[3:5],
        "SeriesInstanceUID": list(hospital.by_series)[4:6],
    }
    if column == "SeriesInstanceUID":
        one = hospital.by_series[uids[column][0]][0]
        return [{column: uids[column][1]}, {"StudyInstanceUID": one.study_uid, column: one.series_uid}]
    return COLUMNS[column] or [{column: uid} for uid in uids[column]]


@dataclass(frozen=True)
class Asked:
    """A run over rows of which each fills one column (and PatientID at most)."""

    rows: list[dict[str, str]]
    done: Run

    def found(self, row: dict[str, str]) -> set[str]:
        return self.done.series_of_row(self.rows.index(row) + 2)


@pytest.fixture(scope="module")
def told(pacs: Server, hospital: Hospital, tmp_path_factory) -> Asked:
    """`--info` over the rows of all columns that the PACS tells."""
    columns = [column for column in COLUMNS if column not in UNTOLD[pacs.kind]]
    rows = [row for column in columns for row in rows_for(column, hospital)]
    return Asked(rows, run(pacs, tmp_path_factory.mktemp("told"), rows, "--info"))


@pytest.fixture(scope="module")
def fetched(pacs: Server, hospital: Hospital, tmp_path_factory) -> Asked:
    """`--save` over the rows of the columns that a PACS may leave out: there the images decide."""
    rows = [row for column in UNTOLD["dcmqrscp"] for row in rows_for(column, hospital)]
    return Asked(rows, run(pacs, tmp_path_factory.mktemp("fetched"), rows, "--save"))


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_alone_selects_exactly_what_pydicom_selects(pacs, hospital, told, fetched, column):
    asked = fetched if column in UNTOLD["dcmqrscp"] else told
    for row in rows_for(column, hospital):
        wanted = wanted_series(hospital.records, row)
        assert 0 < len(wanted) < len(hospital.by_series), "the row is no test"
        assert asked.found(row) == wanted, row
        assert row not in told.rows or told.found(row) == wanted, row


def test_rows_of_every_column_are_answered_and_nothing_else_is_fetched(hospital, told, fetched):
    assert (told.done.status, fetched.done.status) == (0, 0), told.done.stderr + fetched.done.stderr
    wanted = set().union(*(wanted_series(hospital.records, row) for row in fetched.rows))
    assert len(wanted) < len(hospital.by_series)
    assert {hospital.by_sop[uid].series_uid for uid in fetched.done.files} == wanted


def test_all_columns_are_tried():
    assert len(COLUMNS) == 17


def test_two_columns_of_a_row_hold_both(pacs, hospital, tmp_path):
    row = {"StudyTime": "140500", "SeriesNumber": "3", "PatientID": "00123"}
    done = run(pacs, tmp_path, [row], "--save")
    assert done.status == 0
    assert {hospital.by_sop[uid].series_uid for uid in done.files} == wanted_series(hospital.records, row)


def test_a_value_that_only_looks_like_the_asked_one_brings_nothing(pacs, tmp_path):
    done = run(
        pacs, tmp_path, [{"PatientID": "123"}, {"StudyTime": "140501"}, {"SeriesDescription": "T2"}], "--save"
    )
    assert done.status == 1
    assert [row["reason"].partition(":")[0] for row in done.redo] == ["not_found"] * 3
    assert done.files == {}


def test_a_row_that_only_the_images_answer_is_not_answered_by_its_neighbours(pacs, hospital, tmp_path):
    """Row 2 brings series of which row 3 asks for a protocol that no image has."""
    rows = [{"PatientID": "124588", "Modality": "CT"}, {"PatientID": "124588", "ProtocolName": "NOSUCH*"}]
    done = run(pacs, tmp_path, rows, "--save")
    assert done.status == 1
    assert [row["ProtocolName"] for row in done.redo] == ["NOSUCH*"]
    assert done.redo[0]["reason"].startswith("not_found")
    assert {hospital.by_sop[uid].series_uid for uid in done.files} == wanted_series(hospital.records, rows[0])


def test_a_series_without_description_does_not_spoil_a_row_that_asks_for_one(pacs, hospital, tmp_path):
    row = {"PatientID": "00123", "StudyDate": "20160420", "SeriesDescription": "DWI*"}
    done = run(pacs, tmp_path, [row], "--save")
    assert done.status == 0, done.stderr
    assert {hospital.by_sop[uid].series_uid for uid in done.files} == wanted_series(hospital.records, row)
    assert list(done.out.glob("sub-*/ses-*/*No_series_description*")) == []


# --- rows that fail, rows that repeat ----------------------------------------------------------------------------


def test_a_row_that_matches_nothing_is_named_and_the_others_go_on(pacs, tmp_path):
    done = run(pacs, tmp_path, [LOCALIZER, {"PatientID": "NOSUCH", "StudyDescription": "x"}], "--save")
    assert done.status == 1
    assert len(done.files) == 3
    (row,) = done.redo
    assert (row["PatientID"], row["StudyDescription"], row["Modality"]) == ("NOSUCH", "x", "")
    assert row["reason"].startswith("not_found")
    assert "row 3" in done.stderr


def test_the_redo_table_can_be_run_as_it_stands(pacs, tmp_path):
    first = run(pacs, tmp_path, [LOCALIZER, {"PatientID": "NOSUCH"}], "--save")
    redo = first.out / "logs" / "redo.csv"
    again = run_arguments(first.out, ["--save", "-c", tmp_path / "config.json", "-q", redo, "-d", first.out])
    assert again.status == 1
    assert [row["PatientID"] for row in again.redo] == ["NOSUCH"]
    assert again.files == first.files
    assert again.log == first.log


def test_rows_that_ask_for_the_same_bring_it_once(pacs, tmp_path):
    done = run(
        pacs,
        tmp_path,
        [LOCALIZER, LOCALIZER, {"PatientID": "00123", "SeriesNumber": "1", "Modality": "MR"}],
        "-s",
    )
    assert done.status == 0
    assert len(done.files) == 3
    (row,) = done.log
    assert row["query_rows"].split() == ["2", "3", "4"]
    assert "ask the same" in done.stderr


def test_a_pseudonym_of_the_query_is_kept_for_the_anonymizer_and_for_nobody_else(pacs, tmp_path):
    rows = [
        LOCALIZER | {"new_ids": "P-0001"},
        {"PatientID": "SYN 05", "SeriesNumber": "201", "new_ids": "P-0002"},
    ]
    done = run(pacs, tmp_path, rows, "--save")
    assert done.status == 0, done.stderr
    for folder, pseudonym in (("sub-00123", "P-0001"), ("sub-SYN_05", "P-0002")):
        path = done.out / folder / "new_id.txt"
        assert path.read_text().strip() == pseudonym
        assert path.stat().st_mode & 0o777 == 0o600


# --- resume ------------------------------------------------------------------------------------------------------

RESUMED = [{"PatientID": "00123", "Modality": "MR"}, {"PatientID": "45322"}]


@pytest.fixture(scope="module")
def saved_once(pacs: Server, tmp_path_factory) -> Run:
    """A complete run over two patients; read-only for tests."""
    done = run(pacs, tmp_path_factory.mktemp("saved"), RESUMED, "--save")
    assert done.status == 0, done.stderr
    return done


@pytest.fixture
def saved(saved_once: Run, tmp_path: Path) -> Run:
    """A copy of that tree for a test to spoil, in `tmp_path/out`."""
    shutil.copytree(saved_once.out, tmp_path / "out")
    return Run(tmp_path / "out", saved_once.status, saved_once.stdout, saved_once.stderr, saved_once.mark)


def test_resume_over_a_complete_tree_fetches_nothing(pacs, saved, tmp_path):
    before = snapshot(saved.out)
    again = run(pacs, tmp_path, RESUMED, "--save", "--resume")
    assert again.status == 0, again.stderr
    assert again.statuses() == {("skipped", "True")}
    assert snapshot(saved.out) == before
    assert " 0 bytes received" in again.stderr
    assert [row["FilesFound"] for row in again.log] == [row["FilesFound"] for row in saved.log]


def test_series_of_a_round_number_of_images_are_not_fetched_again_from_a_pacs_that_counts_none(
    tmp_path, peers
):
    files = make_archive(tmp_path / "archive", 1, 1, 2, 100, 8)
    with start_dcmqrscp(tmp_path / "pacs", files, peers) as pacs:
        row = [{"PatientID": pydicom.dcmread(files[0], specific_tags=["PatientID"]).PatientID}]
        first = run(pacs, tmp_path, row, "--save")
        assert first.status == 0, first.stderr
        again = run(pacs, tmp_path, row, "--save", "--resume")
    assert again.status == 0, again.stderr
    assert again.statuses() == {("skipped", "True")}


def test_resume_after_the_log_was_lost_still_knows_what_is_there(pacs, saved, tmp_path):
    before = snapshot(saved.out)
    (saved.out / "logs" / "pacsifier_log.csv").unlink()
    again = run(pacs, tmp_path, RESUMED, "--save", "--resume")
    assert again.status == 0
    assert again.statuses() == {("skipped", "True")}
    assert snapshot(saved.out) == before


def test_resume_fetches_what_was_deleted_and_leaves_the_rest(pacs, saved, tmp_path):
    kept = snapshot(saved.out)
    by_folder = sorted({path.parent for path in saved.files.values()})
    one_file, whole_folder = sorted(by_folder[0].iterdir())[0], sorted(by_folder[-1].iterdir())
    content = {path: path.read_bytes() for path in (one_file, *whole_folder)}
    for path in content:
        path.unlink()
        del kept[str(path)]
    again = run(pacs, tmp_path, RESUMED, "--save", "--resume")
    assert again.status == 0, again.stderr
    assert {path: path.read_bytes() for path in content} == content
    assert {path: each for path, each in snapshot(saved.out).items() if path in kept} == kept
    assert sorted(row["Status"] for row in again.log) == ["complete"] * 2 + ["skipped"] * (len(again.log) - 2)


def test_resume_replaces_truncated_files(pacs, saved, tmp_path):
    whole = {path: path.read_bytes() for path in instance_paths(saved.out)}
    one, other = [path for path in whole if path.name.startswith("MR.")][:2]
    one.write_bytes(whole[one][:-200])
    other.write_bytes(whole[other][:-20_000])
    again = run(pacs, tmp_path, RESUMED, "--save", "--resume")
    assert again.status == 0, again.stderr
    assert {path: path.read_bytes() for path in instance_paths(saved.out)} == whole
    assert {row["Completed"] for row in again.log} == {"True"}
    assert not (again.out / "logs" / "unexpected").exists()


def test_a_second_run_without_resume_says_the_same_and_loses_nothing(pacs, saved, tmp_path):
    content = {path: path.read_bytes() for path in instance_paths(saved.out)}
    again = run(pacs, tmp_path, RESUMED, "--save")
    assert again.status == 0, again.stderr
    assert {path: path.read_bytes() for path in instance_paths(saved.out)} == content
    assert again.statuses() == {("complete", "True")}
    assert not (again.out / "logs" / "unexpected").exists()


# --- no PACS, no port --------------------------------------------------------------------------------------------


def test_a_pacs_that_is_down_is_told_and_leaves_no_folder(pacs, tmp_path):
    done = run(pacs, tmp_path, [LOCALIZER], "--save", port=free_port())
    assert done.status == 3
    assert pacs.aet in done.stderr
    assert not done.out.exists()


def test_a_wrong_ae_title_of_the_pacs_is_told(pacs, tmp_path):
    done = run(pacs, tmp_path, [LOCALIZER], "--save", server_AET="WRONG")
    assert done.status == 3
    assert "WRONG" in done.stderr
    assert not done.out.exists()


def test_a_receive_port_that_is_taken_is_named(pacs, tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(pacs, tmp_path, [LOCALIZER], "--save", move_port=port)
    assert done.status == 2
    assert str(port) in done.stderr


# --- interrupted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_run_ended_in_a_pause_leaves_nothing_running_and_resume_completes_it(
    orthanc, hospital, tmp_path, number, status
):
    out = tmp_path / "out"
    slow = arguments(orthanc, tmp_path, RESUMED, "--save", batch_size=1, batch_wait_time=60)
    log = out / "logs" / "pacsifier_log.csv"
    ended, stderr, mark = interrupt(slow, number, lambda: log.is_file() and ",True," in log.read_text())
    assert ended == status, stderr
    until(lambda: port_is_free(orthanc.our_port) and not processes(mark), 5)
    if number != signal.SIGKILL:
        assert "--resume" in stderr
        assert "Traceback" not in stderr
        assert left_over(out, mark) == []
    assert_resumes(orthanc, hospital, tmp_path)


def assert_resumes(pacs: Server, hospital: Hospital, tmp_path: Path) -> None:
    """Run again with --resume: what was there is skipped, the rest comes."""
    before = snapshot(tmp_path / "out")
    again = run(pacs, tmp_path, RESUMED, "--save", "--resume")
    wanted = set().union(*(wanted_series(hospital.records, row) for row in RESUMED))
    assert again.status == 0, again.stderr
    assert again.statuses() == {("skipped", "True"), ("complete", "True")}
    assert again.files.keys() == {uid for uid, each in hospital.by_sop.items() if each.series_uid in wanted}
    assert before.items() <= snapshot(again.out).items()


@pytest.fixture(scope="module")
def long_series(tmp_path_factory, peers):
    """A dcmqrscp with two series of 400 instances each, so that a run can be caught in mid-transfer."""
    files = make_archive(tmp_path_factory.mktemp("archive"), 1, 1, 2, 400, 32)
    with start_dcmqrscp(tmp_path_factory.mktemp("long"), files, peers) as server:
        yield server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_ended_in_the_middle_of_a_series_does_not_take_it_for_complete(long_series, tmp_path, number):
    out = tmp_path / "out"
    args = arguments(long_series, tmp_path, [{"PatientID": "BENCH00001"}], "--save")
    ended, stderr, mark = interrupt(args, number, lambda: has_received(out))
    assert ended == (-number if number == signal.SIGKILL else 128 + number), stderr
    until(lambda: port_is_free(long_series.our_port) and not processes(mark), 5)
    if number != signal.SIGKILL:
        assert left_over(out, mark) == []
        assert {row["Completed"] for row in read_table(out / "logs" / "pacsifier_log.csv")} == {"False"}
    again = run(long_series, tmp_path, [{"PatientID": "BENCH00001"}], "--save", "--resume")
    assert again.status == 0, again.stderr
    assert len(again.files) == 800
