"""Frames to arrays of stored samples and back, by transfer syntax.

`decoded` gives samples as they are stored (no colour transform but that of the codestream itself, JPEG as its decoder
gives it); `stored_values` what they are worth. Sources: DICOM PS3.5 sections 8.1, 8.2 and annexes A, D, G.
"""

from __future__ import annotations

import importlib.util
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pacsifier.pictures import jpegblocks
from pacsifier.pictures.coders import Coders, recoded
from pacsifier.pictures.stored import EXPLICIT, UNCOMPRESSED, Meaning, PixelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[Any]
    """Of one frame, (rows, columns) or (rows, columns, samples), as the codec gives them."""

_JPEG: Final = "1.2.840.10008.1.2.4."
RLE: Final = "1.2.840.10008.1.2.5"
ENCAPSULATED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
BASELINE: Final = f"{_JPEG}50"
EXTENDED: Final = f"{_JPEG}51"
LOSSLESS_14: Final = f"{_JPEG}57"
LOSSLESS: Final = f"{_JPEG}70"
LS: Final = f"{_JPEG}80"
LS_NEAR: Final = f"{_JPEG}81"
_LS: Final = (LS, LS_NEAR)
J2K_LOSSLESS: Final = f"{_JPEG}90"
J2K: Final = f"{_JPEG}91"
HTJ2K: Final = tuple(f"{_JPEG}{number}" for number in (201, 202, 203))
# Retired processes, which dcmdjpeg reads.
_OLD_JPEG: Final = tuple(f"{_JPEG}{number}" for number in (53, 55))
_BATCH: Final = 1 << 25  # bytes of decoded frames that go to a program of DCMTK at once


def decoded(frames: Sequence[bytes], meaning: Meaning, coders: Coders) -> list[Samples]:
    """The samples of some frames.

    Raises:
        PixelsError: they cannot be decoded here, are broken, or of another size than the header tells.
    """
    syntax = meaning.syntax
    if syntax == EXTENDED and all(_precision(data) == 8 for data in frames):
        return decoded(frames, replace(meaning, syntax=BASELINE), coders)
    if syntax in DECODERS and not _needs_dcmtk(meaning):
        made = [_guarded(DECODERS[syntax], data, meaning) for data in frames]
    elif syntax in (EXTENDED, LOSSLESS, LOSSLESS_14, *_OLD_JPEG, *_LS):
        coder, name = (coders.djpls, "dcmdjpls") if syntax in _LS else (coders.djpeg, "dcmdjpeg")
        plain, form = recoded(coder, name, coders, meaning, frames)
        made = [raw(data, form) for data in plain]
    else:
        raise PixelsError("its transfer syntax is not decoded")
    shape = (meaning.rows, meaning.columns, meaning.samples)[: 2 if meaning.samples == 1 else 3]
    if any(each.shape != shape for each in made):
        raise PixelsError("a frame is of another size than the header tells")
    return made


def batch(meaning: Meaning) -> int:
    """How many frames are decoded or encoded at once: one, or as many as make it worth starting a program."""
    if meaning.syntax in DECODERS and not _needs_dcmtk(meaning) and not _by_cjpls(meaning):
        return 1
    return max(1, min(64, _BATCH * 8 // meaning.frame_bits))


def _needs_dcmtk(meaning: Meaning) -> bool:
    """Whether it is JPEG-LS, and pyjpegls is not installed: there is none for the youngest Python."""
    return meaning.syntax in _LS and importlib.util.find_spec("jpeg_ls") is None


def _by_cjpls(meaning: Meaning) -> bool:
    """Whether JPEG-LS is encoded by DCMTK: it reads what pyjpegls makes of such signed samples 4096 too high."""
    return meaning.syntax in _LS and (
        _needs_dcmtk(meaning) or (meaning.signed and meaning.stored < meaning.allocated)
    )


def _guarded(decoder: Callable[[bytes, Meaning], Samples], data: bytes, meaning: Meaning) -> Samples:
    try:
        return decoder(data, meaning)
    except (ImportError, MemoryError, PixelsError):
        raise
    except Exception as error:
        raise PixelsError("a frame cannot be decoded") from error


def raw(data: bytes | bytearray, meaning: Meaning) -> Samples:
    """Samples of an uncompressed frame, as a view where that can be; `data` holds whole samples."""
    import numpy as np

    shape = (meaning.rows, meaning.columns)
    if meaning.allocated == 1:
        bits: Samples = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[: shape[0] * shape[1]].reshape(shape)
    order = ">" if meaning.is_big else "<"
    kind = f"{order}{'f' if meaning.is_float else 'u'}{meaning.allocated // 8}"
    flat = np.frombuffer(data, kind, count=meaning.frame_bits // meaning.allocated)
    if meaning.halved:
        pairs = flat.reshape(meaning.rows, meaning.columns // 2, 4)
        colours = np.repeat(pairs[..., 2:], 2, axis=1)
        return np.concatenate([pairs[..., :2].reshape(*shape, 1), colours], axis=2)
    if meaning.samples == 1:
        return flat.reshape(shape)
    if meaning.by_plane:
        by_pixel: Samples = flat.reshape(meaning.samples, *shape).transpose(1, 2, 0)
        return by_pixel
    return flat.reshape(*shape, meaning.samples)


def _inflated(data: bytes, meaning: Meaning) -> Samples:
    most = (meaning.frame_bits + 7) // 8
    return raw(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most), meaning)


def _from_rle(data: bytes, meaning: Meaning) -> Samples:
    from rle.utils import decode_frame

    made = decode_frame(data, meaning.rows * meaning.columns, meaning.allocated, "<")
    return raw(bytes(made), replace(meaning, by_plane=True))


def _from_j2k(data: bytes, _meaning: Meaning) -> Samples:
    from openjpeg import utils as openjpeg

    made: Samples = openjpeg.decode(data)
    return made


def _from_ls(data: bytes, _meaning: Meaning) -> Samples:
    import jpeg_ls
    import numpy as np

    made: Samples = np.asarray(jpeg_ls.jlsread(data))
    return made


def _from_baseline(data: bytes, meaning: Meaning) -> Samples:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        if meaning.samples == 3 and not jpegblocks.read(data).is_rgb:
            # The library takes it for YBR: asked for YBR, it leaves the components as they are.
            picture.draft("YCbCr", picture.size)
        made: Samples = np.asarray(picture)
        return made


def is_ybr(data: bytes, meaning: Meaning) -> bool:
    """Whether the three samples that `decoded` gives are luminance and colour differences; else red, green and blue."""
    if meaning.samples != 3:
        return False
    by_header = meaning.photometric.startswith("YBR") and meaning.photometric not in ("YBR_RCT", "YBR_ICT")
    if meaning.syntax in (J2K_LOSSLESS, J2K, *HTJ2K):
        return by_header and not has_transform(data)
    if meaning.syntax not in (BASELINE, EXTENDED):
        return by_header
    picture = jpegblocks.read(data)
    if picture.adobe is None and not picture.jfif:
        return by_header and not picture.is_rgb
    return not picture.is_rgb


def _precision(data: bytes) -> int:
    """Bits of a sample of a JPEG stream."""
    pos = 2
    while pos + 4 < len(data):
        marker, length = data[pos + 1], int.from_bytes(data[pos + 2 : pos + 4], "big")
        if data[pos] != 0xFF:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[pos + 4]
        pos += 1 if marker == 0xFF else 2 + length
    raise PixelsError("its JPEG stream is broken")


DECODERS: Final[Mapping[str, Callable[[bytes, Meaning], Any]]] = {
    **dict.fromkeys((*UNCOMPRESSED, ENCAPSULATED), raw),
    DEFLATED_FRAMES: _inflated,
    RLE: _from_rle,
    BASELINE: _from_baseline,
    **dict.fromkeys(_LS, _from_ls),
    **dict.fromkeys((J2K_LOSSLESS, J2K, *HTJ2K), _from_j2k),
}


# --- encoded again ------------------------------------------------------------------------------------------------


def encoded(
    frames: Sequence[Samples], originals: Sequence[bytes], meaning: Meaning, coders: Coders
) -> list[bytes]:
    """Frames without loss, in the form of their transfer syntax that has no loss; raises PixelsError."""
    syntax = meaning.syntax
    if syntax in (LOSSLESS, LOSSLESS_14):
        return _by_dcmtk(frames, meaning, coders, LOSSLESS)
    if _by_cjpls(meaning):
        return _by_dcmtk(frames, meaning, coders, LS)
    if syntax not in ENCODERS:
        raise PixelsError("its transfer syntax is not encoded")
    try:
        return [ENCODERS[syntax](one, data, meaning) for one, data in zip(frames, originals, strict=True)]
    except (ImportError, MemoryError, PixelsError):
        raise
    except Exception as error:
        raise PixelsError("a frame cannot be encoded") from error


def _by_dcmtk(frames: Sequence[Samples], meaning: Meaning, coders: Coders, syntax: str) -> list[bytes]:
    import numpy as np

    plain = replace(meaning, syntax=EXPLICIT, by_plane=False)
    kind = f"<u{meaning.allocated // 8}"
    whole = [np.ascontiguousarray(each).astype(kind, casting="unsafe").tobytes() for each in frames]
    coder, name = (coders.cjpeg, "dcmcjpeg") if syntax == LOSSLESS else (coders.cjpls, "dcmcjpls")
    return recoded(coder, name, coders, plain, whole)[0]


def _to_raw(samples: Samples, _original: bytes, meaning: Meaning) -> bytes:
    import numpy as np

    if meaning.allocated == 1:
        return np.packbits(samples.ravel(), bitorder="little").tobytes()
    if meaning.by_plane and meaning.samples > 1:
        samples = samples.transpose(2, 0, 1)
    return np.ascontiguousarray(samples).tobytes()


def _to_deflated(samples: Samples, original: bytes, meaning: Meaning) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(_to_raw(samples, original, meaning)) + stream.flush()


def _to_rle(samples: Samples, _original: bytes, meaning: Meaning) -> bytes:
    import numpy as np
    from rle.utils import encode_pixel_data

    made: bytes = encode_pixel_data(
        np.ascontiguousarray(samples).tobytes(),
        rows=meaning.rows,
        columns=meaning.columns,
        samples_per_pixel=meaning.samples,
        bits_allocated=meaning.allocated,
        byteorder="<",
    )
    return made


def _to_j2k(samples: Samples, original: bytes, _meaning: Meaning) -> bytes:
    import numpy as np
    from openjpeg import utils as openjpeg

    precision = int(openjpeg.get_parameters(original)["precision"])
    colour = 2 if samples.ndim == 2 else (1 if has_transform(original) else 3)
    made: bytes = openjpeg.encode_array(
        np.ascontiguousarray(samples),
        bits_stored=precision,
        photometric_interpretation=colour,
        use_mct=colour == 1,
    )
    return made


def has_transform(data: bytes) -> bool:
    """Whether a JPEG 2000 codestream transforms its colours (T.800 A.6.1); the first COD marker tells."""
    start = data.find(b"\xff\x4f\xff\x51")
    at = start + 2
    while start >= 0 and at + 10 < len(data) and data[at] == 0xFF and data[at + 1] != 0x90:
        if data[at + 1] == 0x52:
            return data[at + 8] == 1
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _to_ls(samples: Samples, original: bytes, meaning: Meaning) -> bytes:
    import jpeg_ls
    import numpy as np

    precision, interleave = _of_ls(original)
    if samples.ndim == 3 and interleave == 0:
        samples = samples.transpose(2, 0, 1)
    return bytes(
        jpeg_ls.encode_buffer(
            np.ascontiguousarray(samples).tobytes(),
            meaning.rows,
            meaning.columns,
            meaning.samples,
            precision,
            interleave_mode=interleave,
        )
    )


def _of_ls(data: bytes) -> tuple[int, int]:
    """Bits of a sample and interleave mode of a JPEG-LS stream."""
    scan = data.find(b"\xff\xda")
    return _ls_precision(data), data[scan + 4 + 1 + 2 * data[scan + 4] + 1]


def _ls_precision(data: bytes) -> int:
    frame = data.find(b"\xff\xf7")
    if frame < 0:
        raise PixelsError("its JPEG-LS stream is broken")
    return data[frame + 4]


ENCODERS: Final[Mapping[str, Callable[[Any, bytes, Meaning], bytes]]] = {
    ENCAPSULATED: _to_raw,
    DEFLATED_FRAMES: _to_deflated,
    RLE: _to_rle,
    **dict.fromkeys(_LS, _to_ls),
    **dict.fromkeys((J2K_LOSSLESS, J2K), _to_j2k),
}


# --- what samples are worth ---------------------------------------------------------------------------------------


def stored_values(samples: Samples, meaning: Meaning) -> Samples:
    """The stored values of samples (PS3.5 8.1.1): the stored bits only, with their sign."""
    import numpy as np

    if meaning.is_float or meaning.allocated == 1:
        return samples
    native = samples.dtype.newbyteorder("=")
    width = meaning.allocated // 8
    kind = np.dtype(f"i{width}") if samples.dtype.kind == "i" else np.dtype(f"u{width}")
    wide = samples.astype(kind if width > native.itemsize else native, copy=False)
    bits = wide.dtype.itemsize * 8
    whole: Samples = np.ascontiguousarray(wide).view(f"{'i' if meaning.signed else 'u'}{bits // 8}")
    if meaning.stored == bits:
        return whole
    if meaning.signed:
        return (whole << (bits - 1 - meaning.high)) >> (bits - meaning.stored)
    made: Samples = (whole >> (meaning.high + 1 - meaning.stored)) & whole.dtype.type(
        (1 << meaning.stored) - 1
    )
    return made
