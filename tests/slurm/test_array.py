"""A query in parts on a real Slurm: what is killed, requeued or cut by its time limit goes on, and nothing is lost.

The story is told once (`story`), for it takes Slurm a minute to look at a time limit; the tests say what came of it.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from pacs.servers import Server

from slurm.cluster import Slurm
from slurm.work import (
    COMMAND,
    LIMIT_MIN,
    PARTS,
    PATIENTS,
    Work,
    assert_same_tables,
    processes_of,
    tree,
)

KILLED, REQUEUED, LIMITED = "1", "2", "3"


@dataclass
class Story:
    """What came of it: the states of the tasks the first time, the second submission, the run of one machine."""

    work: Work
    one: Path
    first_states: dict[str, str]
    first_merge: str
    first_tables: dict[str, list[dict[str, str]]]
    first_table_of_states: str
    second: dict[str, str]
    second_states: dict[str, str]


@pytest.fixture(scope="module")
def story(tmp_path_factory, slurm: Slurm, archive: Server, seats, one: Path) -> Story:
    work = Work(tmp_path_factory.mktemp("cluster"), archive, seats)
    # After its first series each part pauses longer than any patience: there it is met by what ends it.
    work.write_inputs(batch_size=1, batch_wait_time=3600)
    first = work.submit(slurm)
    slurm.until(
        lambda: all(map(work.has_begun, (KILLED, REQUEUED, LIMITED))), "a series of each of the first parts"
    )
    work.go_fast()
    (process,) = processes_of(work.part(KILLED))
    os.kill(process, signal.SIGKILL)
    slurm.run("scontrol", "requeue", f"{first['retrieve']}_{REQUEUED}")
    meet_the_limit(slurm, work, f"{first['retrieve']}_{LIMITED}")
    first_states = slurm.await_end(first["retrieve"])
    (first_merge,) = slurm.await_end(first["merge"]).values()
    tables = {name: work.table(name) for name in ("pacsifier_log.csv", "query_rows.csv", "redo.csv")}
    shown = slurm.run(*COMMAND, "states", work.out)
    work.write_inputs()
    second = dict(work.submit(slurm))
    second_states = slurm.await_end(second["retrieve"]) | slurm.await_end(second["merge"])
    return Story(work, one, first_states, first_merge, tables, shown, second, second_states)


def meet_the_limit(slurm: Slurm, work: Work, task: str) -> None:
    """Lower the limit of a task so that it is told soon, and lift it again once it is back in the queue."""
    array, _, number = task.partition("_")
    (job,) = (each for each in slurm.jobs(array) if each.get("ArrayTaskId") == number)
    hours, minutes, seconds = map(int, job["RunTime"].split(":"))
    # Whole minutes, of which 50 s at least are left: Slurm looks every 30 s.
    limit_min = hours * 60 + minutes + (seconds + 50) // 60 + 1
    slurm.run("scontrol", "update", f"JobId={task}", f"TimeLimit={limit_min}")
    slurm.until(lambda: work.state(LIMITED)[0] == "again", "part 3 meets its limit")
    slurm.run("scontrol", "update", f"JobId={task}", f"TimeLimit={LIMIT_MIN}")


def test_a_part_that_was_killed_fails_alone(story: Story):
    assert story.first_states == {
        str(number): "FAILED" if str(number) == KILLED else "COMPLETED" for number in range(1, PARTS + 1)
    }


def test_parts_that_were_requeued_or_hit_their_limit_went_on_by_themselves(story: Story):
    jobs = story.work.out / "slurm"
    for number in (REQUEUED, LIMITED):
        assert story.work.state(number)[:3] == ["complete", "0", "1"]
    assert "ended by SIGTERM; --resume goes on from here" in (jobs / f"part-{LIMITED}.log").read_text()
    assert [run["ended"] for run in story.work.runs(LIMITED)] == ["interrupted", "ended"]


def test_the_merge_runs_though_a_part_failed_and_names_what_is_missing(story: Story):
    assert story.first_merge == "FAILED"
    open_rows = {row["row"] for row in story.first_tables["query_rows.csv"] if row["outcome"] != "complete"}
    open_series = {
        row["query_rows"] for row in story.first_tables["pacsifier_log.csv"] if row["Completed"] != "True"
    }
    assert open_series
    assert open_rows == {row for rows in open_series for row in rows.split()}
    assert len(story.first_tables["redo.csv"]) == len(open_rows)
    killed = {folder.name.removeprefix("sub-") for folder in story.work.part(KILLED).glob("sub-*")}
    assert {
        row["PatientID"] for row in story.first_tables["pacsifier_log.csv"] if row["Completed"] != "True"
    } <= killed


def test_the_table_of_states_shows_the_part_that_was_killed(story: Story):
    lines = [line.split() for line in story.first_table_of_states.splitlines()]
    states = {line[1]: line[2] for line in lines if line and line[0] == "part" and line[1].isdigit()}
    assert states == {
        str(number): "killed" if str(number) == KILLED else "complete" for number in range(1, PARTS + 1)
    }
    assert any(line[:1] == ["retrieve"] and len(line) == 3 for line in lines)


def test_the_table_of_states_shows_how_far_each_part_is_and_what_the_merge_found(story: Story):
    """As the tasks' events tell it, of the killed one, too, which never said its last word."""
    shown = story.first_table_of_states.splitlines()
    parts = [line.split() for line in shown if line.startswith("part ") and line.split()[1].isdigit()]
    shares = {line[1]: tuple(map(int, line[7].split("/"))) for line in parts}
    assert all(done == total > 0 for number, (done, total) in shares.items() if number != KILLED)
    assert shares[KILLED][0] < shares[KILLED][1]
    (merge,) = (line for line in shown if line.startswith("merge "))
    counts = Counter(row["outcome"] for row in story.first_tables["query_rows.csv"])
    assert dict(reversed(each.split()) for each in merge.partition("rows: ")[2].split(", ")) == {
        outcome: str(number) for outcome, number in counts.items()
    }


def test_what_the_tasks_told_names_nobody(story: Story):
    told = [path.read_text() for path in (story.work.out / "slurm").glob("*.events")]
    assert len(told) > PARTS
    assert not [text for text in told if "BENCH" in text]


def test_submitting_again_takes_only_the_part_that_is_open(story: Story):
    states = dict(story.second_states)
    assert states.pop(story.second["merge"]) == "COMPLETED"
    assert states == {KILLED: "COMPLETED"}


def test_the_images_are_byte_for_byte_those_of_one_run(story: Story):
    images = tree(story.one)
    assert sum("/MR." in path for path in images) == PATIENTS * 4
    assert tree(story.work.out) == images


def test_a_patient_lies_in_one_part(story: Story):
    homes = [folder.name for folder in story.work.out.glob("parts/*/sub-*")]
    assert len(homes) == len(set(homes)) == PATIENTS


def test_the_tables_are_those_of_one_run(story: Story):
    assert_same_tables(story.work.out, story.one)


def test_nothing_of_the_runs_is_left(story: Story):
    assert not list(story.work.out.rglob(".pacsifier"))
    assert not processes_of(story.work.part(KILLED))
    logs = "".join(path.read_text() for path in (story.work.out / "slurm").glob("*.log"))
    assert "BENCH" not in logs, "a PatientID is not for the console"
    assert "Traceback" not in logs


# --- what is refused ---------------------------------------------------------------------------------------------


def refused(slurm: Slurm, *arguments: object) -> str:
    ended = subprocess.run(
        [*COMMAND, "submit", *map(str, arguments)],
        env=slurm.environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert " job " not in ended.stdout
    return ended.stderr


def test_another_query_or_number_of_parts_is_refused_in_a_folder_that_was_begun(
    story: Story, slurm: Slurm, tmp_path
):
    """Else patients would lie in parts that no longer ask for them."""
    folder, out = story.work.folder, story.work.out
    options = ("--config", folder / "config.json", "--out_directory", out)
    other = tmp_path / "other.csv"
    other.write_text("PatientID\n1\n")
    assert "another query" in refused(slurm, *options, "--queryfile", other, "--parts", PARTS, "--", "--save")
    same = ("--queryfile", folder / "query.csv")
    assert "8 parts" in refused(slurm, *options, *same, "--parts", 4, "--", "--save")
    assert "--seats" in refused(slurm, *options, *same, "--parts", PARTS, "--at_a_time", 2, "--", "--save")


def test_two_tasks_hold_two_licences_and_are_not_submitted_twice(
    slurm: Slurm, archive: Server, seats, tmp_path
):
    work = Work(tmp_path / "licences", archive, seats)
    work.write_inputs(batch_size=1, batch_wait_time=3600)
    ids = work.submit(slurm, "--licenses", "pacs:1", "--requeues", 1)
    slurm.until(lambda: list(slurm.states(ids["retrieve"]).values()).count("RUNNING") == 2, "two tasks run")
    slurm.until(lambda: sum(map(work.has_begun, map(str, range(1, PARTS + 1)))) == 2, "a series of two parts")
    assert "Used=2" in slurm.run("scontrol", "show", "licenses")
    with pytest.raises(AssertionError, match="still in the queue"):
        work.submit(slurm)
    slurm.run("scancel", ids["retrieve"])
    states = slurm.await_end(ids["retrieve"], ids["merge"])
    assert states.pop(ids["merge"]) == "FAILED", "it runs all the same, and says what is open"
    assert set(states.values()) == {"CANCELLED"}
    for number in ("1", "2"):
        assert work.state(number)[:3] == ["interrupted", "143", "0"]
    assert not list(work.out.rglob(".pacsifier"))
    # A series that was just on its way when Slurm ended everything is failed, the others are pending.
    assert {row["outcome"] for row in work.table("query_rows.csv")} <= {"pending", "failed"}


# --- anonymizing by patient --------------------------------------------------------------------------------------


def test_all_parts_are_anonymized_with_one_key_and_reported_as_one(story: Story, slurm: Slurm):
    work, out = story.work, story.work.folder / "anonymized"
    ids = work.submit(slurm, "--anonymize", out, "--anonymize_at_a_time", 2)
    assert "retrieve" not in ids, "every part is complete"
    states = slurm.await_end(ids["merge"], ids["anonymize"], ids["merge-reports"])
    assert set(states.values()) == {"COMPLETED"}, (work.out / "slurm" / "anonymize-1.log").read_text()
    new_ids = [folder.name for folder in out.glob("sub-*")]
    assert len(new_ids) == PATIENTS
    assert all((out / name).is_symlink() for name in new_ids)
    assert len(list(out.glob("part-*/sub-*/**/*.dcm"))) == PATIENTS * 4
    key = json.loads((work.folder / "anonymized.key" / "key.json").read_text())
    assert {f"sub-{new_id}" for new_id in key["pseudonyms"].values()} == set(new_ids)
    with (work.folder / "anonymized.key" / "deidentification_report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["status"] == "written" for row in rows) == PATIENTS * 4
