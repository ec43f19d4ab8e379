"""What is asked again after a failure, how often and when: no other place decides it.

A temporary refusal is repeated a bounded number of times, with growing waits and jitter, so that many clients of one
PACS do not come back in step. What the PACS refuses for good is not repeated.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from pacsifier.dcmtk.transcript import (
    CANCELLED,
    MOVE_DESTINATION_UNKNOWN,
    REFUSED_MATCHES,
    REFUSED_OUT_OF_RESOURCES,
    REFUSED_SUBOPERATIONS,
    RESOURCE_LIMITATION,
    SUCCESS,
    WARNING_SUBOPERATIONS,
    MoveState,
)

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 120.0
# PS3.4 C.4.2.1.5: out of resources, unable to calculate the matches or to perform sub-operations; PS3.7 C.5.17.
_TEMPORARY_MOVE = frozenset(
    {REFUSED_OUT_OF_RESOURCES, REFUSED_MATCHES, REFUSED_SUBOPERATIONS, RESOURCE_LIMITATION}
)
# Of these, or of no answer at all, nobody knows whether the same request would not succeed.
_SAYS_NOTHING = (None, SUCCESS, WARNING_SUBOPERATIONS, MOVE_DESTINATION_UNKNOWN, CANCELLED)


@dataclass(frozen=True)
class Retry:
    """At most `repeats` repeats; the n-th comes after about `first_wait_s` * 2^n seconds, at most 120 s."""

    first_wait_s: float = 2.0
    repeats: int = 4

    def wait_s(self, earlier: int) -> float | None:
        """The wait before the next try after `earlier` repeats, half to one and a half of its mean; None: no more."""
        if earlier >= self.repeats:
            return None
        mean = min(self.first_wait_s * 2.0**earlier, _LONGEST_WAIT_S)
        return mean * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret


def is_temporary(end: MoveState) -> bool:
    """Whether a C-MOVE ended so that the same request may succeed later."""
    return end.status in _TEMPORARY_MOVE


def is_clean(end: MoveState) -> bool:
    """Whether a C-MOVE ended with no failed sub-operation: by Success, or by warnings of which none is a failure."""
    if end.status == WARNING_SUBOPERATIONS:
        return end.failed == 0 and end.warning != 0 and not end.at_least
    return end.status == SUCCESS and not end.failed


def may_have_failed(end: MoveState, *, last: bool = True) -> bool:
    """Whether sub-operations failed, or may have where the status is one of theirs and the counter is not told.

    Without counters a refusal may also be for want of resources: it counts where it is the `last`, after all repeats.
    """
    if end.failed:
        return True
    of_them = end.status == WARNING_SUBOPERATIONS or (last and end.status == REFUSED_SUBOPERATIONS)
    return of_them and not is_clean(end) and (end.failed is None or end.at_least)


def refused_for_good(end: MoveState) -> bool:
    """Whether the PACS would not take the identifier itself: a failure that neither time nor another place fixes."""
    return end.status not in _SAYS_NOTHING and not is_temporary(end) and not end.begun
