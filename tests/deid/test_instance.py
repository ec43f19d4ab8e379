"""One instance: two ways that must agree, dates and ages, UIDs, broken values, broken files."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from deid import corpus, helpers
from pacsifier.deidentify.engine import dates, uids
from pacsifier.deidentify.engine.elements import Scope
from pacsifier.deidentify.engine.identifiers import Identifiers
from pacsifier.deidentify.engine.instance import deidentify
from pacsifier.deidentify.engine.marks import MARKS
from pacsifier.deidentify.engine.profile import Options
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Run
from pacsifier.dicom.runs import Runs
from pacsifier.dicom.splice import UnreadableError

_DATA = Path(pydicom.__file__).parent / "data"
PYDICOM_FILES = sorted(
    path
    for path in _DATA.rglob("*")
    if path.is_file() and path.suffix in ("", ".dcm") and path.name != "README"
)
WAYS = [Options(), Options(fuzz_dates=True, safe_private=True), Options(basic=True, remove_private=True)]


def _both(path: Path, tmp_path: Path, options: Options) -> tuple[Dataset, Dataset] | str:
    """What both ways make of a file; or why neither can."""
    known = Identifiers()
    known.add_name("CompressedSamples^MR1")
    known.add_name("Last^First^mid^pre")
    results: list[Dataset | str] = []
    for plain in (False, True):
        target = tmp_path / f"{plain}.dcm"
        target.unlink(missing_ok=True)
        try:
            done = deidentify(path, target, helpers.rules(options, known), plain=plain)
            assert plain or not done.by_pydicom, "the walker gave up"
            results.append(helpers.read(target))
        except UnreadableError as error:
            assert not target.exists() or not plain
            results.append(str(error))
    one, two = results
    if isinstance(one, str) or isinstance(two, str):
        assert one == two
        return str(one)
    return one, two


@pytest.mark.parametrize("options", WAYS, ids=["default", "-a, safe private", "basic, -p"])
def test_both_ways_give_equal_data_sets_on_every_file_of_pydicom(options, tmp_path):
    done = unreadable = 0
    for path in PYDICOM_FILES:
        result = _both(path, tmp_path, options)
        if isinstance(result, str):
            unreadable += 1
            continue
        done += 1
        assert result[0] == result[1], path.name
        assert result[0].file_meta == result[1].file_meta, path.name
    assert done >= 165
    assert unreadable <= 30


def test_both_ways_give_equal_data_sets_on_the_corpus(tmp_path):
    for name, ds in corpus.everything():
        corpus.save(ds, tmp_path / "in.dcm")
        result = _both(tmp_path / "in.dcm", tmp_path, Options(fuzz_dates=True))
        assert not isinstance(result, str), name
        assert result[0] == result[1], name


def test_both_ways_agree_under_fuzzing(tmp_path):
    """A byte here and there: a file is written by both ways with equal data sets, or left out; never anything else."""
    chance = random.Random(20190307)
    sources = [corpus.save(ds, tmp_path / f"{name}.in") for name, ds in corpus.everything()]
    written = 0
    for turn in range(200):
        raw = bytearray(sources[turn % len(sources)].read_bytes())
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(132, len(raw))] = chance.randrange(256)
        path = tmp_path / "fuzzed.dcm"
        path.write_bytes(raw)
        outcomes = []
        for plain in (False, True):
            target = tmp_path / f"{plain}.dcm"
            target.unlink(missing_ok=True)
            try:
                by_pydicom = deidentify(path, target, helpers.rules(), plain=plain).by_pydicom
                outcomes.append((target, by_pydicom))
            except UnreadableError:
                outcomes.append(None)
        if None not in outcomes and not outcomes[0][1]:
            written += 1
            one, two = (part10.read(target, ()) for target, _ in outcomes)
            assert one.whole, f"turn {turn}"
            assert two.whole, f"turn {turn}"
            assert _spelled(outcomes[0][0]) == _spelled(outcomes[1][0]), f"turn {turn}"
    assert written > 100


def _spelled(path: Path) -> object:
    """A data set as pydicom sees it (order and repeated tags do not count), or by its raw bytes where it cannot."""
    try:
        ds = helpers.read(path)
        return {each.tag: (each.VR, repr(each.value)) for each in helpers.every_element(ds)}
    except Exception:
        with path.open("rb", buffering=0) as handle:
            layout = part10.layout(handle)
            return {each[0]: bytes(layout.source[each[3] : each[4]]) for each in layout.elements}


# --- dates ------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "days", "new"),
    [
        ("20190307", 12, "20190319"),
        ("20191231", 1, "20200101"),
        ("20200228", 1, "20200229"),
        ("20200229", -366, "20190228"),
        ("18991231", 1, "19000101"),
        ("18000229", 1, None),
        ("17520101", 5, "17520106"),
        ("1950", 12, "1950"),
        ("195002", 20, "195003"),
        ("195012", 25, "195101"),
        ("2019.03.07", 12, "2019.03.19"),
        ("20190307-20190309", 12, "20190319-20190321"),
        ("20190307-", 12, "20190319-"),
        ("20150230", 12, None),
        ("DOE^JOHN", 12, None),
        ("99991231", 1, None),
        ("", 1, None),
    ],
)
def test_a_date_in_any_spelling_moves(old, days, new):
    assert dates.shift_date(old, days) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20190307101112.123456+0100", "20190319101112.123456+0100"),
        ("20190307101112-0500", "20190319101112-0500"),
        ("20190307", "20190319"),
        ("2019030710", "2019031910"),
        ("2019", "2019"),
        ("201903", "201903"),
        ("20190307-20190308", "20190319-20190320"),
        ("201903071011-201903071012", "201903191011-201903191012"),
        ("20191332", None),
        ("noon", None),
    ],
)
def test_a_datetime_keeps_its_time_fraction_and_zone(old, new):
    assert dates.shift_datetime(old, 12) == new


@given(st.dates(), st.dates(), st.integers(-30, 30))
def test_intervals_are_preserved(one, two, days):
    moved = [dates.shift_date(day.strftime("%Y%m%d").zfill(8), days) for day in (one, two)]
    if None not in moved:
        first, second = (dates.parse(each) for each in moved)
        assert first is not None
        assert second is not None
        assert first - second == one - two


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("090Y", "090Y"),
        ("101Y", "090Y"),
        ("089Y", "089Y"),
        ("006M", "006M"),
        ("023M", "023M"),
        ("021D", "000M"),
        ("031D", "001M"),
        ("103W", "023M"),
        ("104W", "023M"),
        ("105W", "002Y"),
        ("900D", "002Y"),
        ("024M", "002Y"),
        ("999M", "083Y"),
        ("001Y", "001Y"),
        ("99", None),
        ("45Y", None),
    ],
)
def test_an_age_says_no_more_than_what_stays_of_the_birth_date(old, new):
    assert dates.capped_age(old) == new


def test_every_date_of_a_file_moves_by_the_same_days_and_times_stay(tmp_path):
    ds = corpus.enhanced(1)
    ds.private_block(0x0077, "Philips Imaging DD 001", create=True).add_new(0x01, "DT", "20190307101112")
    corpus.save(ds, tmp_path / "in.dcm")
    deidentify(
        tmp_path / "in.dcm",
        tmp_path / "out.dcm",
        helpers.rules(Options(fuzz_dates=True), birth_shift_days=12),
    )
    before, after = helpers.read(tmp_path / "in.dcm"), helpers.read(tmp_path / "out.dcm")
    olds = [
        str(each.value)
        for each in helpers.every_element(before)
        if each.VR in ("DA", "DT") and each.keyword != "AttributeModificationDateTime"
    ]
    news = [str(each.value) for each in helpers.every_element(after) if each.VR in ("DA", "DT")]
    assert len(news) >= 9
    assert sorted(news) == sorted(dates.shift_datetime(old, 12) for old in olds)
    assert after.StudyTime == before.StudyTime


# --- UIDs ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.from_regex(r"1\.2\.[0-9]{1,20}(\.[1-9][0-9]{0,8}){1,4}", fullmatch=True), unique=True, min_size=2
    )
)
def test_distinct_uids_stay_distinct_and_equal_ones_equal(olds):
    news = [uids.new_uid(b"s" * 32, old) for old in olds]
    assert len(set(news)) == len(olds)
    assert news == [uids.new_uid(b"s" * 32, old) for old in olds]
    assert set(news).isdisjoint(uids.new_uid(b"t" * 32, old) for old in olds)
    for new in news:
        number = uuid.UUID(int=int(new.removeprefix("2.25.")))
        assert number.version == 8
        assert number.variant == uuid.RFC_4122
        assert len(new) <= 64


def test_uids_of_the_standard_and_of_classes_stay_and_wrongly_issued_ones_go(tmp_path):
    ds = corpus.ct(1)
    wrong = "1.2.840.10008.5.1.4.1.1.2.123456.7"
    ds.FrameOfReferenceUID = wrong
    ds.SOPClassesInStudy = [corpus.CT, "1.3.46.670589.11.0.0.12.1"]
    item = corpus.code("X", "99Q", "y")
    item.CodingSchemeUID, item.ContextUID = "1.2.826.0.1.9", "1.2.840.10008.6.1.1"
    ds.ProcedureCodeSequence = [item]
    corpus.save(ds, tmp_path / "in.dcm")
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", helpers.rules())
    after = helpers.read(tmp_path / "out.dcm")
    assert list(after.SOPClassesInStudy) == [corpus.CT, "1.3.46.670589.11.0.0.12.1"]
    assert after.ProcedureCodeSequence[0].CodingSchemeUID == "1.2.826.0.1.9"
    assert after.FrameOfReferenceUID == uids.new_uid(helpers.SECRET, wrong)


def test_a_uid_inside_other_bytes_keeps_its_length():
    old = b"xx 1.3.12.2.1107.5.2.32.35131.2014 yy "
    old += b"2.25.329800735698586629295641978511506172918 v1.2.3.4 1.2.840.10008.1.2.1"
    new = uids.replace_in_bytes(old, b"s" * 32)
    assert len(new) == len(old)
    assert b"1107" not in new
    assert b"3298007356" not in new
    assert new.endswith(b" v1.2.3.4 1.2.840.10008.1.2.1")


# --- broken things ------------------------------------------------------------


def test_malformed_values_are_cleared_and_reported_never_fatal(tmp_path):
    ds = corpus.ct(1)
    corpus.save(ds, tmp_path / "in.dcm")
    raw = (tmp_path / "in.dcm").read_bytes()
    for tag, vr, bad in (
        (b"\x10\0\x30\0", b"DA", b"DOE^JOHN"),
        (b"\x10\0\x10\x10", b"AS", b"45  "),
        (b"\x08\0\x30\0", b"TM", b"Zwetschge "),
        (b"\x18\0\x50\0", b"DS", b"DOE^JOHN"),
        (b"\x10\0\x40\0", b"CS", b"Zwetschge "),
    ):
        pattern = re.escape(tag + vr) + b"(..)"
        at = re.search(pattern, raw, re.DOTALL)
        assert at is not None
        length = int.from_bytes(at[1], "little")
        raw = raw[: at.start()] + tag + vr + len(bad).to_bytes(2, "little") + bad + raw[at.end() + length :]
    (tmp_path / "bad.dcm").write_bytes(raw)
    done = deidentify(tmp_path / "bad.dcm", tmp_path / "out.dcm", helpers.rules())
    after = helpers.read(tmp_path / "out.dcm")
    assert (after.PatientBirthDate, after.PatientAge, after.StudyTime, after.SliceThickness) == (
        "",
        "",
        "",
        None,
    )
    assert after.PatientSex == ""
    assert {0x00100030, 0x00101010, 0x00080030, 0x00180050, 0x00100040} <= {
        tag for kind, tag in done.changes if kind == "malformed"
    }


@pytest.mark.parametrize("vr", [b"XX", b"ZQ", b"??", b"  "])
def test_a_value_under_a_vr_of_nobody_is_replaced_and_what_follows_stays_readable(vr, tmp_path):
    """Some writers' own VRs have a length of 16 bits, as those of the standard have."""
    path = corpus.save(corpus.ct(1), tmp_path / "in.dcm")
    raw = path.read_bytes()
    at = raw.index(b"\x10\0\x10\0PN") + 4
    path.write_bytes(raw[:at] + vr + raw[at + 2 :])
    done = deidentify(path, tmp_path / "out.dcm", helpers.rules())
    assert not done.by_pydicom
    after = part10.read(tmp_path / "out.dcm", (0x00100010, 0x00100020))
    assert after.whole
    assert after.values == {0x00100010: b"P0001^sub ", 0x00100020: b"P0001 "}


def test_an_instance_that_has_no_room_for_the_marks_is_refused(tmp_path):
    """DeidentificationMethod holds 64 kB, and this one is full of other methods."""
    ds = corpus.ct(1)
    ds.DeidentificationMethod = [f"m{number:05}" for number in range(9350)]
    path = corpus.save(ds, tmp_path / "in.dcm")
    with pytest.raises(UnreadableError, match="no room for the marks"):
        deidentify(path, tmp_path / "out.dcm", helpers.rules())
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("cut", [100, 140, 400, 1500, -1, -200])
def test_a_cut_file_is_refused(cut, tmp_path):
    path = corpus.save(corpus.mr(1), tmp_path / "in.dcm")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UnreadableError):
        deidentify(path, tmp_path / "out.dcm", helpers.rules())
    assert not (tmp_path / "out.dcm").exists()


def test_a_file_without_preamble_is_read_where_that_is_honest(tmp_path):
    ds = corpus.ct(1, ImplicitVRLittleEndian)
    path = corpus.save(ds, tmp_path / "in.dcm")
    with path.open("rb", buffering=0) as handle:
        offset = part10.layout(handle).elements[0][2]
    path.write_bytes(path.read_bytes()[offset:])
    deidentify(path, tmp_path / "out.dcm", helpers.rules())
    after = helpers.read(tmp_path / "out.dcm")
    assert after.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert (after.PatientID, after.PixelData) == ("P0001", ds.PixelData)


def test_un_encoded_and_undefined_length_sequences_are_looked_into(tmp_path):
    ds = corpus.mr(1)
    item = Dataset()
    item.PatientName, item.PatientID = "Quetzaltenango^Y", "PZ8841177"
    known = Identifiers()
    known.add_name("Quetzaltenango^Y")
    path = corpus.save(ds, tmp_path / "in.dcm")
    raw = path.read_bytes()
    content = b"\x10\0\x10\0\x10\0\0\0Quetzaltenango^Y\x10\0\x20\0\x0a\0\0\0PZ8841177 "
    sequence = b"\x08\0\x18\x22UN\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" + content
    sequence += b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    at = raw.index(b"\x10\0\x10\0PN")
    path.write_bytes(raw[:at] + sequence + raw[at:])
    deidentify(path, tmp_path / "out.dcm", helpers.rules(known=known))
    out = (tmp_path / "out.dcm").read_bytes()
    assert b"Quetzal" not in out
    assert helpers.read(tmp_path / "out.dcm").AnatomicRegionSequence[0].PatientID == "P0001"


def test_enumerated_and_numeric_values_never_count_as_the_patients_name(tmp_path):
    ds = corpus.ct(1)
    ds.PatientName, ds.PatientID, ds.BodyPartExamined, ds.SliceThickness = "Head^Chest", "12", "CHEST", "12"
    ds.SeriesDescription = "Head CT 12"
    known = Identifiers()
    known.add_name("Head^Chest")
    known.add_id("12")
    corpus.save(ds, tmp_path / "in.dcm")
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", helpers.rules(known=known))
    after = helpers.read(tmp_path / "out.dcm")
    assert (after.BodyPartExamined, after.SliceThickness, after.SeriesDescription) == ("CHEST", 12, "CT 12")


def test_what_a_person_types_where_codes_are_expected_does_not_stay(tmp_path):
    """Labels, unknown public elements, a UID inside a text, a series number that is a name."""
    ds = corpus.presentation_state(1)
    ds.ContentLabel, ds.SoftwareVersions = "QUETZALTENANGO", f"v1 of {corpus.uid(5, 77)}"
    ds.add_new(0x00089999, "OB", b"Wurmfarn")
    ds.add_new(0x00089998, "LO", "Wurmfarn")
    known = Identifiers()
    known.add_name(corpus.NAME)
    corpus.save(ds, tmp_path / "in.dcm")
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", helpers.rules(known=known))
    after = helpers.read(tmp_path / "out.dcm")
    assert after.ContentLabel == "REMOVED"
    assert after.SoftwareVersions.startswith("v1 of 2.25.")
    assert b"wurmfarn" not in (tmp_path / "out.dcm").read_bytes().lower()


@pytest.mark.parametrize(
    "declared", ["ISO_IR 100", "iso_ir 192", "ISO 2022 IR 6\\ISO 2022 IR 87", "ISO-8859-1", ""]
)
def test_the_character_set_of_a_file_stays(declared, tmp_path):
    ds = corpus.mr(1)
    ds.SpecificCharacterSet = "ISO_IR 100"
    path = corpus.save(ds, tmp_path / "in.dcm")
    old = b"\x08\0\x05\0CS\x0a\0ISO_IR 100"
    new = declared.encode() + b" " * (len(declared) % 2)
    path.write_bytes(path.read_bytes().replace(old, b"\x08\0\x05\0CS" + len(new).to_bytes(2, "little") + new))
    deidentify(path, tmp_path / "out.dcm", helpers.rules())
    assert b"\x08\0\x05\0CS" + len(new).to_bytes(2, "little") + new in (tmp_path / "out.dcm").read_bytes()


def test_memory_does_not_grow_with_the_file(tmp_path):
    """300 MB of pixels pass through a process that may have 24 MB more than it has at its start: the lists of words."""
    ds = corpus.ct(1)
    path = corpus.save(ds, tmp_path / "small.dcm")
    raw = path.read_bytes()
    at = raw.index(b"\xe0\x7f\x10\0OW\0\0")
    big = tmp_path / "big.dcm"
    size = 300 << 20
    with big.open("wb") as file:
        file.write(raw[: at + 8] + size.to_bytes(4, "little"))
        file.seek(at + 12 + size - 1)
        file.write(b"\0")
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    program = (
        "import re; from pathlib import Path; from deid import helpers;"
        "from pacsifier.deidentify.engine.instance import deidentify;"
        # Not ru_maxrss, which begins with the peak of the process that forked this one.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]);"
        "before = peak();"
        f"deidentify(Path({str(big)!r}), Path({str(tmp_path / 'out.dcm')!r}), helpers.rules());"
        "print(peak() - before, before)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    grown, before = (int(each) // 1024 for each in run.stdout.split())
    assert grown < 24
    assert grown + before < 150
    assert (tmp_path / "out.dcm").stat().st_size > size
    shutil.rmtree(tmp_path)


def test_the_syntax_of_an_output_is_that_of_its_bytes(tmp_path):
    for name, ds in corpus.everything():
        corpus.save(ds, tmp_path / "in.dcm")
        (tmp_path / "out.dcm").unlink(missing_ok=True)
        deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", helpers.rules())
        after = helpers.read(tmp_path / "out.dcm")
        assert after.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID, name
        assert part10.read(tmp_path / "out.dcm", ()).whole, name
    assert ds.file_meta.TransferSyntaxUID in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def _series_of(path: Path, home: Path) -> list[Path]:
    """A file, once more as it is, and once more with its elements out of order, a mark of its own among them."""
    raw = path.read_bytes()
    with path.open("rb", buffering=0) as handle:
        layout = part10.layout(handle)
    files = [raw, raw]
    if len(layout.elements) > 4 and not layout.deflated:
        _, _, head, _, _, after = layout.elements[2]
        mark = part10.encode_element(0x00120062, "CS", b"NO", layout.coding)
        files += [raw[:head] + raw[after : layout.end] + mark + raw[head:after]] * 3
    return [_written(home / f"{path.name}-{number}", each) for number, each in enumerate(files)]


def _written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("options", WAYS)
def test_the_runs_of_the_files_before_change_nothing_of_what_is_written(tmp_path, options):
    runs, together, met = Runs(MARKS), helpers.rules(options), 0
    sources = [*PYDICOM_FILES, *corpus.build(tmp_path / "corpus")]
    for path in (each for source in sources for each in _series_of(source, tmp_path)):
        results = []
        for rules, more in ((helpers.rules(options), None), (together, runs)):
            target = tmp_path / "out.dcm"
            target.unlink(missing_ok=True)
            try:
                done = deidentify(path, target, rules, runs=more)
            except UnreadableError as error:
                results.append(str(error))
            else:
                results.append((done, target.read_bytes()))
        assert results[0] == results[1]
        with path.open("rb", buffering=0) as handle:
            met += any(isinstance(each, Run) for each in part10.layout(handle, runs.walk).stretches)
    assert met > 100


@pytest.mark.parametrize("size", [100, 9_000, 2 << 20])
def test_a_value_that_comes_again_has_the_outcome_of_its_own_bytes(size):
    known = Identifiers()
    known.add_name("Brunnenmeister^Adelheid")
    rules, scope = helpers.rules(known=known), Scope(0, b"")
    scope.learn(0x00290010, b"SOMEBODY HEADER")
    plain, named = bytes(size), b"\xff" * (size - 14) + b"Brunnenmeister"
    for raw in (plain, named, named, plain, named):
        rules.start("1.2.3")
        new = rules.value(0x00291010, "OB", raw, scope)
        assert new == raw.replace(b"Brunnenmeister", b"X" * 14)
        assert rules.notes() == ([("cleaned", 0x00291010)] if raw is named else [])
    other = Scope(0, b"", above=(0x00400555,))
    assert rules.value(0x00291010, "OB", named, other) == named.replace(b"Brunnenmeister", b"X" * 14)
