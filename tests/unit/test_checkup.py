"""What a check chooses to ask for and how it judges what came: never much, and never "it works" without proof."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.checkup.finds import (
    FEW,
    Found,
    Sample,
    judge_images,
    judge_keys,
    judge_series,
    judge_studies,
    recent_days,
    small_ones,
)
from pacsifier.checkup.gets import Got, judge_get
from pacsifier.checkup.moves import not_reached, planned, some_instances, two_series
from pacsifier.checkup.probe import Outcome, Probe
from pacsifier.checkup.reaching import Way, try_name, try_tcp
from pacsifier.checkup.recommending import Untried, recommended
from pacsifier.checkup.site import Site, check, judge_associations, try_port, try_tool
from pacsifier.checkup.trials import Delivery, Trial, one_instance, took
from pacsifier.config import PacsConfig
from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.query import INFO_COLUMNS

SIZES = st.dictionaries(
    st.sampled_from(["A", "B", "C"]),
    st.dictionaries(st.sampled_from(["1", "2", "3", "4", "5"]), st.none() | st.integers(0, 500), min_size=1),
    min_size=1,
)


def sample(study: str, series: str, number: int) -> Sample:
    return Sample(study, series, tuple(f"{study}.{series}.{each}" for each in range(number)))


def requests(trials: list[Trial]) -> list[tuple[str, int]]:
    return [(trial.request.keys()["QueryRetrieveLevel"], len(trial.expected)) for trial in trials]


def test_the_days_asked_for_grow_without_a_gap_and_none_is_asked_twice() -> None:
    days = [each for _, each in recent_days(date(2030, 3, 1))]
    assert days == [
        *("20300301", "20300222-20300228", "20291231-20300221"),
        *("20280301-20291230", "20100306-20280229"),
    ]


@given(SIZES)
def test_few_series_are_listed_and_none_that_is_known_to_be_empty(sizes) -> None:
    chosen = small_ones(sizes)
    assert len(chosen) == len(set(chosen)) <= 4
    assert all(sizes[study][series] != 0 for study, series in chosen)
    known = [number for every in sizes.values() for number in every.values() if number != 0]
    assert bool(chosen) == bool(known)


def test_the_study_with_the_smallest_two_series_comes_first() -> None:
    sizes = {"A": {"1": 1, "2": 300}, "B": {"1": 5, "2": 3, "3": 400}, "C": {"1": 2}}
    assert small_ones(sizes)[:2] == [("B", "2"), ("B", "1")]


def test_one_image_is_asked_for_as_a_series_only_where_it_is_one() -> None:
    assert requests(one_instance([sample("A", "1", 1), sample("A", "2", 2)])) == [("SERIES", 1)]
    assert requests(one_instance([sample("A", "1", 3)])) == [("IMAGE", 1), ("SERIES", 3)]


def test_a_large_series_is_never_moved_as_a_whole() -> None:
    large = [sample("A", "1", FEW + 1), sample("A", "2", FEW + 2)]
    assert requests(one_instance(large)) == [("IMAGE", 1)]
    assert two_series(large) is None
    assert some_instances(large) is None
    assert planned(large) == 1


def test_the_list_names_two_series_of_one_study() -> None:
    trial = two_series([sample("A", "1", 1), sample("B", "1", 2), sample("B", "2", 4), sample("B", "3", 3)])
    assert trial is not None
    assert trial.request == MoveRequest(("B",), ("1", "3"))
    assert len(trial.expected) == 5
    assert two_series([sample("A", "1", 1), sample("B", "1", 1)]) is None


def test_instances_are_asked_for_only_where_a_whole_series_would_be_more() -> None:
    trial = some_instances([sample("A", "1", 1), sample("A", "2", 2), sample("A", "3", 3)])
    assert trial is not None
    assert trial.request == MoveRequest(("A",), ("3",), ("A.3.0", "A.3.1"))
    one_of_two = some_instances([sample("A", "2", 2)])
    assert one_of_two is not None
    assert len(one_of_two.expected) == 1
    assert some_instances([sample("A", "1", 1)]) is None


WHOLE = frozenset({"1", "2"})
SUCCESS = MoveState(0, 0x0000, completed=2, failed=0)


@pytest.mark.parametrize(
    ("came", "others", "end", "verdict"),
    [
        (WHOLE, 0, SUCCESS, True),
        (frozenset({"1"}), 0, SUCCESS, False),  # only the first counts
        (WHOLE, 7, SUCCESS, False),  # the list, or the level, is ignored
        (frozenset(), 0, SUCCESS, False),
        (frozenset(), 0, MoveState(0, 0xA900), False),  # it would not take the identifier
        (frozenset(), 0, MoveState(0, 0xA702), None),  # out of resources says nothing about lists
        (frozenset(), 0, MoveState(0, 0xA801), None),
        (frozenset({"1"}), 0, None, None),  # cut off
    ],
)
def test_an_ability_is_affirmed_or_denied_only_where_that_was_the_reason(came, others, end, verdict) -> None:
    trial = Trial(MoveRequest(("A",), ("1", "2")), WHOLE)
    assert took(trial, Delivery(came, others, end, 0.1)) is verdict


@pytest.mark.parametrize(
    ("came", "end", "verdict"),
    [
        (frozenset(), MoveState(0, 0xA801), False),
        (frozenset(), MoveState(0, 0xA702), False),
        (frozenset(), None, False),  # cut off, or silent
        (frozenset({"1"}), MoveState(0, 0xA702), None),  # some of the list came
        (WHOLE, None, True),
    ],
)
def test_what_fails_is_denied_where_a_request_with_one_uid_is_served_at_once_after_it(
    came, end, verdict
) -> None:
    trial = Trial(MoveRequest(("A",), ("1", "2")), WHOLE)
    assert took(trial, Delivery(came, 0, end, 0.1), known_good=True) is verdict


# --- what the answers of a level say ---------------------------------------------------------------------------------

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED


def says(probe: Probe, outcome: Outcome, seen: str, remedy: str) -> bool:
    """Whether a probe ended so, in these words; only what does not work has a remedy."""
    return (
        probe.outcome is outcome
        and seen in probe.seen
        and (remedy in probe.remedy if remedy else not probe.remedy)
    )


def answered(*answers: dict[str, str | None], failure: str | None = None, lost: bool = False) -> FindResult:
    return FindResult(answers, None if failure else 0, failure, lost=lost)


def studies(uids: Iterable[str]) -> FindResult:
    return answered(*({"StudyInstanceUID": uid, "StudyDate": "20300101"} for uid in uids))


@pytest.mark.parametrize(
    ("result", "asked", "outcome", "seen", "remedy"),
    [
        (studies(["1.2"]), {"1.2"}, OK, "1 study for today", ""),
        (studies(["1.2", "1.3"]), {"1.2", "1.3"}, OK, "2 studies for today", ""),
        (studies(["1.2"] * 5), {"1.2"}, OK, "5 studies or more for today", ""),
        (studies(["1.2", "1.3"]), {"1.2"}, WARNING, "1 of 2 do not match", "discarded"),
        (studies(["", "1.*"]), set(), FAILED, "2 studies for today, without a StudyInstanceUID", "vendor"),
    ],
)
def test_studies_nobody_asked_for_are_not_taken_for_an_answer(result, asked, outcome, seen, remedy) -> None:
    probe = judge_studies("today", result, lambda each: each["StudyInstanceUID"] in asked)
    assert says(probe, outcome, seen, remedy)


SERIES_OF_TWO = {"1.2": {"1": 3, "2": None}, "1.3": {"3": 1}}
REFUSED = answered(failure="C-FIND ended with 'Failed'")
LOST = answered(failure="the association ended", lost=True)
FULL = answered(*[{"SeriesInstanceUID": "1"}] * 100)


@pytest.mark.parametrize(
    ("series", "results", "strangers", "outcome", "seen", "remedy"),
    [
        (SERIES_OF_TWO, [studies(["1.2"]), studies(["1.3"])], 0, OK, "3 series of 2 studies", ""),
        ({"1.2": {"1": 1}}, [studies(["1.2"])], 0, OK, "1 series of 1 study", ""),
        ({}, [REFUSED], 0, FAILED, "'Failed'", "AE title US"),
        ({}, [answered(), answered()], 0, FAILED, "no series of 2 studies", "vendor"),
        (SERIES_OF_TWO, [studies(["1.2"])], 4, WARNING, "4 answers were of other studies", "discarded"),
        (SERIES_OF_TWO, [studies(["1.2"]), REFUSED], 0, WARNING, "for another study: C-FIND ended", "log"),
        # Cut off by us, since far more came than was asked for: those behind it were never asked.
        (SERIES_OF_TWO, [FULL, LOST], 0, OK, "3 series", ""),
        (SERIES_OF_TWO, [studies(["1.2"]), LOST], 0, WARNING, "the association ended", "log"),
    ],
)
def test_a_study_whose_series_failed_is_told(series, results, strangers, *, outcome, seen, remedy) -> None:
    assert says(judge_series(Found(series=series), results, strangers, "US"), outcome, seen, remedy)


TWO_SAMPLES = (sample("1.2", "1", 3), sample("1.2", "2", 2))


@pytest.mark.parametrize(
    ("samples", "results", "strangers", "outcome", "seen", "remedy"),
    [
        (TWO_SAMPLES, [answered({"SOPInstanceUID": "1"})], 0, OK, "5 instances of 2 series", ""),
        ((), [answered()], 0, FAILED, "no instance of any series", "IMAGE-level"),
        ((), [answered(), REFUSED], 0, FAILED, "'Failed'", "IMAGE-level"),
        (TWO_SAMPLES, [answered({})], 7, WARNING, "7 answers were of other series", "discarded"),
        ((sample("1.2", "1", 2),), [answered({})], 0, WARNING, "of 1 series another number", "nothing to do"),
        (
            (sample("1.2", "2", 9),),
            [answered({})],
            0,
            OK,
            "9 instances of 1 series",
            "",
        ),  # none was announced
    ],
)
def test_numbers_that_contradict_each_other_are_told(
    samples, results, strangers, *, outcome, seen, remedy
) -> None:
    assert says(
        judge_images(Found(series=SERIES_OF_TWO, samples=samples), results, strangers), outcome, seen, remedy
    )


def test_a_column_that_the_pacs_does_not_return_is_named_and_no_other() -> None:
    every = dict.fromkeys([*INFO_COLUMNS, "NumberOfSeriesRelatedInstances"], True)
    assert says(judge_keys({"SERIES": every}), OK, "every column", "")
    # Returned at one level is returned.
    assert judge_keys({"STUDY": dict.fromkeys(every, False), "SERIES": every}).outcome is OK
    without = judge_keys({"SERIES": {**every, "ProtocolName": False}})
    assert says(without, WARNING, "does not return ProtocolName", "--save")
    assert without.seen.endswith("return ProtocolName")
    uncounted = judge_keys({"SERIES": {**every, "NumberOfSeriesRelatedInstances": False}})
    assert says(uncounted, WARNING, "does not return NumberOfSeriesRelatedInstances", "nothing to do")
    assert "nor NumberOfSeriesRelatedInstances" in judge_keys({}).seen


# --- why nothing came ------------------------------------------------------------------------------------------------

CONFIG = PacsConfig("pacs", 104, "PACS", "US", "US", 11113, 2, 0)
NOTHING = Delivery(frozenset(), 0, MoveState(0, 0xA702, "Refused"), 0.1)


@pytest.mark.parametrize(
    ("changes", "seen", "remedy"),
    [
        ({"end": None, "said": "silent"}, "silent", "log of the PACS"),
        ({"end": None, "said": "rejected", "remedy": "check AET"}, "rejected", "check AET"),
        (
            {"end": MoveState(0, 0xA801, "Refused")},
            "does not know the AE title US (0xA801)",
            "declare the AE title US",
        ),
        # What the PACS says of the destination goes before what it tried.
        ({"end": MoveState(0, 0xA801, "Refused"), "contacted": True}, "does not know", "port 11113"),
        (
            {"refused_classes": ("1.2.3",), "contacted": True},
            "Refused (0xA702); the PACS offered",
            "UID: 1.2.3",
        ),
        ({"contacted": True}, "Refused (0xA702); the PACS called, but sent nothing", "log of the PACS"),
        ({"end": SUCCESS}, "says that it sent what was asked", "stands for another machine"),
        ({"end": SUCCESS, "contacted": True}, "status (0x0000); the PACS called", "log of the PACS"),
        ({}, "Refused (0xA702); the PACS never called this machine", "address (192.0.2.1) and port 11113"),
    ],
)
def test_where_nothing_comes_the_side_that_must_act_is_told(changes, seen, remedy) -> None:
    assert says(not_reached(replace(NOTHING, **changes), CONFIG, "192.0.2.1"), FAILED, seen, remedy)


# --- by C-GET, and which way to go -----------------------------------------------------------------------------------

REFUSED_GET = MoveState(0, 0xC000, "Failed: UnableToProcess")
SUBS_FAILED = MoveState(0, 0xA702, "Refused", failed=1)


@pytest.mark.parametrize(
    ("syntax", "changes", "outcome", "seen", "remedy", "got"),
    [
        ("", {"came": WHOLE, "end": SUCCESS}, OK, "2 instances came", "", Got(True, True)),
        ("", {"came": WHOLE, "others": 3, "end": SUCCESS}, OK, "2 instances came", "", Got(True, True)),
        (
            "",
            {"unadmitted": True, "end": None, "said": "no context"},
            WARNING,
            "no context",
            "get and auto need it: ask the PACS administrator to allow C-GET to US",
            Got(False, False),
        ),
        (
            "",
            {"unadmitted": True, "temporary": True, "end": None, "said": "busy"},
            WARNING,
            "busy",
            "log of the PACS",
            Got(None, None),
        ),
        ("", {"end": REFUSED_GET}, WARNING, "0xC000", "allow C-GET to US", Got(False, True)),
        ("", {"end": None, "said": "cut off"}, WARNING, "cut off", "allow C-GET to US", Got(None, True)),
        ("", {"end": SUCCESS}, WARNING, "0 of 2 instances", "allow C-GET to US", Got(False, True)),
        ("", {"end": SUBS_FAILED}, WARNING, "0xA702", "may be held compressed", Got(None, True)),
        ("1.2", {"end": SUBS_FAILED}, WARNING, "0xA702", "it: ask the PACS", Got(None, True)),
    ],
)
def test_c_get_is_never_a_failure_and_never_believed_without_an_image(
    syntax, changes, outcome, *, seen, remedy, got
) -> None:
    trial = Trial(MoveRequest(("A",), ("1", "2")), WHOLE, syntax)
    probe, found = judge_get(trial, replace(NOTHING, **changes), "US")
    assert says(probe, outcome, seen, remedy)
    assert found == got


CONSENT, NO_TOOL, NOT_THERE = Untried("give --yes"), Untried("no tool", False), Untried("no PACS", False)
OFFERED, NO_GET, CAME = Got(None, True), Got(False, False), Got(True, True)


@pytest.mark.parametrize(
    ("moved", "got", "no_move", "no_get", "method", "reason"),
    [
        (True, CAME, Untried(), Untried(), "move", "C-GET works too"),
        (True, NO_GET, Untried(), Untried(), "move", "C-GET does not work"),
        (True, Got(), Untried(), NO_TOOL, "move", "C-GET was not tried"),
        (False, CAME, Untried(), Untried(), "get", "C-MOVE brought nothing"),
        (None, CAME, Untried("the own port is taken"), Untried(), "get", "not tried (the own port is taken)"),
        (None, CAME, NO_TOOL, Untried(), "get", "not tried (no tool)"),
        (False, NO_GET, Untried(), Untried(), None, "C-GET does not work"),
        (False, OFFERED, Untried(), Untried(), None, "C-GET brought nothing; what to do stands above"),
        (None, OFFERED, CONSENT, CONSENT, "auto", "give --yes; auto tries"),
        (None, Got(), CONSENT, CONSENT, "auto", "give --yes; auto tries"),
        (None, NO_GET, CONSENT, CONSENT, "move", "does not work; C-MOVE was not tried (give --yes)"),
        (None, Got(), CONSENT, NO_TOOL, "move", "C-GET was not tried"),
        (None, OFFERED, NO_TOOL, CONSENT, "get", "offers C-GET; C-MOVE was not tried (no tool)"),
        (None, NO_GET, NO_TOOL, CONSENT, None, "no tool"),
        (None, Got(), NOT_THERE, NOT_THERE, None, "no PACS"),
    ],
)
def test_the_way_that_is_recommended_is_one_that_was_seen_to_work_or_may(
    moved, got, no_move, no_get, *, method, reason
) -> None:
    found, words = recommended(moved, got, no_move, no_get)
    assert found == method
    assert reason in words


# --- this side -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "tools", "barrier"),
    [
        (Way(frozenset()), ("findscu",), None),
        (Way(frozenset({"movescu"})), ("findscu",), None),
        (Way(frozenset({"movescu"})), (), None),
        (Way(frozenset({"movescu", "storescp"})), ("movescu", "storescp"), "movescu cannot be used"),
        (Way(frozenset({"storescp"})), ("movescu", "storescp"), "storescp cannot be used"),
        (Way(frozenset({"findscu"}), "there is no association"), ("findscu",), "there is no association"),
        (Way(frozenset(), "there is no association"), (), "there is no association"),
    ],
)
def test_a_probe_that_is_not_tried_says_what_stands_in_its_way(way, tools, barrier) -> None:
    assert way.barrier_for(*tools) == barrier


@pytest.mark.parametrize(
    ("number", "seen", "remedy"),
    [
        (
            errno.EADDRINUSE,
            "another program on this machine uses it",
            "end that program, or use another port",
        ),
        (errno.EACCES, "ports below 1024 need more rights", "use another port; another move_port must be"),
        (
            errno.EADDRNOTAVAIL,
            "Cannot assign requested address",
            "use another port; another move_port must be",
        ),
    ],
)
def test_a_port_that_cannot_be_used_has_the_remedy_of_its_reason(number, seen, remedy, monkeypatch) -> None:
    """Where rights are missing there is no program to end."""

    class Refusing:
        def __enter__(self) -> Refusing:
            return self

        def __exit__(self, *_: object) -> None: ...

        def setsockopt(self, *_: object) -> None: ...

        def bind(self, _: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    probe = try_port(104)
    assert says(probe, FAILED, seen, remedy)
    assert "end that" not in probe.remedy or number == errno.EADDRINUSE


OPEN, SHUT = True, False


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "outcome", "seen", "remedy"),
    [
        (OPEN, None, OK, "seen from 127.0.0.1", ""),
        (OPEN, OPEN, OK, "seen from 127.0.0.1", ""),
        (OPEN, SHUT, OK, "seen from 127.0.0.1", ""),
        (SHUT, None, FAILED, "refused: nothing listens there", "check port"),
        (SHUT, SHUT, FAILED, "refused: nothing listens there", "check port"),
        (
            SHUT,
            OPEN,
            FAILED,
            "at 127.0.0.1, but it is open at ::1",
            "have the PACS listen at an IPv4 address",
        ),
        (None, SHUT, FAILED, "port ", "DCMTK 3.6.7 knows IPv4 only: write an IPv4 address"),
        (None, OPEN, OK, "seen from ::1", ""),
    ],
)
def test_a_pacs_is_reached_as_dcmtk_reaches_it(ipv4, ipv6, outcome, *, seen, remedy, monkeypatch) -> None:
    """A name with both kinds of addresses must not pass over IPv6, nor be called down where only IPv4 is."""
    with contextlib.ExitStack() as stack:
        probe_v4 = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = probe_v4.getsockname()[1]
        if ipv6 is OPEN:
            try:
                stack.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
            except OSError:
                pytest.skip("this machine has no IPv6")
        if ipv4 is not OPEN:
            probe_v4.close()
        entries = [(socket.AF_INET6, 1, 6, "", ("::1", port, 0, 0))] if ipv6 is not None else []
        entries += [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))] if ipv4 is not None else []
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **b: entries if host == "pacs" else real(host, *a, **b)
        )
        access: Any = SimpleNamespace(
            pacs=SimpleNamespace(config=replace(CONFIG, port=port)), timeouts=DEFAULT_TIMEOUTS
        )
        name, way = try_name(access, Way(frozenset()))
        probe, way = try_tcp(access, way)
    assert says(probe, outcome, seen, remedy)
    assert (way.barrier is None) is (outcome is OK)
    assert (name.outcome, "IPv4" in name.remedy) == ((WARNING, True) if ipv4 is None else (OK, False))


@pytest.mark.parametrize(
    ("admitted", "outcome", "seen"),
    [
        (None, WARNING, "not known"),
        (4, OK, "4 or more; runs use 2"),
        (1, OK, "1, no more; runs begin with one"),
    ],
)
def test_the_number_of_associations_is_told_as_what_it_means_for_runs(admitted, outcome, seen) -> None:
    probe = judge_associations(admitted)
    assert (probe.outcome, probe.seen.startswith(seen)) == (outcome, True)


@pytest.mark.parametrize(("name", "outcome"), [("findscu", FAILED), ("dcmmkdir", WARNING)])
def test_what_a_broken_tool_says_is_told_whole(tmp_path: Path, name: str, outcome: Outcome) -> None:
    """It may hold what else parts the problem from the remedy."""
    tool = tmp_path / name
    tool.write_text("#!/bin/sh\necho 'libdcmnet.so: not found; version 17 is needed'\nexit 127\n")
    tool.chmod(0o755)
    with Toolbox(tmp_path) as toolbox:
        probe = try_tool(toolbox, name)
    assert says(
        probe, outcome, "not found; version 17 is needed", "name the folder of another with --dcmtk_dir"
    )
    assert "version" not in probe.remedy
    assert probe.seen.endswith("is needed")


def test_each_thing_is_told_before_the_next_is_tried(tmp_path: Path) -> None:
    """A check takes minutes where a PACS is silent: nobody waits for its end to read of the first fault."""
    with Toolbox(tmp_path) as toolbox:
        site = Site(tmp_path / "no.json", tmp_path / "out", DEFAULT_TIMEOUTS, 0)
        route = check(site, toolbox, lambda _: False)
        assert next(route).name == "config"
        tool = tmp_path / "findscu"
        tool.write_text("#!/bin/sh\necho '$dcmtk: findscu v3.6.7 2022-04-22 $'\n")
        tool.chmod(0o755)
        outcomes = {probe.name: probe.outcome for probe in route}
    assert outcomes["DCMTK findscu"] is OK
    assert outcomes["DCMTK movescu"] is FAILED
    assert outcomes["C-FIND, STUDY level"] is outcomes["own port"] is Outcome.SKIPPED
    assert outcomes["write rights"] is OK
