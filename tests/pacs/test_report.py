"""From a PACS to the page: what it shows is what lies on disk, what it calls missing comes by the command it names."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path

import pydicom
import pytest
from bs4 import BeautifulSoup
from commands import Done, invoke
from PIL import Image
from pydicom.encaps import encapsulate

from pacs.runs import Run, instance_paths, read_table, run, run_arguments
from pacs.servers import Hospital, Server
from pacsifier.demo import make_hospital

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
EVIL = "<script>document.title='x'</script>"


def report(folder: Path, *options: object) -> Done:
    done = invoke("report", folder, *options, cwd=folder.parent)
    assert done.stdout == ""
    return done


def page_of(path: Path) -> BeautifulSoup:
    assert path.stat().st_mode & 0o777 == 0o600
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def cards(page: BeautifulSoup) -> list[str]:
    return [" ".join(each.get_text(" ").split()) for each in page.select(".card")]


def figures(page: BeautifulSoup) -> dict[str, str]:
    """What each figure counts -> the figure."""
    return {
        each.find(string=True, recursive=False).strip(): each.strong.text
        for each in page.select(".figures li")
    }


def text_of(page: BeautifulSoup) -> str:
    return " ".join(page.get_text(" ").split())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Images of a folder that no run of ours has brought."""
    make_hospital(tmp_path / "images")
    return tmp_path / "images"


def change(path: Path, **values: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        for name, value in values.items():
            setattr(data, name, value)
        data.save_as(path)


# --- of a run


def test_a_run_with_a_report_shows_every_series_that_came(pacs: Server, hospital: Hospital, tmp_path):
    done = run(pacs, tmp_path, EVERYONE, "--save", "--report")
    assert done.status == 0, done.stderr
    path = done.out / "report.html"
    assert f"open it in a browser: {path}" in done.stderr
    page = page_of(path)
    assert len(cards(page)) == len(hospital.by_series)
    numbers = figures(page)
    assert numbers["images here"] == str(len(done.files)) == str(len(hospital.files))
    assert numbers["images missing"] == "0"
    assert (numbers["patients"], numbers["series"]) == ("5", "24")
    assert "Nothing is missing" in text_of(page)
    drawn = page.select(".card img")
    assert len(drawn) == 21
    for each in drawn:
        picture = Image.open(io.BytesIO(base64.b64decode(each["src"].partition(",")[2])))
        assert picture.getextrema() != (0, 0) and max(picture.size) <= 224
    assert "This page names patients" in page.body.find().text
    assert "Throughput of the last run" in text_of(page)


def test_the_page_asks_for_nothing_but_itself(pacs: Server, tmp_path):
    done = run(pacs, tmp_path, [{"PatientID": "00123"}], "--save", "--report")
    page = page_of(done.out / "report.html")
    assert not page.select("link, iframe, object, embed, script[src], base, form, video, audio")
    addresses = [each[name] for name in ("src", "href") for each in page.select(f"[{name}]")]
    assert addresses and all(each.startswith("data:image/jpeg;base64,") for each in addresses)
    assert "url(" not in page.style.text and "@import" not in page.style.text


def test_what_only_was_listed_has_no_picture_and_the_command_that_brings_it(pacs: Server, hospital, tmp_path):
    listed = run(pacs, tmp_path, EVERYONE, "--info", "--report")
    page = page_of(listed.out / "report.html")
    assert len(cards(page)) == 24
    assert all("listed, not fetched" in each for each in cards(page))
    words = shlex.split(page.select_one("pre code").text)
    assert words[0] == "pacsifier"
    words[words.index("config.json")] = str(tmp_path / "config.json")
    brought = run_arguments(listed.out, words[1:])
    assert brought.status == 0, brought.stderr
    assert len(brought.files) == len(hospital.files)


def test_a_row_without_a_match_is_shown_with_what_it_asked(pacs: Server, tmp_path):
    done = run(pacs, tmp_path, [{"PatientID": "00123"}, {"PatientID": "NOBODY"}], "--save", "--report")
    page = page_of(done.out / "report.html")
    (row,) = page.select(".missing tbody tr")
    assert "NOBODY" in row.text and "not found" in row.text


@pytest.fixture(scope="module")
def fetched(dcmqrscp: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(dcmqrscp, tmp_path_factory.mktemp("fetched"), EVERYONE, "--save")


@pytest.fixture
def folder(fetched: Run, tmp_path: Path) -> Path:
    """A copy of what a run has brought, files as old as they are."""
    return Path(shutil.copytree(fetched.out, tmp_path / "data"))


def test_what_was_deleted_since_is_missed(folder):
    victim = instance_paths(folder)[0]
    victim.unlink()
    assert report(folder).returncode == 0
    page = page_of(folder / "report.html")
    assert figures(page)["images missing"] == "1"
    (row,) = page.select(".missing tbody tr")
    assert "no longer all here" in row.text
    assert "logs/series.csv" in page.select_one("pre code").text


def test_what_was_deleted_comes_again_by_the_command_beside_what_was_not_found(dcmqrscp, tmp_path):
    """The redo table of the run knows only the row that matched nothing."""
    done = run(dcmqrscp, tmp_path, [*EVERYONE[:2], {"PatientID": "NOBODY"}], "--save")
    count = len(done.files)
    instance_paths(done.out)[0].unlink()
    assert report(done.out).returncode == 0
    commands = [each.text for each in page_of(done.out / "report.html").select("pre code")]
    assert ["redo.csv" in each for each in commands] == [True, False]
    words = shlex.split(commands[1])
    words[words.index("config.json")] = str(tmp_path / "config.json")
    again = run_arguments(done.out, words[1:])
    assert again.status == 0, again.stderr
    assert len(again.files) == count


def test_what_an_earlier_run_missed_is_not_forgotten_by_a_later_one(dcmqrscp, hospital, tmp_path):
    done = run(dcmqrscp, tmp_path, EVERYONE, "--save")
    lost = instance_paths(done.out)[0]
    lost.unlink()
    done = run(
        dcmqrscp, tmp_path, [{"PatientID": "SYN 05", "arm": "B"}], "--info", "--extra_columns", "--report"
    )
    (command,) = page_of(done.out / "report.html").select("pre code")
    words = shlex.split(command.text)
    assert "--save" in words and words[words.index("--queryfile") + 1].endswith("logs/series.csv")
    words[words.index("config.json")] = str(tmp_path / "config.json")
    again = run_arguments(done.out, words[1:])
    assert again.status == 0, again.stderr
    assert lost.exists() and len(again.files) == len(hospital.files)


def test_a_redo_table_with_columns_of_the_user_is_given_back_as_one(dcmqrscp, tmp_path):
    rows = [{"PatientID": "NOBODY", "arm": "A"}]
    done = run(dcmqrscp, tmp_path, rows, "--save", "--extra_columns")
    assert report(done.out).returncode == 0
    (command,) = page_of(done.out / "report.html").select("pre code")
    assert "redo.csv --extra_columns" in command.text


def test_the_tree_stays_as_it_was_and_a_second_report_takes_the_place_of_the_first(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert report(folder).returncode == report(folder).returncode == 0
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {folder / "report.html"}
    assert {path: after[path] for path in before} == before


def test_a_report_is_no_input_of_the_other_commands(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pacsifier.report.model.SERIES_PER_PAGE", 5)
    assert report(folder).returncode == 0
    assert (folder / "report_files").is_dir()
    done = invoke("anonymize", "-d", folder, "-o", tmp_path / "shared", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_table(tmp_path / "shared.deidentification_report.csv")
    told = {row["input"]: row for row in rows}
    assert told["report.html"]["status"] == "left out"
    assert not any(row["output"] for name, row in told.items() if name.startswith("report"))
    assert not [path for path in (tmp_path / "shared").rglob("*") if path.is_file() and path.suffix != ".dcm"]


def test_copied_files_are_not_taken_for_the_pace_of_the_run(folder):
    for path in instance_paths(folder):
        path.touch()
    assert report(folder).returncode == 0
    # The files of this test may be as young as the run itself: it is long over only where its end is told so.
    audit = folder / "logs" / "audit.jsonl"
    line = json.loads(audit.read_text())
    audit.write_text(json.dumps({**line, "ended_at": "2020-01-01T00:00:00+00:00"}) + "\n")
    assert report(folder).returncode == 0
    assert "when each came is not known" in text_of(page_of(folder / "report.html"))


# --- of other folders


def test_a_tree_without_logs_is_told_by_its_images(tree, hospital):
    assert report(tree).returncode == 0
    page = page_of(tree / "report.html")
    assert "There are no logs here" in text_of(page)
    assert len(cards(page)) == len(hospital.by_series)
    assert "images missing" not in figures(page)
    assert page.select("pre") == []


def test_the_tree_of_the_first_version_is_read(fetched, tmp_path):
    for path in instance_paths(fetched.out):
        target = tmp_path / "old" / path.relative_to(fetched.out)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert report(tmp_path / "old").returncode == 0
    assert len(cards(page_of(tmp_path / "old" / "report.html"))) == 24


def test_an_empty_folder_and_one_without_images_have_a_page(tmp_path):
    (tmp_path / "empty").mkdir()
    assert report(tmp_path / "empty").returncode == 0
    assert "No series are here" in text_of(page_of(tmp_path / "empty" / "report.html"))
    (tmp_path / "empty" / "notes.txt").write_text("x")
    assert report(tmp_path / "empty").returncode == 0
    assert "1 file in the folder is no DICOM image" in text_of(page_of(tmp_path / "empty" / "report.html"))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    done = report(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere: is no folder" in done.stderr


def test_values_are_data(tree):
    for path in tree.rglob("IM*"):
        change(
            path,
            SeriesDescription=EVIL,
            PatientID=EVIL,
            PatientName=EVIL,
            StudyDescription=EVIL,
            Modality="<b>'\"",
        )
    assert report(tree).returncode == 0
    raw = (tree / "report.html").read_text()
    page = page_of(tree / "report.html")
    assert len(page.select("script")) == 1
    assert EVIL not in raw
    assert page.select_one(".name").text.endswith(EVIL)
    assert page.title.text == "Report of images"


def test_a_file_that_cannot_be_drawn_has_a_grey_tile_that_says_why(tree):
    first, second, third = sorted(tree.rglob("SE0[12]"))[:3]
    for path in first.iterdir():
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    for path in second.iterdir():
        change(path, Rows=65535, Columns=65535)
    for path in third.iterdir():
        # A video, for which there is no decoder.
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.107"
        data.PixelData = encapsulate([b"no picture at all"])
        data["PixelData"].is_undefined_length = True
        data.save_as(path)
    assert report(tree).returncode == 0
    page = page_of(tree / "report.html")
    grey = [each.text.strip() for each in page.select(".picture.grey")]
    assert len(grey) == 6 and all(grey)
    assert "too large to be drawn" in grey
    assert re.search(r"[0-9]+ files are cut or damaged", text_of(page))


def test_what_cannot_be_read_is_told(tree):
    (tree / "nowhere").symlink_to(tree / "gone")
    (tree / "long").mkdir()
    shutil.copy(next(tree.rglob("IM0001")), tree / "long" / "image")
    change(tree / "long" / "image", SeriesDescription="x" * 5000, SeriesInstanceUID="1.2.3")
    assert report(tree).returncode == 0
    page = page_of(tree / "report.html")
    assert "1 file or link cannot be read" in text_of(page)
    assert max(map(len, cards(page))) < 300


def test_the_middle_image_is_the_one_in_the_middle_by_its_number(tree):
    """Names on disk are in no order: the middle one is told by InstanceNumber."""
    series = tree / "P0001" / "ST01" / "SE02"
    images = sorted(series.iterdir())
    for number, path in enumerate(images):
        data = pydicom.dcmread(path)
        data.InstanceNumber = (number * 5) % 6
        data.PixelData = bytes([255 if data.InstanceNumber == 2 else 0, 0]) * (128 * 128)
        data.save_as(path)
    assert report(series).returncode == 0
    (image,) = page_of(series / "report.html").select(".card img")
    levels = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).convert("L")
    assert image["alt"].endswith("image 3 of 6")
    assert levels.size == (128, 128)


# --- many series


def test_many_series_have_pages_and_pictures_in_a_folder_of_their_own(tree, monkeypatch):
    monkeypatch.setattr("pacsifier.report.model.SERIES_PER_PAGE", 10)
    done = report(tree)
    assert done.returncode == 0
    assert "on 3 pages" in done.stderr
    files = tree / "report_files"
    assert files.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.iterdir())
    pages = [tree / "report.html", files / "2.html", files / "3.html"]
    count = 0
    for path in pages:
        page = page_of(path)
        count += len(cards(page))
        for image in page.select(".card img"):
            assert (path.parent / image["src"]).is_file()
        links = [path.parent / each["href"] for each in page.select("nav")[0].select("a")]
        assert [each.resolve() for each in links] == pages
    assert count == 24
    assert "There are no logs" not in text_of(page_of(pages[1]))
    monkeypatch.undo()
    assert report(tree).returncode == 0
    assert not files.exists()


def test_a_folder_of_the_user_in_the_place_of_ours_is_left_alone(tree):
    (tree / "report_files").mkdir()
    (tree / "report_files" / "mine").write_text("x")
    done = report(tree)
    assert done.returncode == 2
    assert "report_files was not made by pacsifier" in done.stderr
    assert (tree / "report_files" / "mine").read_text() == "x"


def test_a_run_whose_report_cannot_be_written_is_done_all_the_same(dcmqrscp, tmp_path):
    (tmp_path / "out" / "report_files").mkdir(parents=True)
    done = run(dcmqrscp, tmp_path, [{"PatientID": "00123"}], "--save", "--report")
    assert done.status == 1
    assert "no report was written" in done.stderr and "all else is done" in done.stderr
    assert {row["Status"] for row in done.log} == {"complete"}


def test_nothing_is_written_through_a_link(tree, tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tree / "report.html").symlink_to(tmp_path / "elsewhere")
    assert report(tree).returncode == 0
    assert (tmp_path / "elsewhere").read_text() == "mine"
    (tree / "report_files").symlink_to(tmp_path)
    assert report(tree).returncode == 2


# --- without the extra


def test_without_jinja2_a_report_is_refused_before_a_run_begins(tree, monkeypatch, tmp_path):
    monkeypatch.setattr("pacsifier.pictures.needs.find_spec", lambda name: None if name == "jinja2" else name)
    done = report(tree)
    assert done.returncode == 2
    assert "jinja2" in done.stderr and "pip install 'pacsifier[pixels]'" in done.stderr
    for command, words in (
        ("retrieve", "--save -c c.json -q q.csv --report"),
        ("anonymize", "-d images -o out --report"),
    ):
        done = invoke(command, *words.split(), cwd=tmp_path)
        assert done.returncode == 2
        assert "pip install 'pacsifier[pixels]'" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_without_pillow_tiles_are_grey_and_say_what_is_missing(tree, monkeypatch):
    monkeypatch.setattr("pacsifier.pictures.needs.find_spec", lambda name: None if name == "PIL" else name)
    assert report(tree).returncode == 0
    page = page_of(tree / "report.html")
    assert page.select(".card img") == []
    assert "PIL not installed: pip install 'pacsifier[pixels]'" in cards(page)[0]


@pytest.mark.parametrize("options", ["--upload", "--save --dry_run -q q.csv", "--check"])
def test_a_report_of_what_leaves_nothing_is_a_mistake(options, tmp_path):
    done = invoke("retrieve", "-c", "c.json", "--report", *options.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert "--report" in done.stderr
