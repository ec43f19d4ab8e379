"""`pacsifier --check`: everything that a run needs, tried one by one; what fails makes later probes senseless.

`check` is the route. Each probe takes values and returns its `Probe` with what was seen; what a later probe needs of
an earlier one is handed on: `Way` (how far the PACS can be reached), `Found` (C-FIND), `Moved` (C-MOVE).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.checkup import finds, flaws, gets, moves, securing
from pacsifier.checkup.finds import Found, Sample
from pacsifier.checkup.gets import Got
from pacsifier.checkup.moves import Moved
from pacsifier.checkup.probe import Outcome, Probe, skipped
from pacsifier.checkup.reaching import Access, Way, reach, steps
from pacsifier.checkup.recommending import Untried, recommended
from pacsifier.config import PacsConfig, Tls, load_pacs_config
from pacsifier.dcmtk.held import count_admitted
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import Receiver, barred
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.tls import receiver_faults
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.disk.files import free_bytes
from pacsifier.disk.lock import temporary_folder
from pacsifier.errors import AssociationError, Fault, InputError, OperationError, ToolError
from pacsifier.figures import counted
from pacsifier.query import Query, read_query_file
from pacsifier.transfer.capabilities import Seen

CONFIG, QUERY = "config", "query file"
PORT, ASSOCIATIONS, RIGHTS, SPACE = "own port", "associations at a time", "write rights", "free space"

_OF_PACS = (*finds.NAMES, PORT, *moves.NAMES, gets.NAME, ASSOCIATIONS)
NEEDED = ("findscu", "movescu", "storescp")
_WANTED = {
    "echoscu": "only this check needs it, for C-ECHO",
    "storescu": "--upload needs it",
    "getscu": gets.NEEDS,
    "dcmmkdir": "pacsifier-create-dicomdir needs it",
}
TOOLS = ("echoscu", "findscu", "movescu", "storescp", "storescu", "getscu", "dcmmkdir")

_DECLARE = "another move_port must be declared on the PACS"
_LONGEST_SILENCE_S = 60.0
_LONGEST_ACSE_S = 5.0
_MOST_ASSOCIATIONS = 4


@dataclass(frozen=True)
class Site:
    """What is checked; nothing of it is changed."""

    config: Path | Mapping[str, object]
    out: Path
    timeouts: Timeouts
    min_free_bytes: int
    queryfile: Path | None = None
    sop_classes: tuple[str, ...] = ()
    extra_columns: bool = False
    tls: Tls | None = None


@dataclass(frozen=True)
class Checked:
    """What a check has found out of a PACS; `config` None: it is faulty, so that no PACS was asked.

    `reason`: why this way of retrieving is recommended (`seen.retrieve_method`), or none.
    """

    config: PacsConfig | None
    seen: Seen
    reason: str = ""


def check(site: Site, toolbox: Toolbox, consent: Callable[[str], bool]) -> Generator[Probe, None, Checked]:
    """Tries one thing after the other and yields what came of it; returns what it has found out of the PACS.

    `consent` is asked before the PACS is let send a few images.

    Raises:
        InputError: there is no place for temporary files.
    """
    probe, config = read_config(site.config)
    yield probe
    if site.tls is not None:
        probe = securing.try_files(site.tls)
        yield probe
        config = replace(config, tls=site.tls) if config and probe.outcome is not Outcome.FAILED else None
    query = None
    if site.queryfile is not None:
        probe, query = read_query(site.queryfile, extra_columns=site.extra_columns)
        yield probe
    missing = yield from try_tools(toolbox)
    yield flaws.try_flaws(toolbox.binary(name) for name in TOOLS if name not in missing)
    seen, reason = (
        Seen(),
        "the config is faulty" if site.tls is None else "the config or a TLS file is faulty",
    )
    if config is None:
        yield from skipped([*steps(site.tls), *_OF_PACS], reason)
    else:
        silence_s = min(site.timeouts.silence_timeout_s, _LONGEST_SILENCE_S)
        timeouts = replace(site.timeouts, silence_timeout_s=silence_s)
        with temporary_folder() as staging:
            access = Access(Pacs(config, toolbox, staging, timeouts), toolbox, staging, timeouts)
            seen, reason = yield from _ask_pacs(access, query, missing, site.sop_classes, consent)
    yield try_rights(site.out)
    yield try_space(site.out, site.min_free_bytes)
    return Checked(config, seen, reason)


def _ask_pacs(
    access: Access,
    query: Query | None,
    missing: frozenset[str],
    sop_classes: Sequence[str],
    consent: Callable[[str], bool],
) -> Generator[Probe, None, tuple[Seen, str]]:
    """Everything between here and the PACS, in the order in which one thing needs the other."""
    way = yield from reach(access, missing)
    found = yield from _find(access, way, query)
    port = try_port(access.pacs.config.move_port)
    yield port
    no_move, no_get = _barriers(
        way, found.samples, port, consent, receiver_faults(access.pacs.config.receiver_tls)
    )
    moved, got = Moved(), Got()
    if no_move:
        yield from skipped(moves.NAMES, no_move)
    else:
        moved = yield from _move(access, way, found, sop_classes)
    probe, got = _get(access, way, found.samples, no_get)
    yield probe
    associations = yield from _count_associations(access, way, found.study)
    method, reason = recommended(
        moved.came,
        got,
        Untried(no_move or "", way.barrier_for("movescu", "storescp") is None),
        Untried(no_get or "", way.barrier_for("getscu") is None),
    )
    seen = Seen(
        uid_lists=moved.uid_lists,
        image_moves=moved.image_moves,
        associations=associations,
        relational=found.relational,
        c_get=got.came,
        retrieve_method=method,
        returned_keys=found.returned_keys,
    )
    return seen, reason


# --- this side


def read_config(given: Path | Mapping[str, object]) -> tuple[Probe, PacsConfig | None]:
    """Reads the config; None where it is faulty."""
    try:
        config = load_pacs_config(given)
    except InputError as error:
        remedy = f"fix {given if isinstance(given, Path) else 'the mapping'}; README.md shows every key of it"
        return Probe.failed(CONFIG, str(error), remedy, InputError), None
    there = f"{config.server_aet} at {config.server_address}:{config.port}"
    return Probe.ok(CONFIG, f"{there}; here {config.aet}, port {config.move_port}"), config


def read_query(path: Path, *, extra_columns: bool = False) -> tuple[Probe, Query | None]:
    """Reads a query file for its first row; None where it is faulty."""
    try:
        queries = read_query_file(path, extra_columns=extra_columns).queries
    except InputError as error:
        # The cells may name patients.
        faults = (replace(each, value=None) if isinstance(each, Fault) else each for each in error.faults)
        return Probe.failed(QUERY, "\n".join(map(str, faults)), "fix these cells", InputError), None
    return Probe.ok(QUERY, f"{len(queries)} different queries; the first one is used here"), queries[0]


def try_tools(toolbox: Toolbox) -> Generator[Probe, None, frozenset[str]]:
    """Asks each of DCMTK's tools for its version; returns those that cannot be used."""
    missing = set()
    for name in TOOLS:
        probe = try_tool(toolbox, name)
        yield probe
        if probe.outcome is not Outcome.OK:
            missing.add(name)
    return frozenset(missing)


def try_tool(toolbox: Toolbox, name: str) -> Probe:
    """Asks one tool; what no run needs is only warned of."""
    title = f"DCMTK {name}"
    try:
        binary = toolbox.binary(name)
    except ToolError as error:
        if name in NEEDED:
            return Probe.failed(title, error.said, error.remedy or "install a later DCMTK", ToolError)
        return Probe.warning(title, error.said, f"{_WANTED[name]}; {error.remedy}")
    return Probe.ok(title, f"{binary.path}, version {binary.version}")


def try_port(port: int) -> Probe:
    """Looks whether a receiver could listen on the port, and who does."""
    if why := barred(port):
        return Probe.failed(
            PORT, f"cannot receive on port {port} ('move_port'): {why.said}", f"{why.remedy}; {_DECLARE}"
        )
    return Probe.ok(PORT, f"{port} is free")


def try_rights(out: Path) -> Probe:
    """Looks whether the output folder can be written to, or made."""
    nearest = _nearest_folder(out)
    where = f"{out}" if nearest == out.absolute() else f"{out} is still to be made; {nearest}"
    try:
        # An unnamed file: nobody sees it, and it tells more than permission bits do.
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"\0")
    except OSError as error:
        return Probe.failed(
            RIGHTS,
            f"{where} cannot be written to: {error.strerror}"
            if nearest.is_dir()
            else f"{nearest} is no folder",
            "name another --out_directory, or have this one opened to you",
        )
    return Probe.ok(RIGHTS, f"{where} can be written to")


def try_space(out: Path, least: int) -> Probe:
    """Looks whether at least so many bytes are free where the output folder is or will be."""
    free = free_bytes(_nearest_folder(out))
    if free < least:
        return Probe.failed(
            SPACE,
            f"{_megabytes(free)} are free, and a run stops below {_megabytes(least)} (--min_free)",
            "make room, or name another --out_directory",
        )
    return Probe.ok(SPACE, f"{_megabytes(free)} are free")


# --- what the PACS can do


def _find(access: Access, way: Way, query: Query | None) -> Generator[Probe, None, Found]:
    if barrier := way.barrier_for("findscu"):
        yield from skipped(finds.NAMES, barrier)
        return Found()
    # Without a C-ECHO before it, the first find is what shows that there is no association.
    kind = AssociationError if "echoscu" in way.missing else OperationError
    return (yield from finds.probe_finds(access.pacs, query, kind))


def _barriers(
    way: Way,
    samples: Sequence[Sample],
    port: Probe,
    consent: Callable[[str], bool],
    lacking: Sequence[Fault | str] = (),
) -> tuple[str | None, str | None]:
    """Why no image can be fetched by C-MOVE, and why none by C-GET; None where it can.

    A person is asked once, and only where nothing else is in the way.
    """
    taken = None if port.outcome is Outcome.OK else "the own port cannot be used"
    nothing = None if samples else "no series was found to fetch"
    unsafe = str(lacking[0]) if lacking else None
    no_move = way.barrier_for("movescu", "storescp") or nothing or taken or unsafe
    no_get = way.barrier_for("getscu") or nothing
    if no_move and no_get:
        return no_move, no_get
    number = (0 if no_move else moves.planned(samples)) + (0 if no_get else gets.planned(samples))
    question = (
        f"May the PACS send {counted(number, 'image')} to this machine, where they are deleted at once? Otherwise "
        "C-MOVE and C-GET are not tried"
    )
    refused = None if consent(question) else "images are sent with consent only: give --yes"
    return no_move or refused, no_get or refused


def _get(access: Access, way: Way, samples: Sequence[Sample], barrier: str | None) -> tuple[Probe, Got]:
    """Fetches an image by C-GET, or else looks whether the PACS offers it."""
    if barrier is None:
        return gets.probe_get(access.pacs, access.staging / "got", access.timeouts, samples)
    if missing := way.barrier_for("getscu", "storescu"):
        return Probe.skipped(gets.NAME, missing), Got()
    return gets.probe_offer(access.pacs)


def _move(
    access: Access, way: Way, found: Found, sop_classes: Sequence[str]
) -> Generator[Probe, None, Moved]:
    config = access.pacs.config
    classes = (*sop_classes, *found.sop_classes)
    receiver = Receiver(
        *(access.toolbox, access.staging, config.aet, config.move_port, classes), tls=config.receiver_tls
    )
    return (
        yield from moves.probe_moves(access.pacs, receiver, access.timeouts, found.samples, way.own_address)
    )


def _count_associations(access: Access, way: Way, study: Keys | None) -> Generator[Probe, None, int | None]:
    """Tries how many associations at a time the PACS admits; returns that number where it is a limit for runs."""
    barrier = way.barrier_for("findscu")
    if barrier or study is None:
        yield Probe.skipped(ASSOCIATIONS, barrier or "no study was found")
        return None
    acse_s = min(access.timeouts.acse_timeout_s, _LONGEST_ACSE_S)
    timeouts = replace(access.timeouts, acse_timeout_s=acse_s)
    admitted = count_admitted(
        access.pacs.config, access.toolbox, access.staging, timeouts, study, most=_MOST_ASSOCIATIONS
    )
    yield judge_associations(admitted)
    return None if admitted == _MOST_ASSOCIATIONS else admitted


def judge_associations(admitted: int | None) -> Probe:
    """What a number of associations at a time means for runs; None: nothing can be said."""
    if admitted is None:
        return Probe.warning(ASSOCIATIONS, "not known", "nothing to do: runs find it out, beginning with one")
    if admitted == _MOST_ASSOCIATIONS:
        return Probe.ok(ASSOCIATIONS, f"{admitted} or more; runs use 2 (--associations)")
    return Probe.ok(ASSOCIATIONS, f"{admitted}, no more; runs begin with one and go no further")


def _nearest_folder(out: Path) -> Path:
    """The output folder, or what is there of its parents."""
    return next(each for each in (out.absolute(), *out.absolute().parents) if _is_there(each))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _megabytes(size: int) -> str:
    return f"{size // 1_000_000} MB"
