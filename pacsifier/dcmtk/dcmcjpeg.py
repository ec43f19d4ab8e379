"""JPEG lossless encoded: DCMTK's dcmcjpeg (manual page dcmcjpeg(1))."""

from __future__ import annotations

from pathlib import Path

from pacsifier.dcmtk.recoding import PATIENCE_S, recode
from pacsifier.dcmtk.toolbox import Toolbox

NAME = "dcmcjpeg"


def encode_jpeg_lossless(
    toolbox: Toolbox, source: Path, target: Path, staging: Path, patience_s: float = PATIENCE_S
) -> None:
    """Writes an uncompressed file as JPEG lossless SV1, each frame in one fragment; UIDs stay. Raises ToolError."""
    recode(toolbox, (NAME, "-q", "+e1", "+tl", "+un", "+ff"), (source, target), staging, patience_s)
