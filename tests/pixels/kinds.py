"""A table of encodings: each name makes a small DICOM file of its kind."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.encaps import generate_frames

from pixels.made import (
    BASELINE,
    BIG,
    DEFLATED,
    DEFLATED_FRAMES,
    ENCAPSULATED,
    EXPLICIT,
    IMPLICIT,
    J2K,
    J2K_LOSSLESS,
    LOSSLESS,
    LS,
    RLE,
    Maker,
    bits,
    compressed,
    floats,
    halved,
    header,
    j2k,
    jpeg,
    of_dcmtk,
    plain,
    rle,
    save,
    scene,
)

ROWS, COLUMNS = 90, 130


def _palette(path: Path, syntax: str, *, first: int = 0, segmented: bool = False) -> Path:
    """Indexes in no order of brightness; the darkest colour has index 7 (of those that the palette has)."""
    array = scene(ROWS, COLUMNS, bits=5)[:, :, :] + first
    entries = np.random.default_rng(1).integers(40, 250, (32, 3)).astype("<u2")
    entries[7] = 3, 2, 1
    more = {}
    for place, name in enumerate(("Red", "Green", "Blue")):
        more[f"{name}PaletteColorLookupTableDescriptor"] = [32, first, 16]
        words = entries[:, place] * 256
        if segmented:
            key, words = (
                f"Segmented{name}PaletteColorLookupTableData",
                np.concatenate([[0, 32], words]).astype("<u2"),
            )
        else:
            key = f"{name}PaletteColorLookupTableData"
        more[key] = words.tobytes()
    if syntax == RLE:
        data = header(array, "PALETTE COLOR", 8, **more)
        return compressed(path, data, rle(array), RLE)
    if syntax in (LOSSLESS, LS):
        program = "dcmcjpeg" if syntax == LOSSLESS else "dcmcjpls"
        grey = dcmread(of_dcmtk(path, array, [program], GREY, 8))
        frames = list(generate_frames(grey.PixelData, number_of_frames=1))
        return compressed(path, header(array, "PALETTE COLOR", 8, **more), frames, syntax)
    return plain(path, array, syntax, "PALETTE COLOR", 8, **more)


def _overlay_bits(path: Path) -> Path:
    array = scene(ROWS, COLUMNS, bits=12) | (scene(ROWS, COLUMNS, seed=5)[..., :] > 128).astype("u2") << 13
    data = header(array, "MONOCHROME2", 12)
    data.add_new(0x60000010, "US", ROWS)
    data.add_new(0x60000011, "US", COLUMNS)
    data.add_new(0x60000040, "CS", "G")
    data.add_new(0x60000050, "SS", [1, 1])
    data.add_new(0x60000100, "US", 16)
    data.add_new(0x60000102, "US", 13)
    return save(data, path, EXPLICIT, array.astype("<u2").tobytes())


def _grey(**more: int | bool) -> np.ndarray:
    return scene(ROWS, COLUMNS, **more)


def _colour(**more: int) -> np.ndarray:
    return scene(ROWS, COLUMNS, samples=3, **more)


GREY, INVERTED = "MONOCHROME2", "MONOCHROME1"
ENCODINGS: dict[str, Maker] = {
    "implicit 8": lambda path: plain(path, _grey(), IMPLICIT, GREY, 8),
    "explicit 12 in 16": lambda path: plain(path, _grey(bits=12), EXPLICIT, GREY, 12),
    "explicit 16 of 3 frames": lambda path: plain(path, _grey(bits=16, frames=3), EXPLICIT, GREY, 16),
    "explicit odd length": lambda path: plain(path, scene(89, 131), EXPLICIT, GREY, 8),
    "big endian 12 signed": lambda path: plain(path, _grey(bits=12, signed=True), BIG, GREY, 12),
    "big endian RGB of 2 frames": lambda path: plain(path, _colour(frames=2), BIG, "RGB", 8),
    "deflated 12": lambda path: plain(path, _grey(bits=12), DEFLATED, GREY, 12),
    "deflated of 3 frames": lambda path: plain(path, _grey(frames=3), DEFLATED, GREY, 8),
    "inverted": lambda path: plain(path, _grey(bits=14), EXPLICIT, INVERTED, 14),
    "RGB by pixel": lambda path: plain(path, _colour(), EXPLICIT, "RGB", 8),
    "RGB by plane of 2 frames": lambda path: plain(
        path, _colour(frames=2), EXPLICIT, "RGB", 8, PlanarConfiguration=1
    ),
    "RGB 16": lambda path: plain(path, _colour(bits=16), EXPLICIT, "RGB", 16),
    "YBR": lambda path: plain(path, _colour(), EXPLICIT, "YBR_FULL", 8),
    "YBR 422 of 2 frames": lambda path: halved(path, _colour(frames=2)),
    "palette": lambda path: _palette(path, EXPLICIT),
    "palette from 100": lambda path: _palette(path, IMPLICIT, first=100),
    "palette segmented": lambda path: _palette(path, EXPLICIT, segmented=True),
    "palette RLE": lambda path: _palette(path, RLE),
    "overlay bits": _overlay_bits,
    "single bits of 3 frames": lambda path: bits(path, (scene(81, 131, frames=3) > 128).astype("u1")),
    "floating point": lambda path: floats(path, _grey(bits=12).astype("f4") - 100),
    "encapsulated": lambda path: compressed(
        path, header(_grey(frames=2), GREY, 8), [each.tobytes() for each in _grey(frames=2)], ENCAPSULATED
    ),
    "RLE of 3 frames": lambda path: compressed(
        path, header(_grey(frames=3), GREY, 8), rle(_grey(frames=3)), RLE, extended=True
    ),
    "RLE 12 signed": lambda path: compressed(
        path, header(_grey(bits=12, signed=True), GREY, 12), rle(_grey(bits=12, signed=True)), RLE
    ),
    "RLE RGB": lambda path: compressed(path, header(_colour(), "RGB", 8), rle(_colour()), RLE),
    "JPEG lossless 8": lambda path: of_dcmtk(path, _grey(), ["dcmcjpeg", "+e1"], GREY, 8),
    "JPEG lossless 12 of 3 frames": lambda path: of_dcmtk(
        path, _grey(bits=12, frames=3), ["dcmcjpeg", "+e1"], GREY, 12
    ),
    "JPEG lossless 16 signed": lambda path: of_dcmtk(
        path, _grey(bits=16, signed=True), ["dcmcjpeg", "+e1"], GREY, 16
    ),
    "JPEG lossless RGB": lambda path: of_dcmtk(path, _colour(), ["dcmcjpeg", "+e1"], "RGB", 8),
    "JPEG lossless 12 signed": lambda path: of_dcmtk(
        path, _grey(bits=12, signed=True), ["dcmcjpeg", "+e1"], GREY, 12
    ),
    "JPEG lossless YBR": lambda path: of_dcmtk(path, _colour(), ["dcmcjpeg", "+e1"], "YBR_FULL", 8),
    "palette JPEG lossless": lambda path: _palette(path, LOSSLESS),
    "palette JPEG-LS": lambda path: _palette(path, LS),
    "JPEG-LS 16 signed": lambda path: of_dcmtk(path, _grey(bits=16, signed=True), ["dcmcjpls"], GREY, 16),
    "JPEG lossless process 14": lambda path: of_dcmtk(
        path, _grey(bits=12), ["dcmcjpeg", "+el", "+sv", "4"], GREY, 12
    ),
    "JPEG-LS 8": lambda path: of_dcmtk(path, _grey(), ["dcmcjpls"], GREY, 8),
    "JPEG-LS 12 of 3 frames": lambda path: of_dcmtk(path, _grey(bits=12, frames=3), ["dcmcjpls"], GREY, 12),
    "JPEG-LS 16": lambda path: of_dcmtk(path, _grey(bits=16), ["dcmcjpls"], GREY, 16),
    "JPEG-LS 12 signed": lambda path: of_dcmtk(path, _grey(bits=12, signed=True), ["dcmcjpls"], GREY, 12),
    "JPEG-LS RGB by line": lambda path: of_dcmtk(path, _colour(), ["dcmcjpls", "+il"], "RGB", 8),
    "JPEG-LS RGB by sample": lambda path: of_dcmtk(path, _colour(), ["dcmcjpls", "+is"], "RGB", 8),
    "JPEG-LS RGB by plane": lambda path: of_dcmtk(path, _colour(), ["dcmcjpls", "+in"], "RGB", 8),
    "JPEG-LS near-lossless of 3 frames": lambda path: of_dcmtk(
        path, _grey(frames=3), ["dcmcjpls", "+en", "+md", "3"], GREY, 8
    ),
    "J2K lossless 12": lambda path: compressed(
        path, header(_grey(bits=12), GREY, 12), j2k(_grey(bits=12), 12), J2K_LOSSLESS
    ),
    "J2K lossless 12 signed": lambda path: compressed(
        path,
        header(_grey(bits=12, signed=True), GREY, 12),
        j2k(_grey(bits=12, signed=True), 12),
        J2K_LOSSLESS,
    ),
    "J2K lossless RGB": lambda path: compressed(
        path, header(_colour(), "YBR_RCT", 8), j2k(_colour(), 8, colour=1), J2K_LOSSLESS
    ),
    "J2K lossy of 3 frames": lambda path: compressed(
        path,
        header(_grey(frames=3), GREY, 8),
        j2k(_grey(frames=3), 8, compression_ratios=[5]),
        J2K,
        extended=True,
    ),
    "J2K lossy RGB": lambda path: compressed(
        path, header(_colour(), "YBR_ICT", 8), j2k(_colour(), 8, colour=1, compression_ratios=[8]), J2K
    ),
    "JPEG": lambda path: compressed(path, header(_grey(), GREY, 8), jpeg(_grey(), quality=80), BASELINE),
    "JPEG inverted": lambda path: compressed(
        path, header(_grey(), INVERTED, 8), jpeg(_grey(), quality=95, optimize=True), BASELINE
    ),
    "JPEG of 3 frames in fragments": lambda path: compressed(
        path, header(_grey(frames=3), GREY, 8), jpeg(_grey(frames=3)), BASELINE, fragments=2
    ),
    "JPEG with restarts": lambda path: compressed(
        path, header(_grey(), GREY, 8), jpeg(_grey(), restart_marker_blocks=7), BASELINE
    ),
    "JPEG 444": lambda path: compressed(
        path, header(_colour(), "YBR_FULL", 8), jpeg(_colour(), subsampling=0), BASELINE
    ),
    "JPEG 422 of 2 frames": lambda path: compressed(
        path, header(_colour(frames=2), "YBR_FULL_422", 8), jpeg(_colour(frames=2), subsampling=1), BASELINE
    ),
    "JPEG 420 with restarts": lambda path: compressed(
        path,
        header(_colour(), "YBR_FULL_422", 8),
        jpeg(_colour(), subsampling=2, optimize=True, restart_marker_rows=1),
        BASELINE,
    ),
    "JPEG RGB": lambda path: compressed(
        path, header(_colour(), "RGB", 8), jpeg(_colour(), keep_rgb=True), BASELINE
    ),
    "JPEG by DCMTK 422": lambda path: of_dcmtk(path, _colour(), ["dcmcjpeg", "+eb"], "RGB", 8),
    "JPEG extended 8": lambda path: of_dcmtk(path, _grey(), ["dcmcjpeg", "+ee"], GREY, 8),
    "JPEG extended 12 of 2 frames": lambda path: of_dcmtk(
        path, _grey(bits=12, frames=2), ["dcmcjpeg", "+ee", "+bt"], GREY, 12
    ),
    "deflated frames": lambda path: compressed(
        path, header(_grey(frames=2), GREY, 8), _deflated(_grey(frames=2)), DEFLATED_FRAMES
    ),
}


def _deflated(array: np.ndarray) -> list[bytes]:
    out = []
    for frame in array:
        stream = zlib.compressobj(wbits=-15)
        out.append(stream.compress(frame.tobytes()) + stream.flush())
    return out
