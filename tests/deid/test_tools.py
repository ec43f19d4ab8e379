"""What other programs say of the output: no new fault of conformance, and the same images for research."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from deid import corpus, helpers
from pacsifier.deidentify.engine.profile import Options


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: scripts/test installs it"
    return found


def _faults(path: Path) -> Counter[str]:
    """The errors that dciodvfy finds, without the values it quotes."""
    run = subprocess.run(
        [_tool("dciodvfy"), "-new", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]
    return Counter(re.sub(r"<[^<>/]*>|= .*$|\"[^\"]*\"|'[^']*'", "", line).strip() for line in lines)


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(fuzz_dates=True, remove_private=True),
        Options(basic=True, remove_private=True),
        Options(safe_private=True, retain_device_identity=True, retain_institution=True),
    ],
    ids=["default", "-a -p", "basic -p", "safe private, device, institution"],
)
def test_dciodvfy_finds_no_new_error(options, tmp_path):
    worse = []
    checked = 0
    for name, ds in corpus.everything():
        if name in ("ct4", "pdf"):  # dciodvfy reads no deflated file; a PDF never goes out
            continue
        source = corpus.save(ds, tmp_path / name / "in" / "sub-x" / "a.dcm")
        helpers.run(tmp_path / name / "in", tmp_path / name / "out", options)
        (target,) = helpers.outputs(tmp_path / name / "out")
        new = _faults(target) - _faults(source)
        checked += 1
        worse += [(name, fault) for fault in new]
    assert checked == 18
    assert not worse
    # The program does find what is wrong.
    broken = corpus.ct(1)
    del broken.Rows
    assert _faults(corpus.save(broken, tmp_path / "broken.dcm")) - _faults(
        corpus.save(corpus.ct(1), tmp_path / "ok.dcm")
    )


# --- dcm2niix on a series as Siemens writes it ---------------------------------------------------------------------

_SLICES, _SIZE = 4, 32


def _csa(tags: dict[str, tuple[str, list[str]]]) -> bytes:
    """A CSA header, version SV10: tags with VR and values as text."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, (vr, values) in tags.items():
        out += name.encode().ljust(64, b"\0") + struct.pack("<I", len(values)) + vr.encode().ljust(4, b"\0")
        out += struct.pack("<III", 0, max(len(values), 6), 77)
        for number in range(max(len(values), 6)):
            text = values[number].encode() + b"\0" if number < len(values) else b""
            out += struct.pack("<IIII", len(text), len(text), 77, len(text)) + text.ljust(
                (len(text) + 3) // 4 * 4, b"\0"
            )
    return out


def _mosaic(volume: int) -> corpus.Dataset:
    ds = corpus.add_geometry(corpus.add_image(corpus.instance(corpus.MR, "MR", volume), size=_SIZE * 2))
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "SIEMENS", "Prisma", "syngo MR E11"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND", "MOSAIC"]
    ds.SeriesDescription = ds.ProtocolName = "ep2d_diff_b1000"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "EP", "SK", "PFP", "2D"
    ds.SequenceName = f"*ep_b{volume * 500}"
    ds.RepetitionTime, ds.EchoTime, ds.MagneticFieldStrength, ds.FlipAngle = 4000, 80, 3, 90
    ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [2, 2], 2, 2
    ds.AcquisitionMatrix, ds.InPlanePhaseEncodingDirection = [_SIZE, 0, 0, _SIZE], "COL"
    ds.AcquisitionNumber = ds.InstanceNumber = volume + 1
    ds.AcquisitionTime = ds.ContentTime = f"10111{volume}.0"
    image = {
        "NumberOfImagesInMosaic": ("US", [str(_SLICES)]),
        "B_value": ("IS", [str(volume * 500)]),
        "DiffusionGradientDirection": ("FD", ["0.00000000", "0.60000000", "0.80000000"] if volume else []),
        "MosaicRefAcqTimes": ("FD", [f"{time:.8f}" for time in (0.0, 2000.0, 1000.0, 3000.0)]),
        "PhaseEncodingDirectionPositive": ("IS", ["1"]),
        "BandwidthPerPixelPhaseEncode": ("FD", ["20.00000000"]),
        "SliceNormalVector": ("FD", ["0.00000000", "0.00000000", "1.00000000"]),
        "ProtocolSliceNumber": ("IS", ["0"]),
        "PatientOrderUID": ("UI", [corpus.uid(5, 99, 98, 97)]),
        "PatName": ("LO", [corpus.NAME]),
    }
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", _csa(image))
    block.add_new(0x18, "CS", "MR")
    protocol = f'### ASCCONV BEGIN ###\nsPatient = "{corpus.NAME}"\nsSliceArray.lSize = {_SLICES}\n### ASCCONV END ###'
    block.add_new(0x20, "OB", _csa({"MrPhoenixProtocol": ("UN", [protocol])}))
    own = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    own.add_new(0x0A, "US", _SLICES)
    own.add_new(0x0C, "IS", str(volume * 500))
    own.add_new(0x29, "FD", [0.0, 2000.0, 1000.0, 3000.0])
    if volume:
        own.add_new(0x0E, "FD", [0.0, 0.6, 0.8])
    return ds


OF_THE_HEADER = (
    "SliceTiming",
    "PhaseEncodingDirection",
    "BandwidthPerPixelPhaseEncode",
    "EffectiveEchoSpacing",
    "TotalReadoutTime",
)
"""What dcm2niix finds in no public element of a series of Siemens."""


def _converted(source: Path, target: Path) -> tuple[dict[str, object], dict[str, bytes]]:
    """What dcm2niix makes of a folder: the sidecar, and the files of b-values, directions and voxels."""
    target.mkdir()
    command = [
        _tool("dcm2niix"),
        "-b",
        "y",
        "-ba",
        "n",
        "-z",
        "n",
        "-f",
        "series",
        "-o",
        str(target),
        str(source),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    files = {path.suffix: path.read_bytes() for path in target.iterdir() if path.suffix != ".json"}
    return json.loads((target / "series.json").read_text()), files


@pytest.mark.parametrize(
    "options", [Options(), Options(fuzz_dates=True), Options(safe_private=True)], ids=str
)
def test_dcm2niix_finds_the_same_b_values_slice_times_and_phase_direction(options, tmp_path):
    for volume in range(3):
        corpus.save(_mosaic(volume), tmp_path / "in" / "sub-x" / f"{volume}.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out", options, verify=True)
    before, files_before = _converted(tmp_path / "in", tmp_path / "nii_before")
    after, files_after = _converted(tmp_path / "out", tmp_path / "nii_after")
    assert files_before[".bval"].split() == [b"0", b"500", b"1000"]
    assert files_after[".bval"] == files_before[".bval"]
    assert files_after[".bvec"] == files_before[".bvec"]
    assert before.keys() >= set(OF_THE_HEADER)
    assert {key: after.get(key) for key in OF_THE_HEADER} == {key: before[key] for key in OF_THE_HEADER}
    assert files_after[".nii"][252:] == files_before[".nii"][252:]  # before it: free text
    assert files_after[".nii"][:148] == files_before[".nii"][:148]
    assert corpus.NAME.encode() not in b"".join(
        path.read_bytes() for path in helpers.outputs(tmp_path / "out")
    )
