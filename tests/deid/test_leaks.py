"""Nothing that identifies anybody may be found in the output, in any place, by any means; what is useful must stay."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from deid import corpus, helpers
from pacsifier.deidentify.engine.profile import Options

OPTIONS = {
    "default": Options(),
    "-a": Options(fuzz_dates=True),
    "-p -a": Options(remove_private=True, fuzz_dates=True),
    "safe private": Options(safe_private=True),
    "basic": Options(basic=True),
    "retain descriptors": Options(retain_descriptors=True),
}


@pytest.fixture(scope="module", params=OPTIONS)
def run(request, tmp_path_factory) -> tuple[Path, Path, Options]:
    """The corpus, its de-identified copy, and the options."""
    home = tmp_path_factory.mktemp("leaks")
    corpus.build(home / "in")
    options = OPTIONS[request.param]
    totals = helpers.run(home / "in", home / "out", options, verify=True)
    assert totals.hits == 0
    return home / "in", home / "out", options


def _raw(path: Path) -> bytes:
    """The bytes of a file, and those of its data set where that is deflated."""
    raw = path.read_bytes()
    if b"1.2.840.10008.1.2.1.99" in raw[:1000]:
        offset = raw.index(b"PACSIFIER_")
        offset += len(raw[offset:]) - len(raw[offset:].lstrip(b"PACSIFIER_0123456789. "))
        for at in range(offset, offset + 20):
            try:
                return raw + zlib.decompressobj(-15).decompress(raw[at:])
            except zlib.error:
                continue
        raise AssertionError("no deflated data set found")
    return raw


def test_no_word_of_the_input_that_identifies_is_in_the_bytes_of_the_output(run):
    _, out, options = run
    files = helpers.outputs(out)
    assert len(files) >= 19
    secrets = set(corpus.SECRETS)
    if options.retain_descriptors:
        # A name that stands nowhere but in descriptions cannot be recognized there, and that option keeps them.
        secrets -= {"Lindwurm", "Zwetschge", "Nachtigall", "GRAPHICQ"}
    found = []
    for path in files:
        lower = _raw(path).lower()
        for word in secrets:
            for encoding in ("latin_1", "utf_16_le"):
                if word.lower().encode(encoding) in lower:
                    found.append((path.parent.name, word))
    assert not found


def test_no_old_uid_is_in_the_bytes_of_the_output(run):
    _, out, _ = run
    assert not [path for path in helpers.outputs(out) if corpus.ROOT.encode() in _raw(path)]


def test_no_name_of_a_file_or_folder_identifies(run):
    _, out, options = run
    names = " ".join(str(path.relative_to(out)) for path in out.rglob("*")).lower()
    secrets = [word for word in corpus.SECRETS if not options.retain_descriptors or word != "Lindwurm"]
    assert not [word for word in secrets if word.lower() in names]
    assert not re.search(r"(?<![0-9])1\.2\.826", names)


def test_nothing_but_instances_is_in_the_output(run):
    _, out, _ = run
    assert {path.suffix for path in out.rglob("*") if path.is_file()} == {".dcm"}


def test_the_file_meta_information_is_new(run):
    _, out, _ = run
    for path in helpers.outputs(out):
        raw, ds = path.read_bytes(), helpers.read(path)
        assert raw[:128] == bytes(128)
        assert raw[128:132] == b"DICM"
        assert {element.keyword for element in ds.file_meta} == {
            *("FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID"),
            *("MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID"),
            "ImplementationVersionName",
        }
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID


def test_every_reference_finds_what_it_found_before(run):
    source, out, _ = run
    before = [helpers.read(path) for path in source.rglob("*") if path.is_file()]
    after = [helpers.read(path) for path in helpers.outputs(out)]
    there = {ds.SOPInstanceUID for ds in after}
    references = {
        str(element.value)
        for ds in after
        for element in helpers.every_element(ds)
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    old_there = {ds.SOPInstanceUID for ds in before if ds.SOPClassUID != corpus.PDF}
    old_references = {
        str(element.value)
        for ds in before
        for element in helpers.every_element(ds)
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert len(references & there) == len(old_references & old_there) == 4
    assert len({ds.SOPInstanceUID for ds in after}) == len(after)
    frames = {ds.FrameOfReferenceUID for ds in after if "FrameOfReferenceUID" in ds}
    assert len(frames) == 1
    assert {
        roi.ReferencedFrameOfReferenceUID for ds in after for roi in ds.get("StructureSetROISequence", [])
    } == frames
    assert len({ds.SeriesInstanceUID for ds in after}) == len(
        {ds.SeriesInstanceUID for ds in before if ds.SOPClassUID != corpus.PDF}
    )


def test_pixels_are_the_same_bytes(run):
    source, out, _ = run
    before = {_shape(ds): ds.PixelData for ds in map(helpers.read, _files(source)) if "PixelData" in ds}
    after = {_shape(ds): ds.PixelData for ds in map(helpers.read, helpers.outputs(out)) if "PixelData" in ds}
    assert before.keys() == after.keys()
    masked = next(shape for shape in before if shape[1] == 40)
    assert after.pop(masked) == b"\x0f\x00" * 256
    assert before.pop(masked) == b"\x0f\x80" * 256
    assert before == after


def _shape(ds: Dataset) -> tuple[str, int]:
    return ds.SOPClassUID, ds.InstanceNumber


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_research_needs_is_still_there(run):
    _, out, options = run
    (ct,) = [
        ds
        for ds in map(helpers.read, helpers.outputs(out))
        if ds.SOPClassUID == corpus.CT and ds.InstanceNumber == 1
    ]
    assert (ct.SliceThickness, ct.RescaleIntercept, ct.KVP) == (12, -1024, 120)
    assert list(ct.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert (ct.ConvolutionKernel, ct.BodyPartExamined, ct.Manufacturer) == ("B30f", "CHEST", "SIEMENS")
    assert (ct.ManufacturerModelName, ct.SoftwareVersions) == ("Prisma", "syngo E11")
    if not options.basic:
        assert ct.SeriesDescription == corpus.KEPT_DESCRIPTIONS[1]
        assert (ct.PatientSex, ct.PatientAge, ct.PatientWeight) == ("F", "057Y", 61.5)
        assert ct.ContentTime == "101112.123"
    if not (options.basic or options.fuzz_dates):
        assert (ct.StudyDate, ct.AcquisitionDateTime) == ("20190307", "20190307101113.5+0100")


def test_structured_content_keeps_codes_numbers_and_references(run):
    _, out, _ = run
    (sr,) = [ds for ds in map(helpers.read, helpers.outputs(out)) if ds.SOPClassUID == corpus.SR]
    name, device, text, number, image, _ = sr.ContentSequence
    assert name.PersonName == "REMOVED"
    assert device.UID.startswith("2.25.")
    assert text.TextValue == "REMOVED"
    assert text.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert number.MeasuredValueSequence[0].NumericValue == 12.5
    assert image.ReferencedSOPSequence[0].ReferencedSOPClassUID == corpus.CT
    assert sr.VerifyingObserverSequence[0].VerifyingObserverName == "REMOVED"
    assert sr.ReferencedRequestSequence[0].RequestedProcedureID == ""


def test_the_input_is_not_touched(tmp_path):
    corpus.build(tmp_path / "in")
    before = helpers.digests(tmp_path / "in")
    helpers.run(
        tmp_path / "in", tmp_path / "out", Options(delete_identifiable=True, fuzz_dates=True), verify=True
    )
    assert helpers.digests(tmp_path / "in") == before


@pytest.mark.parametrize(
    ("character_sets", "name", "words"),
    [
        ("ISO_IR 100", "Würmeling^Zoé-Ânne", ["Würmeling", "wurmeling", "Ânne"]),
        ("ISO_IR 192", "Šimůnková^Łucjana", ["Šimůnková", "Łucjana"]),
        ("ISO_IR 144", "Люкceмбypг^Анна", ["Люкceмбypг"]),  # noqa: RUF001
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", ["Yamada", "山田", "太郎"]),
        ("GB18030", "Wang^XiaoDong=王^小东", ["XiaoDong", "小东"]),
    ],
)
def test_a_name_in_any_character_set_is_found_in_texts(character_sets, name, words, tmp_path):
    ds = corpus.accented(1, character_sets, name)
    corpus.save(ds, tmp_path / "in" / "sub-x" / "a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out", Options(retain_descriptors=True))
    (path,) = helpers.outputs(tmp_path / "out")
    raw = path.read_bytes()
    codecs = ("latin_1", "utf_8", "iso8859_5", "gb18030", "iso2022_jp", "ascii")
    coded = {word.encode(codec, "ignore") for word in words for codec in codecs}
    assert not [each for each in coded if len(each) >= 4 and each.lower() in raw.lower()]
    assert "head" in helpers.read(path).StudyDescription


def test_private_blocks_keep_their_length_and_their_use(tmp_path):
    corpus.save(corpus.mr(1), tmp_path / "in" / "sub-x" / "a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out")
    before = helpers.read(tmp_path / "in" / "sub-x" / "a.dcm")
    after = helpers.read(helpers.outputs(tmp_path / "out")[0])
    csa, csa_before = after[0x0029, 0x1010].value, before[0x0029, 0x1010].value
    assert len(csa) == len(csa_before)
    assert csa.startswith(b"SV10\4\3\2\1")
    assert b"b_value 1000" in csa
    assert after[0x0099, 0x1004].value == 1000.5
    assert after[0x0099, 0x1003].value != corpus.BIRTH_DATE
    assert len(after[0x0099, 0x1001].value) == len(before[0x0099, 0x1001].value)


def test_safe_private_keeps_the_safe_list_and_numbers_only(tmp_path):
    ds = corpus.mr(1)
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0B, "DS", "1")
    corpus.save(ds, tmp_path / "in" / "sub-x" / "a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out", Options(safe_private=True))
    after = helpers.read(helpers.outputs(tmp_path / "out")[0])
    private = {
        f"{element.tag.group:04X}{element.tag.element:04X}" for element in after if element.tag.is_private
    }
    assert private == {"00190010", "0019100B", "0019100C", "00290010"}


def test_remove_private_tags_removes_them_at_every_depth(tmp_path):
    corpus.build(tmp_path / "in")
    helpers.run(tmp_path / "in", tmp_path / "out", Options(remove_private=True))
    for path in helpers.outputs(tmp_path / "out"):
        assert not [
            element.tag for element in helpers.every_element(helpers.read(path)) if element.tag.is_private
        ]
