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
from pacsifier.pictures.decoding import one_frame
from pacsifier.pictures.filling import fill_of, levels_of
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
            job = _Job.of(stored, coders, _plan(stored, boxes))
            job.write(target)
            target.flush()
            with opened_file(target, coders.scratch) as made:
                _check(job, made)
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


@dataclass
class _Job:
    """One file on its way: `expected` is what each frame with a box must be when it is read again, as a digest."""

    stored: Stored
    coders: Coders
    plan: Plan
    syntax: str
    effective: Plan
    expected: dict[int, bytes] = field(default_factory=dict)
    fill: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, stored: Stored, coders: Coders, plan: Plan) -> _Job:
        """A file that is not written yet."""
        syntax = stored.meaning.syntax
        if len(plan) == stored.meaning.frames:
            syntax = _LOSSLESS.get(syntax, syntax)
        return cls(stored, coders, plan, syntax, dict(plan))

    @property
    def meaning(self) -> Meaning:
        """What the samples of the source mean."""
        return self.stored.meaning

    def blanked(self) -> Blanked:
        """What was done."""
        how = _HOW.get(self.meaning.syntax, _AGAIN) if self.stored.place.encapsulated else _IN_PLACE
        return Blanked(how, self.meaning.syntax, self.syntax, self.meaning.frames, self.effective)

    def write(self, target: IO[bytes]) -> None:
        """Writes all of the file."""
        if self.stored.place.encapsulated:
            _Encapsulated(self, target).write()
        elif self.stored.head:
            with tempfile.TemporaryFile(dir=self.coders.scratch) as whole:
                _in_place(self, whole)
                target.write(self.stored.head)
                _deflate(whole, target)
        else:
            _in_place(self, target)

    def filled(self, samples: Samples, *, is_ybr: bool) -> tuple[Any, ...]:
        """The colour of all boxes of the file, found in its first frame that has one."""
        if self.fill is None:
            self.fill = fill_of(samples, self.meaning, self.stored.header, is_ybr=is_ybr)
        return self.fill


# --- uncompressed -------------------------------------------------------------------------------------------------


def _in_place(job: _Job, target: IO[bytes]) -> None:
    """Copies all of the file, then writes the frames with boxes anew where they stand."""
    _copy(job.stored.file, target, (0, job.stored.file.seek(0, os.SEEK_END)))
    for index in sorted(job.plan):
        start, stop = job.stored.span(index)
        target.seek(start)
        data = bytearray(target.read(stop - start))
        seen = (_blank_bits if job.meaning.allocated == 1 else _blank_raw)(job, index, data)
        job.expected[index] = _digest(seen, job.meaning)
        target.seek(start)
        target.write(data)


def _blank_raw(job: _Job, index: int, data: bytearray) -> Samples:
    """Blanks a frame in its bytes; returns its samples."""
    import numpy as np

    meaning, boxes = job.meaning, job.plan[index]
    view = codecs.raw(data, meaning)
    fill = job.filled(view, is_ybr=codecs.is_ybr(b"", meaning))
    if not meaning.halved:
        _put(view, boxes, fill)
        return view
    pairs = np.frombuffer(data, np.uint8).reshape(meaning.rows, meaning.columns // 2, 4)
    halves = [Box(box.left // 2, box.top, box.right // 2, box.bottom) for box in boxes]
    _put(pairs, halves, (fill[0], *fill))
    return codecs.raw(data, meaning)


def _blank_bits(job: _Job, index: int, data: bytearray) -> Samples:
    """The same for single bits, of which frames may share a byte."""
    import numpy as np

    meaning = job.meaning
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    first = index * meaning.frame_bits % 8
    view = bits[first : first + meaning.frame_bits].reshape(meaning.rows, meaning.columns)
    _put(view, job.plan[index], job.filled(view, is_ybr=False))
    data[:] = np.packbits(bits, bitorder="little").tobytes()
    return view


# --- encapsulated -------------------------------------------------------------------------------------------------


class _Encapsulated:
    """Writes a file of compressed frames: those with boxes anew, the others as they are, and tables that fit."""

    def __init__(self, job: _Job, target: IO[bytes]) -> None:
        self._job, self._target = job, target
        self._stored, self._meaning, self._plan = job.stored, job.meaning, job.plan
        self._begins: list[int] = []
        self._lengths: list[int | None] = []

    def write(self) -> None:
        """Writes all of the file."""
        place, file, target = self._stored.place, self._stored.file, self._target
        _copy(file, target, (0, place.value[0]))
        entries = (place.table[1] - place.table[0]) // 4
        # A table that does not fit the frames would be wrong: it may be empty.
        room = 4 * entries if entries == self._meaning.frames else 0
        target.write(_item(room) + b"\0" * room)
        base = target.tell()
        self._frames(base)
        _copy(file, target, (place.value[1], file.seek(0, os.SEEK_END)))
        if room:
            self._table(base - room)
        self._extended()
        self._names()

    def _frames(self, base: int) -> None:
        touched = iter(sorted(self._plan))
        ready: dict[int, bytes] = {}
        for index, fragments in enumerate(self._stored.place.frames):
            self._begins.append(self._target.tell() - base)
            if index not in self._plan:
                _copy(self._stored.file, self._target, (fragments[0][0] - ITEM_HEAD, fragments[-1][1]))
                self._lengths.append(None)
                continue
            if index not in ready:
                ready = self._blank_some(list(itertools.islice(touched, codecs.batch(self._meaning))))
            data = ready.pop(index)
            self._target.write(_item(len(data) + len(data) % 2) + data + b"\0" * (len(data) % 2))
            self._lengths.append(len(data))

    def _blank_some(self, indices: Sequence[int]) -> dict[int, bytes]:
        """Some frames with their boxes blanked."""
        data = [self._stored.frame(index) for index in indices]
        again = self._blank_blocks if self._meaning.syntax in _BLOCKS else self._blank_samples
        return dict(zip(indices, again(indices, data), strict=True))

    def _blank_samples(self, indices: Sequence[int], data: Sequence[bytes]) -> list[bytes]:
        """Frames decoded, and encoded again without loss."""
        job, meaning = self._job, self._meaning
        frames = [each.copy() for each in codecs.decoded(data, meaning, job.coders)]
        for index, samples, raw in zip(indices, frames, data, strict=True):
            _put(samples, self._plan[index], job.filled(samples, is_ybr=codecs.is_ybr(raw, meaning)))
            job.expected[index] = _digest(samples, meaning)
        return codecs.encoded(frames, data, meaning, job.coders)

    def _blank_blocks(self, indices: Sequence[int], data: Sequence[bytes]) -> list[bytes]:
        """JPEG frames; what a decoder makes of them must be the same outside the boxes in effect, and flat inside."""
        job, meaning = self._job, self._meaning
        before = codecs.decoded(data, meaning, job.coders)
        out = []
        for index, raw in zip(indices, data, strict=True):
            wide = jpegblocks.widened(raw, self._plan[index], meaning.columns, meaning.rows)
            job.effective[index] = tuple(wide)
            out.append(jpegblocks.flattened(raw, wide, levels_of(raw, meaning)))
            job.expected[index] = hashlib.sha256(_unpadded(out[-1])).digest()
        after = codecs.decoded(out, meaning, job.coders)
        for index, one, other in zip(indices, before, after, strict=True):
            # A decoder smooths halved colours one pixel over the border.
            around = [box.grown(2 if one.ndim == 3 else 0) for box in job.effective[index]]
            if not _only_inside(one, other, around):
                raise CannotBlank("decoded again, it had changed outside the boxes")
            if not all(
                _is_flat(other[box.top : box.bottom, box.left : box.right]) for box in self._plan[index]
            ):
                raise CannotBlank("decoded again, a box was not flat")
        return out

    def _table(self, at: int) -> None:
        """The offsets of the frames in the Basic Offset Table, for which there is room."""
        if self._begins[-1] >= 1 << 32:
            raise CannotBlank("its Basic Offset Table would be too small")
        self._target.seek(at)
        self._target.write(struct.pack(f"<{len(self._begins)}L", *self._begins))

    def _extended(self) -> None:
        """Offsets and lengths in the Extended Offset Table, where there is one; lengths of frames that stay, stay."""
        values: tuple[Sequence[int | None], ...] = (self._begins, self._lengths)
        for (start, stop), new in zip(self._stored.place.extended, values, strict=False):
            if stop - start != 8 * len(new):
                raise CannotBlank("its Extended Offset Table does not fit the frames")
            olds = struct.unpack(f"<{len(new)}Q", self._stored.read((start, stop)))
            both = [old if value is None else value for old, value in zip(olds, new, strict=True)]
            self._target.seek(start)
            self._target.write(struct.pack(f"<{len(both)}Q", *both))

    def _names(self) -> None:
        """The transfer syntax, and the colour transform that goes with it, where they changed."""
        if self._job.syntax == self._meaning.syntax:
            return
        self._target.seek(self._stored.syntax_at)
        self._target.write(self._job.syntax.encode("ascii"))
        if self._meaning.photometric == _LOSSY_COLOURS:
            self._target.seek(self._stored.header[_PHOTOMETRIC].file_tell)
            self._target.write(_LOSSLESS_COLOURS.encode("ascii"))


# --- read again ---------------------------------------------------------------------------------------------------


def _check(job: _Job, made: Stored) -> None:
    """Raises CannotBlank where the file that was written does not hold what it should."""
    photometric = job.meaning.photometric
    if job.syntax != job.meaning.syntax and photometric == _LOSSY_COLOURS:
        photometric = _LOSSLESS_COLOURS
    if made.meaning != replace(job.meaning, syntax=job.syntax, photometric=photometric):
        raise CannotBlank("read again, it had another header")
    for index in range(job.meaning.frames):
        if index not in job.plan and not _same(job.stored, made, index):
            raise CannotBlank("read again, a frame without a box had changed")
    step = codecs.batch(job.meaning)
    touched = sorted(job.plan)
    for at in range(0, len(touched), step):
        _check_some(job, touched[at : at + step], made)


def _check_some(job: _Job, indices: Sequence[int], made: Stored) -> None:
    data = [one_frame(made, index) for index in indices]
    if job.meaning.syntax in _BLOCKS:
        found = [hashlib.sha256(_unpadded(each)).digest() for each in data]
    else:
        found = [_digest(each, made.meaning) for each in codecs.decoded(data, made.meaning, job.coders)]
    if found != [job.expected[index] for index in indices]:
        raise CannotBlank("read again, a frame was not what it should be")


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
