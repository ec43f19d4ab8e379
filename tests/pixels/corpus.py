"""Synthetic DICOM pictures with text burned into them, and the truth about it; nobody in them exists.

Twelve kinds; four of ten show no text. The same seed and count give the same pictures. Fonts: `FONT_PACKAGES`.
From the command line: python -m tests.pixels.corpus FOLDER [--seed N] [--count N] writes files and truth.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pacsifier.pictures.boxes import Box
from tests.pixels import grounds
from tests.pixels.grounds import Ground, Random, between, one_of

ROOT = "1.2.826.0.1.3680043.9.7778."
STORAGE = "1.2.840.10008.5.1.4.1.1."
TEXT_FREE = 0.4
FONT_PACKAGES = (
    "fonts-dejavu-core",
    "fonts-liberation",
    "fonts-freefont-ttf",
    "fonts-hack",
    "fonts-wqy-microhei",
)
FONTS = Path("/usr/share/fonts/truetype")
EUROPEAN = (
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSans-Bold.ttf",
    "dejavu/DejaVuSansMono.ttf",
    "dejavu/DejaVuSerif.ttf",
    "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationMono-Bold.ttf",
    "liberation/LiberationSansNarrow-Regular.ttf",
    "liberation/LiberationSerif-Regular.ttf",
    "freefont/FreeSans.ttf",
    "freefont/FreeMono.ttf",
    "hack/Hack-Regular.ttf",
)
ASIAN = ("wqy/wqy-microhei.ttc",)
FAMILIES: Mapping[str, Sequence[str]] = {
    "latin": ("Brunnmair", "Fitzgerald", "Oyelaran", "Söderqvist", "Castellanos", "Dubois-Perrin", "Novak", "Öztürk"),
    "greek": ("ΠΑΠΑΔΟΠΟΥΛΟΣ", "Γεωργίου", "Οικονόμου"),
    "cyrillic": ("КУЗНЕЦОВА", "Соловьёв", "Иваненко"),
    "chinese": ("王小明", "欧阳建华", "陈丽君"),
    "japanese": ("たかはし ゆうこ", "スズキ イチロウ", "渡辺 さくら"),
    "korean": ("김영희", "박지훈 환자", "최민서 여성"),
}  # fmt: skip
GIVEN = ("Marlene", "Theo", "Adaeze", "Jonas", "Ines", "Bartholomew", "Li", "Ursula")
PLACES = (
    "Klinikum Nordheide",
    "St. Agatha Hospital",
    "CHU Valmorel",
    "Ospedale San Rocco",
    "Rivergate Imaging",
)


@dataclass(frozen=True)
class Person:
    """Whom a file is about; header and picture show the same."""

    family: str
    given: str
    patient_id: str
    birth_date: str
    accession: str
    place: str

    @property
    def identifiers(self) -> tuple[str, ...]:
        return (self.family, self.given, self.patient_id, self.accession)


@dataclass(frozen=True)
class Text:
    """A line in the picture: its ink; `frames`: those that show it, None for all."""

    box: Box
    text: str
    identifies: bool
    frames: tuple[int, ...] | None = None
    how: str = ""


@dataclass(frozen=True)
class Sample:
    """One file: `pictures` (frames, rows, columns[, 3]) of 8 bits, as a decoder shows them."""

    number: int
    kind: str
    person: Person
    pictures: NDArray[np.uint8]
    texts: tuple[Text, ...] = field(default=())


@dataclass(frozen=True)
class Kind:
    ground: Callable[[Random], Ground]
    modality: str
    sop_class: str
    lines: tuple[int, int]
    stored_bits: int = 8
    colour: bool = False
    confusers: tuple[Callable[[Random, Ground], None], ...] = ()
    turns: bool = False
    moves: bool = False


RULER, GRID, MARKS, SCREWS = grounds.ruler, grounds.grid, grounds.marks, grounds.screws
KINDS: Mapping[str, Kind] = {
    "US": Kind(grounds.ultrasound, "US", "6.1", (3, 9), 8, True, (MARKS, RULER), moves=True),
    "SC": Kind(grounds.screen, "OT", "7", (3, 10), 8, True, (GRID, MARKS)),
    "XA": Kind(grounds.angiogram, "XA", "12.1", (2, 6), 12, False, (RULER, SCREWS), turns=True, moves=True),
    "DX": Kind(
        grounds.radiograph, "DX", "1.1", (1, 5), 12, False, (SCREWS, grounds.teeth, RULER), turns=True
    ),
    "CR": Kind(grounds.radiograph, "CR", "1", (1, 5), 12, False, (grounds.ribs, SCREWS, GRID), turns=True),
    "MG": Kind(grounds.mammogram, "MG", "1.2", (1, 4), 12, False, (RULER,), turns=True),
    "CT": Kind(grounds.ct, "CT", "2", (1, 6), 12, False, (SCREWS, RULER, GRID), turns=True),
    "MR": Kind(grounds.mr, "MR", "4", (1, 5), 12, False, (GRID, RULER), turns=True),
    "ES": Kind(grounds.endoscopy, "ES", "77.1.1", (2, 7), 8, True, (MARKS,), moves=True),
    "label": Kind(grounds.label, "SM", "77.1.6", (2, 6), 8, True, (grounds.bars,)),
    "letter": Kind(grounds.letter, "OT", "7", (6, 18), 8, False, (GRID,)),
    "dose": Kind(grounds.page, "CT", "7", (5, 12), 8, False, (GRID, RULER)),
}


def samples(seed: int, count: int, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Sample]:
    """So many files, the kinds in turn; each depends on the seed and its number only."""
    for number in range(count):
        yield sample(seed, number, kinds[number % len(kinds)])


def sample(seed: int, number: int, name: str) -> Sample:
    random = np.random.default_rng((seed, number))
    kind, person = KINDS[name], _person(random)
    ground = np.ascontiguousarray(kind.ground(random), np.float32)
    free = random.random() < TEXT_FREE
    if kind.confusers and (free or random.random() < 0.3):
        one_of(random, kind.confusers)(random, ground)
    if kind.colour and ground.ndim == 2:
        ground = np.repeat(ground[..., None], 3, axis=2)
    frames = int(random.integers(8, 31)) if kind.moves and random.random() < 0.2 else 1
    grounds_ = _moving(random, ground, frames)
    texts = () if free else tuple(_written(random, kind, name, person, grounds_))
    pictures = np.clip(np.round(grounds_), 0, 255).astype(np.uint8)
    return Sample(number, name, person, pictures, texts)


def _moving(random: Random, ground: Ground, frames: int) -> Ground:
    if frames == 1:
        return ground[None]
    shifted = [np.roll(ground, int(3 * np.sin(each / 3)), axis=0) for each in range(frames)]
    grain = [1 + 0.15 * random.standard_normal(ground.shape[:2], np.float32) for _ in range(frames)]
    if ground.ndim == 3:
        grain = [each[..., None] for each in grain]
    return np.stack([one * other for one, other in zip(shifted, grain, strict=True)])


def _person(random: Random) -> Person:
    script = "latin" if random.random() < 0.8 else one_of(random, list(FAMILIES))
    return Person(
        one_of(random, FAMILIES[script]),
        one_of(random, GIVEN) if script == "latin" else "",
        f"{one_of(random, ['', 'P', 'MRN'])}{random.integers(10**5, 10**9)}",
        f"{random.integers(1920, 2020)}{random.integers(1, 13):02}{random.integers(1, 29):02}",
        f"{one_of(random, ['A', 'ACC', '20'])}{random.integers(10**6, 10**8)}",
        one_of(random, PLACES),
    )


# --- what is written ------------------------------------------------------------------------------


def _lines(random: Random, person: Person) -> Iterator[tuple[str, bool]]:
    """Lines in the order in which devices show them, without end; and whether each identifies."""
    family, given, born = person.family, person.given, person.birth_date
    year, month, day = born[:4], born[4:6], born[6:]
    yield one_of(random, [f"{family}, {given}", f"{given} {family}", family]).strip(", "), True
    while True:
        yield f"{one_of(random, ['ID: ', 'Pat.-Nr. ', '', 'MRN '])}{person.patient_id}", True
        yield (
            one_of(random, [f"{day}.{month}.{year}", f"*{year}-{month}-{day}", f"DOB {month}/{day}/{year}"]),
            True,
        )
        yield _harmless(random), False
        doctor = f"Dr. {one_of(random, FAMILIES['latin'])}"
        yield one_of(random, [person.place, f"Acc# {person.accession}", f"{family} {year}", doctor]), True
        yield _harmless(random), False


def _harmless(random: Random) -> str:
    number = int(random.integers(1, 200))
    shapes = [
        "R",
        "L",
        "LCC",
        "MLO R",
        "FR 28 Hz",
        "MI 1.1 TIS 0.4",
        "{} kVp",
        "Gain {} %",
        "D {} cm",
        "{} mGy",
    ]
    return str(one_of(random, [*shapes, "W {} L 40", "Se: {} Im: 4"])).format(number)


def _written(random: Random, kind: Kind, name: str, person: Person, pictures: Ground) -> Iterator[Text]:
    lines = _lines(random, person)
    taken: list[Box] = []
    tidy = name in ("letter", "dose")
    size = _size(random, name)
    for number in range(int(random.integers(*kind.lines, endpoint=True))):
        text, identifies = next(lines)
        if not tidy:
            size = _size(random, name)
        turn = int(random.choice([1, 3])) if kind.turns and random.random() < 0.12 else 0
        outline = not tidy and random.random() < 0.15
        ink = np.rot90(_ink(random, text, size, outline), turn, axes=(1, 2))
        box = _place(random, ink.shape[1:], pictures.shape[1:3], taken, number if tidy else None)
        if box is None:
            continue
        taken.append(box.grown(4))
        frames = None
        if len(pictures) > 1 and random.random() < 0.3:
            frames = (int(random.integers(len(pictures))),)
        how = _burn(random, kind, pictures, frames, box, ink, outline)
        rows, columns = np.nonzero(ink[0] > 0.4)
        inked = Box(
            left=box.left + int(columns.min()),
            top=box.top + int(rows.min()),
            right=box.left + int(columns.max()) + 1,
            bottom=box.top + int(rows.max()) + 1,
        )
        yield Text(inked, text, identifies, frames, f"{size} px{', turned' if turn else ''}, {how}")


def _size(random: Random, name: str) -> int:
    """Of a font, so that a line's ink is 8 to 40 pixels high; large pictures have more of the larger."""
    if name in ("letter", "dose"):
        return int(random.integers(12, 24))
    large = name in ("DX", "CR", "MG")
    return int(random.integers(16 if large else 10, 48 if large or random.random() < 0.15 else 26))


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    if not (FONTS / name).exists():
        raise FileNotFoundError(f"{FONTS / name} is absent: apt-get install {' '.join(FONT_PACKAGES)}")
    return ImageFont.truetype(str(FONTS / name), size)


def _ink(random: Random, text: str, size: int, outline: bool) -> Ground:
    """(2, rows, columns): the letters, and letters with their outline, between 0 and 1."""
    asian = any(ord(each) > 0x2E00 for each in text)
    font = _font(one_of(random, ASIAN if asian else EUROPEAN), size)
    edge = 1 if size < 24 else 2
    left, top, right, bottom = font.getbbox(text, stroke_width=edge)
    sharp = random.random() < 0.3 and size > 11
    layers = []
    for width in (0, edge if outline else 0):
        image = Image.new("L", (int(right - left), int(bottom - top)), 0)
        pen = ImageDraw.Draw(image)
        pen.fontmode = "1" if sharp else "L"
        pen.text((-left, -top), text, fill=255, font=font, stroke_width=width)
        layers.append(np.asarray(image).astype(np.float32) / 255)
    ink = np.stack(layers)
    inked = np.nonzero(ink[1] > 0.2)
    rows, columns = slice(inked[0].min(), inked[0].max() + 1), slice(inked[1].min(), inked[1].max() + 1)
    return ink[:, rows, columns]


def _place(
    random: Random, size: tuple[int, ...], picture: tuple[int, ...], taken: Sequence[Box], line: int | None
) -> Box | None:
    rows, columns = picture[0] - size[0], picture[1] - size[1]
    if rows < 0 or columns < 0:
        return None
    for attempt in range(40):
        if line is not None:
            top, left = 20 + line * int(size[0] * 1.3 + 12) + attempt * 8, 24 + 200 * int(attempt > 20)
        else:
            edge = int(random.integers(0, 12)) if random.random() < 0.7 else None
            top = int(random.integers(0, rows + 1))
            left = int(random.integers(0, columns + 1))
            if edge is not None:
                top, left = one_of(
                    random, [(edge, left), (rows - edge, left), (top, edge), (top, columns - edge)]
                )
        top, left = min(max(top, 0), rows), min(max(left, 0), columns)
        box = Box(left, top, left + size[1], top + size[0])
        if not any(box.meets(other) for other in taken):
            return box
    return None


def _burn(  # noqa: PLR0917
    random: Random,
    kind: Kind,
    pictures: Ground,
    frames: tuple[int, ...] | None,
    box: Box,
    ink: Ground,
    outline: bool,
) -> str:
    """Paints it, so that a person can read it: at least 25 levels, and more where the ground is uneven."""
    place = (slice(box.top, box.bottom), slice(box.left, box.right))
    ground = pictures[(slice(None), *place)]
    middle, uneven = float(np.median(ground)), float(ground.std(axis=(1, 2)).mean())
    wanted = max(
        between(random, 25, 230) if random.random() < 0.4 else between(random, 120, 255), 3 * uneven, 25
    )
    lighter = (255 - middle >= wanted) or (255 - middle > middle)
    level = min(255.0, middle + wanted) if lighter else max(0.0, middle - wanted)
    tint = np.ones(3, np.float32)
    if kind.colour and random.random() < 0.3 and abs(level - middle) > 110:
        tint[int(random.integers(3))] = between(random, 0.3, 1.0)
    paint = level * tint if lighter else np.full(3, level, np.float32)
    edge = np.full(3, 0.0 if level > 127 else 255.0, np.float32)
    for each in range(len(pictures)) if frames is None else frames:
        part = pictures[(each, *place)]
        for share, colour in ((ink[1], edge), (ink[0], paint)) if outline else ((ink[0], paint),):
            if part.ndim == 3:
                part[...] = part * (1 - share[..., None]) + colour * share[..., None]
            else:
                part[...] = part * (1 - share) + colour.mean() * share
    return f"{abs(level - middle):.0f} levels{', outlined' if outline else ''}"


# --- as DICOM ---------------------------------------------------------------------------------------


def write(this: Sample, path: Path) -> None:
    """The sample as an uncompressed DICOM file, its person in the header."""
    kind = KINDS[this.kind]
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = STORAGE + kind.sop_class, f"{ROOT}1.{this.number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{ROOT}2.{this.number}", f"{ROOT}3.{this.number}"
    data.SpecificCharacterSet, data.Modality = "ISO_IR 192", kind.modality
    data.PatientName, data.PatientID = f"{this.person.family}^{this.person.given}", this.person.patient_id
    data.PatientBirthDate, data.AccessionNumber = this.person.birth_date, this.person.accession
    data.InstitutionName, data.PatientSex, data.StudyDate = this.person.place, "O", "20240229"
    data.SeriesNumber, data.InstanceNumber = 1, this.number + 1
    data.ImageType = ["ORIGINAL", "PRIMARY", *(["LABEL"] if this.kind == "label" else [])]
    _add_pixels(data, this.pictures, kind)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)


def _add_pixels(data: Dataset, pictures: NDArray[np.uint8], kind: Kind) -> None:
    frames, data.Rows, data.Columns = pictures.shape[:3]
    if frames > 1:
        data.NumberOfFrames = frames
    wide = kind.stored_bits > 8
    data.SamplesPerPixel = 3 if pictures.ndim == 4 else 1
    data.PhotometricInterpretation = "RGB" if pictures.ndim == 4 else "MONOCHROME2"
    if pictures.ndim == 4:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = (
        16 if wide else 8,
        kind.stored_bits,
        kind.stored_bits - 1,
    )
    data.PixelRepresentation = 0
    most = 2**kind.stored_bits - 1
    stored = np.round(pictures.astype(np.float32) * (most / 255)).astype("<u2") if wide else pictures
    raw = stored.tobytes()
    data.add_new("PixelData", "OW" if wide else "OB", raw + b"\0" * (len(raw) % 2))


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes synthetic DICOM files with text in the pixels.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=120)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with (given.folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        truth = csv.writer(file)
        truth.writerow(
            ["file", "kind", "left", "top", "right", "bottom", "frames", "identifies", "text", "how"]
        )
        for this in samples(given.seed, given.count):
            name = f"{this.number:05}-{this.kind}.dcm"
            write(this, given.folder / name)
            for text in this.texts:
                place = (text.box.left, text.box.top, text.box.right, text.box.bottom)
                shown = "all" if text.frames is None else " ".join(map(str, text.frames))
                truth.writerow([name, this.kind, *place, shown, text.identifies, text.text, text.how])


if __name__ == "__main__":
    main()
