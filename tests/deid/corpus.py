"""A synthetic hospital where everything identifies: unique words planted in every place that a leak was ever found in.

Nobody in it exists. `build` writes files; `SECRETS` are the words that no output may hold, `KEPT` what must stay.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

ROOT = "1.2.826.0.1.3680043.9.7777."
STORAGE = "1.2.840.10008.5.1.4.1.1."
NAME, PATIENT_ID, ACCESSION = "Quetzaltenango^Ysolde", "PZ8841177", "ACX5520913"
BIRTH_DATE = "19610317"
STAFF = {
    role: f"Vexillum{number}^Orlando{number}"
    for number, role in enumerate(
        (
            "ReferringPhysicianName",
            "PerformingPhysicianName",
            "OperatorsName",
            "PhysiciansOfRecord",
            "NameOfPhysiciansReadingStudy",
            "RequestingPhysician",
            "ConsultingPhysicianName",
        ),
        1,
    )
}
SECRETS = (
    "Quetzaltenango",
    "Ysolde",
    PATIENT_ID,
    ACCESSION,
    "Vexillum",
    "Orlando",
    "Spitalheim",
    "Bahnhofgasse",
    "Kardiostation",
    "SERIALQ7788",
    "STATQ9",
    "Krummholz",
    "Zwetschge",
    "ORDERQ3321",
    "PLACERQ11",
    "FILLERQ12",
    "Wurmfarn",
    "Nachtigall",
    "AETITLEQ",
    "PRIVINFOQ",
    "PADDINGQ",
    "PREAMBLEQ",
    "OVERLAYQ",
    "CURVEQ",
    "GRAPHICQ",
    "SIGNATUREQ",
    "ENCRYPTEDQ",
    "Lindwurm",
    "BIRTHNAMEQ",
    "Engelberta",
    "0041795551234",
    "19610317",
)
"""What identifies somebody, in files of `build`; matched without regard to case."""
KEPT_DESCRIPTIONS = ("T1 MPRAGE sag", "Thorax 1.0 B30f")

CT, MR, PET, US = f"{STORAGE}2", f"{STORAGE}4", f"{STORAGE}128", f"{STORAGE}6.1"
DX, SC, SR, SEG = f"{STORAGE}1.1", f"{STORAGE}7", f"{STORAGE}88.33", f"{STORAGE}66.4"
RTSTRUCT, RTPLAN, RTDOSE = f"{STORAGE}481.3", f"{STORAGE}481.5", f"{STORAGE}481.2"
ENHANCED_MR, PDF, GSPS = f"{STORAGE}4.1", f"{STORAGE}104.1", f"{STORAGE}11.1"


def uid(*parts: object) -> str:
    """An old UID."""
    return ROOT + ".".join(str(part) for part in parts)


def series_uid(modality: str) -> str:
    """One old series a modality."""
    return uid(2, int.from_bytes(modality.encode(), "big"))


def code(value: str, scheme: str = "DCM", meaning: str = "Meaning") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference(sop_class: str, number: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid(5, number)
    return item


def instance(sop_class: str, modality: str, number: int, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """An instance with the modules that all share, identifying in every one of them."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = uid(5, number)
    ds.file_meta.SourceApplicationEntityTitle = "AETITLEQ"
    ds.file_meta.PrivateInformationCreatorUID = uid(66)
    ds.file_meta.PrivateInformation = b"PRIVINFOQ!"
    ds.preamble = b"PREAMBLEQ".ljust(128, b"\0")
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(5, number)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(1), series_uid(modality)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20190307"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101112.123"
    ds.AccessionNumber = ACCESSION
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "SIEMENS", "Prisma"
    ds.SoftwareVersions = "syngo E11"
    ds.InstitutionName, ds.InstitutionAddress = "Klinik Spitalheim", "Bahnhofgasse 7"
    ds.InstitutionalDepartmentName, ds.StationName = "Kardiostation", "STATQ9"
    ds.DeviceSerialNumber = "SERIALQ7788"
    ds.StudyDescription = "MR head for Dr Lindwurm"
    ds.SeriesDescription = KEPT_DESCRIPTIONS[0]
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = NAME, PATIENT_ID, BIRTH_DATE
    ds.PatientSex, ds.PatientAge, ds.PatientWeight, ds.PatientSize = "F", "057Y", "61.5", "1.7"
    ds.OtherPatientIDs, ds.PatientBirthName = "PZ8841177-2", "BIRTHNAMEQ^Engelberta"
    ds.PatientAddress, ds.PatientTelephoneNumbers = "Bahnhofgasse 7", "0041795551234"
    ds.PatientComments = "Neighbour of Nachtigall"
    ds.AdditionalPatientHistory = "Fell at the Wurmfarn"
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "ORDERQ3321", 3, number
    ds.ImageComments = "Zwetschge says hello to Krummholz"
    for keyword, name in STAFF.items():
        setattr(ds, keyword, name)
    _plant_sequences(ds)
    _plant_private(ds)
    return ds


def _plant_sequences(ds: Dataset) -> None:
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureID = ACCESSION, "ORDERQ3321"
    request.RequestedProcedureDescription = "Head by Lindwurm"
    request.ScheduledProcedureStepID = "ORDERQ3321"
    request.ReferencedStudySequence = [reference("1.2.840.10008.3.1.2.3.1", 777)]
    deep = Dataset()
    deep.PatientName, deep.PatientID, deep.TextValue = NAME, PATIENT_ID, "Nachtigall"
    request.add_new(0x00409999, "SQ", [deep])
    ds.RequestAttributesSequence = [request]
    original = Dataset()
    original.AttributeModificationDateTime, original.ModifyingSystem = "20190307", "Krummholz"
    original.SourceOfPreviousValues, original.ReasonForTheAttributeModification = "", "CORRECT"
    before = Dataset()
    before.PatientName, before.PatientID = "Wurmfarn^Old", "PZ8841177"
    original.ModifiedAttributesSequence = [before]
    ds.OriginalAttributesSequence = [original]
    person = Dataset()
    person.PersonIdentificationCodeSequence = [code("Krummholz", "99Q", "Krummholz")]
    person.InstitutionName = "Klinik Spitalheim"
    ds.OperatorIdentificationSequence = [person]
    ds.ReferencedPatientSequence = [reference("1.2.840.10008.3.1.2.1.1", 778)]
    ds.ReferencedPerformedProcedureStepSequence = [reference("1.2.840.10008.3.1.2.3.3", 779)]
    ds.EncryptedAttributesSequence = [_encrypted()]
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.PixelData = b"Ysol"
    icon["PixelData"].VR = "OB"
    ds.IconImageSequence = [icon]
    signature = Dataset()
    signature.CertificateOfSigner = b"SIGNATUREQ"
    signature.DigitalSignatureUID = uid(88)
    ds.add_new(0xFFFAFFFA, "SQ", [signature])
    ds.add_new(0xFFFCFFFC, "OB", b"PADDINGQ")


def _encrypted() -> Dataset:
    item = Dataset()
    item.EncryptedContent = b"ENCRYPTEDQ"
    item.EncryptedContentTransferSyntaxUID = ExplicitVRLittleEndian
    return item


def _plant_private(ds: Dataset) -> None:
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(
        0x10,
        "OB",
        b"SV10\4\3\2\1" + f"PatName {NAME} uid {uid(5, 4711)} b_value 1000".encode().ljust(200, b"\0"),
    )
    mine = ds.private_block(0x0099, "PACSIFIER TEST", create=True)
    mine.add_new(0x01, "LO", f"seen by Vexillum1 for {PATIENT_ID}")
    mine.add_new(0x02, "UN", b"Quetzaltenango\0\1\2\3")
    mine.add_new(0x03, "DA", BIRTH_DATE)
    mine.add_new(0x04, "FD", 1000.5)
    mine.add_new(0x05, "PN", "Krummholz^Private")
    mine.add_new(0x06, "UI", uid(5, 1))
    inner = Dataset()
    inner.PatientName = NAME
    inner_block = inner.private_block(0x0099, "PACSIFIER TEST", create=True)
    inner_block.add_new(0x01, "LO", f"inner {PATIENT_ID}")
    mine.add_new(0x07, "SQ", [inner])
    mine.add_new(0x08, "UN", _as_implicit_items(inner))


def _as_implicit_items(item: Dataset) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, True
    write_dataset(out, item)
    content = out.getvalue()
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


def add_image(ds: Dataset, frames: int = 0, bits: int = 16, size: int = 16) -> Dataset:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = size
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (
        bits,
        min(bits, 12),
        min(bits, 12) - 1,
        0,
    )
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    if frames:
        ds.NumberOfFrames = frames
    ds.PixelData = bytes((at * 7) % 16 for at in range(size * size * bits // 8 * (frames or 1)))
    ds["PixelData"].VR = "OW" if bits == 16 else "OB"
    return ds


def add_geometry(ds: Dataset) -> Dataset:
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid(3), ""
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 1], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.PatientPosition = [1, 1], "12", "HFS"
    ds.AcquisitionNumber, ds.PatientOrientation = 1, ["L", "P"]
    return ds


def ct(number: int, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    ds = add_geometry(add_image(instance(CT, "CT", number, syntax)))
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType, ds.KVP = -1024, 1, "HU", 120
    ds.SeriesDescription, ds.BodyPartExamined, ds.ConvolutionKernel = KEPT_DESCRIPTIONS[1], "CHEST", "B30f"
    ds.AcquisitionDate, ds.AcquisitionTime = "20190307", "101113"
    ds.AcquisitionDateTime = "20190307101113.5+0100"
    ds.ReferencedImageSequence = [reference(CT, 1)]
    ds.SourceImageSequence = [reference(CT, 2)]
    return ds


def mr(number: int, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    ds = add_geometry(add_image(instance(MR, "MR", number, syntax)))
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "SP", "", "3D"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.FlipAngle = 2000, 3, 1, 8
    ds.SequenceName, ds.ProtocolName, ds.MagneticFieldStrength = "*tfl3d1", "t1_mprage_sag", 3
    ds.ReferencedImageSequence = [reference(CT, 1)]
    return ds


def pet(number: int) -> Dataset:
    ds = add_geometry(add_image(instance(PET, "PT", number)))
    ds.Units, ds.CountsSource, ds.SeriesType, ds.DecayCorrection = (
        "BQML",
        "EMISSION",
        ["WHOLE BODY", "IMAGE"],
        "START",
    )
    ds.NumberOfSlices, ds.CorrectedImage, ds.CollimatorType = 1, ["DECY"], "NONE"
    ds.RescaleIntercept, ds.RescaleSlope, ds.FrameReferenceTime, ds.ImageIndex = 0, 1, 0, 1
    ds.AcquisitionDate, ds.AcquisitionTime, ds.ActualFrameDuration = "20190307", "103000", 1000
    dose = Dataset()
    dose.RadiopharmaceuticalStartTime, dose.RadiopharmaceuticalStartDateTime = "093000", "20190307093000"
    dose.RadionuclideTotalDose, dose.RadionuclideCodeSequence = "3e8", [code("C-111A1", "SRT", "18F")]
    ds.RadiopharmaceuticalInformationSequence = [dose]
    ds.PatientOrientationCodeSequence, ds.PatientGantryRelationshipCodeSequence = [], []
    return ds


def ultrasound(number: int) -> Dataset:
    ds = add_image(instance(US, "US", number), bits=8)
    ds.BitsStored, ds.HighBit, ds.BurnedInAnnotation = 8, 7, "YES"
    return ds


def dx(number: int) -> Dataset:
    ds = add_image(instance(DX, "DX", number))
    ds.PresentationIntentType, ds.AcquisitionContextSequence = "FOR PRESENTATION", []
    ds.AnatomicRegionSequence = [code("T-D3000", "SRT", "Chest")]
    ds.DetectorID, ds.DateOfLastDetectorCalibration, ds.TimeOfLastDetectorCalibration = (
        "SERIALQ7788",
        "20190101",
        "080000",
    )
    ds.add_new(0x60000010, "US", 2)
    ds.add_new(0x60000011, "US", 2)
    ds.add_new(0x60000022, "LO", "OVERLAYQ")
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60001500, "LO", "OVERLAYQ")
    ds.add_new(0x60003000, "OW", b"OVERLAYQ")
    ds.add_new(0x50003000, "OW", b"CURVEQ")
    ds.add_new(0x50002500, "LO", "CURVEQ")
    return ds


def overlay_in_pixels(number: int) -> Dataset:
    ds = ct(number)
    ds.PixelData = b"\x0f\x80" * 256
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 15)
    return ds


def with_text(ds: Dataset, text: str, size: int = 28) -> Dataset:
    """Makes it one image of 640 x 480 of 8 bits with a line at the top."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(np.tile(np.linspace(20, 90, 640).astype(np.uint8), (480, 1)))
    ImageDraw.Draw(image).text((40, 24), text, fill=230, font=ImageFont.load_default(size=size))
    for absent in ("NumberOfFrames", "PlanarConfiguration", "SequenceOfUltrasoundRegions"):
        if absent in ds:
            del ds[absent]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 480, 640, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = np.asarray(image).tobytes()
    return ds


def secondary_capture(number: int) -> Dataset:
    ds = add_image(instance(SC, "OT", number), bits=8)
    ds.BitsStored, ds.HighBit, ds.ConversionType = 8, 7, "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    ds.SecondaryCaptureDeviceID, ds.DateOfSecondaryCapture = "SERIALQ7788", "20190307"
    return ds


def content(relationship: str, kind: str, concept: Dataset, **values: object) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = relationship, kind, [concept]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def report(number: int) -> Dataset:
    ds = instance(SR, "SR", number)
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization = "Krummholz^Doctor", "Klinik Spitalheim"
    observer.VerificationDateTime = "20190307121500"
    observer.VerifyingObserverIdentificationCodeSequence = [code("Krummholz", "99Q", "Krummholz")]
    ds.VerifyingObserverSequence = [observer]
    request = Dataset()
    request.AccessionNumber, request.StudyInstanceUID, request.RequestedProcedureID = (
        ACCESSION,
        uid(1),
        "ORDERQ3321",
    )
    request.PlacerOrderNumberImagingServiceRequest = "PLACERQ11"
    request.FillerOrderNumberImagingServiceRequest = "FILLERQ12"
    request.RequestedProcedureDescription, request.RequestedProcedureCodeSequence = "Lindwurm", []
    request.ReferencedStudySequence = []
    ds.ReferencedRequestSequence = [request]
    ds.PerformedProcedureCodeSequence = []
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid("CT"), [reference(CT, 1)]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = uid(1), [series]
    ds.CurrentRequestedProcedureEvidenceSequence = [study]
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.5", [code("mm", "UCUM", "mm")]
    ds.ContentSequence = [
        content(
            "HAS OBS CONTEXT",
            "PNAME",
            code("121008", "DCM", "Person Observer Name"),
            PersonName="Vexillum9^Orlando9",
        ),
        content("HAS OBS CONTEXT", "UIDREF", code("121012", "DCM", "Device Observer UID"), UID=uid(9)),
        content(
            "CONTAINS",
            "TEXT",
            code("121071", "DCM", "Finding"),
            TextValue=f"Known to Krummholz, {NAME}, born 17.03.1961",
        ),
        content("CONTAINS", "NUM", code("M-02550", "SRT", "Diameter"), MeasuredValueSequence=[measured]),
        content(
            "CONTAINS",
            "IMAGE",
            code("121080", "DCM", "Best illustration"),
            ReferencedSOPSequence=[reference(CT, 1)],
        ),
        content("CONTAINS", "DATETIME", code("111526", "DCM", "DateTime Started"), DateTime="20190307101112"),
    ]
    return ds


def segmentation(number: int) -> Dataset:
    ds = add_image(instance(SEG, "SEG", number), frames=1, bits=8)
    ds.BitsStored, ds.HighBit, ds.SegmentationType = 8, 7, "FRACTIONAL"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = (
        "LIVER",
        "by Krummholz",
        "Krummholz^Creator",
    )
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "liver Krummholz", "MANUAL"
    segment.SegmentDescription, segment.TrackingID, segment.TrackingUID = "Zwetschge", "Nachtigall 1", uid(11)
    ds.SegmentSequence = [segment]
    ds.FrameOfReferenceUID = uid(3)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = series_uid("CT"), [reference(CT, 1)]
    ds.ReferencedSeriesSequence = [series]
    return ds


def structure_set(number: int) -> Dataset:
    ds = instance(RTSTRUCT, "RTSTRUCT", number, ImplicitVRLittleEndian)
    ds.StructureSetLabel, ds.StructureSetName, ds.StructureSetDate = "Lindwurm", "Lindwurm", "20190308"
    ds.StructureSetTime = "120000"
    roi = Dataset()
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName = 1, uid(3), "liver Zwetschge"
    roi.ROIDescription, roi.ROIGenerationAlgorithm = "Zwetschge", ""
    ds.StructureSetROISequence = [roi]
    contour, image = Dataset(), Dataset()
    contour.ReferencedROINumber = 1
    image.ContourImageSequence = [reference(CT, 1)]
    image.ContourGeometricType, image.NumberOfContourPoints, image.ContourData = "POINT", 1, [1, 2, 3]
    contour.ContourSequence = [image]
    ds.ROIContourSequence = [contour]
    observation = Dataset()
    observation.ObservationNumber, observation.ReferencedROINumber, observation.RTROIInterpretedType = (
        1,
        1,
        "ORGAN",
    )
    observation.ROIInterpreter, observation.ROIObservationLabel = "Krummholz^Interpreter", "Nachtigall"
    ds.RTROIObservationsSequence = [observation]
    return ds


def plan(number: int) -> Dataset:
    ds = instance(RTPLAN, "RTPLAN", number)
    ds.RTPlanLabel, ds.RTPlanName, ds.RTPlanDate, ds.RTPlanTime = "Lindwurm", "Lindwurm", "20190309", "080000"
    ds.RTPlanGeometry, ds.ApprovalStatus = "PATIENT", "UNAPPROVED"
    ds.ReferencedStructureSetSequence = [reference(RTSTRUCT, 50)]
    beam = Dataset()
    beam.BeamNumber, beam.BeamName, beam.TreatmentMachineName = 1, "AP Zwetschge", "SERIALQ7788"
    beam.BeamType, beam.RadiationType = "STATIC", "PHOTON"
    ds.BeamSequence = [beam]
    return ds


def dose(number: int) -> Dataset:
    ds = add_geometry(add_image(instance(RTDOSE, "RTDOSE", number)))
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType, ds.DoseGridScaling = "GY", "PHYSICAL", "PLAN", "0.001"
    ds.DoseComment = "Lindwurm"
    ds.ReferencedRTPlanSequence = [reference(RTPLAN, 51)]
    return ds


def enhanced(number: int) -> Dataset:
    ds = add_image(instance(ENHANCED_MR, "MR", number), frames=3)
    ds.AcquisitionDateTime, ds.ContentQualification = "20190307101112", "PRODUCT"
    ds.FrameOfReferenceUID = uid(3)
    organization = Dataset()
    organization.DimensionOrganizationUID = uid(12)
    ds.DimensionOrganizationSequence = [organization]
    ds.AcquisitionContextSequence = []
    frames = []
    for number_of_frame in range(3):
        frame, content_item, position = Dataset(), Dataset(), Dataset()
        content_item.FrameAcquisitionDateTime = f"2019030710111{number_of_frame}"
        content_item.FrameReferenceDateTime = f"2019030710111{number_of_frame}"
        content_item.FrameComments, content_item.StackID = "Krummholz", "1"
        position.ImagePositionPatient = [0, 0, number_of_frame]
        frame.FrameContentSequence, frame.PlanePositionSequence = [content_item], [position]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    return ds


def presentation_state(number: int) -> Dataset:
    ds = instance(GSPS, "PR", number)
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "PR", "by Krummholz", "Krummholz^Creator"
    ds.PresentationCreationDate, ds.PresentationCreationTime = "20190307", "130000"
    text = Dataset()
    text.UnformattedTextValue, text.AnchorPoint = "GRAPHICQ", [1.0, 1.0]
    text.AnchorPointVisibility, text.AnchorPointAnnotationUnits = "Y", "PIXEL"
    annotation = Dataset()
    annotation.GraphicLayer, annotation.TextObjectSequence = "L", [text]
    annotation.ReferencedImageSequence = [reference(CT, 1)]
    ds.GraphicAnnotationSequence = [annotation]
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder, layer.GraphicLayerDescription = "L", 1, "GRAPHICQ"
    ds.GraphicLayerSequence = [layer]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = series_uid("CT"), [reference(CT, 1)]
    ds.ReferencedSeriesSequence = [series]
    return ds


def pdf(number: int) -> Dataset:
    ds = instance(PDF, "DOC", number)
    ds.MIMETypeOfEncapsulatedDocument, ds.DocumentTitle = "application/pdf", "Krummholz"
    ds.EncapsulatedDocument = b"%PDF Quetzaltenango "
    return ds


def compressed(number: int, syntax: str) -> Dataset:
    ds = ct(number, syntax)
    frame = b"\xff\xd8\xff\xdb\x00\x3e" + bytes(range(60)) + b"\xff\xd9"
    if syntax == RLELossless:
        frame = struct.pack("<16L", 2, 64, 68, *[0] * 13) + b"\x81\1\x81\2\x81\3\x81\4"
    ds.PixelData = encapsulate([frame, frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.NumberOfFrames = 2
    return ds


def accented(number: int, character_sets: str | list[str], name: str) -> Dataset:
    """A file whose name of the patient stands in another character set."""
    ds = mr(number)
    ds.SpecificCharacterSet = character_sets
    ds.PatientName = name
    ds.StudyDescription = f"MR {name.split('^', maxsplit=1)[0].split('=', maxsplit=1)[0]} head"
    return ds


def everything() -> Iterator[tuple[str, Dataset]]:
    """Name and data set of every file but the odd ones."""
    yield "ct1", ct(1)
    yield "ct2", ct(2, ImplicitVRLittleEndian)
    yield "ct3", ct(3, ExplicitVRBigEndian)
    yield "ct4", ct(4, DeflatedExplicitVRLittleEndian)
    yield "ct5", compressed(5, JPEGBaseline8Bit)
    yield "ct6", compressed(6, RLELossless)
    makers = (
        mr,
        pet,
        ultrasound,
        dx,
        secondary_capture,
        report,
        segmentation,
        dose,
        enhanced,
        presentation_state,
        pdf,
    )
    for number, maker in enumerate(makers, 20):
        yield maker.__name__, maker(number)
    yield "overlay_in_pixels", overlay_in_pixels(40)
    yield "structure_set", structure_set(50)
    yield "plan", plan(51)


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def build(folder: Path) -> list[Path]:
    """Writes the corpus as the documented tree, and returns its files."""
    home = folder / f"sub-{PATIENT_ID}" / "ses-20190307101112"
    return [
        save(ds, home / f"{name}-{ds.Modality}" / f"{ds.Modality}.{ds.SOPInstanceUID}")
        for name, ds in everything()
    ]
