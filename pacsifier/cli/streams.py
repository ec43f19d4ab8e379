"""The standard streams of a command, made usable whatever they are: closed, a broken pipe, on a full disk."""

from __future__ import annotations

import atexit
import codecs
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any


def visible(text: str) -> str:
    """The text with every unprintable character spelled out, except line ends and tabs.

    What a PACS or a file name holds must not steer a terminal.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _spelled(each) for each in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


# What our own sentences hold beyond ASCII, for a terminal that has no such letters.
_PLAIN = {"…": "...", "→": "->"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of encodings: the plain form of what cannot be shown, else its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unshown = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each) or _spelled(each) for each in unshown), error.end


class _LastingStream(io.TextIOWrapper):
    """A stream that may break without ending the run; it spells out what is not printable."""

    def write(self, text: str) -> int:
        return self.write_as_is(visible(text))

    def write_as_is(self, text: str) -> int:
        """Writes text that may steer the terminal."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()

    def give_up(self) -> None:
        """Lets go of what could not be written to the very end: Python would make an exit status of it, or a traceback.

        Only then: a disk that is full may have room again while a run goes on.
        """
        try:
            super().flush()
        except ValueError:
            return  # closed meanwhile
        except OSError:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
                super().flush()


class Unfiltered:
    """A stream as it was, for what draws on a terminal."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.write = getattr(stream, "write_as_is", stream.write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def moves(stream: Any) -> bool:
    """Whether a line on it can be taken back: a terminal, and none that says it cannot."""
    return bool(stream.isatty()) and os.environ.get("TERM", "") not in ("dumb", "unknown")


def secure() -> None:
    """Opens streams that are closed, on /dev/null, and keeps one that breaks later from ending the run."""
    codecs.register_error("pacsifier_plain", _plain)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the first file that the run opens would take the place of the stream.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):
            lasting = _LastingStream(
                stream.buffer, stream.encoding, "pacsifier_plain", line_buffering=stream.line_buffering
            )
            setattr(sys, name, lasting)
            atexit.register(lasting.give_up)
