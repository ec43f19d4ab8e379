"""The words and colours of a report, and values as people read them."""

from __future__ import annotations

from collections.abc import Mapping

UNTOLD, UNTOLD_STUDY = "not told", "a study without date"

COLOURS: Mapping[str, str] = {
    "complete": "good",
    "skipped": "good",
    "arrived": "good",
    "moved": "good",
    "listed": "c2",
    "unknown": "c2",
    "incomplete": "warn",
    "pending": "warn",
    "left_out": "warn",
    "gone": "warn",
    "undecided": "warn",
    "failed": "bad",
}
WORDS: Mapping[str, str] = {
    "gone": "no longer all here",
    "unknown": "here, no log tells more",
    "left_out": "left out by --limit",
    "moved": "sent elsewhere",
    "listed": "listed only",
}


def date_text(date: str) -> str:
    """`20190307` as `2019-03-07`; anything else as it is."""
    date = date.strip()
    if len(date) == 8 and date.isascii() and date.isdigit():
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return date


def name_text(name: str) -> str:
    """A name of a person (VR PN) as it is read: `Organa, Leia` of `Organa^Leia`; the first of its groups."""
    parts = [each.strip() for each in name.partition("=")[0].split("^")]
    return ", ".join(each for each in parts if each)
