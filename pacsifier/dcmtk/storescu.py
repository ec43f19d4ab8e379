"""The storage SCU: sends files to the PACS by DCMTK's storescu and yields the outcome of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.association import association_error, peer_arguments
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import StoreEnd, StoreTranscript

_NO_CONTEXT = "No Acceptable Presentation Contexts"


@dataclass(frozen=True)
class Sendable:
    """A DICOM file and what an association must offer for it."""

    path: Path
    sop_class: str
    transfer_syntax: str

    @property
    def context(self) -> tuple[str, str]:
        """SOP Class UID and transfer syntax UID."""
        return self.sop_class, self.transfer_syntax


def associations(files: Sequence[Sendable]) -> list[list[Sendable]]:
    """Cuts the files into as few associations of 128 presentation contexts each as their order allows."""
    parts: list[list[Sendable]] = []
    contexts: set[tuple[str, str]] = set()
    for file in files:
        if not parts or (file.context not in contexts and len(contexts) == negotiation.MAX_CONTEXTS):
            parts.append([])
            contexts = set()
        contexts.add(file.context)
        parts[-1].append(file)
    return parts


def store(
    config: PacsConfig,
    toolbox: Toolbox,
    folder: Path,
    files: Sequence[Sendable],
    timeouts: Timeouts,
) -> Iterator[tuple[Sendable, StoreEnd]]:
    """Sends the files over one association and yields each one's outcome once; `folder` is an empty working folder.

    One presentation context per SOP class and transfer syntax, so that nothing is converted in between; a refused file
    does not stop the others (`-nh`). The tool sees short names only: links in `folder`. Where the association ends
    early, the file that had no answer and those behind it are `lost`; one on which the PACS was silent is not.

    Raises:
        AssociationError: there was no association.
    """
    names = {}
    for number, file in enumerate(files):
        name = f"f{number:07d}"
        (folder / name).symlink_to(file.path.absolute())
        names[name] = file
    contexts = [(sop_class, (syntax,)) for sop_class, syntax in dict.fromkeys(each.context for each in files)]
    (folder / "sender.cfg").write_text(negotiation.config_text(contexts), encoding="ascii")
    arguments = ["-nh", "-xf", "sender.cfg", negotiation.NAME, *peer_arguments(config, timeouts), *names]
    process = toolbox.start("storescu", arguments, folder, "storescu", level="INFO")
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
        yield file, StoreEnd(name, False, words, lost=not refused)


def _outcomes(process: Process, silence_timeout_s: float) -> Iterator[StoreEnd]:
    transcript = StoreTranscript()
    for data in process.follow(silence_timeout_s):
        yield from transcript.feed(data)
    for end in transcript.finish():
        if process.silenced:
            yield replace(end, words=f"no answer for {silence_timeout_s:g} s (--silence_timeout)", lost=False)
        else:
            yield end
