"""The detector and the recogniser as two calls: a picture -> how likely each pixel is text; pieces -> what is read.

What counts as text is decided in `finding`. Facts of the models, PP-OCRv4 (mobile) by PaddleOCR: BGR, the detector
normalised by ImageNet's mean and deviation, the recogniser by a half, 48 rows high, its characters in its metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacsifier.pictures.graph import faster
from pacsifier.pictures.models import PACKAGE, VERSION, Models

Picture = NDArray[np.uint8]
# ImageNet's mean and deviation of blue, green, red as this detector was trained: by channel, of 0 to 1.
_NORMS = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
READ_ROWS = 48
_NARROWEST = 80
_WIDEST = 3200
_SURE = 0.5


@dataclass(frozen=True)
class Reading:
    """What was read, and the mean confidence of its characters (0 to 1; 0 where nothing was).

    `first`, `last`: where its outer sure characters stand, from 0 at the piece's left end to 1.
    """

    text: str = ""
    confidence: float = 0.0
    first: float = 0.5
    last: float = 0.5


class Engine:
    """Both models in onnxruntime, loaded when they are first asked; one a process.

    `threads`: of one call; so many cores are busy.
    """

    def __init__(self, models: Models, threads: int = 1) -> None:
        self._models = models
        self._threads = threads

    @property
    def name(self) -> str:
        """Models and runtime with their versions, for the text of a method."""
        return f"PP-OCRv4 ({PACKAGE} {VERSION}), onnxruntime {version('onnxruntime')}"

    def detect(self, picture: Picture) -> NDArray[np.float32]:
        """How likely each pixel is in a line of text.

        `picture`: (rows, columns) or (rows, columns, 3) in RGB, both sides multiples of 32. Returns (rows, columns)
        between 0 and 1.
        """
        channels = [picture] * 3 if picture.ndim == 2 else [picture[..., each] for each in (2, 1, 0)]
        data = np.empty((1, 3, *picture.shape[:2]), np.float32)
        for plane, channel, (mean, deviation) in zip(data[0], channels, _NORMS, strict=True):
            np.multiply(channel, np.float32(1 / (255 * deviation)), out=plane)
            np.subtract(plane, np.float32(mean / deviation), out=plane)
        likely: NDArray[np.float32] = self._detector.run(None, {"x": data})[0][0, 0]
        return likely

    def read(self, piece: Picture) -> Reading:
        """What is read in a piece of a picture: one line of text, upright.

        One at a time: batches of lines took longer for each (measured: 30 for 21 ms at 16 lines of 320 columns).
        """
        width = min(max(round(piece.shape[1] * READ_ROWS / piece.shape[0]), 8), _WIDEST)
        data = _line(piece, width).astype(np.float32) / 127.5 - 1
        (odds,) = self._recogniser.run(None, {"x": np.ascontiguousarray(data.transpose(2, 0, 1)[None])})
        return self._reading(odds[0], data.shape[1] / width)

    @cached_property
    def _detector(self) -> Any:
        return _session(self._models.detector, self._threads)

    @cached_property
    def _recogniser(self) -> Any:
        return _session(self._models.recogniser, self._threads)

    @cached_property
    def _characters(self) -> tuple[str, ...]:
        """By index; the first is none (CTC's blank), the last a space."""
        listed = self._recogniser.get_modelmeta().custom_metadata_map["character"]
        return ("", *listed.splitlines(), " ")

    def _reading(self, odds: NDArray[np.float32], whole: float) -> Reading:
        """By the likeliest character of each step; a repeated one counts once (CTC).

        `whole`: how many widths of the piece the steps cover.
        """
        best = odds.argmax(axis=1)
        kept = (best != 0) & np.concatenate(([True], best[1:] != best[:-1]))
        if not kept.any():
            return Reading()
        text = "".join(self._characters[each] for each in best[kept])
        likely = odds[kept, best[kept]]
        places = (np.flatnonzero(kept)[likely >= _SURE] + 0.5) * whole / len(best)
        ends = (float(places[0]), min(float(places[-1]), 1.0)) if places.size else (0.5, 0.5)
        return Reading(text.strip(), float(likely.mean()), *ends)


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Pictures differ in shape, so that a plan of memory never fits. The arena stays: without it, three times as slow.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        faster(path.read_bytes()), options, providers=["CPUExecutionProvider"]
    )


def _bgr(picture: Picture) -> Picture:
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture[..., ::-1]


def _line(piece: Picture, width: int) -> Picture:
    """A piece in BGR at the height that the recogniser wants, so wide, grey beyond its end."""
    line = np.full((READ_ROWS, max(width, _NARROWEST), 3), 127, np.uint8)
    small = Image.fromarray(piece).resize((width, READ_ROWS), Image.Resampling.BILINEAR)
    line[:, :width] = _bgr(np.asarray(small))
    return line
