"""What a person answers is taken as meant, or refused with the place of the fault."""

from __future__ import annotations

import json

import pytest

from pacsifier.deidentify import reviewed
from pacsifier.deidentify.reviewed import ALL_GONE, BLANK, KIND, LEAVE_OUT, Answer
from pacsifier.errors import InputError
from pacsifier.pictures.boxes import Box


def saved(folder, *answers, name="reviewed.json", kind=KIND):
    path = folder / name
    values = [dict(zip(("sop_instance_uid", "answer", "boxes"), each, strict=False)) for each in answers]
    path.write_text(json.dumps({"kind": kind, "answers": values}))
    return path


def test_a_list_of_names_is_read_as_ever(tmp_path):
    path = tmp_path / "list"
    path.write_text("\ufeff1.2.3\n\n sub-x/2 \n", encoding="utf-8")
    assert reviewed.read([path]).named == {"1.2.3", "sub-x/2"}


def test_answers_are_read_and_files_add_up(tmp_path):
    first = saved(tmp_path, ("1.1", ALL_GONE), ("1.2", BLANK, [[1, 2, 3, 4]]))
    second = saved(tmp_path, ("1.2", ALL_GONE), ("1.3", LEAVE_OUT), name="second.json")
    assert reviewed.read([first, second]).answers == {
        "1.1": Answer(all_gone=True),
        "1.2": Answer(all_gone=True, boxes=(Box(1, 2, 3, 4),)),
        "1.3": Answer(leave_out=True),
    }


def test_an_instance_is_found_by_any_of_its_names(tmp_path):
    review = reviewed.read([saved(tmp_path, ("1.1", ALL_GONE), ("1.2", BLANK, [[1, 2, 3, 4]]))])
    assert review.seen(("9.9", "1.1")) and not review.seen(("1.2",)) and not review.seen(("9.9",))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([("1.1", "gone")], ("answers[0].answer", "'gone'"), id="an answer that is none"),
        pytest.param([("1.1 ", ALL_GONE)], ("answers[0].sop_instance_uid",), id="a UID that is none"),
        pytest.param([("1.1", BLANK, [[1, 2, 3]])], ("answers[0].boxes[0]",), id="a box of three numbers"),
        pytest.param(
            [("1.1", BLANK, [[9, 2, 3, 4]])], ("boxes", "[9, 2, 3, 4]", "is empty"), id="an empty box"
        ),
        pytest.param(
            [("1.1", LEAVE_OUT), ("1.1", ALL_GONE)], ("1.1", "keep one"), id="two that exclude each other"
        ),
    ],
)
def test_a_faulty_answer_is_refused_with_its_place(tmp_path, answers, words):
    with pytest.raises(InputError) as told:
        reviewed.read([saved(tmp_path, *answers)])
    assert all(word in str(told.value) for word in (str(tmp_path), *words))


@pytest.mark.parametrize("text", ["{", "{}", '{"kind": "other", "answers": []}'])
def test_a_file_that_is_no_answers_is_refused(tmp_path, text):
    path = tmp_path / "reviewed.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"reviewed\.json"):
        reviewed.read([path])
