"""What a run keeps in `logs/unexpected`: what nobody asked for and what contradicts, within limits, with the reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from pacsifier.disk.files import free_bytes
from pacsifier.disk.tree import Tree
from pacsifier.figures import counted
from pacsifier.transfer.fetch.arrivals import Arrival
from pacsifier.transfer.model import SeriesKey, Tally, Unexpected
from pacsifier.transfer.options import MAX_UNEXPECTED, MAX_UNEXPECTED_BYTES


class Why(Enum):
    """Why an object was set aside; the value says it in the table."""

    UNASKED = "nobody asked for it"
    UNASKED_FOREIGN = "nobody asked for it, and it is from an AE title that is not known to send anything"
    FOREIGN = "from an AE title that is not known to send it"
    UNLISTED = "that the PACS does not list"
    OTHER_PATIENT = "of another PatientID than the index tells"
    CONTRADICTS = "another object of its SOP Instance UID is in the tree"
    CORRECTED = "asked again, the PACS sent another object of its SOP Instance UID"
    OVERSIZED = "it inflates to more than is read: nobody has looked at the rest of it"


@dataclass(frozen=True)
class Aside:
    """An object in `logs/unexpected`, why, and since when (ISO 8601)."""

    arrival: Arrival
    why: Why
    at: str

    @property
    def foreign(self) -> bool:
        """Whether its caller is not known to send what was asked for."""
        return self.why is Why.FOREIGN

    @property
    def claimable(self) -> bool:
        """Whether the IMAGE level may list it for a series all the same."""
        return self.why in (Why.FOREIGN, Why.UNASKED, Why.UNASKED_FOREIGN)

    def told(self) -> Unexpected:
        """Its row in the table."""
        arrival = self.arrival
        return Unexpected(
            arrival.path.name,
            *arrival.series_key,
            arrival.sop_instance_uid,
            arrival.text("PatientID") or "",
            arrival.caller,
            self.at,
            self.why.value,
        )


@dataclass(frozen=True)
class Limits:
    """What `logs/unexpected` may hold, in objects and bytes, and the bytes that it must leave free on the disk."""

    objects: int = MAX_UNEXPECTED
    bytes: int = MAX_UNEXPECTED_BYTES
    free_bytes: int = 0


class SetAside:
    """Keeps objects in `logs/unexpected` and remembers each; `tally` counts them, and those beyond the limits."""

    def __init__(self, tree: Tree, limits: Limits, tally: Tally) -> None:
        self.kept: list[Aside] = []
        # Objects that came again in another encoding, could not be compared and were not kept.
        self.uncompared: Counter[SeriesKey] = Counter()
        self._tree = tree
        self._limits = limits
        self._tally = tally
        self._room: tuple[int, int] | None = None
        # What the limits let go.
        self._dropped: Counter[SeriesKey] = Counter()

    def keep(self, arrival: Arrival, why: Why) -> bool:
        """Keeps an object, within the limits; beyond them it is counted and deleted. Whether it was kept.

        One that contradicts what is in the tree is always kept: a person must choose.
        """
        if why not in (Why.CONTRADICTS, Why.CORRECTED) and not self._has_room(arrival.file.size):
            arrival.path.unlink(missing_ok=True)
            self._tally.dropped += 1
            self._dropped[arrival.series_key] += why is Why.UNASKED
            return False
        path = self._tree.set_aside(arrival.path, arrival.prefix, arrival.sop_instance_uid)
        self._tally.unexpected += 1
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self.kept.append(Aside(replace(arrival, path=path), why, now))
        return True

    def unexpected(self) -> list[Unexpected]:
        """What this run has set aside."""
        return [each.told() for each in self.kept]

    def contradictions(self) -> list[Unexpected]:
        """What of it contradicts the tree or the index: a person or the PACS must settle it."""
        return [each.told() for each in self.kept if each.why in (Why.CONTRADICTS, Why.OTHER_PATIENT)]

    def remarks(self) -> dict[SeriesKey, str]:
        """What is to be said of objects under the UIDs of series that are not in their folders."""
        whys = Counter(
            (
                each.arrival.series_key,
                f"from the AE title {each.arrival.caller}" if each.foreign else each.why.value,
            )
            for each in self.kept
            if each.why in (Why.FOREIGN, Why.UNLISTED)
        )
        told: dict[SeriesKey, list[str]] = defaultdict(list)
        for (key, why), number in whys.items():
            told[key].append(f"{counted(number, 'object')} {why}: see logs/unexpected")
        for key, number in (+self.uncompared).items():
            told[key].append(
                f"{counted(number, 'object')} came again in another encoding: the first was kept, not compared"
            )
        return {key: "; ".join(words) for key, words in told.items()}

    def unasked(self) -> Counter[SeriesKey]:
        """How many objects of each series came from the PACS that nobody had asked for, kept or not."""
        kept = Counter(each.arrival.series_key for each in self.kept if each.why is Why.UNASKED)
        return kept + self._dropped

    def _has_room(self, size: int) -> bool:
        if self._room is None:
            held = self._tree.unexpected_sizes()
            self._room = self._limits.objects - len(held), self._limits.bytes - sum(held)
        objects, room = self._room
        if objects < 1 or room < size or free_bytes(self._tree.folder) < self._limits.free_bytes:
            return False
        self._room = objects - 1, room - size
        return True
