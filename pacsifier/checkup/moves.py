"""C-MOVE as a check tries it: a few instances of small series, received here and deleted at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pacsifier.checkup.finds import FEW, Sample
from pacsifier.checkup.probe import LOOK_INTO_LOG, Probe, skipped
from pacsifier.checkup.trials import (
    Delivery,
    Line,
    Trial,
    deliver,
    of_instances,
    one_instance,
    shortfall,
    status_words,
    took,
)
from pacsifier.config import PacsConfig
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.tls import how_to_send
from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.retry import is_clean

ONE, LISTS, INSTANCES = "C-MOVE to this machine", "C-MOVE of a UID list", "C-MOVE at the IMAGE level"
NAMES = (ONE, LISTS, INSTANCES)

_REMEMBER = (
    "runs find that out and ask for {} instead; give them what this check writes (--capabilities FILE), and they do so "
    "from the start"
)
_LATER = "check again at a quieter hour: it failed for another reason than the request itself"
_NOT_UNDERSTOOD = "lists of UIDs are not understood"
_NO_SUCH_SERIES = "no small series was found to try it with"


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
    return of_instances(replace(chosen, instance_uids=wanted))


def planned(samples: Sequence[Sample]) -> int:
    """The instances that all trials together ask for, when the first way to move one is good."""
    trials = [*one_instance(samples)[:1], two_series(samples), some_instances(samples)]
    return sum(len(trial.expected) for trial in trials if trial)


@dataclass(frozen=True)
class Moved:
    """What the C-MOVE probes found out of the PACS; None: not tried, or nothing can be said.

    `came`: whether images come to this machine.
    """

    came: bool | None = None
    uid_lists: bool | None = None
    image_moves: bool | None = None


def probe_moves(
    pacs: Pacs, receiver: Receiver, timeouts: Timeouts, samples: Sequence[Sample], own_address: str
) -> Generator[Probe, None, Moved]:
    """Lets the PACS send instances of the samples, one request after the other; starts and ends the receiver."""
    with receiver:
        line = Line(pacs, Arrivals(receiver.folder), timeouts, receiver)
        one, good = probe_one(line, one_instance(samples), own_address)
        yield one
        if good is None:
            yield from skipped(NAMES[1:], f"{ONE} failed")
            return Moved(came=False)
        lists, uid_lists = probe_list(line, two_series(samples), good)
        yield lists
        instances, image_moves = probe_instances(line, some_instances(samples), good)
        yield instances
        return Moved(True, uid_lists, image_moves)


def probe_one(line: Line, trials: Iterable[Trial], own_address: str) -> tuple[Probe, Trial | None]:
    """Tries one way after the other to have a single instance sent, until one is good; that one too."""
    delivery = Delivery(frozenset(), 0, None, 0.0)
    for trial in trials:
        delivery = deliver(line, trial)
        if trial.expected <= delivery.came:
            number = len(delivery.came)
            came = "1 instance" if number == 1 else f"{number} instances"
            return Probe.ok(ONE, f"{came} came within {delivery.seconds:.1f} s, deleted again"), trial
        if took(trial, delivery) is None:
            break
    return not_reached(delivery, line.pacs.config, own_address), None


def not_reached(delivery: Delivery, config: PacsConfig, own_address: str) -> Probe:
    """Nothing came: who did not find whom."""
    end = delivery.end
    here = f"this machine's address ({own_address}) and port {config.move_port}"
    declare = f"ask the PACS administrator to declare the AE title {config.aet} with {here}"
    if end is None:
        return Probe.failed(ONE, delivery.said, delivery.remedy or LOOK_INTO_LOG)
    status = status_words(end)
    if end.status == MOVE_DESTINATION_UNKNOWN:
        return Probe.failed(ONE, f"the PACS does not know the AE title {config.aet} (0xA801)", declare)
    if delivery.refused_classes:
        return Probe.failed(
            ONE,
            f"{status}; the PACS offered a SOP class that was refused here",
            f"name it with --sop_class, by its UID: {delivery.refused_classes[0]}",
        )
    if delivery.contacted:
        return Probe.failed(ONE, f"{status}; the PACS called, but sent nothing whole", LOOK_INTO_LOG)
    if is_clean(end):
        return Probe.failed(
            ONE,
            "the PACS says that it sent what was asked, but nothing came here",
            f"the AE title {config.aet} stands for another machine or port: {declare}",
        )
    fault = delivery.tls_fault
    seen = f"a caller's TLS was not good: {fault}" if fault else "the PACS never called this machine"
    pass_on = "" if fault else f"{declare}, and to let it pass the firewalls in between"
    remedy = "; ".join(filter(None, (pass_on, how_to_send(config.receiver_tls))))
    return Probe.failed(ONE, f"{status}; {seen}", remedy)


def probe_list(line: Line, trial: Trial | None, good: Trial) -> tuple[Probe, bool | None]:
    """Tries one request for two series; returns also whether the PACS takes such lists. `good`: one that it takes."""
    if trial is None:
        return Probe.skipped(LISTS, _NO_SUCH_SERIES), None
    delivery, uid_lists = _judged(line, trial, good)
    if uid_lists:
        return Probe.ok(LISTS, "two series of one study in one request came both"), uid_lists
    words = f"two series of one study in one request: {shortfall(trial, delivery)}"
    if uid_lists is None:
        return Probe.warning(LISTS, words, _LATER), None
    return Probe.warning(
        LISTS, f"{words}; {_NOT_UNDERSTOOD}", _REMEMBER.format("one series at a time")
    ), False


def probe_instances(line: Line, trial: Trial | None, good: Trial) -> tuple[Probe, bool | None]:
    """Tries a request for some instances of a series; returns also whether the PACS takes such requests."""
    if trial is None:
        return Probe.skipped(INSTANCES, _NO_SUCH_SERIES), None
    delivery, image_moves = _judged(line, trial, good)
    if image_moves:
        return Probe.ok(INSTANCES, f"{len(trial.expected)} of a series came, and no other"), image_moves
    words = f"some instances of a series: {shortfall(trial, delivery)}"
    remedy = _LATER if image_moves is None else _REMEMBER.format("whole series")
    return Probe.warning(INSTANCES, words, remedy), image_moves


def _judged(line: Line, trial: Trial, good: Trial) -> tuple[Delivery, bool | None]:
    """What came of a trial, and whether the PACS takes such requests: where nothing tells, `good` is tried again."""
    delivery = deliver(line, trial)
    verdict = took(trial, delivery)
    if verdict is None and not delivery.came:
        known_good = good.expected <= deliver(line, good).came
        verdict = took(trial, delivery, known_good=known_good)
    return delivery, verdict


def _size(sample: Sample) -> int:
    return len(sample.instance_uids)
