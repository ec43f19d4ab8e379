"""What the tools say is understood: the logs in `tests/transcripts/` are of real runs (see `record.py` there).

DCMTK's exit statuses lie, so a log misread is a series that counts as complete and is not. Each test reads the logs of
every version of DCMTK that was recorded, or those of the folder PACSIFIER_TRANSCRIPTS alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsifier.dcmtk.transcript import (
    MOVE_DESTINATION_UNKNOWN,
    REFUSED_OUT_OF_RESOURCES,
    REFUSED_SUBOPERATIONS,
    SUCCESS,
    WARNING_SUBOPERATIONS,
    Answer,
    FindEnd,
    FindTranscript,
    MoveState,
    MoveTranscript,
    StoreEnd,
    StoreTranscript,
    echo_response,
)

RECORDED = sorted(
    path.parent for path in (Path(__file__).parent.parent / "transcripts").glob("*/echo_failed.log")
)
FOLDERS = [Path(os.environ["PACSIFIER_TRANSCRIPTS"])] if "PACSIFIER_TRANSCRIPTS" in os.environ else RECORDED
NAMES = sorted(path.stem for path in RECORDED[0].glob("*.log"))
ECHOS = [name for name in NAMES if name.startswith("echo_")]
LOGS = [name for name in NAMES if not name.startswith(("echo_", "media_"))]
UNABLE_TO_PROCESS = 0xC000
PENDING = 0xFF00

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


_read_from = FOLDERS[0]


@pytest.fixture(scope="module", autouse=True, params=FOLDERS, ids=lambda folder: folder.name)
def _of_each_version(request: pytest.FixtureRequest) -> None:
    """Every test is one for each version."""
    global _read_from  # noqa: PLW0603
    _read_from = request.param


def log(name: str) -> bytes:
    return (_read_from / f"{name}.log").read_bytes()


def read(parser: Callable[[], Any], pieces: Iterable[bytes]) -> list[Any]:
    """Everything that a parser tells of a log that comes in these pieces."""
    transcript = parser()
    events = [event for piece in pieces for event in transcript.feed(piece)]
    if isinstance(transcript, StoreTranscript):
        events += transcript.finish()
    return events


def parser_of(name: str) -> Callable[[], Any]:
    return {
        "find": FindTranscript,
        "get": MoveTranscript,
        "move": MoveTranscript,
        "store": StoreTranscript,
    }[name.partition("_")[0]]


def find(name: str) -> list[Answer | FindEnd]:
    return read(FindTranscript, [log(name)])


def ends(name: str) -> list[tuple[int, int, str]]:
    return [(event.request, event.status, event.words) for event in find(name) if isinstance(event, FindEnd)]


def final_states(name: str) -> list[MoveState]:
    return [state for state in read(MoveTranscript, [log(name)]) if state.final]


def counters(state: MoveState) -> tuple[int | None, int | None, int | None]:
    return state.completed, state.failed, state.warning


def stored(name: str) -> dict[str, StoreEnd]:
    return {end.name: end for end in read(StoreTranscript, [log(name)])}


# --- echo -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ECHOS)
def test_only_an_answered_echo_counts_and_only_success_as_success(name: str) -> None:
    answered = {
        "echo_dcmqrscp": "Success",
        "echo_orthanc": "Success",
        "echo_failed": "Unknown Status: 0x122",
    }
    assert echo_response(log(name)) == answered.get(name)


# --- find -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pacs", ["dcmqrscp", "orthanc"])
def test_every_answer_of_a_find_is_told_of_with_the_row_that_asked(pacs: str) -> None:
    assert find(f"find_{pacs}") == [
        Answer(0, "answers/rsp0001.dcm"),
        Answer(0, "answers/rsp0002.dcm"),
        FindEnd(0, SUCCESS, "Success"),
        FindEnd(1, SUCCESS, "Success"),  # the PACS knows nobody of that name: an honest empty result
        Answer(2, "answers/rsp0005.dcm"),
        Answer(2, "answers/rsp0006.dcm"),
        FindEnd(2, SUCCESS, "Success"),
    ]


@pytest.mark.parametrize("pacs", ["dcmqrscp", "orthanc"])
def test_a_failed_find_is_no_success_and_leaves_the_other_rows_alone(pacs: str) -> None:
    assert ends(f"find_{pacs}_failed") == [
        (0, SUCCESS, "Success"),
        (1, UNABLE_TO_PROCESS, "Failed: UnableToProcess"),
        (2, SUCCESS, "Success"),
    ]


@pytest.mark.parametrize("how", ["dcmqrscp_rejected", "orthanc_rejected", "orthanc_stranger", "unreachable"])
def test_a_find_that_never_took_place_has_no_end(how: str) -> None:
    assert find(f"find_{how}") == []


def test_every_final_status_of_a_find_is_told_apart_from_success() -> None:
    assert [status for _, status, _ in ends("find_statuses")] == [
        REFUSED_OUT_OF_RESOURCES,
        0xA900,
        UNABLE_TO_PROCESS,  # findscu has one word for the whole range 0xC000 to 0xCFFF
        0xFE00,
        UNABLE_TO_PROCESS,  # "Refused: SOPClassNotSupported" (0x0122) has no number of its own here
    ]


def test_an_answer_that_may_still_be_being_written_is_not_told_of_yet() -> None:
    whole = log("find_orthanc")
    announced = b"I: Writing response dataset to file: answers/rsp0001.dcm\n"
    before, found, after = whole.partition(announced)
    transcript = FindTranscript()
    assert list(transcript.feed(before + found)) == []
    assert list(transcript.feed(after.partition(b"\n")[0] + b"\n")) == [Answer(0, "answers/rsp0001.dcm")]


def test_what_an_identifier_holds_is_never_taken_for_a_word_of_the_tool() -> None:
    lines = (
        b"I: Sending Find Request (MsgID 1)\n"
        b"I: (0010,0020) LO [I: Received Final Find Response (Success)] #  6, 1 PatientID\n"
        b"I: (0010,0010) PN [Writing response dataset to file: x] #  6, 1 PatientName\n"
    )
    assert read(FindTranscript, [lines]) == []


# --- move -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pacs", ["dcmqrscp", "orthanc"])
def test_a_complete_move_tells_its_counters(pacs: str) -> None:
    states = final_states(f"move_{pacs}")
    assert [(state.request, state.status) for state in states] == [(0, SUCCESS), (1, SUCCESS)]
    assert [counters(state) for state in states] == [(9, 0, 0), (10, 0, 0)]


@pytest.mark.parametrize("pacs", ["dcmqrscp", "orthanc"])
def test_progress_is_told_while_a_move_goes_on(pacs: str) -> None:
    states = [state for state in read(MoveTranscript, [log(f"move_{pacs}")]) if state.request == 1]
    completed = [state.completed or 0 for state in states]
    assert completed == sorted(completed)
    assert {state.status for state in states[:-1]} == {PENDING}
    assert len(states) > 5


def test_a_move_of_nothing_that_dcmqrscp_calls_success_counts_nothing() -> None:
    states = final_states("move_dcmqrscp_nothing_first")
    assert (states[0].status, *counters(states[0])) == (SUCCESS, 0, 0, 0)
    assert (states[1].status, *counters(states[1])) == (SUCCESS, 10, 0, 0)


def test_a_failed_move_leaves_no_trace_in_the_counters_of_the_next() -> None:
    states = final_states("move_orthanc_nothing_first")
    assert [(state.request, state.status) for state in states] == [(0, UNABLE_TO_PROCESS), (1, SUCCESS)]
    assert counters(states[1]) == (10, 0, 0)


def test_an_unknown_destination_is_recognized_where_the_pacs_says_so() -> None:
    states = final_states("move_dcmqrscp_unknown_destination")
    assert {state.status for state in states} == {MOVE_DESTINATION_UNKNOWN}
    assert states[0].words == "Refused: Move Destination unknown"


@pytest.mark.parametrize("how", ["unknown_destination", "unreachable", "refused_class"])
def test_orthanc_says_unable_to_process_whatever_the_cause(how: str) -> None:
    state = final_states(f"move_orthanc_{how}")[0]
    assert (state.status, state.words) == (UNABLE_TO_PROCESS, "Failed: Unable to process")


def test_a_receiver_that_the_pacs_cannot_reach_is_a_failure_of_every_sub_operation() -> None:
    states = final_states("move_dcmqrscp_unreachable")
    assert [(state.status, *counters(state)) for state in states] == [
        (REFUSED_SUBOPERATIONS, 0, 9, 0),
        (REFUSED_SUBOPERATIONS, 0, 10, 0),
    ]


def test_a_class_that_the_receiver_refuses_is_counted_as_failed() -> None:
    states = final_states("move_dcmqrscp_refused_class")
    assert (states[0].status, *counters(states[0])) == (WARNING_SUBOPERATIONS, 8, 1, 0)
    assert (states[1].status, *counters(states[1])) == (SUCCESS, 10, 0, 0)


def test_a_move_that_never_took_place_has_no_state() -> None:
    assert read(MoveTranscript, [log("move_unreachable_pacs")]) == []


# --- get ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pacs", ["dcmqrscp", "orthanc"])
def test_a_complete_get_tells_its_counters_and_what_was_stored(pacs: str) -> None:
    transcript = MoveTranscript()
    states = [state for state in transcript.feed(log(f"get_{pacs}")) if state.final]
    assert [(state.request, state.status, *counters(state)) for state in states] == [(0, SUCCESS, 9, 0, 0)]
    assert len(transcript.stored) == 9
    assert all(name.startswith("answers/2.25.") for name, _ in transcript.stored)
    classes = [sop_class for _, sop_class in transcript.stored]
    assert {each: classes.count(each) for each in classes} == {
        "1.2.840.10008.5.1.4.1.1.2": 8,
        "1.2.840.10008.5.1.4.1.1.88.22": 1,
    }


def test_an_object_that_could_not_be_sent_is_counted_as_failed() -> None:
    (state,) = final_states("get_dcmqrscp_compressed")
    assert (state.status, *counters(state)) == (WARNING_SUBOPERATIONS, 6, 1, 0)


def test_what_getscu_answers_is_not_taken_for_what_the_pacs_says() -> None:
    (state,) = final_states("get_orthanc_nothing")
    assert state.status != SUCCESS or not state.completed


@pytest.mark.parametrize("name", ["dcmqrscp_rejected", "orthanc_rejected", "unreachable", "not_offered"])
def test_a_get_that_never_took_place_has_no_state(name: str) -> None:
    transcript = MoveTranscript()
    assert list(transcript.feed(log(f"get_{name}"))) == []
    assert not transcript.accepted


def test_counters_that_a_pacs_never_tells_are_unknown_and_not_zero() -> None:
    text = re.sub(
        rb"D: (Remaining|Completed|Failed|Warning) Suboperations.*\n",
        rb"D: \1 Suboperations       : none\n",
        log("move_orthanc"),
    )
    states = [state for state in read(MoveTranscript, [text]) if state.final]
    assert [counters(state) for state in states] == [(None, None, None)] * 2
    assert [state.status for state in states] == [SUCCESS] * 2


@pytest.mark.parametrize("absent", ["Completed", "Failed", "Warning", "Completed|Failed|Warning"])
def test_counters_that_only_a_final_response_leaves_out_are_at_least_those_told_before(absent: str) -> None:
    before, final, after = log("move_orthanc").partition(b"I: Received Final Move Response")
    after = re.sub(rf"D: ({absent}) Suboperations.*\n".encode(), rb"D: \1 Suboperations : none\n", after)
    state = next(state for state in read(MoveTranscript, [before + final + after]) if state.final)
    assert (state.at_least, state.done) == (True, None)
    assert state.begun >= 8


def test_a_final_response_without_counters_keeps_those_told_before() -> None:
    before, final, after = log("move_orthanc").partition(b"I: Received Final Move Response")
    after = after.replace(b"Completed Suboperations       : 9", b"Completed Suboperations       : 0", 1)
    last_pending = read(MoveTranscript, [before])[-1]
    state = next(state for state in read(MoveTranscript, [before + final + after]) if state.final)
    assert state.completed == last_pending.completed
    assert (state.completed or 0) >= 8


# --- store ----------------------------------------------------------------------------------------------------------


def test_a_stored_file_is_told_apart_from_those_refused_and_unreadable() -> None:
    ended = stored("store_refused_class")
    assert {name: end.stored for name, end in ended.items()} == {
        "f0000000": True,
        "f0000001": False,  # a class that the receiver does not know
        "f0000002": False,  # a text file
        "f0000003": False,  # cut short
        "f0000004": True,
    }
    assert ended["f0000001"].words.startswith("No presentation context for: (SRe)")


def test_orthanc_takes_what_can_be_read() -> None:
    assert [name for name, end in stored("store_orthanc").items() if not end.stored] == [
        "f0000002",
        "f0000003",
    ]


@pytest.mark.parametrize("name", ["f0000002", "f0000003"])
def test_the_reason_for_an_unreadable_file_says_that_it_is_no_sound_dicom_file(name: str) -> None:
    assert "Bad DICOM file" in stored("store_orthanc")[name].words


def test_every_final_status_of_a_store_is_read() -> None:
    ended = stored("store_statuses")
    words = {name: (end.stored, end.words) for name, end in ended.items()}
    assert words["s0000000"] == (True, "Warning: CoercionOfDataElements")
    assert words["s0000001"] == (True, "Warning: DataSetDoesNotMatchSOPClass")
    assert words["s0000002"] == (False, "Refused: OutOfResources")
    assert words["s0000003"] == (False, "Error: DataSetDoesNotMatchSOPClass")
    assert words["s0000004"] == (False, "Error: CannotUnderstand")
    assert words["s0000005"] == (False, "Unknown Status: 0x117")
    assert words["s0000006"] == (True, "Success")
    assert [ended[name].stored for name in ("s0000007", "s0000008")] == [False, False]


@pytest.mark.parametrize(
    ("status", "is_stored"),
    [("0x1", True), ("0x107", True), ("0x116", True), ("0xb001", True), ("0xbfff", True)]
    + [
        (each, False)
        for each in ("0x117", "0x110", "0xa7ff", "0xc001", "0x1b001", "0xb0011", "0x1071", "0x10")
    ],
)
def test_a_warning_that_dcmtk_has_no_word_for_is_a_warning_all_the_same(status: str, is_stored: bool) -> None:
    text = log("store_orthanc").replace(b"(Success)", f"(Unknown Status: {status})".encode(), 1)
    assert read(StoreTranscript, [text])[0].stored is is_stored


def test_a_file_that_was_sent_in_another_syntax_is_told_apart() -> None:
    assert [end.encoded for end in read(StoreTranscript, [log("store_encoded")])] == [True]
    assert not any(end.encoded for end in read(StoreTranscript, [log("store_orthanc")]))


def test_a_file_for_which_there_is_no_context_is_told_apart() -> None:
    ended = stored("store_refused_class")
    assert [name for name, end in ended.items() if end.no_context] == ["f0000001"]


def test_the_reason_of_a_store_that_the_peer_aborted_says_so() -> None:
    assert "Peer aborted Association" in stored("store_statuses")["s0000007"].words


def test_a_file_that_was_sent_and_never_answered_is_not_stored() -> None:
    text = log("store_orthanc").partition(b"XMIT")[0]
    assert read(StoreTranscript, [text]) == [StoreEnd("f0000000", False, "not answered", lost=True)]


def test_a_store_that_never_took_place_ends_no_file() -> None:
    assert read(StoreTranscript, [log("store_unreachable")]) == []


# --- all of them ----------------------------------------------------------------------------------------------------


def test_the_same_was_recorded_of_every_version() -> None:
    assert sorted(path.stem for path in _read_from.glob("*.log")) == NAMES


def test_there_are_transcripts_of_every_tool() -> None:
    assert {name.partition("_")[0] for name in LOGS} == {"find", "get", "move", "store"}


@pytest.mark.parametrize("name", LOGS)
def test_a_transcript_names_no_machine_and_no_folder_of_it(name: str) -> None:
    assert not re.search(rb"/tmp|/home|/work|/root|127\.0\.0\.1", log(name))


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 4096])
def test_a_log_tells_the_same_in_pieces_of_any_size(name: str, size: int) -> None:
    text = log(name)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert read(parser_of(name), pieces) == read(parser_of(name), [text])


@unhurried
@given(st.sampled_from(LOGS), st.data())
def test_a_log_tells_the_same_wherever_it_is_cut(name: str, data: st.DataObject) -> None:
    text = log(name)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(parser_of(name), pieces) == read(parser_of(name), [text])


@unhurried
@given(st.sampled_from(LOGS), st.data())
def test_a_log_that_ends_anywhere_tells_a_part_of_the_whole_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    text = log(name)
    part = text[: data.draw(st.integers(0, len(text)))]
    told, whole = read(parser_of(name), [part]), read(parser_of(name), [text])
    if told and isinstance(told[-1], StoreEnd) and told[-1] not in whole:
        assert not told.pop().stored
    assert told == whole[: len(told)]


_STARTS = (
    *(b"", b"I: Sending Find Request", b"I: Sending Move Request", b"I: Received ", b"E: ", b"W: ", b"F: "),
    *(
        b"I: Writing response dataset to file: ",
        b"I: Received Final Find Response (",
        b"D: Completed Suboperations : ",
    ),
    *(b"D: DIMSE Status : 0x", b"D: DIMSE Status                  : 0xa70", b"I: Sending file: "),
    b"I: Received Store Response (",
)
_line = st.builds(
    lambda start, rest, end: start + rest + end,
    st.sampled_from(_STARTS),
    st.binary(max_size=40),
    st.sampled_from((b"\n", b")\n", b"", b"\r\n")),
)


@unhurried
@given(st.lists(_line, max_size=30), st.sampled_from((FindTranscript, MoveTranscript, StoreTranscript)))
def test_no_bytes_in_a_log_bring_a_run_down(lines: list[bytes], parser: Callable[[], Any]) -> None:
    assert isinstance(read(parser, lines), list)


@unhurried
@given(st.binary(max_size=2000), st.sampled_from((FindTranscript, MoveTranscript, StoreTranscript)))
def test_noise_is_no_success(noise: bytes, parser: Callable[[], Any]) -> None:
    assert read(parser, [noise]) == []
