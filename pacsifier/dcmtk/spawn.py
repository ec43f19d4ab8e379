"""Starts a program by the library sh: for `Toolbox`, and for the programs that are asked for their version.

Every child gets a process group of its own, which can be ended as a whole, and `TCP_NODELAY=1`: DCMTK leaves Nagle's
algorithm on otherwise, which costs 40 ms per object.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pacsifier.dcmtk.listeners import STARTED_BY

_ANY_EXIT_STATUS = range(-64, 256)


def run_in_background(
    argv: Sequence[str],
    source: Any,
    output: Any,
    folder: Path,
    before_exec: Callable[[], None] | None,
    *,
    dictionary: str = "",
) -> Any:
    """Starts a program in a process group of its own and returns sh's command; `before_exec` runs in the child."""
    environment = {**os.environ, "TCP_NODELAY": "1", STARTED_BY: str(os.getpid())}
    if named := environment.get("DCMDICTPATH"):
        # The tool works in another folder than we do.
        paths = [str(Path(each).absolute()) for each in named.split(os.pathsep) if each]
        environment["DCMDICTPATH"] = os.pathsep.join(paths)
    if dictionary:
        environment.setdefault("DCMDICTPATH", dictionary)
    return muted_sh().Command(argv[0])(
        *argv[1:],
        _in=source,
        _out=output if output is not None else os.devnull,
        _err_to_out=True,
        _tty_out=False,
        _bg=True,
        _bg_exc=False,
        _new_session=True,
        _cwd=str(folder),
        _env=environment,
        _ok_code=_ANY_EXIT_STATUS,
        _preexec_fn=before_exec,
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


def muted_sh() -> Any:
    """The library sh, muted: it logs every command with its arguments, which may name patients."""
    import sh

    logging.getLogger("sh").setLevel(logging.CRITICAL)
    return sh


def signal_group(group: int, number: int) -> None:
    """Sends a signal to a process group that may be gone."""
    with contextlib.suppress(OSError):
        os.killpg(group, number)
