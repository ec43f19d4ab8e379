"""C-FIND as a check tries it: level by level, below a few recent studies; an archive is never listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from pacsifier.checkup.probe import LOOK_INTO_LOG, Probe
from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.errors import AssociationError, PacsifierError
from pacsifier.query import ATTRIBUTES, INFO_COLUMNS, Match, Query, is_single_key, matches, study_keys
from pacsifier.transfer.find.answers import whole_number
from pacsifier.transfer.find.finder import SERIES_RETURN_KEYS, STUDY_RETURN_KEYS
from pacsifier.transfer.find.images import instances_of

STUDY, SERIES, IMAGE = "C-FIND, STUDY level", "C-FIND, SERIES level", "C-FIND, IMAGE level"
KEYS, RELATIONAL = "returned keys", "relational C-FIND"
NAMES = (STUDY, SERIES, IMAGE, KEYS, RELATIONAL)

FEW = 20
"""A series of so many instances at most is small: it may be moved by a check."""

_MOST_STUDIES, _MOST_SERIES, _MOST_INSTANCES = 5, 100, 100
_LISTED_SERIES = 4
_IMAGE_COLUMNS = tuple(each for each in INFO_COLUMNS if ATTRIBUTES[each].level == "IMAGE")
_ASK_VENDOR = "pacsifier matches every answer again; name patients or UIDs in rows, so that few are in vain"

Question = tuple[str, Keys, Callable[[Values], bool]]


@dataclass(frozen=True)
class Sample:
    """A series that was found, with all of its instances."""

    study_uid: str
    series_uid: str
    instance_uids: tuple[str, ...]


def recent_days(today: date) -> Iterator[tuple[str, str]]:
    """Periods as words and as StudyDate keys: today, then ever further back, none of them asked twice."""
    begin = today
    for words, days in (
        ("today", 0),
        ("the last 7 days", 7),
        ("the last 60 days", 60),
        ("the last 2 years", 730),
        ("the last 20 years", 7300),
    ):
        end, begin = begin - timedelta(days=bool(days)), today - timedelta(days=days)
        yield words, f"{begin:%Y%m%d}" if begin == end else f"{begin:%Y%m%d}-{end:%Y%m%d}"


def small_ones(listed: Mapping[str, Mapping[str, int | None]]) -> list[tuple[str, str]]:
    """Of study -> series -> announced instances: the few series (study, series) that are worth listing.

    The smallest two of the study where two together are smallest, and two with several instances; a number that was
    not announced counts as many.
    """
    sizes = {
        (study, series): _MOST_INSTANCES if number is None else number
        for study, every in listed.items()
        for series, number in every.items()
        if number != 0
    }
    by_size = sorted(sizes, key=lambda each: sizes[each])
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for each in by_size:
        pairs[each[0]].append(each)
    together = [every[:2] for every in pairs.values() if len(every) > 1] or [by_size[:1]]
    best = min(together, key=lambda every: sum(sizes[each] for each in every))
    several = [each for each in by_size if sizes[each] > 1]
    return list(dict.fromkeys((*best, *several)))[:_LISTED_SERIES]


class FindProbes:
    """The C-FIND probes, in the order of `NAMES`; what they found is kept for those that follow."""

    def __init__(self, pacs: Pacs, query: Query | None, kind: type[PacsifierError]) -> None:
        self._pacs = pacs
        self._query = query
        self._kind = kind
        self._studies: list[Values] = []
        self._series: dict[str, dict[str, int | None]] = {}
        self._returned: dict[str, dict[str, bool]] = {}
        self.samples: list[Sample] = []
        self.returned_keys: Mapping[str, Mapping[str, bool]] = self._returned
        self.relational: bool | None = None
        self.sop_classes: set[str] = set()

    @property
    def study(self) -> Keys | None:
        """An identifier that is answered with one study, once one was found."""
        uids = list(self._series)
        return {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uids[0]} if uids else None

    def run(self) -> Iterator[Probe]:
        """Tries one level after the other, for as long as there is something below to ask for."""
        tries = (
            self._try_studies,
            self._try_series,
            self._try_images,
            self._look_at_keys,
            self._try_relational,
        )
        for name, probe in zip(NAMES, tries, strict=True):
            if (name == SERIES and not self._studies) or (name in NAMES[2:] and not self._series):
                yield Probe.skipped(name, "nothing was found to ask for")
                continue
            try:
                yield probe()
            except AssociationError as error:
                yield Probe.unassociated(name, error, self._kind)

    # -- STUDY level

    def _questions(self) -> Iterator[Question]:
        query = self._query
        if query and any(study_keys(query)):
            for keys in study_keys(query):
                yield "the first row of the query file", keys, partial(_fits, query, tuple(keys))
            return
        for words, days in recent_days(date.today()):
            yield words, {"StudyDate": days}, partial(_is_of, days)

    def _try_studies(self) -> Probe:
        words = ""
        for words, keys, fits in self._questions():
            (result,) = self._pacs.find(
                "STUDY", [{**dict.fromkeys(STUDY_RETURN_KEYS, ""), **keys}], _MOST_STUDIES
            )
            if result.answers:
                return self._take_studies(words, result, fits)
            if result.failure:
                return self._refused(STUDY, result.failure)
        return Probe.warning(
            STUDY,
            f"answered, but with no study for {words}",
            "give --queryfile with a first row that matches something, so that the rest can be tried",
        )

    def _take_studies(self, words: str, result: FindResult, fits: Callable[[Values], bool]) -> Probe:
        self._note(result.answers, "STUDY", STUDY_RETURN_KEYS)
        usable = [each for each in result.answers if is_single_key(each.get("StudyInstanceUID") or "")]
        self._studies = [each for each in usable if fits(each)] or usable
        seen = f"{_counted(result, _MOST_STUDIES, 'study', 'studies')} for {words}"
        if not usable:
            return Probe.failed(
                STUDY,
                f"{seen}, without a StudyInstanceUID",
                "ask the PACS's vendor: no study can be told apart",
            )
        strangers = sum(not fits(each) for each in usable)
        if strangers:
            return Probe.warning(
                STUDY, f"{seen}; {strangers} of {len(usable)} do not match what was asked", _ASK_VENDOR
            )
        return Probe.ok(STUDY, seen)

    # -- SERIES level

    def _try_series(self) -> Probe:
        uids = [study["StudyInstanceUID"] or "" for study in self._studies[:_MOST_STUDIES]]
        keys = dict.fromkeys((*SERIES_RETURN_KEYS, *_IMAGE_COLUMNS), "")
        results = self._pacs.find("SERIES", [{**keys, "StudyInstanceUID": uid} for uid in uids], _MOST_SERIES)
        strangers = 0
        for uid, result in zip(uids, results, strict=True):
            mine = [each for each in result.answers if (each.get("StudyInstanceUID") or uid) == uid]
            strangers += len(result.answers) - len(mine)
            self._note(mine, "SERIES", keys)
            numbers = {
                each["SeriesInstanceUID"] or "": whole_number(each.get("NumberOfSeriesRelatedInstances"))
                for each in mine
                if is_single_key(each.get("SeriesInstanceUID") or "")
            }
            if numbers:
                self._series[uid] = numbers
        return self._series_verdict(results, strangers)

    def _series_verdict(self, results: Sequence[FindResult], strangers: int) -> Probe:
        found = sum(len(each) for each in self._series.values())
        seen = f"{found} series of {len(self._series)} {'study' if len(self._series) == 1 else 'studies'}"
        cut_off = any(len(each.answers) >= _MOST_SERIES for each in results)
        failures = [each.failure for each in results if not each.answers and not (each.lost and cut_off)]
        failure = next(filter(None, failures), None)
        if failure and not found:
            return self._refused(SERIES, failure)
        if not found:
            return Probe.failed(
                SERIES,
                f"no series of {len(results)} studies",
                "ask the PACS's vendor how series can be found",
            )
        if strangers:
            return Probe.warning(SERIES, f"{seen}; {strangers} answers were of other studies", _ASK_VENDOR)
        if failure:
            return Probe.warning(SERIES, f"{seen}; for another study: {failure}", LOOK_INTO_LOG)
        return Probe.ok(SERIES, seen)

    # -- IMAGE level

    def _try_images(self) -> Probe:
        chosen = small_ones(self._series)
        keys = dict.fromkeys(("SOPInstanceUID", "SOPClassUID", *_IMAGE_COLUMNS), "")
        results = self._pacs.find(
            "IMAGE",
            [{**keys, "StudyInstanceUID": study, "SeriesInstanceUID": series} for study, series in chosen],
            _MOST_INSTANCES,
        )
        strangers = differing = 0
        for (study, series), result in zip(chosen, results, strict=True):
            mine = [each for each in result.answers if (each.get("SeriesInstanceUID") or series) == series]
            strangers += len(result.answers) - len(mine)
            self._note(mine, "IMAGE", keys)
            instances = instances_of(FindResult(tuple(mine), 0, None))
            self.sop_classes.update(each.sop_class for each in instances if each.sop_class)
            uids = [each.sop_instance_uid for each in instances]
            if not result.failure and uids and all(map(is_single_key, uids)):
                announced = self._series[study][series]
                differing += announced not in (None, len(uids))
                self.samples.append(Sample(study, series, tuple(uids)))
        return self._images_verdict(results, strangers, differing)

    def _images_verdict(self, results: Sequence[FindResult], strangers: int, differing: int) -> Probe:
        found = sum(len(each.instance_uids) for each in self.samples)
        seen = f"{found} instances of {len(self.samples)} series"
        failure = next((each.failure for each in results if each.failure and not each.answers), None)
        if not any(result.answers for result in results):
            return Probe.failed(
                IMAGE,
                failure or "no instance of any series",
                "ask the PACS's vendor to allow IMAGE-level C-FIND: without it nothing can settle what is missing "
                "where counts differ",
            )
        if strangers:
            return Probe.warning(IMAGE, f"{seen}; {strangers} answers were of other series", _ASK_VENDOR)
        if differing:
            return Probe.warning(
                IMAGE,
                f"{seen}; of {differing} series another number was announced",
                "nothing to do: where numbers differ, this level decides",
            )
        return Probe.ok(IMAGE, seen)

    # -- keys, relational

    def _note(self, answers: Sequence[Values], level: str, asked: Iterable[str]) -> None:
        if answers:
            known = self._returned.setdefault(level, {})
            for key in asked:
                known[key] = known.get(key, False) or any(each.get(key) is not None for each in answers)

    def _look_at_keys(self) -> Probe:
        told = {key for level in self._returned.values() for key, returned in level.items() if returned}
        untold = [each for each in INFO_COLUMNS if each not in told]
        counted = "NumberOfSeriesRelatedInstances" in told
        if untold:
            also = "" if counted else "; nor NumberOfSeriesRelatedInstances (the IMAGE level counts)"
            return Probe.warning(
                KEYS,
                f"the PACS does not return {', '.join(untold)}{also}",
                "rows that filter on them are decided by the images with --save, and refused with --move",
            )
        if not counted:
            return Probe.warning(
                KEYS,
                "the PACS does not return NumberOfSeriesRelatedInstances",
                "nothing to do: the IMAGE level is asked how many instances a series has",
            )
        return Probe.ok(KEYS, "the PACS returns every column of a query file")

    def _try_relational(self) -> Probe:
        study, series = next((study, uid) for study, every in self._series.items() for uid in every)
        keys = {"SeriesInstanceUID": series, "StudyInstanceUID": ""}
        (result,) = self._pacs.find("SERIES", [keys], _MOST_STUDIES)
        pairs = {(each.get("StudyInstanceUID"), each.get("SeriesInstanceUID")) for each in result.answers}
        self.relational = pairs == {(study, series)}
        if self.relational:
            return Probe.ok(RELATIONAL, "a SeriesInstanceUID alone is answered with its series")
        seen = "with other series" if pairs - {(study, series)} else result.failure or "with nothing"
        return Probe.warning(
            RELATIONAL,
            f"a SeriesInstanceUID alone is answered wrongly ({seen}), as the standard allows",
            "add StudyInstanceUID or PatientID to rows of a SeriesInstanceUID alone, or give --yes to list all studies",
        )

    def _refused(self, name: str, failure: str) -> Probe:
        ae_title = self._pacs.config.aet
        return Probe.failed(
            name, failure, f"ask the PACS administrator why C-FIND is refused to the AE title {ae_title}"
        )


def _fits(query: Query, columns: Sequence[str], answer: Values) -> bool:
    return matches(query, answer, columns).result is not Match.NO


def _is_of(days: str, answer: Values) -> bool:
    first, _, last = days.partition("-")
    return first <= (answer.get("StudyDate") or first) <= (last or first)


def _counted(result: FindResult, at_most: int, one: str, many: str) -> str:
    count = len(result.answers)
    if count >= at_most:
        return f"{at_most} {many} or more"
    return f"{count} {one if count == 1 else many}"
