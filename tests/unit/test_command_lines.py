"""A mistake on a command line costs one line that names what was meant, and tells no value: it may name a patient."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.cli.docker import WRAPPERS, build_parser
from pacsifier.cli.parser import Parser

MODULES = (
    *(
        "retrieve",
        "anonymize",
        "create_dicomdir",
        "get_pseudonyms",
        "move_csv",
        "add_karnak_tags",
        "extract_report",
    ),
    *("merge_parts", "demo_pacs", "report", "slurm"),
)
SECRET = "Mueller^Hans"


def parsers() -> dict[str, Parser]:
    commands = {name: importlib.import_module(f"pacsifier.cli.{name}").build_parser() for name in MODULES}
    return {**commands, **{name: build_parser(name) for name in WRAPPERS}}


PARSERS = parsers()
OPTIONS = [
    (name, option)
    for name, parser in PARSERS.items()
    for option in parser._option_string_actions
    if option.startswith("--")
]


def refused(capsys: pytest.CaptureFixture[str], parser: Parser, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.count("\n") == 1
    assert "see --help" in err
    assert SECRET not in err
    return err


def misspelt(option: str) -> list[str]:
    """The same option with two letters swapped, one left out, one doubled, in capitals, with a hyphen for each `_`."""
    middle = len(option) // 2 + 1
    swapped = option[: middle - 1] + option[middle] + option[middle - 1] + option[middle + 1 :]
    return [
        swapped,
        option[:middle] + option[middle + 1 :],
        option[:middle] + option[middle] + option[middle:],
        option.upper(),
        option.replace("_", "-"),
    ]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_misspelt_option_names_its_neighbour(name, option, capsys):
    parser = PARSERS[name]
    for wrong in misspelt(option):
        if any(each.startswith(wrong) for each in parser._option_string_actions):
            continue
        for words in ([wrong, SECRET], [f"{wrong}={SECRET}"]):
            assert f"unknown option {wrong}: did you mean {option}?" in refused(capsys, parser, *words)


@pytest.mark.parametrize("name", PARSERS)
def test_no_mistake_tells_a_value(name, capsys):
    parser = PARSERS[name]
    for option, action in parser._option_string_actions.items():
        if option in ("--help", "-h", "--version"):
            continue
        if action.nargs == 0:
            words = [f"{option}={SECRET}"] if option.startswith("--") else [f"{option}{SECRET}"]
        elif action.choices or (callable(action.type) and action.type.__name__ != "Path"):
            words = [option, SECRET]
        else:
            words = [option]
        assert SECRET not in refused(capsys, parser, *words)
    # A command that takes a folder without the name of an option takes one.
    taken = [SECRET for action in parser._actions if not action.option_strings]
    for word in (SECRET, f"-Z{SECRET}", f"--zzzz={SECRET}"):
        assert SECRET not in refused(capsys, parser, *taken, word)


def test_a_long_option_with_one_hyphen_is_not_taken_for_a_short_one_with_a_value(capsys):
    assert "did you mean --config?" in refused(capsys, PARSERS["retrieve"], "-config", "config.json", "-s")
    assert "did you mean --queryfile?" in refused(capsys, PARSERS["docker_pacsifier"], "-queryfile", SECRET)


def test_a_misspelt_option_is_told_before_what_is_missing_because_of_it(capsys):
    assert "did you mean --config?" in refused(capsys, PARSERS["retrieve"], "--confg", "c.json", "--save")


def test_all_unknown_options_are_told_at_once(capsys):
    said = refused(capsys, PARSERS["retrieve"], "--confg", "c", "--sav", "--quryfile", "q", "--in")
    assert "--config?" in said
    assert "--queryfile?" in said


def test_a_word_too_many_is_placed_not_told(capsys):
    said = refused(capsys, PARSERS["retrieve"], "-c", "c", "--queryfile", "my", SECRET, "-s")
    assert "after --queryfile" in said
    assert "after -d" in refused(capsys, PARSERS["retrieve"], "-c", "c", f"-d{SECRET}", "too many", "-s")


def test_values_with_hyphens_and_numbers_are_still_values():
    parsed = PARSERS["retrieve"].parse_args(
        ["-c", "a b", "-q=-x", "--out_directory=--y", "-sv", "-v", "--sop_class", "1.2"]
    )
    assert (str(parsed.queryfile), str(parsed.out_directory), parsed.verbose) == ("-x", "--y", 2)


@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_words_end_in_a_result_or_in_one_line(words):
    try:
        PARSERS["move_csv"].parse_args(words)
    except SystemExit as ended:
        assert ended.code in (0, 2)
