"""The way to the PACS as a check goes it: the name, TCP, an association; what lies behind a failure is not tried."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.checkup import securing
from pacsifier.checkup.probe import Probe
from pacsifier.checkup.securing import CERTIFICATE, HANDSHAKE
from pacsifier.config import PacsConfig, Tls
from pacsifier.dcmtk.association import IPV4_ONLY, WRITE_IPV4
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import AssociationError, OperationError

if TYPE_CHECKING:
    from pacsifier.dcmtk.dialing import Greeting

NAME, TCP, ECHO = "name resolution", "TCP", "association and C-ECHO"


@dataclass(frozen=True)
class Access:
    """What the probes of the PACS work with; it decides nothing."""

    pacs: Pacs
    toolbox: Toolbox
    staging: Path
    timeouts: Timeouts


@dataclass(frozen=True)
class Way:
    """How far the way to the PACS has led; `barrier`: why the PACS cannot be asked, None while it can.

    `missing`: the tools that cannot be used; `own_address`: the address of this machine as seen from there;
    `ipv4` and `ipv6`: the addresses of the PACS; `greeting`: what a TLS handshake with it has shown.
    """

    missing: frozenset[str]
    barrier: str | None = None
    own_address: str = ""
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    greeting: Greeting | None = None

    def barrier_for(self, *tools: str) -> str | None:
        """Why the PACS cannot be asked by these tools; None where it can."""
        unusable = (f"{tool} cannot be used" for tool in tools if tool in self.missing)
        return self.barrier or next(unusable, None)


Step = Callable[[Access, Way], tuple[Probe, Way]]


def reach(access: Access, missing: frozenset[str]) -> Generator[Probe, None, Way]:
    """Goes towards the PACS step by step; what lies behind a step that fails is not tried."""
    way = Way(missing)
    for name, (tools, step) in steps(access.pacs.config.tls).items():
        if barrier := way.barrier_for(*tools):
            yield Probe.skipped(name, barrier)
            continue
        probe, way = step(access, way)
        yield probe
    return way


def steps(tls: Tls | None) -> dict[str, tuple[tuple[str, ...], Step]]:
    """The steps by the names of their probes, with the tools that each needs."""
    secured: dict[str, tuple[tuple[str, ...], Step]] = {
        HANDSHAKE: ((), try_handshake),
        CERTIFICATE: ((), try_certificate),
    }
    return {
        NAME: ((), try_name),
        TCP: ((), try_tcp),
        **({} if tls is None else secured),
        ECHO: (("echoscu",), try_echo),
    }


def try_name(access: Access, way: Way) -> tuple[Probe, Way]:
    """Looks the PACS's address up."""
    host, port = access.pacs.config.server_address, access.pacs.config.port
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        probe = Probe.failed(
            NAME,
            f"{host}: {said}",
            "check the spelling of server_address, or name the PACS by its IP address",
            AssociationError,
        )
        return probe, replace(way, barrier=f"{host} has no address")
    ipv4, ipv6 = (
        tuple(dict.fromkeys(str(each[4][0]) for each in entries if each[0] == family))
        for family in (socket.AF_INET, socket.AF_INET6)
    )
    way = replace(way, ipv4=ipv4, ipv6=ipv6)
    if ipv4 or access.pacs.config.tls is not None:
        return Probe.ok(NAME, f"{host} is {', '.join((*ipv4, *ipv6))}"), way
    probe = Probe.warning(
        NAME,
        f"{host} has IPv6 addresses only ({', '.join(ipv6)})",
        f"{IPV4_ONLY}: should the association fail, {WRITE_IPV4}",
    )
    return probe, way


def try_tcp(access: Access, way: Way) -> tuple[Probe, Way]:
    """Opens a TCP connection to the PACS by the address that DCMTK takes; learns this machine's address from it."""
    config, patience_s = access.pacs.config, access.timeouts.tcp_timeout_s
    try:
        own_address = _connected((*way.ipv4, *way.ipv6)[0], config.port, patience_s)
    except OSError as error:
        probe = _not_connected(error, config, way, patience_s)
        return probe, replace(way, barrier="there is no TCP connection")
    probe = Probe.ok(TCP, f"port {config.port} is open, seen from {own_address}")
    return probe, replace(way, own_address=own_address)


def _connected(address: str, port: int, patience_s: float) -> str:
    """The address of this machine in a connection to that one; raises OSError."""
    with socket.create_connection((address, port), patience_s) as connection:
        return str(connection.getsockname()[0])


def _not_connected(error: OSError, config: PacsConfig, way: Way, patience_s: float) -> Probe:
    """Why there is no TCP connection, and whether there would be one over IPv6, which DCMTK does not know."""
    refused = isinstance(error, ConnectionRefusedError)
    seen = (
        "refused: nothing listens there" if refused else error.strerror or f"no answer for {patience_s:g} s"
    )
    remedy = (
        f"check server_address ({config.server_address}) in the config; where it is right, ask who keeps the firewall "
        "to let this machine through"
    )
    if refused:
        there = f"port ({config.port}) and server_address ({config.server_address})"
        remedy = f"check {there} in the config, and that the PACS runs"
    if not way.ipv4:
        remedy = f"{IPV4_ONLY}: {WRITE_IPV4}; else {remedy}"
    elif way.ipv6:
        with contextlib.suppress(OSError):
            _connected(way.ipv6[0], config.port, patience_s)
            seen = f"{seen} at {way.ipv4[0]}, but it is open at {way.ipv6[0]}"
            remedy = f"{IPV4_ONLY}: have the PACS listen at an IPv4 address too"
    return Probe.failed(TCP, f"port {config.port}: {seen}", remedy, AssociationError)


def try_handshake(access: Access, way: Way) -> tuple[Probe, Way]:
    """Opens a connection by TLS, and verifies who answers."""
    probe, greeting = securing.try_handshake(access.pacs, access.timeouts)
    barrier = None if greeting else "there is no TLS connection"
    return probe, replace(way, greeting=greeting, barrier=barrier)


def try_certificate(_access: Access, way: Way) -> tuple[Probe, Way]:
    """Looks until when the certificate is good that the handshake has shown."""
    if way.greeting is None:
        return Probe.skipped(CERTIFICATE, "there is no TLS connection"), way
    return securing.judge_certificate(way.greeting, datetime.now(timezone.utc)), way


def try_echo(access: Access, way: Way) -> tuple[Probe, Way]:
    """Asks for a C-ECHO; without an association nothing else can be asked."""
    config = access.pacs.config
    try:
        access.pacs.echo()
    except AssociationError as error:
        probe = Probe.unassociated(ECHO, error, AssociationError)
        return probe, replace(way, barrier="there is no association")
    except OperationError as error:
        return Probe.warning(ECHO, str(error), "nothing to do, should C-FIND and C-MOVE work"), way
    return Probe.ok(ECHO, f"{config.server_aet} takes {config.aet}"), way
