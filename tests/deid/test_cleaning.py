"""What follows from what was seen in pixels: nothing is claimed that is open, and a series is blanked as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.deidentify.cleaning import UNREAD, Cleaned, Look, Wanted, kept, line_of, looks_of, settle
from pacsifier.pictures.boxes import Box, By, Region, blanked_boxes

NAME, BANNER, RULER = Box(10, 10, 90, 30), Box(0, 0, 640, 40), Box(600, 50, 620, 400)


def look(
    file: str = "a", *regions: Region, series: str = "1/1", columns: int = 640, drawn: tuple[Box, ...] = ()
) -> Look:
    return Look(file, series, columns, 480, 1, 1, "engine 1", regions, drawn=drawn)


def read(box: Box = NAME, text: str = "DOE^JANE") -> Region:
    return Region(box, By.READER, text, 0.9)


def seen(box: Box = RULER) -> Region:
    return Region(box, By.SEEN, "", 0.6)


def want(**values: object) -> Wanted:
    return Wanted(**{"series": "1/1", "doubt": "", **values})  # type: ignore[arg-type]


def one(wanted: Wanted, *looks: Look) -> Cleaned:
    return settle({looks[0].file: wanted}, {each.file: each for each in looks})[looks[0].file]


@pytest.mark.parametrize(
    ("wanted", "regions", "yes", "cleaned", "no_text"),
    [
        pytest.param(want(), (), True, True, True, id="a radiograph in which nothing was seen"),
        pytest.param(want(), (read(),), True, True, True, id="a radiograph, all that was seen is blanked"),
        pytest.param(want(), (read(), seen()), False, False, False, id="something was seen and left"),
        pytest.param(
            want(), (Region(NAME, By.KEPT, "R"),), True, True, True, id="a word that the user keeps"
        ),
        pytest.param(
            want(),
            (Region(BANNER, By.RULE), seen(NAME)),
            True,
            True,
            True,
            id="what was seen lies in what is blanked",
        ),
        pytest.param(want(doubt="ultrasound"), (read(),), False, True, False, id="its class wants a person"),
        pytest.param(
            want(doubt="ultrasound", seen_by_person=True),
            (read(), seen()),
            True,
            True,
            True,
            id="a person has looked",
        ),
        pytest.param(
            want(doubt="ultrasound", drawn=(NAME,)),
            (),
            False,
            True,
            False,
            id="who drew a box has not seen it gone",
        ),
    ],
)
def test_nothing_is_claimed_of_pixels_that_is_not_known(wanted, regions, yes, cleaned, no_text):
    done = one(wanted, look("a", *regions))
    assert (not done.doubt, done.claim.cleaned, done.claim.no_text) == (yes, cleaned, no_text)


def test_the_reason_names_what_was_left():
    assert one(want(), look("a", seen())).doubt == f"{UNREAD}: 1"


@pytest.mark.parametrize(
    ("other", "boxes"),
    [
        pytest.param(
            look("b", read(BANNER)), (BANNER,), id="a box of one image is blanked in all of the series"
        ),
        pytest.param(look("b", read(BANNER), columns=512), (), id="not in those of another size"),
        pytest.param(look("b", read(BANNER), series="1/2"), (), id="not in those of another series"),
        pytest.param(look("b", seen(BANNER)), (), id="what was only seen is blanked nowhere"),
        pytest.param(look("b", drawn=(RULER,)), (RULER,), id="what a person drew, too"),
        pytest.param(
            Look("b", "1/1", problem="broken", regions=()),
            (),
            id="of what cannot be looked at nothing is known",
        ),
    ],
)
def test_a_series_is_blanked_as_a_whole(other, boxes):
    assert one(want(), look("a"), other).boxes == boxes


def test_a_file_that_cannot_be_looked_at_is_not_cleaned():
    assert settle({"a": want()}, {"a": Look("a", "1/1", problem="broken")}) == {}


def test_a_drawn_box_ends_with_the_picture_and_is_remembered():
    done = one(want(drawn=(Box(600, 400, 5000, 5000), Box(900, 900, 950, 950))), look("a"))
    assert done.boxes == done.look.drawn == (Box(600, 400, 640, 480),)


def test_what_was_done_is_told_without_a_value():
    claim = one(want(), look("a", read())).claim
    assert (claim.method, claim.derivation) == (
        "pixels cleaned: engine 1",
        "regions of the pixel data blanked to remove text",
    )
    assert one(want(), look("a")).claim.derivation == ""


@pytest.mark.parametrize(
    ("text", "by"),
    [("R", By.KEPT), (" R ", By.KEPT), ("r", By.READER), ("R 12", By.READER), ("DOE", By.READER)],
)
def test_a_kept_word_stays_only_alone_as_spelled_and_where_it_names_nobody(text, by):
    words = frozenset(("R", "DOE"))
    assert [each.by for each in kept([read(text=text)], words, lambda read: read == "DOE")] == [by]


boxes = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    *[st.integers(0, 600)] * 2,
    *[st.integers(1, 300)] * 2,
)
regions = st.builds(
    Region, boxes, st.sampled_from(By), st.text(), st.floats(0, 1).map(lambda each: round(each, 3))
)


@given(st.lists(regions, max_size=5), st.lists(boxes, max_size=3), st.text(min_size=1))
def test_what_was_seen_is_read_back_as_it_was_written(found, drawn, file):
    was = look(file, *found, drawn=tuple(drawn))
    assert looks_of([line_of(was)]) == {file: was}


def test_a_record_that_a_power_cut_ended_keeps_its_whole_lines():
    lines = [line_of(look("a", read())), line_of(look("b"))[:30], "\0\0\0", "[]", "{}"]
    assert set(looks_of(lines)) == {"a"}


@given(st.lists(regions, max_size=8))
def test_every_blanked_pixel_lies_in_a_box_and_no_other(found):
    def covered(of):
        return {
            (x, y) for box in of for x in range(box.left, box.right, 7) for y in range(box.top, box.bottom, 7)
        }

    wanted = [region.box for region in found if region.blanked]
    left = blanked_boxes(found)
    assert all(any(box.holds(each) for box in left) for each in wanted)
    assert set(left) <= set(wanted)
