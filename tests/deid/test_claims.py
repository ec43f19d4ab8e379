"""What a file says of itself: nobody is header that a picture is anonymous before somebody has looked at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import UID_dictionary

from pacsifier.cli.anonymize import build_parser
from pacsifier.deidentify import claims, told
from pacsifier.deidentify.engine.profile import Options, data_lines
from pacsifier.deidentify.layout import doubt
from pacsifier.deidentify.pages import says
from pacsifier.deidentify.reviewed import Reviewed
from tests.deid import corpus, helpers
from tests.deid.test_stages import facts

STORAGE = corpus.STORAGE
REPOSITORY = Path(__file__).parents[2]
ASKED = Options(delete_identifiable=True)
COMPUTED = (
    *("2", "2.1", "2.2", "4", "4.1", "4.2", "4.3", "4.4", "5", "20", "128", "128.1", "130"),
    *("30", "66.4", "66.7", "66.8", "481.2"),
)
"""Classes whose pixels a computer made of measurements: there is no text in them."""
CLASSES = sorted(
    uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and "Storage" in name
)
PIXELS_NEVER = ("88.", "9.", "11.", "104.", "68.")


def said(**values: object) -> tuple[bool, str]:
    """The mark, and what -i says."""
    header = facts(**values)
    return not doubt(header, Reviewed(), ()), claims.asked_out(header, ASKED)


@pytest.mark.parametrize("burned_in", ["", "NO"])
def test_pixels_are_called_clean_only_where_a_computer_made_them(burned_in):
    claimed = {
        sop_class.removeprefix(STORAGE)
        for sop_class in CLASSES
        if not sop_class.removeprefix(STORAGE).startswith(PIXELS_NEVER)
        and said(sop_class=sop_class, burned_in=burned_in)[0]
    }
    assert claimed == {below for below in COMPUTED if STORAGE + below in CLASSES}


def test_what_has_no_pixels_is_called_clean_but_for_voices_faces_and_documents():
    doubted = {
        sop_class.removeprefix(STORAGE)
        for sop_class in CLASSES
        if "Image" not in UID_dictionary[sop_class][0] and not said(sop_class=sop_class, has_pixels=False)[0]
    }
    others = {
        below
        for below in doubted
        if not below.startswith(("104.", "501.", "6.2", "77.1.5.8", "82.1", "81.1"))
    }
    assert others == {"9.4.1", "9.4.2", "68.1", "68.2"}


@pytest.mark.parametrize(
    "image_type",
    [
        "ORIGINAL\\PRIMARY\\AXIAL",
        "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC",
        "DERIVED\\SECONDARY\\MPR",
        "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE",
        "DERIVED\\PRIMARY\\DIFFUSION\\ADC",
        "ORIGINAL\\PRIMARY\\AXIAL\\LOW_DOSE",
        "DERIVED\\PRIMARY\\PROTON_DENSITY",
        "ORIGINAL\\PRIMARY\\LOCALIZER",
        "",
    ],
)
def test_a_volume_stays_and_is_called_clean_derived_or_not(image_type):
    marks = {said(sop_class=STORAGE + below, image_type=image_type) for below in COMPUTED}
    assert marks == {(True, "")}


@pytest.mark.parametrize(
    "header",
    [
        {"burned_in": "YES"},
        {"features": "YES"},
        {"label": "YES"},
        {"captured": True},
        {"conversion": "WSD"},
        {"image_type": "DERIVED\\SECONDARY\\SCREEN SAVE"},
        {"image_type": "DERIVED\\SECONDARY\\OTHER\\CT_SOM5 PROT"},
        {"series_description": "Patientenprotokoll"},
        {"protocol": "Dose Report"},
        {"modality": "US"},
        {"transfer_syntax": "1.2.840.10008.1.2.4.102"},
    ],
)
def test_a_reason_of_our_own_wins_over_the_kind_and_over_an_earlier_claim(header):
    for sop_class in (f"{STORAGE}2", f"{STORAGE}4", f"{STORAGE}128", f"{STORAGE}20"):
        for before in ("", "NO", "YES"):
            assert not said(sop_class=sop_class, removed_before=before, **header)[0]
        assert doubt(facts(sop_class=sop_class, **header), Reviewed(frozenset(("1.9",))), ("1.9",)) == ""


@pytest.mark.parametrize(
    ("header", "claimed"),
    [
        ({"sop_class": "1.3.12.2.1107.5.9.1", "has_pixels": False}, True),
        ({"sop_class": "1.3.46.670589.11.0.0.12.1"}, False),
        ({"sop_class": "1.3.46.670589.11.0.0.12.1", "removed_before": "YES"}, True),
        ({"sop_class": f"{STORAGE}7", "removed_before": "YES"}, False),
        (
            {"sop_class": f"{STORAGE}77.1.6", "image_type": "ORIGINAL\\PRIMARY\\VOLUME\\NONE", "label": "NO"},
            True,
        ),
        ({"sop_class": f"{STORAGE}77.1.6", "image_type": "ORIGINAL\\PRIMARY\\VOLUME\\NONE"}, False),
        (
            {
                "sop_class": f"{STORAGE}77.1.6",
                "image_type": "ORIGINAL\\PRIMARY\\VOLUME\\NONE",
                "label": "YES",
            },
            False,
        ),
        (
            {"sop_class": f"{STORAGE}77.1.6", "image_type": "DERIVED\\PRIMARY\\THUMBNAIL", "label": "NO"},
            False,
        ),
        ({"sop_class": f"{STORAGE}77.1.6", "image_type": "ORIGINAL\\PRIMARY\\LABEL", "label": "NO"}, False),
        ({"sop_class": f"{STORAGE}9.4.1", "has_pixels": False}, False),
        ({"sop_class": f"{STORAGE}9.1.1", "has_pixels": False}, True),
    ],
)
def test_what_nobody_knows_is_not_claimed(header, claimed):
    assert said(**header)[0] is claimed


SCREENS = (
    *(
        "Screen Save",
        "SCREENSHOT 3",
        "Screen_Capture",
        "Bildschirmfoto",
        "Bildschirmkopie CT",
        "Capture d'écran",
    ),
    *(
        "Captura de pantalla",
        "Schermata",
        "Captura de tela",
        "Schermafdruk",
        "スクリーンショット",
        "화면 캡처",
    ),
)
PAGES = (
    *(
        "Patient Protocol",
        "Patientenprotokoll",
        "Protocole patient",
        "Protocole du patient",
        "Protocollo paziente",
    ),
    *(
        "Protocolo paciente",
        "Protocolo del paciente",
        "Protocolo do paciente",
        "Patiëntprotocol",
        "Patientprotokoll",
    ),
    *(
        "Potilasprotokolla",
        "Hasta Protokolü",
        "Protokół pacjenta",
        "Протокол пациента",
        "患者プロトコル",
        "患者协议",
    ),
    *(
        "Exam Protocol",
        "Untersuchungsprotokoll",
        "Protocole d'examen",
        "DOSE REPORT",
        "Dose_Info",
        "Dose Summary",
    ),
    *("Exposure Summary", "X-Ray Radiation Dose Report", "Patient Dose Report", "Low dose CT dose report"),
    *(
        "Dosisbericht",
        "Dosisprotokoll",
        "Dosis-Info",
        "Strahlendosisbericht",
        "Rapport de dose",
        "Fiche de dose",
    ),
    *(
        "Compte rendu de dose",
        "Récapitulatif de dose",
        "Informe de dosis",
        "Resumen de dosis",
        "Hoja de dosis",
    ),
    *(
        "Resoconto dose",
        "Rapporto di dose",
        "Riepilogo dose",
        "Relatório de dose",
        "Dosisrapport",
        "Raport dawki",
    ),
    *("Отчет о дозе", "線量レポート", "剂量报告", "선량 보고서", "CTDI DLP summary", "Full Dose Report"),  # noqa: RUF001
)
MORE_PAGES = (
    *("Página de dosis", "Dosis del paciente", "Dosis total", "Parametros de exposicion", "Exposición"),
    *("Pagina dose", "Pagina dosi", "Riassunto dose", "Relazione dose", "Dati dosimetrici"),
    *("Esposizione paziente", "Protocol Page", "Scanprotokoll", "Patient Study Summary", "Scan Summary"),
    *(
        "Series Summary",
        "Protocole",
        "PROTOKOLL",
        "Protocollo",
        "Total Dose",
        "Dose totale",
        "Gesamtdosis Patient",
    ),
    *("Parámetros de exposición", "Dose du patient", "Dose efficace", "Page de dose", "Feuille de dose"),
    *(
        "Résumé de la série",
        "Résumé étude",
        "Resumen del estudio",
        "Riepilogo serie",
        "Serienzusammenfassung",
    ),
    *("Relatório do paciente", "Página do paciente", "Parâmetros de exposição", "Resumo do estudo"),
    *("Stralingsdosis", "Dosisgegevens", "Samenvatting onderzoek", "Serie samenvatting", "Protocolblad"),
    *("Stråldos", "Patientsammanfattning", "Sammanfattning serie", "Dossammanfattning", "Protokollseite"),
    *(
        "Données dosimétriques",
        "Bilan dosimétrique",
        "Datos dosimétricos",
        "Scheda protocollo",
        "Hoja de protocolo",
    ),
    *("Exposure_Parameters", "EXPOSURE", "Esposizioni", "Patient Exposure", "Dosis (Patient)", "Carátula"),
    *(
        "Dose History",
        "Estimated dose",
        "Dose Area Product",
        "Dosis effektiv",
        "Registo de dose",
        "Strålningsdos",
    ),
    *(
        "CT Dosis",
        "Informe dosimétrico",
        "Rapport d'examen",
        "Page protocole",
        "Dosisübersicht",
        "Dose Chart",
    ),
)
SCIENCE = (
    *("Head 1.0 low dose protocol", "Patient 5.0 B30f", "Thorax Dosis reduziert", "Protocol 2 chest"),
    *(
        "T1 dose test",
        "Testa protocollo ictus",
        "Cardiac report phase 70%",
        "Protocolo craneo",
        "Protocole AVC",
    ),
    *("Protocollo encefalo", "Contrast dose 2", "CT Angio Protokoll Aorta", "Table static", "Liver info"),
    *(
        "Schädel Protokoll Schlaganfall",
        "Exposition tibia",
        "Pagina coronal",
        "Serie 3 axial",
        "Study 2 scan 3",
    ),
    *(
        "Patient auf der linken Seite",
        "Series 4 sagittal",
        "Aufnahme Seite rechts",
        "2. Dosis KM",
        "Dose 1 Gd",
    ),
    *("Estudio dinamico", "Etude cardiaque", "Scan protocol stroke", "Synthese 3D", "Gesamt", "del paciente"),
    *(
        "Low dose lung cancer screening",
        "Chest Low Dose Protocol",
        "Niedrigdosis Protokoll Thorax",
        "Topogram 0.6",
    ),
    *("MAMMOGRAM SCREENING BILATERAL", "Übersichtsaufnahme", "Faible dose protocole", "TAP low dose 1.25"),
    *(
        "CT dosis baja",
        "PET half dose",
        "Examen sans injection",
        "Untersuchung Knie rechts",
        "SMART PREP SERIES",
    ),
    *(
        "Bolus Monitoring",
        "Protocole sein dynamique",
        "Protocol T1",
        "Lung-RADS low-dose",
        "t1_mprage_sag",
        "",
    ),
)


@pytest.mark.parametrize("sop_class", [f"{STORAGE}7", f"{STORAGE}2", f"{STORAGE}12.1", f"{STORAGE}1.1"])
def test_pages_and_screens_go_when_asked_out_in_every_language_and_class(sop_class):
    for texts, kind in ((PAGES + MORE_PAGES, "dose or protocol page"), (SCREENS, "screen save")):
        wrong = {
            text for text in texts if said(sop_class=sop_class, series_description=text) != (False, kind)
        }
        assert wrong == set()


@pytest.mark.parametrize(
    "sop_class", [f"{STORAGE}2", f"{STORAGE}4", f"{STORAGE}1.1", f"{STORAGE}1.2", f"{STORAGE}1"]
)
def test_scans_at_low_dose_and_screening_are_no_pages(sop_class):
    assert {text for text in SCIENCE if said(sop_class=sop_class, series_description=text)[1]} == set()


@pytest.mark.parametrize(
    "text", ["Dosis", "CT dose 3", "Protokoll", "胸部線量", "Strahlenexposition", "доза"]
)
def test_one_word_of_dose_is_enough_where_a_picture_was_captured(text):
    assert said(sop_class=f"{STORAGE}7", series_description=f"{text} 2 B30f") == (
        False,
        "dose or protocol page",
    )
    assert said(sop_class=f"{STORAGE}2", series_description=f"{text} 2 B30f") == (True, "")


def test_a_protocol_may_be_called_so():
    header = {"sop_class": f"{STORAGE}2", "series_description": "Axial 2.0"}
    assert said(**header, protocol="Protocole") == (True, "")
    assert said(**header, protocol="Protocole patient") == (False, "dose or protocol page")


@pytest.mark.parametrize("text", ["Dose", "Dosis", "Dose totale"])
def test_a_dose_among_counts_is_a_syringe(text):
    assert said(sop_class=f"{STORAGE}20", series_description=text) == (True, "")
    assert said(sop_class=f"{STORAGE}2", series_description=text) == (False, "dose or protocol page")


def test_of_many_descriptions_of_scans_only_pages_and_screens_are_called_so():
    lists = (
        path.read_text(encoding="utf-8")
        for path in (Path(__file__).parent / "words").glob("descriptions*.txt")
    )
    texts = {
        line.rpartition("|")[2] for text in lists for line in text.splitlines() if not line.startswith("#")
    }
    assert len(texts) > 500
    assert {text for text in texts if says((text,), "") & {"page", "alone", "screen"}} == {
        *(
            "Screen Save",
            "Patient Protocol",
            "Patientenprotokoll",
            "Dose Report",
            "Exam summary ST_PS segmentation",
        ),
    }


@pytest.mark.parametrize(
    "image_type",
    [
        "CT_SOM5 PROT",
        "CT_SOM7 PROT",
        "DOSE",
        "DOSE_INFO",
        "DOSE REPORT",
        "SCREEN SAVE",
        "SCREEN_SAVE",
        "SCREENSHOT",
        "SCREEN",
        "SNAPSHOT",
    ],
)
@pytest.mark.parametrize("sop_class", [f"{STORAGE}7", f"{STORAGE}2", f"{STORAGE}7.4"])
def test_pages_and_screens_are_known_by_their_image_type(image_type, sop_class):
    claimed, out = said(sop_class=sop_class, image_type=f"DERIVED\\SECONDARY\\{image_type}")
    assert not claimed
    assert out


@pytest.mark.parametrize("text", ["Dose", "RT Dose Report", "Dose Summary"])
def test_a_grid_of_doses_and_a_report_without_pixels_are_no_pages(text):
    assert said(sop_class=f"{STORAGE}481.2", series_description=text) == (True, "")
    header = facts(sop_class=f"{STORAGE}88.67", series_description=text, has_pixels=False)
    assert claims.doubt(header) == ""
    assert claims.asked_out(header, Options(delete_identifiable=True, keep_sr=True)) == ""


@pytest.mark.parametrize(
    ("header", "out"),
    [
        ({"sop_class": f"{STORAGE}77.1.6", "image_type": "ORIGINAL\\PRIMARY\\LABEL"}, True),
        ({"sop_class": f"{STORAGE}77.1.6", "image_type": "DERIVED\\PRIMARY\\OVERVIEW\\NONE"}, True),
        ({"sop_class": f"{STORAGE}77.1.6", "image_type": "ORIGINAL\\PRIMARY\\VOLUME", "label": "YES"}, True),
        ({"sop_class": f"{STORAGE}7", "modality": "SM", "image_type": "DERIVED\\SECONDARY\\LABEL"}, True),
        ({"sop_class": f"{STORAGE}66.4", "image_type": "DERIVED\\PRIMARY\\LABEL"}, False),
        ({"sop_class": f"{STORAGE}77.1.4"}, True),
        ({"sop_class": f"{STORAGE}77.1.4.1"}, True),
        ({"sop_class": f"{STORAGE}7", "modality": "XC"}, True),
        ({"sop_class": f"{STORAGE}7", "conversion": "SD"}, True),
        ({"sop_class": f"{STORAGE}7", "conversion": "SI"}, False),
        ({"sop_class": f"{STORAGE}77.1.1"}, False),
        ({"sop_class": f"{STORAGE}77.1.5.1"}, False),
        ({"sop_class": f"{STORAGE}6.1"}, False),
        *(
            ({"sop_class": f"{STORAGE}{x}", "burned_in": "NO"}, False)
            for x in ("1", "1.1", "1.2", "12.1", "481.1")
        ),
        *(
            ({"sop_class": f"{STORAGE}{x}", "burned_in": "YES"}, True)
            for x in ("1", "1.1", "1.2", "12.1", "481.1")
        ),
    ],
)
def test_what_is_left_out_when_asked_is_never_a_radiograph_as_such(header, out):
    assert bool(said(**header)[1]) is out


def test_each_row_of_the_table_says_why_and_can_be_read():
    for row in claims.table():
        assert row.mark in ("YES", "NO")
        assert row.asked_out in ("stays", "out", "out_but_keep_sr", "always_out")
        assert row.kind
        assert len(row.reason) > 10
        assert row.where


def test_a_column_that_is_added_later_is_left_alone(monkeypatch):
    rows = claims.table()
    wider = [f"{line}\twhat cleaning may claim" for line in data_lines("claims.txt")]
    monkeypatch.setattr(claims, "data_lines", lambda name: wider)
    assert claims.table.__wrapped__() == rows


def test_a_run_marks_every_kind_by_the_table_and_tells_why(tmp_path):
    scan, earlier, label = corpus.ct(1), corpus.dx(2), corpus.ct(3)
    earlier.PatientIdentityRemoved = "YES"
    label.SpecimenLabelInImage = "YES"
    for ds in (scan, earlier, label):
        corpus.save(ds, tmp_path / "in" / "sub-x" / str(ds.InstanceNumber))
    helpers.run(tmp_path / "in", tmp_path / "out")
    marks = {
        ds.InstanceNumber: ds.PatientIdentityRemoved
        for ds in map(helpers.read, helpers.outputs(tmp_path / "out"))
    }
    assert marks == {1: "YES", 2: "NO", 3: "NO"}
    header = (tmp_path / "out.deidentification_report.csv").read_text()
    assert "radiograph" in header
    assert "label of a specimen" in header


# --- what users are header ------------------------------------------------------------------------------------------

TOLD = {
    "what stays of the patient": told.patient_characteristics()[0],
    "what stays word by word": told.patient_characteristics()[1],
    "what is claimed": told.claimed(),
    "what is doubted": told.doubted(),
    "what -i leaves out": told.asked_out(),
}


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("where", ["--help", "README.md"])
def test_help_and_readme_tell_all_that_the_tables_hold(kind, where):
    text = (
        build_parser().format_help()
        if where == "--help"
        else (REPOSITORY / where).read_text(encoding="utf-8")
    )
    assert "; ".join(TOLD[kind]) in " ".join(text.split())


def test_every_characteristic_of_the_patient_that_a_run_keeps_is_told(tmp_path):
    ds = corpus.ct(1)
    ds.EthnicGroup, ds.PregnancyStatus, ds.SmokingStatus, ds.PatientBodyMassIndex = "Roma", 3, "YES", 22.5
    ds.LastMenstrualDate, ds.PatientSexNeutered, ds.Allergies = "20190301", "ALTERED", "latex"
    corpus.save(ds, tmp_path / "in" / "a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out")
    (after,) = map(helpers.read, helpers.outputs(tmp_path / "out"))
    kept = {
        element.keyword
        for element in after
        if element.tag.group == 0x0010 and element.value not in (None, "")
    }
    kept -= {"PatientID", "PatientName", "PatientBirthDate"}
    assert {
        "EthnicGroup",
        "PregnancyStatus",
        "SmokingStatus",
        "PatientBodyMassIndex",
        "LastMenstrualDate",
    } <= kept
    names = {name.replace(" ", "") for names in told.patient_characteristics() for name in names}
    untold = {
        each
        for each in kept
        if each.lower() not in {name.lower() for name in names} | {f"patient{n}".lower() for n in names}
    }
    assert untold == set()


# --- what cleaning of the pixels may claim ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "enough"),
    [
        pytest.param({"sop_class": f"{STORAGE}1.1", "modality": "DX"}, True, id="radiograph"),
        pytest.param({"sop_class": f"{STORAGE}1", "modality": "CR"}, True, id="computed radiograph"),
        pytest.param({"sop_class": f"{STORAGE}1.2", "modality": "MG"}, True, id="mammogram"),
        pytest.param({"sop_class": f"{STORAGE}12.1", "modality": "XA"}, True, id="angiography"),
        pytest.param({"sop_class": f"{STORAGE}481.1", "modality": "RTIMAGE"}, True, id="radiotherapy image"),
        pytest.param(
            {"sop_class": f"{STORAGE}1.1", "modality": "DX", "burned_in": "YES"},
            True,
            id="its text is cleaned",
        ),
        pytest.param({"sop_class": f"{STORAGE}2", "modality": "CT"}, True, id="a CT needs none"),
        pytest.param({"sop_class": f"{STORAGE}2", "burned_in": "YES"}, False, id="a CT with text burned in"),
        pytest.param({"sop_class": f"{STORAGE}6.1", "modality": "US"}, False, id="ultrasound"),
        pytest.param({"sop_class": f"{STORAGE}7", "modality": "OT"}, False, id="secondary capture"),
        pytest.param(
            {"sop_class": f"{STORAGE}7", "modality": "DX"}, False, id="a radiograph that was captured"
        ),
        pytest.param({"sop_class": f"{STORAGE}1.1", "features": "YES"}, False, id="a face stays a face"),
        pytest.param({"sop_class": f"{STORAGE}77.1.1"}, False, id="endoscopy"),
        pytest.param(
            {"sop_class": f"{STORAGE}77.1.6", "image_type": "ORIGINAL\\PRIMARY\\LABEL"}, False, id="label"
        ),
        pytest.param({"sop_class": "1.2.3.4"}, False, id="nobody knows what it is"),
    ],
)
def test_cleaned_pixels_are_claimed_only_for_kinds_of_which_nothing_else_is_feared(values, enough):
    assert (not claims.doubt_when_cleaned(facts(**values))) is enough


def test_every_row_says_what_cleaning_may_claim():
    assert {(row.mark == "NO", row.cleaned) for row in claims.table()} == {
        (True, "YES"),
        (True, "person"),
        (True, "class"),
        (False, "-"),
    }
    assert told.cleaned_enough() == (
        "radiograph",
        "mammogram",
        "angiography, fluoroscopy",
        "radiotherapy image",
    )
