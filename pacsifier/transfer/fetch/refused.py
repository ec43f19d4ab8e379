"""What the PACS proposed to send and our receiver did not take, by series; what the next receiver is to take instead.

A SOP class that was refused is taken at the next asking; a transfer syntax that DCMTK cannot receive stays refused, and
is named. An association does not say for which request it was opened: what is proposed while a request runs is held
to be for it, unless other classes of it are known to be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.storescp import Receiver, Refusal
from pacsifier.transfer.fetch.verdict import is_complete
from pacsifier.transfer.model import SeriesKey, SeriesState

Asking = tuple[list[SeriesState], tuple[str, ...]]
"""Series that are asked for together, and the SOP classes that the receiver must take for them."""


@dataclass
class Refused:
    """What one way has seen refused; `classes` in the order in which they were."""

    classes: dict[str, None] = field(default_factory=dict)
    # Only of series of which something was refused: of most nothing is.
    _of: dict[SeriesKey, list[Refusal]] = field(default_factory=dict)

    @property
    def seen(self) -> bool:
        """Whether anything was refused."""
        return bool(self._of)

    def hear(self, fresh: Sequence[Refusal], states: Sequence[SeriesState]) -> bool:
        """Takes note of what was refused while a request for the series ran.

        Returns whether that is why it brought less than was asked for.
        """
        self.classes |= dict.fromkeys(each.sop_class for each in fresh if not each.syntaxes)
        unfit = False
        for state in states:
            classes = _told_classes(state)
            fitting = [each for each in fresh if not classes or each.sop_class in classes]
            # Other requests run at the same time: what was refused at each asking is more likely its own.
            before = {(each.sop_class, each.syntaxes) for each in self._of.get(state.series.key, ())}
            both = [each for each in fitting if (each.sop_class, each.syntaxes) in before]
            if fitting:
                self._of[state.series.key] = both or fitting
            else:
                self._of.pop(state.series.key, None)
            unfit |= not is_complete(state) and any(each.whole for each in fitting)
        return unfit

    def remark(self, state: SeriesState, last: Receiver) -> str:
        """The classes and syntaxes for which a series could not come; `last`: the receiver that was asked last."""
        if state.status.completed:
            return ""
        refusals = self._of.get(state.series.key, ())
        classes = {each.sop_class for each in refusals if not each.syntaxes}.difference(last.sop_classes)
        return "; ".join(
            [
                *(
                    f"the PACS proposed the SOP class {negotiation.named(uid)}, which was not taken: "
                    f"ask again with --sop_class {uid}"
                    for uid in sorted(classes)
                ),
                *(_syntaxes_told(each, last.version) for each in refusals if each.syntaxes),
            ]
        )


def _syntaxes_told(refusal: Refusal, version: str) -> str:
    syntaxes = ", ".join(map(negotiation.named, refusal.syntaxes))
    return (
        f"the PACS proposed objects of the SOP class {negotiation.named(refusal.sop_class)} in a transfer syntax that "
        f"DCMTK {version} does not receive: {syntaxes}"
    )


def missing_classes(state: SeriesState) -> set[str]:
    """The SOP classes of what is missing of a series; "" for one that the IMAGE level does not tell."""
    instances = state.series.instances or ()
    return {each.sop_class for each in instances if each.sop_instance_uid not in state.found}


def _told_classes(state: SeriesState) -> set[str]:
    """The SOP classes of what is missing; empty where they are not all known."""
    classes = missing_classes(state)
    return set() if "" in classes else classes


def askings(states: Sequence[SeriesState], refused: Sequence[str]) -> list[Asking]:
    """The series apart so that one receiver takes all classes of each; `refused`: for those of unknown classes. Pure.

    Where more was refused than a receiver can take, series of unknown classes are in several askings.
    """
    most = negotiation.MAX_CONTEXTS
    groups: list[tuple[list[SeriesState], set[str]]] = []
    unknown = [state for state in states if not _told_classes(state)]
    for state in states:
        needed = _told_classes(state) or set(refused[:most])
        for group, classes in groups:
            if len(classes | needed) <= most:
                group.append(state)
                classes.update(needed)
                break
        else:
            groups.append(([state], needed))
    made = [(group, tuple(sorted(classes))) for group, classes in groups]
    later = range(most, len(refused), most) if unknown else ()
    return made + [(unknown, tuple(refused[start : start + most])) for start in later]
