"""What a user of `pacsifier --info` alone and of `--move` could lose, on both PACS."""

from __future__ import annotations

from collections import Counter

import pytest

from pacs.runs import (
    INFO_HEADER,
    UNTOLD,
    Run,
    header,
    instance_paths,
    port_is_free,
    read_table,
    run,
    value,
    wanted_series,
)
from pacs.servers import RawScp, Server, free_port

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
TWINS = {"PatientID": "00123", "SeriesNumber": "3"}


def infos(done: Run) -> dict[str, dict[str, str]]:
    """Return the rows of all info CSVs by series."""
    tables = [read_table(path) for path in done.out.glob("sub-*/ses-*/*.csv")]
    assert {len(rows) for rows in tables} <= {1}
    found = {rows[0]["SeriesInstanceUID"]: rows[0] for rows in tables}
    assert len(found) == len(tables), "a series is listed twice"
    return found


@pytest.fixture(scope="module")
def listed(pacs: Server, tmp_path_factory) -> Run:
    """`--info` alone over everything, once a PACS."""
    return run(pacs, tmp_path_factory.mktemp("listed"), EVERYONE, "--info")


# --- info --------------------------------------------------------------------------------------------------------


def test_info_alone_lists_every_series(listed, hospital):
    assert listed.status == 0, listed.stderr
    assert infos(listed).keys() == hospital.by_series.keys()
    assert listed.statuses() == {("listed", "False")}


def test_info_alone_fetches_nothing(listed):
    assert instance_paths(listed.out) == []
    assert {path.suffix for path in listed.out.glob("sub-*/ses-*/*")} == {".csv"}


def test_info_alone_tells_exact_values(pacs, listed, hospital):
    for uid, row in infos(listed).items():
        dataset = header(hospital.by_series[uid][0])
        assert list(row) == INFO_HEADER
        for column in INFO_HEADER:
            # What a PACS leaves out is empty, never made up.
            assert row[column] == ("" if column in UNTOLD[pacs.kind] else value(dataset, column)), column


def test_info_alone_needs_no_free_receive_port(pacs, tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        done = run(pacs, tmp_path, [TWINS], "--info", move_port=taken.getsockname()[1])
    assert done.status == 0, done.stderr
    assert len(infos(done)) == 2


def test_info_first_and_save_later_use_the_same_folders(pacs, hospital, tmp_path):
    first = run(pacs, tmp_path, [TWINS], "--info")
    places = infos(first)
    done = run(pacs, tmp_path, [TWINS], "--save", "--info")
    assert done.status == 0, done.stderr
    assert infos(done).keys() == places.keys()
    for uid, path in done.files.items():
        (row,) = read_table(path.parent.with_name(f"{path.parent.name}.csv"))
        assert row["SeriesInstanceUID"] == hospital.by_sop[uid].series_uid


def test_info_of_nothing_is_not_silent(pacs, tmp_path):
    done = run(pacs, tmp_path, [{"PatientID": "NOSUCH"}], "--info")
    assert done.status == 1
    assert done.redo[0]["reason"].startswith("not_found")
    assert "row 2" in done.stderr


def test_an_id_that_lost_its_zeros_is_told_as_that(pacs, tmp_path):
    done = run(pacs, tmp_path, [{"PatientID": "123"}, {"PatientID": "99999"}], "--info")
    assert done.status == 1
    with_zeros, unknown = (row["reason"] for row in done.redo)
    assert "the PACS has this PatientID with 5 digits, the row with 3: mind the leading zeros" in with_zeros
    assert "zeros" not in unknown
    assert "00123" not in done.stderr


def test_a_series_without_description_does_not_spoil_a_list_by_description(orthanc, hospital, tmp_path):
    """The key came back empty from a PACS that knows it: that series certainly has no such description."""
    row = {"PatientID": "00123", "SeriesDescription": "localizer"}
    done = run(orthanc, tmp_path, [row], "--info")
    assert done.status == 0, done.stderr
    assert infos(done).keys() == wanted_series(hospital.records, row)


UNTOLD_ROW = {"PatientID": "124588", "ProtocolName": "pd_tse*"}


def test_what_a_pacs_does_not_tell_is_listed_as_undecided_not_as_nothing(dcmqrscp, hospital, tmp_path):
    done = run(dcmqrscp, tmp_path, [UNTOLD_ROW], "--info")
    assert done.status == 1
    assert infos(done).keys() >= wanted_series(hospital.records, UNTOLD_ROW)
    assert {row["Status"] for row in done.log} == {"undecided"}
    assert all("unverified" in row["Reason"] and "ProtocolName" in row["Reason"] for row in done.log)
    assert done.redo[0]["reason"].startswith("undecided")


# --- move --------------------------------------------------------------------------------------------------------


def receiver(pacs: Server, hospital) -> RawScp:
    """Return a move destination; enter it to listen."""
    return RawScp(pacs.move_aet, pacs.move_port, {record.sop_class for record in hospital.records})


def test_move_sends_everything_to_the_destination_once(pacs, sent, hospital, tmp_path):
    with receiver(pacs, hospital) as other:
        done = run(pacs, tmp_path, EVERYONE, "--move")
    assert done.status == 0, done.stderr
    assert sorted(each.sop_uid for each in other.objects) == sorted(hospital.by_sop)
    assert {each.sop_uid: (each.transfer_syntax, each.data_set) for each in other.objects} == sent
    assert done.statuses() == {("complete", "True")}
    for row in done.log:
        assert int(row["FilesFound"]) == len(hospital.by_series[row["SeriesInstanceUID"]])


def test_move_keeps_nothing_on_this_machine(pacs, hospital, tmp_path):
    with receiver(pacs, hospital):
        done = run(pacs, tmp_path, [TWINS], "--move", "--info")
    assert done.status == 0, done.stderr
    assert instance_paths(done.out) == []
    assert infos(done).keys() == wanted_series(hospital.records, TWINS)


def test_rows_that_overlap_are_moved_once(pacs, hospital, tmp_path):
    rows = [TWINS, TWINS, {"PatientID": "00123", "SeriesNumber": "03", "Modality": "MR"}]
    with receiver(pacs, hospital) as other:
        done = run(pacs, tmp_path, rows, "--move")
    assert done.status == 0, done.stderr
    wanted = wanted_series(hospital.records, TWINS)
    assert sorted(each.sop_uid for each in other.objects) == sorted(
        record.sop_uid for uid in wanted for record in hospital.by_series[uid]
    )


def test_move_needs_no_free_port_of_our_own(pacs, hospital, tmp_path):
    with receiver(pacs, hospital) as other:
        done = run(pacs, tmp_path, [TWINS], "--move", move_port=pacs.port)
    assert (done.status, len(other.objects)) == (0, 8), done.stderr


def test_resume_of_a_move_sends_nothing_twice(pacs, hospital, tmp_path):
    with receiver(pacs, hospital) as other:
        first = run(pacs, tmp_path, [TWINS], "--move")
        again = run(pacs, tmp_path, [TWINS, {"PatientID": "124588"}], "--move", "--resume")
    assert (first.status, again.status) == (0, 0), again.stderr
    assert max(Counter(each.sop_uid for each in other.objects).values()) == 1
    assert len(other.objects) == 8 + len(hospital.by_patient["124588"])
    assert Counter(row["Status"] for row in again.log) == {"skipped": 2, "complete": 4}


def test_a_row_that_matches_nothing_is_named_and_the_others_are_moved(pacs, hospital, tmp_path):
    with receiver(pacs, hospital) as other:
        done = run(pacs, tmp_path, [TWINS, {"PatientID": "NOSUCH"}], "--move")
    assert (done.status, len(other.objects)) == (1, 8)
    assert [row["PatientID"] for row in done.redo] == ["NOSUCH"]
    assert done.redo[0]["reason"].startswith("not_found")


def test_move_refuses_a_row_that_the_pacs_cannot_decide(dcmqrscp, hospital, tmp_path):
    with receiver(dcmqrscp, hospital) as other:
        done = run(dcmqrscp, tmp_path, [UNTOLD_ROW], "--move")
    assert (done.status, len(other.objects)) == (1, 0)
    assert "ProtocolName" in done.redo[0]["reason"]


def test_an_unknown_move_destination_is_told(pacs, tmp_path):
    done = run(pacs, tmp_path, [TWINS], "--move", move_AET="NOBODY")
    assert done.status == 1
    assert "NOBODY" in done.stderr + done.redo[0]["reason"]
    assert {row["Completed"] for row in done.log} == {"False"}
    assert done.redo[0]["reason"].startswith("failed")


def test_dcmqrscp_says_by_its_status_that_it_does_not_know_the_destination(dcmqrscp, tmp_path):
    done = run(dcmqrscp, tmp_path, [TWINS], "--move", move_AET="NOBODY")
    assert "0xA801" in done.stderr


def test_a_destination_that_does_not_listen_is_no_success(pacs, tmp_path):
    assert port_is_free(pacs.move_port)
    done = run(pacs, tmp_path, [TWINS], "--move")
    assert done.status == 1
    assert {row["Completed"] for row in done.log} == {"False"}
    assert [row["SeriesNumber"] for row in done.redo] == ["3"]


def test_a_destination_that_does_not_listen_is_told_as_that(pacs, tmp_path):
    """Orthanc says of an unknown destination what it says of one that is deaf; dcmqrscp knows the difference."""
    done = run(pacs, tmp_path, EVERYONE, "--move", "--associations", 4)
    assert done.status == 1
    said = done.stderr
    assert f"{pacs.move_aet} listens" in said
    if pacs.kind == "dcmqrscp":
        assert "declared" not in said
    else:
        assert f"have the AE title {pacs.move_aet} declared on the PACS" in said
        assert "if it is, see that" in said
    assert said.count("asking again") < 3, "what is not done is not told"


def test_a_pacs_that_is_down_is_told_and_leaves_no_folder(pacs, tmp_path):
    for option in ("--info", "--move"):
        done = run(pacs, tmp_path, [TWINS], option, port=free_port())
        assert done.status == 3
        assert not done.out.exists()


def test_a_pacs_that_is_no_pacs_is_told(pacs, tmp_path):
    """The REST port of Orthanc, or any other server, answers no association."""
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        done = run(pacs, tmp_path, [TWINS], "--info", port=port)
    assert done.status == 3
    assert str(port) in done.stderr


def test_what_a_later_save_finds_out_leaves_no_trace_of_what_info_could_not_decide(pacs, hospital, tmp_path):
    """Some PACS do not tell ProtocolName: `--info` leaves series undecided, the images decide."""
    records = [
        record for record in hospital.records if record.patient_id == "00123" and record.modality == "MR"
    ]
    row = {"PatientID": "00123", "ProtocolName": value(header(records[0]), "ProtocolName")}
    run(pacs, tmp_path, [row], "--info")
    done = run(pacs, tmp_path, [row], "--save", "--info")
    assert done.status == 0, done.stderr
    assert {entry["Status"] for entry in done.log} <= {"complete", "not_wanted"}
    tables = list(done.out.glob("sub-*/ses-*/*.csv"))
    assert tables
    assert all(path.with_suffix("").is_dir() for path in tables), "a table of a series that was never fetched"
