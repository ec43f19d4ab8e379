"""`pacsifier --check`: everything that a run needs, tried one by one; what fails makes later probes senseless."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.checkup import finds, moves
from pacsifier.checkup.finds import FindProbes
from pacsifier.checkup.moves import MoveProbes
from pacsifier.checkup.probe import Probe
from pacsifier.config import PacsConfig, load_pacs_config
from pacsifier.dcmtk.held import count_admitted
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import check_port
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.disk.files import free_bytes
from pacsifier.disk.lock import temporary_folder
from pacsifier.errors import AssociationError, Fault, InputError, OperationError, ToolError
from pacsifier.query import Query, read_query_file
from pacsifier.transfer.capabilities import Seen

CONFIG, QUERY, NAME, TCP, ECHO = "config", "query file", "name resolution", "TCP", "association and C-ECHO"
PORT, ASSOCIATIONS, RIGHTS, SPACE = "own port", "associations at a time", "write rights", "free space"

_FINDS = finds.NAMES
_OF_PACS = (NAME, TCP, ECHO, *_FINDS, PORT, *moves.NAMES, ASSOCIATIONS)
NEEDED = ("findscu", "movescu", "storescp")
_WANTED = {
    "echoscu": "only this check needs it, for C-ECHO",
    "storescu": "--upload needs it",
    "getscu": "nothing needs it yet: pacsifier retrieves by C-MOVE",
    "dcmmkdir": "pacsifier-create-dicomdir needs it",
}
TOOLS = ("echoscu", "findscu", "movescu", "storescp", "storescu", "getscu", "dcmmkdir")

_LONGEST_SILENCE_S = 60.0
_LONGEST_ACSE_S = 5.0
_MOST_ASSOCIATIONS = 4


@dataclass(frozen=True)
class Site:
    """What is checked; nothing of it is changed."""

    config_path: Path
    out: Path
    timeouts: Timeouts
    min_free_bytes: int
    queryfile: Path | None = None
    sop_classes: tuple[str, ...] = ()


class Checkup:
    """One check of a site; `consent` is asked before the PACS is let send a few images."""

    def __init__(self, site: Site, toolbox: Toolbox, consent: Callable[[str], bool]) -> None:
        self._site = site
        self._toolbox = toolbox
        self._consent = consent
        silence_s = min(site.timeouts.silence_timeout_s, _LONGEST_SILENCE_S)
        self._timeouts = replace(site.timeouts, silence_timeout_s=silence_s)
        self._query: Query | None = None
        self._missing: set[str] = set()
        # Why the PACS cannot be asked; "" while it can.
        self._barrier = ""
        self._own_address = ""
        self._port_is_free = False
        self.config: PacsConfig | None = None
        self.seen = Seen()
        """What the PACS can do, as far as it was found out until now."""

    def run(self) -> Generator[Probe, None, None]:
        """Tries one thing after the other and yields what came of it.

        Raises:
            InputError: there is no place for temporary files.
        """
        yield from self._read_inputs()
        yield from map(self._try_tool, TOOLS)
        if self.config is None:
            yield from _skipped(_OF_PACS, "the config is faulty")
        else:
            with temporary_folder() as staging:
                yield from self._ask(Pacs(self.config, self._toolbox, staging, self._timeouts), staging)
        yield from self._try_folder()

    def _ask(self, pacs: Pacs, staging: Path) -> Iterator[Probe]:
        """Everything between here and the PACS."""
        yield from self._try_name(pacs.config)
        yield from self._unless(self._barrier, (TCP,), lambda: self._try_tcp(pacs.config))
        yield from self._unless(self._lack("echoscu"), (ECHO,), lambda: self._try_echo(pacs))
        kind = AssociationError if "echoscu" in self._missing else OperationError
        finds = FindProbes(pacs, self._query, kind)
        yield from self._unless(self._lack("findscu"), _FINDS, finds.run)
        self.seen = replace(self.seen, relational=finds.relational, returned_keys=finds.returned_keys)
        yield self._try_port(pacs.config.move_port)
        barrier = self._no_move(finds)
        yield from self._unless(barrier, moves.NAMES, lambda: self._try_moves(pacs, finds, staging))
        barrier = self._lack("findscu") or ("" if finds.study else "no study was found")
        yield from self._unless(
            barrier, (ASSOCIATIONS,), lambda: self._try_associations(pacs, finds.study or {}, staging)
        )

    def _unless(
        self, barrier: str, names: Iterable[str], probes: Callable[[], Iterable[Probe]]
    ) -> Iterator[Probe]:
        """The probes, or the names as skipped where something stands in the way."""
        yield from _skipped(names, barrier) if barrier else probes()

    def _lack(self, *tools: str) -> str:
        missing = [tool for tool in tools if tool in self._missing]
        return self._barrier or (f"{missing[0]} cannot be used" if missing else "")

    # -- this side

    def _read_inputs(self) -> Iterator[Probe]:
        path = self._site.config_path
        try:
            config = self.config = load_pacs_config(path)
        except InputError as error:
            yield Probe.failed(
                CONFIG, str(error), f"mend {path}; README.md shows every key of it", InputError
            )
        else:
            there = f"{config.server_aet} at {config.server_address}:{config.port}"
            yield Probe.ok(CONFIG, f"{there}; here {config.aet}, port {config.move_port}")
        if self._site.queryfile is not None:
            yield self._read_query(self._site.queryfile)

    def _read_query(self, path: Path) -> Probe:
        try:
            queries = read_query_file(path).queries
        except InputError as error:
            # The cells may name patients.
            faults = (replace(each, value=None) if isinstance(each, Fault) else each for each in error.faults)
            return Probe.failed(QUERY, "\n".join(map(str, faults)), "mend these cells", InputError)
        self._query = queries[0]
        return Probe.ok(QUERY, f"{len(queries)} different queries; the first one is used here")

    def _try_tool(self, name: str) -> Probe:
        shown = f"DCMTK {name}"
        try:
            binary = self._toolbox.binary(name)
        except ToolError as error:
            self._missing.add(name)
            seen, _, remedy = str(error).partition("; ")
            if name in NEEDED:
                return Probe.failed(shown, seen, remedy or "install a later DCMTK", ToolError)
            return Probe.warning(shown, seen, f"{_WANTED[name]}; {remedy}")
        return Probe.ok(shown, f"{binary.path}, version {binary.version}")

    def _try_port(self, port: int) -> Probe:
        try:
            check_port(port, "'move_port'")
        except InputError as error:
            return Probe.failed(
                PORT,
                str(error),
                "end that program (a --save that runs listens there), or take another move_port and have it "
                "declared on the PACS",
            )
        self._port_is_free = True
        return Probe.ok(PORT, f"{port} is free")

    def _try_folder(self) -> Iterator[Probe]:
        out = self._site.out
        place = next(each for each in (out.absolute(), *out.absolute().parents) if _is_there(each))
        where = "it" if place == out.absolute() else f"its parent {place}, since it is still to be made,"
        try:
            # An unnamed file: nobody sees it, and it tells more than permission bits do.
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"\0")
        except OSError as error:
            yield Probe.failed(
                RIGHTS,
                f"{where} cannot be written to: {error.strerror}"
                if place.is_dir()
                else f"{place} is no folder",
                "name another --out_directory, or have this one opened to you",
            )
        else:
            yield Probe.ok(RIGHTS, f"{out}: {where} can be written to")
        free, least = free_bytes(place), self._site.min_free_bytes
        if free < least:
            yield Probe.failed(
                SPACE,
                f"{_megabytes(free)} are free, and a run stops below {_megabytes(least)} (--min_free)",
                "make room, or name another --out_directory",
            )
        else:
            yield Probe.ok(SPACE, f"{_megabytes(free)} are free")

    # -- the way to the PACS

    def _try_name(self, config: PacsConfig) -> Iterator[Probe]:
        host = config.server_address
        try:
            found = socket.getaddrinfo(host, config.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._barrier = f"{host} has no address"
            said = getattr(error, "strerror", None) or error
            yield Probe.failed(
                NAME,
                f"{host}: {said}",
                "check the spelling of server_address, or name the PACS by its IP address",
                AssociationError,
            )
            return
        addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
        if any(each[0] == socket.AF_INET for each in found):
            yield Probe.ok(NAME, f"{host} is {addresses}")
        else:
            yield Probe.warning(
                NAME,
                f"{host} has IPv6 addresses only ({addresses})",
                "DCMTK 3.6.7 knows IPv4 only: should the association fail, give the PACS an IPv4 address",
            )

    def _try_tcp(self, config: PacsConfig) -> Iterator[Probe]:
        address = config.server_address, config.port
        try:
            with socket.create_connection(address, self._timeouts.tcp_timeout_s) as connection:
                self._own_address = connection.getsockname()[0]
        except OSError as error:
            self._barrier = "there is no TCP connection"
            if isinstance(error, ConnectionRefusedError):
                seen, remedy = "refused: nothing listens there", "check port, and that the PACS runs"
            else:
                seen = error.strerror or f"no answer for {self._timeouts.tcp_timeout_s:g} s"
                remedy = "check server_address; else ask who keeps the firewall to let this machine through"
            yield Probe.failed(TCP, f"port {config.port}: {seen}", remedy, AssociationError)
        else:
            yield Probe.ok(TCP, f"port {config.port} is open, seen from {self._own_address}")

    def _try_echo(self, pacs: Pacs) -> Iterator[Probe]:
        config = pacs.config
        try:
            pacs.echo()
        except AssociationError as error:
            self._barrier = "there is no association"
            yield Probe.unassociated(ECHO, error, AssociationError)
        except OperationError as error:
            yield Probe.warning(ECHO, str(error), "nothing to do, should C-FIND and C-MOVE work")
        else:
            yield Probe.ok(ECHO, f"{config.server_aet} takes {config.aet}")

    # -- with what was found

    def _no_move(self, finds: FindProbes) -> str:
        """Why no C-MOVE can be tried; "" where it can."""
        if barrier := self._lack("movescu", "storescp"):
            return barrier
        if not finds.samples:
            return "no series was found to move"
        if not self._port_is_free:
            return "the own port is taken"
        question = (
            f"May the PACS send {moves.planned(finds.samples)} images to this machine, where they are "
            "deleted at once? Otherwise C-MOVE is not tried"
        )
        return "" if self._consent(question) else "images are sent with consent only: give --yes"

    def _try_moves(self, pacs: Pacs, finds: FindProbes, staging: Path) -> Iterator[Probe]:
        moves = MoveProbes(pacs, self._toolbox, staging, self._timeouts, own_address=self._own_address)
        yield from moves.run(finds.samples, (*self._site.sop_classes, *finds.sop_classes))
        self.seen = replace(self.seen, uid_lists=moves.uid_lists, image_moves=moves.image_moves)

    def _try_associations(self, pacs: Pacs, study: Keys, staging: Path) -> Iterator[Probe]:
        timeouts = replace(self._timeouts, acse_timeout_s=min(self._timeouts.acse_timeout_s, _LONGEST_ACSE_S))
        admitted = count_admitted(
            pacs.config, self._toolbox, staging, timeouts, study, most=_MOST_ASSOCIATIONS
        )
        if admitted is None:
            yield Probe.warning(
                ASSOCIATIONS, "not known", "nothing to do: runs find it out, beginning with one"
            )
        elif admitted == _MOST_ASSOCIATIONS:
            yield Probe.ok(ASSOCIATIONS, f"{admitted} or more; runs use 2 (--associations)")
        else:
            self.seen = replace(self.seen, associations=admitted)
            yield Probe.ok(ASSOCIATIONS, f"{admitted}, no more; runs begin with one and go no further")


def _skipped(names: Iterable[str], why: str) -> Iterator[Probe]:
    for name in names:
        yield Probe.skipped(name, why)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _megabytes(size: int) -> str:
    return f"{size // 1_000_000} MB"
