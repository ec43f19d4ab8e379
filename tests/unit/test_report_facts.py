"""What a report tells is what disk and logs tell together: nothing is called complete that is not here."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pacsifier.pictures.boxes import Box, By, Region
from pacsifier.report import facts
from pacsifier.report.facts import Kind, Logged, Logs, OnDisk, Pixels, Run, Series
from pacsifier.report.folder import Request, kind_of, place_of
from pacsifier.report.logs import read_logs
from pacsifier.report.looking import Surveyed
from pacsifier.report.model import Report, in_order, sheets

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
KEY = ("1.2", "1.2.3")


def there(files: int = 4, key: tuple[str, str] = KEY, **more: object) -> OnDisk:
    values = {"PatientID": "P", "StudyDate": "20200301", "Modality": "CT", "SeriesNumber": "2"}
    made = OnDisk(key, values, "sub-P/ses-1/2", files, bytes=1000 * files, by_us=files)
    return replace(made, **more)


def told(status: str = "complete", **more: object) -> Logged:
    return replace(Logged(KEY, {"PatientID": "P"}, status, announced=4, arrived=4, folder="f"), **more)


@pytest.mark.parametrize(
    ("on_disk", "logged", "status", "missing"),
    [
        (there(), told(), "complete", 0),
        (there(), told("skipped"), "complete", 0),
        (there(), None, "unknown", None),
        (there(3), told(), "gone", 1),
        (None, told(), "gone", 4),
        (None, told(arrived=4, announced=None), "gone", 4),
        (None, told(folder=""), "moved", 0),
        (None, told("listed", arrived=0, folder=""), "listed", 0),
        (there(1), told("incomplete", arrived=1), "incomplete", 3),
        (None, told("failed", arrived=0, folder=""), "failed", 4),
        (None, told("failed", arrived=0, announced=None), "failed", None),
        (there(), told("incomplete", arrived=4, announced=4), "incomplete", 0),
    ],
)
def test_what_is_here_now_counts_against_what_the_logs_say(on_disk, logged, status, missing):
    logs = Logs(there=True, series=(logged,) if logged else ())
    (series,) = facts.compared({KEY: on_disk} if on_disk else {}, logs)
    assert (series.status, series.missing) == (status, missing)
    assert series.is_open == (status in ("gone", "incomplete", "failed"))


def test_a_series_in_two_folders_is_one():
    parts = [
        there(3, first_s=5.0, last_s=9.0),
        there(4, first_s=2.0, last_s=3.0, unclaimed=1, doubts={"x": 1}),
    ]
    (whole,) = facts.joined(parts).values()
    assert (whole.files, whole.bytes, whole.first_s, whole.last_s, whole.unclaimed) == (7, 7000, 2.0, 9.0, 1)
    assert whole.doubts == {"x": 1}


def test_patients_studies_and_numbers_stand_in_their_order():
    """Patients by PatientID, studies by date and time, series by number: never by UID."""
    names = ("PatientID", "StudyDate", "StudyTime", "SeriesNumber")
    ordered = [
        ("a", "1", "5", "3"),
        ("a", "1", "5", "x"),
        ("a", "1", "6", "1"),
        ("a", "2", "4", "9"),
        ("a", "2", "4", "10"),
        ("b", "1", "1", "1"),
    ]
    studies = {each[:3]: f"1.{9 - at}" for at, each in enumerate(ordered)}
    on_disk = {
        key: there(key=key, values=dict(zip(names, each, strict=True)))
        for at, each in enumerate(reversed(ordered))
        for key in [(studies[each[:3]], f"{at}")]
    }
    series = facts.compared(on_disk, Logs())
    assert [tuple(each.values[name] for name in names) for each in series] == ordered


# --- sums


def of(modality: str, here: int, size: int, date: str = "20200301", study: str = "1") -> Series:
    values = {"Modality": modality, "StudyDate": date, "PatientID": "P"}
    return Series((study, f"{study}.{modality}.{size}"), values, "complete", "", here, here, size)


def test_modalities_come_by_size_and_what_is_not_here_is_not_counted():
    amounts = facts.by_modality(
        [of("CT", 3, 30), of("MR", 1, 50), of("CT", 2, 30), of("US", 0, 0), of("", 1, 1)]
    )
    assert [(each.name, each.series, each.images, each.bytes) for each in amounts] == [
        ("CT", 2, 5, 60),
        ("MR", 1, 1, 50),
        ("?", 1, 1, 1),
    ]


@pytest.mark.parametrize(
    ("dates", "counted", "undated"),
    [
        ([], [], 0),
        (["", "1999", "20201301"], [], 3),
        (["20191231", "20200201", "20200215"], [("2019-12", 1), ("2020-01", 0), ("2020-02", 2)], 0),
        (["20150101", "20180101", ""], [("2015", 1), ("2016", 0), ("2017", 0), ("2018", 1)], 1),
        (
            ["20150101", "20171231"],
            [(f"{2015 + m // 12}-{m % 12 + 1:02}", int(m in (0, 35))) for m in range(36)],
            0,
        ),
    ],
)
def test_studies_are_counted_by_month_or_by_year_without_a_gap(dates, counted, undated):
    series = [of("CT", 1, 1, date, study=str(at)) for at, date in enumerate(dates)]
    # A second series of a study does not count again.
    series += [replace(each, key=(each.key[0], "other")) for each in series]
    assert facts.studies_by_month(series) == (counted, undated)


def arrived(size: int, first_s: float, last_s: float) -> Series:
    begun = NOON.timestamp()
    on_disk = there(bytes=size, first_s=begun + first_s, last_s=begun + last_s)
    return replace(of("CT", 1, size), on_disk=on_disk)


RUN = Run(NOON + timedelta(seconds=100), 100.0, ("save",), bytes=1)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([], None),
        ([arrived(100, -50, -40)], None),
        ([arrived(100, 20, 300)], None),
        ([arrived(100, 10, 10)], (100,)),
        ([arrived(100, 0, 10)], (25, 25, 25, 25)),
        ([arrived(100, 0, 0), arrived(60, 5, 10)], (100, 0, 30, 30)),
        ([arrived(100, 0, 10), arrived(7, -500, -400)], (25, 25, 25, 25)),
    ],
)
def test_the_pace_of_a_run_is_told_by_the_times_of_its_files_only(series, expected):
    made = facts.pace(series, RUN, intervals=4)
    assert (made.bytes if made else None) == expected


def test_numbers_that_nobody_knows_are_no_zeros():
    series = [replace(of("CT", 1, 5), status="failed", announced=None), of("MR", 2, 7)]
    sums = facts.totals(series)
    assert (sums.announced, sums.missing, sums.images, sums.open_series) == (None, None, 3, 1)
    assert facts.totals([]).missing == 0


# --- suspicion


def test_what_was_seen_and_left_comes_first_then_marks_then_blanked_text():
    suspicious = {
        "clean": there(),
        "blanked": there(pixels=Pixels(1, 2, 0)),
        "no mark": there(unclaimed=1),
        "no marks": there(unclaimed=3),
        "seen": there(pixels=Pixels(1, 0, 1)),
    }
    ordered = sorted(suspicious, key=lambda name: facts.suspicion(suspicious[name]))
    assert ordered == ["seen", "no marks", "no mark", "blanked", "clean"]
    assert [facts.is_suspicious(suspicious[name]) for name in ordered] == [True] * 4 + [False]


# --- which kind, where


def seen(*series: OnDisk) -> Surveyed:
    return Surveyed(series, 0, ())


@pytest.mark.parametrize(
    ("series", "logs", "beside", "kind"),
    [
        ((there(),), False, True, Kind.ANONYMIZED),
        ((there(),), False, False, Kind.ANONYMIZED),
        ((there(), there(4, by_us=3)), False, True, Kind.IDENTIFIED),
        ((there(by_us=0),), False, True, Kind.IDENTIFIED),
        ((there(),), True, True, Kind.IDENTIFIED),
        ((), False, False, Kind.IDENTIFIED),
        ((), False, True, Kind.ANONYMIZED),
    ],
)
def test_one_image_without_our_mark_makes_a_report_identified(series, logs, beside, kind):
    from pacsifier.report.beside import Beside

    assert kind_of(seen(*series), Logs(there=logs), Beside(there=beside)) is kind


def test_a_report_of_anonymized_images_never_lies_among_them(tmp_path):
    from pacsifier.errors import InputError

    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    assert place_of(Request(folder), Kind.IDENTIFIED) == folder / "report.html"
    assert place_of(Request(folder), Kind.ANONYMIZED) == tmp_path / "out.report.html"
    key = tmp_path / "keys" / "k.json"
    assert place_of(Request(folder, key), Kind.ANONYMIZED) == tmp_path / "keys" / "out.report.html"
    for inside in (folder / "x.html", folder / "sub" / "x.html"):
        with pytest.raises(InputError):
            place_of(Request(folder, output=inside), Kind.ANONYMIZED)
        assert place_of(Request(folder, output=inside), Kind.IDENTIFIED) == inside


# --- pages


def report(kind: Kind, series: list[Series]) -> Report:
    from pacsifier.report.beside import Beside

    return Report(kind, "x", series, Logs(), Beside(), NOON)


def test_pages_hold_so_many_series_that_each_opens_quickly():
    series = [replace(of("CT", 1, 1), on_disk=there(uids=("1",))) for _ in range(601)]
    pages = sheets(report(Kind.IDENTIFIED, series))
    assert [len(page.first) + len(page.rest) for page in pages] == [250, 250, 101]
    many = [replace(each, on_disk=there(uids=("1",) * 9000)) for each in series[:5]]
    assert [len(page.rest) for page in sheets(report(Kind.ANONYMIZED, many))] == [2, 2, 1]
    assert len(sheets(report(Kind.IDENTIFIED, []))) == 1


def test_the_first_page_has_the_most_suspicious_of_all():
    plain = [replace(of("CT", 1, at), on_disk=there()) for at in range(300)]
    marked = replace(of("US", 1, 1), on_disk=there(unclaimed=2))
    pages = sheets(report(Kind.ANONYMIZED, [*plain, marked]))
    assert pages[0].first == (marked,)
    assert in_order(report(Kind.IDENTIFIED, [*plain, marked]))[-1] == marked
    assert sheets(report(Kind.IDENTIFIED, [marked]))[0].first == ()


# --- logs


def logs_in(folder: Path, **files: str) -> Logs:
    home = folder / "logs"
    home.mkdir()
    (home / "made_by_pacsifier").touch()
    for name, text in files.items():
        (home / name.replace("__", ".")).write_text(text)
    return read_logs(folder)


def test_a_folder_without_logs_tells_so_and_a_users_own_logs_are_none(tmp_path):
    assert not read_logs(tmp_path).there
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "series.csv").write_text("StudyInstanceUID\n1\n")
    assert not read_logs(tmp_path).there


def test_the_log_table_does_where_there_is_no_series_table(tmp_path):
    logs = logs_in(
        tmp_path,
        pacsifier_log__csv="StudyInstanceUID,SeriesInstanceUID,FilesFound,FilesExpected,Status,Reason,Folder,Bytes\n"
        "1.2,1.2.3,3,4,incomplete,one is missing,sub-1/ses-1/1,77\n",
    )
    (series,) = logs.series
    assert (series.key, series.status, series.announced, series.arrived) == (KEY, "incomplete", 4, 3)
    assert (series.bytes, series.folder, series.reason) == (77, "sub-1/ses-1/1", "one is missing")


@pytest.mark.parametrize("damage", ["", "\0\1\2", 'a,"b', "StudyInstanceUID,SeriesInstanceUID\n1.2\n"])
def test_a_damaged_log_is_said_and_no_error(tmp_path, damage):
    logs = logs_in(
        tmp_path, series__csv=damage, audit__jsonl=damage, summary__json=damage, query_rows__csv=damage
    )
    assert logs.there
    assert (logs.series, logs.runs, logs.patients) == ((), (), {})
    assert all("cannot be read" in note for note in logs.notes)


def test_a_line_of_the_audit_that_was_cut_hides_no_other(tmp_path):
    line = {
        "ended_at": "2026-03-01T12:00:00+01:00",
        "seconds": 2.5,
        "did": ["info", "save"],
        "series": {"complete": 3},
    }
    text = f"{json.dumps({**line, 'instances': 7, 'bytes': 10})}\n{json.dumps(line)[:40]}\n[]\n"
    (run,) = logs_in(tmp_path, audit__jsonl=text).runs
    assert (run.series, run.instances, run.bytes, run.did, run.bytes_per_s) == (
        3,
        7,
        10,
        ("save", "info"),
        4.0,
    )


# --- beside an output


def test_what_was_read_in_pixels_and_the_names_of_the_input_stay_where_they_are(tmp_path):
    from pacsifier.deidentify.cleaning import Look, line_of
    from pacsifier.report.beside import read_beside

    (tmp_path / "out").mkdir()
    look = Look("in/SMITH.dcm", "s", 100, 100, 1, 1, "e", (Region(Box(1, 2, 30, 40), By.READER, "SMITH"),))
    other = Look("in/2.dcm", "s", 100, 100, 1, 1, "e", (Region(Box(50, 60, 70, 80), By.SEEN),))
    (tmp_path / "out.pixels.jsonl").write_text(line_of(look) + line_of(other))
    (tmp_path / "out.deidentification_report.csv").write_text(
        "input,output,status,reason,identity_removed\n"
        "in/SMITH.dcm,sub-1/a.dcm,written,why not,NO\nin/2.dcm,sub-1/b.dcm,written,,YES\nin/x,,left out,SMITH: x,\n"
    )
    beside = read_beside(tmp_path / "out")
    assert beside.doubts == {"sub-1/a.dcm": "why not"}
    assert beside.left_out == 1
    # A box of one image is blanked in all of its series.
    assert beside.boxes_of("sub-1/b.dcm") == beside.boxes_of("sub-1/a.dcm") == (Box(1, 2, 30, 40),)
    assert (beside.pixels_of("sub-1/a.dcm"), beside.pixels_of("sub-1/b.dcm")) == (
        Pixels(1, 1, 0),
        Pixels(1, 1, 1),
    )
    assert beside.pixels_of("sub-1/none.dcm") == Pixels()
