"""From the page to the second run: what a person sees, answers and saves is what the next run does, and no more."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from pacsifier.cli.anonymize import main
from tests.browser.axe import barriers
from tests.deid import corpus, helpers

SERIES = ("first", "second", "third")
NAME = "SMITHSON^ALBERTA"


def ultrasound(series: str, number: int) -> Dataset:
    """An image with a name at the top."""
    ds = corpus.ultrasound(number)
    ds.PatientName, ds.PatientID = NAME, "4711-0815"
    ds.SeriesInstanceUID, ds.SeriesDescription = corpus.uid(77, SERIES.index(series)), series
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = corpus.uid(77, SERIES.index(series), number)
    return corpus.with_text(ds, NAME)


@pytest.fixture
def cleaned(tmp_path: Path) -> Path:
    """An output of three series of two images, with its page."""
    for series in SERIES:
        for number in (1, 2):
            corpus.save(ultrasound(series, number), tmp_path / "in" / series / f"{number}")
    assert run(tmp_path) == 0
    return tmp_path


def run(folder: Path, *more: str) -> int:
    return main(["-d", str(folder / "in"), "-o", str(folder / "out"), "--clean_pixels", *more])


def of_series(folder: Path) -> dict[str, list[Dataset]]:
    found: dict[str, list[Dataset]] = {}
    for path in helpers.outputs(folder / "out"):
        ds = helpers.read(path)
        found.setdefault(ds.SeriesDescription, []).append(ds)
    return found


def saved(browser, downloads: Path) -> Path:
    browser.find_element(By.ID, "save").click()
    path = downloads / "reviewed.json"
    WebDriverWait(browser, 20).until(lambda _: path.exists() and path.stat().st_size)
    return path


def test_what_is_answered_on_the_page_is_what_the_second_run_does(cleaned, browser, downloads):
    page = cleaned / "out.pixels.html"
    assert page.stat().st_mode & 0o777 == 0o600
    browser.get(page.as_uri())
    articles = browser.find_elements(By.TAG_NAME, "article")
    names = [each.find_element(By.TAG_NAME, "h2").text.rpartition(" ")[2] for each in articles]
    assert sorted(names) == sorted(SERIES)
    before, after = (
        browser.execute_script("return arguments[0].naturalWidth", each)
        for each in articles[0].find_elements(By.CSS_SELECTOR, ".picture img")[:2]
    )
    assert (before, after) == (640, 640)
    # By keyboard alone: the first series is all gone, the last is to be left out.
    keys = ActionChains(browser)
    keys.send_keys("n", "1", "n", "2").perform()
    picture = articles[1].find_element(By.CSS_SELECTOR, ".picture.before")
    ActionChains(browser).move_to_element_with_offset(picture, -40, 10).click_and_hold().move_by_offset(
        60, 30
    ).release().perform()
    ActionChains(browser).send_keys("n", "3").perform()
    assert browser.find_element(By.ID, "state").text == "3 of 3 answered"
    answers = json.loads(saved(browser, downloads).read_text())["answers"]
    assert len(answers) == 6
    box = next(each["boxes"] for each in answers if each["answer"] == "blank here, too")[0]
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []

    stamps = {path: path.stat().st_mtime_ns for path in helpers.outputs(cleaned / "out")}
    assert run(cleaned, "--resume", "--reviewed", str(downloads / "reviewed.json")) == 0
    found = of_series(cleaned)
    gone, drawn, _ = names
    assert set(found) == {gone, drawn}
    assert {ds.PatientIdentityRemoved for ds in found[gone]} == {"YES"}
    assert {ds.BurnedInAnnotation for ds in found[gone]} == {"NO"}
    assert {ds.PatientIdentityRemoved for ds in found[drawn]} == {"NO"}
    left, top, right, bottom = box
    for ds in found[drawn]:
        pixels = ds.pixel_array
        assert np.unique(pixels[top:bottom, left:right]).size == 1
        assert np.unique(pixels[bottom + 3, left:right]).size > 1
    assert len(stamps) == 6 and len(helpers.outputs(cleaned / "out")) == 4


def test_a_drawn_box_stays_when_its_series_is_all_gone_in_a_third_run(cleaned, tmp_path):
    uids = {path.stem for path in helpers.outputs(cleaned / "out")}
    box = [300, 300, 400, 350]
    for number, answer in enumerate(({"answer": "blank here, too", "boxes": [box]}, {"answer": "all gone"})):
        answers = [{"sop_instance_uid": uid, **answer} for uid in sorted(uids)]
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"kind": "pacsifier: answers to pictures", "answers": answers}))
        assert run(cleaned, "--resume", "--reviewed", str(path)) == 0
    for path in helpers.outputs(cleaned / "out"):
        ds = helpers.read(path)
        assert ds.PatientIdentityRemoved == "YES"
        assert np.unique(ds.pixel_array[300:350, 300:400]).size == 1
        assert np.unique(ds.pixel_array[360, 300:400]).size > 1


def test_only_what_is_named_is_written_anew(cleaned, tmp_path):
    outputs = helpers.outputs(cleaned / "out")
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in outputs}
    path = tmp_path / "list"
    path.write_text(outputs[0].stem + "\n")
    assert run(cleaned, "--resume", "--reviewed", str(path)) == 0
    changed = [each for each in outputs if (each.stat().st_ino, each.read_bytes()) != before[each]]
    assert changed == [outputs[0]]


def test_a_run_that_resumes_a_cleaning_one_without_cleaning_is_refused(cleaned, capsys):
    assert main(["-d", str(cleaned / "in"), "-o", str(cleaned / "out"), "--resume"]) == 2
    assert "--clean_pixels" in capsys.readouterr().err


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_and_values_are_data(tmp_path, browser, width):
    evil = "<script>document.title='taken'</script>"
    ds = ultrasound("first", 1)
    folder = tmp_path / "in" / evil.replace("/", "_")
    corpus.save(ds, folder / "1")
    assert run(tmp_path) == 0
    browser.set_window_size(width, 900)
    browser.get((tmp_path / "out.pixels.html").as_uri())
    assert browser.title == "Pixels of out"
    assert evil.replace("/", "_") in browser.find_element(By.TAG_NAME, "h2").text
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= seen
    assert barriers(browser) == []
    if folder := os.environ.get("PACSIFIER_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / f"pixels-{width}.png"))


def test_a_box_is_drawn_by_keyboard_too(cleaned, browser, downloads):
    browser.get((cleaned / "out.pixels.html").as_uri())
    keys = ActionChains(browser).send_keys("n", "2", "b")
    keys.key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).send_keys(
        Keys.ARROW_DOWN
    ).perform()
    answers = json.loads(saved(browser, downloads).read_text())["answers"]
    assert [each["boxes"] for each in answers] == [[[160, 128, 328, 248]]] * 2
