"""The route of a report: logs and tables -> a look at every file -> facts -> pages, beside what they tell of.

The pictures of a small report are part of its page. Those of a large one, and further pages, lie in a folder beside it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pacsifier.deidentify.crew import available_cpus
from pacsifier.disk.files import open_new, write_whole
from pacsifier.disk.names import LOG_FOLDER, REPORT_FOLDER, REPORT_NAME, SERIES_NAME
from pacsifier.disk.replaced import check_replaceable, remove_replaceable, replaced_folder
from pacsifier.disk.walk import Progress
from pacsifier.errors import InputError
from pacsifier.pictures import needs
from pacsifier.pictures.page import data_uri
from pacsifier.query import read_query_file
from pacsifier.report import facts
from pacsifier.report.beside import Beside, read_beside
from pacsifier.report.facts import Kind, Logs, Picture, Series
from pacsifier.report.logs import read_logs
from pacsifier.report.looking import Surveyed, survey
from pacsifier.report.model import Report, sheets
from pacsifier.report.page import Place, write_pages
from pacsifier.transfer.record.outcomes import REDO_NAME

_MOST_INLINE_BYTES = 6_000_000


@dataclass(frozen=True)
class Request:
    """What the user asks for: a report of a folder; `key` of an anonymized one where that does not lie beside it.

    `output`: the file to write, where it is not the usual one. `again`: the command that goes on with the run, where
    one is known.
    """

    folder: Path
    key: Path | None = None
    output: Path | None = None
    pictures: bool = True
    workers: int = field(default_factory=available_cpus)
    again: str = ""


@dataclass(frozen=True)
class Written:
    """What was written: the first page, of which kind; `pictures` counts series that have one.

    `to_review` series come first, since no mark says YES; `bytes` are those of all pages with their pictures.
    """

    path: Path
    kind: Kind
    series: int
    images: int
    pictures: int
    pages: int
    bytes: int
    to_review: int
    seconds: float


def check_libraries() -> None:
    """Raises InputError where what a page is written with is not installed."""
    if absent := needs.missing(needs.PAGE):
        raise InputError(f"a report needs {', '.join(absent)}, which is not installed: {needs.INSTALL}")


def write_report(request: Request, progress: Progress = lambda *_: None) -> Written:
    """Writes the report of a folder (0600); raises InputError where there is no such folder, and OSError."""
    check_libraries()
    if not request.folder.is_dir():
        raise InputError(f"{request.folder}: is no folder")
    if request.key and not request.key.is_file():
        raise InputError(f"--key {request.key}: is no file; the tables of the run lie beside it")
    with tempfile.TemporaryDirectory(prefix="pacsifier-") as scratch:
        return _written(request, Path(scratch), progress)


def _written(request: Request, scratch: Path, progress: Progress) -> Written:
    begun = time.monotonic()
    logs, beside = read_logs(request.folder), read_beside(request.folder, request.key)
    seen = survey(request.folder, beside, scratch, progress, draw=request.pictures, workers=request.workers)
    kind = kind_of(seen, logs, beside)
    path = place_of(request, kind)
    series = facts.compared(facts.joined(seen.series), logs)
    report = Report(
        kind=kind,
        folder=request.folder.resolve().name or str(request.folder.resolve()),
        series=series,
        logs=logs if kind is Kind.IDENTIFIED else Logs(),
        beside=beside if kind is Kind.ANONYMIZED else Beside(),
        written_at=datetime.now().astimezone(),
        others=seen.others,
        unread=seen.unread,
        again=_again(request, series, logs) if kind is Kind.IDENTIFIED else (),
        notes=seen.notes,
    )
    size = _write(report, path)
    drawn = [
        each.on_disk for each in series if each.on_disk and any(one.file for one in each.on_disk.pictures)
    ]
    return Written(
        path=path,
        kind=kind,
        series=len(series),
        images=sum(each.here for each in series),
        pictures=len(drawn),
        pages=len(sheets(report)),
        bytes=size,
        to_review=sum(each.on_disk.unclaimed > 0 for each in series if each.on_disk)
        if kind is Kind.ANONYMIZED
        else 0,
        seconds=time.monotonic() - begun,
    )


def kind_of(seen: Surveyed, logs: Logs, beside: Beside) -> Kind:
    """Anonymized only where every image carries our mark, and there are no logs, which hold identities. Pure."""
    files = sum(each.files for each in seen.series)
    by_us = sum(each.by_us for each in seen.series)
    if logs.there or by_us < files:
        return Kind.IDENTIFIED
    return Kind.ANONYMIZED if files or beside.there else Kind.IDENTIFIED


def place_of(request: Request, kind: Kind) -> Path:
    """Where the page is written: in the folder; of anonymized data beside it (or its key), never in it."""
    folder = request.folder.resolve()
    if request.output:
        inside = request.output.parent.resolve()
        if kind is Kind.ANONYMIZED and (inside == folder or folder in inside.parents):
            raise InputError(
                f"{request.output}: lies in the anonymized folder: its pictures may show what nobody has looked at; "
                "name a place outside"
            )
        return request.output
    if kind is Kind.IDENTIFIED:
        return request.folder / REPORT_NAME
    home = request.key.parent if request.key else folder.parent
    return home / f"{folder.name}.{REPORT_NAME}"


def _again(request: Request, series: Sequence[Series], logs: Logs) -> Sequence[str]:
    """The commands that bring what is missing; none where nothing is, or nothing tells."""
    last = logs.runs[-1] if logs.runs else None
    missed = [each for each in series if each.is_open]
    listed = _only_listed(series)
    # The redo table is that of the last run, and knows nothing of what was lost afterwards.
    others = [each for each in missed if each.status == facts.GONE or not last or each.run != last.name]
    if request.again and (missed or logs.has_redo) and not others:
        return (request.again,)
    redo = logs.has_redo and not listed
    tables = [
        *([REDO_NAME] if redo else []),
        *([SERIES_NAME] if others or listed or (missed and not redo) else []),
    ]
    what = "--move" if last and "move" in last.did else "--save"
    return [_command(what, request.folder / LOG_FOLDER / table, request.folder) for table in tables]


def _command(what: str, table: Path, folder: Path) -> str:
    words = ["pacsifier", what, "--resume", "--config", "config.json", "--queryfile", str(table)]
    try:
        read_query_file(table)
    except InputError:
        # It has columns of the user's own.
        words.append("--extra_columns")
    return shlex.join([*words, "--out_directory", str(folder)])


def _only_listed(series: Sequence[Series]) -> bool:
    return bool(series) and all(each.status == facts.LISTED for each in series)


# --- the writing --------------------------------------------------------------------------------------------------


def _write(report: Report, path: Path) -> int:
    """Writes the pages and what they show; returns their bytes. A second report takes the place of the first."""
    beside = path.with_name(f"{path.name.removesuffix(REPORT_NAME)}{REPORT_FOLDER}")
    if not path.name.endswith(REPORT_NAME):
        beside = path.with_name(f"{path.stem}_files")
    check_replaceable(beside)
    pages = sheets(report)
    drawn = [picture for each in report.series if each.on_disk for picture in each.on_disk.pictures]
    if len(pages) == 1 and sum(each.size for each in drawn) <= _MOST_INLINE_BYTES:
        ((_, text),) = write_pages(report, [path.name], lambda _: _inline)
        write_whole(path, text, 0o600)
        remove_replaceable(beside)
        return len(text.encode())
    with replaced_folder(beside) as folder:
        first, size = _write_parts(report, len(pages), path, beside.name, folder)
    write_whole(path, first, 0o600)
    return size


def _write_parts(report: Report, pages: int, path: Path, name: str, folder: Path) -> tuple[str, int]:
    """Writes pictures and further pages into a folder; returns the first page, and the bytes of all."""
    files: dict[str, str] = {}
    size = 0
    for number, picture in enumerate(_pictures(report), start=1):
        files[picture.file] = f"{number}.jpg"
        shutil.move(picture.file, folder / f"{number}.jpg")
        size += picture.size
    names = [path.name, *(f"{name}/{number}.html" for number in range(2, pages + 1))]
    first = ""
    for number, (_, text) in enumerate(write_pages(report, names, _places(files, name))):
        if number == 0:
            first = text
            size += len(text.encode())
        else:
            size += _put(folder / f"{number + 1}.html", text.encode())
    return first, size


def _pictures(report: Report) -> Iterator[Picture]:
    for each in report.series:
        if each.on_disk:
            yield from (picture for picture in each.on_disk.pictures if picture.file)


def _places(files: Mapping[str, str], name: str) -> Callable[[int], Place]:
    """Where pictures are seen from each page: the first one lies above their folder, the others in it."""
    return lambda page: lambda picture: f"{name}/{files[picture.file]}" if page == 0 else files[picture.file]


def _inline(picture: Picture) -> str:
    return data_uri(Path(picture.file).read_bytes())


def _put(path: Path, data: bytes) -> int:
    with os.fdopen(open_new(path), "wb") as file:
        return file.write(data)
