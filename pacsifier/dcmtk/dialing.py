"""`Dialer`: opens connections to a PACS by TLS and verifies who answers.

What is trusted: the authorities in `Tls.ca` (or this system's), for the name that was asked for; or the PACS's own
certificate, where it stands in `Tls.ca` itself ("pinned"), whatever name it has. TLS 1.2 and later, with the ciphers of
Python's default context: those of BCP 195. Imported only where TLS is asked for.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from dataclasses import dataclass

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import tls as words
from pacsifier.dcmtk.association import unreached
from pacsifier.dcmtk.certificates import blind, decoding, each_der, verifying
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.tls import Shown, Wrong
from pacsifier.errors import AssociationError

log = logging.getLogger(__name__)

_SECOND_LOOK_S = 2.0


@dataclass(frozen=True)
class Greeting:
    """A handshake that was good: the certificate of the PACS is of that name, or pinned."""

    version: str
    cipher: str
    shown: Shown
    name: str
    pinned: bool


class Dialer:
    """Dials one PACS by TLS, from any thread; reads the files of certificates when it is made."""

    def __init__(self, config: PacsConfig, timeouts: Timeouts) -> None:
        if config.tls is None:
            raise ValueError("no TLS is asked for")
        self._config = config
        self._tls = config.tls
        self._timeouts = timeouts
        trusted = words.trusted_certificates(self._tls.ca) if self._tls.ca else ""
        self._named = verifying(self._tls, trusted)
        self._pinned = verifying(self._tls, trusted)
        self._pinned.check_hostname = False
        self._pins = each_der(trusted)
        self._by_pin = False

    @property
    def name(self) -> str:
        """The name that the certificate of the PACS must have, unless it is pinned."""
        return self._tls.name or self._config.server_address

    def dial(self) -> ssl.SSLSocket:
        """A connection over which the PACS was verified; it blocks, with the time-out of an association request.

        Raises:
            AssociationError: there is none, with the reason and what to do about it.
        """
        try:
            return self._connect()
        except ssl.SSLCertVerificationError as error:
            wrong = words.wrong_certificate(
                *(error.verify_code, error.verify_message, self._look()), self.name, self._tls.ca
            )
        except ssl.SSLEOFError:
            wrong = words.closed_handshake(None)
        except ssl.SSLError as error:
            wrong = words.refused_handshake(error.reason or str(error), self._tls)
        raise self.error(wrong)

    def greet(self) -> Greeting:
        """Opens a connection and closes it; what was seen over it. Raises as `dial` does."""
        with self.dial() as connection:
            shown = Shown.of(connection.getpeercert() or {})
            cipher = connection.cipher()
            return Greeting(
                connection.version() or "TLS", cipher[0] if cipher else "", shown, self.name, self._by_pin
            )

    def error(self, wrong: Wrong) -> AssociationError:
        """As the error of an association."""
        return AssociationError(f"no TLS with {self._peer}: {wrong.said}", remedy=wrong.remedy)

    def refusal(self, error: ssl.SSLError | None) -> AssociationError | None:
        """What a PACS that hung up without any answer has against our certificate; None: nothing that it says.

        In TLS 1.3 it sees it only after our side of the handshake, and what it says then is lost where something was
        sent meanwhile: so it is asked once more, and nothing is sent.
        """
        reason = _alert(error) or self._second_look()
        return self.error(words.refused_handshake(reason, self._tls)) if reason else None

    def _second_look(self) -> str:
        try:
            with self._connect() as connection:
                connection.settimeout(_SECOND_LOOK_S)
                connection.recv(1)
        except ssl.SSLError as error:
            return _alert(error)
        except (AssociationError, OSError):
            log.debug("what the PACS has against our certificate is not known")
        return ""

    def silence(self, seconds: float) -> AssociationError:
        """The PACS did not answer an association request for so long."""
        return unreached(self._config, f"read timeout: no answer for {seconds:g} s")

    @property
    def _peer(self) -> str:
        return f"{self._config.server_aet} at {self._config.server_address}:{self._config.port}"

    def _connect(self) -> ssl.SSLSocket:
        """By name, or by a pinned certificate of another name; that is remembered, since it takes two handshakes."""
        if not self._by_pin:
            try:
                return self._handshake(self._named)
            except ssl.SSLCertVerificationError as error:
                if error.verify_code not in words.OTHER_NAME or not self._pins:
                    raise
                other_name = error
        connection = self._handshake(self._pinned)
        if connection.getpeercert(binary_form=True) not in self._pins:
            connection.close()
            if self._by_pin:
                self._by_pin = False
                return self._connect()
            raise other_name
        self._by_pin = True
        return connection

    def _handshake(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        # What was opened goes over to what is returned; else it is closed.
        with self._dial_plain() as plain:
            try:
                return context.wrap_socket(plain, server_hostname=self.name)
            except ssl.SSLError:
                raise
            except ValueError as error:
                wrong = Wrong(
                    f"no certificate can have the name {self.name!r}", "Give the right one as --tls_name."
                )
                raise self.error(wrong) from error
            except TimeoutError as error:
                raise self.error(words.closed_handshake(self._timeouts.acse_timeout_s)) from error
            except OSError as error:
                raise self.error(words.closed_handshake(None)) from error

    def _dial_plain(self) -> socket.socket:
        config, patience_s = self._config, self._timeouts.tcp_timeout_s
        try:
            plain = socket.create_connection((config.server_address, config.port), patience_s)
        except (OSError, UnicodeError) as error:
            raise unreached(config, _said(error)) from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(self._timeouts.acse_timeout_s)
        return plain

    def _look(self) -> Shown | None:
        """The certificate that the PACS shows, of which nothing is known to be true; None: it cannot be had."""
        with contextlib.suppress(AssociationError, OSError, ValueError):
            with self._handshake(blind(self._tls)) as connection:
                der = connection.getpeercert(binary_form=True)
            with self._handshake(decoding(self._tls, der or b"")) as connection:
                return Shown.of(connection.getpeercert() or {})
        return None


def _alert(error: ssl.SSLError | None) -> str:
    """What the other side said in so many words before it hung up; "" for nothing."""
    reason = (error.reason or "") if error else ""
    return reason if "ALERT" in reason else ""


def _said(error: Exception) -> str:
    if isinstance(error, UnicodeError | socket.gaierror):
        return "unknown host"
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or type(error).__name__
