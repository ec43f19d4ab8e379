"""Whether a run may go on: what the ends of its requests say of the PACS. Pure; a reason to stop is one rule here.

the move destination is unknown (0xA801), and nothing has ever reached us         stop, unreachable
three failures before anything has ever reached us                                stop, unreachable
three associations in a row that we ended for their silence                       stop
`--max_failures` requests in a row that failed and completed no sub-operation     stop
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, SUCCESS, MoveState
from pacsifier.figures import counted
from pacsifier.transfer.model import Stop
from pacsifier.transfer.retry import is_clean, refused_for_good

UNREACHED_BEFORE_STOP = 3
SILENT_BEFORE_STOP = 3


@dataclass(frozen=True)
class Health:
    """What one way has seen of the PACS; each way begins with a fresh one.

    `associated`: the PACS has ever accepted an association; `failures` and `silences` in a row; `unreached`: failures
    before anything has ever reached us.
    """

    associated: bool = False
    failures: int = 0
    silences: int = 0
    unreached: int = 0


@dataclass(frozen=True)
class Terms:
    """What a way calls things, and how much it bears.

    `act` is the verb with its destination; `reaching` what has never been achieved where nothing comes; `hangs_up`: an
    association that ends without an answer also counts as not reached.
    """

    server: str
    verb: str
    act: str
    destination: str
    reaching: str
    silence: str
    max_failures: int
    hangs_up: bool = False


def after(
    health: Health, end: MoveState, terms: Terms, *, reached: bool, settled: bool = True, silent: bool = False
) -> tuple[Health, Stop | None]:
    """The health after the end of a request, and the first reason to stop, if there is one.

    `reached`: whether anything has ever come; `settled`: the request is not repeated; `silent`: we ended its
    association for its silence. The words of an unreachable stop want the way's advice added.
    """
    failed = not is_clean(end) and not end.begun
    unreached = _is_unreached(end, terms, reached=reached)
    silences = health.silences + 1 if silent else 0
    health = replace(
        health,
        failures=health.failures + 1 if failed else 0,
        silences=silences if settled else health.silences,
        unreached=health.unreached + unreached,
    )
    unknown = end.status == MOVE_DESTINATION_UNKNOWN and not reached
    stops = _stops(health, end, terms, unknown=unknown, unreached=unreached, silent=settled and silent)
    return health, next(stops, None)


def may_hide_unreached(end: MoveState, *, reached: bool) -> bool:
    """Whether an end may mean that the PACS does not know where to send, though it does not say so.

    Orthanc answers 0xC000 for a destination that is not declared; a refusal for another reason looks the same.
    """
    return not reached and refused_for_good(end)


def _is_unreached(end: MoveState, terms: Terms, *, reached: bool) -> bool:
    """Whether an end counts as a failure before anything has ever come."""
    if reached or end.status in (SUCCESS, MOVE_DESTINATION_UNKNOWN):
        return False
    return end.status is not None or terms.hangs_up


def _stops(
    health: Health, end: MoveState, terms: Terms, *, unknown: bool, unreached: bool, silent: bool
) -> Iterator[Stop]:
    if silent and health.silences >= SILENT_BEFORE_STOP:
        yield Stop(f"the PACS was silent {health.silences} times in a row: {terms.silence}")
    if unknown:
        name = f"{terms.server} does not know the move destination {terms.destination}"
        yield Stop(f"{name} (0xA801)", unreachable=True)
    if unreached and health.unreached == UNREACHED_BEFORE_STOP:
        words = f"{terms.server} failed {health.unreached} times without ever {terms.reaching}"
        yield Stop(words, unreachable=True)
    if health.failures >= terms.max_failures:
        in_a_row = f"{health.failures} {terms.verb} requests failed in a row (--max_failures)"
        yield Stop(f"{in_a_row}: {told(end, terms.act)}", failures=True)


def told(end: MoveState, act: str) -> str:
    """How the end of a request is told; `act`: "C-MOVE to SOMEWHERE", "C-GET"."""
    if end.status is None:
        return end.words
    failed = f", {counted(end.failed, 'sub-operation')} failed" if end.failed else ""
    words = end.words.partition(": ")[2] or end.words
    return f"{act} ended with 0x{end.status:04X} {words}{failed}"
