"""What a person is told at the end of a run: figures, where things lie, and what to do next."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pacsifier.figures import counted, size_text, time_text

if TYPE_CHECKING:
    from pathlib import Path

    from pacsifier.transfer.record.summary import Summary

PROG = "pacsifier"


def again(given: Sequence[str]) -> str:
    """The command line that goes on with a run; `given`: the arguments of the run."""
    return shlex.join([PROG, *given, *([] if "--resume" in given else ["--resume"])])


def _without_limit(given: Sequence[str]) -> list[str]:
    """The arguments without --limit, however it was shortened, and its number."""
    kept: list[str] = []
    words = iter(given)
    for word in words:
        name, is_joined, _ = word.partition("=")
        if not (name.startswith("--li") and "--limit".startswith(name)):
            kept.append(word)
        elif not is_joined:
            next(words, None)
    return kept


def redo_lines(outcomes: Mapping[str, int], redo: Path | None) -> Iterator[str]:
    """What the redo table holds, if there is one; `outcomes` counts query rows by outcome."""
    from pacsifier.transfer.record.outcomes import NOTHING_LEFT
    from pacsifier.transfer.record.reporting import LEFT_OUT

    if redo is None:
        return
    not_found, beyond = outcomes.get("not_found", 0), outcomes.get(LEFT_OUT, 0)
    others = (*NOTHING_LEFT, "not_found", LEFT_OUT)
    left = sum(number for name, number in outcomes.items() if name not in others)
    if left:
        yield f"not complete: {counted(left, 'row')} to run again, with the reasons, in {redo}"
    where = "there, too" if left else f"see {redo}"
    if not_found:
        yield f"{counted(not_found, 'row')} matched nothing: check the values, {where}"
    if beyond:
        yield f"{counted(beyond, 'row')} left out in part by --limit, {where}"


def summary_lines(summary: Summary, arguments: argparse.Namespace, given: Sequence[str]) -> Iterator[str]:
    """The end of a run that was no dry run; `given`: its arguments as they were typed."""
    from pacsifier.disk.names import LOG_FOLDER, LOG_NAME, UNEXPECTED_NAME
    from pacsifier.transfer.model import Status

    count = summary.series
    outcomes = ", ".join(f"{number} {name}" for name, number in sorted(summary.outcomes.items()))
    yield f"rows: {summary.rows} ({outcomes})"
    states = ", ".join(f"{count[status]} {status.value}" for status in Status if count[status])
    yield f"series: {count.total()} found" + (f" ({states})" if states else "")
    yield _instances(summary, moved=arguments.move)
    if summary.excluded_series or summary.excluded_objects:
        yield (
            f"excluded patients: {summary.excluded_series} series not fetched, "
            f"{counted(summary.excluded_objects, 'object')} deleted on arrival"
        )
    if summary.unexpected:
        yield f"unexpected objects: {summary.unexpected}, see {LOG_FOLDER}/{UNEXPECTED_NAME}"
    if summary.dropped:
        yield f"unexpected objects beyond --max_unexpected or --max_unexpected_size: {summary.dropped} dropped"
    for problem in summary.problems:
        yield f"{PROG}: {problem}"
    yield f"in {arguments.out_directory}: one row per series in {LOG_FOLDER}/{LOG_NAME}"
    yield from redo_lines(summary.outcomes, summary.redo)
    if following := _next(summary, arguments, given):
        yield f"next: {following}"


def plan_lines(summary: Summary, given: Sequence[str]) -> Iterator[str]:
    """The sums of a dry run, and what would do it."""
    series = summary.series.total()
    yield f"rows: {summary.rows}; series: {series}; nothing was fetched or written (--dry_run)"
    for problem in summary.problems:
        yield f"{PROG}: {problem}"
    if series:
        yield f"next: {shlex.join([PROG, *(each for each in given if each != '--dry_run')])}"


def _instances(summary: Summary, *, moved: bool) -> str:
    took = time_text(summary.seconds)
    if moved:
        return f"instances: {summary.instances} moved; {took}"
    placed = f"instances: {summary.instances} in place"
    rate = f" ({size_text(summary.bytes / summary.seconds)}/s)" if summary.bytes and summary.seconds else ""
    return f"{placed}; {size_text(summary.bytes)} received in {took}{rate}"


def _next(summary: Summary, arguments: argparse.Namespace, given: Sequence[str]) -> str:
    """The command that a user will want next; "" where a person has to look first."""
    from pacsifier.transfer.record.reporting import LEFT_OUT

    if not summary.complete:
        left = {status.value for status, number in summary.series.items() if number and not status.settled}
        if not left or not (arguments.save or arguments.move):
            return ""
        # What --limit left out it would leave out again.
        return again(_without_limit(given) if left == {LEFT_OUT} else given)
    if arguments.save and summary.instances:
        out = arguments.out_directory
        target = out.with_name(f"{out.name}_anonymized")
        return shlex.join(["pacsifier-anonymize", "--in_folder", str(out), "--out_folder", str(target)])
    listed = summary.series.total() and not (arguments.save or arguments.move)
    return shlex.join([PROG, *given, "--save"]) if listed else ""
