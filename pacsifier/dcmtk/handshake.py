"""Whether a PACS that does not answer in plain would by TLS; asked only once an association has failed."""

from __future__ import annotations

import socket
import ssl

_PATIENCE_S = 3.0


def speaks_tls(host: str, port: int) -> bool:
    """Whether something answers a TLS handshake there; verifies and sends nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _PATIENCE_S) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, UnicodeError):
        return False
