"""What an association offers: SOP classes and transfer syntaxes, in the file that `-xf` of DCMTK's tools reads.

DCMTK calls an offer in such a file a profile, and has the tool choose one by its name (`NAME`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pacsifier.query import is_uid

MAX_CONTEXTS = 128


@dataclass(frozen=True)
class _Syntax:
    """A row of `transfer_syntaxes.txt`; `since`: the first version of DCMTK that receives it, None: none does.

    `own`: other names that DCMTK has for it.
    """

    uid: str
    group: str
    since: tuple[int, ...] | None
    name: str
    own: tuple[str, ...]


@cache
def _syntaxes() -> Sequence[_Syntax]:
    return [
        _Syntax(uid, group, None if since == "-" else _version(since), *_names(words))
        for uid, group, since, *words in _rows("transfer_syntaxes.txt")
    ]


def _rows(name: str) -> list[list[str]]:
    """The words of each line of a table that lies here."""
    text = Path(__file__).with_name(name).read_text(encoding="ascii")
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def _names(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The standard's name, and after = those that DCMTK has of its own."""
    name, _, own = " ".join(words).partition(" = ")
    return name, tuple(own.split())


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def _group(name: str) -> tuple[str, ...]:
    return tuple(each.uid for each in _syntaxes() if each.group == name)


# In the order of preference. JPIP is in none of them: its objects do not hold their pixels.
UNCOMPRESSED, LOSSLESS, LOSSY = map(_group, ("uncompressed", "lossless", "lossy"))
NATIVE = (*UNCOMPRESSED, "1.2.840.10008.1.2.2")  # Explicit VR Big Endian too is not compressed
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


@cache
def _table() -> Sequence[tuple[str, str, str, tuple[str, ...]]]:
    """UID, prefix, name of each class, and DCMTK's own names for it."""
    return [(uid, prefix, *_names(words)) for uid, prefix, *words in _rows("storage_classes.txt")]


@cache
def _prefixes() -> Mapping[str, str]:
    return {uid: prefix for uid, prefix, *_ in _table()}


@cache
def _uids() -> Mapping[str, str]:
    """The UIDs by DCMTK's names without signs, in small letters; of two classes of one name the common one."""
    uids = {_letters(name): uid for uid, _, name, _ in reversed(_table())}
    return uids | {_letters(each): uid for uid, *_, own in _table() for each in own}


@cache
def _syntax_uids() -> Mapping[str, str]:
    return {_letters(name): each.uid for each in _syntaxes() for name in (each.name, *each.own)}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def class_uid(said: str) -> str:
    """The UID of a SOP class that is told as its UID or by DCMTK's name; "" for what is neither."""
    return said if is_uid(said) else _uids().get(_letters(said), "")


def syntax_uid(said: str) -> str:
    """The UID of a transfer syntax as DCMTK tells it: a UID, or its own name, which is returned where it is unknown."""
    return said if is_uid(said) else _syntax_uids().get(_letters(said), said)


def named(uid: str) -> str:
    """A SOP class or transfer syntax for people: its UID, and its name in the standard where it has one."""
    names = {each.uid: each.name for each in _syntaxes()} | {uid: name for uid, _, name, _ in _table()}
    return f"{uid} ({names[uid]})" if names.get(uid) else uid


def received_syntaxes(version: str) -> tuple[str, ...]:
    """The transfer syntaxes that a storescp of this version of DCMTK receives, in the order of preference.

    It would accept any that it is told to, and then end the association at the first object in one it does not know.
    """
    own = _version(version)
    known = {each.uid for each in _syntaxes() if each.since is not None and each.since <= own}
    return tuple(uid for uid in EVERY_SYNTAX if uid in known)


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
