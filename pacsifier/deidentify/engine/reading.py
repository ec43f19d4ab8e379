"""Whether a file is a whole instance; nothing else is ever de-identified."""

from __future__ import annotations

from io import FileIO

from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Layout
from pacsifier.dicom.runs import Runs
from pacsifier.dicom.splice import UnreadableError
from pacsifier.query import is_uid

SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018


def whole_instance(handle: FileIO, runs: Runs | None = None) -> Layout:
    """The layout of a whole instance, read with the runs of those before; raises UnreadableError for anything else."""
    layout = part10.layout(handle, runs.walk if runs else None)
    if not layout.is_part10 and not {SOP_CLASS, SOP_INSTANCE} <= layout.by_tag.keys():
        raise UnreadableError("not DICOM")
    if layout.transfer_syntax and not is_uid(layout.transfer_syntax):
        raise UnreadableError("its transfer syntax is no UID")
    if layout.defect:
        raise UnreadableError("not whole", layout.defect)
    if not (is_uid(uid(layout, SOP_CLASS)) and uid(layout, SOP_INSTANCE)):
        raise UnreadableError("no SOP Class UID or SOP Instance UID (a DICOMDIR, or no instance)")
    return layout


def uid(layout: Layout, tag: int) -> str:
    """A UID without its padding; "" if there is none."""
    return (layout.value(tag) or b"").decode("latin_1").strip("\0 ")
