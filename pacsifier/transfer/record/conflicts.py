"""`logs/conflicts.json`: contradictions that nobody has settled yet; a later run does not take one for complete.

A contradiction is an object in `logs/unexpected` whose SOP Instance UID another object in the tree has, or that names
another patient than the index. It is open until the PACS was asked again and agreed with the tree, or until a person
has removed one of the two.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

from pacsifier.disk.files import write_whole
from pacsifier.disk.names import CONFLICTS_NAME, LOG_FOLDER, UNEXPECTED_FOLDER
from pacsifier.disk.tree import Tree
from pacsifier.errors import InputError
from pacsifier.transfer.model import Conflicts, SeriesKey, SeriesState, Unexpected


def open_conflicts(tree: Tree) -> Conflicts:
    """The contradictions of earlier runs of which the object set aside is still there."""
    path = tree.folder / LOG_FOLDER / CONFLICTS_NAME
    if not path.is_file():
        return {}
    folder = path.with_name(UNEXPECTED_FOLDER)
    found: dict[SeriesKey, dict[str, str]] = defaultdict(dict)
    try:
        rows = [tuple(map(str, row)) for row in json.loads(path.read_text(encoding="utf-8"))]
        for study_uid, series_uid, uid, name in rows:
            if (folder / name).is_file():
                found[study_uid, series_uid][uid] = name
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged: remove it, and look at what lies in {folder} beside it yourself"
        ) from error
    return dict(found)


def still_open(
    earlier: Conflicts, states: Iterable[SeriesState], fresh: Iterable[Unexpected]
) -> list[tuple[str, str, str, str]]:
    """The contradictions that a run leaves: its own, and earlier ones that it did not settle. Pure.

    One is settled where its series is complete now and holds the instance, or the PACS does not list it any more.
    """
    settled = {
        (state.series.key, uid)
        for state in states
        if state.status.completed
        for uid in earlier.get(state.series.key, ())
        if uid in state.found or _unlisted(state, uid)
    }
    left = [
        (*key, uid, name)
        for key, conflicts in earlier.items()
        for uid, name in conflicts.items()
        if (key, uid) not in settled
    ]
    own = [(each.study_uid, each.series_uid, each.sop_instance_uid, each.file) for each in fresh]
    return list(dict.fromkeys([*left, *own]))


def _unlisted(state: SeriesState, uid: str) -> bool:
    instances = state.series.instances
    return instances is not None and uid not in {each.sop_instance_uid for each in instances}


def write_conflicts(tree: Tree, conflicts: Iterable[tuple[str, str, str, str]]) -> None:
    """Writes what is open; no file where nothing is."""
    rows = list(conflicts)
    path = tree.folder / LOG_FOLDER / CONFLICTS_NAME
    if rows:
        write_whole(tree.logs / CONFLICTS_NAME, json.dumps(rows, indent=1) + "\n", 0o600)
    else:
        path.unlink(missing_ok=True)
