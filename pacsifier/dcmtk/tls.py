"""What DICOM TLS means in arguments and in words; pure, and without Python's ssl, which a run in plain never imports.

Every SCU goes through a forwarder here (`forwarder.py`), also those of DCMTK that know `+tls` themselves. Theirs checks
no host name: 3.6.7's echoscu took the certificate of any machine of the same authority. It takes a certificate that is
trusted by itself only where that is self-signed, says of any fault no more than "certificate verify failed", and
movescu and getscu have none (getscu from 3.6.9, movescu from 3.7.0). By C-MOVE no image passes through it: images come
to storescp, whose own TLS is used, since its port must be open to the PACS anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pacsifier.config import Tls
from pacsifier.errors import Fault, InputError

DOC = "docs/tls.md"
TRUSTED_NAME = "trusted.pem"
WANTS_TLS = (
    f"This PACS may want TLS: something there answers a TLS handshake. Give --tls and --tls_ca (see {DOC})."
)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_HIDDEN = "."

# x509_vfy.h of OpenSSL.
_NOT_YET, _EXPIRED = 9, 10
_FOREIGN = frozenset({2, 18, 19, 20, 21, 27})
OTHER_NAME = frozenset({62, 64})
"""The certificate is good, and of another name or address."""


def receiver_arguments(tls: Tls | None) -> list[str]:
    """storescp's arguments: it demands a certificate of an authority in `TRUSTED_NAME`, beside which it works."""
    if tls is None:
        return []
    return ["+tls", str(tls.key), str(tls.cert), "-pw", "+cf", TRUSTED_NAME, "-rc"]


def receiver_faults(tls: Tls | None) -> list[Fault | str]:
    """What our receiver lacks to be a server of TLS."""
    if tls is None:
        return []
    instead = (
        "without it images come by --retrieve_method get, or unencrypted where the PACS sends them so "
        "(--tls_plain_images)"
    )
    why = "by C-MOVE the PACS calls this machine over TLS"
    faults: list[Fault | str] = []
    if tls.cert is None or tls.key is None:
        faults.append(f"{why}, which needs --tls_cert and --tls_key; {instead}")
    if tls.ca is None:
        faults.append(
            f"{why}, and must show a certificate: --tls_ca names who is trusted, for anybody gets one of the public "
            f"authorities that this system trusts; {instead}"
        )
    return faults


def how_to_send(tls: Tls | None) -> str:
    """What a PACS must know of a receiver by TLS besides its address; "" in plain."""
    if tls is None:
        return ""
    return (
        f"it must send by TLS there (Orthanc: UseDicomTls), trust {tls.cert} and show a certificate of an authority in "
        f"{tls.ca}; where it sends in plain, --tls_plain_images takes that"
    )


def trusted_certificates(ca: Path) -> str:
    """The PEM certificates of a file, or of all files of a folder, and nothing else that is in them.

    Raises:
        InputError: it cannot be read, or there is none.
    """
    try:
        files = sorted(_files(ca)) if ca.is_dir() else [ca]
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    except OSError as error:
        raise InputError(Fault("--tls_ca", f"cannot be read: {error.strerror}", value=str(ca))) from error
    found = dict.fromkeys(each for text in texts for each in _CERTIFICATE.findall(text))
    if not found:
        problem = (
            "holds no certificate in PEM (openssl x509 -inform der -in FILE -out FILE.pem makes it of DER)"
        )
        raise InputError(Fault("--tls_ca", problem, value=str(ca)))
    return "\n".join([*found, ""])


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(_HIDDEN) and path.is_file()]


@dataclass(frozen=True)
class Shown:
    """A certificate as a person is told of it; times in UTC."""

    subject: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, decoded: Mapping[str, Any]) -> Shown:
        """From what Python's `getpeercert` gives."""
        subject = {key: value for part in decoded.get("subject", ()) for key, value in part}
        names = tuple(str(value) for _, value in decoded.get("subjectAltName", ()))
        common = str(subject.get("commonName") or subject.get("organizationName") or "no name")
        return cls(common, names, _time(decoded["notBefore"]), _time(decoded["notAfter"]))

    def __str__(self) -> str:
        return f"{', '.join(self.names) or self.subject}, until {self.ends:%Y-%m-%d}"

    @property
    def named(self) -> str:
        """The names that it is good for."""
        return ", ".join(self.names) or self.subject


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Wrong:
    """What is wrong and what to do about it."""

    said: str
    remedy: str


def wrong_certificate(code: int, words: str, shown: Shown | None, name: str, ca: Path | None) -> Wrong:
    """What is wrong with the certificate of the PACS; `code` and `words` are OpenSSL's, `name` is the one it needs."""
    whose = f"the certificate of the PACS{f' ({shown.named})' if shown else ''}"
    if code == _EXPIRED:
        when = f" on {shown.ends:%Y-%m-%d}" if shown else ""
        return Wrong(
            f"{whose} has expired{when}",
            "Ask the PACS administrator for a new one on the PACS; check the clock here.",
        )
    if code == _NOT_YET:
        when = f" before {shown.begins:%Y-%m-%d}" if shown else ""
        return Wrong(f"{whose} is not valid{when}", "Check the clock of this machine.")
    if code in OTHER_NAME:
        named = shown.named if shown else "another name"
        return Wrong(
            f"the certificate is of {named}, and not of {name}",
            "Where that is the PACS, give the name that stands there as --tls_name, or its certificate as --tls_ca.",
        )
    if code in _FOREIGN:
        trusted = f"--tls_ca ({ca})" if ca else "the authorities of this system (no --tls_ca is given)"
        return Wrong(
            f"{whose} is of no authority in {trusted}: {words}",
            "Ask the PACS administrator for the certificate of the authority, or of the PACS itself, and give it as "
            "--tls_ca.",
        )
    return Wrong(f"{whose} is not good: {words}", "Ask the PACS administrator for another one on the PACS.")


def refused_handshake(reason: str, tls: Tls) -> Wrong:
    """What ended a handshake, by the reason that OpenSSL gives, such as TLSV1_ALERT_UNKNOWN_CA."""
    ours = (
        f"our certificate ({tls.cert})" if tls.cert else "us without a certificate (no --tls_cert is given)"
    )
    remedies = {
        "CERTIFICATE_REQUIRED": "Give --tls_cert and --tls_key.",
        "HANDSHAKE_FAILURE": "It may want a certificate (--tls_cert and --tls_key), or have no cipher in common with "
        "this machine's OpenSSL.",
        "UNKNOWN_CA": "Ask the PACS administrator to trust the authority that issued it.",
        "CERTIFICATE_EXPIRED": "Get a new one, or check the clock of the PACS.",
        "CERTIFICATE_UNKNOWN": "Ask the PACS administrator to trust it.",
        "BAD_CERTIFICATE": "Ask the PACS administrator to trust it, or to say why not.",
        "ACCESS_DENIED": "Ask the PACS administrator to admit it.",
    }
    found = next((remedy for word, remedy in remedies.items() if word in reason), None)
    words = reason.lower().replace("_", " ")
    if found:
        return Wrong(f"the PACS does not accept {ours}: {words}", found)
    if "WRONG_VERSION" in reason or "UNEXPECTED_MESSAGE" in reason or "RECORD_LAYER" in reason:
        return Wrong(
            "what answers there speaks no TLS",
            "Check that port is the PACS's port for TLS; or leave out --tls, where the PACS has none.",
        )
    if "PROTOCOL" in reason or "VERSION" in reason:
        return Wrong(
            f"the PACS knows no TLS 1.2 or later: {words}",
            "Ask its administrator to enable it (BCP 195), or to put stunnel before the PACS.",
        )
    return Wrong(
        f"the TLS handshake failed: {words}", "Ask the PACS administrator what the log of the PACS says."
    )


def closed_handshake(seconds: float | None) -> Wrong:
    """The PACS hung up in the middle of a handshake; or, with `seconds`, said nothing for so long."""
    how = "closed the connection in" if seconds is None else f"was silent for {seconds:g} s in"
    return Wrong(
        f"the PACS {how} the TLS handshake",
        "Check that port is the PACS's port for TLS; or leave out --tls, where the PACS has none.",
    )


def told(ends: datetime, now: datetime, soon_days: int) -> str:
    """A remark on the day when a certificate ends; "" while that is far."""
    left = (ends - now).days
    return f"it ends in {left} days" if left < soon_days else ""
