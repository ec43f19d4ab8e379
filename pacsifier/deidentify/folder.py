"""The route of a run: a tree of DICOM files in, a de-identified tree out.

look at every file -> select what may go out -> sort out the patients -> settle who they become -> lay out the tree ->
write -> verify -> report. The input is only read, except where it is the output too.

Orders that protect: the key is on disk before the first image is written. Everything known of a patient is known
before any of the patient's files is written. Where originals are replaced, what must stay out is moved away first, each
original goes when its successor is on disk and in its place (`writing.py`), and folders go when they are empty.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pacsifier.deidentify import report
from pacsifier.deidentify.cleaning import RECORD, Look
from pacsifier.deidentify.engine import uids
from pacsifier.deidentify.engine.profile import Profile
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.key import Key, opened, read
from pacsifier.deidentify.layout import Places, lay_out
from pacsifier.deidentify.model import Left, OnEnd, Patient, Request, Rulebook, Settings, There, Verified
from pacsifier.deidentify.patients import sort_out
from pacsifier.deidentify.scan import Gathered
from pacsifier.deidentify.selection import Selection, each_once, select
from pacsifier.deidentify.settle import Settled, check_resumed, made_in, settle, subjects_of, vocabulary_of
from pacsifier.deidentify.survey import Survey, look
from pacsifier.deidentify.writing import Ends, Wrote, remove_empty_folders, set_aside, write
from pacsifier.disk.durable import wait_until_on_disk
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.walk import Progress, Walk
from pacsifier.errors import InputError
from pacsifier.pictures import needs
from pacsifier.pictures.models import Models, find

LEFT_OUT_FOLDER = "left_out"


def deidentify_folder(
    request: Request, progress: Progress = lambda *_: None, on_end: OnEnd = lambda _: None
) -> report.Totals:
    """De-identifies a folder; raises InputError, before an image is written, where the input is wrong, and OSError."""
    if not request.in_folder.is_dir():
        raise InputError(f"{request.in_folder}: is no folder")
    if request.out_folder.resolve() in request.in_folder.resolve().parents:
        raise InputError(
            f"{request.in_folder} lies in the output folder {request.out_folder}: what is there would go out with the "
            "images; name another output folder"
        )
    walk = Walk(request.in_folder.resolve())
    found = _models(request)
    with OutputLock(request.out_folder) as lock:
        start = time.monotonic()
        profile = Profile(request.options)
        survey = look(request, walk, profile, progress)
        selection = _select(survey, request)
        patients, refused = sort_out(selection.files, request.shard)
        settled, key = _settle(patients, selection, survey.gathered, profile, request)
        # From here on the key is on disk: no image is written before.
        rulebook = Rulebook(profile, key.secret, vocabulary_of(key, survey.gathered))
        subjects = subjects_of(settled.patients, survey.gathered, key, request.options)
        settings = Settings(request, lock.staging, rulebook, found)
        laid_out = lay_out(settled.patients, subjects, request, rulebook)
        places, looks = _look(laid_out, settings, progress)
        left = survey.own([*selection.left, *refused, *settled.left, *places.left])
        there = survey.own([*selection.there, *places.there])
        ends = Ends(places, subjects, on_end)
        wrote = _write(places, left, there, settings, progress, ends=ends)
        # On the disk before the summary says so.
        written = (request.out_folder / target for targets in wrote.targets.values() for target in targets)
        wait_until_on_disk(request.out_folder, written)
        _leave_beside(wrote, settled, key, request)
        _show(places, looks, wrote, settings, progress)
        outputs = _outputs(places, wrote)
        verified = _verify(outputs, subjects, survey.gathered, settings, progress)
        totals = _summed_up(survey, settled, wrote, verified, request, left=left, there=there)
        totals = replace(totals, seconds=time.monotonic() - start)
        report.write_summary(request.beside(report.SUMMARY), totals)
        return totals


def _select(survey: Survey, request: Request) -> Selection:
    pseudonyms: Collection[str] = ()
    if request.in_place and request.key.exists():
        pseudonyms = set(read(request.key).pseudonyms.values())
    selection = select(survey.files, request.options, in_place=request.in_place, pseudonyms=pseudonyms)
    once = each_once(selection.files, request.in_folder)
    return replace(selection, files=once.files, left=selection.left + once.left)


def _settle(
    patients: Mapping[str, Patient],
    selection: Selection,
    gathered: Gathered,
    profile: Profile,
    request: Request,
) -> tuple[Settled, Key]:
    """Who the patients become, and the key that remembers it; it is written when all of them are settled."""
    with opened(request.key) as key:
        if request.resume:
            made = selection.made if request.in_place else made_in(request.out_folder, profile)
            check_resumed(request, key, made)
        settled = settle(patients, request, key, gathered)
    return settled, key


def _models(request: Request) -> Models | None:
    """What text in pixels is found with; None where nobody looks for any.

    Raises InputError where it is missing, or pixels were cleaned by the run that is resumed and are not now.
    """
    if request.resume and request.pixels is None and request.beside(RECORD).exists():
        raise InputError("--resume: the earlier run cleaned pixels; name --clean_pixels again")
    if not (request.pixels or request.verify_pixels):
        return None
    absent = needs.missing()
    if absent:
        raise InputError(
            f"pixels cannot be searched for text: {', '.join(absent)} not installed; {needs.INSTALL}"
        )
    return find(request.ocr_models)


def _look(places: Places, settings: Settings, progress: Progress) -> tuple[Places, Mapping[str, Look]]:
    """The places with what is to be done to the pixels of each file, and every look at one, by file."""
    if settings.request.pixels is None:
        return places, {}
    # It imports what comes with an extra, as what follows does; no other run needs that.
    from pacsifier.deidentify import pixels

    return pixels.look(places, settings, progress)


def _show(
    places: Places, looks: Mapping[str, Look], wrote: Wrote, settings: Settings, progress: Progress
) -> None:
    """The page on which a person looks at what was cleaned, in this run and in those that it resumes."""
    if settings.request.pixels is None:
        return
    from pacsifier.deidentify import pixel_page

    failed = {each.path for each in wrote.left}
    jobs = {job.name: job.target for task in places.tasks for job in task.jobs}
    targets = {name: target for name, target in jobs.items() if name not in failed}
    targets |= {each.path: each.target for each in places.there}
    pixel_page.write(looks, targets, settings, progress)


def _write(
    places: Places,
    left: Sequence[Left],
    there: Sequence[There],
    settings: Settings,
    progress: Progress,
    *,
    ends: Ends,
) -> Wrote:
    request = settings.request
    path = request.beside(report.REPORT)
    earlier: dict[str, Sequence[str]] = {}
    if request.resume or request.in_place:
        jobs = {job.name for task in places.tasks for job in task.jobs}
        now = jobs | {each.path for each in left} | {each.path for each in there}
        earlier = report.earlier_rows(report.rows_of(path), now, {each.target for each in there})
    told = set(earlier) | {row[1] for row in earlier.values()}
    with report.report_table(path, earlier.values()) as table:
        report.write_set_apart([each for each in there if each.path not in told], left, table)
        if request.in_place:
            set_aside(request.in_folder, [each.path for each in left], request.beside(LEFT_OUT_FOLDER))
        for target in places.unwanted:
            (request.out_folder / target).unlink(missing_ok=True)
        return write(places, settings, table, ends, progress)


def _leave_beside(wrote: Wrote, settled: Settled, key: Key, request: Request) -> None:
    report.write_review(request.beside(report.REVIEW), wrote.review)
    if request.write_mapper:
        fuzz_dates = request.options.fuzz_dates
        report.write_mapper(request.out_folder, settled.patients, key, fuzz_dates=fuzz_dates)
    if request.in_place:
        remove_empty_folders(request.in_folder)


def _outputs(places: Places, wrote: Wrote) -> dict[str, list[str]]:
    """What is in the output now, by patient."""
    outputs: dict[str, list[str]] = defaultdict(list)
    for each in places.there:
        outputs[each.patient].append(each.target)
    for patient, targets in wrote.targets.items():
        outputs[patient] += targets
    return outputs


def _verify(
    outputs: Mapping[str, Sequence[str]],
    subjects: Mapping[str, Subject],
    gathered: Gathered,
    settings: Settings,
    progress: Progress,
) -> Verified:
    request = settings.request
    if not (request.verify or request.verify_pixels):
        return Verified()
    # It imports pydicom, which no other run needs.
    from pacsifier.deidentify.verify import verify

    olds = frozenset() if request.options.retain_uids else frozenset(gathered.uids - uids.registered())
    verified = verify(outputs, subjects, olds, request, progress)
    if not request.verify_pixels:
        return verified
    from pacsifier.deidentify import pixels

    hits = list(pixels.verify(outputs, subjects, settings, progress))
    report.add_to_verify(request.beside(report.VERIFY), hits)
    return replace(verified, hits=verified.hits + len(hits), pixels=True)


def _summed_up(
    survey: Survey,
    settled: Settled,
    wrote: Wrote,
    verified: Verified,
    request: Request,
    *,
    left: Sequence[Left],
    there: Sequence[There],
) -> report.Totals:
    out = [each.reason for each in (*left, *wrote.left)]
    problems = []
    if request.keep_patient_dir_names:
        problems.append("the folders keep their names, which identify the patients")
    if request.write_mapper:
        problems.append("mapper.json in the output identifies the patients")
    return report.Totals(
        found=survey.found,
        written=wrote.number,
        already=len(there),
        failures=sum(reason.failed for reason in out) + verified.hits,
        bytes=wrote.bytes,
        patients=len(settled.patients),
        left_out=Counter(reason.kind for reason in out),
        passed_over=survey.passed_over,
        problems=tuple(problems),
        unclaimed=wrote.unclaimed,
        words=wrote.review.left_out,
        words_kept=wrote.review.kept,
        equal_texts=wrote.review.became_equal,
        hits=verified.hits,
        not_searched=verified.not_searched,
        verified=verified.files,
        pixels_verified=verified.pixels,
        pixels=wrote.pixels,
        review=request.beside(report.REVIEW).name,
    )
