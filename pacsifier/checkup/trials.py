"""One small request as a check tries it: what it must bring, and what came; all of it is deleted at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pacsifier.checkup.finds import FEW, Sample
from pacsifier.dcmtk.movescu import Move, MoveRequest
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.retry import is_clean, refused_for_good

_POLL_S = 0.01


@dataclass(frozen=True)
class Trial:
    """A request and the instances that it must bring, no other; `syntax`: the compressed one to propose by C-GET."""

    request: MoveRequest
    expected: frozenset[str]
    syntax: str = ""


@dataclass(frozen=True)
class Delivery:
    """What came of a trial: of the expected instances, and how many others; `end` None: there was no final response.

    `said`: why, then, in words; `remedy` where the association itself failed. `contacted`: the PACS has called this
    machine; `refused_classes`: the SOP classes that it offered then and the receiver does not take; `unadmitted`: there
    was no association, and `temporary`: there may be one later; `tls_fault`: why a caller got
    none with the receiver.
    """

    came: frozenset[str]
    others: int
    end: MoveState | None
    seconds: float
    said: str = ""
    remedy: str = ""
    refused_classes: tuple[str, ...] = ()
    contacted: bool = False
    unadmitted: bool = False
    temporary: bool = False
    tls_fault: str = ""


def one_instance(samples: Sequence[Sample]) -> list[Trial]:
    """Ways to ask for a single instance, or else for a small series, the first to be tried first."""
    smallest = min(samples, key=lambda each: len(each.instance_uids), default=None)
    if smallest is None:
        return []
    first = replace(smallest, instance_uids=smallest.instance_uids[:1])
    whole = [of_series(smallest)] if len(smallest.instance_uids) <= FEW else []
    return whole if smallest == first else [of_instances(first), *whole]


def of_series(sample: Sample) -> Trial:
    """A request for a series."""
    return Trial(
        MoveRequest((sample.study_uid,), (sample.series_uid,)), frozenset(sample.instance_uids), sample.syntax
    )


def of_instances(sample: Sample) -> Trial:
    """A request for these instances of a series."""
    request = MoveRequest((sample.study_uid,), (sample.series_uid,), sample.instance_uids)
    return Trial(request, frozenset(sample.instance_uids), sample.syntax)


def took(trial: Trial, delivery: Delivery, *, known_good: bool = False) -> bool | None:
    """Whether the PACS took the request as it was meant; None: it failed for another reason.

    `known_good`: a request that is known to be taken was served at once after it.
    """
    if delivery.others:
        return False
    if delivery.came == trial.expected:
        return True
    end = delivery.end
    for_good = end is not None and (is_clean(end) or refused_for_good(end))
    return False if for_good or (known_good and not delivery.came) else None


@dataclass(frozen=True)
class Line:
    """What one request needs: the PACS, where its objects come to, the receiver; None: by C-GET it needs none.

    It decides nothing.
    """

    pacs: Pacs
    arrivals: Arrivals
    timeouts: Timeouts
    receiver: Receiver | None = None

    def start(self, trial: Trial) -> Move:
        """Begins the request."""
        if self.receiver is None:
            return self.pacs.get(trial.request, self.arrivals.folder, trial.syntax)
        return self.pacs.move([trial.request], self.pacs.config.aet)


# --- one request


def deliver(line: Line, trial: Trial) -> Delivery:
    """Asks for it, and takes what comes; ends the request when far more comes than was asked."""
    started = time.monotonic()
    move = line.start(trial)
    try:
        end, said = _wait(line, move, len(trial.expected) + FEW)
        error = None if move.admitted else line.pacs.no_association(move.process)
    finally:
        move.close()
    came, others = _settle(line, trial, end)
    receiver = line.receiver
    return Delivery(
        *(came, others, end, time.monotonic() - started),
        said=error.said if error else said,
        remedy=error.remedy if error else "",
        unadmitted=error is not None,
        temporary=error is not None and error.temporary,
        refused_classes=receiver.refused_classes() if receiver else (),
        contacted=receiver.contacted() if receiver else False,
        tls_fault=receiver.tls_fault() if receiver else "",
    )


def _wait(line: Line, move: Move, most: int) -> tuple[MoveState | None, str]:
    """The final response, or why there was none; `most`: of so many objects more is far too many."""
    before = line.arrivals.received
    patience_s = line.timeouts.silence_timeout_s
    while not move.ended:
        for end in move.poll():
            # The association is released in peace.
            move.process.wait(line.timeouts.settle_time_s)
            return (end, "") if end.status is not None else (None, end.words)
        if line.arrivals.scan() or line.arrivals.grew():
            move.heard = time.monotonic()
        if line.arrivals.received - before > most:
            return None, "far more came than was asked for, and was cut off"
        if time.monotonic() - move.heard > patience_s:
            return None, f"the PACS was silent for {patience_s:g} s"
        if line.receiver is not None:
            line.receiver.check()
        time.sleep(_POLL_S)
    return None, f"{move.process.name} ended without a final response"


def _settle(line: Line, trial: Trial, end: MoveState | None) -> tuple[frozenset[str], int]:
    """The instances that came, those after the final response too; nothing of them is left on disk."""
    deadline = time.monotonic() + line.timeouts.settle_time_s
    came: list[str] = []
    while True:
        line.arrivals.scan()
        for arrival in line.arrivals.take_strangers():
            came.append(arrival.sop_instance_uid)
            arrival.path.unlink()
        waits = end is not None and is_clean(end) and time.monotonic() < deadline
        if trial.expected <= set(came) or not waits:
            break
        time.sleep(_POLL_S)
    return trial.expected & set(came), sum(uid not in trial.expected for uid in came)


def shortfall(trial: Trial, delivery: Delivery) -> str:
    """How a delivery that is short is told."""
    seen = f"{len(delivery.came)} of {len(trial.expected)} instances came"
    if delivery.others:
        seen += f", and {delivery.others} others"
    how = delivery.said if delivery.end is None else f"the PACS says {status_words(delivery.end)}"
    return f"{seen}; {how}"


def status_words(end: MoveState) -> str:
    """A final status as it is told."""
    return f"{end.words or 'status'} (0x{end.status or 0:04X})"
