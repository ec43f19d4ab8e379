"""How `--help` is laid out: to the width of the terminal, with defaults, and examples that can be copied.

The texts of the commands are written once, for any width. In them lines of one indent are a paragraph; `  0    what it
means` is a row, whose second column hangs; a line that begins with a command and an option is an example.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from itertools import groupby

_WIDEST = 120
_COMMAND = re.compile(r"\s+(?:pacsifier|docker)[\w-]* (?:submit )?--?\w")
_ROW = re.compile(r"(\s*\S+(?: \S+)*?\s{2,})\S")
_BEFORE_OPTION = re.compile(r" (?=--?[A-Za-z])")


class HelpFormatter(argparse.HelpFormatter):
    """Says whether an option is required, else its default; fills all texts to the width that there is."""

    def __init__(self, prog: str, **settings: object) -> None:
        super().__init__(prog, **settings)  # type: ignore[arg-type]
        self._width = min(self._width, _WIDEST)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(f"{indent}{line}".rstrip() for line in laid_out(text, width - len(indent)))

    def _get_help_string(self, action: argparse.Action) -> str:
        said = action.help or ""
        if action.required:
            return f"{said} (required)"
        told = "default" in said.lower() or action.nargs == 0
        if told or action.default in (None, argparse.SUPPRESS) or isinstance(action.default, list):
            return said
        return f"{said} (default: %(default)s)"


def laid_out(text: str, width: int) -> Iterator[str]:
    """The lines of a text that fit into so many columns; an example of a command is never torn within an option."""
    whole = re.sub(r" \\\n\s*", " ", text)
    for (kind, indent), lines in groupby(whole.splitlines(), _kind):
        if kind == "blank":
            yield from [""] * len(list(lines))
        elif kind == "command":
            for line in lines:
                yield from _command(line, width)
        elif kind == "row":
            for line in lines:
                found = _ROW.match(line)
                hanging = " " * (found.end(1) if found else indent)
                yield from _filled(line, width, hanging)
        else:
            yield from _filled(" ".join(line.strip() for line in lines), width, " " * indent, " " * indent)


def _kind(line: str) -> tuple[str, int]:
    indent = len(line) - len(line.lstrip())
    if not line.strip():
        return "blank", 0
    if _COMMAND.match(line):
        return "command", indent
    return ("row" if _ROW.match(line) else "text"), indent


def _filled(text: str, width: int, hanging: str, first: str = "") -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        max(width, len(hanging) + 20),
        initial_indent=first,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _command(line: str, width: int) -> Iterator[str]:
    """A command over several lines of the shell, each but the last with a backslash at its end."""
    indent = " " * (len(line) - len(line.lstrip()))
    now = ""
    for part in _BEFORE_OPTION.split(line.strip()):
        longer = f"{now} {part}" if now else f"{indent}{part}"
        if now and len(longer) + 2 > width:
            yield f"{now} \\"
            longer = f"{indent}    {part}"
        now = longer
    yield now
