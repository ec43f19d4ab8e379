"""Small pictures as the bytes of a PNG or JPEG file, for pages."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_QUALITY = 80
_LEAST_ASPECT, _NO_ASPECT = 0.1, 0.02


def jpeg(picture: NDArray[np.uint8], size_px: int) -> bytes:
    """A picture, (rows, columns) or (rows, columns, 3), as a JPEG file of at most so many pixels a side."""
    return _written(picture, size_px, "JPEG", quality=_QUALITY)


def png(picture: NDArray[np.uint8], size_px: int) -> bytes:
    """The same as a PNG file, which loses nothing of what is not made smaller."""
    return _written(picture, size_px, "PNG", optimize=True)


def squared(picture: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """A picture whose pixels are so many times as high as wide, with square ones: no knee looks flat."""
    from PIL import Image

    if not _LEAST_ASPECT <= aspect <= 1 / _LEAST_ASPECT or abs(aspect - 1) < _NO_ASPECT:
        return picture
    made = Image.fromarray(picture)
    return _array(made.resize((made.width, max(round(made.height * aspect), 1)), Image.Resampling.BILINEAR))


def middle(count: int) -> int:
    """Of so many frames or slices the number, from 0, of that which shows most: the middle one."""
    return max(count - 1, 0) // 2


def _array(made: Any) -> NDArray[np.uint8]:
    import numpy as np

    return np.asarray(made)


def _written(picture: NDArray[np.uint8], size_px: int, kind: str, **options: object) -> bytes:
    from PIL import Image

    made = Image.fromarray(picture)
    if max(made.size) > size_px:
        made.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    made.save(out, kind, **options)
    return out.getvalue()
