"""The report as a person opens it: by a double click, in the light and in the dark, on paper, and without scripts."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest
from pacs.runs import run as fetch
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pacsifier.cli import anonymize
from pacsifier.cli.report import main
from tests.browser.axe import barriers
from tests.deid import corpus, helpers

PATIENTS = ("00123", "123421", "45322", "124588", "SYN 05", "NOBODY")
NAME = "SMITHSON^ALBERTA"
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def identified(dcmqrscp, hospital, tmp_path_factory) -> Path:
    """The page of a real run, after which one image was lost."""
    home = tmp_path_factory.mktemp("identified")
    done = fetch(dcmqrscp, home, [{"PatientID": each} for each in PATIENTS], "--save", "--info")
    next(iter(done.files.values())).unlink()
    assert main([str(done.out)]) == 0
    return done.out / "report.html"


@pytest.fixture(scope="module")
def anonymized(hospital, tmp_path_factory) -> Path:
    """The page of the hospital and of ultrasound with a name in it, de-identified."""
    home = tmp_path_factory.mktemp("anonymized")
    for path in hospital.files:
        target = home / "in" / path.relative_to(hospital.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for series in (1, 2):
        for number in (1, 2, 3):
            ds = corpus.ultrasound(number)
            ds.SeriesInstanceUID, ds.SeriesNumber, ds.PatientName = corpus.uid(7, series), series, NAME
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = corpus.uid(7, series, number)
            corpus.save(corpus.with_text(ds, NAME), home / "in" / f"{series}-{number}")
    assert clean(home, "--report") == 0
    return home / "out.report.html"


def clean(home: Path, *more: str) -> int:
    return anonymize.main(["-d", str(home / "in"), "-o", str(home / "out"), "--clean_pixels", *more])


@pytest.fixture
def page(request, identified, anonymized) -> Path:
    return {"identified": identified, "anonymized": anonymized}[request.param]


both_kinds = pytest.mark.parametrize("page", ["identified", "anonymized"], indirect=True)


def opened(browser, page: Path, width: int = 1280, scheme: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())


def kept(browser, name: str, width: int) -> None:
    """A picture of the whole page, where somebody wants to look at it."""
    if folder := os.environ.get("PACSIFIER_SCREENSHOTS"):
        height = browser.execute_script("return document.documentElement.scrollHeight")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def complaints(browser) -> list[str]:
    return [line["message"] for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def sizes_of_pictures(browser) -> list[int]:
    images = browser.find_elements(By.CSS_SELECTOR, ".picture img")
    script = (
        "arguments[0].loading = 'eager'; return arguments[0].decode().then(() => arguments[0].naturalWidth)"
    )
    return [browser.execute_script(script, each) for each in images]


def click(browser, element) -> None:
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
    element.click()


@both_kinds
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_its_window_and_keeps_nobody_out(browser, page, width, scheme, request):
    opened(browser, page, width, scheme)
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= seen
    assert all(sizes_of_pictures(browser))
    assert complaints(browser) == []
    kept(browser, f"report-{request.node.callspec.params['page']}-{width}-{scheme}", width)
    assert barriers(browser) == []


@both_kinds
def test_it_can_be_read_without_scripts(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    opened(browser, page)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    text = browser.find_element(By.TAG_NAME, "main").text
    assert "T1 MPRAGE sag" in text and "Size by modality" in text
    assert "Modality\nall" not in text, "a way to find what only scripts can find"
    shown = browser.find_elements(By.CSS_SELECTOR, ".card .picture img")
    assert len(shown) >= 20 and all(each.is_displayed() for each in shown)


@both_kinds
def test_it_can_be_printed(browser, page, request):
    opened(browser, page)
    made = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    pdf = base64.b64decode(made["data"])
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 1 <= pages <= 8
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not any(
        each.is_displayed() for each in browser.find_elements(By.CSS_SELECTOR, ".find, .bar, fieldset")
    )
    if folder := os.environ.get("PACSIFIER_SCREENSHOTS"):
        (Path(folder) / f"report-{request.node.callspec.params['page']}.pdf").write_bytes(pdf)


def test_series_are_found_by_patient_description_and_modality(browser, identified):
    opened(browser, identified)

    def shown() -> int:
        return sum(each.is_displayed() for each in browser.find_elements(By.CLASS_NAME, "card"))

    assert shown() == 24
    words = browser.find_element(By.ID, "words")
    words.send_keys("organa knee")
    assert shown() == 2
    assert browser.find_element(By.ID, "found").text == "2 of 24 series"
    words.clear()
    words.send_keys("BRAIN")
    assert shown() == 5
    words.clear()
    words.send_keys(" ")
    browser.find_element(By.ID, "modality").send_keys("US")
    assert shown() == 1
    heads = [each for each in browser.find_elements(By.TAG_NAME, "h4") if each.is_displayed()]
    assert len(heads) == 1


def test_pictures_in_a_folder_beside_are_seen_and_pages_lead_to_each_other(
    browser, hospital, tmp_path, monkeypatch
):
    monkeypatch.setattr("pacsifier.report.model.SERIES_PER_PAGE", 10)
    assert main([str(hospital.folder), "--out_file", str(tmp_path / "report.html")]) == 0
    opened(browser, tmp_path / "report.html")
    for number in (1, 2, 3):
        assert browser.find_element(By.CSS_SELECTOR, ".pages [aria-current]").text == str(number)
        sizes = sizes_of_pictures(browser)
        assert sizes and all(sizes)
        assert complaints(browser) == []
        if number < 3:
            browser.find_element(By.LINK_TEXT, str(number + 1)).click()
    browser.find_element(By.LINK_TEXT, "1").click()
    assert browser.current_url == (tmp_path / "report.html").as_uri()


def test_what_is_ticked_is_saved_as_the_file_that_the_next_run_takes(browser, anonymized, downloads):
    home = anonymized.parent
    opened(browser, anonymized)
    first = browser.find_elements(By.CLASS_NAME, "first")
    assert len(first) == 3
    assert not browser.find_element(By.ID, "save").is_enabled()
    # One is all gone, one is to be left out, one is not answered; of the others a CT is to be left out.
    for each, answer in zip(first, ("all gone", "leave out"), strict=False):
        click(browser, each.find_element(By.CSS_SELECTOR, f"input[value='{answer}']"))
    tick = browser.find_element(By.CSS_SELECTOR, ".card[data-modality=CT] .out input")
    uids = tick.get_attribute("data-uids").split()
    click(browser, tick)
    assert browser.find_element(By.ID, "state").text == "3 answered, 1 of 3 to look at"
    browser.find_element(By.ID, "save").click()
    path = downloads / "reviewed.json"
    WebDriverWait(browser, 20).until(lambda _: path.exists() and path.stat().st_size)
    answers = {each["sop_instance_uid"]: each["answer"] for each in json.loads(path.read_text())["answers"]}
    assert {answers[uid] for uid in uids} == {"leave out"}
    gone = [uid for uid, answer in answers.items() if answer == "all gone"]
    before = {path.stem for path in helpers.outputs(home / "out")}
    assert clean(home, "--resume", "--reviewed", str(path), "--report") == 0
    after = {path.stem: path for path in helpers.outputs(home / "out")}
    assert before - after.keys() == {uid for uid, answer in answers.items() if answer == "leave out"}
    assert gone and {helpers.read(after[uid]).PatientIdentityRemoved for uid in gone} == {"YES"}
    opened(browser, anonymized)
    assert "1 series comes first" in browser.find_element(By.CSS_SELECTOR, ".secret").text
