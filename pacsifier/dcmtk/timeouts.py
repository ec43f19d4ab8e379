"""How long each thing may take: one table, from which the options of the commands are made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from pacsifier.allowed import SECONDS, Kind


def _limit(default_s: float, meaning: str) -> float:
    limit: float = field(default=default_s, metadata={"meaning": meaning})
    return limit


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds; `meaning` in the metadata of each is its help text, its name without `_s` its option."""

    tcp_timeout_s: float = _limit(30, "Give up a TCP connection to the PACS after so long")
    acse_timeout_s: float = _limit(
        30, "Give up when the PACS does not answer an association request for so long"
    )
    silence_timeout_s: float = _limit(
        1800, "End an association after so long without a response and without an object"
    )
    settle_time_s: float = _limit(
        1, "Wait so long for objects that come after the final response, where a series is short"
    )
    retry_wait_s: float = _limit(
        2,
        "Wait about so long before the first repeat after a temporary refusal; each further wait is twice as long",
    )


DEFAULT_TIMEOUTS = Timeouts()


def _of_value(value: Any) -> Timeouts:
    return Timeouts(**{limit.name: SECONDS.of_value(getattr(value, limit.name)) for limit in fields(value)})


TIMEOUTS: Final = Kind(
    f"pacsifier.dcmtk.timeouts.Timeouts(...) is allowed, and for each of its limits {SECONDS.allowed}",
    SECONDS.of_text,
    _of_value,
)
