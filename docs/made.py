"""The parts of the pages that are made from the code: options, columns, statuses, what becomes of each element.

A page holds `<!-- made: NAME -->`; `conf.py` puts `PARTS[NAME]()` there. Where words and code do not name the same
columns or statuses, the build fails: a column that is new needs a meaning.
"""

from __future__ import annotations

import argparse
import configparser
import importlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import meanings
from meanings import Meanings

from pacsifier.checkup.probe import Outcome
from pacsifier.cli import common
from pacsifier.cli.docker import WRAPPERS
from pacsifier.cli.docker import build_parser as wrapper_parser
from pacsifier.cli.helping import laid_out
from pacsifier.cli.parser import Parser
from pacsifier.config import PACS_SCHEMA
from pacsifier.dcmtk import negotiation, transcript
from pacsifier.deidentify import claims, key, report, review, told
from pacsifier.deidentify.engine.dictionary import keyword, public_vr
from pacsifier.deidentify.engine.profile import CODES, Options, Profile, codes, read_table
from pacsifier.flows import extract_report
from pacsifier.query.attributes import ATTRIBUTES, INFO_COLUMNS, QUERY_COLUMNS
from pacsifier.query.chosen import RUN_COLUMNS
from pacsifier.transfer import capabilities
from pacsifier.transfer.model import Lasting, Status
from pacsifier.transfer.record import journal, outcomes, reporting, unexpected

ROOT = Path(__file__).resolve().parents[1]
_WIDTH = 96


class UnexplainedError(Exception):
    """Words and code do not name the same columns or statuses."""


# --- tables in Markdown --------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown, but for lines and vertical bars."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """A text of the program as Markdown that shows it as it is."""
    for sign in "\\`*_<>[]":
        text = text.replace(sign, f"\\{sign}")
    return text


def explained(names: Iterable[str], words: Meanings, what: str) -> Iterator[tuple[str, ...]]:
    """Each name as code, with its meaning, which may have parts divided by ` | `; both must name the same."""
    there = list(names)
    if lacking := [name for name in there if name not in words]:
        raise UnexplainedError(f"{what}: no meaning in meanings.py for {', '.join(lacking)}")
    if surplus := [name for name in words if name not in there]:
        raise UnexplainedError(f"{what}: meanings.py explains what is not there: {', '.join(surplus)}")
    for name in there:
        yield (name if name == "…" else f"`{name}`", *words[name].split(" | "))


# --- commands ------------------------------------------------------------------------------------------------------


def parsers() -> dict[str, Parser]:
    """The parser of every command that is installed, by its name, the wrappers last."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    scripts = dict(line.replace(" ", "").split("=") for line in lines)
    return {
        name: wrapper_parser(name)
        if name in WRAPPERS
        else importlib.import_module(target.partition(":")[0]).build_parser()
        for name, target in scripts.items()
    }


def commands() -> str:
    """Every option of every command; the wrappers, which have the options of what they wrap, in a table."""
    every = parsers()
    parts = [_command(name, parser) for name, parser in every.items() if name not in WRAPPERS]
    rows = [
        (f"`{name}`", f"`{importlib.import_module(f'pacsifier.cli.{module}').build_parser().prog}`")
        for name, (module, _) in WRAPPERS.items()
    ]
    wrapped = table(("wrapper", "runs in the image"), rows)
    own = _group(
        next(group for group in every["docker_pacsifier"]._action_groups if group.title == "the container")
    )
    text = "Each takes the options of the command that it runs, and paths as they are on this machine; and:"
    return "\n\n".join([*parts, "## Wrappers for Docker and Podman", wrapped, text, own])


def _command(name: str, parser: Parser) -> str:
    groups = [group for group in parser._action_groups if group._group_actions]
    # What is the same for every command stands last, as in --help.
    groups.sort(key=lambda group: group is parser._optionals)
    tables = [f"**{group.title}**\n\n{_group(group)}" for group in groups]
    closing = "\n".join(laid_out(parser.closing(), _WIDTH))
    return "\n\n".join([f"## {name}", plain(parser.description or ""), *tables, f"```text\n{closing}\n```"])


def _group(group: argparse._ArgumentGroup) -> str:
    return table(
        ("option", "value", "default", "what it does"), [_option(each) for each in group._group_actions]
    )


def _option(action: argparse.Action) -> tuple[str, str, str, str]:
    names = ", ".join(f"`{each}`" for each in action.option_strings)
    values = [str(action.metavar or action.dest.upper())]
    if action.choices is not None and action.metavar is None:
        values = [*map(str, action.choices)]
    meant = str(action.help or "") % {"prog": "the command", "default": action.default}
    # Where the help itself names the default, it says it as people do: 200MB.
    told_default = re.search(r"( \(|; )default: ([^()]+)\)$", meant)
    unset = action.nargs == 0 or action.default in (None, argparse.SUPPRESS, [])
    default = told_default[2].strip('"') if told_default else "" if unset else str(action.default)
    if told_default:
        meant = meant[: told_default.start()] + (")" if told_default[1] == "; " else "")
    return (
        names,
        "" if action.nargs == 0 else ", ".join(f"`{each}`" for each in values),
        "required" if action.required else f"`{default}`" if default else "",
        plain(meant),
    )


def config_keys() -> str:
    """The keys of config.json, as its schema has them."""
    properties = PACS_SCHEMA["properties"]
    words = explained(properties, meanings.CONFIG_KEYS, "config.json")
    rows = [
        (name, str(rule["type"]), meaning, plain(rule["description"]))
        for (name, meaning), rule in zip(words, properties.values(), strict=True)
    ]
    return table(("key", "type", "what it is", "what is allowed"), rows)


# --- columns -------------------------------------------------------------------------------------------------------


def query_columns() -> str:
    """The columns of a query file, with what DICOM says of each."""
    return table(("column", "tag", "VR", "level", "ranges"), [_attribute(name) for name in QUERY_COLUMNS])


def _attribute(name: str) -> tuple[str, str, str, str, str]:
    each = ATTRIBUTES[name]
    tag = f"({each.tag >> 16:04X},{each.tag & 0xFFFF:04X})"
    return f"`{name}`", tag, each.vr, each.level, "yes" if each.range_allowed else ""


OWN_LOG = (*journal._OWN_COLUMNS, *journal._NEW_COLUMNS)
TABLES: Mapping[str, tuple[str, Sequence[str], Meanings]] = {
    "`logs/pacsifier_log.csv`": (
        "One row per series, of this run and of earlier ones: what was asked, found, expected, what arrived, why not. "
        "First the columns of the query, with the values of the PACS; at the end each once more as `query_NAME`, as "
        "the row had it, and `new_ids`.",
        OWN_LOG,
        meanings.SERIES_LOG,
    ),
    "`logs/series.csv`": (
        "One row per series, always in these columns: first the 17 of an info file (above), then these, then columns "
        "of your own. Delete rows and give it back as the query file.",
        RUN_COLUMNS,
        meanings.SERIES_TABLE,
    ),
    "`logs/query_rows.csv`": (
        "One row per row of the query file.",
        tuple(meanings.QUERY_ROWS),
        meanings.QUERY_ROWS,
    ),
    "`logs/redo.csv`": (
        "Only when something is missing: the rows to run again.",
        tuple(meanings.REDO),
        meanings.REDO,
    ),
    "`logs/summary.csv`": (
        "One row per patient and study; `logs/summary.json` holds the same rows and the totals of the run.",
        reporting.COLUMNS,
        meanings.SUMMARY,
    ),
    "`logs/unexpected.csv`": (
        "Only when objects came that nobody asked for, or that contradict others.",
        unexpected._COLUMNS,
        meanings.UNEXPECTED,
    ),
    "`logs/audit.jsonl`": (
        "One line per run, a JSON object; no identity of a patient.",
        tuple(meanings.AUDIT),
        meanings.AUDIT,
    ),
    "The table that `--dry_run` prints": ("On stdout.", tuple(meanings.DRY_RUN), meanings.DRY_RUN),
    "`NAME.deidentification_report.csv`": (
        "`pacsifier-anonymize`, beside the output folder NAME: one row per file. It names the input: secret.",
        report._COLUMNS,
        meanings.DEIDENTIFIED,
    ),
    "`NAME.verify_report.csv`": (
        "With `--verify`: one row per hit.",
        tuple(meanings.VERIFIED),
        meanings.VERIFIED,
    ),
    "`NAME.descriptor_words.csv`": (
        "Words of descriptions that went, or stayed though they may be names. Look through it; secret.",
        review.COLUMNS,
        meanings.WORDS,
    ),
    "`date_offsets.csv`": (
        "In the output, and only with `--write_mapper`, with `mapper.json` ({pseudonym: PatientID}): both identify.",
        tuple(meanings.OFFSETS),
        meanings.OFFSETS,
    ),
    "`reports.csv`": (
        "`pacsifier-extract-carestream-report`: one row per structured report. Not de-identified.",
        tuple(extract_report._header()),
        meanings.REPORTS,
    ),
    "`log_get_pseudonyms.csv`": (
        "`pacsifier-get-pseudonyms` with a service: the query beside what it was given. Secret.",
        tuple(meanings.PSEUDONYMS),
        meanings.PSEUDONYMS,
    ),
}


def _json_files() -> Iterator[tuple[str, str, Iterable[str], Meanings]]:
    key_file = json.loads(key._spelled(key.Key(b"")))
    capable = capabilities.SCHEMA["properties"]
    yield (
        "`logs/summary.json`",
        "The totals of the run, and the rows of `summary.csv`.",
        meanings.SUMMARY_JSON,
        meanings.SUMMARY_JSON,
    )
    yield (
        "`NAME.key.json`",
        "`pacsifier-anonymize`, beside the output folder NAME: **the key to the patients.**",
        key_file,
        meanings.KEY,
    )
    yield "The file of `--capabilities`", "What the PACS can do.", capable, meanings.CAPABILITIES


def files() -> str:
    """The columns of every table that is written."""
    info = table(("column", "tag", "VR", "level"), [_attribute(name)[:4] for name in INFO_COLUMNS])
    first = (
        "## `SERIES.csv` (info files)\n\nWith `--info`, beside the folder of each series: one header, one row, values "
        f"exactly as the PACS told them.\n\n{info}"
    )
    others = [
        f"## {name}\n\n{about}\n\n{table(('column', 'what it holds'), explained(columns, words, name))}"
        for name, (about, columns, words) in TABLES.items()
    ]
    documents = [
        f"## {name}\n\n{about}\n\n{table(('key', 'what it holds'), explained(keys, words, name))}"
        for name, about, keys, words in _json_files()
    ]
    return "\n\n".join([first, *others, *documents])


# --- statuses ------------------------------------------------------------------------------------------------------


def statuses() -> str:
    """Every status that a table or a command tells, and what to do about it."""
    of_series = {**meanings.SERIES_STATUS, "arrived": meanings.ARRIVED}
    parts = {
        "Exit status of every command": ([str(each) for each in _EXIT_STATUSES], meanings.EXIT_STATUS),
        "Status of a series": ([*(each.value for each in Status), "arrived"], of_series),
        "FailedForGood: asking again is in vain": ([each.value for each in Lasting], meanings.LASTING),
        "Outcome of a query row": (_row_outcomes(), meanings.ROW_OUTCOME),
        "Outcome of a patient or study": ((*reporting.FOUND, reporting.NOT_FOUND), meanings.STUDY_OUTCOME),
        "Outcome of a probe of `--check`": ([each.value for each in Outcome], meanings.PROBE),
        "Status of a file that was to be de-identified": (
            tuple(meanings.PATH_OF_FILES),
            meanings.PATH_OF_FILES,
        ),
    }
    head = ("status", "what it means", "what to do")
    return "\n\n".join(
        f"## {title}\n\n{table(head, explained(names, words, title))}"
        for title, (names, words) in parts.items()
    )


def dicom_statuses() -> str:
    """The final statuses of C-FIND, C-MOVE and C-GET, and what a run does about each."""
    known = {value for name, value in vars(transcript).items() if name.isupper() and isinstance(value, int)}
    named = sorted(known | {*transcript._FIND_STATUS.values()})
    rows = explained((f"0x{each:04X}" for each in named), meanings.DICOM_STATUS, "statuses of DICOM")
    return table(("status", "what the PACS says", "what a run does", "what you do"), rows)


def _row_outcomes() -> tuple[str, ...]:
    open_ones = (each.value for each in Status if not each.settled)
    return tuple(dict.fromkeys((*outcomes.NOTHING_LEFT, "not_found", *open_ones)))


_EXIT_STATUSES = (
    *(
        common.EXIT_COMPLETE,
        common.EXIT_MISSING,
        common.EXIT_INPUT,
        common.EXIT_ASSOCIATION,
        common.EXIT_TOOL,
    ),
    *(129, 130, 143),
)


# --- de-identification ---------------------------------------------------------------------------------------------


def elements() -> str:
    """Every element that the standard's table or ours names, and what becomes of it by default and otherwise."""
    by_default, basic, shifted = (
        Profile(options) for options in (Options(), Options(basic=True), Options(fuzz_dates=True))
    )
    tags = sorted(
        {
            int(row.tag, 16)
            for name in ("table_e1_1.txt", "beyond_table.txt")
            for row in read_table(name)
            # What belongs to messages and file meta information is written anew.
            if row.tag >= "0008" and row.tag != "private" and "x" not in row.tag.lower()
        }
    )
    rows = [
        (
            f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
            keyword(tag) or "(not in the dictionary)",
            *(each.action(tag, public_vr(tag)).value for each in (by_default, shifted, basic)),
        )
        for tag in tags
    ]
    return table(("tag", "element", "by default", "with `--fuzz_acq_dates`", "`--profile basic`"), rows)


def marks() -> str:
    """The kinds of files, what their mark says, and what leaves them out: the table of claims."""
    left = {
        "stays": "",
        "out": "`-i`",
        "out_but_keep_sr": "`-i`, not with `--keep_sr`",
        "always_out": "always",
    }
    kinds: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in claims.table():
        mark = row.mark if row.mark in ("YES", "NO") else ""
        kinds.setdefault((row.kind, mark, left.get(row.asked_out, row.asked_out)), {})[row.reason] = None
    rows = [(*kind, "; ".join(reasons)) for kind, reasons in kinds.items()]
    return table(("kind of file", "mark", "left out by", "why"), rows)


def characteristics() -> str:
    """What of the patient stays, in words."""
    stays, cleaned = told.patient_characteristics()
    return f"**As it is:** {'; '.join(stays)}.\n\n**Word by word:** {'; '.join(cleaned)}."


def options_of_the_standard() -> str:
    """The options of PS3.15 Annex E: which are on by default, and what turns each on."""
    turned_on = {
        "basic": "always",
        "pixels": "`--clean_pixels`",
        "graphics": "always, but for `--profile basic`",
        "structured": "always, but for `--profile basic`",
        "descriptors": "always, but for `--profile basic` and `--retain_descriptors`",
        "full_dates": "unless `--fuzz_acq_dates` or `--profile basic`",
        "modified_dates": "`--fuzz_acq_dates`",
        "characteristics": "always, but for `--profile basic`",
        "device": "`--retain_device_identity`",
        "uids": "`--retain_uids`",
        "safe_private": "`--safe_private`",
        "institution": "`--retain_institution`",
    }
    on = {code for code, _ in codes(Options())}
    rows = [
        (code, name, "on" if code in on else "", words[1])
        for (code, name), words in zip(
            CODES.values(), explained(CODES, turned_on, "options of the standard"), strict=True
        )
    ]
    return table(("code (DCM)", "profile or option", "by default", "when"), rows)


def transfer_syntaxes() -> str:
    """The transfer syntaxes that the receiver takes, by the version of DCMTK from which it does."""
    rows = [
        (plain(each.name), f"`{each.uid}`", ".".join(map(str, each.since)) if each.since else "none yet")
        for each in negotiation._syntaxes()
    ]
    return table(("transfer syntax", "UID", "received from DCMTK"), rows)


def storage_classes() -> str:
    """How many SOP classes are offered, and which."""
    uids = negotiation.storage_classes()
    return f"{len(uids)} Storage SOP classes are accepted; a private one more with `--sop_class UID`."


# --- the notebook --------------------------------------------------------------------------------------------------


def notebook() -> str:
    """The notebook's cells, without results: those are made by whoever runs it."""
    book = json.loads((ROOT / "docs" / "look-choose-fetch.ipynb").read_text(encoding="utf-8"))
    parts = []
    for cell in book["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    # The page has a heading of its own.
    return re.sub(r"\A# .*\n", "", "\n\n".join(parts))


# --- pages that lie beside the README --------------------------------------------------------------------------------


def _beside(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def readme() -> str:
    """The README."""
    return _beside("README.md")


def benchmarks() -> str:
    """How fast it is."""
    return _beside("BENCHMARKS.md")


def changelog() -> str:
    """What changed."""
    return _beside("CHANGELOG.md")


def contributing() -> str:
    """How to change it."""
    return _beside("CONTRIBUTING.md")


def plan_of_the_house() -> str:
    """The part of CONTRIBUTING that draws the plan."""
    text = _beside("CONTRIBUTING.md")
    start, end = text.index("## The plan of the house"), text.index("## Rules")
    return text[start:end]


PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        *(commands, config_keys, query_columns, files, statuses, elements, marks, characteristics),
        *(options_of_the_standard, transfer_syntaxes, storage_classes, notebook),
        *(dicom_statuses, readme, benchmarks, changelog, contributing, plan_of_the_house),
    )
}


def filled(text: str) -> str:
    """A page with all its made parts."""
    # The width of whoever builds must not show.
    os.environ["COLUMNS"] = str(_WIDTH)
    for name, part in PARTS.items():
        mark = f"<!-- made: {name} -->"
        if mark in text:
            text = text.replace(mark, part())
    if "<!-- made: " in text:
        raise UnexplainedError("a page wants a part that made.py does not make")
    return text
