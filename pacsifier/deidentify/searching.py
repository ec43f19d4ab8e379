"""One file's pixels searched for text: by the device's layout, the regions of its header, and the engine.

Everything that can go wrong with a picture is an UnreadableError here, for a file that nobody could look at stays out.
"""

from __future__ import annotations

from dataclasses import dataclass

from pacsifier.pictures.boxes import Region

# Where text may stand on its side.
_TURNED = frozenset(("CR", "DX", "XA", "MG", "CT", "MR"))


@dataclass(frozen=True)
class Searched:
    """What one file shows; the regions hold for all of its frames."""

    columns: int
    rows: int
    frames: int
    looked_at: int
    regions: tuple[Region, ...]
