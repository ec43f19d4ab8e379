"""C-FIND as a check tries it: level by level, below a few recent studies; an archive is never listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial

from pacsifier.checkup.probe import LOOK_INTO_LOG, Probe
from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.errors import AssociationError, PacsifierError
from pacsifier.figures import counted
from pacsifier.query import ATTRIBUTES, INFO_COLUMNS, Match, Query, is_single_key, matches, study_keys
from pacsifier.transfer.fetch.converted import AVAILABLE
from pacsifier.transfer.fetch.syntaxes import preferred, syntaxes_told
from pacsifier.transfer.find.answers import whole_number
from pacsifier.transfer.find.images import instances_of
from pacsifier.transfer.find.series import SERIES_RETURN_KEYS
from pacsifier.transfer.find.studies import STUDY_RETURN_KEYS

STUDY, SERIES, IMAGE = "C-FIND, STUDY level", "C-FIND, SERIES level", "C-FIND, IMAGE level"
KEYS, RELATIONAL = "returned keys", "relational C-FIND"
NAMES = (STUDY, SERIES, IMAGE, KEYS, RELATIONAL)

FEW = 20
"""A series of so many instances at most is small: it may be moved by a check."""

_MOST_STUDIES, _MOST_SERIES, _MOST_INSTANCES = 5, 100, 100
_LISTED_SERIES = 4
_IMAGE_COLUMNS = tuple(each for each in INFO_COLUMNS if ATTRIBUTES[each].level == "IMAGE")
_ASK_VENDOR = (
    "pacsifier matches every answer again; name patients or UIDs in rows, so that few answers are discarded"
)

Question = tuple[str, Keys, Callable[[Values], bool]]


@dataclass(frozen=True)
class Sample:
    """A series that was found, with all of its instances; `syntax`: the compressed one it is held in, where told."""

    study_uid: str
    series_uid: str
    instance_uids: tuple[str, ...]
    syntax: str = ""


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


@dataclass(frozen=True)
class Found:
    """What the C-FIND probes have seen so far; each takes it and returns it with what it saw itself.

    `series`: study -> series -> announced instances (None: not announced); `returned_keys`: level -> keyword ->
    whether any answer held that key.
    """

    studies: tuple[Values, ...] = ()
    series: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    sop_classes: frozenset[str] = frozenset()
    returned_keys: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    relational: bool | None = None

    @property
    def study(self) -> Keys | None:
        """An identifier that is answered with one study, once one was found."""
        uids = list(self.series)
        return {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uids[0]} if uids else None


def probe_finds(pacs: Pacs, query: Query | None, kind: type[PacsifierError]) -> Generator[Probe, None, Found]:
    """Tries one level after the other, for as long as there is something below to ask for.

    `kind`: the error of a run where there is no association for a probe.
    """
    found = Found()
    probes = (
        (STUDY, partial(probe_studies, query=query)),
        (SERIES, probe_series),
        (IMAGE, probe_images),
        (KEYS, probe_keys),
        (RELATIONAL, probe_relational),
    )
    for name, probe in probes:
        if not _can_be_tried(name, found):
            yield Probe.skipped(name, "nothing was found to ask for")
            continue
        try:
            seen, found = probe(pacs, found)
        except AssociationError as error:
            seen = Probe.unassociated(name, error, kind)
        yield seen
    return found


def _can_be_tried(name: str, found: Found) -> bool:
    if name == STUDY:
        return True
    return bool(found.studies if name == SERIES else found.series)


# --- STUDY level


def probe_studies(pacs: Pacs, found: Found, query: Query | None) -> tuple[Probe, Found]:
    """Asks for the studies of the query's first row, or of ever longer periods until some are found."""
    words = ""
    for words, keys, fits in _questions(query):
        (result,) = pacs.find("STUDY", [{**dict.fromkeys(STUDY_RETURN_KEYS, ""), **keys}], _MOST_STUDIES)
        if result.answers:
            return judge_studies(words, result, fits), _with_studies(found, result, fits)
        if result.failure:
            return _refused(STUDY, result.failure, pacs.config.aet), found
    nothing = Probe.warning(
        STUDY,
        f"answered, but with no study for {words}",
        "give --queryfile with a first row that matches something, so that the rest can be tried",
    )
    return nothing, found


def _questions(query: Query | None) -> Iterator[Question]:
    if query and any(study_keys(query)):
        for keys in study_keys(query):
            yield "the first row of the query file", keys, partial(_fits, query, tuple(keys))
        return
    for words, days in recent_days(date.today()):
        yield words, {"StudyDate": days}, partial(_is_of, days)


def _with_studies(found: Found, result: FindResult, fits: Callable[[Values], bool]) -> Found:
    usable = _usable_studies(result)
    return replace(
        found,
        studies=tuple([each for each in usable if fits(each)] or usable),
        returned_keys=_with_keys(found.returned_keys, "STUDY", result.answers, STUDY_RETURN_KEYS),
    )


def judge_studies(words: str, result: FindResult, fits: Callable[[Values], bool]) -> Probe:
    """What studies that were answered say of the PACS; `words` is what was asked for."""
    usable = _usable_studies(result)
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


def _usable_studies(result: FindResult) -> list[Values]:
    return [each for each in result.answers if is_single_key(each.get("StudyInstanceUID") or "")]


# --- SERIES level


def probe_series(pacs: Pacs, found: Found) -> tuple[Probe, Found]:
    """Asks for the series of the first few studies."""
    uids = [study["StudyInstanceUID"] or "" for study in found.studies[:_MOST_STUDIES]]
    keys = dict.fromkeys((*SERIES_RETURN_KEYS, *_IMAGE_COLUMNS), "")
    results = pacs.find("SERIES", [{**keys, "StudyInstanceUID": uid} for uid in uids], _MOST_SERIES)
    series: dict[str, dict[str, int | None]] = {}
    returned, strangers = found.returned_keys, 0
    for uid, result in zip(uids, results, strict=True):
        mine = [each for each in result.answers if (each.get("StudyInstanceUID") or uid) == uid]
        strangers += len(result.answers) - len(mine)
        returned = _with_keys(returned, "SERIES", mine, keys)
        if announced := _announced(mine):
            series[uid] = announced
    found = replace(found, series=series, returned_keys=returned)
    return judge_series(found, results, strangers, pacs.config.aet), found


def _announced(answers: Sequence[Values]) -> dict[str, int | None]:
    return {
        each["SeriesInstanceUID"] or "": whole_number(each.get("NumberOfSeriesRelatedInstances"))
        for each in answers
        if is_single_key(each.get("SeriesInstanceUID") or "")
    }


def judge_series(found: Found, results: Sequence[FindResult], strangers: int, ae_title: str) -> Probe:
    """What the answers of the SERIES level say of the PACS; `strangers` of them were of other studies."""
    number = sum(len(each) for each in found.series.values())
    seen = f"{number} series of {len(found.series)} {'study' if len(found.series) == 1 else 'studies'}"
    cut_off = any(len(each.answers) >= _MOST_SERIES for each in results)
    failures = [each.failure for each in results if not each.answers and not (each.lost and cut_off)]
    failure = next(filter(None, failures), None)
    if failure and not number:
        return _refused(SERIES, failure, ae_title)
    if not number:
        return Probe.failed(
            SERIES,
            f"no series of {len(results)} studies",
            "ask the PACS's vendor how series can be found",
        )
    if strangers:
        return Probe.warning(
            SERIES,
            f"{seen}; {counted(strangers, 'answer was', 'answers were')} of other studies",
            _ASK_VENDOR,
        )
    if failure:
        return Probe.warning(SERIES, f"{seen}; for another study: {failure}", LOOK_INTO_LOG)
    return Probe.ok(SERIES, seen)


# --- IMAGE level


def probe_images(pacs: Pacs, found: Found) -> tuple[Probe, Found]:
    """Asks for the instances of a few small series; those that are whole become samples to move."""
    chosen = small_ones(found.series)
    keys = dict.fromkeys(("SOPInstanceUID", "SOPClassUID", AVAILABLE, *_IMAGE_COLUMNS), "")
    results = pacs.find(
        "IMAGE",
        [{**keys, "StudyInstanceUID": study, "SeriesInstanceUID": series} for study, series in chosen],
        _MOST_INSTANCES,
    )
    returned, classes = found.returned_keys, found.sop_classes
    samples: list[Sample] = []
    strangers = 0
    for (study, series), result in zip(chosen, results, strict=True):
        mine = [each for each in result.answers if (each.get("SeriesInstanceUID") or series) == series]
        strangers += len(result.answers) - len(mine)
        returned = _with_keys(returned, "IMAGE", mine, keys)
        instances = instances_of(FindResult(tuple(mine), 0, None))
        classes |= {each.sop_class for each in instances if each.sop_class}
        uids = tuple(each.sop_instance_uid for each in instances)
        if not result.failure and uids and all(map(is_single_key, uids)):
            samples.append(Sample(study, series, uids, preferred(map(syntaxes_told, mine))))
    found = replace(found, samples=tuple(samples), sop_classes=classes, returned_keys=returned)
    return judge_images(found, results, strangers), found


def judge_images(found: Found, results: Sequence[FindResult], strangers: int) -> Probe:
    """What the answers of the IMAGE level say of the PACS; `strangers` of them were of other series."""
    number = sum(len(each.instance_uids) for each in found.samples)
    seen = f"{counted(number, 'instance')} of {len(found.samples)} series"
    failure = next((each.failure for each in results if each.failure and not each.answers), None)
    if not any(result.answers for result in results):
        return Probe.failed(
            IMAGE,
            failure or "no instance of any series",
            "ask the PACS's vendor to allow IMAGE-level C-FIND: without it nothing can settle what is missing "
            "where counts differ",
        )
    if strangers:
        return Probe.warning(
            IMAGE, f"{seen}; {counted(strangers, 'answer was', 'answers were')} of other series", _ASK_VENDOR
        )
    differing = sum(
        found.series[each.study_uid][each.series_uid] not in (None, len(each.instance_uids))
        for each in found.samples
    )
    if differing:
        return Probe.warning(
            IMAGE,
            f"{seen}; of {differing} series another number was announced",
            "nothing to do: where numbers differ, this level decides",
        )
    return Probe.ok(IMAGE, seen)


# --- keys, relational


def _with_keys(
    returned: Mapping[str, Mapping[str, bool]], level: str, answers: Sequence[Values], asked: Iterable[str]
) -> Mapping[str, Mapping[str, bool]]:
    """The returned keys with those of further answers; without an answer nothing can be said."""
    if not answers:
        return returned
    known = dict(returned.get(level, {}))
    for key in asked:
        known[key] = known.get(key, False) or any(each.get(key) is not None for each in answers)
    return {**returned, level: known}


def probe_keys(_pacs: Pacs, found: Found) -> tuple[Probe, Found]:
    """Looks at which of the keys that were asked for came back; asks nothing."""
    return judge_keys(found.returned_keys), found


def judge_keys(returned_keys: Mapping[str, Mapping[str, bool]]) -> Probe:
    """What it means for a query file that the PACS returns these keys."""
    told = {key for level in returned_keys.values() for key, returned in level.items() if returned}
    untold = [each for each in INFO_COLUMNS if each not in told]
    counted = "NumberOfSeriesRelatedInstances" in told
    if untold:
        also = "" if counted else "; nor NumberOfSeriesRelatedInstances (the IMAGE level is counted instead)"
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


def probe_relational(pacs: Pacs, found: Found) -> tuple[Probe, Found]:
    """Asks for a series without its study."""
    study, series = next((study, uid) for study, every in found.series.items() for uid in every)
    (result,) = pacs.find("SERIES", [{"SeriesInstanceUID": series, "StudyInstanceUID": ""}], _MOST_STUDIES)
    pairs = {(each.get("StudyInstanceUID"), each.get("SeriesInstanceUID")) for each in result.answers}
    found = replace(found, relational=pairs == {(study, series)})
    if found.relational:
        return Probe.ok(RELATIONAL, "a SeriesInstanceUID alone is answered with its series"), found
    seen = "with other series" if pairs - {(study, series)} else result.failure or "with nothing"
    warning = Probe.warning(
        RELATIONAL,
        f"a SeriesInstanceUID alone is answered wrongly ({seen}), as the standard allows",
        "add StudyInstanceUID or PatientID to rows of a SeriesInstanceUID alone, or give --yes to list all studies",
    )
    return warning, found


def _refused(name: str, failure: str, ae_title: str) -> Probe:
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
