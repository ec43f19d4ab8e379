"""Two nodes: each task takes a seat of its own node; what a preemption or a lost node ends goes on elsewhere.

Both nodes are this machine, so a file system between them is not tried here. The story is told once (`story`).
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from pacs.servers import Server

from slurm.cluster import NODES, PATIENCE_S, Slurm, end_family, parent
from slurm.work import PARTS, PATIENTS, Work, assert_same_tables, processes_of, tree

# Which seat is on which node, and what happens to the parts that run there: Slurm fills the first node first.
SEATS_OF = {"SEAT1": NODES[0], "SEAT2": NODES[0], "SEAT3": NODES[1], "SEAT4": NODES[1]}
GONE, CUT_OFF, PREEMPTED = "1", "2", ("3", "4")


@dataclass
class Story:
    """What came of it: where the parts were at first, the states of the tasks at the end, the run of one machine."""

    work: Work
    one: Path
    seats: dict[str, tuple[str, str]]
    """Of each part that ran first its node and the AE title of its seat."""
    state_when_superseded: list[str]
    states: dict[str, str]
    merge: str


@pytest.fixture(scope="module")
def story(tmp_path_factory, slurm: Slurm, archive: Server, seats, one: Path) -> Story:
    work = Work(tmp_path_factory.mktemp("nodes"), archive, seats, SEATS_OF)
    # After its first series each part pauses longer than any patience: there it is met by what ends it.
    work.write_inputs(batch_size=1, batch_wait_time=3600)
    ids = work.submit(slurm, at_a_time=len(SEATS_OF))
    first = (GONE, CUT_OFF, *PREEMPTED)
    slurm.until(lambda: all(map(work.has_begun, first)), "a series of each of the first parts")
    placed = {part: (work.state(part)[3], seat_of(work, part)) for part in first}
    work.go_fast()
    preempt(slurm, NODES[1])
    (unseen,) = processes_of(work.part(CUT_OFF))
    task = parent(unseen)
    lose_a_node(slurm, work)
    # It runs elsewhere now, and finds its folder held by the one that Slurm lost sight of.
    slurm.until(lambda: "HeldError" in events(work, CUT_OFF), "part 2 finds its folder held")
    os.kill(unseen, signal.SIGTERM)
    slurm.until(lambda: not Path(f"/proc/{task}").exists(), "the end of the unseen task")
    superseded = work.state(CUT_OFF)
    slurm.start_node(NODES[0])
    slurm.run("scontrol", "update", f"NodeName={NODES[0]}", "State=RESUME")
    states = slurm.await_end(ids["retrieve"])
    (merge,) = slurm.await_end(ids["merge"]).values()
    return Story(work, one, placed, superseded, states, merge)


def seat_of(work: Work, part: str) -> str:
    """The AE title that the run of a part was started with."""
    (process,) = processes_of(work.part(part))
    words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    config = json.loads(Path(words[words.index("--config") + 1]).read_text())
    return str(config["AET"])


def events(work: Work, part: str) -> str:
    path = work.out / "slurm" / f"part-{part}.events"
    return path.read_text() if path.exists() else ""


def preempt(slurm: Slurm, node: str) -> None:
    """Let a job of the urgent partition have a whole node, and end."""
    told = slurm.run(
        *("sbatch", "--parsable", "--partition=urgent", "--exclusive", f"--nodelist={node}"),
        *("--output=/dev/null", "--wrap=true"),
    )
    assert slurm.await_end(told.strip()) == {told.strip(): "COMPLETED"}


def lose_a_node(slurm: Slurm, work: Work) -> None:
    """The first node is lost to Slurm: one part there dies with all its processes, the other one goes on unseen."""
    (process,) = processes_of(work.part(GONE))
    slurm.cut_off(NODES[0])
    end_family(step_above(process))
    slurm.until(lambda: not processes_of(work.part(GONE)), "the death of part 1")
    slurm.lose(NODES[0])
    slurm.until(
        lambda: all(work.state(part)[2:4] == ["1", NODES[1]] for part in (GONE, CUT_OFF)),
        "parts 1 and 2 on the other node, after those that run there",
        PATIENCE_S * 3,
    )


def step_above(process: int) -> int:
    """The slurmstepd that a process of a task descends from."""
    while "slurmstepd" not in Path(f"/proc/{process}/comm").read_text():
        process = parent(process)
        assert process > 1
    return process


def test_a_task_takes_a_seat_of_its_own_node(story: Story):
    assert {part: node for part, (node, _) in story.seats.items()} == {
        **dict.fromkeys((GONE, CUT_OFF), NODES[0]),
        **dict.fromkeys(PREEMPTED, NODES[1]),
    }
    assert all(SEATS_OF[seat] == node for node, seat in story.seats.values())
    assert len({seat for _, seat in story.seats.values()}) == len(SEATS_OF)
    for number in map(str, range(1, PARTS + 1)):
        last = story.work.runs(number)[-1]
        assert SEATS_OF[last["config"]["aet"]] == story.work.state(number)[3]


def test_every_part_is_complete_and_merged(story: Story):
    assert story.states == {str(number): "COMPLETED" for number in range(1, PARTS + 1)}
    assert story.merge == "COMPLETED"


def test_a_preempted_part_ended_in_order_and_went_on(story: Story):
    for part in PREEMPTED:
        assert story.work.state(part)[:3] == ["complete", "0", "1"]
        assert [run["ended"] for run in story.work.runs(part)] == ["interrupted", "ended"]


def test_a_part_that_died_with_its_node_went_on_on_the_other(story: Story):
    assert story.work.state(GONE)[:4] == ["complete", "0", "1", NODES[1]]
    assert [run["ended"] for run in story.work.runs(GONE)] == ["ended"]


def test_a_part_that_slurm_lost_sight_of_is_not_fetched_by_two_runs_at_a_time(story: Story):
    """The second one waits; what the first one says when it ends at last is not taken for the second one's word."""
    assert story.work.state(CUT_OFF)[:4] == ["complete", "0", "1", NODES[1]]
    assert story.state_when_superseded[:4] == ["running", "-", "1", NODES[1]]
    assert [run["ended"] for run in story.work.runs(CUT_OFF)] == ["interrupted", "ended"]


def test_nothing_is_lost_and_nothing_is_there_twice(story: Story):
    images = tree(story.one)
    assert sum("/MR." in path for path in images) == PATIENTS * 4
    assert tree(story.work.out) == images
    homes = [folder.name for folder in story.work.out.glob("parts/*/sub-*")]
    assert len(homes) == len(set(homes)) == PATIENTS
    assert_same_tables(story.work.out, story.one)
    assert not list(story.work.out.rglob(".pacsifier"))


def test_nothing_runs_any_more(story: Story):
    assert not [each for part in range(1, PARTS + 1) for each in processes_of(story.work.part(str(part)))]
