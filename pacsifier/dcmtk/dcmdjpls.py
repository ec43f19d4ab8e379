"""JPEG-LS decoded: DCMTK's dcmdjpls (manual page dcmdjpls(1))."""

from __future__ import annotations

from pathlib import Path

from pacsifier.dcmtk.recoding import PATIENCE_S, recode
from pacsifier.dcmtk.toolbox import Toolbox

NAME = "dcmdjpls"


def decode_jpeg_ls(
    toolbox: Toolbox, source: Path, target: Path, staging: Path, patience_s: float = PATIENCE_S
) -> None:
    """Writes a JPEG-LS file as explicit VR little endian; the UID stays. Raises ToolError."""
    recode(toolbox, (NAME, "-q", "+ud", "+te"), (source, target), staging, patience_s)
