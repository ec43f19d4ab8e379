"""C-MOVE as a check tries it: a few instances of small series, received here and deleted at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pacsifier.checkup.finds import FEW, Sample
from pacsifier.checkup.probe import LOOK_INTO_LOG, Outcome, Probe
from pacsifier.dcmtk.movescu import Move, MoveRequest
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, MoveState
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.fetch.verdict import is_clean, refused_for_good

ONE, LISTS, INSTANCES = "C-MOVE to this machine", "C-MOVE of a UID list", "C-MOVE at the IMAGE level"
NAMES = (ONE, LISTS, INSTANCES)

_POLL_S = 0.01
_REMEMBER = "give runs what this check writes (--capabilities FILE): they then ask for {}"
_LATER = "check again at a quieter hour: it failed for another reason than the request itself"
_NO_SUCH_SERIES = "no small series was found to try it with"


@dataclass(frozen=True)
class Trial:
    """A C-MOVE request and the instances that it must bring, no other."""

    request: MoveRequest
    expected: frozenset[str]


@dataclass(frozen=True)
class Delivery:
    """What came of a trial: of the expected instances, and how many others; `end` None: there was no final response.

    `said`: why, then, in words; `remedy` where the association itself failed.
    """

    came: frozenset[str]
    others: int
    end: MoveState | None
    seconds: float
    said: str = ""
    remedy: str = ""


def one_instance(samples: Sequence[Sample]) -> list[Trial]:
    """Ways to move a single instance, or else a small series, the first to be tried first."""
    smallest = min(samples, key=lambda each: len(each.instance_uids), default=None)
    if smallest is None:
        return []
    first = Sample(smallest.study_uid, smallest.series_uid, smallest.instance_uids[:1])
    whole = [_series(smallest)] if len(smallest.instance_uids) <= FEW else []
    return whole if smallest == first else [_instances(first), *whole]


def two_series(samples: Sequence[Sample]) -> Trial | None:
    """The two smallest series of one study in one request; None where there are no two small ones."""
    small = sorted((each for each in samples if len(each.instance_uids) <= FEW), key=_size)
    pairs = [pair for pair in combinations(small, 2) if pair[0].study_uid == pair[1].study_uid]
    if not pairs:
        return None
    one, other = min(pairs, key=lambda pair: _size(pair[0]) + _size(pair[1]))
    request = MoveRequest((one.study_uid,), (one.series_uid, other.series_uid))
    return Trial(request, frozenset((*one.instance_uids, *other.instance_uids)))


def some_instances(samples: Sequence[Sample]) -> Trial | None:
    """Two instances of a small series that has more, or one of two; None where there is none with several."""
    several = sorted((each for each in samples if 1 < len(each.instance_uids) <= FEW), key=_size)
    chosen = next((each for each in several if _size(each) > 2), several[0] if several else None)
    if chosen is None:
        return None
    wanted = chosen.instance_uids[: 2 if _size(chosen) > 2 else 1]
    return _instances(Sample(chosen.study_uid, chosen.series_uid, wanted))


def planned(samples: Sequence[Sample]) -> int:
    """The instances that all trials together ask for, when the first way to move one is good."""
    trials = [*one_instance(samples)[:1], two_series(samples), some_instances(samples)]
    return sum(len(trial.expected) for trial in trials if trial)


def took(trial: Trial, delivery: Delivery) -> bool | None:
    """Whether the PACS took the request as it was meant; None: it failed for another reason."""
    if delivery.others:
        return False
    if delivery.came == trial.expected:
        return True
    end = delivery.end
    return False if end is not None and (is_clean(end) or refused_for_good(end)) else None


class MoveProbes:
    """The C-MOVE probes, in the order of `NAMES`."""

    def __init__(
        self, pacs: Pacs, toolbox: Toolbox, staging: Path, timeouts: Timeouts, *, own_address: str
    ) -> None:
        self._pacs = pacs
        self._toolbox = toolbox
        self._staging = staging
        self._timeouts = timeouts
        self._own_address = own_address
        self.uid_lists: bool | None = None
        self.image_moves: bool | None = None

    def run(self, samples: Sequence[Sample], sop_classes: Iterable[str]) -> Iterator[Probe]:
        """Lets the PACS send instances of the samples, one request after the other."""
        config, classes = self._pacs.config, list(sop_classes)
        with Receiver(self._toolbox, self._staging, config.aet, config.move_port, classes) as self._receiver:
            self._arrivals = Arrivals(self._receiver.folder)
            reached = self._try_one(samples)
            yield reached
            if reached.outcome is not Outcome.OK:
                for name in NAMES[1:]:
                    yield Probe.skipped(name, f"{ONE} failed")
                return
            yield self._try_list(two_series(samples))
            yield self._try_instances(some_instances(samples))

    def _try_one(self, samples: Sequence[Sample]) -> Probe:
        delivery = Delivery(frozenset(), 0, None, 0.0)
        for trial in one_instance(samples):
            delivery = self._deliver(trial)
            if trial.expected <= delivery.came:
                number = len(delivery.came)
                came = "1 instance" if number == 1 else f"{number} instances"
                return Probe.ok(ONE, f"{came} came within {delivery.seconds:.1f} s, deleted again")
            if took(trial, delivery) is None:
                break
        return self._not_reached(delivery)

    def _not_reached(self, delivery: Delivery) -> Probe:
        """Nothing came: who did not find whom."""
        config, end = self._pacs.config, delivery.end
        here = f"this machine's address ({self._own_address}) and port {config.move_port}"
        declare = f"ask the PACS administrator to declare the AE title {config.aet} with {here}"
        if end is None:
            return Probe.failed(ONE, delivery.said, delivery.remedy or LOOK_INTO_LOG)
        status = f"{end.words or 'status'} (0x{end.status or 0:04X})"
        if end.status == MOVE_DESTINATION_UNKNOWN:
            return Probe.failed(ONE, f"the PACS does not know the AE title {config.aet} (0xA801)", declare)
        if self._receiver.refused_classes():
            return Probe.failed(
                ONE,
                f"{status}; the PACS offered a SOP class that was refused here",
                f"name it with --sop_class, by its UID: {self._receiver.refused_classes()[0]}",
            )
        if self._receiver.contacted():
            return Probe.failed(ONE, f"{status}; the PACS called, but sent nothing whole", LOOK_INTO_LOG)
        if is_clean(end):
            return Probe.failed(
                ONE,
                "the PACS says that it sent what was asked, but nothing came here",
                f"the AE title {config.aet} stands for another machine or port: {declare}",
            )
        return Probe.failed(
            ONE,
            f"{status}; the PACS never called this machine",
            f"{declare}, and to let it pass the firewalls in between",
        )

    def _try_list(self, trial: Trial | None) -> Probe:
        if trial is None:
            return Probe.skipped(LISTS, _NO_SUCH_SERIES)
        delivery = self._deliver(trial)
        self.uid_lists = took(trial, delivery)
        if self.uid_lists:
            return Probe.ok(LISTS, "two series of one study in one request came both")
        return Probe.warning(
            LISTS,
            f"two series of one study in one request: {_shortfall(trial, delivery)}",
            _REMEMBER.format("one series at a time") if self.uid_lists is False else _LATER,
        )

    def _try_instances(self, trial: Trial | None) -> Probe:
        if trial is None:
            return Probe.skipped(INSTANCES, _NO_SUCH_SERIES)
        delivery = self._deliver(trial)
        self.image_moves = took(trial, delivery)
        if self.image_moves:
            return Probe.ok(INSTANCES, f"{len(trial.expected)} of a series came, and no other")
        return Probe.warning(
            INSTANCES,
            f"some instances of a series: {_shortfall(trial, delivery)}",
            _REMEMBER.format("whole series") if self.image_moves is False else _LATER,
        )

    # -- one request

    def _deliver(self, trial: Trial) -> Delivery:
        """Asks for it, and takes what comes; ends the request when far more comes than was asked."""
        started = time.monotonic()
        move = self._pacs.move([trial.request], self._pacs.config.aet)
        try:
            end, said = self._wait(move, len(trial.expected) + FEW)
            remedy = ""
            if not move.admitted:
                error = self._pacs.no_association(move.process)
                said, remedy = error.said, error.remedy
        finally:
            move.close()
        came, others = self._settle(trial, end)
        return Delivery(came, others, end, time.monotonic() - started, said, remedy)

    def _wait(self, move: Move, most: int) -> tuple[MoveState | None, str]:
        before = self._arrivals.received
        patience_s = self._timeouts.silence_timeout_s
        while not move.ended:
            for end in move.poll():
                # The association is released in peace.
                move.process.wait(self._timeouts.settle_time_s)
                return (end, "") if end.status is not None else (None, end.words)
            if self._arrivals.scan():
                move.heard = time.monotonic()
            if self._arrivals.received - before > most:
                return None, "far more came than was asked for, and was cut off"
            if time.monotonic() - move.heard > patience_s:
                return None, f"the PACS was silent for {patience_s:g} s"
            self._receiver.check()
            time.sleep(_POLL_S)
        return None, "movescu ended without a final response"

    def _settle(self, trial: Trial, end: MoveState | None) -> tuple[frozenset[str], int]:
        """The instances that came, those after the final response too; nothing of them is left on disk."""
        deadline = time.monotonic() + self._timeouts.settle_time_s
        came: list[str] = []
        while True:
            self._arrivals.scan()
            for arrival in self._arrivals.take_strangers():
                came.append(arrival.sop_instance_uid)
                arrival.path.unlink()
            waits = end is not None and is_clean(end) and time.monotonic() < deadline
            if trial.expected <= set(came) or not waits:
                break
            time.sleep(_POLL_S)
        return trial.expected & set(came), sum(uid not in trial.expected for uid in came)


def _series(sample: Sample) -> Trial:
    return Trial(MoveRequest((sample.study_uid,), (sample.series_uid,)), frozenset(sample.instance_uids))


def _instances(sample: Sample) -> Trial:
    request = MoveRequest((sample.study_uid,), (sample.series_uid,), sample.instance_uids)
    return Trial(request, frozenset(sample.instance_uids))


def _size(sample: Sample) -> int:
    return len(sample.instance_uids)


def _shortfall(trial: Trial, delivery: Delivery) -> str:
    seen = f"{len(delivery.came)} of {len(trial.expected)} instances came"
    if delivery.others:
        seen += f", and {delivery.others} others"
    end = delivery.end
    how = delivery.said if end is None else f"the PACS says {end.words or 'status'} (0x{end.status or 0:04X})"
    return f"{seen}; {how}"
