"""Starts a program by the standard library: for `Toolbox`, and for the programs that are asked for their version.

Every child gets a process group of its own, which can be ended as a whole, and `TCP_NODELAY=1`: DCMTK leaves Nagle's
algorithm on otherwise, which costs 40 ms per object. By subprocess and not by the library sh, which was measured: the
import of sh takes 65 ms of CPU (asyncio comes with it) and each start 8 ms and two threads, against 2 ms and none; a
run that brings 200 images makes some 12 starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pacsifier.dcmtk.listeners import STARTED_BY


def run_in_background(
    argv: Sequence[str],
    source: int | IO[bytes],
    output: int | IO[bytes],
    folder: Path,
    before_exec: Callable[[], None] | None,
    *,
    dictionary: str = "",
) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own; `before_exec` runs in the child.

    Raises:
        OSError: it cannot be started.
        subprocess.SubprocessError: `before_exec` failed.
    """
    environment = {**os.environ, "TCP_NODELAY": "1", STARTED_BY: str(os.getpid())}
    if named := environment.get("DCMDICTPATH"):
        # The tool works in another folder than we do.
        paths = [str(Path(each).absolute()) for each in named.split(os.pathsep) if each]
        environment["DCMDICTPATH"] = os.pathsep.join(paths)
    if dictionary:
        environment.setdefault("DCMDICTPATH", dictionary)
    return subprocess.Popen(
        argv,
        stdin=source,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=folder,
        env=environment,
        preexec_fn=before_exec,  # noqa: PLW1509 - the one thread there may be waits in syncfs
    )


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Lets signals wait: Python swallows what their handlers raise in its callbacks at a fork, and goes on."""
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # SIGALRM raises once more what was swallowed.
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        handlers = {number: signal.getsignal(number) for number in numbers}
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def signal_group(group: int, number: int) -> None:
    """Sends a signal to a process group that may be gone."""
    with contextlib.suppress(OSError):
        os.killpg(group, number)
