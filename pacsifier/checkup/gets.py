"""C-GET as a check tries it: one instance, deleted at once; without consent only whether the PACS offers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacsifier.checkup.finds import Sample
from pacsifier.checkup.probe import LOOK_INTO_LOG, Probe
from pacsifier.checkup.trials import Delivery, Line, Trial, deliver, one_instance, shortfall, took
from pacsifier.dcmtk.pacs import STUDY_ROOT_GET, Pacs
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.errors import AssociationError
from pacsifier.figures import counted
from pacsifier.transfer.fetch.arrivals import Arrivals

NAME = "C-GET to this machine"
NEEDS = "only --retrieve_method get and auto need it"


@dataclass(frozen=True)
class Got:
    """What was found out of C-GET; None: not tried, or nothing can be said.

    `came`: whether images come; `offered`: whether the PACS takes an association for it, which it may still refuse
    to use.
    """

    came: bool | None = None
    offered: bool | None = None


def planned(samples: Sequence[Sample]) -> int:
    """The instances that are asked for where the first way to ask for one is good."""
    return sum(len(trial.expected) for trial in one_instance(samples)[:1])


def probe_get(pacs: Pacs, folder: Path, timeouts: Timeouts, samples: Sequence[Sample]) -> tuple[Probe, Got]:
    """Fetches one instance; `folder` is a new folder for what comes."""
    folder.mkdir(mode=0o700)
    line = Line(pacs, Arrivals(folder), timeouts)
    trials = one_instance(samples)
    for trial in trials:
        delivery = deliver(line, trial)
        if trial.expected <= delivery.came or took(trial, delivery) is None:
            break
    return judge_get(trial, delivery, pacs.config.aet)


def judge_get(trial: Trial, delivery: Delivery, ae_title: str) -> tuple[Probe, Got]:
    """What a delivery by C-GET says of the PACS."""
    if trial.expected <= delivery.came:
        came = counted(len(delivery.came), "instance")
        return Probe.ok(NAME, f"{came} came within {delivery.seconds:.1f} s, deleted again"), Got(True, True)
    if delivery.unadmitted:
        return _not_offered(delivery.said, ae_title, lasting=not delivery.temporary)
    verdict = took(trial, delivery)
    # Who accepts an association and hangs up at C-GET allows none.
    remedy = LOOK_INTO_LOG if verdict is None and delivery.end else _allow(ae_title)
    if delivery.end is not None and delivery.end.failed and not trial.syntax:
        remedy = (
            f"the image may be held compressed, for which runs try other transfer syntaxes; else {remedy}"
        )
    return Probe.warning(NAME, shortfall(trial, delivery), f"{NEEDS}: {remedy}"), Got(verdict, True)


def probe_offer(pacs: Pacs) -> tuple[Probe, Got]:
    """Looks whether the PACS takes an association for C-GET; asks for nothing over it."""
    try:
        pacs.offers(STUDY_ROOT_GET)
    except AssociationError as error:
        return _not_offered(error.said, pacs.config.aet, lasting=not error.temporary)
    return Probe.ok(NAME, "the PACS offers it; with --yes it is asked for an image"), Got(None, True)


def _not_offered(said: str, ae_title: str, *, lasting: bool) -> tuple[Probe, Got]:
    verdict = False if lasting else None
    remedy = _allow(ae_title) if lasting else LOOK_INTO_LOG
    seen = f"the PACS does not offer it to {ae_title}: {said}" if lasting else said
    return Probe.warning(NAME, seen, f"{NEEDS}: {remedy}"), Got(verdict, verdict)


def _allow(ae_title: str) -> str:
    return f"ask the PACS administrator to allow C-GET to {ae_title}, or retrieve by C-MOVE"
