"""Media: DCMTK's dcmmkdir, which writes a DICOMDIR for files on disk (manual page dcmmkdir(1))."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import ToolError

FILE_SET_ID: Final = "PACSIFIER"
_PATIENCE_S: Final = 7 * 86400.0  # it says nothing while it works, 0.2 ms per file
_LISTED = re.compile(r"W:   (\S+)")
_REASON = re.compile(r"E: (.+?)(?: in file|: reading file)?: (\S+)")


@dataclass(frozen=True)
class MediaProfile:
    """A media storage application profile of PS3.11: its name, dcmmkdir's option, the transfer syntaxes it is for."""

    name: str
    option: str
    syntaxes: frozenset[str]


_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_JPEG: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 70))
_JPEG_2000: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91))
ANY: Final = MediaProfile("STD-GEN-MIME", "-Pmi", frozenset())
PROFILES: Final = (
    MediaProfile("STD-GEN-CD", "-Pgp", frozenset([_EXPLICIT])),
    MediaProfile("STD-GEN-USB-JPEG", "-Pfl", frozenset([_EXPLICIT, *_JPEG])),
    MediaProfile("STD-GEN-USB-J2K", "-Pf2", frozenset([_EXPLICIT, *_JPEG_2000])),
)


def profiles_for(syntaxes: frozenset[str]) -> tuple[MediaProfile, ...]:
    """The narrowest general purpose profile for these transfer syntaxes, then the one that allows all of them."""
    fitting = next((each for each in PROFILES if syntaxes <= each.syntaxes), ANY)
    return (fitting,) if fitting is ANY else (fitting, ANY)


@dataclass(frozen=True)
class Made:
    """A DICOMDIR: its bytes, what dcmmkdir refused (name -> why), how many files contradict a record above them."""

    data: bytes
    refused: dict[str, str]
    inconsistent: int


def make_dicomdir(
    toolbox: Toolbox, folder: Path, names: Sequence[str], profile: MediaProfile, staging: Path
) -> Made:
    """Runs dcmmkdir for files of a folder (relative names); the DICOMDIR stays in memory. Raises ToolError."""
    target = staging / "DICOMDIR"
    target.unlink(missing_ok=True)
    arguments = [
        *(profile.option, "-nb", "+Nrs", "-Nec", "-Nrc", "+F", FILE_SET_ID, "+id", str(folder.absolute())),
        *("+D", target.name, *names),
    ]
    process = toolbox.start("dcmmkdir", arguments, staging, "dcmmkdir")
    log = b"".join(process.follow(_PATIENCE_S)).decode("utf-8", "replace")
    refused = _refused(log, names)
    if not target.is_file():
        if len(refused) == len(names):
            return Made(b"", refused, 0)
        # Its warnings quote PatientNames.
        said = [line for line in process.last_lines() if not line.startswith("W:")]
        raise ToolError(
            f"dcmmkdir made no DICOMDIR: {'; '.join(said[-2:]) or 'no reason given'}",
            exit_status=process.poll(),
        )
    return Made(target.read_bytes(), refused, log.count("W: file inconsistent with existing DICOMDIR record"))


def _refused(log: str, names: Sequence[str]) -> dict[str, str]:
    """The files that are not in the DICOMDIR, and why, in dcmmkdir's words."""
    reasons: dict[str, str] = {}
    listed: dict[str, None] = {}
    for line in log.splitlines():
        if match := _REASON.fullmatch(line):
            reasons.setdefault(match[2], match[1])
        elif match := _LISTED.fullmatch(line):
            listed[match[1]] = None
    if "E: no good files" in log:
        listed = dict.fromkeys(names)
    known = set(names)
    return {name: reasons.get(name, "dcmmkdir gives no reason") for name in listed if name in known}
