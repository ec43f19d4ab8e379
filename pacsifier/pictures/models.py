"""The two models that find and read text: where they are, and that they are the ones that were measured.

They come with the package rapidocr-onnxruntime (Apache-2.0), which is never imported, or from a folder that
`scripts/fetch_ocr_models` filled from its wheel. Nothing here, or in what uses it, fetches anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pacsifier.errors import Fault, InputError

PACKAGE = "rapidocr-onnxruntime"
VERSION = "1.4.4"
FOLDER = "rapidocr_onnxruntime/models"
DETECTOR = "ch_PP-OCRv4_det_infer.onnx"
RECOGNISER = "ch_PP-OCRv4_rec_infer.onnx"
# Files as they are in the wheel of VERSION: SHA-256.
DIGESTS: Mapping[str, str] = {
    DETECTOR: "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    RECOGNISER: "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
}
INSTALL = "pip install 'pacsifier[pixels]'"
_RUNTIME = ("onnxruntime", "numpy", "scipy", "PIL")
_ELSEWHERE = (
    f"{PACKAGE} {VERSION} wants Python before 3.13: on a later one, or without a network, "
    "scripts/fetch_ocr_models fills a folder for --ocr_models"
)


@dataclass(frozen=True)
class Models:
    """The two model files, checked."""

    detector: Path
    recogniser: Path


def find(folder: Path | None = None) -> Models:
    """The models in `folder`, or else of the installed package.

    Raises:
        InputError: the libraries of the extra or the models are absent (says what to install), or a file is
            not the one that was measured.
    """
    absent = [name for name in _RUNTIME if find_spec(name) is None]
    if absent:
        raise InputError(f"text in pixels needs {', '.join(absent)}: {INSTALL}")
    place = _installed() if folder is None else folder.absolute()
    faults = [fault for name, digest in DIGESTS.items() if (fault := _fault(place / name, digest, folder))]
    if faults:
        raise InputError(*faults)
    return Models(place / DETECTOR, place / RECOGNISER)


def digest_of(content: bytes) -> str:
    """The SHA-256 of a file's bytes, as DIGESTS has it."""
    return hashlib.sha256(content).hexdigest()


def _installed() -> Path:
    spec = find_spec(FOLDER.partition("/")[0])
    if spec is None or not spec.origin:
        raise InputError(f"the models that read text are not installed: {INSTALL}; {_ELSEWHERE}")
    return Path(spec.origin).parent / FOLDER.partition("/")[2]


def _fault(path: Path, digest: str, folder: Path | None) -> Fault | None:
    remedy = INSTALL if folder is None else "fill the folder by scripts/fetch_ocr_models"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Fault(str(path), f"no such file: {remedy}")
    except OSError as error:
        return Fault(str(path), f"cannot be read: {error.strerror}")
    if digest_of(content) != digest:
        return Fault(
            str(path), f"not the file of {PACKAGE} {VERSION} (its SHA-256 is another): {remedy}; {_ELSEWHERE}"
        )
    return None
