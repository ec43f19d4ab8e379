"""The flows of the commands as functions: for scripts, pipelines and notebooks.

    from pacsifier import api

    found = api.find("config.json", [{"PatientID": "PAT001", "StudyDate": "20240101-"}])
    table = found.to_frame()
    summary = api.save("config.json", table[table["Modality"] == "MR"], "images")
    api.anonymize("images", "shared", verify=True)

Nothing is printed, no handler of signals or of the caller's logging is touched; who listens to the logger `pacsifier`
hears what the commands warn of. What goes wrong is raised, as one of `errors`; a value that is not allowed is an
InputError that tells its name and what is. Works from any thread. A configuration is the path of a file or a mapping of
its eight keys; queries are the path of a query file, rows (mappings of columns to text), or a table of pandas, such as
one that `find` gave with rows left out. Errors count the rows that they are given from 0, whatever the index of a table
says; tables in logs do as a spreadsheet would, from 2. `tls` is a `pacsifier.config.Tls` where the PACS is to be asked
by DICOM TLS.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pacsifier.allowed import PATH, POSITIVE, Kind, checked, made_by, shown, taken
from pacsifier.errors import Fault, InputError

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

# Where nobody listens, Python would write warnings on stderr.
logging.getLogger("pacsifier").addHandler(logging.NullHandler())


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
    """What a PACS told of the series that were asked for: `rows` by the `columns` of logs/series.csv, as text."""

    summary: Summary
    rows: tuple[Mapping[str, str], ...]
    columns: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The series as a table of pandas, a row each; `save` and `move` take it, or a part of its rows."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame(list(self.rows), columns=list(self.columns), dtype=str)
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


def check(config: Config, out: str | os.PathLike[str] = "data", *, tls: Tls | None = None) -> Checks:
    """Tries everything that a run into `out` needs, as `pacsifier --check` does.

    Raises only what keeps it from trying at all: what fails is in the probes.
    """
    from pacsifier.checkup.site import Site
    from pacsifier.checkup.site import check as probe_site
    from pacsifier.dcmtk.timeouts import Timeouts
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.transfer.options import MIN_FREE_BYTES

    site = Site(_given(config), taken("out", out, PATH), Timeouts(), MIN_FREE_BYTES, tls=_absolute(tls))
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

    `options` are those fields of `pacsifier.transfer.options.Options` that look: none says what is done. Raises as
    `save` does.
    """
    from pacsifier.disk.names import LOG_FOLDER, SERIES_NAME

    with tempfile.TemporaryDirectory(prefix="pacsifier-") as folder:
        summary = _retrieve(_FIND, config, queries, Path(folder), options, tls=tls, on_progress=on_progress)
        text = (Path(folder) / LOG_FOLDER / SERIES_NAME).read_text(encoding="utf-8-sig")
    table = csv.DictReader(io.StringIO(text))
    return Found(summary, columns=tuple(table.fieldnames or ()), rows=tuple(table))


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

    `options`: `resume=True`, `info=True`, `retrieve_method="get"`, `limit=10`, `hours="19:00-06:00"`, `rate="5MB"`,
    `excluded=["00123"]` (PatientIDs) and the other fields of `pacsifier.transfer.options.Options`.

    Raises:
        InputError: the configuration, a query, the folder or an option is wrong, with every fault.
        TypeError: there is no option of that name.
        AssociationError: there was no association with the PACS.
        ToolError: a DCMTK binary is missing or died.
    """
    path = taken("out", out, PATH)
    return _retrieve(_SAVE, config, queries, path, options, tls=tls, on_progress=on_progress)


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
    path = taken("out", out, PATH)
    return _retrieve(_MOVE, config, queries, path, options, tls=tls, on_progress=on_progress)


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

    path, observer = taken("folder", folder, PATH), _observer(on_progress)
    pacs = _config(config, tls)
    with Toolbox() as toolbox:
        return send(pacs, path, toolbox, observer, Timeouts())


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

    _refuse(choices, "anonymize", _NAMED)
    of_profile, others = _divided(choices, Options, Request)
    out = taken("out_folder", out_folder, PATH)
    request = Request(
        in_folder=taken("in_folder", in_folder, PATH),
        out_folder=out,
        options=Options(**of_profile),
        key=key_path(out, taken("key", key, PATH) if key else None),
        **others,
    )
    if request.options.remove_private and request.options.safe_private:
        raise InputError("safe_private: it cannot be used together with remove_private")
    if request.kept_words and request.options.retain_descriptors:
        raise InputError("kept_words: they cannot be used together with retain_descriptors")
    return deidentify_folder(request, _told(on_progress))


def verify(in_folder: str | os.PathLike[str], out_folder: str | os.PathLike[str], **choices: Any) -> Totals:
    """Reads an output of `anonymize` again in search of what identifies; writes what is missing, nothing else.

    The same choices as the run that wrote it. `hits` of what it returns must be 0. Raises as `anonymize` does, and
    InputError where there is no output.
    """
    _refuse(choices, "verify", ("verify", "resume"))
    out = taken("out_folder", out_folder, PATH)
    if not out.is_dir():
        raise InputError(Fault(str(out), "is no folder: what anonymize wrote there is to be read again"))
    return anonymize(in_folder, out, verify=True, resume=True, **choices)


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

    request = Request(taken("folder", folder, PATH), taken("key", key, PATH) if key else None)
    if workers is not None:
        request = replace(request, workers=taken("workers", workers, POSITIVE))
    return write_report(request, _told(on_progress))


# --- what goes in -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Verb:
    """What a function does, as an option of a run, and the options that it does not take."""

    name: str
    does: str
    refused: tuple[str, ...]


_FIND: Final = _Verb("find", "info", ("save", "info", "move", "resume", "dry_run", "retrieve_method"))
_SAVE: Final = _Verb("save", "save", ("save", "move"))
_MOVE: Final = _Verb("move", "move", ("save", "move", "retrieve_method"))
# What `anonymize` takes by names of its own.
_NAMED: Final = ("in_folder", "out_folder", "key", "options")
_CONFIG: Final = PATH._replace(allowed="the path of a file, or a mapping of its keys, is allowed")


def _retrieve(
    verb: _Verb,
    config: Config,
    queries: Queries,
    out: Path,
    given: Mapping[str, Any],
    *,
    tls: Tls | None,
    on_progress: OnProgress | None,
) -> Summary:
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.transfer.options import Job, Options
    from pacsifier.transfer.retrieve import retrieve

    _refuse(given, verb.name, verb.refused)
    (values,) = _divided({**given, verb.does: True}, Options)
    options = Options(**values)
    if options.move and options.rate and options.rate.in_bytes:
        raise InputError("rate: in bytes it cannot be used with move: only the PACS sees the bytes")
    observer = _observer(on_progress)
    pacs = _config(config, tls)
    with _table(queries) as table, Toolbox() as toolbox:
        return retrieve(Job.of(pacs, table, out, options), observer, toolbox)


def _refuse(given: Mapping[str, Any], function: str, names: Iterable[str]) -> None:
    """Raises InputError where a function was given an option that is not its own to take."""
    faults = [
        f"{name}={shown(given[name])}: {function} takes no such option" for name in names if name in given
    ]
    if faults:
        raise InputError(*faults)


def _divided(given: Mapping[str, Any], *kinds: type[Any]) -> tuple[dict[str, Any], ...]:
    """The options by the class that has them, checked.

    Raises TypeError, as Python does, where none has one, and InputError where a value is not allowed.
    """
    known = set().union(*({each.name for each in fields(kind)} for kind in kinds)) - {*_NAMED}
    if strange := sorted(set(given) - known):
        raise TypeError(f"unknown option: {', '.join(strange)}; known are {', '.join(sorted(known))}")
    return tuple(checked(given, kind) for kind in kinds)


def _given(config: Config) -> Path | Mapping[str, object]:
    path: Path | Mapping[str, object] = (
        config if isinstance(config, Mapping) else taken("config", config, _CONFIG)
    )
    return path


def _config(config: Config, tls: Tls | None) -> PacsConfig:
    from pacsifier.config import load_pacs_config

    given = _given(config)
    if (tls := _absolute(tls)) is not None:
        from pacsifier.dcmtk.certificates import check_files

        check_files(tls)
    return replace(load_pacs_config(given), tls=tls)


def _absolute(tls: Tls | None) -> Tls | None:
    """With every path as the tools need it, which work in another folder than the caller."""
    from pacsifier.config import Tls

    if tls is None:
        return None
    given = taken("tls", tls, made_by(Tls, "pacsifier.config.Tls(...) is allowed"))
    paths = {name: getattr(given, name) for name in ("ca", "cert", "key")}
    absolute: Tls = replace(given, **{name: path and taken(name, path, PATH) for name, path in paths.items()})
    return absolute


@contextmanager
def _table(queries: Queries) -> Iterator[QueryTable]:
    """The checked queries; a run may look at their file until it ends."""
    from pacsifier.query import read_query_file, read_query_rows

    if isinstance(queries, (str, os.PathLike)):
        yield read_query_file(Path(queries).absolute())
        return
    columns, rows = _rows(queries)
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    with tempfile.TemporaryDirectory(prefix="pacsifier-") as folder:
        path = Path(folder) / "query.csv"
        path.write_text(text.getvalue(), encoding="utf-8")
        yield read_query_rows(columns, rows, path)


def _rows(queries: Any) -> tuple[list[str], list[list[str]]]:
    """The columns, and the cells of each row as text; raises InputError with every fault."""
    if hasattr(queries, "itertuples"):
        # Not as mappings: those would lose one of two columns of one name.
        columns, rows = list(map(str, queries.columns)), queries.itertuples(index=False, name=None)
    else:
        mappings = _mappings(queries)
        names = list(dict.fromkeys(column for row in mappings for column in row))
        columns, rows = list(map(str, names)), ([row.get(name) for name in names] for row in mappings)
    faults: list[Fault] = []
    texts = [
        [_as_text(value, number, column, faults) for column, value in zip(columns, row, strict=True)]
        for number, row in enumerate(rows)
    ]
    if not texts:
        faults.append(Fault("queries", "there is no row, and so nothing to ask for"))
    if faults:
        raise InputError(*faults)
    return columns, texts


def _mappings(queries: Any) -> list[dict[Any, Any]]:
    # A row of pandas and a mapping can be iterated over, too.
    if hasattr(queries, "keys") or not isinstance(queries, Iterable):
        problem = "the path of a query file, a list of rows or a table of pandas is allowed"
        raise InputError(Fault("queries", f"{problem}, not one {type(queries).__name__}"))
    rows = list(queries)
    faults = [
        Fault("queries", f"a mapping of columns to text is allowed, not {type(row).__name__}", number)
        for number, row in enumerate(rows)
        if not hasattr(row, "keys")
    ]
    if faults:
        raise InputError(*faults)
    return [dict(row) for row in rows]


def _as_text(value: Any, row: int, column: str, faults: list[Fault]) -> str:
    """A cell as text; what pandas has for nothing is nothing. What is no single value becomes a fault."""
    if not isinstance(value, str) and isinstance(value, Iterable):
        problem = "one text or number is allowed"
    else:
        text = value if isinstance(value, str) else "" if _is_nothing(value) else str(value)
        # Python takes names of files apart into halves of characters, which no file holds.
        if text.isascii() or text == text.encode(errors="ignore").decode():
            return text
        problem = "holds half of a character"
    faults.append(Fault("queries", problem, row, column, shown(value)))
    return ""


def _is_nothing(value: Any) -> bool:
    """Whether it is None, or what pandas has for nothing: NaN and NaT differ from themselves, of NA nobody knows."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124
    except TypeError:
        return True


# --- what comes out -----------------------------------------------------------------------------------------------


def _function(value: Any) -> OnProgress:
    if not callable(value):
        raise TypeError(value)
    function: OnProgress = value
    return function


_CALLBACK: Final = Kind("a function that takes a Progress is allowed", _function, _function)


def _listener(on_progress: OnProgress | None) -> OnProgress:
    listener: OnProgress = (
        (lambda _: None) if on_progress is None else taken("on_progress", on_progress, _CALLBACK)
    )
    return listener


def _told(on_progress: OnProgress | None) -> Callable[..., None]:
    listener = _listener(on_progress)

    def tell(things: str, done: int, total: int, _size: int | None = None) -> None:
        listener(Progress(things, done, total))

    return tell


def _observer(on_progress: OnProgress | None) -> Observer:
    from pacsifier.transfer.options import Observer

    listener = _listener(on_progress)

    class Teller(Observer):
        """Hands on what a run tells; its questions are answered with yes, for a program asked."""

        def __init__(self) -> None:
            self._ahead = Progress("series", 0, None)

        def finding(self, level: str, answered: int, asked: int, found: int) -> None:  # noqa: ARG002
            """A find goes on."""
            listener(Progress(f"{level} level finds", answered, asked))

        def planned(self, series: int, instances: int | None) -> None:  # noqa: ARG002
            """The work ahead is known."""
            self._ahead = replace(self._ahead, total=series)
            listener(self._ahead)

        def progress(self, series_done: int, instances: int, size: int = 0) -> None:  # noqa: ARG002
            """Some of it is done."""
            listener(replace(self._ahead, done=series_done))

    return Teller()
