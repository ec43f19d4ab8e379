"""The stages of a run that decide: what may go out, who is who, who becomes who, and where it goes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from deid import corpus, helpers
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.identifiers import Identifiers
from pacsifier.deidentify.engine.profile import METHOD, Options, Profile
from pacsifier.deidentify.key import Key, Shifts
from pacsifier.deidentify.layout import doubt, lay_out, portions
from pacsifier.deidentify.model import Facts, Job, Left, Maps, Patient, Reason, Request, Rulebook, There
from pacsifier.deidentify.patients import sort_out, unit_of
from pacsifier.deidentify.reviewed import Reviewed
from pacsifier.deidentify.scan import Gathered
from pacsifier.deidentify.selection import each_once, left_out, select
from pacsifier.deidentify.settle import (
    Given,
    check_resumed,
    choose_pseudonyms,
    choose_shifts,
    given_pseudonyms,
    has_telling_age,
    settle,
    spread_words,
    subjects_of,
)
from pacsifier.deidentify.survey import Survey
from pacsifier.dicom.splice import UnreadableError
from pacsifier.disk.names import short_hash
from pacsifier.errors import InputError
from pacsifier.query import Shard

MR = f"{corpus.STORAGE}4"


def facts(path: str = "a.dcm", **values: object) -> Facts:
    whole = Facts(path, sop_class=MR, sop_uid=f"1.{path}", patient_id="P1", study_uid="1.2", series_uid="1.3")
    return replace(whole, **values)  # type: ignore[arg-type]


def patient(*files: Facts, folders: tuple[str, ...] = (), **values: object) -> Patient:
    one = files or (facts(),)
    made = Patient(one[0].issuer, one[0].patient_id, one, frozenset(folders))
    return replace(made, **values)  # type: ignore[arg-type]


def by_key(*patients: Patient) -> dict[str, Patient]:
    return {each.key: each for each in patients}


def kinds(left: tuple[Left, ...]) -> dict[str, str]:
    return {each.path: each.reason.kind for each in left}


# --- selection ----------------------------------------------------------------------------------------------------

NOT_WHOLE = Reason("not whole", "not whole: cut at byte 9, near Doe^John")


@pytest.mark.parametrize(
    ("told", "options", "kind", "failed"),
    [
        ({}, Options(), None, None),
        ({"defect": NOT_WHOLE}, Options(), "not whole", True),
        ({"defect": NOT_WHOLE, "path": "sub-1/00003-T1.csv"}, Options(), "table, log or DICOMDIR", False),
        ({"defect": NOT_WHOLE, "path": "logs/anything"}, Options(), "table, log or DICOMDIR", False),
        ({"defect": NOT_WHOLE, "path": "x/logs/anything"}, Options(), "not whole", True),
        ({"defect": NOT_WHOLE, "path": "x/DicomDir"}, Options(), "table, log or DICOMDIR", False),
        ({"defect": NOT_WHOLE, "path": "x/new_id.txt"}, Options(), "table, log or DICOMDIR", False),
        (
            {"of_logs": True, "defect": NOT_WHOLE},
            Options(),
            "in the logs of a pacsifier run: not read",
            False,
        ),
        (
            {"sop_class": f"{corpus.STORAGE}104.1"},
            Options(),
            "encapsulated document: nobody reads its text",
            False,
        ),
        ({"overlay_stays": True}, Options(), "an overlay stands inside compressed pixel data", True),
        ({"burned_in": "yes"}, Options(), None, None),
        (
            {"burned_in": "yes"},
            Options(delete_identifiable=True),
            "--delete_identifiable: BurnedInAnnotation is YES",
            False,
        ),
        (
            {"image_type": "DERIVED\\SCREEN_SAVE"},
            Options(delete_identifiable=True),
            "--delete_identifiable: screen save",
            False,
        ),
        (
            {"sop_class": f"{corpus.STORAGE}7", "series_description": "Patient dose"},
            Options(delete_identifiable=True),
            "--delete_identifiable: dose or protocol page",
            False,
        ),
        (
            {"sop_class": f"{corpus.STORAGE}7.4", "image_type": "DERIVED\\OVERDOSED"},
            Options(delete_identifiable=True),
            None,
            None,
        ),
        ({"series_description": "dose"}, Options(delete_identifiable=True), None, None),
        (
            {"sop_class": f"{corpus.STORAGE}88.11"},
            Options(delete_identifiable=True),
            "--delete_identifiable: structured report (--keep_sr keeps it, cleaned)",
            False,
        ),
        (
            {"sop_class": f"{corpus.STORAGE}88.11"},
            Options(delete_identifiable=True, keep_sr=True),
            None,
            None,
        ),
        # --keep_sr keeps reports, and nothing else that was asked out.
        (
            {"sop_class": f"{corpus.STORAGE}88.11", "burned_in": "YES"},
            Options(delete_identifiable=True, keep_sr=True),
            "--delete_identifiable: BurnedInAnnotation is YES",
            False,
        ),
        ({"sop_class": f"{corpus.STORAGE}88.59"}, Options(delete_identifiable=True), None, None),
    ],
)
def test_what_must_stay_out_stays_out_and_counts_as_a_failure_where_it_is_one(told, options, kind, failed):
    reason = left_out(facts(**told), options)
    assert (reason and reason.kind, reason and reason.failed) == (kind, failed)


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (UnreadableError("not DICOM"), "not DICOM", "not DICOM"),
        (UnreadableError("not whole", "cut: Doe"), "not whole", "not whole: cut: Doe"),
        (UnreadableError("a: b", "Doe"), "a: b", "a: b: Doe"),
    ],
)
def test_what_the_console_may_show_is_a_field_and_no_part_of_a_text(error, kind, detail):
    assert Reason.of(error) == Reason(kind, detail)
    assert str(pickle.loads(pickle.dumps(error))) == detail


def test_the_console_never_gets_what_the_report_says_of_a_defect():
    (left,) = select([facts(defect=NOT_WHOLE)], Options()).left
    assert (left.reason.kind, left.reason.detail) == ("not whole", "not whole: cut at byte 9, near Doe^John")


@pytest.mark.parametrize(
    ("told", "in_place", "pseudonyms", "where"),
    [
        ({}, False, (), "files"),
        ({}, True, ("P1",), "files"),
        # A name and a mark as a run gives them; in an input of its own they mean nothing.
        ({"method": METHOD, "path": "x/1.9.dcm"}, False, ("P1",), "files"),
        ({"method": METHOD, "path": "x/1.9.dcm"}, True, ("P1",), "there made"),
        # Another key has made it: it is de-identified again, and tells --resume so.
        ({"method": METHOD, "path": "x/1.9.dcm"}, True, ("P2",), "files made"),
        ({"method": METHOD, "path": "x/1.9"}, True, ("P1",), "files"),
        ({"method": "somebody else", "path": "x/1.9.dcm"}, True, ("P1",), "files"),
        ({"is_link": True, "method": METHOD, "path": "x/1.9.dcm"}, True, ("P1",), "left"),
        ({"is_link": True}, False, (), "files"),
    ],
)
def test_an_original_is_replaced_once_and_a_link_never(told, in_place, pseudonyms, where):
    one = facts(sop_uid="1.9", **told)
    selection = select([one], Options(), in_place=in_place, pseudonyms=pseudonyms)
    found = {name for name in ("files", "left", "there", "made") if getattr(selection, name)}
    assert found == set(where.split())


def test_twins_go_out_once_and_contradictions_not_at_all(tmp_path):
    for name, content in (("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 4)):
        ds = corpus.mr(content)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = corpus.uid(1, int(content < 2))
        corpus.save(ds, tmp_path / name)
    same = [facts("a", sop_uid="1"), facts("b", sop_uid="1")]
    differing = [facts("c", sop_uid="2"), facts("d", sop_uid="2")]
    once = each_once([*same, *differing, facts("e", sop_uid="3")], tmp_path)
    assert [each.path for each in once.files] == ["a", "e"]
    contradiction = "one SOP Instance UID with different data sets"
    assert kinds(once.left) == {
        "b": "the same instance once more",
        "c": contradiction,
        "d": contradiction,
    }
    assert [each.reason.failed for each in once.left] == [False, True, True]


def test_a_part_reports_neither_files_nor_reasons_of_other_parts():
    files = facts("mine"), facts("theirs")
    survey = Survey(files, Gathered(), (), frozenset({"theirs"}))
    assert survey.found == 1
    assert survey.own([There("mine", "x"), There("theirs", "y")]) == (There("mine", "x"),)
    assert survey.own([Left("theirs", NOT_WHOLE)]) == ()


# --- patients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("a.dcm", ""),
        ("x/a.dcm", "x"),
        ("x/y/a.dcm", "x/y"),
        ("sub-1/ses-2/00003-T1/a.dcm", "sub-1"),
        ("hospital/sub-1/ses-2/a.dcm", "hospital/sub-1"),
        ("sub-1/sub-2/a.dcm", "sub-1/sub-2"),
        ("sub-1", ""),
    ],
)
def test_the_folder_that_must_hold_one_patient_is_the_nearest_of_a_tree_of_ours(path, unit):
    assert unit_of(path) == unit


@pytest.mark.parametrize(
    ("files", "patients", "refused"),
    [
        ([("a", {}), ("b", {"patient_id": "P2"})], {"P1": 1, "P2": 1}, 0),
        ([("x/a", {}), ("x/b", {"patient_id": "P2"})], {}, 2),
        ([("x/a", {}), ("y/b", {"patient_id": "P2"})], {"P1": 1, "P2": 1}, 0),
        # Without an issuer it is the one that is known, if only one is.
        ([("x/a", {"issuer": "A"}), ("x/b", {})], {"A|P1": 2}, 0),
        (
            [("x/a", {"issuer": "A"}), ("y/b", {"issuer": "B"}), ("z/c", {})],
            {"A|P1": 1, "B|P1": 1, "P1": 1},
            0,
        ),
        # Without a PatientID the study stands for the person.
        (
            [
                ("a", {"patient_id": ""}),
                ("b", {"patient_id": ""}),
                ("c", {"patient_id": "", "study_uid": "9"}),
            ],
            {"no PatientID, study 1.2": 2, "no PatientID, study 9": 1},
            0,
        ),
        (
            [
                ("a", {"patient_name": "Doe^Ann", "birth_date": "19500101"}),
                ("b", {"patient_name": "Roe^Bob", "birth_date": "19600101"}),
            ],
            {},
            2,
        ),
        (
            [
                ("a", {"patient_name": "Doe^Ann", "birth_date": "19500101"}),
                ("b", {"patient_name": "Roe^Ann", "birth_date": "19600101"}),
                ("c", {"patient_name": "Poe^Eve", "birth_date": "19500101"}),
                ("d", {"patient_name": "Poe^Eve", "birth_date": ""}),
            ],
            {"P1": 4},
            0,
        ),
    ],
)
def test_two_people_are_never_taken_for_one(files, patients, refused):
    found, left = sort_out(facts(path, **values) for path, values in files)
    assert {key: len(each.files) for key, each in found.items()} == patients
    assert len(left) == refused
    assert all(each.reason.failed for each in left)


def test_a_part_has_its_patients_only_and_tells_of_refused_folders_of_all():
    files = [facts(f"{number}/a", patient_id=f"P{number}") for number in range(8)]
    files += [facts("both/a", patient_id="Q1"), facts("both/b", patient_id="Q2")]
    parts = [sort_out(files, Shard(number, 2)) for number in (1, 2)]
    assert sorted([*parts[0][0], *parts[1][0]]) == sorted(f"P{number}" for number in range(8))
    assert [len(left) for _, left in parts] == [2, 2]


# --- settle: pseudonyms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "known", "taken", "chosen"),
    [
        ({}, {}, (), {"P1": "000001", "P2": "000002"}),
        ({}, {"P2": "000001"}, (), {"P1": "000002", "P2": "000001"}),
        ({}, {"gone": "000007"}, (), {"P1": "000008", "P2": "000009"}),
        # Of a run with another key: its folders are not met.
        ({}, {}, ("000004", "P77", "1234567"), {"P1": "000005", "P2": "000006"}),
        ({"P1": "N77"}, {"P1": "000003"}, (), {"P1": "N77", "P2": "000004"}),
        ({"P2": "000001"}, {}, (), {"P1": "000001", "P2": "000001"}),
    ],
)
def test_a_pseudonym_is_the_one_given_else_the_one_remembered_else_a_free_number(given, known, taken, chosen):
    patients = by_key(patient(facts("a")), patient(facts("b", patient_id="P2")))
    said = {name: Given(given.get(name)) for name in patients}
    if len(set(chosen.values())) < len(chosen):
        with pytest.raises(InputError, match="would become one patient"):
            choose_pseudonyms(patients, said, known, taken=taken)
        return
    assert choose_pseudonyms(patients, said, known, taken=taken) == (chosen, {})


def test_a_pseudonym_of_an_earlier_run_is_not_given_to_somebody_else():
    with pytest.raises(InputError, match="earlier and P1 would become one patient"):
        choose_pseudonyms(by_key(patient()), {"P1": Given("x_1")}, {"earlier": "X-1"})
    # Two of an earlier run are no matter of this one.
    assert choose_pseudonyms(by_key(patient()), {"P1": Given()}, {"a": "x_1", "b": "X-1"})[0] == {
        "P1": "000001"
    }


def test_whoever_is_missing_from_the_map_is_named_and_two_issuers_are_refused():
    patients = by_key(patient(facts(issuer="A")), patient(facts(issuer="B")), patient(facts(patient_id="P2")))
    given = {"A|P1": Given("X1", ambiguous=True), "B|P1": Given(ambiguous=True), "P2": Given("X2")}
    chosen, refused = choose_pseudonyms(patients, given, {}, by_map=True)
    assert chosen == {"A|P1": "X1", "P2": "X2"}
    assert refused["B|P1"].kind == (
        "refused: two issuers under one PatientID; a map must name them issuer|PatientID"
    )
    with pytest.raises(InputError, match=r"--new_ids.*P2"):
        choose_pseudonyms(patients, {**given, "P2": Given()}, {}, by_map=True)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("A|P 1", True),
        ("sub-A|P 1", True),
        ("P 1", True),
        ("sub-P 1", True),
        ("sub-P_1", True),
        ("P_1", True),
        ("sub-old", True),
        ("old", True),
        ("B|P 1", False),
        ("P1", False),
    ],
)
def test_a_map_may_name_a_patient_as_the_tree_or_the_header_does(key, found, tmp_path):
    one = patient(facts(patient_id="P 1", issuer="A"), folders=("x/sub-old",))
    given = given_pseudonyms(by_key(one), {key: "X1"}, tmp_path)
    assert given == {"A|P 1": Given("X1" if found else None)}


def test_a_map_names_one_patient_id_of_two_issuers_with_the_issuer_only(tmp_path):
    patients = by_key(patient(facts(issuer="A")), patient(facts(issuer="B")))
    given = given_pseudonyms(patients, {"P1": "X", "A|P1": "X1"}, tmp_path)
    assert given == {"A|P1": Given("X1", ambiguous=True), "B|P1": Given(None, ambiguous=True)}


@pytest.mark.parametrize(
    ("text", "pseudonym"), [("N77\n", "N77"), ("sub-N77", "N77"), ("a\\b", None), ("", None)]
)
def test_new_id_txt_is_read_where_the_map_says_nothing_and_a_faulty_one_is_named(text, pseudonym, tmp_path):
    (tmp_path / "sub-P1").mkdir()
    (tmp_path / "sub-P1" / "new_id.txt").write_text(text)
    patients = by_key(patient(folders=("sub-P1",)))
    (said,) = given_pseudonyms(patients, None, tmp_path).values()
    assert said.pseudonym == pseudonym
    assert [fault.source for fault in said.faults] == (
        [] if pseudonym else [str(tmp_path / "sub-P1/new_id.txt")]
    )
    (said,) = given_pseudonyms(patients, {"P1": "N77"}, tmp_path).values()
    assert (said.pseudonym, said.faults) == ("N77", ())
    (said,) = given_pseudonyms(patients, {"P1": "X1"}, tmp_path).values()
    assert [(fault.source, fault.value) for fault in said.faults] == (
        [(str(tmp_path / "sub-P1/new_id.txt"), "N77")] if pseudonym else []
    )


# --- settle: shifts ---------------------------------------------------------------------------------------------------

SECRET = b"s" * 32


@pytest.mark.parametrize(
    ("day_shifts", "known", "shifts"),
    [
        (None, {"P1": Shifts(3, 4)}, Shifts(3, 4)),
        (None, {"P1": Shifts(3, 4, True)}, Shifts(3, 4, True)),
        ({"P1": -40}, {}, Shifts(-40, -40)),
        ({"P1": -40}, {"P1": Shifts(3, 4)}, Shifts(-40, -40)),
        # An emptied birth date stays so, whatever a later map says.
        ({"sub-P1": 9}, {"P1": Shifts(3, 4, True)}, Shifts(9, 9, True)),
    ],
)
def test_dates_move_as_the_map_says_else_as_before(day_shifts, known, shifts):
    assert choose_shifts(by_key(patient()), day_shifts, known, SECRET) == {"P1": shifts}


def test_a_birth_date_moves_where_nothing_or_0_is_given():
    drawn = choose_shifts(by_key(patient()), None, {}, SECRET)["P1"]
    assert 1 <= abs(drawn.birth_date_days) <= 30
    assert drawn.date_days == drawn.birth_date_days
    given = choose_shifts(by_key(patient()), {"P1": 0}, {}, SECRET)["P1"]
    assert given == Shifts(drawn.birth_date_days, 0)


def test_a_patient_missing_from_the_day_shifts_is_named():
    with pytest.raises(InputError, match=r"--day_shift.*P1"):
        choose_shifts(by_key(patient()), {"P2": 1}, {}, SECRET)


@pytest.mark.parametrize(
    ("values", "telling"),
    [
        ({}, False),
        ({"age": "045Y"}, False),
        ({"age": "089Y"}, False),
        ({"age": "090Y"}, True),
        ({"age": "002Y"}, False),
        ({"age": "023M"}, True),
        ({"birth_date": "19300101", "days": ("20200101",)}, True),
        ({"birth_date": "19300102", "days": ("20200101",)}, False),
        ({"birth_date": "20180101", "days": ("20200101",)}, False),
        ({"birth_date": "20180102", "days": ("20200101",)}, True),
        ({"birth_date": "20180102", "days": ("20210101", "20200101")}, True),
        ({"birth_date": "20180102"}, False),
    ],
)
def test_an_age_that_tells_empties_the_birth_date_for_good(values, telling):
    one = patient(facts(**values))
    assert has_telling_age(one) is telling
    assert choose_shifts(by_key(one), None, {}, SECRET)["P1"].birth_date_emptied is telling


# --- settle: the rest -----------------------------------------------------------------------------------------------


def test_words_of_three_patients_stay_unless_they_name_somebody():
    words = {("", f"P{number}"): {"kwidzo", "drossel", "amsel", "drosseln", "meier"} for number in range(3)}
    words["", "P0"] |= {"rarity"}
    known = {("", "P0"): Identifiers(words={"amsel"})}
    gathered = Gathered(known, words, barred_words={"drossel"})
    assert spread_words(gathered) == {"kwidzo": 3}


def request(tmp_path: Path, **values: object) -> Request:
    (tmp_path / "out").mkdir(exist_ok=True)
    return helpers.request(tmp_path / "in", tmp_path / "out", **values)


@pytest.mark.parametrize("maps", [Maps({"P2": "X"}), Maps(None, {"P2": 1})], ids=["new ids", "day shifts"])
def test_a_key_is_as_it_was_when_a_map_is_wrong(maps, tmp_path):
    key = Key(SECRET)
    with pytest.raises(InputError):
        settle(by_key(patient()), request(tmp_path, maps=maps), key, Gathered())
    assert key == Key(SECRET)


def test_whoever_is_refused_is_not_in_the_key(tmp_path):
    patients = by_key(patient(facts("a", issuer="A")), patient(facts("b", issuer="B")))
    key = Key(SECRET)
    settled = settle(patients, request(tmp_path, maps=Maps({"A|P1": "X1"})), key, Gathered())
    assert list(settled.patients) == list(key.shifts) == ["A|P1"]
    assert key.pseudonyms == {"A|P1": "X1"}
    assert [each.path for each in settled.left] == ["b"]


def test_no_later_image_is_looked_at_once_the_key_is_known_to_be_the_right_one(tmp_path):
    key = Key(SECRET, {"P1": "X1"}, studies={"X1": {"1.2"}})

    def made():
        yield facts(patient_id="X1", study_uid="9")
        yield facts(patient_id="X1", study_uid="1.2")
        raise AssertionError

    check_resumed(request(tmp_path), key, made())
    with pytest.raises(InputError, match="--resume"):
        check_resumed(request(tmp_path), key, [facts(patient_id="X1", study_uid="9")])
    check_resumed(request(tmp_path), key, [])


# --- layout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "portioned"),
    [
        ([], []),
        ([1] * 32, [32]),
        ([1] * 33, [32, 1]),
        ([1 << 26, 1, 1], [2, 1]),
        ([(1 << 26) + 1] * 3, [1, 1, 1]),
    ],
)
def test_workers_share_many_files_and_large_ones(sizes, portioned):
    jobs = [Job(str(number), "", "", size) for number, size in enumerate(sizes)]
    shares = list(portions(jobs))
    assert [len(each) for each in shares] == portioned
    assert [job for each in shares for job in each] == jobs


@pytest.mark.parametrize(
    ("values", "reviewed", "claims"),
    [
        ({}, (), True),
        ({"burned_in": "YES"}, (), False),
        ({"modality": "US"}, (), False),
        ({"sop_class": f"{corpus.STORAGE}6.1"}, (), False),
        ({"sop_class": f"{corpus.STORAGE}7"}, (), False),
        ({"sop_class": f"{corpus.STORAGE}7", "sop_uid": "1.5"}, ("1.5",), True),
        ({"sop_class": f"{corpus.STORAGE}7", "path": "x/a"}, ("x/a",), True),
        ({"sop_class": f"{corpus.STORAGE}7"}, ("another",), False),
    ],
)
def test_nobody_is_said_to_be_hidden_where_nobody_has_looked(values, reviewed, claims):
    file = facts(**values)
    names = file.sop_uid, file.path
    assert (not doubt(file, Reviewed(frozenset(reviewed)), names)) is claims


def laid_out(patients: dict[str, Patient], asked: Request) -> tuple[set[str], set[str]]:
    """Patients' folders of what is to be written, and of what is there."""
    key = Key(
        SECRET, {name: f"N{at}" for at, name in enumerate(patients)}, dict.fromkeys(patients, Shifts(1))
    )
    subjects = subjects_of(patients, Gathered(), key, asked.options)
    rulebook = Rulebook(Profile(asked.options), SECRET, Vocabulary())
    places = lay_out(patients, subjects, asked, rulebook)
    jobs = {job.target for task in places.tasks for job in task.jobs}
    assert not any(asked.out_folder.iterdir()), "something was made"
    return {each.partition("/")[0] for each in jobs}, {each.target for each in places.there}


def test_laying_out_makes_nothing_and_names_no_one(tmp_path):
    patients = by_key(
        patient(facts("sub-P1/a"), folders=("sub-P1",)), patient(facts("b", patient_id="", study_uid="9"))
    )
    assert laid_out(patients, request(tmp_path)) == ({"sub-N0", "sub-N1"}, set())


def test_two_patients_whose_folders_have_one_name_keep_apart(tmp_path):
    patients = by_key(
        patient(facts("a/sub-X/a", patient_id="P1"), folders=("a/sub-X",)),
        patient(facts("b/sub-X/a", patient_id="P2", study_uid="9"), folders=("b/sub-X",)),
        patient(facts("c", patient_id="P 3", study_uid="8")),
    )
    names, _ = laid_out(patients, request(tmp_path, keep_patient_dir_names=True))
    assert names == {"sub-X", f"sub-X_{short_hash('P2')}", "sub-P_3"}
