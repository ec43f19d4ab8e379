"""What a file may say of itself by its header, never by its pixels: a table, `engine/data/claims.txt`.

PatientIdentityRemoved says YES only where it is known (PS3.15 section E.1.1, PS3.3 section C.7.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pacsifier.deidentify.engine.profile import Options, data_lines
from pacsifier.deidentify.pages import says

if TYPE_CHECKING:
    from pacsifier.deidentify.model import Facts

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SIMPLE = ("burned_in", "label", "features", "conversion")
UNKNOWN = "what it shows is not known"


@dataclass(frozen=True)
class Condition:
    """One condition of a row; a value with * at its end is the beginning of one."""

    field: str
    values: frozenset[str]
    beginnings: tuple[str, ...]
    holds: bool

    def fits(self, told: dict[str, frozenset[str]]) -> bool:
        """Whether it holds for what a file tells."""
        mine = told[self.field]
        found = not self.values.isdisjoint(mine) or any(each.startswith(self.beginnings) for each in mine)
        return found is self.holds


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    kind: str
    where: tuple[Condition, ...]
    mark: str
    asked_out: str
    cleaned: str
    reason: str


@cache
def table() -> tuple[Row, ...]:
    """The rows in the file's order; a column that is not known here is left alone."""
    head, *lines = (line.split("\t") for line in data_lines("claims.txt"))
    cells = [dict(zip(head, line, strict=True)) for line in lines]
    return tuple(
        Row(
            each["kind"],
            _conditions(each["where"]),
            each["mark"],
            each["-i"],
            each["cleaned"],
            each["reason"],
        )
        for each in cells
    )


def rows_for(facts: Facts) -> tuple[Row, ...]:
    """The rows that fit a file."""
    return _rows_for(
        facts.sop_class,
        facts.transfer_syntax,
        facts.modality,
        facts.image_type,
        (facts.series_description, facts.protocol),
        (facts.burned_in, facts.label, facts.features, facts.conversion),
        captured=facts.captured,
        has_pixels=facts.has_pixels,
    )


def doubt(facts: Facts) -> str:
    """Why the mark may not say that nobody is recognizable; "" where it may."""
    rows = rows_for(facts)
    for row in rows:
        if row.mark == "NO":
            return f"{row.kind}: {row.reason}"
    known = any(row.mark == "YES" for row in rows) or facts.removed_before.upper() == "YES"
    return "" if known else UNKNOWN


def doubt_when_cleaned(facts: Facts) -> str:
    """Why the mark may not say so either when the pixels were cleaned and no person has looked; "" where it may."""
    rows = [row for row in rows_for(facts) if row.mark == "NO"]
    for row in rows:
        if row.cleaned == "person":
            return f"{row.kind}: {row.reason}"
    cleaning_is_enough = not doubt(facts) or any(row.cleaned == "YES" for row in rows)
    return "" if cleaning_is_enough else doubt(facts)


def asked_out(facts: Facts, options: Options) -> str:
    """What of --delete_identifiable's list a file is; "" for nothing."""
    leaving = {"out"} if options.keep_sr else {"out", "out_but_keep_sr"}
    for row in rows_for(facts):
        if row.asked_out in leaving:
            kept = " (--keep_sr keeps it, cleaned)" if row.asked_out == "out_but_keep_sr" else ""
            return row.kind + kept
    return ""


def always_out(facts: Facts) -> str:
    """Why a file never goes out, whatever the options; "" where it may."""
    return next((row.kind for row in rows_for(facts) if row.asked_out == "always_out"), "")


@lru_cache(maxsize=4096)
def _rows_for(  # noqa: PLR0917 - what the files of a series share, so that each series is judged once
    sop_class: str,
    syntax: str,
    modality: str,
    image_type: str,
    texts: tuple[str, ...],
    simple: tuple[str, str, str, str],
    *,
    captured: bool,
    has_pixels: bool,
) -> tuple[Row, ...]:
    told = {field: frozenset((value.upper(),)) for field, value in zip(_SIMPLE, simple, strict=True)}
    told["captured"] = frozenset(("YES" if captured or simple[-1] else "NO",))
    told["pixels"] = frozenset(("some" if has_pixels else "none",))
    told["class"] = frozenset((sop_class, sop_class.removeprefix(_STORAGE)))
    told["syntax"] = frozenset((syntax,))
    told["modality"] = frozenset((modality.upper(),))
    image_type = image_type.upper()
    told["image_type"] = frozenset(value.strip().replace(" ", "_") for value in image_type.split("\\"))
    told["says"] = says(texts, image_type)
    return tuple(row for row in table() if all(each.fits(told) for each in row.where))


def _conditions(text: str) -> tuple[Condition, ...]:
    return tuple(_condition(each) for each in text.split("; "))


def _condition(text: str) -> Condition:
    field, _, values = text.partition("=")
    words = values.split()
    return Condition(
        field.removesuffix("!"),
        frozenset(word for word in words if not word.endswith("*")),
        tuple(word[:-1] for word in words if word.endswith("*")),
        not field.endswith("!"),
    )
