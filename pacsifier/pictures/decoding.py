"""The frames of a DICOM file one at a time, and pictures of 8 bits made of them, for a text engine and for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pacsifier.pictures.codecs import batch, decoded, is_ybr, stored_values
from pacsifier.pictures.coders import Coders
from pacsifier.pictures.stored import Meaning, PixelsError, Stored, numbers, opened, overlay_groups

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    """(rows, columns) or, red, green and blue, (rows, columns, 3)."""

_NARROW: Final = 0.1, 99.9  # per cent of the pixels between which a second picture spreads its levels
_WIDE: Final = 0.75  # of the whole range: where these lie closer together, there is a second picture
_LARGE: Final = 1 << 20  # pixels


@dataclass(frozen=True)
class Frame:
    """One frame: its number from 0, its stored values, (rows, columns) or (rows, columns, 3), and what they mean."""

    index: int
    values: NDArray[Any]
    meaning: Meaning
    header: Any
    is_ybr: bool = False


def frames_of(
    path: Path, coders: Coders | None = None, wanted: Collection[int] | None = None
) -> Iterator[Frame]:
    """Yields the frames of a file, or those of some numbers from 0; few are in memory at any time.

    Raises:
        PixelsError: it holds no pixels, or they cannot be decoded here.
        OSError: it cannot be read.
    """
    coders = coders or Coders()
    with opened(path, coders.scratch) as stored:
        todo = [index for index in range(stored.meaning.frames) if wanted is None or index in wanted]
        step = batch(stored.meaning)
        for at in range(0, len(todo), step):
            yield from _some(stored, coders, todo[at : at + step])


def _some(stored: Stored, coders: Coders, indices: list[int]) -> Iterator[Frame]:
    meaning = stored.meaning
    data = [one_frame(stored, index) for index in indices]
    for index, raw, samples in zip(indices, data, decoded(data, meaning, coders), strict=True):
        yield Frame(index, stored_values(samples, meaning), meaning, stored.header, is_ybr(raw, meaning))


def one_frame(stored: Stored, index: int) -> bytes:
    """The bytes of one frame, with whole samples at its begin also where it begins within a byte."""
    import numpy as np

    data = stored.frame(index)
    within = 0 if stored.place.encapsulated else index * stored.meaning.frame_bits % 8
    if not within:
        return data
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[within:]
    return np.packbits(bits, bitorder="little").tobytes()


def count(path: Path) -> int:
    """How many frames are stored in a file; raises PixelsError and OSError."""
    with opened(path) as stored:
        return stored.meaning.frames


# --- pictures -----------------------------------------------------------------------------------------------------


def pictures(frame: Frame) -> tuple[Picture, ...]:
    """What a text engine looks at: the whole range of a frame, and a second one where few pixels make that wide.

    Grey of more than 8 bits is spread from its lowest to its highest value (the second: between percentiles), so that
    text a few levels from its ground is not lost. MONOCHROME1 is inverted; palette and YBR are shown in colour.
    """
    if not frame.meaning.is_grey:
        return (_coloured(frame),)
    spread = _Spread(frame)
    ranges = [spread.whole]
    if spread.is_wide:
        ranges.append(spread.narrow)
    return tuple(spread.picture(low, high) for low, high in ranges)


def picture(frame: Frame) -> Picture:
    """The first of `pictures`: the whole range."""
    return pictures(frame)[0]


def shown(frame: Frame) -> Picture:
    """A picture for a person: by the header's window, where that shows anything, else by percentiles."""
    made = _coloured(frame) if not frame.meaning.is_grey else _windowed(frame)
    return with_overlays(made, frame)


class _Spread:
    """The levels of grey of a frame, and pictures of 8 bits that spread some of them."""

    def __init__(self, frame: Frame) -> None:
        import numpy as np

        self._values, self._meaning = frame.values, frame.meaning
        if self._meaning.is_float:
            self._values = np.nan_to_num(self._values, posinf=0, neginf=0)
        low, high = self._values.min(), self._values.max()
        byte = self._meaning.allocated == 8 and self._meaning.stored == 8 and not self._meaning.signed
        self.whole: tuple[float, float] = (0, 255) if byte else (low.item(), high.item())

    @property
    def narrow(self) -> tuple[float, float]:
        """The percentiles between which nearly all pixels lie that are no padding; of large frames every second one."""
        import numpy as np

        step = 2 if self._values.size > _LARGE else 1
        values = self._values[::step, ::step].ravel()
        if self._meaning.padding and not self._meaning.is_float:
            first, last = self._meaning.padding
            inside = values[(values < first) | (values > last)]
            values = inside if inside.size else values
        low, high = np.percentile(values, _NARROW)
        return float(low), float(high)

    @property
    def is_wide(self) -> bool:
        """Whether few pixels make the range wide."""
        if self._meaning.stored <= 8:
            return False
        low, high = self.whole
        one, other = self.narrow
        return other - one < _WIDE * (high - low)

    def picture(self, low: float, high: float) -> Picture:
        """From the low value (black) to the high one (white), the other way round for MONOCHROME1."""
        import numpy as np

        values, span = self._values, (high - low) or 1
        if values.dtype.itemsize <= 2 and values.dtype.kind in "iu":
            # By a table: no array of floating point numbers of the size of the picture.
            kind = np.dtype(f"u{values.dtype.itemsize}")
            levels = np.arange(1 << 8 * kind.itemsize).astype(kind).view(values.dtype)
            made: Picture = self._level(levels.astype(np.float64), low, span)[values.view(kind)]
            return made
        return self._level(values.astype(np.float32), low, span)

    def _level(self, values: NDArray[Any], low: float, span: float) -> Picture:
        import numpy as np

        level = np.clip((values - low) * (255 / span), 0, 255)
        made: Picture = (255 - level if self._meaning.is_inverted else level).round().astype(np.uint8)
        return made


def _windowed(frame: Frame) -> Picture:
    window = _window(frame)
    spread = _Spread(frame)
    if window is None:
        window = spread.narrow if frame.meaning.stored > 8 else spread.whole
    return spread.picture(*window)


def _window(frame: Frame) -> tuple[float, float] | None:
    """The stored values that the header's first window shows black and white; None where it shows nothing."""
    import numpy as np

    try:
        centre, width = (_first(frame.header.get(name)) for name in ("WindowCenter", "WindowWidth"))
        slope = _first(frame.header.get("RescaleSlope") or 1)
        intercept = _first(frame.header.get("RescaleIntercept") or 0)
        low, high = ((centre + sign * width / 2 - intercept) / slope for sign in (-1, 1))
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    inside = np.count_nonzero((frame.values > low) & (frame.values < high))
    return (low, high) if high > low and width > 1 and inside > frame.values.size // 100 else None


def _first(value: Any) -> float:
    return float(
        value if isinstance(value, str | int | float) or not hasattr(value, "__getitem__") else value[0]
    )


def _coloured(frame: Frame) -> Picture:
    import numpy as np

    if frame.meaning.samples == 1:
        return _of_palette(frame)
    values = frame.values
    if values.dtype != np.uint8:
        values = (
            (values.astype(np.float32) * (255 / ((1 << frame.meaning.stored) - 1)))
            .clip(0, 255)
            .astype(np.uint8)
        )
    return _from_ybr(values) if frame.is_ybr else np.ascontiguousarray(values)


def _from_ybr(values: NDArray[np.uint8]) -> Picture:
    """Red, green and blue of YBR_FULL (PS3.3 C.7.6.3.1.2)."""
    import numpy as np
    from PIL import Image

    planes = [Image.fromarray(np.ascontiguousarray(values[..., each])) for each in range(3)]
    return np.asarray(Image.merge("YCbCr", planes).convert("RGB"))


def _of_palette(frame: Frame) -> Picture:
    import numpy as np

    colours, first = palette(frame.header)
    index = np.clip(frame.values.astype(np.int32) - first, 0, len(colours) - 1)
    made: Picture = colours[index]
    return made


def palette(header: Any) -> tuple[NDArray[np.uint8], int]:
    """The colours of a palette, (entries, 3), and the stored value that has the first; raises PixelsError."""
    import numpy as np

    names = ("Red", "Green", "Blue")
    try:
        descriptors = [numbers(header, f"{name}PaletteColorLookupTableDescriptor") for name in names]
        count, first = descriptors[0][0] & 0xFFFF or 1 << 16, descriptors[0][1]
        if "SegmentedRedPaletteColorLookupTableData" in header:
            return _segmented(header, count, first), first
        tables = [_table(header, name, count, each[2]) for name, each in zip(names, descriptors, strict=True)]
        return np.stack(tables, axis=1), first
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise PixelsError("its palette cannot be read") from error


def _segmented(header: Any, count: int, first: int) -> NDArray[np.uint8]:
    import numpy as np
    from pydicom.pixels import apply_color_lut

    made = apply_color_lut(np.arange(first, first + count, dtype=np.int32), header)
    colours: Picture = (made >> (8 if made.dtype.itemsize > 1 else 0)).astype(np.uint8)
    return colours


def _table(header: Any, name: str, count: int, bits: int) -> NDArray[np.uint8]:
    """The entries of one colour as 8 bits; 8 bit entries may be packed by two, or lie in 16 bits each."""
    import numpy as np

    order = "<" if header.original_encoding[1] else ">"
    raw = header[f"{name}PaletteColorLookupTableData"].value
    packed = bits == 8 and len(raw) < 2 * count
    entries = np.frombuffer(raw, "u1" if packed else f"{order}u2").astype(np.uint16)
    if packed and order == ">":
        entries = entries[: len(entries) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
    entries = entries[:count]
    if not len(entries):
        raise ValueError
    # Some writers fill 16 bits and say 8.
    return (entries >> 8 if bits > 8 or entries.max() > 255 else entries).astype(np.uint8)


# --- overlays -----------------------------------------------------------------------------------------------------


def overlays(header: Any) -> tuple[int, ...]:
    """The groups 60xx of the overlays that a header holds: text may be in them, too."""
    return tuple(
        group for group in overlay_groups(header) if (group, 0x3000) in header or (group, 0x0102) in header
    )


def with_overlays(made: Picture, frame: Frame) -> Picture:
    """A picture with the overlays of 60xx data drawn in white; one that cannot be read is left out."""
    import numpy as np

    for group in overlays(frame.header):
        mask = _overlay(frame, group)
        if mask is not None:
            made = np.where(mask if made.ndim == 2 else mask[..., None], np.uint8(255), made)
    return made


def _overlay(frame: Frame, group: int) -> NDArray[np.bool_] | None:
    """The pixels of a frame that an overlay covers."""
    import numpy as np

    header = frame.header
    try:
        rows, columns = int(header[group, 0x0010].value), int(header[group, 0x0011].value)
        number = int(header[group, 0x0015].value or 1) if (group, 0x0015) in header else 1
        first = int(header[group, 0x0051].value or 1) - 1 if (group, 0x0051) in header else 0
        top, left = (
            int(each) - 1 for each in (header[group, 0x0050].value if (group, 0x0050) in header else (1, 1))
        )
        raw = header[group, 0x3000].value
        at = frame.index - first if number > 1 else 0
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        plane = bits[at * rows * columns : (at + 1) * rows * columns].reshape(rows, columns)
    except (KeyError, TypeError, ValueError):
        return None
    out = np.zeros((frame.meaning.rows, frame.meaning.columns), bool)
    seen = plane[max(-top, 0) :, max(-left, 0) :][
        : max(len(out) - max(top, 0), 0), : max(out.shape[1] - max(left, 0), 0)
    ]
    out[max(top, 0) : max(top, 0) + seen.shape[0], max(left, 0) : max(left, 0) + seen.shape[1]] = seen
    return out
