"""Whose object it is, by its own header against the index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pacsifier.dicom import part10
from pacsifier.disk.tree import Tree
from pacsifier.query import ATTRIBUTES
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.exclusion import NOBODY, Excluded
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.fetch.aside import Limits
from pacsifier.transfer.fetch.placing import Placer, _another_patient
from pacsifier.transfer.find.answers import whole_number
from pacsifier.transfer.model import SeriesState, Status

KEY = ("1.2", "1.2.3")


OTHER = ("1.2", "1.2.9")


class Run:
    """A series of an index that tells `patient_id`, and what arrives of it."""

    def __init__(
        self,
        folder: Path,
        patient_id: str | None,
        excluded: Excluded = NOBODY,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.staging = folder / "staging"
        self.staging.mkdir()
        self.out = folder / "out"
        values = {"PatientID": patient_id, "StudyInstanceUID": KEY[0], "SeriesInstanceUID": KEY[1]}
        self.state = SeriesState(Series(values, (2,), {}, 2))
        self.placer = Placer(Tree(self.out), (), excluded, info=False, limits=limits)
        self.arrivals = Arrivals(self.staging)
        self.out.mkdir()

    def arrive(self, sop_uid: str, patient_id: bytes, key: tuple[str, str] = KEY) -> None:
        self._write(sop_uid, patient_id, key)
        self.arrivals.scan()
        self.placer.place(self.state, self.arrivals)
        self.placer.set_strangers_aside(self.arrivals, {KEY: self.state})

    def _write(self, sop_uid: str, patient_id: bytes, key: tuple[str, str], prefix: str = "SRt") -> None:
        values = {
            "SOPClassUID": b"1.2.840.10008.5.1.4.1.1.88.11",
            "SOPInstanceUID": sop_uid.encode(),
            "PatientID": patient_id,
            "StudyInstanceUID": key[0].encode(),
            "SeriesInstanceUID": key[1].encode(),
        }
        elements = [(ATTRIBUTES[each].tag, ATTRIBUTES[each].vr, value) for each, value in values.items()]
        (self.staging / f"{prefix}.{sop_uid}.0").write_bytes(part10.encode(elements))

    def arrive_together(self, *objects: tuple[str, bytes], prefix: str = "SRt") -> None:
        for sop_uid, patient_id in objects:
            self._write(sop_uid, patient_id, KEY, prefix)
        self.arrivals.scan()
        self.placer.place(self.state, self.arrivals)

    def placed(self) -> list[str]:
        return sorted(path.name for path in self.out.glob("sub-*/*/*/*"))

    def unexpected(self) -> list[str]:
        return sorted(path.name for path in self.out.glob("logs/unexpected/*"))


def test_an_index_without_patient_ids_does_not_let_two_people_share_a_series(tmp_path: Path) -> None:
    run = Run(tmp_path, "")
    run.arrive("1.1", b"A1")
    run.arrive("1.2", b"B2")
    assert (run.placed(), run.unexpected()) == (["SRt.1.1"], ["SRt.1.2"])
    assert "another PatientID" in run.state.spoiled


@pytest.mark.parametrize(("most", "kept"), [(10, True), (0, False)])
def test_what_was_not_kept_is_not_looked_for_among_what_was(tmp_path: Path, most: int, kept: bool) -> None:
    run = Run(tmp_path, "A1", limits=Limits(objects=most))
    run.arrive("1.2", b"B2")
    assert bool(run.unexpected()) is kept
    assert ("see logs/unexpected" in run.state.spoiled) is kept
    assert ("dropped" in run.state.spoiled) is not kept


@pytest.mark.parametrize("told", ["A1", "", None])
def test_images_of_an_excluded_patient_are_deleted_whatever_the_index_said(
    tmp_path: Path, told: str | None
) -> None:
    run = Run(tmp_path, told, Excluded(frozenset({"b2"})))
    run.arrive("1.1", b"B2")
    run.arrive("1.2", b"b2 ")
    assert (run.placed(), run.unexpected(), list(run.staging.iterdir())) == ([], [], [])
    assert run.state.status is Status.EXCLUDED
    assert run.placer.tally.excluded == 2


def test_images_of_an_excluded_patient_that_nobody_asked_for_are_not_kept_aside(tmp_path: Path) -> None:
    run = Run(tmp_path, "A1", Excluded(frozenset({"b2"})))
    run.arrive("1.1", b"A1")
    run.arrive("1.7", b"B2", OTHER)
    assert (run.placed(), run.unexpected(), list(run.staging.iterdir())) == (["SRt.1.1"], [], [])
    assert run.placer.tally.excluded == 1


def test_a_series_of_which_only_a_part_is_of_an_excluded_patient_is_not_called_complete(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, "A1", Excluded(frozenset({"b2"})))
    run.arrive("1.1", b"A1")
    run.arrive("1.2", b"B2")
    assert run.placed() == ["SRt.1.1"]
    assert "excluded" in run.state.spoiled


def test_one_object_of_an_excluded_patient_among_others_does_not_settle_their_series(tmp_path: Path) -> None:
    run = Run(tmp_path, "A1", Excluded(frozenset({"b2"})))
    run.arrive_together(("1.1", b"A1"), ("1.2", b"B2"), ("1.3", b"A1"))
    assert run.placed() == ["SRt.1.1", "SRt.1.3"]
    assert (run.state.status, "excluded" in run.state.spoiled) == (Status.PENDING, True)


def test_what_comes_after_an_excluded_patients_object_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    run = Run(tmp_path, "A1", Excluded(frozenset({"b2"})))
    run.arrive_together(("1.1", b"B2"))
    run.arrive_together(("1.2", b"A1"))
    run.state.close()
    assert (run.state.status, run.placed()) == (Status.INCOMPLETE, ["SRt.1.2"])


def test_two_objects_of_one_uid_contradict_each_other_whatever_their_classes(tmp_path: Path) -> None:
    run = Run(tmp_path, "A1")
    run.arrive_together(("1.1", b"A1"))
    run.arrive_together(("1.1", b"A1"), prefix="MR")
    assert (run.placed(), run.unexpected()) == (["SRt.1.1"], ["MR.1.1"])
    assert "two different objects" in run.state.spoiled


def test_what_the_pacs_does_not_list_takes_nothing_else_out_of_the_tree(tmp_path: Path) -> None:
    """One UID may end as another does."""
    run = Run(tmp_path, "A1")
    run.arrive_together(("5", b"A1"), ("1.2.5", b"A1"), ("1.2.6", b"A1"))
    run.state.tell((Instance("1.2.5", ""), Instance("1.2.6", "")))
    run.placer.set_unlisted_aside(run.state)
    assert (run.placed(), run.unexpected()) == (["SRt.1.2.5", "SRt.1.2.6"], ["SRt.5"])
    assert run.state.found.keys() == {"1.2.5", "1.2.6"}


def test_an_object_under_other_uids_is_placed_where_the_index_lists_it_and_only_then(tmp_path: Path) -> None:
    run = Run(tmp_path, "A1")
    for uid in ("1.1", "1.2", "1.3"):
        run.arrive(uid, b"A1", OTHER)
    run.arrive("1.4", b"B2", OTHER)
    assert (run.placed(), len(run.unexpected())) == ([], 4)
    listed = tuple(Instance(uid, "") for uid in ("1.1", "1.2", "1.4"))
    run.state.series = replace(run.state.series, instances=listed)
    run.placer.claim_strangers([run.state])
    assert run.placed() == ["SRt.1.1", "SRt.1.2"]
    assert run.unexpected() == ["SRt.1.3", "SRt.1.4"], (
        "what is not listed, or another patient's, is never placed"
    )
    assert (run.state.relabelled, run.placer.tally.unexpected) == (2, 2)
    assert "another PatientID" in run.state.spoiled


@pytest.mark.parametrize(
    ("asked", "own", "another"),
    [
        ("12345", "12345 ", False),
        ("12345", "12346", True),
        ("12345", "É99", True),
        ("?99", "É99", False),
        ("99", "É99", False),
        ("", "12345", False),
        ("12345", "", False),
    ],
)
def test_an_object_of_another_patient_is_told_from_a_mangled_id(asked: str, own: str, another: bool) -> None:
    assert _another_patient(asked, own) is another


@pytest.mark.parametrize(
    ("text", "number"), [("8 ", 8), ("", None), ("²", None), ("x", None), ("9" * 99, None)]
)
def test_a_number_of_instances_that_is_none_does_not_end_a_run(text: str, number: int | None) -> None:
    assert whole_number(text) == number
