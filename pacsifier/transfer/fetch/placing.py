"""Places what arrives: by the objects' own headers, checked against what was asked for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pacsifier.dicom import part10
from pacsifier.disk.info import write_info
from pacsifier.disk.names import LOG_FOLDER, UNEXPECTED_FOLDER, instance_name
from pacsifier.disk.tree import Placed, SeriesIdentity, Tree
from pacsifier.query import Match, Query, matches
from pacsifier.query.series import PackedValues
from pacsifier.transfer.exclusion import Excluded
from pacsifier.transfer.fetch.arrivals import Arrival, Arrivals, read_object
from pacsifier.transfer.fetch.aside import Limits, SetAside, Why
from pacsifier.transfer.fetch.callers import is_foreign
from pacsifier.transfer.fetch.encodings import are_one_object
from pacsifier.transfer.model import DROPPED, Conflicts, SeriesKey, SeriesState, Status, Tally

log = logging.getLogger(__name__)


_SETTLED = "--resume asks the PACS again; or remove the wrong one of the two"


class Placer:
    """Renames whole objects from staging into the tree, and counts what it did; `info`: also writes info CSVs."""

    def __init__(
        self,
        tree: Tree,
        queries: Sequence[Query],
        excluded: Excluded,
        *,
        info: bool,
        limits: Limits | None = None,
        conflicts: Conflicts | None = None,
    ) -> None:
        self._tree = tree
        self._conflicts = conflicts or {}
        self._queries = queries
        self._excluded = excluded
        self._info = info
        # The PatientID of the first object of each series of which neither the PACS nor an object told it.
        self._patients: dict[tuple[str, str], str] = {}
        # What was placed of a series by an earlier run.
        self._placed: dict[tuple[str, str], list[Mapping[str, str | None]]] = {}
        # What an earlier run had placed of series that are fetched again: the PACS may not list it any more.
        self._adopted: dict[SeriesKey, frozenset[str]] = {}
        # Of those, the whole objects that name another series, with their sizes.
        self._relabelled: dict[SeriesKey, dict[str, int]] = {}
        self._unaccounted: set[SeriesKey] = set()
        # The AE titles that were last known to send what was asked for.
        self._callers: frozenset[str] = frozenset()
        self.tally = Tally()
        self.aside = SetAside(tree, limits or Limits(), self.tally)

    def place(self, state: SeriesState, arrivals: Arrivals, known: frozenset[str] = frozenset()) -> None:
        """Places all that has arrived of a series; where no row wants it for certain, the headers decide first.

        What comes from another AE title than the `known` ones is a stranger's, whatever series it names.
        """
        self._callers = known
        arrived: list[Arrival] = []
        for each in arrivals.take(state.series.key):
            if not is_foreign(each.caller, known):
                arrived.append(each)
            # A stranger's object says nothing of the patient of a series.
            elif not self._drop_excluded(each, None):
                self.aside.keep(each, Why.FOREIGN)
        if not arrived:
            return
        arrived = self._without_excluded(state, arrived)
        if state.series.undecided and arrived:
            self._decide_by_headers(state, [each.values() for each in arrived])
        if state.status is Status.NOT_WANTED:
            for arrival in arrived:
                arrival.path.unlink()
            return
        for arrival in arrived:
            self._place_one(state, arrival)

    def adopt(self, state: SeriesState, folder: Path, *, write: bool = True) -> bool:
        """Takes over what an earlier run has placed: the whole instances in the folder of the series.

        Returns whether there is anything; `adopt_listed` takes over those that name another series.
        """
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            placed = read_object(path)
            if not (placed.file.is_part10 and placed.file.whole):
                continue
            if placed.series_key != state.series.key:
                others = self._relabelled.setdefault(state.series.key, {})
                others[placed.sop_instance_uid] = placed.file.size
                continue
            if not state.found:
                self._complete_values(state, placed.values())
                if not state.series.values.get("PatientID"):
                    self._patients[state.series.key] = (placed.text("PatientID") or "").strip()
            if state.series.undecided:
                self._placed.setdefault(state.series.key, []).append(placed.values())
            state.put(placed.sop_instance_uid, placed.file.size)
        state.lie_in(folder)
        self._adopted[state.series.key] = frozenset(state.found)
        info = folder.with_name(f"{folder.name}.csv")
        if self._info and write and state.found and not info.exists():
            write_info(info, state.series.values)
        return bool(state.found or self._relabelled.get(state.series.key))

    def adopt_listed(self, state: SeriesState) -> None:
        """Takes over what an earlier run has placed that names another series, where the IMAGE level lists it here."""
        others = self._relabelled.get(state.series.key, {})
        for uid in (instance.sop_instance_uid for instance in state.series.instances or ()):
            if uid in others and state.put(uid, others[uid]):
                state.claim()
        if not state.found:
            state.lie_in(None)
        self._adopted[state.series.key] = frozenset(state.found)

    def decide_by_placed(self, state: SeriesState) -> None:
        """Settles by what an earlier run has placed whether a row wants the series, where the PACS told too little."""
        if state.series.undecided:
            self._decide_by_headers(state, self._placed.get(state.series.key, ()))

    def _without_excluded(self, state: SeriesState, arrived: Sequence[Arrival]) -> list[Arrival]:
        """The objects that are not of excluded patients; of a series that holds both nothing can be complete."""
        kept = [each for each in arrived if not self._drop_excluded(each, None)]
        if len(kept) < len(arrived) or (kept and state.status is Status.EXCLUDED):
            _enter_excluded(state, others=bool(kept or state.files))
        return kept

    def _drop_excluded(self, arrival: Arrival, state: SeriesState | None) -> bool:
        """Deletes an object of an excluded patient at once, whatever the index said of its series."""
        if arrival.text("PatientID") not in self._excluded:
            return False
        arrival.path.unlink()
        self.tally.excluded += 1
        if state is not None:
            _enter_excluded(state, others=bool(state.files))
        return True

    def _decide_by_headers(self, state: SeriesState, values: Sequence[Mapping[str, str | None]]) -> None:
        """Settles for each undecided row whether an image of the series matches; what a header lacks does not."""
        queries = {query.rows[0]: query for query in self._queries}
        rows = [
            row
            for row, columns in state.series.undecided.items()
            if any(matches(queries[row], each, columns).result is Match.YES for each in values)
        ]
        rows = sorted({*rows, *state.series.rows})
        if rows:
            # Where an image that came late matches, those discarded before it are asked for again.
            state.want(rows)
        else:
            state.discard("the images do not match the query row")

    def _place_one(self, state: SeriesState, arrival: Arrival) -> None:
        own_id = arrival.text("PatientID")
        # An index that tells no PatientID must not let two people share a series.
        asked_id = state.series.values.get("PatientID") or self._patients.setdefault(
            state.series.key, (own_id or "").strip()
        )
        if _another_patient(asked_id or "", own_id or ""):
            where = "see logs/unexpected" if self.aside.keep(arrival, Why.OTHER_PATIENT) else DROPPED
            state.spoil(
                f"an object of another PatientID arrived under this series' UIDs: {where}; {_SETTLED}"
            )
            return
        folder = state.folder or self._open_folder(state, arrival.values())
        uid = arrival.sop_instance_uid
        name = instance_name(arrival.prefix, uid)
        if uid in state.found and not (folder / name).exists():
            # Of another SOP class, and so under another name.
            placed = Placed.CONFLICT
        else:
            placed = self._tree.place(arrival.path, folder, name)
        if placed is Placed.CONFLICT and (folder / name).exists():
            same = are_one_object(folder / name, arrival.path)
            if same is not False:
                arrival.path.unlink()
                self.aside.uncompared[state.series.key] += same is None
                placed = Placed.EQUAL
        if placed is Placed.CONFLICT and self._is_sent_again(state, arrival):
            # Asked again, the PACS sends what was set aside: the one in the tree is the other.
            self.aside.keep(read_object(folder / name), Why.CORRECTED)
            placed = self._tree.place(arrival.path, folder, name)
        if placed is Placed.CONFLICT:
            self.tally.conflicts += 1
            state.spoil(
                f"two different objects share a SOP Instance UID: one is in logs/unexpected; {_SETTLED}"
            )
            self.aside.keep(arrival, Why.CONTRADICTS)
            return
        if state.put(uid, arrival.file.size):
            self.tally.new_instances += 1
            self.tally.bytes += arrival.file.size

    def _is_sent_again(self, state: SeriesState, arrival: Arrival) -> bool:
        """Whether an object equals the one of an open contradiction that lies in `logs/unexpected`."""
        name = self._conflicts.get(state.series.key, {}).get(arrival.sop_instance_uid)
        aside = self._tree.folder / LOG_FOLDER / UNEXPECTED_FOLDER / name if name else None
        return aside is not None and aside.is_file() and part10.dataset_bytes_equal(arrival.path, aside)

    def _open_folder(self, state: SeriesState, header: Mapping[str, str | None]) -> Path:
        before = SeriesIdentity.of(state.series.values)
        self._complete_values(state, header)
        identity = SeriesIdentity.of(state.series.values)
        folder = self._tree.series_folder(identity)
        state.lie_in(folder)
        if self._info:
            write_info(self._tree.info_path(identity), state.series.values)
            self._tree.drop_other_info(before, identity)
        return folder

    def _complete_values(self, state: SeriesState, header: Mapping[str, str | None]) -> None:
        """Takes the index's values, and the header's where the PACS told none."""
        state.complete_values(_completed(state.series.values, header))

    def doubt(self, series_keys: Iterable[SeriesKey]) -> None:
        """The counters of a request for these series do not tell of all that came: some may be a stranger's."""
        self._unaccounted.update(series_keys)

    def doubted(self, states: Iterable[SeriesState]) -> list[SeriesState]:
        """The series of which strangers sent objects, or of which more came than was announced and counted."""
        named = {each.arrival.series_key for each in self.aside.kept if each.foreign}
        return [
            state
            for state in states
            if state.series.key in named
            or (state.series.key in self._unaccounted and len(state.found) > (state.series.expected or 0))
        ]

    def claim_strangers(self, states: Sequence[SeriesState]) -> None:
        """Places strangers whose SOP Instance UID the IMAGE level lists for a series, under the index's identity.

        Such objects carry other study or series UIDs than the index tells, after a merge for example. What an unknown
        caller sent never stands for an instance that the PACS could not send.
        """
        listed = {
            instance.sop_instance_uid: state
            for state in states
            for instance in state.series.instances or ()
            if instance.sop_instance_uid not in state.found
        }
        strangers, self.aside.kept = self.aside.kept, []
        for stranger in strangers:
            arrival = stranger.arrival
            state = listed.get(arrival.sop_instance_uid)
            if state is None or not stranger.claimable or (stranger.foreign and state.failed):
                self.aside.kept.append(stranger)
            elif arrival.path.is_file():
                self.tally.unexpected -= 1
                self._place_one(state, arrival)
                if arrival.sop_instance_uid in state.found and arrival.series_key != state.series.key:
                    state.claim()

    def set_unlisted_aside(self, state: SeriesState) -> None:
        """Takes out of the tree what came in this run and the IMAGE level does not list."""
        listed = {instance.sop_instance_uid for instance in state.series.instances or ()}
        kept = listed | self._adopted.get(state.series.key, frozenset())
        if not listed or state.folder is None:
            return
        for uid in sorted(state.found.keys() - kept):
            self.tally.bytes -= state.found[uid]
            self.tally.new_instances -= 1
            state.drop(uid)
            ending = instance_name("", uid).partition(".")[2]
            for path in sorted(state.folder.iterdir()):
                # Compared whole: one UID may end as another does.
                if path.name.partition(".")[2] == ending:
                    self.aside.keep(read_object(path), Why.UNLISTED)

    def set_strangers_aside(self, arrivals: Arrivals, states: Mapping[SeriesKey, SeriesState]) -> None:
        """Keeps what nobody asked for in `logs/unexpected`; tells what arrived damaged.

        `states`: every series of the run.
        """
        self.keep_strangers(arrivals.take_strangers(), states)
        for arrival in arrivals.take_broken():
            self._tell_damaged(arrival, states.get(arrival.series_key))

    def keep_strangers(self, strangers: Iterable[Arrival], states: Mapping[SeriesKey, SeriesState]) -> None:
        """Keeps objects that nobody asked for in `logs/unexpected`; `states`: every series of the run."""
        for arrival in strangers:
            if not self._drop_excluded(arrival, states.get(arrival.series_key)):
                foreign = is_foreign(arrival.caller, self._callers)
                self.aside.keep(arrival, Why.UNASKED_FOREIGN if foreign else Why.UNASKED)

    def _tell_damaged(self, arrival: Arrival, state: SeriesState | None) -> None:
        """What ends early or contradicts itself is removed; what is too large to look into is kept aside."""
        log.warning("an object of %d bytes arrived damaged: %s", arrival.file.size, arrival.file.defect)
        if state is not None:
            state.damage(f"an object arrived damaged: {arrival.file.defect}")
        if not arrival.file.oversized:
            arrival.path.unlink(missing_ok=True)
        elif not self._drop_excluded(arrival, None):
            self.aside.keep(arrival, Why.OVERSIZED)


def _enter_excluded(state: SeriesState, *, others: bool) -> None:
    """Objects of an excluded patient came under the UIDs of a series; `others`: and objects of somebody else."""
    if others:
        state.spoil("objects of an excluded patient arrived under this series' UIDs; they were deleted")
    else:
        state.exclude("the images are of an excluded patient")


def _another_patient(asked: str, own: str) -> bool:
    """Whether two PatientIDs differ; an index in a narrower character set mangles what is not ASCII in `own`."""
    asked, own = asked.strip(), own.strip()
    if asked == own or not asked or not own:
        return False
    ascii_parts = (re.escape(part) for part in re.split(r"[^\x00-\x7f]+", own))
    return own.isascii() or re.fullmatch(".*".join(ascii_parts), asked, re.DOTALL) is None


def _completed(values: Mapping[str, str | None], header: Mapping[str, str | None]) -> PackedValues:
    """The index's values, with the header's where the PACS told none, and where its character set could not carry
    them (PS3.5 6.1.2)."""
    taken = {
        keyword: own
        for keyword, own in header.items()
        if own and own != values.get(keyword) and not (values.get(keyword) and own.isascii())
    }
    # The UID of one of its instances is none of a series, and no two series have the same.
    taken.pop("SOPInstanceUID", None)
    return PackedValues(taken, values)
