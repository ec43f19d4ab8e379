"""The cells of a query file, held by column: a million rows take some ten numbers a row, and no object.

A text that stands in many rows is held and checked once; a `Query`, and a row as it stands in the file, are made when
somebody asks for them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, overload

from pacsifier.query.attributes import ATTRIBUTES
from pacsifier.query.cells import NEW_IDS, Cell, read_cell
from pacsifier.query.csvtext import BLANKS
from pacsifier.query.packed import place_of


@dataclass(frozen=True, slots=True)
class Query:
    """What one row asks for; rows that ask the same are one query.

    `rows` are spreadsheet row numbers (the header is row 1), ascending; `cells` holds the cells that are not
    empty, by column, of the 17 query columns only; `new_id` is the pseudonym of the row's patient. `patient`: the
    PatientID of a row that does not ask for it, as a series table tells it; None: the row asks, or tells none.
    """

    rows: tuple[int, ...]
    cells: Mapping[str, str]
    new_id: str | None
    patient: str | None = field(default=None, compare=False)

    @property
    def wants_whole_studies(self) -> bool:
        """Whether no cell says anything of single series: all of a study that matches is wanted."""
        return all(ATTRIBUTES[column].level == "STUDY" for column in self.cells)


ASKS, WRONG, DIFFERS, NOTED = 1, 2, 4, 8
"""What is known of a cell, as bits: it asks for something; something is wrong with it; it is not its header again;
it asks for nothing, and there is something to be said of it."""
_UNREAD = 16
# Texts of a column that are known not to be looked at again; most stand in many rows, or in one.
_REMEMBERED = 4096


class Column:
    """The cells of one column, from the first row on: as they stand in the file, and as they are meant.

    `name` is that of its header; `known`: it is read by the rules of that column (`read`); of another one no cell may
    hold anything, or, where it is `ignored`, each may: `notice` says what there is to be said of such a cell. A text
    that a cell holds or means has a number: 0 is the empty one, and two cells of the same `meaning` say the same. In a
    million rows most texts stand once, and mean themselves.
    """

    def __init__(
        self,
        name: str,
        *,
        known: bool,
        ignored: bool = False,
        read: Callable[[str, str], Cell] = read_cell,
        notice: Callable[[str, str], str] | None = None,
    ) -> None:
        self._name = name
        self._known = known
        self._ignored = ignored
        self._read_cell = read
        self._notice = notice
        self._codes = array("I")
        # By their numbers: the texts, what is known of a cell that holds one, and the numbers of what it means.
        self._texts: list[str] = []
        self._bits = bytearray()
        self._meanings = array("I")
        self._number_of: dict[str, int] = {}
        self.add("")
        del self._codes[:]

    def add(self, raw: str) -> int:
        """Takes the cell of the next row; returns what is known of it."""
        number = self._number_of.get(raw)
        if number is None:
            number = self._number(raw)
        bits = self._bits[number]
        if bits == _UNREAD:
            bits = self._read(number, raw)
        self._codes.append(number)
        return bits

    def _number(self, text: str) -> int:
        """The number of a text, which nobody has read as a cell yet where it is new."""
        number = self._number_of.setdefault(text, len(self._texts))
        if number == len(self._texts):
            self._texts.append(text)
            self._bits.append(_UNREAD)
            self._meanings.append(number)
        return number

    def _read(self, number: int, raw: str) -> int:
        """Reads a cell that holds this text; returns what is known of it."""
        text, bits = "", 0
        if self._known:
            cell = self._read_cell(self._name, raw)
            text = cell.text
            bits = ASKS if text and self._name != NEW_IDS else 0
            bits |= WRONG if cell.problems else 0
            bits |= DIFFERS if text and text.casefold() != self._name.casefold() else 0
        elif not self._ignored:
            bits = WRONG if raw.strip(BLANKS) else 0
        elif self._notice is not None:
            text = raw.strip(BLANKS)
            bits = NOTED if text and self._notice(self._name, raw) else 0
        if text != raw:
            self._meanings[number] = self._number(text)
        self._bits[number] = bits
        return bits

    def close(self) -> None:
        """Forgets what only `add` needs."""
        self._number_of = {}

    def raw(self, at: int) -> str:
        """A cell as it stands in the file."""
        return self._texts[self._codes[at]]

    def noted(self) -> Iterator[tuple[int, str]]:
        """The places of the cells of which there is something to be said, and what stands there."""
        if any(bits & NOTED for bits in self._bits):
            codes = enumerate(self._codes)
            yield from ((place, self._texts[code]) for place, code in codes if self._bits[code] & NOTED)

    def meaning(self, at: int) -> int:
        """The number of what a cell says."""
        return self._meanings[self._codes[at]]

    def meanings(self) -> Iterator[int]:
        """The numbers of what all cells say, in the order of the rows."""
        meanings = self._meanings
        return (meanings[code] for code in self._codes)

    def text(self, at: int) -> str:
        """What a cell says."""
        return self._texts[self.meaning(at)]

    @property
    def number_of_meanings(self) -> int:
        """How many different things its cells say, the empty one included."""
        return len(self._texts)


class PassedOver:
    """A column whose cells ask for nothing, and which nobody looks at again: only what is said of them is kept.

    `notice` says what there is to be said of a cell.
    """

    def __init__(self, name: str, notice: Callable[[str, str], str]) -> None:
        self._name = name
        self._notice = notice
        self._known: dict[str, bool] = {}
        self._place = 0
        self._noted: list[tuple[int, str]] = []

    def add(self, raw: str) -> int:
        """Takes the cell of the next row; returns what is known of it."""
        noted = self._known.get(raw)
        if noted is None:
            if len(self._known) == _REMEMBERED:
                self._known.clear()
            noted = self._known[raw] = bool(raw.strip(BLANKS)) and bool(self._notice(self._name, raw))
        if noted:
            self._noted.append((self._place, raw))
        self._place += 1
        return NOTED if noted else 0

    def close(self) -> None:
        """Forgets what only `add` needs."""
        self._known = {}

    def noted(self) -> Iterator[tuple[int, str]]:
        """The places of the cells of which there is something to be said, and what stands there."""
        return iter(self._noted)


@dataclass(frozen=True, eq=False)
class RawRows(Mapping[int, tuple[str, ...]]):
    """The cells of each row as they stand in the file, by row number."""

    numbers: Sequence[int]
    columns: Sequence[Column]

    def __getitem__(self, number: int) -> tuple[str, ...]:
        at = place_of(self.numbers, number)
        return tuple(column.raw(at) for column in self.columns)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


class Queries(Sequence[Query]):
    """One query for all rows of the same cells; a query for each pseudonym, where they have several.

    Equal to any sequence of equal queries, as a tuple of them would be. `patient_ids`: the column that says whose
    pseudonym it is, where that is not one that asks.
    """

    def __init__(
        self, numbers: Sequence[int], columns: Mapping[str, Column], patient_ids: Column | None = None
    ) -> None:
        self._numbers = numbers
        self._asked = [(name, column) for name, column in columns.items() if name != NEW_IDS]
        self._new_ids = columns.get(NEW_IDS)
        self._patient_ids = patient_ids or columns.get("PatientID")
        self._told = patient_ids if patient_ids is not None and "PatientID" not in columns else None
        # The first row of each query by its place, and the places of all its rows where there are several.
        self._firsts = array("I")
        self._several: dict[int, tuple[int, ...]] = {}
        for places in self._alike():
            if isinstance(places, int):
                self._firsts.append(places)
            else:
                self._divide(places)

    def _alike(self) -> Iterable[int | list[int]]:
        """The places of rows that ask the same, in the order of their first rows; a row alone as its place."""
        alike: dict[int, int | list[int]] = {}
        keys: Iterator[int] = (0 for _ in self._numbers)
        for _, column in self._asked:
            keys = _combined(keys, column)
        for place, key in enumerate(keys):
            known = alike.setdefault(key, place)
            if isinstance(known, list):
                known.append(place)
            elif known != place:
                alike[key] = [known, place]
        return alike.values()

    def _divide(self, places: Iterable[int]) -> None:
        """Enters the queries of rows that ask the same: one for each pseudonym."""
        named: dict[int, list[int]] = {}
        unnamed = []
        for place in places:
            if new_id := self._new_ids.meaning(place) if self._new_ids else 0:
                named.setdefault(new_id, []).append(place)
            else:
                unnamed.append(place)
        for rows in named.values() or [[]]:
            # A row without pseudonym asks for what its twin asks for: it joins the first.
            self._several[len(self._firsts)] = tuple(sorted([*rows, *unnamed]))
            self._firsts.append(self._several[len(self._firsts)][0])
            unnamed = []

    def several(self) -> Iterator[tuple[int, ...]]:
        """The row numbers of each query of more than one row."""
        for places in self._several.values():
            if len(places) > 1:
                yield tuple(self._numbers[place] for place in places)

    def patients(self) -> Iterator[tuple[int, int, int]]:
        """The numbers of pseudonym and of PatientID of each query that has both, and its first row."""
        patient_ids = self._patient_ids
        if patient_ids is None or self._new_ids is None:
            return
        for at, first in enumerate(self._firsts):
            new_id = next(filter(None, map(self._new_ids.meaning, self._places(at))), 0)
            if new_id and (patient := patient_ids.meaning(first)):
                yield new_id, patient, self._numbers[first]

    def _places(self, at: int) -> tuple[int, ...]:
        return self._several.get(at) or (self._firsts[at],)

    def _made(self, at: int) -> Query:
        places = self._places(at)
        new_ids = (self._new_ids.text(place) for place in places) if self._new_ids else ()
        return Query(
            rows=tuple(self._numbers[place] for place in places),
            cells={name: text for name, column in self._asked if (text := column.text(places[0]))},
            new_id=next(filter(None, new_ids), None),
            patient=(read_cell("PatientID", self._told.text(places[0])).text or None) if self._told else None,
        )

    def by_first_row(self) -> Mapping[int, Query]:
        """Each query by the number of its first row, made when somebody asks for it."""
        return _ByFirstRow(self, [self._numbers[place] for place in self._firsts])

    def only(self, wanted: Callable[[Query], bool]) -> Queries:
        """Those of the queries that are wanted."""
        some = copy(self)
        places = [at for at, query in enumerate(self) if wanted(query)]
        some._firsts = array("I", (self._firsts[at] for at in places))
        some._several = {new: self._several[at] for new, at in enumerate(places) if at in self._several}
        return some

    def __len__(self) -> int:
        return len(self._firsts)

    @overload
    def __getitem__(self, index: int) -> Query: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Query, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        places = range(len(self))[index]
        return self._made(places) if isinstance(places, int) else tuple(map(self._made, places))

    def __iter__(self) -> Iterator[Query]:
        return map(self._made, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))


def by_first_row(queries: Sequence[Query]) -> Mapping[int, Query]:
    """Each query by the number of its first row; those of a file are made when somebody asks for them."""
    if isinstance(queries, Queries):
        return queries.by_first_row()
    return {query.rows[0]: query for query in queries}


class _ByFirstRow(Mapping[int, Query]):
    """Queries by the numbers of their first rows, in the order of the queries."""

    def __init__(self, queries: Sequence[Query], numbers: Iterable[int]) -> None:
        self._queries = queries
        # 12 bytes a query, of which there may be many; ascending, but where rows that ask alike were divided.
        pairs = sorted(number << 32 | at for at, number in enumerate(numbers))
        self._numbers = array("Q", (pair >> 32 for pair in pairs))
        self._at = array("I", (pair & 0xFFFFFFFF for pair in pairs))

    def __getitem__(self, number: int) -> Query:
        return self._queries[self._at[place_of(self._numbers, number)]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def _combined(keys: Iterator[int], column: Column) -> Iterator[int]:
    number = column.number_of_meanings
    return (key * number + meaning for key, meaning in zip(keys, column.meanings(), strict=True))
