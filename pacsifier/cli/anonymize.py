"""The command `pacsifier-anonymize`: de-identify a tree of DICOM files by the standard."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common, report
from pacsifier.cli.events import Events, add_json, check_json, given
from pacsifier.cli.parser import Parser

if TYPE_CHECKING:
    from pacsifier.deidentify.engine.profile import Options
    from pacsifier.deidentify.model import Ended, Request
    from pacsifier.deidentify.report import Totals

_PROG = "pacsifier-anonymize"

_EXPLANATION = """what it does:
  Applies the Basic Application Level Confidentiality Profile of DICOM PS3.15 (Table E.1-1, edition 2026c) to
  every file at every depth, with these options of the standard: patient characteristics (below) stay, full dates
  stay (with -a they are shifted), descriptions, graphics and structured reports are cleaned. The birth date is always
  shifted by up to 30 days; it is emptied for patients under 2 or above 89 years, whose age becomes 090Y, and where it
  is no whole date. Ages are whole years, under 2 years whole months. Makers, models, sequence names, private creators
  and codes of the standard's schemes stay, whoever the patient is. UIDs are replaced by a keyed hash, so references
  stay whole. Pixel data is copied byte for byte, but for what is no picture in it: overlay bits, comments and Exif of
  compressed frames, bytes behind the last pixel. The pixels are the same.

what of the patient stays (no part of it is a name; all of it together may tell who it is):
    {stays}
  Word by word, as descriptions:
    {cleaned}
  With --profile basic, for Table E.1-1 does not name them:
    {basic}

what it cannot do:
  Text that is part of the picture stays without --clean_pixels, and faces in the volume do. PatientIdentityRemoved
  says YES only where there is no such text as far as is known, for
    {claimed}
  and NO, until --reviewed names the file, for whatever else has pixels, and always for
    {doubted}
  whatever BurnedInAnnotation says. The report gives the reason for each file. Times of day stay, and are linkable.

what --clean_pixels does:
  It searches the pixels for text (regions of the header, layouts of devices, a detector and a reader), blanks what it
  finds with one flat colour, decodes the file again, and looks once more; a file that cannot be searched or blanked is
  left out. ImageType stays: no pixel outside the boxes changes, and cohorts are selected by it; DerivationDescription
  tells what was done. Once cleaned, with nothing seen and left, PatientIdentityRemoved says YES for
    {cleaned_enough}
  and for all others only when --reviewed says that a person has looked. <out_folder>.pixels.html, beside the key and
  as secret, shows what was blanked and saves what that person answers. Not found: handwriting, mirrored or curved text,
  text under 8 pixels or of little contrast, logos, bar codes, faces on photographs.

what --delete_identifiable leaves out:
    {asked_out}
  Never radiographs or mammograms as such.

where the key lies:
  <out_folder>.key.json beside the output, never in it: the secret, the pseudonyms and the day shifts. Whoever has
  it can find every patient again; with it, a later export of the same patients fits this one. Keep it apart from
  the images.
  Beside it lie the report (one row per file), the summary, the report of --verify, and descriptor_words.csv: the words
  left out of descriptions, and those kept that may be names (because three patients share them, for instance).
  mapper.json and date_offsets.csv of PACSIFIER 1.0.0 are written into the output only with --write_mapper.

where in_folder is out_folder:
  The originals are replaced. Each goes when its successor is on disk. What must stay out moves to
  <out_folder>.left_out.

examples:
  pacsifier-anonymize --in_folder images --out_folder shared --fuzz_acq_dates --remove_private_tags --verify
      the usual one: dates shifted, private tags out, and the output searched for all that is known of the input
  pacsifier-anonymize -d images -o shared --new_ids new_ids_project.json --day_shift day_shift_project.json -a
      with the pseudonyms and day shifts of pacsifier-get-pseudonyms
  pacsifier-anonymize -d images -o shared -a -p --clean_pixels
      with text in pixels searched and blanked; look at shared.pixels.html afterwards

"""

# What a run does beside de-identifying, as events name it.
_VERBS = ("clean_pixels", "verify", "verify_pixels", "resume", "delete_identifiable")

# Made since garbage was looked for, before it is again.
_NEW_OBJECTS = 50_000

_DOCUMENTED = (
    *("--help", "--in_folder", "--out_folder", "--delete_identifiable", "--remove_private_tags"),
    *("--fuzz_acq_dates", "--new_ids", "--keep_patient_dir_names"),
)


def _explanation() -> str:
    """What the tables of the rules say."""
    from pacsifier.deidentify import told
    from pacsifier.deidentify.engine.profile import Options

    stays, cleaned = told.patient_characteristics()
    lists = {
        "stays": stays,
        "cleaned": cleaned,
        "basic": told.patient_characteristics(Options(basic=True))[0],
        "claimed": told.claimed(),
        "doubted": told.doubted(),
        "cleaned_enough": told.cleaned_enough(),
        "asked_out": told.asked_out(),
    }
    said = _EXPLANATION.format_map({name: "; ".join(names) for name, names in lists.items()})
    return said + common.exit_statuses(common.EXIT_TOOL, again="--resume")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Anonymize DICOM files.",
    )
    parser.closing = _explanation
    parser.documented = _DOCUMENTED
    _add_documented_options(parser)
    common.add_common_arguments(parser)
    _add_key_options(parser.add_argument_group("patients and the key"))
    _add_profile_options(parser.add_argument_group("what is kept, by the options of DICOM PS3.15"))
    _add_pixel_options(parser.add_argument_group("text in pixels (needs: pip install 'pacsifier[pixels]')"))
    _add_run_options(parser.add_argument_group("the run"))
    return parser


def _add_documented_options(parser: argparse.ArgumentParser) -> None:
    paths, work = (
        parser.add_argument_group(title) for title in ("what is read and written", "what is changed")
    )
    # In the order of the documentation, which is that of the usage.
    add, flag = paths.add_argument, "store_true"
    data = Path("./data")
    add(
        "--in_folder",
        "-d",
        type=Path,
        required=True,
        default=data,
        help="Directory to the dicom files to be anonymized",
    )
    add(
        *("--out_folder", "-o"),
        type=Path,
        required=True,
        default=data,
        help="Output directory where the anonymized dicoms will be saved; the same as --in_folder: the originals "
        "are replaced",
    )
    add = work.add_argument
    add(
        *("--delete_identifiable", "-i"),
        action=flag,
        help="Delete identifiable files like Dose reports: they are left out of the output, never touched in the input",
    )
    add("--remove_private_tags", "-p", action=flag, help="Remove private tags, at every depth")
    add(
        *("--fuzz_acq_dates", "-a"),
        action=flag,
        help="Fuzz acquisition dates: every date of a patient moves by the same number of days, 1 to 30",
    )
    paths.add_argument(
        *("--new_ids", "-n"),
        type=Path,
        help='List of new ids: a JSON file {"sub-1234": "P0001"}; without it new_id.txt of the patient\'s folder, '
        "or 000001, 000002, ...",
    )
    add(
        *("--keep_patient_dir_names", "-k"),
        action=flag,
        help="Do not rename patient directories, keep original IDs in their names (which then identify the patients)",
    )


def _add_key_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--key",
        type=Path,
        metavar="FILE",
        help="The key: used where it is there, else made (default: <out_folder>.key.json)",
    )
    add(
        "--day_shift",
        type=Path,
        metavar="FILE",
        help='Day shifts: a JSON file {"sub-1234": -12}, used as given',
    )
    add(
        "--allow_identifying_ids",
        action="store_true",
        help="Take pseudonyms that hold the PatientID, or are a PatientID of this run: else they are refused",
    )
    add(
        "--write_mapper",
        action="store_true",
        help="Write mapper.json and date_offsets.csv into the output, as PACSIFIER 1.0.0 did: they identify the "
        "patients",
    )


def _add_profile_options(group: argparse._ArgumentGroup) -> None:
    add, flag = group.add_argument, "store_true"
    add(
        "--profile",
        choices=("default", "basic"),
        default="default",
        help="basic: no dates, times, descriptions and patient characteristics either",
    )
    add(
        "--safe_private",
        action=flag,
        help="Keep only private tags that are known to be safe: the standard's table, and numbers of known blocks "
        "that are no date and no identifier (113111)",
    )
    add(
        "--retain_device_identity",
        action=flag,
        help="Keep station names, serial numbers and the like (113109)",
    )
    add("--retain_institution", action=flag, help="Keep the name and address of the institution (113112)")
    add("--retain_uids", action=flag, help="Keep UIDs (113110)")
    add(
        "--retain_descriptors",
        action=flag,
        help="Keep descriptions except for known identifiers of the patient",
    )
    add("--keep_words", type=Path, metavar="FILE", help="Words that may stay in descriptions, one per line")
    add(
        "--keep_sr",
        action="store_true",
        help="Keep structured reports, cleaned, with --delete_identifiable too",
    )
    add(
        "--reviewed",
        type=Path,
        metavar="LIST",
        action="append",
        default=[],
        help="SOP Instance UIDs or paths, one per line, of images that a person has looked at: no identity in the "
        "pixels; or the answers that <out_folder>.pixels.html saves. With --resume, what is named is written anew. "
        "May be given several times",
    )


def _add_pixel_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--clean_pixels",
        nargs="?",
        choices=("suspicious", "all"),
        const="suspicious",
        help="Search pixels for text and blank it (113101): in the images that may show the patient, by the kinds "
        "above (default), or in all",
    )
    add(
        "--keep_pixel_words",
        type=Path,
        metavar="FILE",
        help="Words that are not blanked where they stand alone, such as R, L, cm, MI: one per line, exactly as read",
    )
    add(
        "--verify_pixels",
        action="store_true",
        help="--verify, and look at the pixels of the whole output for known identifiers, too",
    )
    add(
        "--ocr_models",
        type=Path,
        metavar="DIR",
        help="Folder of the two models (default: those of the installed rapidocr-onnxruntime); nothing is downloaded",
    )


def _add_run_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--verify",
        action="store_true",
        help="Read the whole output again and search it for every known identifier",
    )
    add(
        "--shard",
        type=common.shard,
        metavar="I/N",
        help="Take part I of N parts, divided by patient: for runs side by side over one folder, each with an output "
        "folder of its own and all with the same --key",
    )
    add(
        "--workers",
        type=common.positive,
        metavar="N",
        help="Processes at a time (default: the CPUs of this job)",
    )
    report.add_report(add, "<out_folder>.report.html, beside the key")
    add(
        "--resume", action="store_true", help="Go on where an earlier run with the same options and key ended"
    )
    add("--verbose", "-v", action="count", default=0, help="Say more about what goes wrong")
    add_json(add)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    check_json(parser, arguments)
    if arguments.remove_private_tags and arguments.safe_private:
        parser.error("--safe_private cannot be used together with --remove_private_tags")
    if arguments.keep_words and arguments.retain_descriptors:
        parser.error("--keep_words cannot be used together with --retain_descriptors")
    if arguments.keep_pixel_words and not arguments.clean_pixels:
        parser.error("--keep_pixel_words needs --clean_pixels")
    if arguments.report:
        report.check_report(parser)
    common.set_up_logging(arguments.verbose)
    remedy = "; the originals that are left are untouched, --resume goes on from here"
    events = Events.of(_PROG, arguments)
    return events.run(
        given(arguments, *_VERBS),
        lambda: _anonymize(arguments, events),
        verbosity=arguments.verbose,
        remedy=remedy,
        arguments=arguments,
    )


def _anonymize(arguments: argparse.Namespace, events: Events) -> int:
    # What a run holds makes few cycles; to look for them as often as usual costs more than reading the files.
    gc.set_threshold(_NEW_OBJECTS)
    from pacsifier.cli.ticker import Ticker
    from pacsifier.deidentify.folder import deidentify_folder

    gc.freeze()
    request = _request(arguments)
    with Ticker(events) as progress:
        common.on_signals(lambda: None)
        totals = deidentify_folder(request, progress, lambda end: _tell_end(end, events))
    _tell(totals, events)
    _print_summary(totals, request)
    status = common.EXIT_MISSING if totals.failures else common.EXIT_COMPLETE
    return max(status, report.of_output(request)) if arguments.report else status


def _tell_end(end: Ended, events: Events) -> None:
    numbers = {name: getattr(end, name) for name in ("written", "already", "failed", "bytes")}
    who = events.identified(patient=end.patient, new_id=end.new_id)
    events.emit("patient", {"status": "incomplete" if end.failed else "complete", **numbers, **who})


def _tell(totals: Totals, events: Events) -> None:
    """The figures of the run, as its lines on stderr tell them."""
    events.warnings(totals.passed_over, "folders passed over")
    for problem in totals.problems:
        events.warning(problem)
    names = ("found", "written", "already", "unclaimed")
    verify = {name: getattr(totals, name) for name in ("verified", "hits", "not_searched")}
    seen = totals.pixels
    events.result(
        complete=not totals.failures,
        files={**{name: getattr(totals, name) for name in names}, "failures": totals.failures},
        left_out=dict(sorted(totals.left_out.items())),
        patients={"anonymized": totals.patients},
        bytes=totals.bytes,
        words={"left_out": totals.words, "kept": totals.words_kept, "equal_texts": totals.equal_texts},
        verify=verify if totals.verified else None,
        pixels=(
            {"files": seen.files, "frames": seen.frames, "looked_at": seen.looked_at}
            | {by.value: number for by, number in seen.regions.items()}
        )
        if seen.files
        else None,
    )


def _request(arguments: argparse.Namespace) -> Request:
    from pacsifier.deidentify import reviewed
    from pacsifier.deidentify.crew import available_cpus
    from pacsifier.deidentify.key import key_path
    from pacsifier.deidentify.model import Maps, Pixels, Request
    from pacsifier.maps import read_day_shifts, read_new_ids
    from pacsifier.query import WHOLE

    new_ids, day_shifts = common.read_all(
        lambda: read_new_ids(arguments.new_ids) if arguments.new_ids else None,
        lambda: read_day_shifts(arguments.day_shift) if arguments.day_shift else None,
    )
    words = _lines(arguments.keep_pixel_words)
    pixels = Pixels(arguments.clean_pixels, words) if arguments.clean_pixels else None
    return Request(
        in_folder=arguments.in_folder,
        out_folder=arguments.out_folder,
        options=_options(arguments),
        key=key_path(arguments.out_folder, arguments.key),
        maps=Maps(new_ids, day_shifts),
        keep_patient_dir_names=arguments.keep_patient_dir_names,
        write_mapper=arguments.write_mapper,
        kept_words=frozenset(word for line in _lines(arguments.keep_words) for word in line.split()),
        reviewed=reviewed.read(arguments.reviewed),
        pixels=pixels,
        ocr_models=arguments.ocr_models,
        verify=arguments.verify,
        verify_pixels=arguments.verify_pixels,
        resume=arguments.resume,
        allow_identifying_ids=arguments.allow_identifying_ids,
        shard=arguments.shard or WHOLE,
        workers=arguments.workers or available_cpus(),
    )


def _options(arguments: argparse.Namespace) -> Options:
    from pacsifier.deidentify.engine.profile import Options

    return Options(
        basic=arguments.profile == "basic",
        fuzz_dates=arguments.fuzz_acq_dates,
        remove_private=arguments.remove_private_tags,
        safe_private=arguments.safe_private,
        delete_identifiable=arguments.delete_identifiable,
        keep_sr=arguments.keep_sr,
        retain_device_identity=arguments.retain_device_identity,
        retain_institution=arguments.retain_institution,
        retain_uids=arguments.retain_uids,
        retain_descriptors=arguments.retain_descriptors,
    )


def _lines(path: Path | None) -> frozenset[str]:
    from pacsifier.errors import Fault, InputError

    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Fault(str(path), f"cannot be read: {error}")) from error
    return frozenset(line.strip() for line in lines if line.strip())


def _print_summary(totals: Totals, request: Request) -> None:
    for line in totals.lines():
        print(line, file=sys.stderr)
    print(
        f"the key to the patients: {request.key} (keep it apart from the images); the reports lie beside it",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
