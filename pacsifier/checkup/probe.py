"""One thing that a check tried, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from pacsifier.errors import AssociationError, OperationError, PacsifierError

LOOK_INTO_LOG = "ask the PACS administrator what the log of the PACS says"


class Outcome(Enum):
    """How a probe ended; a warning needs nobody to act before a run."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Probe:
    """What was tried, what was seen, and what to do about it; no value of a patient, no UID.

    `kind` is the error that a run would end with where this failed: it says who must act.
    """

    name: str
    outcome: Outcome
    seen: str
    remedy: str = ""
    kind: type[PacsifierError] = OperationError

    @classmethod
    def ok(cls, name: str, seen: str) -> Probe:
        """It works."""
        return cls(name, Outcome.OK, seen)

    @classmethod
    def warning(cls, name: str, seen: str, remedy: str) -> Probe:
        """It works, or is not needed by everybody."""
        return cls(name, Outcome.WARNING, seen, remedy)

    @classmethod
    def failed(cls, name: str, seen: str, remedy: str, kind: type[PacsifierError] = OperationError) -> Probe:
        """It does not work."""
        return cls(name, Outcome.FAILED, seen, remedy, kind)

    @classmethod
    def unassociated(cls, name: str, error: AssociationError, kind: type[PacsifierError]) -> Probe:
        """There was no association for it."""
        return cls.failed(name, error.said, error.remedy or LOOK_INTO_LOG, kind)

    @classmethod
    def skipped(cls, name: str, why: str) -> Probe:
        """It was not tried."""
        return cls(name, Outcome.SKIPPED, why)


def skipped(names: Iterable[str], why: str) -> Iterator[Probe]:
    """Several probes that were not tried, all for one reason."""
    return (Probe.skipped(name, why) for name in names)
