"""From facts to pages: the contact sheet, and the texts that jinja2 writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pacsifier.figures import counted, size_text
from pacsifier.pictures import page
from pacsifier.report import facts
from pacsifier.report.facts import Kind, Picture, Series
from pacsifier.report.model import Report, sheets
from pacsifier.report.sections import common
from pacsifier.report.words import COLOURS, UNTOLD_STUDY, WORDS, date_text, name_text

Place = Callable[[Picture], str]
"""Where a picture can be seen from a page: its address."""


def write_pages(
    report: Report, names: Sequence[str], place: Callable[[int], Place]
) -> Iterator[tuple[str, str]]:
    """Yields the name and the text of each page; `place` gives, for the number of a page, where pictures are seen.

    `names` are the addresses of the pages, as seen from the first one.
    """
    template = page.template("pacsifier.report", "report.html")
    pages = sheets(report)
    shared = common(report)
    for number, sheet in enumerate(pages):
        text = template.render(
            **shared,
            number=number,
            pages=[_from(names, number, at) for at in range(len(pages))],
            suspicious=[_card(each, report, place(number), first=True) for each in sheet.first],
            patients=list(_patients(sheet.rest, report, place(number))),
        )
        # A name on disk may hold bytes that are no text.
        yield names[number], text.encode("utf-8", "replace").decode("utf-8")


def _from(names: Sequence[str], here: int, there: int) -> str:
    """The address of a page as seen from another: the first one lies above the folder of the others."""
    target = names[there]
    if here == 0:
        return target
    return f"../{target}" if there == 0 else target.rpartition("/")[2]


# --- the contact sheet --------------------------------------------------------------------------------------------


def _patients(series: Sequence[Series], report: Report, place: Place) -> Iterator[dict[str, Any]]:
    """The patients of a page with their studies, in the order of the series; studies as lists of cards."""
    for patient_id, group in groupby(series, key=lambda each: each.values.get("PatientID") or ""):
        of_patient = list(group)
        studies = [
            {"title": _study_title(of_study[0]), "cards": [_card(each, report, place) for each in of_study]}
            for of_study in _studies(of_patient)
        ]
        name = of_patient[0].values.get("PatientName") or "" if report.kind is Kind.IDENTIFIED else ""
        yield {"id": patient_id or "no PatientID", "name": name_text(name), "studies": studies}


def _studies(series: Sequence[Series]) -> Iterator[list[Series]]:
    for _, group in groupby(series, key=lambda each: each.key[0]):
        yield list(group)


def _study_title(series: Series) -> str:
    values = series.values
    parts = (date_text(values.get("StudyDate") or ""), values.get("StudyDescription") or "")
    return " · ".join(each for each in parts if each) or UNTOLD_STUDY


def _card(each: Series, report: Report, place: Place, *, first: bool = False) -> dict[str, Any]:
    there = each.on_disk
    values = each.values
    pictures = there.pictures if there else ()
    return {
        "title": values.get("SeriesDescription") or "no description",
        "number": (values.get("SeriesNumber") or "").strip(),
        "modality": each.modality,
        "patient": values.get("PatientID") or "no PatientID",
        "study": _study_title(each),
        "size": " · ".join(each for each in _amount(each) if each),
        "status": "" if each.status in ("complete", facts.UNKNOWN) else WORDS.get(each.status, each.status),
        "colour": COLOURS.get(each.status, "c2"),
        "reason": each.reason if report.kind is Kind.IDENTIFIED else "",
        "pictures": [_picture(picture, place, len(pictures) > 1, each) for picture in pictures],
        "why": "" if pictures else _no_picture(each),
        "doubts": _doubts(each) if first else [],
        "files": each.here,
        "hidden": max(there.frames - len(pictures), 0) if there else 0,
        "cines": there is not None and there.frames > there.files,
        "uids": there.uids if there and report.kind is Kind.ANONYMIZED else (),
    }


def _amount(each: Series) -> tuple[str, ...]:
    if not each.here:
        announced = "" if each.announced is None else counted(each.announced, "image")
        return (f"{announced} announced" if announced else "",)
    of = f" of {each.announced}" if each.announced is not None and each.announced != each.here else ""
    return f"{each.here}{of} {'image' if each.here == 1 and not of else 'images'}", size_text(each.bytes)


def _no_picture(each: Series) -> str:
    return {facts.LISTED: "listed, not fetched", facts.MOVED: "sent elsewhere"}.get(
        each.status, "nothing of it is here"
    )


def _picture(picture: Picture, place: Place, several: bool, series: Series) -> dict[str, Any]:
    which = f"image {picture.number} of {series.here}" if series.here > 1 else ""
    if picture.frames > 1:
        which = ", ".join(each for each in (which, f"frame {picture.frame} of {picture.frames}") if each)
    about = f"{series.modality}, {series.values.get('SeriesDescription') or 'no description'}"
    return {
        "source": place(picture) if picture.file else "",
        "why": picture.why,
        "alt": f"{about}; {which}" if which else about,
        "which": which if several or picture.boxes or picture.left else "",
        "columns": picture.columns,
        "rows": picture.rows,
        "boxes": [*((box, "box") for box in picture.boxes), *((box, "box left") for box in picture.left)],
    }


def _doubts(each: Series) -> list[str]:
    """Why a person should look at a series first."""
    there = each.on_disk
    if there is None:
        return []
    said = []
    if there.pixels.unread:
        said.append(f"{counted(there.pixels.unread, 'place')} with something like text was seen and left")
    if there.unclaimed:
        reasons = ", ".join(sorted(there.doubts)[:2])
        said.append(f"PatientIdentityRemoved is NO on {there.unclaimed} of {there.files} ({reasons})")
    if there.pixels.blanked:
        said.append(f"text was found and blanked: {counted(there.pixels.blanked, 'box', 'boxes')}")
    return said
