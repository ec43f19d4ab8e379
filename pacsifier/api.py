"""The flows of the commands as functions: for scripts, pipelines and notebooks.

    from pacsifier import api

    found = api.find("config.json", [{"PatientID": "PAT001", "StudyDate": "20240101-"}])
    table = found.to_frame()
    summary = api.save("config.json", table[table["Modality"] == "MR"], "images")
    api.anonymize("images", "shared", verify=True)

Nothing is printed, no handler of logging or of signals is touched; what goes wrong is raised, as one of `errors`. Works
from any thread. A configuration is the path of a file or a mapping of its eight keys; queries are the path of a query
file, rows (mappings of columns to text), or a table of pandas, such as one that `find` gave with rows left out. `tls`
is a `pacsifier.config.Tls` where the PACS is to be asked by DICOM TLS.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from pacsifier.checkup.probe import Probe
    from pacsifier.checkup.site import Checked
    from pacsifier.config import PacsConfig, Tls
    from pacsifier.deidentify.report import Totals
    from pacsifier.query import QueryTable
    from pacsifier.report.folder import Written
    from pacsifier.transfer.options import Observer
    from pacsifier.transfer.record.summary import Summary
    from pacsifier.transfer.upload import UploadSummary

    Config = str | os.PathLike[str] | Mapping[str, object]
    Queries = str | os.PathLike[str] | Iterable[Mapping[str, object]] | pd.DataFrame


@dataclass(frozen=True)
class Progress:
    """How far a call has come: `done` of `total` `things`; `total` is None where nobody knows it yet."""

    things: str
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]
"""Called now and then from the thread of the call; what it raises ends the call."""


@dataclass(frozen=True)
class Found:
    """What a PACS told of the series that were asked for: `rows` by the columns of logs/series.csv, as text."""

    summary: Summary
    rows: tuple[Mapping[str, str], ...]

    def to_frame(self) -> pd.DataFrame:
        """The series as a table of pandas, a row each; `save` and `move` take it, or a part of its rows."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame(list(self.rows), dtype=str)
        return frame


@dataclass(frozen=True)
class Checks:
    """What `check` saw: each probe, and what it found out of the PACS."""

    probes: tuple[Probe, ...]
    checked: Checked

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        from pacsifier.checkup.probe import Outcome

        return all(probe.outcome is not Outcome.FAILED for probe in self.probes)


def check(
    config: str | os.PathLike[str], out: str | os.PathLike[str] = "data", *, tls: Tls | None = None
) -> Checks:
    """Tries everything that a run into `out` needs, as `pacsifier --check` does; `config` is the path of a file.

    Raises only what keeps it from trying at all: what fails is in the probes.
    """
    from pacsifier.checkup.site import Site
    from pacsifier.checkup.site import check as probe_site
    from pacsifier.dcmtk.timeouts import Timeouts
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.transfer.options import MIN_FREE_BYTES

    site = Site(Path(config).absolute(), Path(out).absolute(), Timeouts(), MIN_FREE_BYTES, tls=_absolute(tls))
    with Toolbox() as toolbox:
        return Checks(*_exhausted(probe_site(site, toolbox, lambda _question: True)))


def _exhausted(route: Generator[Probe, None, Checked]) -> tuple[tuple[Probe, ...], Checked]:
    probes = []
    while True:
        try:
            probes.append(next(route))
        except StopIteration as end:
            return tuple(probes), end.value


def find(
    config: Config,
    queries: Queries,
    *,
    tls: Tls | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Found:
    """The series that the queries ask for, with all that the PACS tells of them; nothing is fetched or left on disk.

    `options` are those of `pacsifier.transfer.options.Options`. Raises as `save` does.
    """
    from pacsifier.disk.names import LOG_FOLDER, SERIES_NAME

    with tempfile.TemporaryDirectory(prefix="pacsifier-") as folder:
        summary = _retrieve(config, queries, Path(folder), on_progress, tls, info=True, **options)
        text = (Path(folder) / LOG_FOLDER / SERIES_NAME).read_text(encoding="utf-8-sig")
    return Found(summary, tuple(csv.DictReader(io.StringIO(text))))


def save(
    config: Config,
    queries: Queries,
    out: str | os.PathLike[str],
    *,
    tls: Tls | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Summary:
    """Fetches what the queries ask for into `out`, as `pacsifier --save` does; returns the figures of the run.

    `options`: `resume=True`, `info=True`, `retrieve_method="get"`, `limit=10` and the other fields of
    `pacsifier.transfer.options.Options`.

    Raises:
        InputError: the configuration, a query, the folder or an option is wrong, with every fault.
        AssociationError: there was no association with the PACS.
        ToolError: a DCMTK binary is missing or died.
    """
    return _retrieve(config, queries, Path(out).absolute(), on_progress, tls, save=True, **options)


def move(
    config: Config,
    queries: Queries,
    out: str | os.PathLike[str],
    *,
    tls: Tls | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Summary:
    """Has the PACS send what the queries ask for to the configuration's move_AET; logs go to `out`. See `save`."""
    return _retrieve(config, queries, Path(out).absolute(), on_progress, tls, move=True, **options)


def upload(
    config: Config,
    folder: str | os.PathLike[str],
    *,
    tls: Tls | None = None,
    on_progress: OnProgress | None = None,
) -> UploadSummary:
    """Sends every DICOM file below `folder` to the PACS; raises as `save` does."""
    from pacsifier.dcmtk.timeouts import Timeouts
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.transfer.upload import upload as send

    with _config(config, tls) as checked, Toolbox() as toolbox:
        return send(checked, Path(folder).absolute(), toolbox, _observer(on_progress), Timeouts())


def anonymize(
    in_folder: str | os.PathLike[str],
    out_folder: str | os.PathLike[str],
    *,
    key: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    **choices: Any,
) -> Totals:
    """De-identifies a folder, as `pacsifier-anonymize` does; returns the figures of the run.

    `choices` are fields of `pacsifier.deidentify.engine.profile.Options` (`fuzz_dates=True`) or of
    `pacsifier.deidentify.model.Request` (`verify=True`, `resume=True`). Raises InputError, before an image is written,
    where the input is wrong, and OSError.
    """
    from pacsifier.deidentify.engine.profile import Options
    from pacsifier.deidentify.folder import deidentify_folder
    from pacsifier.deidentify.key import key_path
    from pacsifier.deidentify.model import Request

    of_profile, others = _divided(choices, Options, Request)
    out = Path(out_folder).absolute()
    request = Request(
        in_folder=Path(in_folder).absolute(),
        out_folder=out,
        options=Options(**of_profile),
        key=key_path(out, Path(key).absolute() if key else None),
        **others,
    )
    return deidentify_folder(request, _told(on_progress))


def verify(in_folder: str | os.PathLike[str], out_folder: str | os.PathLike[str], **choices: Any) -> Totals:
    """Reads an output of `anonymize` again in search of what identifies; writes what is missing, nothing else.

    The same choices as the run that wrote it. `hits` of what it returns must be 0.
    """
    return anonymize(in_folder, out_folder, **{**choices, "verify": True, "resume": True})


def report(
    folder: str | os.PathLike[str],
    *,
    key: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    workers: int | None = None,
) -> Written:
    """Writes the page that shows what a folder holds, as `pacsifier-report` does; returns where, and of how much.

    Raises InputError where the folder is none, or what a page is written with is not installed, and OSError.
    """
    from pacsifier.report.folder import Request, write_report

    request = Request(Path(folder).absolute(), Path(key).absolute() if key else None)
    return write_report(replace(request, workers=workers or request.workers), _told(on_progress))


# --- what goes in -------------------------------------------------------------------------------------------------


def _retrieve(
    config: Config,
    queries: Queries,
    out: Path,
    on_progress: OnProgress | None,
    tls: Tls | None,
    **options: Any,
) -> Summary:
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.transfer.options import Job, Options
    from pacsifier.transfer.retrieve import retrieve

    _divided(options, Options)
    with _config(config, tls) as checked, _table(queries) as table, Toolbox() as toolbox:
        job = Job.of(checked, table, out, Options(**options))
        return retrieve(job, _observer(on_progress), toolbox)


def _divided(given: Mapping[str, Any], *kinds: type[Any]) -> tuple[dict[str, Any], ...]:
    """The options by the class that has them; raises TypeError, as Python does, where none has."""
    known = [{each.name for each in fields(kind)} for kind in kinds]
    strange = sorted(set(given) - set().union(*known))
    if strange:
        allowed = ", ".join(sorted(set().union(*known)))
        raise TypeError(f"unknown option: {', '.join(strange)}; known are {allowed}")
    first = {name: value for name, value in given.items() if name in known[0]}
    others = {name: value for name, value in given.items() if name not in known[0]}
    return (first, others) if len(kinds) > 1 else (first,)


@contextmanager
def _config(config: Config, tls: Tls | None) -> Iterator[PacsConfig]:
    from pacsifier.config import load_pacs_config

    if (tls := _absolute(tls)) is not None:
        from pacsifier.dcmtk.certificates import check_files

        check_files(tls)
    if not isinstance(config, Mapping):
        yield replace(load_pacs_config(Path(config).absolute()), tls=tls)
        return
    with _file("config.json", json.dumps(dict(config))) as path:
        yield replace(load_pacs_config(path), tls=tls)


def _absolute(tls: Tls | None) -> Tls | None:
    """With every path as the tools need it, which work in another folder than the caller."""
    if tls is None:
        return None
    ca, cert, key = (path and Path(path).absolute() for path in (tls.ca, tls.cert, tls.key))
    return replace(tls, ca=ca, cert=cert, key=key)


@contextmanager
def _table(queries: Queries) -> Iterator[QueryTable]:
    """The checked queries; a run may look at their file until it ends."""
    from pacsifier.query import read_query_file

    if isinstance(queries, (str, os.PathLike)):
        yield read_query_file(Path(queries).absolute())
        return
    with _file("query.csv", _as_csv(queries)) as path:
        yield read_query_file(path)


def _as_csv(queries: Any) -> str:
    rows = queries.to_dict("records") if hasattr(queries, "to_dict") else [dict(row) for row in queries]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows({name: _as_text(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _as_text(value: object) -> str:
    """A cell as text; what pandas has for nothing is nothing."""
    return "" if value is None or value != value else str(value)  # noqa: PLR0124 - NaN alone differs from itself


@contextmanager
def _file(name: str, text: str) -> Iterator[Path]:
    """A file that only its owner may read, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="pacsifier-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        yield path


# --- what comes out -----------------------------------------------------------------------------------------------


def _told(on_progress: OnProgress | None) -> Callable[..., None]:
    def tell(things: str, done: int, total: int, _size: int | None = None) -> None:
        if on_progress is not None:
            on_progress(Progress(things, done, total))

    return tell


def _observer(on_progress: OnProgress | None) -> Observer:
    from pacsifier.transfer.options import Observer

    class Teller(Observer):
        """Hands on what a run tells; its questions are answered with yes, for a program asked."""

        def __init__(self) -> None:
            self._ahead = Progress("series", 0, None)

        def finding(self, level: str, answered: int, asked: int, found: int) -> None:  # noqa: ARG002
            """A find goes on."""
            self._tell(Progress(f"{level} level finds", answered, asked))

        def planned(self, series: int, instances: int | None) -> None:  # noqa: ARG002
            """The work ahead is known."""
            self._ahead = replace(self._ahead, total=series)
            self._tell(self._ahead)

        def progress(self, series_done: int, instances: int, size: int = 0) -> None:  # noqa: ARG002
            """Some of it is done."""
            self._tell(replace(self._ahead, done=series_done))

        def _tell(self, progress: Progress) -> None:
            if on_progress is not None:
                on_progress(progress)

    return Teller()
