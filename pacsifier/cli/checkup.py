"""`pacsifier --check`: one line per probe on stdout, a remedy for what does not work, a sum, an exit status."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from pacsifier.checkup.probe import Outcome, Probe
from pacsifier.checkup.site import Checked, Site, check
from pacsifier.cli import common
from pacsifier.cli.events import Events
from pacsifier.cli.site import tls_of
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import AssociationError, Fault, InputError, OperationError, ToolError
from pacsifier.transfer.capabilities import Seen, save_capabilities

_MARGIN = " " * 9
# The first of these that occurred is the exit status.
_STATUSES = (
    (InputError, common.EXIT_INPUT),
    (ToolError, common.EXIT_TOOL),
    (AssociationError, common.EXIT_ASSOCIATION),
    (OperationError, common.EXIT_MISSING),
)


def check_site(arguments: argparse.Namespace, timeouts: Timeouts, events: Events) -> int:
    """Tries everything and prints what was seen, or tells it by events; returns the exit status."""
    _check_target(arguments.capabilities)
    site = Site(
        arguments.config,
        arguments.out_directory,
        timeouts,
        arguments.min_free,
        arguments.queryfile,
        tuple(arguments.sop_class),
        arguments.extra_columns,
        tls_of(arguments),
    )
    with Toolbox(arguments.dcmtk_dir) as toolbox:
        common.on_signals(toolbox.kill)
        with closing(
            check(site, toolbox, lambda question: arguments.yes or common.ask(question) is True)
        ) as route:
            probes, checked = _show_each(route, events)
    count = Counter(probe.outcome for probe in probes)
    method = checked.seen.retrieve_method
    written = _write(arguments.capabilities, checked)
    if events.wanted:
        if written:
            events.warning(written)
        events.result(
            probes={outcome.value: count[outcome] for outcome in Outcome if count[outcome]},
            retrieve_method=method,
            reason=checked.reason,
        )
    else:
        for line in filter(None, (written, _sum_up(count), _recommended(checked))):
            print(line)
    kinds = {probe.kind for probe in probes if probe.outcome is Outcome.FAILED}
    return next((status for kind, status in _STATUSES if kind in kinds), common.EXIT_COMPLETE)


def _check_target(path: Path | None) -> None:
    """A check takes a while: that its result cannot be written is said before it starts."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        problem = "is a folder" if path.is_dir() else "its folder does not exist"
        raise InputError(Fault("--capabilities", problem, value=str(path)))


def _show_each(route: Generator[Probe, None, Checked], events: Events) -> tuple[list[Probe], Checked]:
    """Prints or tells each probe as soon as it was tried; returns them all, and what was found out."""
    probes: list[Probe] = []
    while True:
        try:
            probes.append(next(route))
        except StopIteration as end:
            return probes, end.value
        if events.wanted:
            probe = probes[-1]
            told = {"name": probe.name, "outcome": probe.outcome.value, "seen": probe.seen}
            events.emit("probe", {**told, "remedy": probe.remedy})
        else:
            _show(probes[-1])


def _show(probe: Probe) -> None:
    first, *more = probe.seen.splitlines() or [""]
    print(f"{probe.outcome.value:<{len(_MARGIN) - 1}} {probe.name}: {first}")
    for line in more:
        print(f"{_MARGIN}{line}")
    if probe.remedy:
        print(f"{_MARGIN}-> {probe.remedy}")
    sys.stdout.flush()


def _write(path: Path | None, checked: Checked) -> str:
    """Writes what was found out, where it is wanted; returns words about it."""
    if path is None:
        return ""
    if checked.config is None or checked.seen == Seen():
        return f"{path}: not written, since nothing was found out"
    save_capabilities(path, checked.config, checked.seen)
    tried = {"uid_lists": checked.seen.uid_lists, "image_moves": checked.seen.image_moves}
    unknown = ", ".join(name for name, value in tried.items() if value is None)
    return f"{path}: written" + (f"; not known, and taken as usual: {unknown}" if unknown else "")


def _recommended(checked: Checked) -> str:
    method = checked.seen.retrieve_method
    words = f"recommended: --retrieve_method {method}" if method else "no --retrieve_method is recommended"
    return f"{words}: {checked.reason}"


def _sum_up(count: Counter[Outcome]) -> str:
    return ", ".join(f"{count[outcome]} {outcome.value}" for outcome in Outcome if count[outcome])
