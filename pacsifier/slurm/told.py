"""What the events of `--json` tell about tasks: `told.py error FILE`, or `told.py progress FILE...`, a line each.

`error` prints the kind of the error that ended a command, and nothing where none did. `progress` prints how much of the
last stage is done, of how much, the seconds left ("-" where that is not known), and what the summary says of rows.
Only the standard library, and only the end of each file, for it may be long.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_END_BYTES = 1 << 16


def events(path: str) -> Iterator[dict[str, Any]]:
    """The last events of a file, the last first; a line that is being written, or the first one cut, is left out."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _END_BYTES))
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def error(path: str) -> str:
    """The kind of the error that ended the command; "" where none did."""
    summary = next((each for each in events(path) if each.get("event") == "summary"), {})
    return str(summary.get("error", {}).get("kind", ""))


def progress(path: str) -> str:
    """How far the command is, or was at its end."""
    seen = [*events(path)]
    last = next((each for each in seen if each.get("event") == "progress"), {})
    summary = next((each for each in seen if each.get("event") == "summary"), {})
    done, total = last.get("done"), last.get("total")
    share = "-" if done is None else f"{done}/{'?' if total is None else total}"
    left = None if summary else last.get("seconds_left")
    rows = ",".join(f"{number} {outcome}" for outcome, number in summary.get("rows", {}).items())
    return f"{share}|{'-' if left is None else f'{left:.0f} s'}|{rows or '-'}"


if __name__ == "__main__":
    for name in sys.argv[2:]:
        sys.stdout.write((error(name) if sys.argv[1] == "error" else progress(name)) + "\n")
