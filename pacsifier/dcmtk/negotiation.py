"""What an association offers: SOP classes and transfer syntaxes, in the file that `-xf` of DCMTK's tools reads.

DCMTK calls an offer in such a file a profile, and has the tool choose one by its name (`NAME`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from pacsifier.query import is_uid

MAX_CONTEXTS = 128

UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
# Lossless before lossy, or a sender that offers both in one context would send the lossy form, and every
# count would still agree. JPIP is left out: its objects do not hold their pixels.
LOSSLESS = (
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless SV1
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.92",  # JPEG 2000 Part 2 Lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K Lossless RPCL
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
)
NATIVE = (*UNCOMPRESSED, LOSSLESS[-1])
LOSSY = (
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.93",  # JPEG 2000 Part 2
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.100",  # MPEG2 Main Profile / Main Level
    "1.2.840.10008.1.2.4.101",  # MPEG2 Main Profile / High Level
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC/H.264 High Profile / Level 4.1
    "1.2.840.10008.1.2.4.103",  # MPEG-4 AVC/H.264 BD-compatible
    "1.2.840.10008.1.2.4.104",  # MPEG-4 AVC/H.264 4.2 for 2D
    "1.2.840.10008.1.2.4.105",  # MPEG-4 AVC/H.264 4.2 for 3D
    "1.2.840.10008.1.2.4.106",  # MPEG-4 AVC/H.264 Stereo
    "1.2.840.10008.1.2.4.107",  # HEVC/H.265 Main
    "1.2.840.10008.1.2.4.108",  # HEVC/H.265 Main 10
)
EVERY_SYNTAX = (*UNCOMPRESSED, *LOSSLESS, *LOSSY)

NAME = "Pacsifier"

# How getscu is told to propose a compressed syntax before the uncompressed ones; it can be told one.
GETSCU_PREFERENCES: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.70": "+xs",
    "1.2.840.10008.1.2.4.90": "+xv",
    "1.2.840.10008.1.2.4.80": "+xt",
    "1.2.840.10008.1.2.5": "+xr",
    "1.2.840.10008.1.2.1.99": "+xd",
    "1.2.840.10008.1.2.4.50": "+xy",
    "1.2.840.10008.1.2.4.51": "+xx",
    "1.2.840.10008.1.2.4.81": "+xu",
    "1.2.840.10008.1.2.4.91": "+xw",
    "1.2.840.10008.1.2.4.100": "+xm",
    "1.2.840.10008.1.2.4.101": "+xh",
    "1.2.840.10008.1.2.4.102": "+xn",
    "1.2.840.10008.1.2.4.103": "+xl",
    "1.2.840.10008.1.2.4.104": "+x2",
    "1.2.840.10008.1.2.4.105": "+x3",
    "1.2.840.10008.1.2.4.106": "+xo",
    "1.2.840.10008.1.2.4.107": "+x4",
    "1.2.840.10008.1.2.4.108": "+x5",
}


# DCMTK spells a class as the standard does, but for blanks and signs and these.
_NAMED_OTHERWISE = {
    "twelveleadecgwaveformstorage": "1.2.840.10008.5.1.4.1.1.9.1.1",
    "implantationplansrdocumentstorage": "1.2.840.10008.5.1.4.1.1.88.70",
}


@cache
def _table() -> Sequence[tuple[str, str, str]]:
    """UID, prefix and name of each class."""
    text = Path(__file__).with_name("storage_classes.txt").read_text(encoding="ascii")
    words = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return [(uid, prefix, "".join(name)) for uid, prefix, *name in words]


@cache
def _prefixes() -> Mapping[str, str]:
    return {uid: prefix for uid, prefix, _ in _table()}


@cache
def _uids() -> Mapping[str, str]:
    """The UIDs by DCMTK's names in small letters; of two classes of one name the common one."""
    named = {"".join(filter(str.isalnum, name)).lower(): uid for uid, _, name in reversed(_table()) if name}
    return {**named, **_NAMED_OTHERWISE}


def class_uid(said: str) -> str:
    """The UID of a SOP class that is told as its UID or by DCMTK's name; "" for what is neither."""
    return said if is_uid(said) else _uids().get(said.lower(), "")


def syntax_name(uid: str) -> str:
    """A transfer syntax as a person knows it, with its UID."""
    from pydicom.uid import UID

    name = UID(uid).name
    return uid if name == uid else f"{name} ({uid})"


def storage_classes() -> tuple[str, ...]:
    """The Storage SOP Class UIDs known here, the common ones first (`storage_classes.txt`)."""
    return tuple(_prefixes())


def file_prefix(sop_class: str) -> str:
    """What storescp begins the name of a file of this SOP class with: `MR`, `CT`, `SRc`, else `UNKNOWN`."""
    return _prefixes().get(sop_class, "UNKNOWN")


def receiver_classes(found: Iterable[str]) -> tuple[str, ...]:
    """The SOP Class UIDs a receiver offers: those found or asked for, then the common ones, 128 at most.

    What is no UID is left out: a PACS may tell anything, and storescp refuses a profile that holds it.
    """
    return tuple(dict.fromkeys((*filter(is_uid, found), *storage_classes())))[:MAX_CONTEXTS]


def config_text(contexts: Sequence[tuple[str, Sequence[str]]], senders: Sequence[str] = ()) -> str:
    """The text of the file: one offer named `NAME`, a presentation context for each (SOP Class UID, transfer syntaxes).

    `senders`: the SOP classes of which the one who accepts the association may also send, as C-GET needs it.
    Raises ValueError for what DCMTK's tools would refuse. Source: DCMTK's `asconfig.txt`.
    """
    _check(contexts, senders)
    lists: Mapping[tuple[str, ...], str] = {
        syntaxes: f"Syntaxes{number}"
        for number, syntaxes in enumerate(dict.fromkeys(tuple(each) for _, each in contexts))
    }
    lines = ["[[TransferSyntaxes]]"]
    for syntaxes, name in lists.items():
        lines.append(f"[{name}]")
        lines += [f"TransferSyntax{number} = {uid}" for number, uid in enumerate(syntaxes, 1)]
    lines += ["[[PresentationContexts]]", "[Storage]"]
    for number, (sop_class, each) in enumerate(contexts, 1):
        lines.append(f"PresentationContext{number} = {sop_class}\\{lists[tuple(each)]}")
    roles = [f"Role{number} = {uid}\\BOTH" for number, uid in enumerate(senders, 1)]
    lines += ["[[SCPSCURoleSelection]]", "[Senders]", *roles] if roles else []
    lines += ["[[Profiles]]", f"[{NAME}]", "PresentationContexts = Storage"]
    lines += ["SCPSCURoleSelection = Senders", ""] if roles else [""]
    return "\n".join(lines)


def _check(contexts: Sequence[tuple[str, Sequence[str]]], senders: Sequence[str]) -> None:
    uids = {*senders, *(uid for sop_class, syntaxes in contexts for uid in (sop_class, *syntaxes))}
    if wrong := sorted(uid for uid in uids if not is_uid(uid)):
        raise ValueError(f"no UID: {wrong[0]!r}")
    distinct = {(sop_class, tuple(syntaxes)) for sop_class, syntaxes in contexts}
    if not 0 < len(distinct) == len(contexts) <= MAX_CONTEXTS or not all(
        syntaxes for _, syntaxes in distinct
    ):
        raise ValueError(f"{len(contexts)} presentation contexts, {len(distinct)} of them different")
