"""The one flat colour of what is blanked, as samples are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pacsifier.pictures import codecs, jpegblocks
from pacsifier.pictures.decoding import palette
from pacsifier.pictures.stored import Meaning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[Any]


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


def levels_of(data: bytes, meaning: Meaning) -> tuple[int, ...]:
    """Black of a JPEG by component."""
    precision = jpegblocks.read(data).precision
    if meaning.samples == 1:
        return ((1 << precision) - 1 if meaning.is_inverted else 0,)
    middle = 1 << (precision - 1)
    return (0, middle, middle) if codecs.is_ybr(data, meaning) else (0, 0, 0)
