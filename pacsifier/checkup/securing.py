"""DICOM TLS as a check tries it: the files here, the handshake, until when each certificate is good."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pacsifier.checkup.probe import Probe
from pacsifier.config import Tls
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.tls import Shown, told
from pacsifier.errors import AssociationError, InputError

if TYPE_CHECKING:
    from pacsifier.dcmtk.dialing import Greeting

FILES, HANDSHAKE, CERTIFICATE = "TLS files", "TLS handshake", "certificate of the PACS"
NAMES = (HANDSHAKE, CERTIFICATE)
_SOON_DAYS = 30


def try_files(tls: Tls) -> Probe:
    """Looks whether the files of certificates and the key can be used."""
    from pacsifier.dcmtk.certificates import check_files

    try:
        own = check_files(tls)
    except InputError as error:
        return Probe.failed(
            FILES, str(error), "mend what is said; docs/tls.md tells of each file", InputError
        )
    return judge_own(tls, own, datetime.now(timezone.utc))


def judge_own(tls: Tls, own: Shown | None, now: datetime) -> Probe:
    """What files that can be used mean for a run."""
    trusted = f"trusted: {tls.ca or 'the authorities of this system'}"
    if own is None:
        return Probe.ok(FILES, f"{trusted}; no certificate of our own")
    seen = f"{trusted}; our own: {own}"
    if remark := told(own.ends, now, _SOON_DAYS):
        return Probe.warning(FILES, f"{seen}; {remark}", "get a new one in time")
    return Probe.ok(FILES, seen)


def try_handshake(pacs: Pacs, timeouts: Timeouts) -> tuple[Probe, Greeting | None]:
    """Opens a connection by TLS and verifies who answers; None where that failed."""
    from pacsifier.dcmtk.dialing import Dialer

    try:
        greeting = Dialer(pacs.config, timeouts).greet()
    except AssociationError as error:
        return Probe.unassociated(HANDSHAKE, error, AssociationError), None
    return Probe.ok(HANDSHAKE, f"{greeting.version}, {greeting.cipher}"), greeting


def judge_certificate(greeting: Greeting, now: datetime) -> Probe:
    """What the certificate of the PACS, which is good, means for later runs."""
    how = "pinned by --tls_ca" if greeting.pinned else f"verified as {greeting.name}"
    seen = f"{greeting.shown}; {how}"
    if remark := told(greeting.shown.ends, now, _SOON_DAYS):
        return Probe.warning(
            CERTIFICATE, f"{seen}; {remark}", "ask the PACS administrator when it will be replaced"
        )
    return Probe.ok(CERTIFICATE, seen)
