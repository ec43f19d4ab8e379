"""`--resume`: what an earlier run has placed, as the headers on disk tell; the log table may have been moved away."""

from __future__ import annotations

from collections.abc import Sequence, Set

from pacsifier.disk.tree import SeriesIdentity
from pacsifier.transfer.fetch.verdict import is_complete
from pacsifier.transfer.find.images import tell_instances
from pacsifier.transfer.model import Conflicts, SeriesKey, SeriesState
from pacsifier.transfer.run import Run


def skip_what_is_there(
    states: Sequence[SeriesState],
    run: Run,
    conflicts: Conflicts,
    claimed: Set[SeriesKey] = frozenset(),
) -> None:
    """Reads what is on disk and skips the series that are whole there.

    Of what is there in part only the missing instances will be asked for, by their UIDs; so will those of which two
    contradict each other (`conflicts`). `claimed`: what an earlier run called complete is on the disk itself.
    """
    present = [state for state in states if state.pending and _adopted(state, run)]
    for state in present:
        for uid in conflicts.get(state.series.key, ()):
            # One of two that contradict each other: asked for again, and believed where the PACS sends it again.
            state.drop(uid)
    partly = [state for state in present if not is_complete(state)]
    run.lost(tell_instances(run.finds, partly, uid_lists=run.known.uid_lists))
    for state in partly:
        run.placer.adopt_listed(state)
    for state in present:
        if is_complete(state):
            run.placer.decide_by_placed(state)
        if is_complete(state) and state.series.rows and state.pending:
            state.skip("was complete")
            if state.series.key in claimed:
                state.settle_on_disk()


def _adopted(state: SeriesState, run: Run) -> bool:
    """Whether there is something of the series on disk."""
    folders = run.tree.placed_folders(SeriesIdentity.of(state.series.values))
    write = not run.job.options.dry_run
    return any(run.placer.adopt(state, folder, write=write) for folder in folders)
