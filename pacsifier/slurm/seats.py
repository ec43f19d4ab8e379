"""The places that the PACS can send to: `seats.py CONFIG SEATS FOLDER` writes a config for each, and the node it is on.

SEATS is a file of lines NODE AET PORT, or empty, or `none`: then there is one, that of the config, on any node.
Prints how many there are. Only the standard library.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seat:
    """A place that the PACS can send to; node `*`: any."""

    node: str
    aet: str
    port: int


def read_seats(text: str) -> list[Seat]:
    """The seats that the lines of a file name.

    Raises:
        ValueError: a line is none, there are none, or two have one port on one node.
    """
    words = [line.partition("#")[0].split() for line in text.splitlines()]
    lines = [line for line in words if line]
    if not lines or any(len(line) != 3 or not (line[2].isascii() and line[2].isdigit()) for line in lines):
        raise ValueError("lines of NODE AET PORT are expected")
    seats = [Seat(node, aet, int(port)) for node, aet, port in lines]
    if len({(seat.node, seat.port) for seat in seats}) < len(seats):
        raise ValueError("a port is there twice on one node")
    return seats


def write_seats(config: dict[str, object], seats: list[Seat], folder: Path) -> None:
    """Writes `<number>.json`, the config of a seat, and `<number>.node` for each."""
    for number, seat in enumerate(seats, 1):
        values = {**config, "AET": seat.aet, "move_port": seat.port}
        (folder / f"{number}.json").write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")
        (folder / f"{number}.node").write_text(seat.node + "\n", encoding="utf-8")


def main(config_path: str, seats_path: str, folder: str) -> int:
    """Returns the number of seats."""
    config = json.loads(Path(config_path).read_text(encoding="utf-8"))
    seats = [Seat("*", config["AET"], config["move_port"])]
    if seats_path not in ("", "none"):
        try:
            seats = read_seats(Path(seats_path).read_text(encoding="utf-8"))
        except ValueError as error:
            sys.exit(f"pacsifier-slurm: {seats_path}: {error}")
    write_seats(config, seats, Path(folder))
    return len(seats)


if __name__ == "__main__":
    sys.stdout.write(f"{main(*sys.argv[1:])}\n")
