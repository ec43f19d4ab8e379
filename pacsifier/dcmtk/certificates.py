"""The files of certificates: checked before anything is asked, and made the contexts of Python's ssl.

Imported only where TLS is asked for. Of a certificate Python tells names and times only where it was verified; so what
is to be shown to a person, good or not, is verified against itself (`decoding`).
"""

from __future__ import annotations

import contextlib
import ssl
import stat
from datetime import datetime, timezone
from pathlib import Path

from pacsifier.config import Tls
from pacsifier.dcmtk import tls as words
from pacsifier.dcmtk.tls import Shown
from pacsifier.errors import Fault, InputError

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME


def check_files(tls: Tls) -> Shown | None:
    """Our own certificate, where one is given, after all files were found to be good.

    Raises:
        InputError: with every fault: a file that cannot be read or holds no PEM, a key that others may read or that
            needs a password or does not belong to the certificate, a certificate that is not valid now.
    """
    faults: list[Fault | str] = []
    if tls.ca is not None:
        try:
            verifying(Tls(ca=tls.ca), words.trusted_certificates(tls.ca))
        except InputError as error:
            faults += error.faults
    faults += _key_faults(tls)
    own = None
    if tls.cert is not None and tls.key is not None and not faults:
        try:
            own = _decoded(tls)
        except InputError as error:
            faults += error.faults
    if own and (fault := _validity_fault(own, tls)):
        faults.append(fault)
    if faults:
        raise InputError(*faults)
    return own


def _key_faults(tls: Tls) -> list[Fault | str]:
    if (tls.cert is None) != (tls.key is None):
        return ["--tls_cert and --tls_key go together: the certificate and its private key"]
    if tls.key is None:
        return []

    def fault(problem: str) -> list[Fault | str]:
        return [Fault("--tls_key", problem, value=str(tls.key))]

    try:
        text = tls.key.read_text(encoding="utf-8", errors="replace")
        found = tls.key.stat()
    except OSError as error:
        return fault(f"cannot be read: {error.strerror}")
    # A key of root's may be for a group to read, as Debian's group ssl-cert has it.
    of_group = stat.S_IWGRP if found.st_uid == 0 else stat.S_IRGRP | stat.S_IWGRP
    if found.st_mode & (of_group | stat.S_IROTH | stat.S_IWOTH):
        return fault(f"others may read or change this private key: chmod 600 {tls.key}")
    if "ENCRYPTED" in text:
        return fault(
            "needs a password, and nobody is there to give it: write one without (openssl pkey -in FILE -out FILE), "
            "for your eyes only"
        )
    return []


def _validity_fault(own: Shown, tls: Tls) -> Fault | None:
    now = datetime.now(timezone.utc)
    if own.ends < now:
        return Fault("--tls_cert", f"has expired on {own.ends:%Y-%m-%d}: get a new one", value=str(tls.cert))
    if own.begins > now:
        problem = f"is not valid before {own.begins:%Y-%m-%d}: check the clock of this machine"
        return Fault("--tls_cert", problem, value=str(tls.cert))
    return None


def _decoded(tls: Tls) -> Shown:
    """Our own certificate, as Python decodes it for who has verified it: in memory, with ourselves.

    It may be for servers only, or for clients only: for images by C-MOVE it must be for both, otherwise for clients.
    """
    shown, _ = _greeted(_serving(tls), blind(Tls()))
    der = shown.getpeercert(binary_form=True) or b""
    demanding = _serving(tls)
    _trust(demanding, der)
    for server, client in ((_serving(tls), decoding(Tls(), der)), (demanding, blind(tls))):
        with contextlib.suppress(ssl.SSLError):
            sides = _greeted(server, client)
            return next(Shown.of(found) for side in sides if (found := side.getpeercert()))
    raise InputError(
        Fault("--tls_cert", "is neither for servers nor for clients of TLS", value=str(tls.cert))
    )


def _greeted(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """The client's and the server's side of a handshake in memory."""
    there_to_here, here_to_there = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(there_to_here, here_to_there)
    there = server.wrap_bio(here_to_there, there_to_here, server_side=True)
    for side in (here, there, here, there, here):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return here, there


def _serving(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_own(context, tls)
    return context


def blind(tls: Tls) -> ssl.SSLContext:
    """A context that verifies nothing, for a look at what is there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _load_own(context, tls)
    return context


def decoding(tls: Tls, der: bytes) -> ssl.SSLContext:
    """A context over which Python decodes this certificate, which it does only for one that was verified."""
    context = blind(tls)
    _trust(context, der)
    return context


def _trust(context: ssl.SSLContext, der: bytes) -> None:
    """Verifies this certificate against itself, whatever its authority and its dates."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    context.load_verify_locations(cadata=der)


def verifying(tls: Tls, trusted: str) -> ssl.SSLContext:
    """A context that verifies; raises InputError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cadata=trusted or None)
    except (ssl.SSLError, ValueError) as error:
        problem = f"holds a certificate that cannot be read: {getattr(error, 'reason', None) or error}"
        raise InputError(Fault("--tls_ca", problem, value=str(tls.ca))) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A certificate of the PACS itself, or of an authority in the middle, is trusted as it stands.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # From Python 3.13 on the default, which certificates of many hospitals' own authorities do not meet.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    _load_own(context, tls)
    return context


def _load_own(context: ssl.SSLContext, tls: Tls) -> None:
    if tls.cert is None or tls.key is None:
        return
    try:
        # OpenSSL would ask for a password at the terminal.
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise InputError(_own_fault(error, tls)) from error


def _own_fault(error: Exception, tls: Tls) -> Fault:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    if "MISMATCH" in reason:
        return Fault("--tls_key", f"is not the key of the certificate {tls.cert}", value=str(tls.key))
    if tls.cert is not None and not _holds_certificate(tls.cert):
        return Fault("--tls_cert", "cannot be read, or holds no certificate in PEM", value=str(tls.cert))
    return Fault("--tls_key", f"is no private key in PEM that can be used: {reason}", value=str(tls.key))


def _holds_certificate(path: Path) -> bool:
    with contextlib.suppress(InputError):
        return bool(words.trusted_certificates(path))
    return False


def each_der(trusted: str) -> frozenset[bytes]:
    """The certificates of a PEM text, as they are sent."""
    end = "-----END CERTIFICATE-----"
    found = (f"{each.strip()}\n{end}" for each in trusted.split(end) if each.strip())
    return frozenset(map(ssl.PEM_cert_to_DER_cert, found))
