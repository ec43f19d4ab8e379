"""What is said where there is no association: the remedy is that of the cause, also where the cause is IPv6."""

from __future__ import annotations

import socket

import pytest

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import association

IP6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 0, 0, 0))
IP4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))
UNKNOWN = "Association Request Failed: 0006:0320 Attempt to connect to unknown host: pacs"
ILLEGAL = "Association Request Failed: 0006:030c Illegal service parameter: ::1:104"


def config(address: str = "pacs") -> PacsConfig:
    return PacsConfig(address, 104, "PACS", "ME", "ME", 11112, 30, 0)


@pytest.mark.parametrize(
    ("said", "found", "ipv6"),
    [
        (UNKNOWN, [IP6], True),
        (ILLEGAL, [IP6], True),
        ("Address family not supported", [IP6, IP6], True),
        ("TCP Initialization Error: timed out", [IP6], True),
        (UNKNOWN, [IP6, IP4], False),
        (UNKNOWN, [IP4], False),
        (UNKNOWN, None, False),
        ("Called AE Title Not Recognized", [IP6], False),
        ("Result: Rejected Transient", [IP6], False),
        ("Peer aborted Association", [IP6], False),
        ("TCP Initialization Error: Connection refused", [IP6], False),
    ],
)
def test_a_pacs_of_ipv6_only_is_told_so_unless_it_was_reached(monkeypatch, said, found, ipv6):
    def look_up(*_: object, **__: object) -> list[object]:
        if found is None:
            raise socket.gaierror(-2, "Name or service not known")
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(association, "own_place", lambda _: "here")
    remedy = association._remedy(said, config())
    assert ("IPv6 addresses only (2001:db8::7), and DCMTK 3.6.7 knows IPv4 only" in remedy) is ipv6


@pytest.mark.parametrize("address", ["::1", "fe80::1"])
def test_an_ipv6_address_is_known_without_any_name_service(address):
    assert association.ipv6_only(address)
    assert not association.ipv6_only("127.0.0.1")


def test_the_address_to_declare_is_the_one_that_storescp_listens_on(monkeypatch):
    """A name with an IPv6 address first must not have the PACS told to send to one."""
    entries = [
        (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", 104, 0, 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 104)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    assert association.own_place(config()).startswith("this machine's address (127.0.0.1) and port ")
