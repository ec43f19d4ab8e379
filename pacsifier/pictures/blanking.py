"""Boxes of a file made one flat colour, by a way that leaves everything else as it was.

    uncompressed, deflated          samples in the box written anew, in their place
    RLE, JPEG-LS, JPEG lossless,
    JPEG 2000, deflated frames      the frame decoded and encoded again without loss
    JPEG baseline and extended      among the Huffman codes (`jpegblocks`), in whole minimum coded units

Frames without a box keep their bytes, the header and its UIDs stay. A lossy transfer syntax (JPEG 2000, JPEG-LS
near-lossless) becomes its lossless one where every frame has a box; else lossless frames stand among the lossy ones, as
it allows. Nothing is believed: the file is read again from the disk, and each frame must be what it should be.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from pacsifier.pictures import codecs, jpegblocks
from pacsifier.pictures.boxes import Box
from pacsifier.pictures.coders import Coders
from pacsifier.pictures.decoding import one_frame, palette
from pacsifier.pictures.stored import ITEM_HEAD, Meaning, PixelsError, Span, Stored, opened, opened_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[Any]

_CHUNK: Final = 1 << 20
_BLOCKS: Final = (codecs.BASELINE, codecs.EXTENDED)
# What a transfer syntax becomes where all of its frames are stored without loss; UIDs of one length.
_LOSSLESS: Final = {codecs.J2K: codecs.J2K_LOSSLESS, codecs.LS_NEAR: codecs.LS}
_IN_PLACE: Final = "in place"
_HOW: Final = {
    **dict.fromkeys((codecs.LOSSLESS, codecs.LOSSLESS_14), "decoded and encoded again as JPEG lossless SV1"),
    **dict.fromkeys(_BLOCKS, "among the codes of the JPEG"),
}
_AGAIN: Final = "decoded and encoded again without loss"
_PHOTOMETRIC: Final = 0x00280004
_LOSSY_COLOURS, _LOSSLESS_COLOURS = "YBR_ICT", "YBR_RCT"  # of one length

Boxes = Mapping[int | None, Sequence[Box]]
"""Boxes by the number of a frame from 0; those under None are for all frames."""
Plan = dict[int, tuple[Box, ...]]


class CannotBlank(Exception):  # noqa: N818 - a reason, not a fault
    """The boxes of a file cannot be blanked, and no file was written; `reason` holds no value of the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Blanked:
    """What was done: how, the transfer syntax before and after, and the boxes in effect of each frame of `frames`.

    Boxes in effect are wider than what was asked for where a JPEG is blanked by minimum coded units.
    """

    how: str
    was: str
    transfer_syntax: str
    frames: int
    boxes: Mapping[int, tuple[Box, ...]] = field(repr=False)

    @property
    def touched(self) -> tuple[int, ...]:
        """The frames in which something was blanked."""
        return tuple(sorted(self.boxes))


def blank(
    source: Path, target: Path, boxes: Boxes, coders: Coders | None = None, mode: int = 0o600
) -> Blanked:
    """Writes a file with the boxes blanked, which must not exist yet (see `blank_into`); none is left of a failure."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            return blank_into(source, file, boxes, coders)
    except BaseException:
        target.unlink()
        raise


def blank_into(source: Path, target: IO[bytes], boxes: Boxes, coders: Coders | None = None) -> Blanked:
    """Writes a file with the boxes blanked to an empty file that is open for reading, too, and reads it again.

    Raises:
        CannotBlank: its encoding does not allow it, or what was written is not what should be there; what the open file
            holds then is of no use.
        OSError: a file cannot be read or written.
    """
    coders = coders or Coders()
    try:
        with opened(source, coders.scratch) as stored:
            job = _Job(stored, coders, _plan(stored, boxes))
            job.write(target)
            target.flush()
            with opened_file(target, coders.scratch) as made:
                job.check(made)
            return job.blanked()
    except PixelsError as error:
        raise CannotBlank(error.reason) from error


def _plan(stored: Stored, boxes: Boxes) -> Plan:
    """The boxes of each frame that has some, as far as they lie in the picture; raises CannotBlank."""
    meaning = stored.meaning
    if not all(index is None or 0 <= index < meaning.frames for index in boxes):
        raise CannotBlank("a box is for a frame that is not there")
    if meaning.overlay_bits and stored.place.encapsulated:
        raise CannotBlank("overlay inside compressed pixel data")
    out = {}
    for index in range(meaning.frames):
        given = dict.fromkeys((*boxes.get(None, ()), *boxes.get(index, ())))
        inside = [each for box in given if (each := box.within(meaning.columns, meaning.rows))]
        if inside:
            out[index] = tuple(_evened(each, meaning) for each in inside)
    return out


def _evened(box: Box, meaning: Meaning) -> Box:
    """Where two pixels share their colours, a box holds both."""
    return Box(box.left // 2 * 2, box.top, -(-box.right // 2) * 2, box.bottom) if meaning.halved else box


class _Job:
    """One file on its way; `expected` holds a digest of what each frame with a box must be when it is read again."""

    def __init__(self, stored: Stored, coders: Coders, plan: Plan) -> None:
        self.stored, self.meaning, self.coders, self.plan = stored, stored.meaning, coders, plan
        everywhere = len(plan) == self.meaning.frames
        self.syntax = (
            _LOSSLESS.get(self.meaning.syntax, self.meaning.syntax) if everywhere else self.meaning.syntax
        )
        self._effective = dict(plan)
        self._expected: dict[int, bytes] = {}
        self._fill: tuple[Any, ...] | None = None

    def blanked(self) -> Blanked:
        """What was done."""
        how = _HOW.get(self.meaning.syntax, _AGAIN) if self.stored.place.encapsulated else _IN_PLACE
        return Blanked(how, self.meaning.syntax, self.syntax, self.meaning.frames, self._effective)

    def write(self, target: IO[bytes]) -> None:
        """Writes all of the file."""
        if self.stored.place.encapsulated:
            self._encapsulated(target)
        elif self.stored.head:
            with tempfile.TemporaryFile(dir=self.coders.scratch) as whole:
                self._in_place(whole)
                target.write(self.stored.head)
                _deflate(whole, target)
        else:
            self._in_place(target)

    def check(self, made: Stored) -> None:
        """Raises CannotBlank where the file that was written does not hold what it should."""
        photometric = self.meaning.photometric
        if self.syntax != self.meaning.syntax and photometric == _LOSSY_COLOURS:
            photometric = _LOSSLESS_COLOURS
        if made.meaning != replace(self.meaning, syntax=self.syntax, photometric=photometric):
            raise CannotBlank("read again, it had another header")
        for index in range(self.meaning.frames):
            if index not in self.plan and not _same(self.stored, made, index):
                raise CannotBlank("read again, a frame without a box had changed")
        step = codecs.batch(self.meaning)
        touched = sorted(self.plan)
        for at in range(0, len(touched), step):
            indices = touched[at : at + step]
            self._check_some(indices, [one_frame(made, index) for index in indices], made.meaning)

    def _check_some(self, indices: Sequence[int], data: Sequence[bytes], meaning: Meaning) -> None:
        if self.meaning.syntax in _BLOCKS:
            found = [hashlib.sha256(each).digest() for each in map(_unpadded, data)]
        else:
            found = [_digest(each, meaning) for each in codecs.decoded(data, meaning, self.coders)]
        if found != [self._expected[index] for index in indices]:
            raise CannotBlank("read again, a frame was not what it should be")

    # --- uncompressed ---

    def _in_place(self, target: IO[bytes]) -> None:
        _copy(self.stored.file, target, (0, self.stored.file.seek(0, os.SEEK_END)))
        for index in sorted(self.plan):
            start, stop = self.stored.span(index)
            target.seek(start)
            data = bytearray(target.read(stop - start))
            self._blank_raw(index, data)
            target.seek(start)
            target.write(data)

    def _blank_raw(self, index: int, data: bytearray) -> None:
        """Blanks a frame in its bytes."""
        import numpy as np

        meaning, boxes = self.meaning, self.plan[index]
        if meaning.allocated == 1:
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            first = index * meaning.frame_bits % 8
            view = bits[first : first + meaning.frame_bits].reshape(meaning.rows, meaning.columns)
            _put(view, boxes, self._filled(view))
            data[:] = np.packbits(bits, bitorder="little").tobytes()
            self._expected[index] = _digest(view, meaning)
            return
        view = codecs.raw(data, meaning)
        fill = self._filled(view)
        if meaning.halved:
            pairs = np.frombuffer(data, np.uint8).reshape(meaning.rows, meaning.columns // 2, 4)
            halves = [Box(box.left // 2, box.top, box.right // 2, box.bottom) for box in boxes]
            _put(pairs, halves, (fill[0], *fill))
            view = codecs.raw(data, meaning)
        else:
            _put(view, boxes, fill)
        self._expected[index] = _digest(view, meaning)

    def _filled(self, samples: Samples, *, ybr: bool | None = None) -> tuple[Any, ...]:
        """The colour of all boxes of the file, found in its first frame that has one."""
        if self._fill is None:
            ybr = codecs.is_ybr(b"", self.meaning) if ybr is None else ybr
            self._fill = fill_of(samples, self.meaning, self.stored.header, is_ybr=ybr)
        return self._fill

    # --- encapsulated ---

    def _encapsulated(self, target: IO[bytes]) -> None:
        place, file = self.stored.place, self.stored.file
        _copy(file, target, (0, place.value[0]))
        entries = (place.table[1] - place.table[0]) // 4
        # A table that does not fit the frames would be wrong: it may be empty.
        room = 4 * entries if entries == self.meaning.frames else 0
        target.write(_item(room) + b"\0" * room)
        base = target.tell()
        begins, lengths = self._frames(target, base)
        _copy(file, target, (place.value[1], file.seek(0, os.SEEK_END)))
        self._tables(target, base - room if room else None, begins, lengths)
        self._names(target)

    def _frames(self, target: IO[bytes], base: int) -> tuple[list[int], list[int | None]]:
        """Writes all frames; returns where each begins, and the length of those that are new."""
        begins: list[int] = []
        lengths: list[int | None] = []
        touched = iter(sorted(self.plan))
        ready: dict[int, bytes] = {}
        for index, fragments in enumerate(self.stored.place.frames):
            begins.append(target.tell() - base)
            if index not in self.plan:
                _copy(self.stored.file, target, (fragments[0][0] - ITEM_HEAD, fragments[-1][1]))
                lengths.append(None)
                continue
            if index not in ready:
                ready = self._blank_some(list(itertools.islice(touched, codecs.batch(self.meaning))))
            data = ready.pop(index)
            target.write(_item(len(data) + len(data) % 2) + data + b"\0" * (len(data) % 2))
            lengths.append(len(data))
        return begins, lengths

    def _blank_some(self, indices: Sequence[int]) -> dict[int, bytes]:
        """Some frames with their boxes blanked."""
        data = [self.stored.frame(index) for index in indices]
        if self.meaning.syntax in _BLOCKS:
            made = self._blank_blocks(indices, data)
        else:
            frames = [each.copy() for each in codecs.decoded(data, self.meaning, self.coders)]
            for index, samples, raw in zip(indices, frames, data, strict=True):
                _put(samples, self.plan[index], self._filled(samples, ybr=codecs.is_ybr(raw, self.meaning)))
                self._expected[index] = _digest(samples, self.meaning)
            made = codecs.encoded(frames, data, self.meaning, self.coders)
        return dict(zip(indices, made, strict=True))

    def _blank_blocks(self, indices: Sequence[int], data: Sequence[bytes]) -> list[bytes]:
        """JPEG frames; what a decoder makes of them must be the same outside the boxes in effect, and flat inside."""
        before = codecs.decoded(data, self.meaning, self.coders)
        out = []
        for index, raw in zip(indices, data, strict=True):
            wide = jpegblocks.widened(raw, self.plan[index], self.meaning.columns, self.meaning.rows)
            self._effective[index] = tuple(wide)
            out.append(jpegblocks.flattened(raw, wide, _levels(raw, self.meaning)))
            self._expected[index] = hashlib.sha256(_unpadded(out[-1])).digest()
        after = codecs.decoded(out, self.meaning, self.coders)
        for index, one, other in zip(indices, before, after, strict=True):
            inside, outside = self.plan[index], self._effective[index]
            # A decoder smooths halved colours one pixel over the border.
            if not _only_inside(one, other, [box.grown(2 if one.ndim == 3 else 0) for box in outside]):
                raise CannotBlank("decoded again, it had changed outside the boxes")
            if not all(_is_flat(other[box.top : box.bottom, box.left : box.right]) for box in inside):
                raise CannotBlank("decoded again, a box was not flat")
        return out

    def _tables(
        self, target: IO[bytes], table: int | None, begins: Sequence[int], lengths: Sequence[int | None]
    ) -> None:
        """The offsets of the frames, in the table that stands there if any, and in the extended one."""
        if table is not None:
            if begins[-1] >= 1 << 32:
                raise CannotBlank("its Basic Offset Table would be too small")
            target.seek(table)
            target.write(struct.pack(f"<{len(begins)}L", *begins))
        for (start, stop), values in zip(self.stored.place.extended, (begins, lengths), strict=False):
            if stop - start != 8 * len(values):
                raise CannotBlank("its Extended Offset Table does not fit the frames")
            olds = struct.unpack(f"<{len(values)}Q", self.stored.read((start, stop)))
            target.seek(start)
            new = [old if value is None else value for old, value in zip(olds, values, strict=True)]
            target.write(struct.pack(f"<{len(new)}Q", *new))

    def _names(self, target: IO[bytes]) -> None:
        """The transfer syntax, and the colour transform that goes with it, where they changed."""
        if self.syntax == self.meaning.syntax:
            return
        target.seek(self.stored.syntax_at)
        target.write(self.syntax.encode("ascii"))
        if self.meaning.photometric == _LOSSY_COLOURS:
            target.seek(self.stored.header[_PHOTOMETRIC].file_tell)
            target.write(_LOSSLESS_COLOURS.encode("ascii"))


# --- the colour ---------------------------------------------------------------------------------------------------


def fill_of(samples: Samples, meaning: Meaning, header: Any, *, is_ybr: bool) -> tuple[Any, ...]:
    """The colour that shows black, as samples are stored in this frame, without overlay bits.

    Grey: a value that occurs, so that lowest and highest stay: the lowest, for MONOCHROME1 the highest, of those that
    are no padding. Palette: the index of the darkest colour.
    """
    import numpy as np

    shift = meaning.high + 1 - meaning.stored
    if meaning.samples == 3:
        middle = 1 << meaning.high if is_ybr else 0
        # In YBR_PARTIAL black is 16 of 256.
        black = middle >> 3 if is_ybr and meaning.photometric.startswith("YBR_PARTIAL") else 0
        return (black, middle, middle)
    if not meaning.is_grey:
        colours, first = palette(header)
        there = np.arange(max(-first, 0), min(len(colours), (1 << meaning.stored) - first))
        light = colours[there].astype(np.int32) @ np.array([299, 587, 114])
        return ((first + int(there[light.argmin()])) << shift,)
    values = codecs.stored_values(samples, meaning)
    if meaning.is_float:
        values = np.where(np.isfinite(values), values, np.inf * (-1 if meaning.is_inverted else 1))
    elif meaning.padding:
        low, high = meaning.padding
        padded = (values >= low) & (values <= high)
        if not padded.all():
            values = np.where(padded, values.min() if meaning.is_inverted else values.max(), values)
    at = int(values.argmax() if meaning.is_inverted else values.argmin())
    found = samples[np.unravel_index(at, samples.shape)]
    return (found & ~samples.dtype.type(meaning.overlay_bits) if meaning.overlay_bits else found,)


def _levels(data: bytes, meaning: Meaning) -> tuple[int, ...]:
    """Black of a JPEG by component."""
    precision = jpegblocks.read(data).precision
    if meaning.samples == 1:
        return ((1 << precision) - 1 if meaning.is_inverted else 0,)
    middle = 1 << (precision - 1)
    return (0, middle, middle) if codecs.is_ybr(data, meaning) else (0, 0, 0)


# --- small things -------------------------------------------------------------------------------------------------


def _same(one: Stored, other: Stored, index: int) -> bool:
    """Whether a frame is the same in both; of frames of single bits, which share bytes, only their own bits count."""
    if one.frame(index) == other.frame(index):
        return True
    if one.meaning.allocated > 1:
        return False
    mine, its = (codecs.raw(one_frame(each, index), each.meaning) for each in (one, other))
    return bool((mine == its).all())


def _put(samples: Samples, boxes: Sequence[Box], fill: tuple[Any, ...]) -> None:
    for box in boxes:
        samples[box.top : box.bottom, box.left : box.right] = fill[0] if len(fill) == 1 else fill


def _only_inside(one: Samples, other: Samples, boxes: Sequence[Box]) -> bool:
    """Whether two pictures differ in these boxes only."""
    differs = one != other
    for box in boxes:
        differs[max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)] = False
    return not differs.any()


def _is_flat(samples: Samples) -> bool:
    return bool((samples == samples[:1, :1]).all())


def _digest(samples: Samples, meaning: Meaning) -> bytes:
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(codecs.stored_values(samples, meaning)).tobytes()).digest()


def _unpadded(data: bytes) -> bytes:
    return data.rstrip(b"\0")


def _item(length: int) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, length)


def _copy(source: IO[bytes], target: IO[bytes], span: Span) -> None:
    source.seek(span[0])
    left = span[1] - span[0]
    while left:
        data = source.read(min(_CHUNK, left))
        if not data:
            raise PixelsError("the file became shorter while it was read")
        target.write(data)
        left -= len(data)


def _deflate(source: IO[bytes], target: IO[bytes]) -> None:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    source.seek(0)
    size = 0
    while data := source.read(_CHUNK):
        size += target.write(stream.compress(data))
    size += target.write(stream.flush())
    target.write(b"\0" * (size % 2))
