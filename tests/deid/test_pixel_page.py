"""The page shows every series once, what is doubtful first, and values are data."""

from __future__ import annotations

from pacsifier.deidentify.cleaning import Look
from pacsifier.deidentify.pixel_page import series_of
from pacsifier.pictures.boxes import Box, By, Region

BOX, OTHER = Box(10, 10, 90, 30), Box(5, 50, 60, 70)


def look(file: str, series: str, *regions: Region, columns: int = 640, drawn: tuple[Box, ...] = ()) -> Look:
    return Look(file, series, columns, 480, 1, 1, "engine 1", regions, drawn=drawn)


def targets(*looks: Look) -> dict[str, str]:
    return {each.file: f"sub-1/ses-1/x/9.{number}.dcm" for number, each in enumerate(looks)}


def test_what_was_seen_and_left_comes_first_then_what_was_read_least_surely():
    looks = [
        look("a", "sure", Region(BOX, By.READER, "X", 0.99)),
        look("b", "nothing"),
        look("c", "doubtful", Region(BOX, By.READER, "X", 0.51)),
        look("d", "left", Region(BOX, By.SEEN, "", 0.6)),
    ]
    assert [each.series for each in series_of(looks, targets(*looks))] == [
        "left",
        "nothing",
        "doubtful",
        "sure",
    ]


def test_an_answer_is_for_every_image_of_a_series_and_size():
    looks = [look(str(number), "s", columns=640 if number < 20 else 512) for number in range(30)]
    shown = series_of(looks, targets(*looks))
    assert sorted(len(each.outputs) for each in shown) == [10, 20]
    assert all(len(each.chosen) == 2 for each in shown)


def test_the_boxes_of_the_series_and_of_people_are_drawn_in_every_image():
    looks = [look("a", "s", Region(BOX, By.READER, "X")), look("b", "s", drawn=(OTHER,))]
    (shown,) = series_of(looks, targets(*looks))
    assert {name: {each.box: each.by for each in regions} for name, regions in shown.regions.items()} == {
        "a": {BOX: By.READER, OTHER: By.PERSON},
        "b": {BOX: By.READER, OTHER: By.PERSON},
    }
    assert [each.text for each in shown.regions["b"]] == ["", ""]


def test_what_is_not_in_the_output_is_not_asked_about():
    looks = [look("a", "s"), look("b", "s")]
    (shown,) = series_of(looks, {"b": "sub-1/9.9.dcm"})
    assert shown.outputs == ("9.9",)
