"""The report of an anonymized folder names nobody, lies where nobody hands it on, shows first what is suspicious."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from deid import corpus, helpers
from pacsifier.cli import anonymize
from pacsifier.cli.report import main
from pacsifier.deidentify import reviewed

OPTIONS = {"default": [], "-a -p": ["-a", "-p"], "-k": ["-k"], "basic": ["--profile", "basic"]}
NAME = "SMITHSON^ALBERTA"


def run(folder: Path, *options: str) -> int:
    return anonymize.main(["-d", str(folder / "in"), "-o", str(folder / "out"), *options])


def text_of(path: Path) -> str:
    """All of a page but its pictures."""
    assert path.stat().st_mode & 0o777 == 0o600
    return re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))


def page_of(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module", params=OPTIONS)
def anonymized(request, tmp_path_factory) -> Path:
    """The corpus in which everything identifies, and its copy, whose report is a part of the run."""
    home = tmp_path_factory.mktemp("report")
    corpus.build(home / "in" / f"sub-{corpus.PATIENT_ID}" / "Quetzaltenango")
    (home / "in" / "Quetzaltenango.txt").write_text("not DICOM")
    (home / "in" / "Ysolde" / "logs").mkdir(parents=True)
    (home / "in" / "Ysolde" / "logs" / "made_by_pacsifier").touch()
    run(home, *OPTIONS[request.param], "--report")
    return home


def test_no_word_that_identifies_is_in_the_text_of_the_report(anonymized):
    text = text_of(anonymized / "out.report.html").casefold()
    assert [secret for secret in corpus.SECRETS if secret.casefold() in text] == []
    assert str(anonymized).casefold() not in text
    assert corpus.ROOT not in text


def test_the_report_lies_beside_the_output_and_never_in_it(anonymized):
    assert (anonymized / "out.report.html").is_file()
    assert {path.suffix for path in (anonymized / "out").rglob("*") if path.is_file()} == {".dcm"}


def test_every_series_of_the_output_is_shown_once(anonymized):
    page = page_of(anonymized / "out.report.html")
    series = {helpers.read(path).SeriesInstanceUID for path in helpers.outputs(anonymized / "out")}
    assert len(page.select(".card, .first")) == len(series)
    shown = {uid for each in page.select("[data-uids]") for uid in each["data-uids"].split()}
    assert shown == {str(helpers.read(path).SOPInstanceUID) for path in helpers.outputs(anonymized / "out")}


def test_what_the_marks_call_doubtful_comes_first_with_the_reason(anonymized):
    page = page_of(anonymized / "out.report.html")
    doubtful = {
        str(helpers.read(path).SOPInstanceUID)
        for path in helpers.outputs(anonymized / "out")
        if helpers.read(path).PatientIdentityRemoved != "YES"
    }
    first = page.select(".first")
    told = {uid for each in first for uid in each.select_one("fieldset")["data-uids"].split()}
    assert doubtful <= told
    assert "PatientIdentityRemoved is NO" in first[0].text
    assert "BurnedInAnnotation is YES: its header says that text is burned in" in " ".join(
        each.text for each in first
    )
    assert "Not yet reviewed" in page.body.find().text


def test_one_foreign_image_makes_the_report_one_of_identified_data(anonymized, tmp_path, capsys):
    """A folder into which somebody copied an original later is not called anonymized."""
    out = Path(shutil.copytree(anonymized / "out", tmp_path / "out"))
    assert main([str(out)]) == 0
    assert (tmp_path / "out.report.html").is_file()
    (tmp_path / "out.report.html").unlink()
    corpus.save(corpus.ct(1), out / "late")
    assert main([str(out)]) == 0
    assert "This page names patients" in text_of(out / "report.html")
    assert not (tmp_path / "out.report.html").exists()


def test_a_key_kept_elsewhere_has_the_report_beside_it(tmp_path):
    corpus.save(corpus.ultrasound(1), tmp_path / "in" / "1")
    (tmp_path / "keys").mkdir()
    assert run(tmp_path, "--key", str(tmp_path / "keys" / "k.json"), "--report") == 0
    assert (tmp_path / "keys" / "out.report.html").is_file()
    (tmp_path / "keys" / "out.report.html").unlink()
    assert main([str(tmp_path / "out"), "--key", str(tmp_path / "keys" / "k.json")]) == 0
    assert "text is burned in" in text_of(tmp_path / "keys" / "out.report.html")
    assert main([str(tmp_path / "out"), "--key", str(tmp_path / "keys" / "typo.json")]) == 2
    assert main([str(tmp_path / "out")]) == 0
    assert "tables of pacsifier-anonymize are not beside this folder" in text_of(tmp_path / "out.report.html")


def test_a_report_inside_the_output_is_refused(tmp_path, capsys):
    corpus.save(corpus.ct(1), tmp_path / "in" / "1")
    assert run(tmp_path) == 0
    assert main([str(tmp_path / "out"), "--out_file", str(tmp_path / "out" / "x.html")]) == 2
    assert "lies in the anonymized folder" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.html"))


# --- with cleaned pixels


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory) -> Path:
    """Two ultrasound series with a name in their pictures, and a CT."""
    home = tmp_path_factory.mktemp("cleaned")
    for series in (1, 2):
        for number in (1, 2, 3):
            ds = corpus.ultrasound(number)
            ds.SeriesInstanceUID, ds.SeriesNumber, ds.PatientName = corpus.uid(7, series), series, NAME
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = corpus.uid(7, series, number)
            corpus.save(corpus.with_text(ds, NAME), home / "in" / f"{series}-{number}")
    corpus.save(corpus.ct(1), home / "in" / "ct")
    assert run(home, "--clean_pixels", "--report") == 0
    return home


def test_what_was_read_in_pixels_is_not_in_the_text_but_its_box_is_drawn(cleaned):
    text = text_of(cleaned / "out.report.html").casefold()
    assert "SMITHSON" in (cleaned / "out.pixels.jsonl").read_text().upper()
    assert "smithson" not in text and "alberta" not in text
    page = page_of(cleaned / "out.report.html")
    pictures = page.select(".first .picture")
    assert len(pictures) == 6
    assert all(each.select("svg rect.box") for each in pictures)
    assert "text was found and blanked" in page.select_one(".first").text
    assert len(page.select(".card")) == 1


def test_of_a_cine_the_first_and_last_frames_are_seen_and_the_others_counted(tmp_path):
    """Text may stand in the first frames only; an answer is for all of them."""
    ds = corpus.add_image(corpus.ultrasound(1), frames=20, bits=8, size=64)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    corpus.save(ds, tmp_path / "in" / "1")
    assert run(tmp_path, "--report") == 0
    (first,) = page_of(tmp_path / "out.report.html").select(".first")
    told = [each.text.strip() for each in first.select("figcaption")]
    assert told == ["frame 1 of 20", "frame 10 of 20", "frame 20 of 20"]
    assert "Not shown: 17 of its 20 frames" in first.text


def test_what_is_answered_is_taken_and_then_nothing_comes_first(cleaned, tmp_path):
    folder = Path(shutil.copytree(cleaned, tmp_path / "copy"))
    page = page_of(folder / "out.report.html")
    fields = page.select("fieldset[data-uids]")
    assert [each["value"] for each in fields[0].select("input")] == [reviewed.ALL_GONE, reviewed.LEAVE_OUT]
    answers = [
        {"sop_instance_uid": uid, "answer": answer}
        for field, answer in zip(fields, (reviewed.ALL_GONE, reviewed.LEAVE_OUT), strict=True)
        for uid in field["data-uids"].split()
    ]
    (folder / "reviewed.json").write_text(json.dumps({"kind": reviewed.KIND, "answers": answers}))
    again = ("--clean_pixels", "--resume", "--reviewed", str(folder / "reviewed.json"), "--report")
    assert run(folder, *again) == 0
    text = text_of(folder / "out.report.html")
    assert "Not yet reviewed" not in text
    assert "Text was blanked in 1 series, which comes first" in text
    assert {helpers.read(path).PatientIdentityRemoved for path in helpers.outputs(folder / "out")} == {"YES"}
    assert len(helpers.outputs(folder / "out")) == 4
