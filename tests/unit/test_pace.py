"""How work is cut: no series is forgotten, asked for twice, or dragged along unasked."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsifier.dcmtk.identifiers import encode_identifier
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.capabilities import Capabilities
from pacsifier.transfer.fetch.work import batches, beginning, chunks, one_chunk, simpler, size_of
from pacsifier.transfer.model import SeriesState
from pacsifier.transfer.options import Hours, Rate

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def state(study: str, series: str, announced: int | None = 10, found: int = 0) -> SeriesState:
    values = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    made = SeriesState(Series(values, (2,), {}, announced))
    made.found = {f"{series}.{number}": 1 for number in range(found)}
    return made


def study(name: str, sizes: list[int | None]) -> list[SeriesState]:
    return [state(name, f"{name}.{number}", size) for number, size in enumerate(sizes)]


_sizes = st.one_of(st.none(), st.integers(0, 3000))
works = st.lists(st.tuples(st.lists(_sizes, min_size=1, max_size=8), st.integers(0, 2)), max_size=12).map(
    lambda studies: (
        [each for number, (sizes, _) in enumerate(studies) for each in study(f"1.{number}", sizes)],
        {f"1.{number}": len(sizes) + unwanted for number, (sizes, unwanted) in enumerate(studies)},
    )
)


@unhurried
@given(works, st.integers(1, 8), st.booleans())
def test_every_series_is_asked_for_exactly_once(work, associations: int, one_each: bool) -> None:
    states, of_study = work
    made = chunks(states, associations, of_study, one_series_each=one_each)
    asked = Counter(each.series.key for chunk in made for _, wanted in chunk.parts for each in wanted)
    assert asked == Counter(each.series.key for each in states)


def test_a_study_of_very_many_series_gives_no_list_that_an_identifier_cannot_hold() -> None:
    large = "2.25." + "9" * 39
    wanted = [state(large, f"{large}.{'8' * 15}{number:05d}", 1) for number in range(3000)]
    others = [state("1.2", f"1.2.{number}", 3000) for number in range(10)]
    made = chunks([*wanted, *others], 1, {large: 3001, "1.2": 11})
    assert max(len(request.series_uids) for chunk in made for request in chunk.requests) > 1
    for chunk in made:
        for request in chunk.requests:
            encode_identifier(request.keys())


def test_no_association_is_so_long_that_the_log_of_its_movescu_fills_the_disk() -> None:
    wanted = [each for number in range(400) for each in study(f"1.{number}", [500, 500])]
    made = chunks(wanted, 2, {f"1.{number}": 2 for number in range(400)})
    assert max(chunk.size for chunk in made) <= 10_000
    assert sum(chunk.size for chunk in made) == 400_000


def test_an_instance_uid_that_would_match_more_than_itself_is_not_asked_for() -> None:
    half = state("1.2", "1.2.3", 3, found=1)
    instances = tuple(Instance(uid, "") for uid in ("1.2.3.0", "1.2.3.*", "1.2.3.1\\1.2.4", "1.2.3.2"))
    half.series = replace(half.series, instances=instances)
    (chunk,) = chunks([half], 1, {"1.2": 1})
    assert [request.instance_uids for request in chunk.requests] == [("1.2.3.2",)]


@unhurried
@given(works, st.integers(1, 8), st.booleans())
def test_every_request_brings_the_series_that_it_stands_for_and_no_other(
    work, associations: int, one_each: bool
) -> None:
    states, of_study = work
    of_one = defaultdict(set)
    for each in states:
        of_one[each.series.study_uid].add(each.series.series_uid)
    for chunk in chunks(states, associations, of_study, one_series_each=one_each):
        assert chunk.requests == tuple(request for request, _ in chunk.parts)
        for request, wanted in chunk.parts:
            uids = tuple(each.series.series_uid for each in wanted)
            assert {each.series.study_uid for each in wanted} == set(request.study_uids)
            assert not one_each or (len(uids) == 1 and request.series_uids == uids)
            if request.series_uids:
                assert request.series_uids == uids
                assert request.keys()["QueryRetrieveLevel"] == "SERIES"
                assert request.keys()["SeriesInstanceUID"] == "\\".join(uids)
            else:
                assert set(uids) == set().union(*(of_one[study_uid] for study_uid in request.study_uids))
                assert len(uids) == sum(of_study[study_uid] for study_uid in request.study_uids)
                assert request.keys() == {
                    "QueryRetrieveLevel": "STUDY",
                    "StudyInstanceUID": "\\".join(request.study_uids),
                }


@unhurried
@given(works, st.integers(1, 8))
def test_the_largest_request_goes_first(work, associations: int) -> None:
    states, of_study = work
    made = chunks(states, associations, of_study)
    sizes = [size_of(wanted) for chunk in made for _, wanted in chunk.parts]
    assert sizes == sorted(sizes, reverse=True)
    assert [chunk.size for chunk in made] == [
        sum(size_of(wanted) for _, wanted in chunk.parts) for chunk in made
    ]


@unhurried
@given(works, st.integers(1, 8))
def test_no_association_is_left_with_more_than_its_share_and_one_request(work, associations: int) -> None:
    states, of_study = work
    share = min(10_000, max(40, size_of(states) // (3 * associations)))
    made = chunks(states, associations, of_study)
    assert all(chunk.size - size_of(chunk.parts[-1][1]) < share for chunk in made)
    assert all(chunk.size >= share for chunk in made[:-1])


def test_small_studies_of_which_everything_is_wanted_go_together_in_lists_of_200_instances() -> None:
    states = [each for number in range(80) for each in study(f"1.{number}", [8] * 5)]
    made = chunks(states, 2, {f"1.{number}": 5 for number in range(80)})
    requests = [request for chunk in made for request in chunk.requests]
    assert {request.series_uids for request in requests} == {()}
    assert [len(request.study_uids) for request in requests] == [5] * 16


@pytest.mark.parametrize("cannot", ["study_lists", "uid_lists"])
def test_studies_go_one_by_one_to_a_pacs_that_takes_no_lists(cannot) -> None:
    states = [each for number in range(80) for each in study(f"1.{number}", [8] * 5)]
    made = chunks(states, 2, {f"1.{number}": 5 for number in range(80)}, Capabilities(**{cannot: False}))
    asked = [request for chunk in made for request in chunk.requests]
    assert {len(request.study_uids) for request in asked} == {1}


def test_a_study_goes_alone_with_a_rate() -> None:
    states = [each for number in range(20) for each in study(f"1.{number}", [1])]
    made = chunks(states, 1, {f"1.{number}": 1 for number in range(20)}, one_request_each=True)
    assert [len(chunk.requests) for chunk in made] == [1] * 20
    assert {len(chunk.requests[0].study_uids) for chunk in made} == {1}


@pytest.mark.parametrize("of_study", [{"1.0": 4}, {}])
def test_a_study_with_an_unwanted_or_unknown_series_is_never_asked_for_as_a_whole(of_study) -> None:
    states = [*study("1.0", [1, 1, 1]), *study("1.1", [90])]
    made = chunks(states, 1, of_study)
    assert all(request.series_uids for chunk in made for request in chunk.requests)


def test_a_study_larger_than_a_share_goes_series_by_series() -> None:
    made = chunks(study("1", [100, 200, 300, 400]), 2, {"1": 4})
    assert [request.series_uids for chunk in made for request in chunk.requests] == [
        ("1.3",),
        ("1.2",),
        ("1.1",),
        ("1.0",),
    ]


def test_a_study_of_many_small_series_goes_in_lists_that_a_killed_run_can_afford() -> None:
    states = study("1", [8] * 1000)
    made = chunks(states, 2, {"1": 1000})
    sizes = [size_of(wanted) for chunk in made for _, wanted in chunk.parts]
    assert max(sizes) <= 500
    assert len(sizes) <= 18, "as many associations as series cost more than the images"
    one_each = chunks(states, 2, {"1": 1000}, one_request_each=True)
    assert [len(chunk.parts) for chunk in one_each] == [1] * 1000
    assert {len(wanted) for chunk in one_each for _, wanted in chunk.parts} == {1}


def asked(*wanted: SeriesState, unwanted: int = 0, **ways: bool) -> list[MoveRequest]:
    """The requests for series of studies that have so many more, over one association."""
    of_study = Counter(each.series.study_uid for each in wanted)
    made = chunks(wanted, 1, {uid: number + unwanted for uid, number in of_study.items()}, **ways)
    return [request for chunk in made for request in chunk.requests]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        pytest.param(
            asked(*study("1", [20, 20])), [MoveRequest(("1",))], id="a study just as large as a share"
        ),
        pytest.param(
            asked(*study("1", [90])), [MoveRequest(("1",))], id="one series that is larger than a share"
        ),
        pytest.param(
            asked(*study("1", [20, 20]), unwanted=1, one_request_each=True),
            [MoveRequest(("1",), ("1.0", "1.1"))],
            id="with a rate, series that are together as large as a share",
        ),
        pytest.param(
            asked(*study("1", [10]), *study("2", [15]), *study("3", [15]), *study("4", [20])),
            [MoveRequest(("4", "2")), MoveRequest(("3", "1"))],
            id="small studies that fill a share, the largest first",
        ),
    ],
)
def test_what_fits_a_share_costs_one_association(requests, expected) -> None:
    assert requests == expected


def test_with_one_series_each_counters_belong_to_one_series() -> None:
    made = chunks(study("1", [1, 1]) + study("2", [1]), 2, {"1": 2, "2": 1}, one_series_each=True)
    assert all(len(wanted) == 1 and request.series_uids for chunk in made for request, wanted in chunk.parts)


def test_what_is_there_already_does_not_count_as_work() -> None:
    assert size_of([state("1", "1.1", 10, found=7)]) == 3
    assert size_of([state("1", "1.1", 10, found=12)]) == 1
    assert size_of([state("1", "1.1", None)]) > 0


def test_nothing_to_do_makes_no_association() -> None:
    assert chunks([], 2, {}) == []
    assert batches([], 30, 5.0) == []
    assert batches([], 30, 0) == []


@unhurried
@given(st.integers(0, 100), st.integers(1, 40))
def test_batches_keep_the_order_and_never_exceed_their_size(count: int, batch_size: int) -> None:
    states = study("1", [1] * count)
    made = batches(states, batch_size, 10.0)
    assert [each for batch in made for each in batch] == states
    assert all(len(batch) == batch_size for batch in made[:-1])
    assert all(0 < len(batch) <= batch_size for batch in made)


def test_without_a_pause_there_is_one_batch() -> None:
    states = study("1", [1] * 100)
    assert batches(states, 30, 0) == [states]


# --- instances instead of series ---------------------------------------------------------------------------------


def in_part(series: str, listed: int, found: int) -> SeriesState:
    """A series with `found` of the `listed` instances in place."""
    made = state("1", series, listed, found)
    instances = tuple(Instance(f"{series}.{number}", "") for number in range(listed))
    made.series = replace(made.series, instances=instances)
    return made


@unhurried
@given(st.integers(1, 2000), st.data())
def test_of_a_series_that_is_partly_there_each_missing_instance_is_asked_for_once(listed: int, data) -> None:
    found = data.draw(st.integers(1, listed))
    parts = [part for chunk in chunks([in_part("1.1", listed, found)], 2, {"1": 1}) for part in chunk.parts]
    if found == listed:
        return
    asked = [uid for request, _ in parts for uid in request.instance_uids]
    assert asked == [f"1.1.{number}" for number in range(found, listed)]
    for request, _ in parts:
        keys = request.keys()
        assert keys["QueryRetrieveLevel"] == "IMAGE"
        assert keys["SeriesInstanceUID"] == "1.1"
        assert len(keys["SOPInstanceUID"]) < 65534


def test_a_series_of_which_nothing_is_there_is_asked_for_whole() -> None:
    (chunk,) = chunks([in_part("1.1", 5, 0)], 1, {"1": 1})
    assert [request.keys()["QueryRetrieveLevel"] for request in chunk.requests] == ["STUDY"]


def test_a_pacs_without_the_image_level_is_asked_for_the_series() -> None:
    able = Capabilities(image_moves=False)
    made = chunks([in_part("1.1", 5, 2), in_part("1.2", 5, 0)], 1, {"1": 3}, able)
    requests = [request for chunk in made for request in chunk.requests]
    assert sorted(uid for request in requests for uid in request.series_uids) == ["1.1", "1.2"]
    assert not any(request.instance_uids for request in requests)


def test_a_pacs_that_takes_no_whole_studies_is_asked_for_lists_of_their_series() -> None:
    states = [*study("1.0", [10] * 3), *study("1.1", [90])]
    made = chunks(states, 1, {"1.0": 3, "1.1": 1}, Capabilities(whole_studies=False))
    asked = [request for chunk in made for request in chunk.requests]
    assert sorted(len(request.series_uids) for request in asked) == [1, 3]


@unhurried
@given(works, st.integers(1, 4))
def test_a_pacs_that_takes_no_lists_gets_none(work, associations: int) -> None:
    states, of_study = work
    made = chunks(states, associations, of_study, Capabilities(uid_lists=False))
    assert all(len(request.series_uids) <= 1 for chunk in made for request in chunk.requests)
    asked = Counter(each.series.key for chunk in made for _, wanted in chunk.parts for each in wanted)
    assert asked == Counter(each.series.key for each in states)


@unhurried
@given(works)
def test_a_simpler_request_asks_for_the_same_series(work) -> None:
    states, of_study = work
    for chunk in chunks(states, 1, of_study):
        for part in chunk.parts:
            easy = simpler(part)
            if len(part[0].study_uids) > 1:
                assert tuple(request.study_uids for request, _ in easy) == tuple(
                    (uid,) for uid in part[0].study_uids
                )
            else:
                assert all(len(request.series_uids) == 1 and not request.instance_uids for request, _ in easy)
            if easy:
                assert [each for _, wanted in easy for each in wanted] == list(part[1])
                assert all(simpler(once) == [] for each in easy for once in simpler(each) or [each])


STUDIES = MoveRequest(("1", "2"))
ONE, TWO, OTHER = state("1", "1.1"), state("1", "1.2"), state("2", "2.1")
OF_ONE, OF_TWO = MoveRequest(("1",), ("1.1",)), MoveRequest(("1",), ("1.2",))


@pytest.mark.parametrize(
    ("request_", "wanted", "easier"),
    [
        pytest.param(
            STUDIES,
            (ONE, OTHER, TWO),
            [(MoveRequest(("1",)), (ONE, TWO)), (MoveRequest(("2",)), (OTHER,))],
            id="several studies go one by one",
        ),
        pytest.param(
            MoveRequest(("1",)), (ONE, TWO), [(OF_ONE, (ONE,)), (OF_TWO, (TWO,))], id="a study by series"
        ),
        pytest.param(
            MoveRequest(("1",), ("1.1", "1.2")),
            (ONE, TWO),
            [(OF_ONE, (ONE,)), (OF_TWO, (TWO,))],
            id="a list by series",
        ),
        pytest.param(
            MoveRequest(("1",), ("1.1",), ("1.1.7",)),
            (ONE,),
            [(OF_ONE, (ONE,))],
            id="instances as their whole series",
        ),
        pytest.param(OF_ONE, (ONE,), [], id="nothing is simpler than a series"),
    ],
)
def test_a_request_that_is_not_understood_has_the_next_simpler_ones(request_, wanted, easier) -> None:
    assert simpler((request_, wanted)) == easier


@pytest.mark.parametrize(("most", "first"), [(5, 1), (10, 1), (19, 1), (20, 2), (25, 2), (30, 3), (99, 3)])
def test_a_first_request_is_as_large_as_it_may_be(most: int, first: int) -> None:
    parts = [(MoveRequest((uid,)), (state(uid, f"{uid}.1", 10),)) for uid in ("1", "2", "3")]
    chunk, others = beginning(one_chunk(parts), most)
    assert (list(chunk.parts), list(others)) == (parts[:first], parts[first:])
    assert chunk.size == 10 * first


@pytest.mark.parametrize(("requests", "first"), [(1, 1), (2, 2), (3, 3), (9, 3), (None, 3)])
def test_a_first_association_has_no_more_requests_than_may_fail_unseen(
    requests: int | None, first: int
) -> None:
    parts = [(MoveRequest((uid,)), (state(uid, f"{uid}.1", 1),)) for uid in ("1", "2", "3")]
    chunk, others = beginning(one_chunk(parts), 100, requests)
    assert (list(chunk.parts), list(others)) == (parts[:first], parts[first:])


# --- hours, rate, breaker ----------------------------------------------------------------------------------------

_times = st.times().map(lambda each: each.replace(microsecond=0))


@given(_times, _times, _times)
def test_work_is_done_inside_the_hours_and_only_there(start: time, end: time, now: time) -> None:
    if start == end:
        with pytest.raises(ValueError, match="-"):
            Hours.parse(f"{start}-{end}")
        return
    hours = Hours.parse(f"{start}-{end}")
    inside = start <= now < end if start < end else not end <= now < start
    assert hours.open_at(datetime.combine(datetime(2026, 3, 29), now)) is inside
    assert Hours.parse(str(hours)) == hours


@pytest.mark.parametrize(
    "text", ["", "19:00", "19-", "-06:00", "7pm-6am", "25:00-06:00", "19:00-06:00-07:00", "19:00+01:00-06:00"]
)
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Hours.parse(text)


@given(st.floats(0.1, 1e9), st.integers(0, 10**6), st.integers(0, 10**12))
def test_a_rate_counts_instances_or_bytes(per_s: float, instances: int, size: int) -> None:
    assert Rate(per_s).pause_s(instances, size) * per_s == pytest.approx(instances)
    assert Rate(per_s, in_bytes=True).pause_s(instances, size) * per_s == pytest.approx(size)


@unhurried
@given(works, st.integers(1, 4), st.integers(0, 5000))
def test_a_chunk_is_divided_without_losing_a_request_or_beginning_with_too_much(work, associations, most):
    for chunk in chunks(*work[:1], associations, work[1]):
        first, others = beginning(chunk, most)
        assert (*first.parts, *others) == (*chunk.parts,)
        assert len(first.parts) == 1 or first.size <= most
        assert not others or first.size + size_of(others[0][1]) > most
