"""PACS that speak TLS: certificates by trustme, Orthanc's own TLS both ways, stunnel before what has none.

Debian's Orthanc 1.10.1 demands a certificate of whoever calls, and with UseDicomTls shows its own where it sends.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from pacs.servers import LOOPBACK, OrthancServer, Peers, find_binary, free_port, start_orthanc

NAME = "pacs.example.org"


@dataclass(frozen=True)
class Paper:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path


class Office:
    """An authority whose certificate is `ca`, and what it issues; all below one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, *identities: str, ends: datetime.datetime | None = None) -> Paper:
        """A certificate for host names or addresses; `name` is that of its files."""
        issued = self._authority.issue_cert(*identities, not_after=ends)
        paper = Paper(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        paper.cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        paper.key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(paper.key)
        return paper

    def options(self, paper: Paper | None = None) -> list[object]:
        """The options of pacsifier that trust this authority and show a certificate."""
        ours = ["--tls_cert", paper.cert, "--tls_key", paper.key] if paper else []
        return ["--tls", "--tls_ca", self.ca, *ours]


def start_secure_orthanc(
    folder: Path,
    files: Sequence[Path],
    peers: Peers,
    office: Office,
    paper: Paper,
    *,
    sends_tls: bool = True,
    **overrides: object,
) -> OrthancServer:
    """Orthanc with `paper`, which takes associations by TLS only, and sends by TLS unless told otherwise."""
    modalities = {
        aet.lower(): {"AET": aet, "Host": host, "Port": port, "UseDicomTls": sends_tls}
        for aet, (host, port) in peers.items()
    }
    ours = office.issue("test", "test.example.org")
    return start_orthanc(
        *(folder, files, peers),
        echo_options=["+tls", str(ours.key), str(ours.cert), "+cf", str(office.ca)],
        **{
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(paper.cert),
            "DicomTlsPrivateKey": str(paper.key),
            "DicomTlsTrustedCertificates": str(office.ca),
            "DicomModalities": modalities,
            **overrides,
        },
    )


@contextlib.contextmanager
def stunnel(
    folder: Path, to_port: int, *, paper: Paper | None, trusts: Path | None, client: bool = False
) -> Iterator[int]:
    """stunnel from a free port, which it yields, to another: TLS to plain, or (`client`) plain to TLS."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    lines = [
        *("foreground = yes", "pid =", "debug = info", "[dicom]"),
        *(f"accept = {LOOPBACK}:{port}", f"connect = {LOOPBACK}:{to_port}"),
        *("socket = l:TCP_NODELAY=1", "socket = r:TCP_NODELAY=1", f"client = {'yes' if client else 'no'}"),
        *([f"cert = {paper.cert}", f"key = {paper.key}"] if paper else []),
        *([f"CAfile = {trusts}", "verifyChain = yes"] if trusts else []),
    ]
    (folder / "stunnel.conf").write_text("\n".join([*lines, ""]), encoding="ascii")
    with (folder / "stunnel.log").open("wb") as log:
        process = subprocess.Popen(
            [find_binary("stunnel4"), "stunnel.conf"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ},
        )
    try:
        deadline = time.monotonic() + 20
        while "Configuration successful" not in (folder / "stunnel.log").read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, (
                folder / "stunnel.log"
            ).read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def site_file(path: Path, **keys: object) -> Path:
    """A site file with these keys."""
    path.write_text(json.dumps(keys), encoding="utf-8")
    return path
