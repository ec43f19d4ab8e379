"""The storage SCU: sends files to the PACS by DCMTK's storescu and yields the outcome of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.association import association_error
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.scu import start_scu
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import StoreEnd, StoreTranscript

_NO_CONTEXT = "No Acceptable Presentation Contexts"
# A sender's order; the retired Big Endian comes last.
_OFFERED = negotiation.NATIVE


@dataclass(frozen=True)
class Sendable:
    """A DICOM file and what an association must offer for it."""

    path: Path
    sop_class: str
    transfer_syntax: str

    @property
    def form(self) -> str:
        """What tells apart the forms that are not made of each other: a compressed syntax; "" for all uncompressed."""
        return "" if self.transfer_syntax in negotiation.NATIVE else self.transfer_syntax

    @property
    def kind(self) -> tuple[str, str]:
        """SOP Class UID and form."""
        return self.sop_class, self.form


def associations(files: Sequence[Sendable]) -> list[list[Sendable]]:
    """Cuts the files into few associations of 128 presentation contexts at most; the order is kept in each.

    In one association a SOP class has one form: for want of the file's own context storescu would take any other of
    its class, and decompress.
    """
    syntaxes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in files:
        syntaxes[file.kind].add(file.transfer_syntax)
    places = _places({kind: len(_proposed(held)) for kind, held in syntaxes.items()})
    parts: dict[int, list[Sendable]] = defaultdict(list)
    for file in files:
        parts[places[file.kind]].append(file)
    return [part for _, part in sorted(parts.items())]


def _places(sizes: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """In which association each kind goes: the first that has room for its contexts and no other form of its class."""
    room: list[int] = []
    taken: list[set[str]] = []
    places = {}
    for (sop_class, form), size in sizes.items():
        fitting = (at for at, left in enumerate(room) if left >= size and sop_class not in taken[at])
        place = next(fitting, len(room))
        if place == len(room):
            room.append(negotiation.MAX_CONTEXTS)
            taken.append(set())
        room[place] -= size
        taken[place].add(sop_class)
        places[sop_class, form] = place
    return places


def contexts(files: Iterable[Sendable]) -> list[tuple[str, tuple[str, ...]]]:
    """The presentation contexts for files of one association: SOP Class UID, transfer syntaxes."""
    syntaxes: dict[str, set[str]] = defaultdict(set)
    for file in files:
        syntaxes[file.sop_class].add(file.transfer_syntax)
    return [(uid, each) for uid, held in syntaxes.items() for each in _proposed(held)]


def _proposed(held: Collection[str]) -> list[tuple[str, ...]]:
    """The contexts for files of one class that are held in these syntaxes: one each, so that all can go as they are.

    Beside uncompressed ones there is one with the other uncompressed syntaxes, Implicit VR Little Endian above all,
    which every PACS has to take (PS3.5 10.1).
    """
    own: list[tuple[str, ...]] = [(syntax,) for syntax in sorted(held)]
    others = tuple(syntax for syntax in _OFFERED if syntax not in held)
    return [*own, others] if others and not set(_OFFERED).isdisjoint(held) else own


def store(
    config: PacsConfig,
    toolbox: Toolbox,
    folder: Path,
    files: Sequence[Sendable],
    timeouts: Timeouts,
) -> Iterator[tuple[Sendable, StoreEnd]]:
    """Sends the files over one association and yields each one's outcome once; `folder` is an empty working folder.

    A file goes as it is where the PACS takes that; an uncompressed one else in another uncompressed syntax. A refused
    file does not stop the others (`-nh`). The tool sees short names only: links in `folder`. Where the association
    ends early, the file that had no answer and those behind it are `lost`; one on which the PACS was silent is not.

    Raises:
        AssociationError: there was no association.
    """
    names = {}
    for number, file in enumerate(files):
        name = f"f{number:07d}"
        (folder / name).symlink_to(file.path.absolute())
        names[name] = file
    (folder / "sender.cfg").write_text(negotiation.config_text(contexts(files)), encoding="ascii")
    options = ["-nh", "-xf", "sender.cfg", negotiation.NAME]
    process = start_scu(
        *("storescu", folder, options, names),
        config=config,
        toolbox=toolbox,
        timeouts=timeouts,
        level="INFO",
    )
    answered = 0
    for end in _outcomes(process, timeouts.silence_timeout_s):
        if end.name in names:
            answered += 1
            yield names.pop(end.name), end
    refused = any(_NO_CONTEXT in line for line in process.last_lines())
    if not answered and not refused:
        raise association_error(config, process)
    reason = _NO_CONTEXT if refused else "the association ended before"
    for name, file in names.items():
        words = f"not sent: {reason} (SOP class {file.sop_class})"
        yield file, StoreEnd(name, False, words, lost=not refused, no_context=refused)


def _outcomes(process: Process, silence_timeout_s: float) -> Iterator[StoreEnd]:
    transcript = StoreTranscript()
    for data in process.follow(silence_timeout_s):
        yield from transcript.feed(data)
    for end in transcript.finish():
        if process.silenced:
            yield replace(end, words=f"no answer for {silence_timeout_s:g} s (--silence_timeout)", lost=False)
        else:
            yield end
