"""JPEG-LS encoded: DCMTK's dcmcjpls (manual page dcmcjpls(1))."""

from __future__ import annotations

from pathlib import Path

from pacsifier.dcmtk.recoding import PATIENCE_S, recode
from pacsifier.dcmtk.toolbox import Toolbox

NAME = "dcmcjpls"


def encode_jpeg_ls(
    toolbox: Toolbox, source: Path, target: Path, staging: Path, patience_s: float = PATIENCE_S
) -> None:
    """Writes an uncompressed file as JPEG-LS lossless, each frame in one fragment; UIDs stay. Raises ToolError."""
    recode(toolbox, (NAME, "-q", "+el", "+un", "+ff"), (source, target), staging, patience_s)
