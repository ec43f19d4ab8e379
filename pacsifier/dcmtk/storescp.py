"""The storage SCP of a run: DCMTK's storescp, which writes what it is sent into a staging folder."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import InputError

LONGEST_LOG = 10_000_000
"""Bytes after which the log is emptied: a PACS may propose 128 contexts, 60 kB, anew for each request."""

_REFUSED = re.compile(rb"\(Abstract Syntax Not Supported\)\n.: *Abstract Syntax: =?([A-Za-z0-9.]+)\n")
# What `_REFUSED` matches is shorter, and so is never cut.
_OVERLAP = 200


def check_port(port: int, source: str) -> None:
    """Raises InputError, naming `source`, when nothing could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            why = {
                errno.EADDRINUSE: "another program on this machine uses it",
                errno.EACCES: "ports below 1024 need more rights",
            }.get(error.errno or 0, str(error))
            raise InputError(f"cannot receive on port {port} ({source}): {why}") from error


def received_folder(staging: Path) -> Path:
    """The folder for received objects; created where it is missing."""
    folder = staging / "received"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Receiver:
    """storescp on `port` of every interface (3.6.7 knows no other), as a context manager.

    Objects are stored bit by bit as they are sent (`+B`), under unique names (`+uf`), so that two studies that share
    a SOP Instance UID do not overwrite each other. storescp takes objects from any caller; what nobody asked for is
    set aside by the caller of this class.
    """

    def __init__(
        self, toolbox: Toolbox, staging: Path, ae_title: str, port: int, sop_classes: Iterable[str]
    ) -> None:
        self.folder = received_folder(staging)
        self.sop_classes = negotiation.receiver_classes(sop_classes)
        self._toolbox = toolbox
        self._staging = staging
        self._ae_title = ae_title
        self._port = port
        self._process: Process | None = None
        self._output: BinaryIO | None = None
        self._rest = b""
        self._refused: dict[str, None] = {}
        self._contacted = False

    def knows(self, sop_classes: Iterable[str]) -> bool:
        """Whether it takes objects of all these SOP classes."""
        return set(sop_classes) <= set(self.sop_classes)

    def start(self) -> Process:
        """Starts storescp where it does not run, and does not wait until it listens."""
        if self._process is not None:
            return self._process
        check_port(self._port, "'move_port'")
        contexts = [(uid, negotiation.EVERY_SYNTAX) for uid in self.sop_classes]
        (self._staging / "receiver.cfg").write_text(negotiation.config_text(contexts), encoding="ascii")
        arguments = [
            *("+v", "--fork", "+B", "+uf", "-pdu", "131072", "-aet", self._ae_title),
            *("-xf", "receiver.cfg", negotiation.NAME, "-od", self.folder.name, str(self._port)),
        ]
        self._process = self._toolbox.start("storescp", arguments, self._staging, "storescp", level="INFO")
        return self._process

    def __enter__(self) -> Receiver:
        process = self.start()
        process.wait_until_it_listens(self._port)
        self._output = process.log_path.open("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends storescp and what it forked."""
        if self._process is not None:
            self._process.end()
        if self._output is not None:
            self._read_log()
            self._output.close()
            self._output = None

    def refused_classes(self) -> tuple[str, ...]:
        """The UIDs of the SOP classes that senders offered and this receiver does not take; no nonsense."""
        self._read_log()
        return tuple(self._refused)

    def contacted(self) -> bool:
        """Whether any sender has ever had an association with us."""
        self._read_log()
        return self._contacted

    def check(self) -> None:
        """Raises ToolError when storescp has died; keeps its log short."""
        if self._process is not None:
            self._process.check()
            self._read_log()

    def _read_log(self) -> None:
        if self._output is None or not (new := self._output.read()):
            return
        text = self._rest + new
        self._rest = text[-_OVERLAP:]
        self._contacted = self._contacted or b"Association Acknowledged" in text
        refused = (negotiation.class_uid(found.decode()) for found in _REFUSED.findall(text))
        self._refused |= dict.fromkeys(filter(None, refused))
        if self._output.tell() > LONGEST_LOG:
            # What is written at this very moment is lost; the next association says it again.
            os.truncate(self._output.name, 0)
            self._output.seek(0)
