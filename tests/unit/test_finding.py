"""From rows to series: nothing that the PACS holds is lost, nothing foreign comes along, no failure looks like nothing.

The PACS here is a list of dicts that answers as it is told to; what real ones answer is tested in `tests/pacs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.transcript import REFUSED_OUT_OF_RESOURCES, SUCCESS
from pacsifier.query import Query
from pacsifier.query.matching import _wildcard_match
from pacsifier.transfer.find import finder
from pacsifier.transfer.model import Found

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Row = Mapping[str, str]
FAILED = FindResult((), 0xC000, "C-FIND ended with 'Failed: UnableToProcess'")
_UIDS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_HEAD = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def image(number: str = "1", **values: str) -> dict[str, str]:
    """One image; `number` is `study`, `study.series` or `study.series.image`."""
    study, series, instance = (*number.split("."), "1", "1")[:3]
    return {
        "PatientID": "123421",
        "PatientName": "KENOBI^OBI-WAN",
        "PatientBirthDate": "19920611",
        "StudyDate": "20150512",
        "StudyTime": "140500",
        "AccessionNumber": f"A{study}",
        "StudyDescription": "MR",
        "Modality": "MR",
        "SeriesNumber": series,
        "SeriesDescription": "T1",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        "SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.4",
        "StudyInstanceUID": f"1.{study}",
        "SeriesInstanceUID": f"1.{study}.{series}",
        "SOPInstanceUID": f"1.{study}.{series}.{instance}",
        **values,
    }


@dataclass
class FakePacs:
    """Answers from a list of images. Keys in `ignored` are not matched, those in `absent` not returned.

    `wrong(level, keys)` may give another result; `cap` cuts every answer list and says Success or 0xA700.
    """

    images: Sequence[Row]
    ignored: frozenset[str] = frozenset()
    absent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    wrong: Callable[[str, Row], FindResult | None] = lambda _level, _keys: None
    cap: int | None = None
    cap_status: int = SUCCESS
    character_set: str = "ISO_IR 192"
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    associations: int = 0

    def find(self, level: str, requests: Sequence[Row]) -> list[FindResult]:
        self.associations += bool(requests)
        return [self._answer(level, dict(keys)) for keys in requests]

    def _answer(self, level: str, keys: dict[str, str]) -> FindResult:
        self.asked.append((level, keys))
        if (told := self.wrong(level, keys)) is not None:
            return told
        absent = self.absent.get(level, frozenset())
        entities: dict[str, dict[str, str | None]] = {}
        for each in self.images:
            if all(self._matches(key, value, each.get(key, "")) for key, value in keys.items()):
                values = each | {"NumberOfSeriesRelatedInstances": str(self._size(each))}
                entities.setdefault(
                    each[_UIDS[level]],
                    {key: None if key in absent else values.get(key) for key in keys}
                    | {"SpecificCharacterSet": self.character_set},
                )
        answers = tuple(entities.values())
        if self.cap is not None and len(answers) >= self.cap:
            failure = None if self.cap_status == SUCCESS else "C-FIND ended with 'Refused: OutOfResources'"
            return FindResult(answers[: self.cap], self.cap_status, failure)
        return FindResult(answers, SUCCESS, None)

    def _size(self, one: Row) -> int:
        return sum(each["SeriesInstanceUID"] == one["SeriesInstanceUID"] for each in self.images)

    def _matches(self, key: str, asked: str, found: str) -> bool:
        if not asked or key in self.ignored or key == "QueryRetrieveLevel":
            return True
        if key == "StudyDate" and "-" in asked:
            first, _, last = asked.partition("-")
            return bool(found) and first <= found <= (last or "99991231")
        if key == "StudyTime":
            return True
        return found in asked.split("\\") or _wildcard_match(asked, found)

    def levels(self) -> list[str]:
        return [level for level, _ in self.asked]


def query(row: int = 2, **cells: str) -> Query:
    return Query((row,), cells, None)


def find(pacs: FakePacs, *queries: Query, **options: bool) -> Found:
    """Find as `--save` does, unless `options` say otherwise."""
    wanted = {"image_values": False, "list_all": False, "headers_decide": True} | options
    return finder.find(pacs, queries, **wanted)  # type: ignore[arg-type]


def uids(found: Found) -> list[str]:
    return sorted(series.series_uid for series in found.series)


# --- the plain way --------------------------------------------------------------------------------------------------


def test_a_row_finds_its_series_with_the_values_of_both_levels() -> None:
    pacs = FakePacs([image("1.1"), image("1.2", Modality="CT"), image("2.1", PatientID="other")])
    found = find(pacs, query(PatientID="123421", Modality="CT"))
    (series,) = found.series
    assert series.key == ("1.1", "1.1.2")
    assert (series.values["PatientID"], series.values["Modality"]) == ("123421", "CT")
    assert (series.rows, series.announced) == ((2,), 1)
    assert found.series_of_study == {"1.1": 2}
    assert found.sop_classes == {"1.2.840.10008.5.1.4.1.1.4"}
    assert not found.rows[2].failure
    assert not found.rows[2].not_found


def test_the_levels_are_asked_from_the_top_and_never_without_a_study() -> None:
    pacs = FakePacs([image("1.1"), image("2.1")])
    find(pacs, query(2, PatientID="123421"), query(3, Modality="MR"))
    assert pacs.levels() == ["STUDY", "STUDY", "SERIES", "SERIES"]
    assert all(keys["StudyInstanceUID"] for level, keys in pacs.asked if level != "STUDY")
    assert pacs.associations == 2, "one find a level, whatever the number of rows"


def test_a_series_that_several_rows_want_is_listed_once_with_all_of_them() -> None:
    pacs = FakePacs([image("1.1"), image("1.2", Modality="CT")])
    found = find(pacs, query(2, PatientID="123421"), query(3, StudyDate="20150512", Modality="MR"))
    assert [(series.series_uid, series.rows) for series in found.series] == [
        ("1.1.1", (2, 3)),
        ("1.1.2", (2,)),
    ]


def test_a_row_that_matches_nothing_says_so() -> None:
    found = find(FakePacs([image()]), query(PatientID="nobody"))
    assert not found.series
    assert found.rows[2].not_found == "nothing matches"


def test_no_rows_ask_nothing() -> None:
    pacs = FakePacs([image()])
    assert find(pacs).series == ()
    assert pacs.asked == []


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
def test_a_failed_find_is_a_failure_of_its_row_and_never_no_series(level: str) -> None:
    pacs = FakePacs(
        [image("1.1"), image("2.1", PatientID="7")],
        wrong=lambda at, keys: (
            FAILED if at == level and "7" in (keys.get("PatientID"), keys["StudyInstanceUID"][2:]) else None
        ),
    )
    pacs.images = [image("1.1"), image("7.1", PatientID="7")]
    found = find(pacs, query(2, PatientID="123421"), query(3, PatientID="7"))
    assert level in found.rows[3].failure
    assert "UnableToProcess" in found.rows[3].failure
    assert not found.rows[3].not_found
    assert not found.rows[2].failure
    assert uids(found) == ["1.1.1"]


def test_a_failed_image_level_leaves_a_row_undecided_and_not_empty() -> None:
    pacs = FakePacs(
        [image(ProtocolName="p")],
        absent={"SERIES": frozenset({"ProtocolName"})},
        wrong=lambda level, _: FAILED if level == "IMAGE" else None,
    )
    found = find(pacs, query(ProtocolName="p"))
    assert [series.undecided for series in found.series] == [{2: ("ProtocolName",)}]
    assert not found.rows[2].not_found


def test_half_of_a_name_search_that_failed_is_a_failure() -> None:
    pacs = FakePacs(
        [image()], wrong=lambda _, keys: FAILED if keys.get("PatientName") == "*Kenobi*" else None
    )
    assert find(pacs, query(PatientName="Kenobi")).rows[2].failure


def test_an_answer_without_a_study_uid_is_a_failure() -> None:
    pacs = FakePacs([image()], absent={"STUDY": frozenset({"StudyInstanceUID"})})
    found = find(pacs, query(PatientID="123421"))
    assert "StudyInstanceUID" in found.rows[2].failure
    assert not found.rows[2].not_found


# --- a PACS that ignores keys or leaves them out --------------------------------------------------------------------


def test_what_a_pacs_answers_unasked_is_rejected_and_counted() -> None:
    pacs = FakePacs(
        [image("1.1"), image("1.2", Modality="CT"), image("2.1", PatientID="other")],
        ignored=frozenset({"PatientID", "Modality"}),
    )
    found = find(pacs, query(PatientID="123421", Modality="CT"))
    assert uids(found) == ["1.1.2"]
    assert found.rows[2].rejected == {"PatientID": 1, "Modality": 1}


def test_a_row_whose_every_answer_is_rejected_names_the_columns() -> None:
    pacs = FakePacs([image("1.1"), image("2.1")], ignored=frozenset({"PatientID"}))
    assert find(pacs, query(PatientID="x")).rows[2].not_found == (
        "nothing matches; answers rejected here by PatientID (2)"
    )


def test_series_of_another_study_are_rejected() -> None:
    pacs = FakePacs([image("1.1"), image("2.1", PatientID="other")])
    honest = pacs._answer

    def everything(level: str, keys: Row) -> FindResult | None:
        if level != "SERIES":
            return None
        pacs.wrong = lambda _level, _keys: None
        result = honest(level, dict(keys) | {"StudyInstanceUID": ""})
        pacs.wrong = everything
        return result

    pacs.wrong = everything
    found = find(pacs, query(PatientID="123421"))
    assert uids(found) == ["1.1.1"]
    assert found.rows[2].rejected == {"StudyInstanceUID": 1}
    assert found.series_of_study["1.1"] != 1, "such a study must not be asked for as a whole"


def test_images_of_another_series_do_not_decide_a_row() -> None:
    images = [image("1.1", ProtocolName="wanted"), image("1.2", ProtocolName="other")]
    pacs = FakePacs(images, absent={"SERIES": frozenset({"ProtocolName"})})
    everything = FindResult(
        tuple({key: each[key] for key in (*_HEAD, "SOPClassUID", "ProtocolName")} for each in images),
        SUCCESS,
        None,
    )
    pacs.wrong = lambda level, _: everything if level == "IMAGE" else None
    found = find(pacs, query(ProtocolName="wanted"))
    assert uids(found) == ["1.1.1"]
    assert found.series[0].expected == 1


@pytest.mark.parametrize(
    ("images", "rows"),
    [
        ([image("1.1.1", ProtocolName="t1")], [2]),
        ([image("1.1.1", ProtocolName="t1"), image("1.1.2", ProtocolName="x")], [2]),
        ([image("1.1.1", ProtocolName="x")], []),
    ],
)
def test_a_key_that_the_series_level_lacks_is_decided_by_the_images(
    images: list[Row], rows: list[int]
) -> None:
    pacs = FakePacs(images, absent={"SERIES": frozenset({"ProtocolName"})})
    found = find(pacs, query(PatientID="123421", ProtocolName="t1"))
    assert [row for series in found.series for row in series.rows] == rows
    assert not any(series.undecided for series in found.series)
    assert bool(found.rows[2].not_found) == (not rows)
    if rows:
        assert {each.sop_instance_uid for each in found.series[0].instances or ()} == {
            each["SOPInstanceUID"] for each in images
        }


def test_what_no_level_tells_is_undecided_and_not_rejected() -> None:
    nowhere = frozenset({"ProtocolName"})
    pacs = FakePacs([image(ProtocolName="t1")], absent={"SERIES": nowhere, "IMAGE": nowhere})
    found = find(pacs, query(2, ProtocolName="t1"), query(3, PatientID="123421"))
    (series,) = found.series
    assert (series.rows, series.undecided) == ((3,), {2: ("ProtocolName",)})
    assert not found.rows[2].not_found
    assert "ProtocolName" in found.missing_keys


def test_a_study_value_that_the_pacs_left_empty_is_undecided() -> None:
    pacs = FakePacs([image(PatientBirthDate="")], ignored=frozenset({"PatientBirthDate"}))
    found = find(pacs, query(PatientBirthDate="19920611"))
    assert [series.undecided for series in found.series] == [{2: ("PatientBirthDate",)}]


def test_an_empty_value_is_no_match_where_no_image_will_be_fetched_that_could_decide() -> None:
    told, empty = image("1.1", PatientBirthDate="19920611"), image("2.1", PatientBirthDate="")
    pacs = FakePacs([told, empty], ignored=frozenset({"PatientBirthDate"}))
    asked = query(PatientBirthDate="19920611")
    found = find(pacs, asked, headers_decide=False)
    assert uids(found) == ["1.1.1"]
    assert found.rows[2].empty == {"PatientBirthDate": 1}
    assert uids(find(pacs, asked, headers_decide=True)) == ["1.1.1", "1.2.1"]


def test_a_key_that_the_pacs_never_tells_stays_undecided_even_without_images() -> None:
    nowhere = frozenset({"ProtocolName"})
    pacs = FakePacs([image(ProtocolName="t1")], absent={"SERIES": nowhere, "IMAGE": nowhere})
    found = find(pacs, query(ProtocolName="t1"), headers_decide=False)
    assert [series.undecided for series in found.series] == [{2: ("ProtocolName",)}]


def test_image_values_are_asked_for_when_they_are_to_be_written_down() -> None:
    pacs = FakePacs([image(ProtocolName="t1")])
    assert find(pacs, query(PatientID="123421"), image_values=True).series[0].values["ProtocolName"] == "t1"
    assert "ProtocolName" not in find(pacs, query(PatientID="123421")).series[0].values


def test_a_match_by_tolerance_is_told_and_a_rejected_answer_is_none() -> None:
    found = find(FakePacs([image(SeriesDescription="t1")]), query(SeriesDescription="T1"))
    assert (len(found.series), found.rows[2].lenient) == (1, {"SeriesDescription"})
    pacs = FakePacs([image("1.1", SeriesDescription="t1", Modality="CT"), image("1.2")])
    assert find(pacs, query(SeriesDescription="T1", Modality="MR")).rows[2].lenient == set()


# --- names and accents ----------------------------------------------------------------------------------------------


def test_a_name_with_accents_is_asked_again_with_wildcards_where_nothing_came() -> None:
    pacs = FakePacs(
        [image("1.1", PatientName="Müller^Zoé"), image("2.1", PatientName="Miller^Zoe")],
        wrong=lambda _, keys: FindResult((), SUCCESS, None) if not "".join(keys.values()).isascii() else None,
    )
    found = find(pacs, query(PatientName="Müller"))
    assert uids(found) == ["1.1.1"]
    assert {"*M*LLER*", "*M*ller*"} & {keys.get("PatientName") for _, keys in pacs.asked}


def test_a_name_that_the_answers_character_set_cannot_hold_is_left_to_the_images() -> None:
    pacs = FakePacs([image("1.1", PatientName="M?ller^Zo?"), image("2.1", PatientName="Kohler^A")])
    pacs.character_set, pacs.ignored = "ISO_IR 6", frozenset({"PatientName"})
    (series,) = find(pacs, query(PatientName="Müller")).series
    assert (series.series_uid, series.rows) == ("1.1.1", ())
    assert set(series.undecided) == {2}


def test_a_name_that_was_found_is_not_asked_for_again() -> None:
    pacs = FakePacs([image(PatientName="Müller^Zoé")])
    assert uids(find(pacs, query(PatientName="Müller"))) == ["1.1.1"]
    assert not [keys for _, keys in pacs.asked if keys.get("PatientName") == "*M*ller*"]


def test_a_name_without_any_ascii_never_lists_the_whole_archive() -> None:
    pacs = FakePacs([image()])
    find(pacs, query(PatientName="山田^太郎"))
    assert not [keys for level, keys in pacs.asked if level == "STUDY" and keys["PatientName"] in ("", "*")]


# --- a SeriesInstanceUID alone --------------------------------------------------------------------------------------


def test_a_series_uid_alone_finds_its_series() -> None:
    found = find(FakePacs([image("1.1"), image("1.2"), image("2.1")]), query(SeriesInstanceUID="1.1.2"))
    assert uids(found) == ["1.1.2"]
    assert found.series[0].values["PatientID"] == "123421"


def test_a_series_uid_that_is_nowhere_is_not_found() -> None:
    found = find(FakePacs([image()]), query(SeriesInstanceUID="9.9"))
    assert found.rows[2].not_found
    assert not found.rows[2].failure


@pytest.mark.parametrize("how", ["failed", "everything"])
def test_a_pacs_that_answers_no_series_uid_alone_is_told_as_a_failure_with_a_remedy(how: str) -> None:
    pacs = FakePacs([image("1.1"), image("2.1")], ignored=frozenset({"SeriesInstanceUID"}))
    if how == "failed":
        pacs.wrong = lambda level, keys: (
            FAILED if level == "SERIES" and not keys["StudyInstanceUID"] else None
        )
    found = find(pacs, query(SeriesInstanceUID="1.1.1"))
    assert found.series == ()
    assert "StudyInstanceUID" in found.rows[2].failure
    assert "--yes" in found.rows[2].failure


def test_a_pacs_that_tells_no_study_of_a_series_uid_is_no_empty_result() -> None:
    pacs = FakePacs([image()], absent={"SERIES": frozenset({"StudyInstanceUID"})})
    found = find(pacs, query(SeriesInstanceUID="1.1.1"))
    assert found.rows[2].failure or found.series


def test_all_studies_are_listed_for_a_series_uid_where_the_user_allows_it() -> None:
    pacs = FakePacs([image("1.1"), image("2.1")], ignored=frozenset({"SeriesInstanceUID"}))
    found = find(pacs, query(SeriesInstanceUID="1.2.1"), list_all=True)
    assert uids(found) == ["1.2.1"]
    assert all(keys["StudyInstanceUID"] for level, keys in pacs.asked if level == "SERIES")


# --- too many answers -----------------------------------------------------------------------------------------------

_days = st.integers(0, 20000).map(lambda number: f"{date(1970, 1, 1) + timedelta(days=number):%Y%m%d}")


@settings(unhurried, max_examples=10)
@given(
    st.lists(_days, min_size=100, max_size=330, unique=True),
    st.sampled_from([(100, SUCCESS), (100, REFUSED_OUT_OF_RESOURCES), (37, REFUSED_OUT_OF_RESOURCES)]),
)
def test_every_study_is_found_behind_a_pacs_that_cuts_its_answers(
    days: list[str], cap: tuple[int, int]
) -> None:
    images = [image(f"{number}.1", StudyDate=day) for number, day in enumerate(days)]
    pacs = FakePacs(images, cap=cap[0], cap_status=cap[1])
    found = find(pacs, query(Modality="MR"))
    assert uids(found) == sorted(each["SeriesInstanceUID"] for each in images)
    assert not found.rows[2].failure


def test_a_range_of_dates_is_split_within_itself() -> None:
    first = date(2015, 1, 1)
    images = [image(f"{n}.1", StudyDate=f"{first + timedelta(days=n):%Y%m%d}") for n in range(300)]
    pacs = FakePacs(images, cap=100)
    found = find(pacs, query(StudyDate="20150101-20150731"))
    assert len(found.series) == 212
    dates = [keys["StudyDate"] for level, keys in pacs.asked if level == "STUDY"]
    assert all("20150101" <= each <= "20150731" for text in dates for each in text.split("-"))


def test_studies_without_a_date_survive_the_splitting() -> None:
    images = [image("0.1", StudyDate="")] + [
        image(f"{n}.1", StudyDate=f"{date(2000, 1, 1) + timedelta(days=n):%Y%m%d}") for n in range(1, 150)
    ]
    found = find(FakePacs(images, cap=100), query(Modality="MR"))
    assert len(found.series) == 150


def test_a_day_that_cannot_be_split_and_is_refused_is_a_failure() -> None:
    images = [image(f"{n}.1", StudyDate="20150512") for n in range(60)]
    pacs = FakePacs(images, cap=50, cap_status=REFUSED_OUT_OF_RESOURCES)
    assert find(pacs, query(StudyDate="20150512")).rows[2].failure
    assert find(pacs, query(StudyDate="20150401-20150630")).rows[2].failure


def test_a_pacs_that_refuses_everything_is_not_asked_thousands_of_times() -> None:
    refused = FindResult((), REFUSED_OUT_OF_RESOURCES, "C-FIND ended with 'Refused: OutOfResources'")

    def refuse(level: str, _: Row) -> FindResult:
        if len(pacs.asked) > 500:
            pytest.fail("the PACS is asked again and again")
        return refused

    pacs = FakePacs([], wrong=refuse)
    assert find(pacs, query(Modality="MR")).rows[2].failure


# --- one accession number -------------------------------------------------------------------------------------------


def test_an_accession_number_of_two_studies_is_called_ambiguous_and_both_are_fetched() -> None:
    pacs = FakePacs(
        [image("1.1", AccessionNumber="A"), image("2.1", AccessionNumber="A", PatientID="another")]
    )
    found = find(pacs, query(AccessionNumber="A"))
    assert uids(found) == ["1.1.1", "1.2.1"]
    assert found.rows[2].ambiguous == "2 studies of 2 patients for one accession number"


@pytest.mark.parametrize(
    "asked",
    ["A*", "A?"],
)
def test_an_accession_number_with_wildcards_is_not_ambiguous(asked: str) -> None:
    found = find(FakePacs([image("1.1"), image("2.1")]), query(AccessionNumber=asked))
    assert (len(found.series), found.rows[2].ambiguous) == (2, "")


def test_one_study_of_an_accession_number_is_not_ambiguous() -> None:
    found = find(FakePacs([image("1.1"), image("1.2")]), query(AccessionNumber="A1"))
    assert (len(found.series), found.rows[2].ambiguous) == (2, "")


def test_a_round_number_of_studies_on_one_day_is_not_taken_for_all_of_them() -> None:
    images = [image(f"{number}.1", StudyDate="20200101") for number in range(130)]
    found = find(FakePacs(images, cap=100, cap_status=SUCCESS), query(StudyDate="20200101"))
    assert "cap" in found.rows[2].failure
    assert len(found.series) == 100
