"""One part of many: which patients, and so which rows of a query, belong to it. Pure; the same on every machine.

A patient is never in two parts: whoever a literal PatientID finds by tolerance (case, accents, padding), and whoever
would share a `sub-` folder with them, is in the same part.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from dataclasses import dataclass, replace
from typing import Final

from pacsifier.allowed import made_by
from pacsifier.query.columns import Queries, Query
from pacsifier.query.matching import fold
from pacsifier.query.packed import SomeRows
from pacsifier.query.table import QueryTable

_FORM: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `of` parts."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(str(self))

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `I/N`.

        Raises:
            ValueError: it is no such text, or I is not from 1 to N.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise ValueError(text)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, patient_id: str | None) -> bool:
        """Whether a patient is in this part; images without a PatientID are all in one part, too."""
        if self.of == 1:
            return True
        digest = hashlib.sha256(_patient(patient_id or "").encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def divides(self, query: Query) -> bool:
        """Whether the row names no single patient: then every part asks it, and takes the answers of its patients."""
        return self.of > 1 and not names_patient(query)

    def asks(self, query: Query) -> bool:
        """Whether this part asks the row: it is of one of its own patients, or names no single one."""
        return not names_patient(query) or self.holds(query.cells.get("PatientID", query.patient))

    def part(self, table: QueryTable) -> QueryTable:
        """The rows that this part asks: those of its own patients, and those that name no single patient."""
        if self.of == 1:
            return table
        some = table.queries
        queries = some.only(self.asks) if isinstance(some, Queries) else tuple(filter(self.asks, some))
        rows = array("I", sorted(row for query in queries for row in query.rows))
        return replace(table, queries=queries, raw=SomeRows(table.raw, rows))


WHOLE: Final = Shard()
SHARD: Final = made_by(Shard, "a part such as 3/8 is allowed, from 1/8 to 8/8", Shard.parse)


def names_patient(query: Query) -> bool:
    """Whether a row holds a PatientID without a wildcard, or a series table tells one of it.

    What a table tells decides where its row belongs, whatever the PACS says now: a spreadsheet that took the leading
    zeros of a patient took those of all rows of that patient.
    """
    if query.patient is not None:
        return True
    return not set("*?") & set(query.cells.get("PatientID", "*"))


def _patient(patient_id: str) -> str:
    """What is left of a PatientID where neither tolerance in matching nor a folder name can tell two apart."""
    plain = unicodedata.normalize("NFKD", fold(patient_id))
    return "".join(each for each in plain.casefold() if each.isascii() and each.isalnum())
