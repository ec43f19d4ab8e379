"""A query in parts, submitted to a Slurm: its files, its folder, and what one machine would have made of it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacs.servers import Server

from slurm.cluster import Slurm, parent, processes_with

COMMAND = (sys.executable, "-m", "pacsifier.cli.slurm")
COMMANDS = {
    "pacsifier": (sys.executable, "-m", "pacsifier.cli.retrieve"),
    "pacsifier-anonymize": (sys.executable, "-m", "pacsifier.cli.anonymize"),
    "pacsifier-merge-parts": (sys.executable, "-m", "pacsifier.cli.merge_parts"),
}
PARTS, PATIENTS = 8, 24
LIMIT_MIN = 20
SEATS = ("SEAT1", "SEAT2", "SEAT3", "SEAT4")
# Columns that tell how long something took.
CLOCKS = ("Seconds",)


@dataclass
class Work:
    """The folder of a submission and its files."""

    folder: Path
    server: Server
    seats: dict[str, tuple[str, int]]
    # On which node a seat is; those that are not named are on any.
    nodes: Mapping[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def part(self, number: str) -> Path:
        return self.out / "parts" / number

    def write_inputs(self, **config: object) -> None:
        self.folder.mkdir(exist_ok=True)
        self.server.write_config(self.folder / "config.json", **config)
        lines = [f"{self.nodes.get(aet, '*')} {aet} {self.seats[aet][1]}\n" for aet in SEATS]
        (self.folder / "seats").write_text("".join(["# node AET port\n", *lines]))
        names = [f"BENCH{number:05d},,\n" for number in range(1, PATIENTS + 1, 2)]
        query = ["PatientID,StudyDate,StudyDescription\n", *names, "BENCH0000?,,\n", ",19000101-,\n"]
        (self.folder / "query.csv").write_text("".join(query))

    def submit(self, slurm: Slurm, *options: object, at_a_time: int = 3) -> dict[str, str]:
        """Submit, and return the ids that were printed by what the jobs do.

        The time limit is one that no test meets unless it lowers it; a task is told 55 s before it.
        """
        slurm.jobs_folder = self.out / "slurm"
        files = ("--config", self.folder / "config.json", "--queryfile", self.folder / "query.csv")
        told = slurm.run(
            *(*COMMAND, "submit", *files, "--seats", self.folder / "seats"),
            *("--out_directory", self.out, "--parts", PARTS, "--at_a_time", at_a_time),
            *("--time", LIMIT_MIN, "--sbatch=--signal=B:USR1@55", *options),
            *("--", "--save", "--info", "--associations", 1),
        )
        return submitted(told)

    def go_fast(self) -> None:
        """Take the pauses out of the configs of tasks that start from now on."""
        for path in (self.out / "slurm" / "seats").glob("*.json"):
            config = json.loads(path.read_text()) | {"batch_size": 30, "batch_wait_time": 0}
            new = path.with_suffix(".new")
            new.write_text(json.dumps(config))
            new.rename(path)

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.out / "logs" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def state(self, number: str) -> list[str]:
        """What a task has written down: its state, exit status, requeues, node, time and job."""
        path = self.out / "slurm" / f"part-{number}.state"
        return path.read_text().split() if path.exists() else []

    def runs(self, number: str) -> list[dict[str, Any]]:
        """The lines of a part's audit trail: a run each, but one that was killed leaves none."""
        lines = (self.part(number) / "logs" / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def has_begun(self, number: str) -> bool:
        """Whether the first series of a part is in place: from then on it pauses."""
        return any(path.is_file() for path in self.part(number).glob("sub-*/ses-*/*/*"))


def submitted(told: str) -> dict[str, str]:
    """The ids that were printed at a submission, by what the jobs do."""
    jobs = (line.split() for line in told.splitlines() if " job " in line)
    return {words[0]: words[2] for words in jobs if len(words) == 3 and words[2].isdigit()}


def processes_of(part: Path) -> list[int]:
    """The processes of pacsifier itself that work in the folder of a part."""
    found = processes_with("cmdline", "pacsifier.cli.retrieve", str(part))
    return [each for each in found if not _forked(each, found)]


def _forked(process: int, found: list[int]) -> bool:
    """Whether it is a child that has not become the program yet for which it was started, or has ended meanwhile."""
    try:
        return parent(process) in found
    except (FileNotFoundError, ProcessLookupError):
        return True


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of the patients' folders, links followed, by its path: its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for top in folder.glob("sub-*")
        for path in top.rglob("*")
        if path.is_file()
    }


def assert_same_tables(out: Path, one: Path) -> None:
    """The tables of a run in parts are those of one run."""

    def lines(folder: Path, name: str) -> list[dict[str, str]]:
        with (folder / "logs" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        # A series that an earlier run of a part brought is `skipped` by the last one, as it is on one machine.
        resumed = {"Status": "complete", "Reason": "", **dict.fromkeys(CLOCKS, "")}
        return [row | {each: new for each, new in resumed.items() if each in row} for row in rows]

    for name in ("pacsifier_log.csv", "query_rows.csv"):
        assert lines(out, name) == lines(one, name), name
    assert not (out / "logs" / "redo.csv").exists()
