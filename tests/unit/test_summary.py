"""What a person is told at the end of a run: nothing that sounds better or worse than it is, and what to do next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pacsifier.cli.retrieve import build_parser
from pacsifier.cli.summary import plan_lines, redo_lines, summary_lines
from pacsifier.transfer.model import Status
from pacsifier.transfer.record.summary import Summary

ASKED = ["--config", "config.json", "--queryfile", "query.csv", "--out_directory", "/out/my data"]
REDO = Path("/out/my data/logs/redo.csv")


def told(summary: Summary, *options: str) -> str:
    given = [*options, *ASKED]
    return "\n".join(summary_lines(summary, build_parser().parse_args(given), given))


def saved(status: Status, outcome: str, *, redo: Path | None = None) -> Summary:
    return Summary(1, Counter({outcome: 1}), Counter({status: 1}), 12, 6_300_000, seconds=2.0, redo=redo)


def test_a_complete_run_tells_figures_for_people_where_it_lies_and_what_follows() -> None:
    assert told(saved(Status.COMPLETE, "complete"), "--save").splitlines() == [
        "rows: 1 (1 complete)",
        "series: 1 found (1 complete)",
        "instances: 12 in place; 6.30 MB received in 2.0 s (3.15 MB/s)",
        "in /out/my data: one row per series in logs/pacsifier_log.csv",
        "next: pacsifier-anonymize --in_folder '/out/my data' --out_folder '/out/my data_anonymized'",
    ]


def test_what_is_left_open_is_gone_on_with_by_the_same_command() -> None:
    end = told(saved(Status.INCOMPLETE, "incomplete", redo=REDO), "--save")
    assert f"not complete: 1 row to run again, with the reasons, in {REDO}" in end
    assert "next: pacsifier --save --config config.json --queryfile query.csv" in end
    assert end.endswith("--resume")


def test_a_resumed_run_is_not_told_to_resume_twice() -> None:
    end = told(saved(Status.INCOMPLETE, "incomplete", redo=REDO), "--save", "--resume")
    assert end.count("--resume") == 1


@pytest.mark.parametrize(
    ("outcomes", "lines"),
    [
        ({"not_found": 1}, ["1 row matched nothing: check the values, see R"]),
        ({"failed": 2}, ["not complete: 2 rows to run again, with the reasons, in R"]),
        (
            {"incomplete": 1, "not_found": 2, "complete": 5},
            [
                "not complete: 1 row to run again, with the reasons, in R",
                "2 rows matched nothing: check the values, there, too",
            ],
        ),
        ({"left_out": 1}, ["1 row left out in part by --limit, see R"]),
    ],
)
def test_a_row_that_matched_nothing_is_not_called_one_to_run_again(
    outcomes: dict[str, int], lines: list[str]
) -> None:
    assert list(redo_lines(outcomes, Path("R"))) == lines


def test_where_nothing_is_left_nothing_is_told_of_the_redo_table() -> None:
    assert list(redo_lines({"complete": 3}, None)) == []


def test_nobody_is_sent_on_where_nothing_was_found() -> None:
    summary = Summary(1, Counter(not_found=1), redo=REDO, seconds=0.2)
    end = told(summary, "--save")
    assert "next:" not in end
    assert "instances: 0 in place; 0 bytes received in 0.2 s" in end


def test_who_has_looked_is_told_how_to_fetch() -> None:
    summary = Summary(1, Counter(listed=1), Counter({Status.LISTED: 3}))
    assert told(summary, "--info").splitlines()[-1].endswith("--save")


@pytest.mark.parametrize("limit", [["--limit", "2"], ["--limit=2"], ["--lim", "2"]])
def test_what_a_limit_left_out_is_fetched_by_the_next_command(limit: list[str]) -> None:
    series = Counter({Status.COMPLETE: 2, Status.LEFT_OUT: 5})
    end = told(Summary(1, Counter(left_out=1), series, redo=REDO), "--save", *limit)
    assert "--lim" not in end.splitlines()[-1]
    assert end.splitlines()[-1].endswith("--resume")


def test_a_limit_that_was_not_reached_stays_for_the_next_command() -> None:
    series = Counter({Status.FAILED: 2, Status.LEFT_OUT: 5})
    end = told(Summary(1, Counter(failed=1), series, redo=REDO), "--save", "--limit", "2")
    assert "--limit 2" in end.splitlines()[-1]


def test_what_went_elsewhere_is_not_told_as_received_here() -> None:
    end = told(Summary(1, Counter(complete=1), Counter({Status.COMPLETE: 1}), 12, seconds=75), "--move")
    assert "instances: 12 moved; 1 min 15 s" in end
    assert "next:" not in end


def test_a_dry_run_ends_with_the_command_that_does_it() -> None:
    given = ["--save", "--dry_run", *ASKED]
    lines = list(plan_lines(Summary(2, series=Counter({Status.LISTED: 3})), given))
    assert lines[0] == "rows: 2; series: 3; nothing was fetched or written (--dry_run)"
    assert lines[1].startswith("next: pacsifier --save --config")
    assert "--dry_run" not in lines[1]
