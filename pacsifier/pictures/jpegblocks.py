"""Rectangles of a sequential JPEG made flat among its Huffman codes: all other blocks keep their bits.

Nothing is decoded to pixels and nothing encoded again. Of a block outside only the difference of its DC coefficient to
the block before it is written anew, where that one was made flat. Tables, application data and restart markers stay; a
code that a table lacks is added behind its last one, which changes no other.

Source: ITU-T T.81 (JPEG), annexes B, C and F.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pacsifier.pictures.boxes import Box
from pacsifier.pictures.stored import PixelsError, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEQUENTIAL: Final = (0xC0, 0xC1)
_OTHER_FRAMES: Final = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES, _SCAN, _END, _QUANTISATION, _RESTART, _LINES = 0xC4, 0xDA, 0xD9, 0xDB, 0xDD, 0xDC
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_RESTARTS: Final = re.compile(rb"(\xff+[\xd0-\xd7])")
_BEHIND: Final = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
_WINDOW: Final = 1 << 16
_MARGIN: Final = 1 << 13  # more bytes than a minimum coded unit has
_ADOBE_BYTES: Final = 12
_EOB: Final = 0
_BROKEN: Final = 128  # as a step it ends the block, and tells why


@dataclass(frozen=True)
class Table:
    """A Huffman table: how many codes there are of each length from 1 to 16, and their symbols."""

    counts: tuple[int, ...]
    symbols: tuple[int, ...]

    def codes(self) -> dict[int, tuple[int, int]]:
        """Symbol -> code and its length (T.81 annex C)."""
        out: dict[int, tuple[int, int]] = {}
        code, at = 0, 0
        for length, count in enumerate(self.counts, 1):
            for symbol in self.symbols[at : at + count]:
                out.setdefault(symbol, (code, length))
                code += 1
            at += count
            code <<= 1
        return out

    def with_symbols(self, wanted: Iterable[int]) -> Table:
        """The same with codes for these, too; those that it had stay. Raises PixelsError where there is no room."""
        table = self
        for symbol in sorted(set(wanted) - set(self.symbols)):
            table = table._longer(symbol)
        return table

    def _longer(self, symbol: int) -> Table:
        lengths = [length for length, count in enumerate(self.counts, 1) if count]
        last = lengths[-1] if lengths else 1
        behind = max((code + 1 for code, length in self.codes().values() if length == last), default=0)
        for length in range(last, 17):
            # The code of ones only is not used.
            if behind << (length - last) < (1 << length) - 1:
                counts = [*self.counts]
                counts[length - 1] += 1
                return Table(tuple(counts), (*self.symbols, symbol))
        raise PixelsError("a Huffman table of its JPEG is full")


@dataclass(frozen=True)
class Component:
    """A component of the frame: its sampling factors, the step of its DC coefficient, and the DC that is to be."""

    across: int
    down: int
    quantisation: int
    flat: int = 0


@dataclass(frozen=True)
class Scan:
    """A scan: where its segment and its codes stand, and the components with their tables (numbers in `tables`)."""

    segment: int
    codes: Span
    components: tuple[tuple[int, int, int], ...]
    tables: dict[int, Table]
    restart: int


@dataclass
class Picture:
    """What a JPEG stream says of itself before and between its scans."""

    precision: int = 8
    rows: int = 0
    columns: int = 0
    ids: tuple[int, ...] = ()
    components: tuple[Component, ...] = ()
    scans: list[Scan] = field(default_factory=list)
    tables: dict[int, Table] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    quantisers: tuple[int, ...] = ()
    restart: int = 0
    end: int = 0
    jfif: bool = False
    adobe: int | None = None

    @property
    def unit(self) -> tuple[int, int]:
        """Columns and rows of a minimum coded unit of all components."""
        return 8 * max(c.across for c in self.components), 8 * max(c.down for c in self.components)

    @property
    def is_rgb(self) -> bool:
        """Whether its three components say that they are red, green and blue."""
        if self.jfif:
            return False
        return self.adobe == 0 if self.adobe is not None else self.ids == (0x52, 0x47, 0x42)


def read(data: bytes) -> Picture:
    """What a stream says of itself; raises PixelsError where it is no sequential JPEG of Huffman codes."""
    picture, pos = Picture(), 2
    try:
        # Some writers leave the end marker out.
        while pos < len(data):
            marker, start, pos = _marker(data, pos)
            picture.end = pos
            if marker == _END:
                break
            if marker in _ALONE:
                continue
            length = int.from_bytes(data[pos : pos + 2], "big")
            body = data[pos + 2 : pos + length]
            pos += length
            if marker == _SCAN:
                pos = _read_scan(picture, data, body, start, pos)
            else:
                _read_segment(picture, marker, body)
    except (IndexError, KeyError, struct.error, ValueError) as error:
        raise PixelsError("its JPEG stream is broken") from error
    if not picture.scans:
        raise PixelsError("its JPEG stream is broken")
    return picture


def _marker(data: bytes, pos: int) -> tuple[int, int, int]:
    start = pos
    if data[pos] != 0xFF:
        raise ValueError
    while data[pos] == 0xFF:
        pos += 1
    return data[pos], start, pos + 1


def _read_segment(picture: Picture, marker: int, body: bytes) -> None:
    if marker in _SEQUENTIAL:
        _read_frame(picture, body)
    elif marker in _OTHER_FRAMES or marker in (_LINES, 0xCC):
        raise PixelsError("its JPEG is not sequential with Huffman codes")
    elif marker == _TABLES:
        _read_tables(picture, body)
    elif marker == _QUANTISATION:
        while body:
            wide, number = body[0] >> 4, body[0] & 15
            picture.steps[number] = int.from_bytes(body[1 : 2 + wide], "big")
            body = body[1 + 64 * (1 + wide) :]
    elif marker == _RESTART:
        (picture.restart,) = struct.unpack(">H", body)
    elif marker == 0xE0:
        picture.jfif = picture.jfif or body.startswith(b"JFIF\0")
    elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES:
        picture.adobe = body[11]


def _read_frame(picture: Picture, body: bytes) -> None:
    picture.precision, picture.rows, picture.columns, count = struct.unpack(">BHHB", body[:6])
    parts = [body[6 + 3 * number : 9 + 3 * number] for number in range(count)]
    picture.ids = tuple(part[0] for part in parts)
    picture.quantisers = tuple(part[2] for part in parts)
    # A single component is not interleaved: its blocks stand in their order whatever its factors say.
    factors = [(1, 1) if count == 1 else (part[1] >> 4, part[1] & 15) for part in parts]
    picture.components = tuple(Component(across, down, 0) for across, down in factors)
    if picture.precision not in (8, 12) or not picture.rows or not picture.columns:
        raise ValueError
    if not all(1 <= each <= 4 for pair in factors for each in pair):
        raise ValueError


def _read_tables(picture: Picture, body: bytes) -> None:
    while body:
        counts = tuple(body[1:17])
        picture.tables[body[0]] = Table(counts, tuple(body[17 : 17 + sum(counts)]))
        body = body[17 + sum(counts) :]


def _read_scan(picture: Picture, data: bytes, body: bytes, start: int, pos: int) -> int:
    """Enters a scan; returns the byte behind its codes."""
    count = body[0]
    chosen = [
        (picture.ids.index(body[1 + 2 * n]), body[2 + 2 * n] >> 4, 16 | body[2 + 2 * n] & 15)
        for n in range(count)
    ]
    if len(body) != 4 + 2 * count:
        raise ValueError
    found = _BEHIND.search(data, pos)
    behind = found.start() if found else len(data)
    used = {table: picture.tables[table] for _, dc, ac in chosen for table in (dc, ac)}
    picture.scans.append(Scan(start, (pos, behind), tuple(chosen), used, picture.restart))
    picture.components = tuple(
        replace(each, quantisation=each.quantisation or picture.steps.get(number, 0))
        for each, number in zip(picture.components, picture.quantisers, strict=True)
    )
    picture.end = behind
    return behind


# --- made flat ----------------------------------------------------------------------------------------------------


def flattened(data: bytes, boxes: Sequence[Box], levels: Sequence[int]) -> bytes:
    """The stream with some rectangles, in whole minimum coded units, made flat at a level (in samples) by component.

    Raises:
        PixelsError: it is no sequential JPEG with Huffman codes, broken, or cut.
    """
    picture = read(data)
    if len(levels) != len(picture.components):
        raise PixelsError("its JPEG has another number of components than the header tells")
    picture.components = tuple(
        _aimed(each, level, picture) for each, level in zip(picture.components, levels, strict=True)
    )
    out, pos = [], 0
    for scan in picture.scans:
        codes, added = _scan(data, picture, scan, boxes)
        out += [data[pos : scan.segment], added, data[scan.segment : scan.codes[0]], codes]
        pos = scan.codes[1]
    # What stands behind the end is no part of the picture.
    return b"".join([*out, data[pos : picture.end]])


def widened(data: bytes, boxes: Sequence[Box], columns: int, rows: int) -> list[Box]:
    """The rectangles in whole minimum coded units; where colours are halved, from two pixels further out.

    A decoder smooths halved colours over the border of a unit.
    """
    picture = read(data)
    width, height = picture.unit
    more = 2 if (width, height) != (8, 8) else 0
    out = []
    for box in boxes:
        left, top = (box.left - more) // width * width, (box.top - more) // height * height
        right, bottom = -(-(box.right + more) // width) * width, -(-(box.bottom + more) // height) * height
        out.append(Box(left, top, right, bottom).within(columns, rows))
    return [box for box in out if box]


def _aimed(component: Component, level: int, picture: Picture) -> Component:
    """With the DC coefficient that shows a level: black and white at least so dark and so bright."""
    if not component.quantisation:
        raise PixelsError("its JPEG stream is broken")
    middle = 1 << (picture.precision - 1)
    value = abs(8 * (level - middle))
    steps = (
        -(-value // component.quantisation)
        if level in (0, 2 * middle - 1)
        else round(value / component.quantisation)
    )
    return replace(component, flat=steps if level >= middle else -steps)


def _scan(data: bytes, picture: Picture, scan: Scan, boxes: Sequence[Box]) -> tuple[bytes, bytes]:
    """The codes of a scan with rectangles made flat, and a segment of tables that they need, if any."""
    grid = _Grid.of(picture, scan)
    # A block has two codes at least.
    if grid.across * grid.down * len(grid.units) * 2 > (scan.codes[1] - scan.codes[0]) * 8:
        raise PixelsError("its JPEG stream is cut")
    touched = grid.touched(boxes)
    parts = _RESTARTS.split(data[scan.codes[0] : scan.codes[1]])
    coder = _Coder(grid.units, scan.tables)
    step = scan.restart or len(touched)
    if len(parts) // 2 + 1 < -(-len(touched) // step):
        raise PixelsError("its JPEG stream is cut")
    first = 0
    for at in range(0, len(parts), 2):
        mine = touched[first : first + step]
        if any(mine):
            parts[at] = coder.rewritten(parts[at], mine)
        first += step
    return b"".join(parts), coder.segment()


@dataclass(frozen=True)
class _Grid:
    """The minimum coded units of a scan: how many, which rectangle each covers, and the blocks in each."""

    across: int
    down: int
    width: int
    height: int
    units: tuple[tuple[int, Component, int, int], ...]

    @classmethod
    def of(cls, picture: Picture, scan: Scan) -> _Grid:
        """The grid of a scan; that of a single component has its blocks one by one."""
        width, height = picture.unit
        columns, rows = picture.columns, picture.rows
        if len(scan.components) == 1:
            number, dc, ac = scan.components[0]
            only = picture.components[number]
            width, height = width // only.across, height // only.down
            units: list[tuple[int, Component, int, int]] = [(number, only, dc, ac)]
        else:
            units = []
            for number, dc, ac in scan.components:
                each = picture.components[number]
                units += [(number, each, dc, ac)] * (each.across * each.down)
        return cls(-(-columns // width), -(-rows // height), width, height, tuple(units))

    def touched(self, boxes: Sequence[Box]) -> list[bool]:
        """Whether each unit in turn lies in one of the rectangles."""
        out = [False] * (self.across * self.down)
        for box in boxes:
            left, right = box.left // self.width, min(-(-box.right // self.width), self.across)
            for row in range(box.top // self.height, min(-(-box.bottom // self.height), self.down)):
                out[row * self.across + left : row * self.across + right] = [True] * (right - left)
        return out


class _Coder:
    """Writes intervals between restart markers anew; remembers which codes its tables lacked."""

    def __init__(self, units: tuple[tuple[int, Component, int, int], ...], tables: dict[int, Table]) -> None:
        self._units = units
        self._tables = dict(tables)
        self._added: set[int] = set()
        self._looks = {number: _look(table, ac=number >= 16) for number, table in tables.items()}
        self._codes = {number: table.codes() for number, table in tables.items()}

    def segment(self) -> bytes:
        """The tables to which codes were added, as a segment; empty where none was."""
        body = b"".join(
            bytes((number, *self._tables[number].counts, *self._tables[number].symbols))
            for number in sorted(self._added)
        )
        return b"\xff\xc4" + struct.pack(">H", 2 + len(body)) + body if body else b""

    def rewritten(self, raw: bytes, touched: Sequence[bool]) -> bytes:
        """The codes of an interval, with the units that are touched made flat."""
        import numpy as np

        plain = raw.replace(b"\xff\0", b"\xff")
        bits = np.unpackbits(np.frombuffer(plain, np.uint8))
        out = [
            bits[piece[0] : piece[1]] if isinstance(piece, tuple) else _bits(piece)
            for piece in self._pieces(plain, touched)
        ]
        whole = np.concatenate(out) if out else bits[:0]
        filled = np.concatenate([whole, np.ones(-len(whole) % 8, np.uint8)])
        return np.packbits(filled).tobytes().replace(b"\xff", b"\xff\0")

    def _pieces(self, plain: bytes, touched: Sequence[bool]) -> Iterator[Span | str]:
        """Ranges of bits that stay, and new ones as text, in their order."""
        there, made = [0] * 4, [0] * 4
        kept = 0
        for (number, aim, dc, ac), flat, begin, behind, end, change in self._blocks(plain, touched):
            before, there[number] = there[number], there[number] + change
            if flat:
                yield kept, begin
                yield self._difference(dc, aim.flat - made[number]) + self._code(ac, _EOB)
                kept, made[number] = end, aim.flat
            elif made[number] != before:
                yield kept, begin
                yield self._difference(dc, there[number] - made[number])
                kept, made[number] = behind, there[number]
            else:
                made[number] = there[number]
            last = end
        yield kept, last

    def _blocks(
        self, plain: bytes, touched: Sequence[bool]
    ) -> Iterator[tuple[tuple[int, Component, int, int], bool, int, int, int, int]]:
        """Each block in turn: unit, whether it is touched, where it begins, its AC codes, its end; its difference."""
        size = len(plain) * 8
        base, pos, limit = 0, 0, -1
        for flat in touched:
            if pos > limit:
                # Only a window of the peeks is in memory: they take 16 bytes a byte and more for each table.
                base = pos // 8 * 8
                peeks, steps = self._window(plain, base // 8)
                limit = base + (_WINDOW - _MARGIN) * 8
            for unit in self._units:
                here = pos - base
                entry = steps[unit[2]][here]
                length, count = entry & 31, entry >> 5
                if not entry or pos >= size:
                    raise PixelsError("its JPEG stream is broken or cut")
                extra = peeks[here + length] >> (16 - count)
                change = extra if not count or extra >> (count - 1) else extra - (1 << count) + 1
                begin, pos = pos, pos + length + count
                behind = pos
                pos = base + _end_of_block(steps[unit[3]], pos - base)
                yield unit, flat, begin, behind, pos, change
        if pos > size:
            raise PixelsError("its JPEG stream is broken or cut")

    def _window(self, plain: bytes, at: int) -> tuple[memoryview, dict[int, memoryview]]:
        """The 16 bits from each bit on, and what the tables say of a code that begins there."""
        import numpy as np

        raw = np.frombuffer(plain[at : at + _WINDOW] + b"\xff" * 8, np.uint8).astype(np.uint32)
        # Behind the end stand ones, which are no code.
        tail = np.full(_MARGIN, 255, np.uint32) if at + _WINDOW >= len(plain) else raw[:0]
        raw = np.concatenate([raw, tail])
        wide = raw[:-2] << 16 | raw[1:-1] << 8 | raw[2:]
        shifts = np.arange(8, 0, -1, dtype=np.uint32)
        peeks = (wide[:, None] >> shifts & 0xFFFF).astype(np.uint16).ravel()
        return peeks.data, {number: look[peeks].data for number, look in self._looks.items()}

    def _difference(self, table: int, value: int) -> str:
        count = abs(value).bit_length()
        extra = value if value >= 0 else value + (1 << count) - 1
        return self._code(table, count) + (f"{extra:0{count}b}" if count else "")

    def _code(self, number: int, symbol: int) -> str:
        if symbol not in self._codes[number]:
            self._tables[number] = self._tables[number].with_symbols([symbol])
            self._codes[number] = self._tables[number].codes()
            self._added.add(number)
        code, length = self._codes[number][symbol]
        return f"{code:0{length}b}"


def _end_of_block(steps: memoryview, pos: int) -> int:
    """Where the AC codes of a block end that begin there."""
    at = 1
    while at < 64:
        step = steps[pos]
        pos += step & 31
        at += step >> 5
    if at >= _BROKEN:
        raise PixelsError("its JPEG stream is broken or cut")
    return pos


def _look(table: Table, *, ac: bool) -> NDArray[np.uint16]:
    """For each 16 bits: the length of the code they begin with (AC: and of its bits), and 32 times what it says.

    AC: how many coefficients it takes; 64 where the block ends; DC: how many bits the difference has. 0: no code of DC.
    """
    import numpy as np

    out = np.full(1 << 16, _BROKEN << 5 | 1 if ac else 0, np.uint16)
    for symbol, (code, length) in table.codes().items():
        run, count = symbol >> 4, symbol & 15
        if ac:
            takes = run + 1 if count or run == 15 else 64
            entry = (takes << 5 | length + count) if count or run in (0, 15) else _BROKEN << 5 | 1
        else:
            entry = symbol << 5 | length if symbol < 16 else 0
        out[code << (16 - length) : (code + 1) << (16 - length)] = entry
    return out


def _bits(text: str) -> NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(text.encode("ascii"), np.uint8) - ord("0")
