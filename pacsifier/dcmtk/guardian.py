"""Ends the process groups it was told of once its standard input closes, however its parent died.

Run as a program by `toolbox.py`; of the module only its path and `GRACE_S` are used. The protocol is one line per
fact: `+PGID` for a group that was started, `-PGID` for one that has ended.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE_S = 2.0
_SHOWN = b"guardian of DCMTK's tools"


def _signal(groups: set[int], number: int) -> set[int]:
    alive = set()
    for group in groups:
        try:
            os.killpg(group, number)
        except OSError:
            continue
        alive.add(group)
    return alive


def _runs(group: int) -> bool:
    """Whether the leader of a group still runs; one that has ended but was not reaped yet does not."""
    try:
        with open(f"/proc/{group}/stat", "rb") as file:  # noqa: PTH123 - importing pathlib costs more than reading
            return file.read().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except OSError:
        return bool(_signal({group}, 0)) and not os.path.isdir("/proc/self")  # noqa: PTH112


def end_groups(groups: set[int], grace_s: float = GRACE_S) -> None:
    """Sends SIGTERM to the groups, and SIGKILL to what remains of them after `grace_s` seconds."""
    deadline = time.monotonic() + grace_s
    _signal(groups, signal.SIGTERM)
    while any(map(_runs, groups)) and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal(groups, signal.SIGKILL)


def hide() -> None:
    """Overwrites the own command line, as `ps` shows it.

    Whoever ends everything whose command line names pacsifier would end the guardian too, before it could act.
    """
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - see _runs
            begin, end = map(int, file.read().rpartition(b") ")[2].split()[45:47])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
            memory.seek(begin)
            memory.write(_SHOWN[: end - begin - 1].ljust(end - begin, b"\0"))
    except (OSError, ValueError):
        # No Linux, or one that forbids it.
        return


def main() -> None:
    """Reads facts until end of file, then ends what was started and has not ended."""
    hide()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    end_groups(groups)


if __name__ == "__main__":
    main()
