"""One instance in, one instance out; knows no folders.

read -> find the raw elements -> decide about each, at every depth -> write them with new file meta information, the
marks, and the pixel data, byte for byte but for what is no picture in it. Source: DICOM PS3.15 section E.1, PS3.10
section 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pacsifier.deidentify.engine import elements, pixels
from pacsifier.deidentify.engine.elements import UnknownEncodingError
from pacsifier.deidentify.engine.marks import PixelClaim, file_meta, marks
from pacsifier.deidentify.engine.profile import PATIENT_ID
from pacsifier.deidentify.engine.reading import SOP_CLASS, SOP_INSTANCE, uid, whole_instance
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import PIXEL_DATA, Layout
from pacsifier.dicom.runs import Runs
from pacsifier.dicom.splice import AnyPiece, MaskedRange, Piece, Spliced, UnreadableError, deflated


@dataclass(frozen=True)
class Done:
    """What became of one instance; `changes` are kinds and tags in the order met, never values."""

    sop_instance_uid: str
    changes: tuple[tuple[str, int], ...]
    by_pydicom: bool
    bytes: int


def deidentify(
    source: str | Path,
    target: str | Path,
    rules: Rules,
    *,
    identity_removed: bool = True,
    pixel_claim: PixelClaim | None = None,
    plain: bool = False,
    runs: Runs | None = None,
) -> Done:
    """Write the de-identified instance of `source` to `target`, which must not exist; the source is only read.

    `identity_removed` says whether the mark may claim it; `pixel_claim` what is said of searched pixels. `plain` uses
    pydicom from the start; `runs` are those of the files before. Raises UnreadableError if the file is not a whole
    DICOM instance, and OSError.
    """
    with FileIO(source) as handle:
        layout = whole_instance(handle, runs)
        sop_class, sop_instance = uid(layout, SOP_CLASS), uid(layout, SOP_INSTANCE)
        rules.start(sop_class)
        pieces, by_pydicom = _rewritten(
            layout, rules, _marks(layout, rules, identity_removed, pixel_claim), plain
        )
        new_uid = sop_instance if rules.options.retain_uids else rules.new_uid(sop_instance)
        head = file_meta(layout, sop_class, new_uid)
        cleaned = pixels.only_pixels(layout, pieces, rules.names_somebody)
        size = Spliced(handle, [head, *_data_set(layout, cleaned)], layout.source).write(target)
    changes = (*rules.notes(), ("cleaned", PIXEL_DATA)) if cleaned != pieces else tuple(rules.notes())
    return Done(new_uid, changes, by_pydicom, size)


def _marks(
    layout: Layout, rules: Rules, identity_removed: bool, pixel_claim: PixelClaim | None
) -> list[tuple[int, bytes]]:
    subject, added = rules.subject, []
    if subject.has_id and PATIENT_ID not in layout.by_tag:
        new_id = part10.encode_element(PATIENT_ID, "LO", subject.new_id.encode(), layout.coding)
        added.append((PATIENT_ID, new_id))
    try:
        return sorted(added + marks(layout, rules, identity_removed, pixel_claim))
    except ValueError as error:
        raise UnreadableError("no room for the marks", str(error)) from error


def _rewritten(
    layout: Layout, rules: Rules, added: list[tuple[int, bytes]], plain: bool
) -> tuple[list[Piece], bool]:
    if not plain:
        try:
            return elements.rewrite(layout, rules, added), False
        except UnknownEncodingError:
            rules.start(uid(layout, SOP_CLASS))
    # This imports pydicom, which takes longer than hundreds of instances.
    from pacsifier.deidentify.engine import reference

    try:
        return reference.rewrite(layout, rules, added), True
    except UnknownEncodingError as error:
        raise UnreadableError("not understood", str(error)) from error


def _data_set(layout: Layout, pieces: list[AnyPiece]) -> list[AnyPiece]:
    """The data set as pieces of the new file."""
    if not layout.deflated:
        return pieces
    return [deflated(layout.source, (piece for piece in pieces if not isinstance(piece, MaskedRange)))]
