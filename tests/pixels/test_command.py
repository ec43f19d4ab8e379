"""`pacsifier-anonymize` and pixels: what is asked for is done, what cannot be done is named."""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from told import of, read

from pacsifier.cli.anonymize import main
from pacsifier.pictures import needs
from tests.deid import corpus, helpers
from tests.pixels.made import by_dcmtk

NAME = "SMITHSON^ALBERTA"


def picture(make=corpus.ultrasound, number: int = 1, text: str = NAME) -> Dataset:
    """An image with a line at the top, of a patient of that name."""
    ds = make(number)
    ds.PatientName, ds.PatientID = NAME, "4711-0815"
    return corpus.with_text(ds, text)


def run(folder: Path, *options: str) -> int:
    return main(["-d", str(folder / "in"), "-o", str(folder / "out"), "--workers", "1", *options])


def only(folder: Path) -> Dataset:
    (path,) = helpers.outputs(folder / "out")
    return helpers.read(path)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_verify_pixels_finds_whom_a_picture_names_and_verify_alone_says_that_it_does_not_look(
    tmp_path, capsys
):
    corpus.save(picture(), tmp_path / "in" / "1")
    assert run(tmp_path, "--verify") == 0
    assert "what the pixels show is not looked at" in capsys.readouterr().err
    assert run(tmp_path, "--resume", "--verify_pixels") == 1
    hits = table(tmp_path / "out.verify_report.csv")
    assert [(row["tag"], row["what"]) for row in hits if row["tag"]] == [
        ("pixels", "known identifier, read in the pixels")
    ]
    assert "SMITHSON" not in (tmp_path / "out.verify_report.csv").read_text()


def test_a_program_is_told_what_was_seen_in_the_pixels_and_no_name(tmp_path, capsys):
    corpus.save(picture(), tmp_path / "in" / "1")
    assert run(tmp_path, "--clean_pixels", "--verify_pixels", "--json") == 0
    told = capsys.readouterr().out
    events = read(told)
    assert events[0]["did"] == ["clean_pixels", "verify_pixels"]
    assert {"pictures looked at", "pictures drawn", "pictures verified"} <= {
        event["stage"] for event in of(events, "progress")
    }
    summary = events[-1]
    assert (summary["pixels"]["files"], summary["pixels"]["reader"]) == (1, 1)
    assert summary["verify"]["hits"] == 0
    assert not [word for word in ("SMITHSON", "ALBERTA", "4711") if word in told]


def test_a_cleaned_output_names_nobody(tmp_path):
    corpus.save(picture(), tmp_path / "in" / "1")
    assert run(tmp_path, "--clean_pixels", "--verify_pixels") == 0
    (row,) = table(tmp_path / "out.deidentification_report.csv")
    assert (row["pixels_reader"], row["pixels_seen"], row["frames_looked_at"], row["frames"]) == (
        "1",
        "0",
        "1",
        "1",
    )


@pytest.mark.parametrize(("make", "removed"), [(corpus.dx, "YES"), (corpus.ultrasound, "NO")])
def test_the_mark_follows_the_table_of_claims(make, removed, tmp_path):
    corpus.save(picture(make), tmp_path / "in" / "1")
    assert run(tmp_path, "--clean_pixels") == 0
    ds = only(tmp_path)
    assert ds.PatientIdentityRemoved == removed
    assert (ds.get("BurnedInAnnotation") == "NO") is (removed == "YES")
    assert "113101" in [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]
    assert ds.DerivationDescription == "regions of the pixel data blanked to remove text"
    assert ds.ImageType[0] == picture(make).ImageType[0]


def test_a_kept_word_stays_where_it_stands_alone(tmp_path):
    corpus.save(picture(text="LEFT"), tmp_path / "in" / "1")
    (tmp_path / "words").write_text("LEFT\nSMITHSON^ALBERTA\n")
    assert run(tmp_path, "--clean_pixels", "--keep_pixel_words", str(tmp_path / "words")) == 0
    assert only(tmp_path).PixelData == picture(text="LEFT").PixelData
    corpus.save(picture(), tmp_path / "named" / "in" / "1")
    assert run(tmp_path / "named", "--clean_pixels", "--keep_pixel_words", str(tmp_path / "words")) == 0
    assert only(tmp_path / "named").PixelData != picture().PixelData


def test_what_is_not_suspicious_is_looked_at_only_when_all_is_asked_for(tmp_path):
    corpus.save(picture(corpus.ct), tmp_path / "in" / "1")
    assert run(tmp_path, "--clean_pixels") == 0
    assert only(tmp_path).PixelData == picture(corpus.ct).PixelData
    assert main(["-d", str(tmp_path / "in"), "-o", str(tmp_path / "all"), "--clean_pixels", "all"]) == 0
    (path,) = helpers.outputs(tmp_path / "all")
    assert helpers.read(path).PixelData != picture(corpus.ct).PixelData


def test_a_picture_that_nobody_can_look_at_is_left_out_and_named(tmp_path, capsys):
    ds = picture()
    ds.PixelData = ds.PixelData[:1000]
    corpus.save(ds, tmp_path / "in" / "broken")
    corpus.save(picture(number=2), tmp_path / "in" / "whole")
    assert run(tmp_path, "--clean_pixels") == 1
    assert len(helpers.outputs(tmp_path / "out")) == 1
    reasons = {row["input"]: row["reason"] for row in table(tmp_path / "out.deidentification_report.csv")}
    assert reasons["broken"].startswith("pixels that cannot be searched for text")
    assert "left out: 1 (pixels that cannot be searched for text)" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--clean_pixels", "--verify_pixels"])
def test_without_the_extra_it_is_refused_with_the_line_that_installs_it(
    option, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "onnxruntime" else object())
    corpus.save(picture(), tmp_path / "in" / "1")
    assert run(tmp_path, option) == 2
    said = capsys.readouterr().err
    assert "onnxruntime" in said and "pip install 'pacsifier[pixels]'" in said
    assert not (tmp_path / "out").exists() or not helpers.outputs(tmp_path / "out")


def test_without_the_option_nothing_of_the_extra_is_imported(tmp_path):
    corpus.save(picture(), tmp_path / "in" / "1")
    code = (
        "import sys\n"
        "from pacsifier.cli.anonymize import main\n"
        f"assert main(['-d', {str(tmp_path / 'in')!r}, '-o', {str(tmp_path / 'out')!r}, '--workers', '1']) == 0\n"
        "print(sorted({'onnxruntime', 'PIL', 'scipy', 'numpy', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def running_children() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                found.add(path.parent.name)
    return found


def test_nothing_runs_any_more_when_one_worker_has_cleaned_what_dcmtk_decodes(tmp_path):
    corpus.save(picture(), tmp_path / "plain.dcm")
    (tmp_path / "in").mkdir()
    by_dcmtk("dcmcjpeg", ["+e1"], tmp_path / "plain.dcm", tmp_path / "in" / "1")
    before = running_children()
    assert run(tmp_path, "--clean_pixels", "--verify_pixels") == 0
    assert table(tmp_path / "out.deidentification_report.csv")[0]["pixels_reader"] == "1"
    # The guardian of DCMTK's programs ends by itself once it is let go, which takes a moment.
    deadline = time.monotonic() + 10
    while running_children() - before and time.monotonic() < deadline:
        os.sched_yield()
    assert running_children() - before == set()


def test_what_is_still_read_in_a_blanked_place_keeps_the_file_out(tmp_path, monkeypatch):
    """Nothing but a fault of ours leaves text there; then the file must not go out."""
    from pacsifier.deidentify import pixels

    def nothing_blanked(source: Path, target: Path, *_: object) -> None:
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(pixels, "blank", nothing_blanked)
    corpus.save(picture(), tmp_path / "in" / "1")
    assert run(tmp_path, "--clean_pixels") == 1
    assert helpers.outputs(tmp_path / "out") == []
    (row,) = table(tmp_path / "out.deidentification_report.csv")
    assert "known identifier, read in the pixels" in row["reason"]


def test_files_beside_the_key_are_for_their_owner_only(tmp_path):
    corpus.save(picture(), tmp_path / "in" / "1")
    assert run(tmp_path, "--clean_pixels") == 0
    beside = [tmp_path / f"out.{name}" for name in ("pixels.html", "pixels.jsonl", "key.json")]
    assert [path.stat().st_mode & 0o777 for path in beside] == [0o600] * 3
    assert not [path for path in (tmp_path / "out").rglob("*") if "pixels" in path.name]
