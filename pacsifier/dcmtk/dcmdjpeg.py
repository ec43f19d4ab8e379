"""JPEG decoded: DCMTK's dcmdjpeg (manual page dcmdjpeg(1))."""

from __future__ import annotations

from pathlib import Path

from pacsifier.dcmtk.recoding import PATIENCE_S, recode
from pacsifier.dcmtk.toolbox import Toolbox

NAME = "dcmdjpeg"


def decode_jpeg(
    toolbox: Toolbox, source: Path, target: Path, staging: Path, patience_s: float = PATIENCE_S
) -> None:
    """Writes a JPEG file as explicit VR little endian: colours as they are stored, by pixel. Raises ToolError."""
    recode(toolbox, (NAME, "-q", "+cn", "+px", "+ud", "+te"), (source, target), staging, patience_s)
