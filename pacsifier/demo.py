"""A small synthetic hospital to try everything against; nobody in it exists, every value is made here.

The same call always writes the same bytes. `make_hospital` is small and full of traps (accents, twins, a
slash in a description, a compressed series); `make_archive` is large and plain, for benchmarks. numpy and
pydicom are imported only when something is made.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

SIZE = 128
"""Rows and columns of every picture of the hospital, in pixels."""

PEAK = 4000
"""Largest stored value of the phantom; it fits 12 bits."""

DEMO_QUERY = """\
PatientID,StudyDate,PatientName,PatientBirthDate,Modality,SeriesDescription,ProtocolName
123421,20150512,,,,,
45322,,,,,,
,20180102,,,,,
124588,20150512-20150612,,,,,
,,,19920611,CT,,BEAT_SelfNav*
00123,,,,MR,DWI*,
,,Müller,,CT,,
"""
"""A query table (CSV text, to be written as UTF-8) whose rows together find every patient of the hospital.

Rows 2 to 6 are the examples of the documentation; the last two ask for twin series and for an accented name.
"""

_NAMESPACE = uuid.UUID("6b0f7f0e-5d0c-5c4e-9a57-70ac51f1e400")
_MR = "1.2.840.10008.5.1.4.1.1.4"
_CT = "1.2.840.10008.5.1.4.1.1.2"
_US = "1.2.840.10008.5.1.4.1.1.3.1"
_SR = "1.2.840.10008.5.1.4.1.1.88.22"
_SOP_CLASSES = {"MR": _MR, "CT": _CT, "US": _US, "SR": _SR}
_MODIFIED_SHEPP_LOGAN = (
    # intensity, half axes x and y, centre x and y (all in half image widths), angle in degrees
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)


@dataclass(frozen=True)
class DemoSeries:
    """One series of the hospital; `slices` counts instances (US: the frames of its one instance)."""

    modality: str
    number: int
    description: str | None
    protocol: str
    slices: int
    sequence: str = ""
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "OTHER")


@dataclass(frozen=True)
class DemoStudy:
    """One study; `date` is a DICOM DA, `time` a DICOM TM, at different precisions on purpose."""

    date: str
    time: str
    description: str
    accession: str
    body_part: str
    series: tuple[DemoSeries, ...]


@dataclass(frozen=True)
class DemoPatient:
    """One invented patient; `character_set` is Specific Character Set (0008,0005), None for plain ASCII."""

    patient_id: str
    name: str
    birth_date: str
    sex: str
    character_set: str | None
    studies: tuple[DemoStudy, ...]


_AXIAL = ("ORIGINAL", "PRIMARY", "AXIAL")
_LOCALIZER = ("ORIGINAL", "PRIMARY", "LOCALIZER")
_MPR = ("DERIVED", "SECONDARY", "MPR")

HOSPITAL = (
    DemoPatient(
        *("00123", "KENOBI^OBI-WAN", "19920611", "M", None),
        studies=(
            DemoStudy(
                *("20160420", "140500.250000", "MR BRAIN", "ACC000101", "BRAIN"),
                series=(
                    DemoSeries("MR", 1, "localizer", "localizer", 3, "*fl2d1"),
                    DemoSeries("MR", 2, "T1 MPRAGE sag", "t1_mprage_sag_p2_iso", 6, "*tfl3d1_16"),
                    DemoSeries("MR", 3, "DWI b1000", "ep2d_diff_3scan_trace", 4, "*ep_b1000"),
                    DemoSeries("MR", 3, "DWI b1000", "ep2d_diff_3scan_trace", 4, "*ep_b1000"),
                    DemoSeries("MR", 4, None, "t2_tse_tra", 4, "*tse2d1_15"),
                ),
            ),
            DemoStudy(
                *("20170925", "091500", "CT HEART", "ACC000102", "HEART"),
                series=(
                    DemoSeries("CT", 1, "Scout", "Scout", 2, image_type=_LOCALIZER),
                    DemoSeries("CT", 2, "Heart ECG 0.6 B26f", "BEAT_SelfNav_3D_ECG", 6, image_type=_AXIAL),
                    DemoSeries("SR", 500, "Radiology report", "Report", 1),
                ),
            ),
        ),
    ),
    DemoPatient(
        *("123421", "Müller^Zoé", "19680229", "F", "ISO_IR 100"),
        studies=(
            DemoStudy(
                *("20150512", "0830", "IRM tête", "ACC000201", "HEAD"),
                series=(
                    DemoSeries("MR", 1, 'T1 "axial" [3D]/été', "t1_fl3d_tra", 5, "*fl3d1"),
                    DemoSeries("MR", 2, "T2 FLAIR", "t2_flair_tra", 5, "*tir2d1_19"),
                    DemoSeries("SR", 500, "Compte rendu", "Rapport", 1),
                ),
            ),
            DemoStudy(
                *("20161103", "153012.5", "CT thorax", "ACC000202", "CHEST"),
                series=(
                    DemoSeries("CT", 2, "Thorax artériel 1.0", "Thorax_art", 8, image_type=_AXIAL),
                    DemoSeries("CT", 3, "Thorax cor MPR", "Thorax_art", 4, image_type=_MPR),
                ),
            ),
        ),
    ),
    DemoPatient(
        *("45322", "Šimůnek^Łucja", "19850713", "F", "ISO_IR 192"),
        studies=(
            DemoStudy(
                *("20180102", "101500.123456", "MR páteř a srdce", "ACC000301", "CHEST"),
                series=(
                    DemoSeries("MR", 1, "T2 TSE sag páteř", "t2_tse_sag", 6, "*tse2d1_17"),
                    DemoSeries("US", 7, "Echo 4-chamber", "Cardiac adult", 6),
                ),
            ),
            DemoStudy(
                *("20190315", "074501", "CT břicho", "ACC000302", "ABDOMEN"),
                series=(
                    DemoSeries("CT", 1, "Břicho 5.0", "Abdomen_nativ", 6, image_type=_AXIAL),
                    DemoSeries("SR", 500, "Zpráva", "Report", 1),
                ),
            ),
        ),
    ),
    DemoPatient(
        *("124588", "ORGANA^LEIA^^DR", "19560907", "F", None),
        studies=(
            DemoStudy(
                *("20150603", "181530", "CT ABDOMEN", "ACC000401", "ABDOMEN"),
                series=(
                    DemoSeries("CT", 2, "Abdomen 5.0 B30f", "AbdPelvis", 6, image_type=_AXIAL),
                    DemoSeries("CT", 3, "Abdomen cor MPR", "AbdPelvis", 4, image_type=_MPR),
                ),
            ),
            DemoStudy(
                *("20170704", "12", "MR KNEE LEFT", "ACC000402", "KNEE"),
                series=(
                    DemoSeries("MR", 3, "PD TSE fs sag", "pd_tse_fs_sag", 6, "*tse2d1_9"),
                    DemoSeries("MR", 4, "PD TSE fs cor", "pd_tse_fs_cor", 6, "*tse2d1_9"),
                ),
            ),
        ),
    ),
    DemoPatient(
        *("SYN 05", "YODA", "19000101", "O", None),
        studies=(
            DemoStudy(
                *("20180102", "080000", "MR SPINE", "ACC000501", "SPINE"),
                series=(DemoSeries("MR", 1, "T2 TSE sag", "t2_tse_sag", 6, "*tse2d1_17"),),
            ),
            DemoStudy(
                *("20180102", "163000", "CT SPINE", "", "SPINE"),
                series=(
                    DemoSeries("CT", 1, "Scout", "Scout", 1, image_type=_LOCALIZER),
                    DemoSeries("CT", 201, "Spine 2.0", "Spine", 6, image_type=_AXIAL),
                ),
            ),
        ),
    ),
)
"""Everyone in the hospital. Both studies of `SYN 05` have one date; series 3 of ACC000101 exists twice."""


COMPRESSED_CLASSES: Mapping[str, str] = {"1.2.840.10008.5.1.4.1.1.3.1": "1.2.840.10008.1.2.5"}
"""SOP Class UID -> transfer syntax UID of what is stored compressed: Ultrasound Multi-frame, RLE Lossless."""


def make_hospital(folder: Path) -> list[Path]:
    """Write the hospital below `folder` as Part 10 files and return them in a fixed order.

    Names follow DICOM File IDs (`P0001/ST01/SE01/IM0001`). About 100 instances, 3.4 MB; MR and CT are 128x128
    of 16 bits, the US series is RLE Lossless, the SR is an Enhanced SR that refers to an image of its study.
    Sources: PS3.3 A.3, A.4, A.7 and A.35.2 (IODs), PS3.16 TID 2000 (the content of the report).
    """
    written: list[Path] = []
    for p, patient in enumerate(HOSPITAL, 1):
        for s, study in enumerate(patient.studies, 1):
            images: list[Dataset] = []
            for e, series in enumerate(study.series, 1):
                home = folder / f"P{p:04d}" / f"ST{s:02d}" / f"SE{e:02d}"
                home.mkdir(parents=True, exist_ok=True)
                uid = demo_uid(patient.patient_id, str(s), str(e))
                for i, instance in enumerate(_instances(patient, study, series, uid, images), 1):
                    path = home / f"IM{i:04d}"
                    instance.save_as(path, enforce_file_format=True)
                    written.append(path)
                    images.append(instance)
    return written


def make_archive(  # noqa: PLR0917
    folder: Path, patients: int, studies: int, series: int, slices: int, size: int, seed: int = 1
) -> list[Path]:
    """Write `patients` x `studies` x `series` x `slices` MR instances of `size` x `size` pixels of 16 bits.

    PatientIDs are `BENCH00001` and so on; every instance has its own UIDs, the pixels repeat from series to
    series. Another `seed` gives other UIDs and other noise. Quick: pydicom makes one template, and from there
    on bytes are only replaced by others of equal length.
    """
    header = _archive_template(size)
    planes = _noisy_planes(size, slices, seed)
    written: list[Path] = []
    for p, s, e in product(range(1, patients + 1), range(1, studies + 1), range(1, series + 1)):
        home = folder / f"P{p:04d}" / f"ST{s:02d}" / f"SE{e:03d}"
        home.mkdir(parents=True, exist_ok=True)
        own = _series_header(header, seed, p, s, e)
        for i, plane in enumerate(planes):
            path = home / f"IM{i + 1:04d}"
            path.write_bytes(_instance_header(own, f"{seed}/{p}/{s}/{e}", i) + plane)
            written.append(path)
    return written


def demo_uid(*parts: str) -> str:
    """Return the UID made of `parts`: a version 5 UUID under 2.25 (PS3.5 B.2), always 44 characters."""
    name = "/".join(parts)
    candidates = (uuid.uuid5(_NAMESPACE, f"{name}#{n}").int for n in count())
    return f"2.25.{next(number for number in candidates if number >= 10**38)}"


@lru_cache(maxsize=64)
def phantom(size: int, height: float) -> NDArray[np.uint16]:
    """Return a head of ellipses, `size` x `size`, stored values 0 to `PEAK`; `height` runs from -1 to 1.

    The modified Shepp-Logan phantom (Toft 1996), smaller towards both ends, moving a little with the height.
    """
    import numpy as np

    axis = np.linspace(-1, 1, size)
    scale = 1.0 - 0.35 * height**2
    x = (axis[np.newaxis, :] - 0.05 * height) / scale
    y = -axis[:, np.newaxis] / scale
    picture = np.zeros((size, size))
    for intensity, half_x, half_y, centre_x, centre_y, angle in _MODIFIED_SHEPP_LOGAN:
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        u = (x - centre_x) * cosine + (y - centre_y) * sine
        v = (y - centre_y) * cosine - (x - centre_x) * sine
        picture[(u / half_x) ** 2 + (v / half_y) ** 2 <= 1] += intensity
    stored: NDArray[np.uint16] = np.clip(picture * PEAK, 0, PEAK).round().astype("<u2")
    return stored


def _height(index: int, slices: int) -> float:
    """Return the height of slice `index` (from 0) of `slices`, from -1 to 1."""
    return 0.0 if slices == 1 else 2.0 * index / (slices - 1) - 1.0


def _instances(
    patient: DemoPatient, study: DemoStudy, series: DemoSeries, uid: str, images: list[Dataset]
) -> Iterator[Dataset]:
    """Yield the instances of one series, ready to be saved; `images` are those that an SR may refer to."""
    for index in range(1 if series.modality in ("US", "SR") else series.slices):
        dataset = _common(patient, study, series, uid, index)
        if series.modality == "SR":
            _add_report(dataset, patient, images)
        elif series.modality == "US":
            _add_ultrasound(dataset, series, study.body_part)
        else:
            _add_slice(dataset, series, study.body_part, index)
        yield dataset


def _common(patient: DemoPatient, study: DemoStudy, series: DemoSeries, uid: str, index: int) -> Dataset:
    """Return an instance with its file meta and what every IOD shares: patient, study, series, equipment."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPClassUID = _SOP_CLASSES[series.modality]
    dataset.SOPInstanceUID = demo_uid(uid, str(index))
    dataset.file_meta = _file_meta(dataset)
    if patient.character_set:
        dataset.SpecificCharacterSet = patient.character_set
    _set(
        dataset,
        PatientName=patient.name,
        PatientID=patient.patient_id,
        PatientBirthDate=patient.birth_date,
        PatientSex=patient.sex,
        StudyInstanceUID=demo_uid(patient.patient_id, study.date, study.time),
        StudyDate=study.date,
        StudyTime=study.time,
        StudyDescription=study.description,
        StudyID=study.accession[-3:] or "1",
        AccessionNumber=study.accession,
        ReferringPhysicianName="",
        InstitutionName="Demo Hospital",
        Modality=series.modality,
        SeriesInstanceUID=uid,
        SeriesNumber=series.number,
        SeriesDate=study.date,
        SeriesTime=study.time,
        ContentDate=study.date,
        ContentTime=study.time,
        Manufacturer="Synthetic",
        ManufacturerModelName=f"Phantom {series.modality}",
        DeviceSerialNumber=f"{series.modality}-4711",
        SoftwareVersions="1.0",
        InstanceNumber=index + 1,
    )
    if series.description is not None:
        dataset.SeriesDescription = series.description
    return dataset


def _set(dataset: Dataset, **values: object) -> None:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def _file_meta(dataset: Dataset) -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = demo_uid("implementation")
    meta.ImplementationVersionName = "PACSIFIER_DEMO"
    return meta


def _add_acquisition(dataset: Dataset, series: DemoSeries, body_part: str) -> None:
    """Add what images have and reports have not."""
    _set(
        dataset,
        AcquisitionDate=dataset.StudyDate,
        AcquisitionTime=dataset.StudyTime,
        AcquisitionNumber=1,
        ImageType=list(series.image_type),
        ProtocolName=series.protocol,
        BodyPartExamined=body_part,
        PatientOrientation=["L", "P"],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=SIZE,
        Columns=SIZE,
        PixelRepresentation=0,
    )
    if body_part == "KNEE":
        dataset.Laterality = "L"


def _add_slice(dataset: Dataset, series: DemoSeries, body_part: str, index: int) -> None:
    """Add geometry, pixels and what the MR or CT IOD asks; slices are 5 mm thick, pixels 2 mm wide."""
    _add_acquisition(dataset, series, body_part)
    _set(
        dataset,
        PatientPosition="HFS",
        FrameOfReferenceUID=demo_uid(dataset.StudyInstanceUID, "frame of reference"),
        PositionReferenceIndicator="",
        ImagePositionPatient=[-127, -127, 5 * index],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[2, 2],
        SliceThickness=5,
        SliceLocation=5 * index,
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        WindowCenter=1000,
        WindowWidth=2000,
        PixelData=phantom(SIZE, _height(index, series.slices)).tobytes(),
    )
    dataset["PixelData"].VR = "OW"
    if series.modality == "CT":
        _add_ct(dataset)
    else:
        _add_mr(dataset, series)


def _add_mr(dataset: Dataset, series: DemoSeries) -> None:
    _set(
        dataset,
        ScanningSequence="GR",
        SequenceVariant=["SP", "OSP"],
        ScanOptions="",
        MRAcquisitionType="2D",
        SequenceName=series.sequence,
        RepetitionTime=2000,
        EchoTime=30,
        EchoTrainLength=1,
        MagneticFieldStrength=3,
        FlipAngle=15,
    )


def _add_ct(dataset: Dataset) -> None:
    _set(
        dataset,
        KVP=120,
        RescaleIntercept=-1024,
        RescaleSlope=1,
        RescaleType="HU",
        WindowCenter=-24,
    )


def _add_ultrasound(dataset: Dataset, series: DemoSeries, body_part: str) -> None:
    """Add a multi-frame picture of 8 bits, `series.slices` frames, in RLE Lossless (PS3.5 annex G)."""
    import numpy as np
    from pydicom.uid import RLELossless

    _add_acquisition(dataset, series, body_part)
    frames = [phantom(SIZE, _height(n, series.slices)) // 16 for n in range(series.slices)]
    _set(
        dataset,
        ImageType=["ORIGINAL", "PRIMARY", "", "0001"],
        NumberOfFrames=series.slices,
        FrameTime=40,
        FrameIncrementPointer=0x00181063,
        LossyImageCompression="00",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    dataset.compress(
        RLELossless,
        np.stack(frames).astype("u1"),
        encoding_plugin="pydicom",
        generate_instance_uid=False,
    )


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    code = Dataset()
    _set(code, CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
    return code


def _item(relationship: str, value_type: str, concept: Dataset, **values: object) -> Dataset:
    """Return one content item of a report (PS3.3 C.17.3)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = value_type
    item.ConceptNameCodeSequence = [concept]
    _set(item, **values)
    return item


def _add_report(dataset: Dataset, patient: DemoPatient, images: list[Dataset]) -> None:
    """Add a basic diagnostic imaging report (PS3.16 TID 2000) that refers to the first of `images`."""
    _set(
        dataset,
        ReferencedPerformedProcedureStepSequence=[],
        PerformedProcedureCodeSequence=[],
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        CurrentRequestedProcedureEvidenceSequence=[_evidence(dataset, images)],
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[_code("18748-4", "LN", "Diagnostic Imaging Report")],
        ContinuityOfContent="SEPARATE",
        ContentSequence=[
            _item(
                *(
                    "HAS CONCEPT MOD",
                    "CODE",
                    _code("121049", "DCM", "Language of Content Item and Descendants"),
                ),
                ConceptCodeSequence=[_code("en", "RFC5646", "English")],
            ),
            _item(
                *("HAS OBS CONTEXT", "PNAME", _code("121008", "DCM", "Person Observer Name")),
                PersonName="CRUSHER^BEVERLY^^DR",
            ),
            _item(
                *("CONTAINS", "CONTAINER", _code("121070", "DCM", "Findings")),
                ContinuityOfContent="SEPARATE",
                ContentSequence=_findings(patient, images[0]),
            ),
            _item(
                *("CONTAINS", "CONTAINER", _code("121076", "DCM", "Conclusions")),
                ContinuityOfContent="SEPARATE",
                ContentSequence=[
                    _item(
                        *("CONTAINS", "TEXT", _code("121077", "DCM", "Conclusion")),
                        TextValue="No abnormality in the phantom.",
                    )
                ],
            ),
        ],
    )


def _findings(patient: DemoPatient, image: Dataset) -> list[Dataset]:
    """Return the findings: a text that names the patient, a measured diameter, an image."""
    from pydicom.dataset import Dataset

    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = [_code("mm", "UCUM", "millimeter")]
    measured.NumericValue = "235.5"
    family = str(patient.name).split("^", maxsplit=1)[0]
    return [
        _item(
            *("CONTAINS", "TEXT", _code("121071", "DCM", "Finding")),
            TextValue=f"Ten ellipses in the head of {family}, all in place.",
        ),
        _item(
            *("CONTAINS", "NUM", _code("81827009", "SCT", "Diameter")),
            MeasuredValueSequence=[measured],
        ),
        _item(
            *("CONTAINS", "IMAGE", _code("121080", "DCM", "Best illustration of finding")),
            ReferencedSOPSequence=[_reference(image)],
        ),
    ]


def _reference(image: Dataset) -> Dataset:
    from pydicom.dataset import Dataset

    reference = Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return reference


def _evidence(dataset: Dataset, images: list[Dataset]) -> Dataset:
    """Return the hierarchical reference that a report with an IMAGE item must hold (PS3.3 C.17.2.1)."""
    from pydicom.dataset import Dataset

    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedSOPSequence = [_reference(images[0])]
    study = Dataset()
    study.StudyInstanceUID = dataset.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    return study


# The marks of the template, each as long as every value that replaces it.
_PATIENT, _ACCESSION, _DESCRIPTION = "@@PATIENT@", "@ACCESSION@@", "@DESCRIPTION@@"
_DATE, _SERIES_NUMBER, _INSTANCE_NUMBER, _POSITION = "19990909", "9001", "9002", "9003"
_STUDY, _SERIES, _FRAME = demo_uid("study"), demo_uid("series"), demo_uid("frame")


def _archive_template(size: int) -> bytes:
    """Return the Part 10 header of an MR instance up to the pixels, with marks where instances differ."""
    from io import BytesIO

    series = DemoSeries("MR", int(_SERIES_NUMBER), _DESCRIPTION, "bench", 2, "*bench")
    study = DemoStudy(_DATE, "120000", "BENCHMARK", _ACCESSION, "HEAD", (series,))
    patient = DemoPatient(_PATIENT, f"BENCH^{_PATIENT}", "19700101", "O", None, (study,))
    dataset = next(_instances(patient, study, series, _SERIES, []))
    _set(
        dataset,
        Rows=size,
        Columns=size,
        StudyInstanceUID=_STUDY,
        StudyID="1",
        FrameOfReferenceUID=_FRAME,
        InstanceNumber=_INSTANCE_NUMBER,
        ImagePositionPatient=[-size, -size, _POSITION],
        SliceLocation=_POSITION,
        PixelData=b"\0" * (size * size * 2),
    )
    dataset["PixelData"].VR = "OW"
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()[: -size * size * 2]


def _noisy_planes(size: int, slices: int, seed: int) -> list[bytes]:
    """Return the pixels of one series; at most 20 pictures, which then repeat."""
    import numpy as np

    noise = np.random.default_rng(seed)
    pictures = min(slices, 20)
    planes = []
    for index in range(pictures):
        grain = noise.integers(0, 60, (size, size), dtype=np.uint16)
        planes.append((phantom(size, _height(index, pictures)) + grain).astype("<u2").tobytes())
    return [planes[index % pictures] for index in range(slices)]


def _replaced(header: bytes, values: dict[str, str]) -> bytes:
    """Put `values` in the place of their marks; the VR or backslash before a mark is part of it.

    (Digits alone could also stand in the middle of a UID.)
    """
    for mark, value in values.items():
        if len(value) != len(mark):
            raise ValueError(f"{value!r} is not as long as its mark {mark!r}")
        header = header.replace(mark.encode("ascii"), value.encode("ascii"))
    return header


def _series_header(header: bytes, seed: int, patient: int, study: int, series: int) -> bytes:
    """Return the template with the identity of one series in it; all numbers count from 1."""
    uids = (str(seed), str(patient), str(study), str(series))
    return _replaced(
        header,
        {
            _PATIENT: f"BENCH{patient:05d}",
            _ACCESSION: f"B{patient:06d}{study:05d}",
            _DESCRIPTION: f"bench {series:08d}",
            f"DA\x08\0{_DATE}": f"DA\x08\0{2000 + study}0101",
            f"IS\x04\0{_SERIES_NUMBER}": f"IS\x04\0{series:<4d}",
            _STUDY: demo_uid("bench", *uids[:3]),
            _SERIES: demo_uid("bench", *uids),
            _FRAME: demo_uid("bench", *uids, "frame of reference"),
        },
    )


def _instance_header(header: bytes, series: str, index: int) -> bytes:
    """Return the header of one instance; `series` names its series, `index` counts from 0."""
    return _replaced(
        header,
        {
            demo_uid(_SERIES, "0"): demo_uid("bench", series, "instance", str(index)),
            f"IS\x04\0{_INSTANCE_NUMBER}": f"IS\x04\0{index + 1:<4d}",
            f"DS\x04\0{_POSITION}": f"DS\x04\0{5 * index:<4d}",
            f"\\{_POSITION}": f"\\{5 * index:<4d}",
        },
    )
