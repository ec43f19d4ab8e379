"""What every SCU needs to reach the PACS, and what is said where there is no association."""

from __future__ import annotations

import contextlib
import socket

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.tls import WANTS_TLS
from pacsifier.errors import AssociationError

_MARGIN_S = 5.0
_NO_GET = "No adequate Presentation Contexts"
# getscu gives the details of a rejection with `-d` only.
_REASONS = ("F: ", "E: ", "D: Result: ", "D: Reason: ")
_TRANSIENT = "Rejected Transient"
_ACCEPTED = "Association Accepted"
IPV4_ONLY = "DCMTK 3.6.7 knows IPv4 only"
WRITE_IPV4 = "write an IPv4 address of the PACS, or a name that has one, as server_address"
# What a server of TLS does with a request in plain: some hang up, some wait for more.
_PERHAPS_TLS = ("aborted", "read timeout")
# What only who was reached can say.
_OF_A_PACS = ("AE Title", "Presentation Context", "Rejected", "aborted", "refused", "read timeout")


def peer_arguments(config: PacsConfig, timeouts: Timeouts, door: tuple[str, int] | None = None) -> list[str]:
    """The arguments of every SCU: time-outs in whole seconds from 1, AE titles, host and port.

    `door`: host and port of a forwarder that leads to the PACS. It keeps the time-outs itself, to tell what was late.
    """
    tcp_s, acse_s = timeouts.tcp_timeout_s, timeouts.acse_timeout_s
    answer_s = acse_s if door is None else tcp_s + 2 * acse_s + _MARGIN_S
    host, port = door or (config.server_address, config.port)
    return [
        *("-to", str(max(1, round(tcp_s)))),
        *("-ta", str(max(1, round(answer_s)))),
        *("-aet", config.aet, "-aec", config.server_aet),
        *(host, str(port)),
    ]


def association_error(
    config: PacsConfig, process: Process, *, answered: bool | None = None
) -> AssociationError:
    """The error for a tool that ended before any final response, with what its log says and a remedy.

    `answered`: whether there were pending responses; None: not known. A PACS that accepts the association of a stranger
    and hangs up at the first request does so again: no temporary fault.
    """
    peer = _peer(config)
    if (error := process.failure()) is not None:
        return error
    if process.silenced:
        return AssociationError(f"{peer} accepted the association as {config.aet} and was then silent")
    lines = process.last_lines()
    errors = [line[3:].strip(" :") for line in lines if line.startswith(_REASONS)]
    said = "; ".join(filter(None, errors)) or "no reason given"
    admitted = any(_ACCEPTED in line for line in lines) and _NO_GET not in said
    what = "lost the association with" if admitted else "no association with"
    return AssociationError(
        f"{what} {peer} as {config.aet}: {said}",
        temporary=_TRANSIENT in said or (admitted if answered is None else answered),
        remedy=_tls_remedy(said, config) or _remedy(said, config),
    )


def unreached(config: PacsConfig, said: str) -> AssociationError:
    """The error for a PACS to which there was no connection, or no answer over it."""
    return AssociationError(
        f"no association with {_peer(config)} as {config.aet}: {said}", remedy=_remedy(said, config)
    )


def _peer(config: PacsConfig) -> str:
    return f"{config.server_aet} at {config.server_address}:{config.port}"


def _tls_remedy(said: str, config: PacsConfig) -> str:
    """What to do where a PACS that was asked in plain answers TLS; "" where it does not."""
    if config.tls is not None or not any(word in said for word in _PERHAPS_TLS):
        return ""
    from pacsifier.dcmtk.handshake import speaks_tls

    return WANTS_TLS if speaks_tls(config.server_address, config.port) else ""


def own_place(config: PacsConfig) -> str:
    """Where the PACS must send to, in words: the address of this machine that leads to it, and the receive port."""
    address = ""
    with contextlib.suppress(OSError):
        entries = socket.getaddrinfo(config.server_address, config.port, type=socket.SOCK_DGRAM)
        # Where there is an IPv4 address it is the one that DCMTK takes, and storescp listens on no other.
        family, kind, protocol, _, peer = min(entries, key=lambda each: each[0] != socket.AF_INET)
        with socket.socket(family, kind, protocol) as probe:
            # Connecting a datagram socket sends nothing; it only chooses the route.
            probe.connect(peer)
            address = f" ({probe.getsockname()[0]})"
    return f"this machine's address{address} and port {config.move_port}"


def ipv6_only(host: str) -> tuple[str, ...]:
    """The addresses of a host that has IPv6 addresses only; none where it has others too, or is not known here."""
    with contextlib.suppress(OSError, UnicodeError):
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        if all(each[0] == socket.AF_INET6 for each in entries):
            return tuple(dict.fromkeys(str(each[4][0]) for each in entries))
    return ()


def _remedy(said: str, config: PacsConfig) -> str:
    addresses = () if any(word in said for word in _OF_A_PACS) else ipv6_only(config.server_address)
    if addresses:
        return (
            f"{config.server_address} has IPv6 addresses only ({', '.join(addresses)}), and {IPV4_ONLY}: "
            f"{WRITE_IPV4}."
        )
    declare = f"ask the PACS administrator to declare the AE title {config.aet} with {own_place(config)}"
    hints = {
        "Called AE Title": f"Check server_AET ({config.server_aet}) in the config; where it is right, {declare}: "
        "some PACS do not tell an unknown caller from an unknown name.",
        "Calling AE Title": f"{declare[0].upper()}{declare[1:]}.",
        _NO_GET: f"Ask the PACS administrator to allow C-GET to {config.aet}, or retrieve by C-MOVE "
        "(--retrieve_method move).",
        "Presentation Context": f"The PACS does not offer this service to {config.aet}: ask its administrator "
        "to allow query and retrieve (C-FIND, C-MOVE).",
        "refused": "Check server_address and port, and that the PACS runs.",
        "read timeout": "Something listens there but does not answer: check that port is the PACS's DICOM port.",
        "timed out": "Check server_address, port and the firewall.",
        "unknown host": "Check the spelling of server_address.",
        "aborted": f"The PACS breaks off what {config.aet} begins: {declare}.",
    }
    return next(
        (hint for word, hint in hints.items() if word in said), "Check server_address, port and AE titles."
    )
