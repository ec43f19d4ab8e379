"""Whether a PACS understands lists of UIDs: what requests with one UID and with several say of each other. Pure.

A list that brought nothing says of lists only what a request with one UID, asked for next, says of the PACS: where that
brings something, lists of this kind are not understood; where it fails as well, they are not what fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, SUCCESS, MoveState
from pacsifier.transfer.retry import is_clean, is_temporary


@dataclass(frozen=True)
class Lists:
    """What one way has seen of lists, by kind (`kind_of`); each way begins with a fresh one.

    `doubted`: one brought nothing, and no request with one UID has ended since; `judged`: nothing is doubted any more.
    """

    doubted: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()


NOTHING_SEEN = Lists()
_KINDS = frozenset(("image_moves", "uid_lists", "study_lists"))


def kind_of(request: MoveRequest) -> str:
    """The field of `Capabilities` that a request with several UIDs needs; "" where each level has one."""
    if len(request.instance_uids) > 1:
        return "image_moves"
    if len(request.series_uids) > 1:
        return "uid_lists"
    return "study_lists" if len(request.study_uids) > 1 else ""


def is_dubious(request: MoveRequest, end: MoveState, came: int, lists: Lists) -> bool:
    """Whether it may have been the list that failed, and nothing but a request with one UID can tell.

    An unknown destination is believed of no list: pynetdicom's qrscp says so where it cannot read the identifier.
    """
    kind = kind_of(request)
    # Where sub-operations were counted, the list was understood.
    if not kind or came or end.begun or end.failed:
        return False
    if end.status == MOVE_DESTINATION_UNKNOWN:
        return True
    return kind not in lists.judged and (is_temporary(end) or end.status is None)


def is_passed_over(request: MoveRequest, end: MoveState, came: int) -> bool:
    """Whether the PACS says that it did what a list of series asks for, and that this was nothing."""
    told_nothing = end.status == SUCCESS and end.done == 0 and not end.failed
    return kind_of(request) == "uid_lists" and told_nothing and not came


def doubted(lists: Lists, kinds: Iterable[str]) -> Lists:
    """A list of such a kind was answered with Success, and nothing has come of it yet."""
    return replace(lists, doubted=lists.doubted | (_KINDS & set(kinds)))


def trusted(lists: Lists, kind: str) -> Lists:
    """What a list of such a kind asks for has come after all."""
    return replace(lists, doubted=lists.doubted - {kind})


def heard(lists: Lists, request: MoveRequest, end: MoveState, came: int) -> tuple[Lists, frozenset[str]]:
    """What is known after the end of a request, and the kinds that it shows not to be understood."""
    kind = kind_of(request)
    if is_dubious(request, end, came, lists):
        return replace(lists, doubted=lists.doubted | {kind}), frozenset()
    if kind:
        served = {kind} if came or end.begun else set()
        return Lists(lists.doubted - served, lists.judged | served), frozenset()
    brought = bool(came or end.begun)
    if not lists.doubted or (is_clean(end) and not brought):
        return lists, frozenset()
    return Lists(judged=lists.judged | lists.doubted), lists.doubted if brought else frozenset()
