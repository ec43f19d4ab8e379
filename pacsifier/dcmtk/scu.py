"""Starts an SCU: directly towards the PACS, or by TLS through a door of the forwarder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.association import peer_arguments
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox


def start_scu(
    name: str,
    folder: Path,
    options: Sequence[str] = (),
    operands: Iterable[str] = (),
    *,
    config: PacsConfig,
    toolbox: Toolbox,
    timeouts: Timeouts,
    level: str = "",
    writes_to: Path | None = None,
    dictionary: str = "",
) -> Process:
    """Starts an SCU in `folder`, which may open one association; the other arguments are those of `Toolbox.start`.

    Where there will be none, `association_error` tells why.
    """
    if config.tls is None:
        arguments = [*options, *peer_arguments(config, timeouts), *operands]
        return toolbox.start(
            name, arguments, folder, name, level=level, writes_to=writes_to, dictionary=dictionary
        )
    door = toolbox.door(config, timeouts)
    arguments = [*options, *peer_arguments(config, timeouts, (door.host, door.port)), *operands]
    try:
        return toolbox.start(
            *(name, arguments, folder, name),
            level=level,
            writes_to=writes_to,
            dictionary=dictionary,
            door=door,
        )
    except BaseException:
        door.shut()
        raise
