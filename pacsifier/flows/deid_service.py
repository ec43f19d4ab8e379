"""The door to the de-ID service: asks for pseudonyms and day shifts over HTTP, and checks what comes back.

Certificates are verified; redirects are not followed; the token goes to the configured address only and appears in no
message.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pacsifier.config import DeidServiceConfig, departures
from pacsifier.disk.walk import Progress
from pacsifier.errors import AnswerError, InputError, ServiceError
from pacsifier.maps import LARGEST_SHIFT_DAYS, PREFIX, named

if TYPE_CHECKING:
    from requests import Response
    from requests.exceptions import RequestException


log = logging.getLogger(__name__)

PATIENTS_PER_REQUEST: Final = 500
CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 60.0
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
LONGEST_PAUSE_S: Final = 120.0
_LARGEST_ANSWER: Final = 1 << 24
_LONGEST_ANSWER_S: Final = 300.0
_TEMPORARY: Final = (429, 502, 503, 504)

_PSEUDONYMS: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": {"type": "string"}}
_SHIFTS: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "integer", "minimum": -LARGEST_SHIFT_DAYS, "maximum": LARGEST_SHIFT_DAYS},
            {"type": "string", "pattern": r"^\s*[+-]?[0-9]{1,5}\s*\Z"},
        ]
    },
}
_REMEDIES: Final = {
    401: "look at deid_token",
    403: "look at deid_token and at what it may do",
    404: "look at deid_URL",
    405: "look at deid_URL",
}


@dataclass(frozen=True)
class Answers:
    """The pseudonym and the day shift of every patient that was asked for, by PatientID, in the order asked."""

    pseudonyms: Mapping[str, str]
    shifts: Mapping[str, int]


@dataclass(frozen=True)
class _Question:
    """What is asked for, as what kind of values and in what shape, and for which project."""

    what: str
    values: str
    schema: Mapping[str, Any]
    project: str


class DeidService:
    """The service that a configuration names; `ca_bundle` is a file or folder of further trusted certificates.

    Raises InputError when the bundle holds none. `pauses_s` lie between attempts after a temporary failure.
    """

    def __init__(
        self,
        config: DeidServiceConfig,
        ca_bundle: Path | None = None,
        *,
        timeouts_s: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        import requests

        if ca_bundle is not None:
            _check_bundle(ca_bundle)
        self._config = config
        self._verify: str | bool = True if ca_bundle is None else str(ca_bundle)
        self._timeouts_s = timeouts_s
        self._pauses_s = tuple(pauses_s)
        self._session = requests.Session()

    def ask(self, project: str, patients: Sequence[str], progress: Progress) -> Answers:
        """Asks for all patients, at most 500 per request.

        Raises ServiceError when the service cannot be asked, AnswerError when it leaves somebody out.
        """
        url = self._config.url
        pseudonyms = self._collect(
            url, _Question("pseudonyms", "texts", _PSEUDONYMS, project), patients, progress
        )
        shifts = self._collect(
            f"{url}_shift",
            _Question("day shifts", "whole numbers of days", _SHIFTS, project),
            patients,
            progress,
        )
        return Answers(pseudonyms, {patient: int(days) for patient, days in shifts.items()})

    def _collect(
        self, url: str, question: _Question, patients: Sequence[str], progress: Progress
    ) -> dict[str, Any]:
        """What the service says of each patient; raises AnswerError, which names those whom it leaves out."""
        what = question.what
        answers: dict[str, Any] = {}
        for start in range(0, len(patients), PATIENTS_PER_REQUEST):
            part = patients[start : start + PATIENTS_PER_REQUEST]
            body = {
                "project": question.project,
                "PatientIDList": [{"PatientID": patient} for patient in part],
            }
            answer = _document(self._post(url, body), question)
            known = {key.removeprefix(PREFIX): value for key, value in answer.items()} | answer
            found = {patient: known.get(f"{PREFIX}{patient}", known.get(patient)) for patient in part}
            answers.update((patient, value) for patient, value in found.items() if value is not None)
            strangers = len(answer) - sum(value is not None for value in found.values())
            if strangers > 0:
                log.warning("the service sent %s of %d patients nobody asked for", what, strangers)
            progress(what, start + len(part), len(patients))
        missing = [patient for patient in patients if patient not in answers]
        if missing:
            raise AnswerError(f"the service gave no {what} for {named(missing)}; nothing was written")
        return answers

    def _post(self, url: str, body: Mapping[str, Any]) -> bytes:
        """The content of a good answer; after a temporary failure the service is asked again."""
        for pause_s in (*self._pauses_s, None):
            wait_s, why = 0.0, ""
            try:
                response, content = self._attempt(url, body)
            except ConnectionResetError:
                why = "the connection was reset"
            else:
                if response.status_code == 200:
                    return content
                why = f"status {response.status_code} {response.reason or ''}".strip()
                if response.status_code not in _TEMPORARY:
                    raise ServiceError(f"{self._spelled(url)}: {why}{_remedy(response)}")
                wait_s = _retry_after_s(response)
            if pause_s is None or wait_s > LONGEST_PAUSE_S:
                later = f"; it asks to wait {wait_s:.0f} s" if wait_s > LONGEST_PAUSE_S else ""
                raise ServiceError(f"{self._spelled(url)}: {why}{later}; run the command again later")
            log.warning("%s: %s; asking again in %g s", self._spelled(url), why, max(wait_s, pause_s))
            time.sleep(max(wait_s, pause_s))
        raise AssertionError

    def _attempt(self, url: str, body: Mapping[str, Any]) -> tuple[Response, bytes]:
        """One request; ConnectionResetError where another attempt may help, else ServiceError."""
        from requests.exceptions import RequestException

        try:
            with self._session.post(
                url,
                json=body,
                auth=self._authorize,
                headers={"Accept": "application/json"},
                timeout=self._timeouts_s,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, _content(response)
        except RequestException as error:
            if _is_reset(error):
                raise ConnectionResetError from None
            # Not chained: what a library says of a request is nobody's business but ours.
            raise ServiceError(f"{self._spelled(url)}: {_reason(error, self._timeouts_s)}") from None

    def _authorize(self, request: Any) -> Any:
        """Sets the header; as `auth`, so that a .netrc of the user does not replace it."""
        request.headers["Authorization"] = f"token {self._config.token}"
        return request

    @staticmethod
    def _spelled(url: str) -> str:
        return f"the de-ID service at {url}"


def _check_bundle(path: Path) -> None:
    import ssl

    if not path.exists():
        raise InputError(f"--ca_bundle {path}: there is no such file")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(**{"capath" if path.is_dir() else "cafile": str(path)})
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"--ca_bundle {path}: holds no certificates in PEM format") from error


def _content(response: Response) -> bytes:
    """The body, up to a size and a time that no honest answer needs."""
    deadline = time.monotonic() + _LONGEST_ANSWER_S
    content = bytearray()
    for piece in response.iter_content(1 << 16):
        content += piece
        if len(content) > _LARGEST_ANSWER:
            raise ServiceError(f"the answer of the de-ID service is larger than {_LARGEST_ANSWER >> 20} MB")
        if time.monotonic() > deadline:
            raise ServiceError(f"the answer of the de-ID service takes longer than {_LONGEST_ANSWER_S:g} s")
    return bytes(content)


def _is_reset(error: RequestException) -> bool:
    """Whether an open connection was cut; a refusal, an unknown host, a bad certificate or silence is no such cut."""
    from requests import exceptions
    from urllib3.exceptions import ProtocolError

    if isinstance(error, exceptions.ChunkedEncodingError):
        return True
    return (
        isinstance(error, exceptions.ConnectionError)
        and not isinstance(error, exceptions.SSLError | exceptions.Timeout | exceptions.ProxyError)
        and bool(error.args)
        and isinstance(error.args[0], ProtocolError)
    )


def _reason(error: RequestException, timeouts_s: tuple[float, float]) -> str:
    """Why there was no answer, in the user's terms."""
    from requests import exceptions
    from urllib3.exceptions import ReadTimeoutError

    silent = f"no answer within {timeouts_s[1]:g} s"
    connection = "it cannot be reached: refused, or an unknown host; look at deid_URL"
    if error.args and isinstance(error.args[0], ReadTimeoutError):  # in the middle of an answer
        return silent
    reasons = (
        (
            exceptions.SSLError,
            "its certificate cannot be verified; name the site's own certificates with --ca_bundle",
        ),
        (exceptions.ProxyError, "the proxy of the environment (HTTPS_PROXY, NO_PROXY) does not lead there"),
        (
            exceptions.ConnectTimeout,
            f"no connection within {timeouts_s[0]:g} s; look at deid_URL, firewall and proxy",
        ),
        (exceptions.Timeout, silent),
        (exceptions.ConnectionError, connection),
    )
    failed = f"the request failed ({type(error).__name__}); look at deid_URL"
    return next((reason for kind, reason in reasons if isinstance(error, kind)), failed)


def _remedy(response: Response) -> str:
    if 300 <= response.status_code < 400:
        return "; it sends us elsewhere, which is not followed: write the final address into deid_URL"
    remedy = _REMEDIES.get(response.status_code)
    return f"; {remedy}" if remedy else ""


def _retry_after_s(response: Response) -> float:
    """The seconds that the server asks us to wait, 0 where it does not (RFC 9110 10.2.3)."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    with contextlib.suppress(InvalidHeader):
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    return 0.0


def _document(content: bytes, question: _Question) -> dict[str, Any]:
    """The JSON object of an answer; raises ServiceError where it is none, AnswerError for a value of another kind."""
    try:
        pairs: Any = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        start = content[:40].decode("utf-8", "replace")
        raise ServiceError(
            f"the de-ID service did not answer JSON, or one key twice; it begins {start!r}"
        ) from None
    if not isinstance(pairs, dict):
        raise ServiceError(f"the de-ID service did not answer a JSON object of {question.what}")
    patients = [each.keys[0].removeprefix(PREFIX) for each in departures(pairs, question.schema)]
    if patients:
        raise AnswerError(
            f"the service gave {question.what} that are no {question.values} for {named(patients)}; nothing was written"
        )
    return pairs


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _refuse(name: str) -> Iterator[None]:
    raise ValueError(f"{name} is no JSON number")
