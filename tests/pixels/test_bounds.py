"""A worker keeps to a part of 1 GB with a long cine and with a mammogram, whatever their encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pacsifier
from pixels.made import BASELINE, EXPLICIT, LS, compressed, header, jpeg, plain, scene

# Frames at both ends and in the middle: what lies between them goes over unread.
_WORK = r"""
import re, sys
from pathlib import Path
from pacsifier.pictures.blanking import blank
from pacsifier.pictures.boxes import Box
from pacsifier.pictures.decoding import frames_of, pictures, shown
source, target = map(Path, sys.argv[1:3])
which = [int(each) for each in sys.argv[3].split(",")]
done = blank(source, target, {each: [Box(8, 8, 300, 40)] for each in which})
assert done.touched == tuple(which)
for frame in frames_of(target, wanted=set(which)):
    assert pictures(frame)[0].shape == shown(frame).shape
print(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
"""
_MOST_MB = 500


def _cine(path: Path, kind: str) -> Path:
    few = scene(480, 640, frames=2, samples=1 if kind == "plain" else 3)
    if kind == "plain":
        path = plain(path, few, EXPLICIT, "MONOCHROME2", 8)
        # 600 frames without all of them in memory here, either.
        raw = path.read_bytes().replace(b"IS\2\0" + b"2 ", b"IS\4\0" + b"600 ")
        at = len(raw) - few.nbytes
        with path.open("wb") as file:
            file.write(raw[: at - 4] + (few.nbytes * 300).to_bytes(4, "little"))
            for _ in range(300):
                file.write(raw[at:])
        return path
    data = header(few, "YBR_FULL_422", 8)
    data.NumberOfFrames = 600
    return compressed(path, data, jpeg(few, subsampling=1) * 300, BASELINE)


def _mammogram(path: Path, kind: str) -> Path:
    tile = scene(500, 400, bits=12 if kind != "JPEG" else 8) // 64 * 64  # quickly encoded
    array = np.tile(tile, (1, 10, 10))
    if kind == "plain":
        return plain(path, array, EXPLICIT, "MONOCHROME1", 12)
    if kind == "JPEG":
        return compressed(path, header(array, "MONOCHROME1", 8), jpeg(array), BASELINE)
    import jpeg_ls

    frame = bytes(jpeg_ls.encode_buffer(array.tobytes(), 5000, 4000, 1, 12, interleave_mode=0))
    return compressed(path, header(array, "MONOCHROME1", 12), [frame], LS)


@pytest.mark.parametrize(
    ("make", "kind", "frames"),
    [
        (_cine, "plain", "0,299,599"),
        (_cine, "JPEG", "0,299,599"),
        (_mammogram, "plain", "0"),
        (_mammogram, "JPEG-LS", "0"),
    ],
)
def test_large_files_need_little_memory(make, kind, frames, tmp_path):
    source, target = make(tmp_path / "in.dcm", kind), tmp_path / "out.dcm"
    environment = {**os.environ, "PYTHONPATH": str(Path(pacsifier.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", _WORK, str(source), str(target), frames],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    source.unlink()
    assert not done.returncode, done.stderr
    target.unlink()
    # Not what getrusage tells, which counts the process that started it.
    assert int(done.stdout) < _MOST_MB * 1024
