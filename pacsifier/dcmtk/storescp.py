"""The storage SCP of a run: DCMTK's storescp, which writes what it is sent into a staging folder."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pacsifier.config import Tls
from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.listeners import holder_of
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.tls import TRUSTED_NAME, receiver_arguments, trusted_certificates
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import InputError, ToolError

log = logging.getLogger(__name__)

MOST_DEATHS = 3
"""So often a receiver that died is started again; what kills it oftener will not stop."""

_GONE_S = 5.0  # within which what a dead receiver has forked is gone
_RELEASED_S = 0.5
_POLL_S = 0.01

LONGEST_LOG = 10_000_000
"""Bytes after which the log is emptied: a PACS may propose 128 contexts, 60 kB, anew for each request."""

# What a sender proposes is logged before it is answered, and so can be read once the sender has acted on the answer.
_REQUEST = re.compile(rb"BEGIN A-ASSOCIATE-RQ(.*?)END A-ASSOCIATE-RQ", re.DOTALL)
_PROPOSED = re.compile(
    rb"\(Proposed\)\n.: +Abstract Syntax: =?(\S+)\n.: +Proposed SCP/SCU Role: .*\n"
    rb".: +Proposed Transfer Syntax\(es\):\n((?:.: {7}\S+\n)+)"
)
# Who only looks whether it listens hangs up at once, as we do.
_TLS_FAULT = re.compile(rb"TLS error: (?!unexpected eof|\(unknown)([^\n]+)")
# A request is shorter, and so is never cut.
_OVERLAP = 1_000_000


@dataclass(frozen=True)
class Refusal:
    """A SOP class that a sender proposed and this receiver does not take, or does not take in these `syntaxes`.

    `syntaxes` is empty where the class itself is refused; `whole`: the sender can send nothing of that class;
    `at`: when it was read (monotonic clock).
    """

    sop_class: str
    syntaxes: tuple[str, ...]
    whole: bool
    at: float


@dataclass(frozen=True)
class Barred:
    """Why nothing could listen on a port, and what to do about it."""

    said: str
    remedy: str


def barred(port: int) -> Barred | None:
    """What keeps a receiver from listening on the port; None: nothing does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return _barred(port, error)
    return None


def _barred(port: int, error: OSError) -> Barred:
    other = "use another port"
    if error.errno == errno.EADDRINUSE:
        if holder := holder_of(port):
            return Barred(holder.said, holder.remedy)
        return Barred("another program on this machine uses it", f"end that program, or {other}")
    if error.errno == errno.EACCES:
        return Barred("ports below 1024 need more rights", other)
    return Barred(str(error), other)


def check_port(port: int, source: str) -> None:
    """Raises InputError, naming `source` and who holds the port, when nothing could listen on it."""
    if why := barred(port):
        raise InputError(f"cannot receive on port {port} ({source}): {why.said}; {why.remedy}")


def received_folder(staging: Path) -> Path:
    """The folder for received objects; created where it is missing."""
    folder = staging / "received"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Receiver:
    """storescp on `port` of every interface (3.6.7 knows no other), as a context manager.

    Objects are stored bit by bit as they are sent (`+B`), under unique names (`+uf`), so that two studies that share
    a SOP Instance UID do not overwrite each other. storescp takes objects from any caller; what nobody asked for is
    set aside by the caller of this class. With `tls` it takes associations only by TLS, of whoever shows a certificate
    of a trusted authority; of which machine, DCMTK does not check.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        staging: Path,
        ae_title: str,
        port: int,
        sop_classes: Iterable[str],
        *,
        tls: Tls | None = None,
    ) -> None:
        self.folder = received_folder(staging)
        self.sop_classes = negotiation.receiver_classes(sop_classes)
        self._toolbox = toolbox
        self._staging = staging
        self._ae_title = ae_title
        self._port = port
        self._tls = tls
        self._process: Process | None = None
        self._output: BinaryIO | None = None
        self.version = toolbox.binary("storescp").version
        self._syntaxes = negotiation.received_syntaxes(self.version)
        self._rest = b""
        self._refusals: dict[tuple[str, tuple[str, ...], bool], Refusal] = {}
        self._contacted = False
        self._deaths = 0
        self._tls_fault = ""

    def knows(self, sop_classes: Iterable[str]) -> bool:
        """Whether it takes objects of all these SOP classes."""
        return set(sop_classes) <= set(self.sop_classes)

    def start(self) -> None:
        """Starts storescp where it does not run, and does not wait until it listens."""
        if self._process is None:
            self._check_port()
            self._start()

    def __enter__(self) -> Receiver:
        self.start()
        self._await()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends storescp and what it forked."""
        if self._process is not None:
            self._process.end()
            # What it forked was killed, and holds the port for a moment longer.
            with contextlib.suppress(InputError):
                self._await_port(_RELEASED_S)
        self._close_log()

    def refusals(self, since: float = 0.0) -> list[Refusal]:
        """What senders proposed since then (monotonic clock) and this receiver does not take; no nonsense."""
        self._read_log()
        return [each for each in self._refusals.values() if each.at >= since]

    def refused_classes(self) -> tuple[str, ...]:
        """The UIDs of the SOP classes that senders proposed and this receiver does not take."""
        return tuple(dict.fromkeys(each.sop_class for each in self.refusals() if not each.syntaxes))

    def contacted(self) -> bool:
        """Whether any sender has ever asked for an association with us."""
        self._read_log()
        return self._contacted

    def tls_fault(self) -> str:
        """What the TLS of the last caller failed of, in storescp's words; "" where none did."""
        self._read_log()
        return self._tls_fault

    def check(self) -> None:
        """Starts storescp again where it has died, and keeps its log short.

        What it was being sent is lost; who asked for it finds it missing.

        Raises:
            ToolError: it died too often.
            InputError: another program has the port now.
        """
        if self._process is None:
            return
        try:
            self._process.check()
        except ToolError as error:
            self._close_log()
            self._start_again(error)
            self._await()
        self._read_log()

    def _start(self) -> None:
        contexts = [(uid, self._syntaxes) for uid in self.sop_classes]
        (self._staging / "receiver.cfg").write_text(negotiation.config_text(contexts), encoding="ascii")
        if self._tls is not None and self._tls.ca is not None:
            trusted = trusted_certificates(self._tls.ca)
            (self._staging / TRUSTED_NAME).write_text(trusted, encoding="utf-8")
        arguments = [
            *("+v", "--fork", "+B", "+uf", "-pdu", "131072", "-aet", self._ae_title),
            *receiver_arguments(self._tls),
            *("-xf", "receiver.cfg", negotiation.NAME, "-od", self.folder.name, str(self._port)),
        ]
        # Each has a log of its own: it may say why it died.
        tag = f"storescp{self._deaths or ''}"
        self._process = self._toolbox.start("storescp", arguments, self._staging, tag, level="INFO")

    def _await(self) -> None:
        """Waits until it listens; also where it died since it was started."""
        while self._output is None and self._process is not None:
            try:
                self._process.wait_until_it_listens(self._port)
                self._output = self._process.log_path.open("rb")
            except ToolError as error:
                # Another run may have been faster than ours; what ours forked holds the port for a moment longer.
                self._await_port(_RELEASED_S)
                self._start_again(error)

    def _start_again(self, error: ToolError) -> None:
        if error.exit_status is None or self._deaths == MOST_DEATHS:
            raise error
        self._deaths += 1
        how = f"signal {-error.exit_status}" if error.exit_status < 0 else f"exit status {error.exit_status}"
        log.warning("the receiver (storescp) has died (%s); it is started again", how)
        self._await_port(_GONE_S)
        self._start()

    def _await_port(self, patience_s: float) -> None:
        """Waits until the port is free; raises InputError where it is still held after so long."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self._check_port()
            except InputError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _check_port(self) -> None:
        check_port(self._port, "'move_port'")

    def _close_log(self) -> None:
        if self._output is not None:
            self._read_log()
            self._output.close()
            self._output = None
            self._rest = b""

    def _read_log(self) -> None:
        if self._output is None or not (new := self._output.read()):
            return
        text = self._rest + new
        last = 0
        for fault in _TLS_FAULT.findall(text):
            self._tls_fault = fault.decode("utf-8", "replace").strip()
        for request in _REQUEST.finditer(text):
            last = request.end()
            self._judge(request[1])
        self._rest = text[max(last, len(text) - _OVERLAP) :]
        if self._output.tell() > LONGEST_LOG:
            # What is written at this very moment is lost; the next association says it again.
            os.truncate(self._output.name, 0)
            self._output.seek(0)

    def _judge(self, request: bytes) -> None:
        """Notes what of the proposals of an association request is not taken here."""
        refused: dict[str, dict[str, None]] = defaultdict(dict)
        taken = set()
        for said, lines in _PROPOSED.findall(request):
            # A connection without a request, such as our own look whether it listens, is logged as an empty one.
            self._contacted = True
            sop_class = negotiation.class_uid(said.decode("ascii", "replace"))
            syntaxes = [line[2:].strip(b" =").decode("ascii", "replace") for line in lines.splitlines()]
            uids = [negotiation.syntax_uid(each) for each in syntaxes]
            if sop_class not in self.sop_classes:
                refused[sop_class] = {}
            elif set(uids).isdisjoint(self._syntaxes):
                refused[sop_class] |= dict.fromkeys(uids)
            else:
                taken.add(sop_class)
        # Not a storage class that is known here: C-ECHO for example.
        refused.pop("", None)
        now = time.monotonic()
        for sop_class, each in refused.items():
            refusal = Refusal(sop_class, tuple(each), sop_class not in taken, now)
            self._refusals[refusal.sop_class, refusal.syntaxes, refusal.whole] = refusal
