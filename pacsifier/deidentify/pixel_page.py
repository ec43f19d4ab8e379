"""The page on which a person looks at cleaned pixels: every series once, what is doubtful first; as secret as the key.

Shown of a series are its first and last image, and those in which most was seen and left, or least certainly read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Any

from pacsifier.deidentify import reviewed
from pacsifier.deidentify.cleaning import Look, SeriesBoxes
from pacsifier.deidentify.coders import WithCoders
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.model import Request, Settings
from pacsifier.disk.files import write_whole
from pacsifier.disk.walk import Progress
from pacsifier.pictures import page
from pacsifier.pictures.boxes import By, Region
from pacsifier.pictures.decoding import frames_of, shown
from pacsifier.pictures.stored import PixelsError
from pacsifier.pictures.thumbnail import jpeg

PAGE = "pixels.html"
_MOST_SHOWN = 6
_SERIES_PER_PAGE = 50
_SIDE_PX = 1400


@dataclass(frozen=True)
class Shown:
    """Images of one series and size: all of them by input and output, those to be shown, what is blanked in all."""

    series: str
    columns: int
    rows: int
    outputs: tuple[str, ...]
    chosen: tuple[Look, ...]
    regions: Mapping[str, tuple[Region, ...]]

    @property
    def doubt(self) -> tuple[int, float, int]:
        """Sorts what is doubtful first: much that was seen and left, little certainty, nothing found at all."""
        every = [region for regions in self.regions.values() for region in regions]
        seen = sum(region.by is By.SEEN for region in every)
        certainty = min((region.confidence for region in every if region.blanked), default=0.0)
        return -seen, certainty, -len(self.outputs)


def series_of(looks: Iterable[Look], targets: Mapping[str, str]) -> list[Shown]:
    """The series and sizes that were looked at, what is doubtful first; `targets`: outputs by input."""
    looks = list(looks)
    boxes = SeriesBoxes(looks)
    groups: dict[tuple[str, int, int], list[Look]] = defaultdict(list)
    for look in looks:
        if look.file in targets:
            groups[look.layout].append(look)
    return sorted((_shown(group, targets, boxes) for group in groups.values()), key=lambda each: each.doubt)


def _shown(group: Sequence[Look], targets: Mapping[str, str], boxes: SeriesBoxes) -> Shown:
    ordered = sorted(group, key=lambda look: look.file)
    doubtful = sorted(ordered, key=_doubt_of)
    first = [ordered[0], ordered[-1], *(look for look in doubtful if look.regions)]
    chosen = tuple({look.file: look for look in first}.values())[:_MOST_SHOWN]
    outputs = tuple(PurePath(targets[look.file]).stem for look in ordered)
    regions = {look.file: boxes.regions(look) for look in chosen}
    return Shown(*ordered[0].layout, outputs, chosen, regions)


def _doubt_of(look: Look) -> tuple[int, float]:
    seen = sum(region.by is By.SEEN for region in look.regions)
    return -seen, min((region.confidence for region in look.regions), default=1.0)


@dataclass(frozen=True)
class Wish:
    """A picture to be made: of a file, before and after, and of which of its frames."""

    source: Path
    output: Path
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """One frame before and after, as JPEG; b"" where it could not be made."""

    frame: int
    before: bytes
    after: bytes


class Painter(WithCoders):
    """Makes the pictures of files, one Painter in each process."""

    def __call__(self, task: tuple[int, Wish]) -> tuple[int, list[Pair]]:
        """The number of a wish, and its pictures."""
        number, wish = task
        before, after = (self._jpegs(path, wish.frames) for path in (wish.source, wish.output))
        return number, [Pair(frame, before.get(frame, b""), after.get(frame, b"")) for frame in wish.frames]

    def _jpegs(self, path: Path, frames: Sequence[int]) -> dict[int, bytes]:
        """The pictures that can be made, by the numbers of their frames."""
        made = {}
        with suppress(PixelsError, OSError):
            for frame in frames_of(path, self.coders, frames):
                made[frame.index] = jpeg(shown(frame), _SIDE_PX)
        return made


def write(
    looks: Mapping[str, Look], targets: Mapping[str, str], settings: Settings, progress: Progress
) -> list[Path]:
    """Writes the pages beside the key, 0600; returns them. One page holds up to 50 series."""
    request = settings.request
    groups = series_of(looks.values(), targets)
    pages = [groups[at : at + _SERIES_PER_PAGE] for at in range(0, len(groups), _SERIES_PER_PAGE)] or [[]]
    names = [
        request.beside(PAGE if not number else f"pixels.{number + 1}.html") for number in range(len(pages))
    ]
    failed = [(look.file, look.problem) for look in looks.values() if look.problem]
    template = page.template("pacsifier.deidentify", "pixels.html")
    done = 0
    for number, shown_here in enumerate(pages):
        wishes = [_wish(look, targets, request) for each in shown_here for look in each.chosen]
        made: list[list[Pair]] = []
        # In order: each picture must stand beside its own boxes.
        numbered = list(enumerate(wishes))
        for _, pairs in sorted(
            shared(lambda: Painter(settings.staging), numbered, request.workers), key=itemgetter(0)
        ):
            made.append(pairs)
            done += 1
            progress("pictures drawn", done, sum(len(each.chosen) for each in groups))
        pictures = iter(made)
        text = template.render(
            folder=request.out_folder.resolve().name,
            series=[_as_values(each, pictures) for each in shown_here],
            failed=failed if number == 0 else [],
            pages=[name.name for name in names],
            number=number,
            kind=reviewed.KIND,
            answers=[reviewed.ALL_GONE, reviewed.BLANK, reviewed.LEAVE_OUT],
        )
        write_whole(names[number], text, mode=0o600)
    return names


def _wish(look: Look, targets: Mapping[str, str], request: Request) -> Wish:
    frames = tuple(dict.fromkeys((0, look.frames // 2, max(look.frames - 1, 0))))
    output = request.out_folder / targets[look.file]
    source = output if request.in_place else request.in_folder / look.file
    return Wish(source, output, frames)


def _as_values(shown: Shown, pictures: Iterator[list[Pair]]) -> dict[str, Any]:
    """What the page says of one series, as the template takes it."""
    images = []
    for look in shown.chosen:
        for pair in next(pictures):
            images.append(
                {
                    "file": look.file,
                    "frame": pair.frame + 1,
                    "frames": look.frames,
                    "before": page.data_uri(pair.before),
                    "after": page.data_uri(pair.after),
                    "regions": [_region(each) for each in shown.regions[look.file]],
                }
            )
    counts = {by.value: sum(each.by is by for look in shown.chosen for each in look.regions) for by in By}
    return {
        "name": _name(shown.chosen[0].file),
        "columns": shown.columns,
        "rows": shown.rows,
        "uids": list(shown.outputs),
        "images": images,
        "counts": counts,
        "hidden": len(shown.outputs) - len(shown.chosen),
    }


def _name(file: str) -> str:
    """What a person calls a series: the folder that its first file lies in, or that file."""
    return str(PurePath(file).parent if PurePath(file).parent.name else PurePath(file))


def _region(region: Region) -> dict[str, Any]:
    box = region.box
    return {
        "left": box.left,
        "top": box.top,
        "width": box.width,
        "height": box.height,
        "by": region.by.value,
        "text": region.text,
        "confidence": f"{region.confidence:.2f}",
    }
