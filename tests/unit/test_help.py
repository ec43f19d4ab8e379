"""`--help` teaches: groups, defaults, units, examples that work as they stand, at the width of whoever reads it."""

from __future__ import annotations

import argparse
import configparser
import importlib
import re
import shlex
from pathlib import Path

import pytest

from pacsifier.cli.docker import WRAPPERS, build_parser
from pacsifier.cli.helping import laid_out

ROOT = Path(__file__).resolve().parents[2]


def _parsers() -> dict[str, argparse.ArgumentParser]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    scripts = dict(re.split(r"\s*=\s*", line) for line in lines)
    return {
        name: build_parser(name)
        if name in WRAPPERS
        else importlib.import_module(target.partition(":")[0]).build_parser()
        for name, target in scripts.items()
    }


PARSERS = _parsers()
every_parser = pytest.mark.parametrize("name", PARSERS)


def _help(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = PARSERS[name].format_help()
    assert isinstance(text, str)
    return text


def _examples(text: str) -> list[list[str]]:
    part = text[text.index("\nexamples:") : text.index("\nexit status:")].replace("\\\n", " ")
    return [
        shlex.split(line)
        for line in part.splitlines()
        if re.match(r"  (pacsifier|docker)\S* (-|\w+( -|$| /))", line)
    ]


@every_parser
def test_a_person_finds_two_examples_that_the_command_takes_as_they_stand(name, monkeypatch):
    examples = _examples(_help(name, 80, monkeypatch))
    assert sum(words[0] == name for words in examples) >= 2
    for program, *words in examples:
        # What follows -- goes to another program, which reads it for itself.
        own = words[: words.index("--")] if "--" in words else words
        PARSERS[program].parse_args(own)


@every_parser
def test_examples_are_the_same_however_narrow_the_terminal(name, monkeypatch):
    assert _examples(_help(name, 60, monkeypatch)) == _examples(_help(name, 200, monkeypatch))


@every_parser
def test_options_stand_in_groups_that_say_what_they_are_for(name):
    parser = PARSERS[name]
    own = {option for action in parser._optionals._group_actions for option in action.option_strings}
    assert own <= {"-h", "--help", "--version", "--print_completion", "-v", "--verbose"}
    titles = [group.title for group in parser._action_groups if group._group_actions]
    assert len(titles) == len(set(titles)) > 1
    assert "options" not in titles


@every_parser
def test_every_default_is_told_and_so_is_what_must_be_given(name, monkeypatch):
    formatter = PARSERS[name]._get_formatter()
    for action in PARSERS[name]._actions:
        said = formatter._get_help_string(action) or ""
        if action.required and action.option_strings:
            assert said.endswith("(required)"), action.dest
        elif action.nargs != 0 and action.default not in (None, [], argparse.SUPPRESS):
            assert "default" in said, action.dest


@every_parser
def test_a_number_is_told_with_what_it_counts(name):
    for action in PARSERS[name]._actions:
        if callable(action.type) and action.type is not Path:
            assert action.metavar in {
                "N",
                "I/N",
                "SECONDS",
                "SIZE",
                "RATE",
                "FROM-TO",
                "UID",
                "NAME",
                "K",
                "M",
            }, action.dest


@every_parser
@pytest.mark.parametrize("columns", [72, 80, 200])
def test_help_fits_the_terminal_and_a_wide_one_is_not_filled_to_its_edge(name, columns, monkeypatch):
    lines = _help(name, columns, monkeypatch).splitlines()
    # A single word, such as a path with its placeholders, is never torn.
    broad = [line for line in lines if len(line) > min(columns, 120) and " " in line.strip()]
    assert not broad


def test_a_paragraph_is_filled_and_a_row_hangs_below_its_second_column():
    text = "what it does:\n  one two\n  three four\n\n  0    all is there and more\n"
    text += "  pacsifier --save \\\n  --config c.json\n"
    assert list(laid_out(text, 20)) == [
        "what it does:",
        "  one two three four",
        "",
        "  0    all is there and",
        "       more",
        "  pacsifier --save \\",
        "      --config c.json",
    ]
