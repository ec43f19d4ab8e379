"""`--print_completion`: a script by which a shell completes the options of a command and the paths behind them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The shells that the tests run; shtab knows others, of which nothing is known here.
SHELLS = ("bash", "zsh", "fish")
_FOLDERS = ("dir", "directory", "folder")


class PrintCompletion(argparse.Action):
    """Prints the script for one shell and ends, whatever else is required."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option_string: str | None = None,
    ) -> None:
        """Ends with exit status 0, or 2 where shtab is missing."""
        print(script(parser, str(values)))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion of a command for one of `SHELLS`."""
    # Nobody pays for it but who asks for it.
    try:
        import shtab
    except ImportError:
        parser.error("--print_completion needs the package shtab: pip install shtab")
    for action in parser._actions:
        if action.type is Path:
            named = str(action.metavar or action.dest).lower().split("_")
            folder = any(word in named for word in _FOLDERS)
            action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    return text
