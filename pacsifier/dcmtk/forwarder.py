"""`Door`: one port of 127.0.0.1 through which one process that we started reaches the PACS by TLS, and nobody else.

A thread a process: it admits one connection, dials the PACS, and carries bytes until one side ends.

    waiting --(the process connects)--> dialling --(verified)--> carrying --(either side ends)--> over
       |                                    |
       +--(the process has ended)--> over   +--(no connection, no TLS, not verified)--> over, with the reason

Any user of this machine can connect to a port of 127.0.0.1, and would ask the PACS in our name: so a connection is
admitted only where the kernel says (/proc) that its other end is a socket of that process and of our own user.
A reason is noted before anything is closed: who sees the process end can read it. In threads of ours and not in a
process: when the run is killed nothing is left that holds the key.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

from pacsifier.dcmtk.dialing import Dialer
from pacsifier.dcmtk.listeners import connected_by
from pacsifier.errors import AssociationError

log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 18
_BACKLOG = 8
_WOULD_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Door:
    """A way to the PACS for one process; `answer_s`: within it the PACS must begin to answer what is sent first."""

    host = "127.0.0.1"

    def __init__(
        self, dialer: Dialer, answer_s: float, owns: Callable[[int, int, int], bool] = connected_by
    ) -> None:
        self._dialer = dialer
        self._answer_s = answer_s
        self._owns = owns
        self._process: int | None = None
        self._error: AssociationError | None = None
        self._decided = threading.Event()
        self._closed = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((self.host, 0), backlog=_BACKLOG)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name=f"TLS of port {self.port}", daemon=True)
        self._thread.start()

    def failure(self) -> AssociationError | None:
        """Why the process did not reach the PACS; None: nothing is known here."""
        return self._error

    @property
    def over(self) -> bool:
        """Whether nothing goes through it any more."""
        return not self._thread.is_alive()

    def admit(self, process: int) -> None:
        """Lets the process in that was started for it."""
        self._process = process
        self._decided.set()

    def shut(self) -> None:
        """Lets nobody in any more; who is in stays."""
        self._closed = True
        self._decided.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def end(self, grace_s: float) -> None:
        """Lets nobody in, and ends who is in after so long."""
        self.shut()
        self._thread.join(grace_s)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                # Of an SSLSocket too: no goodbye of TLS is waited for.
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        self._thread.join(grace_s)

    def _serve(self) -> None:
        with self._listener:
            local = self._admitted()
        if local is None:
            return
        with local:
            self._sockets.append(local)
            try:
                remote = self._dialer.dial()
            except AssociationError as error:
                self._error = error
                return
            with remote, contextlib.suppress(OSError):
                self._sockets.append(remote)
                self._error = carry(local, remote, self._dialer, self._answer_s)
                # A goodbye of TLS; the answer to it is not waited for.
                remote.unwrap()

    def _admitted(self) -> socket.socket | None:
        """The connection of the process; None: there will be none."""
        self._decided.wait()
        while self._process is not None and not self._closed:
            try:
                local, address = self._listener.accept()
            except OSError:
                return None
            if self._owns(int(address[1]), self.port, self._process):
                return local
            log.warning(
                "a connection to the PACS that this run did not open was refused (port %d)", self.port
            )
            local.close()
        return None


def carry(
    local: socket.socket, remote: ssl.SSLSocket, dialer: Dialer, answer_s: float
) -> AssociationError | None:
    """Carries bytes both ways until one side ends; why the PACS never answered, where it says so or is silent."""
    for each in (local, remote):
        each.setblocking(False)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    up, down = _Flow(local, remote), _Flow(remote, local)
    deadline = time.monotonic() + answer_s
    while not (up.over or down.over):
        waits: dict[socket.socket, int] = {}
        moved = False
        for flow in (up, down):
            try:
                moved = flow.step(waits) or moved
            except ssl.SSLError as error:
                return None if down.bytes else dialer.refusal(error)
        if not moved:
            patience_s = None if down.bytes else max(0.0, deadline - time.monotonic())
            if not _wait(waits, patience_s):
                return dialer.silence(answer_s)
    hung_up = (down.over or up.lost) and not down.bytes
    return dialer.refusal(None) if hung_up else None


class _Flow:
    """What goes one way: `bytes` that came in so far.

    `over`: its source has ended, and all of it was handed on, or cannot be any more (`lost`).
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source = source
        self._sink = sink
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._rest = self._piece[:0]
        self._ended = False
        self.bytes = 0
        self.lost = False

    @property
    def over(self) -> bool:
        return self.lost or (self._ended and not self._rest)

    def step(self, waits: dict[socket.socket, int]) -> bool:
        """Takes and hands on what can be without waiting; whether anything was, else `waits` says for what to wait."""
        before = self.bytes, len(self._rest), self._ended
        if not self._rest and not self._ended:
            self._take(waits)
        if self._rest:
            self._hand_on(waits)
        return self.lost or before != (self.bytes, len(self._rest), self._ended)

    def _take(self, waits: dict[socket.socket, int]) -> None:
        """Fills a piece, as far as there is something: TLS hands out 16 kB at a time."""
        size = 0
        try:
            while size < len(self._piece) and not self._ended:
                number = self._source.recv_into(self._piece[size:])
                self._ended = not number
                size += number
        except _WOULD_WAIT as error:
            if not size:
                _note(self._source, select.POLLIN, error, waits)
        except ConnectionError:
            self._ended = True
        self.bytes += size
        self._rest = self._piece[:size]

    def _hand_on(self, waits: dict[socket.socket, int]) -> None:
        try:
            while self._rest:
                self._rest = self._rest[self._sink.send(self._rest) :]
        except _WOULD_WAIT as error:
            _note(self._sink, select.POLLOUT, error, waits)
        except ConnectionError:
            self.lost = True


def _note(side: socket.socket, usual: int, error: OSError, waits: dict[socket.socket, int]) -> None:
    """Notes for what a side must be waited for; TLS may have to read in order to write, and the other way round."""
    event = select.POLLIN if isinstance(error, ssl.SSLWantReadError) else usual
    event = select.POLLOUT if isinstance(error, ssl.SSLWantWriteError) else event
    waits[side] = waits.get(side, 0) | event


def _wait(waits: dict[socket.socket, int], seconds: float | None) -> bool:
    """Waits until one of them can go on; False when the time is over."""
    poll = select.poll()
    for side, events in waits.items():
        poll.register(side, events)
    return bool(poll.poll(None if seconds is None else 1000 * seconds))
