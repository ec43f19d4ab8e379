"""The audit trail: one line of JSON per run, with no identity of a patient."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path

from pacsifier import __version__
from pacsifier.disk.files import append_line
from pacsifier.disk.names import ASKED_NAME, AUDIT_NAME
from pacsifier.disk.tree import Tree
from pacsifier.transfer.options import Job
from pacsifier.transfer.record.series_table import is_own_table
from pacsifier.transfer.record.summary import Summary

_BLOCK = 1 << 20


def write_audit(tree: Tree, job: Job, summary: Summary, ended: str, seconds: float) -> None:
    """Appends one line of JSON about the run: who, when, how, which query, counts; no identity of a patient."""
    options = job.options
    # A run writes a new series table in the place of the one that was given, and keeps that.
    in_place = is_own_table(tree, job.table.path)
    asked = tree.logs / ASKED_NAME if in_place else job.table.path
    line = {
        "run": job.name,
        "ended_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "ended": "stopped" if ended == "ended" and summary.problems else ended,
        "user": _user(),
        "host": socket.gethostname(),
        "version": __version__,
        "did": [name for name in ("save", "info", "move", "resume") if getattr(options, name)],
        "shard": str(options.shard),
        **({"retrieve_method": options.retrieve_method} if options.save else {}),
        "config": {name: value for name, value in asdict(job.config).items() if value is not None},
        "query_sha256": _digest(asked),
        "rows": dict(sorted(summary.outcomes.items())),
        "series": {status.value: number for status, number in summary.series.items()},
        "instances": summary.instances,
        "bytes": summary.bytes,
        "unexpected": summary.unexpected,
        "dropped": summary.dropped,
        "excluded_series": summary.excluded_series,
        "excluded_objects": summary.excluded_objects,
    }
    append_line(tree.logs / AUDIT_NAME, json.dumps(line, default=str))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _digest(path: Path) -> str:
    """The SHA-256 of the query file; "" where it cannot be read twice."""
    if not path.is_file():
        return ""
    # A block at a time: the table of 100,000 series has 40 MB. Python 3.10 knows no hashlib.file_digest.
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
