"""Numbers, sizes and times as people read them."""

from __future__ import annotations

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND = 1000
_MINUTE_S, _HOUR_S = 60, 3600


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 file`, `2 files`; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def size_text(size: float) -> str:
    """A number of bytes with three figures at least: `1 byte`, `512 bytes`, `1.25 MB`, `34.5 GB`, `1234 TB`."""
    if size < _THOUSAND:
        return counted(round(size), "byte")
    unit = 0
    # What would round to a thousand is one of the next unit.
    while round(size) >= _THOUSAND and unit < len(_UNITS) - 1:
        size, unit = size / _THOUSAND, unit + 1
    digits = max(0, 3 - len(str(int(size))))
    return f"{size:.{digits}f} {_UNITS[unit]}"


def time_text(seconds: float) -> str:
    """A length of time: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
