"""One file made from another by one of DCMTK's coders: quietly, for a limited time, and there or an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import ToolError

PATIENCE_S: Final = 120.0  # for a batch of frames, of which each takes some 30 ms


def recode(
    toolbox: Toolbox, argv: Sequence[str], files: tuple[Path, Path], staging: Path, patience_s: float
) -> None:
    """Runs a coder, with its options, for a source and a target in `staging` (0700).

    Raises:
        ToolError: it fails, makes no file, or takes too long.
    """
    name, *options = argv
    source, target = files
    process = toolbox.start(name, [*options, str(source.absolute()), str(target.absolute())], staging, name)
    exit_status = process.wait(patience_s)
    if exit_status is None:
        process.end()
        raise ToolError(f"{name} had not ended after {patience_s:g} s")
    if exit_status or not target.is_file():
        said = "; ".join(process.last_lines()[-2:]) or "no reason given"
        raise ToolError(f"{name} made no file: {said}", exit_status=exit_status)
