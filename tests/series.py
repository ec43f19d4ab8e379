"""Series, requests and ends made by hand: the words in which the tables of the unit tests are written.

The study of series 1.2.3 is 1.2; its instances are 1.2.3.0, 1.2.3.1 and so on.
"""

from __future__ import annotations

from typing import Any

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.model import SeriesState

SUCCESS = MoveState(0, 0x0000, "Success")
WARNING = MoveState(0, 0xB000, "Warning")
BUSY = MoveState(0, 0xA702, "Refused: OutOfResources")
UNKNOWN_DESTINATION = MoveState(0, 0xA801, "Refused: MoveDestinationUnknown")
NOT_UNDERSTOOD = MoveState(0, 0xA900, "Error: DataSetDoesNotMatchSOPClass")
UNANSWERED = MoveState(0, None, "movescu ended (1) without a final response")


def study_of(series_uid: str) -> str:
    return series_uid.rpartition(".")[0]


def state(
    uid: str = "1.1.1",
    announced: int | None = 2,
    found: int = 0,
    listed: int | None = None,
    rows: tuple[int, ...] = (2,),
    **fields: Any,
) -> SeriesState:
    """A series of which so many instances were announced, are in place, and stand in the IMAGE-level list."""
    values = {"StudyInstanceUID": study_of(uid), "SeriesInstanceUID": uid}
    instances = None
    if listed is not None:
        instances = tuple(Instance(each, "") for each in instance_uids(uid, range(listed)))
    series = Series(values, rows, {} if rows else {2: ("SeriesDescription",)}, announced, instances)
    in_place = dict.fromkeys(instance_uids(uid, range(found)), 1000)
    return SeriesState(series, found=in_place, **fields)


def instance_uids(series_uid: str, numbers: range) -> tuple[str, ...]:
    return tuple(f"{series_uid}.{number}" for number in numbers)


def of_studies(*uids: str) -> MoveRequest:
    """A request at the STUDY level."""
    return MoveRequest(uids)


def of_series(*uids: str) -> MoveRequest:
    """A request at the SERIES level."""
    return MoveRequest((study_of(uids[0]),), uids)


def of_images(series_uid: str, numbers: range) -> MoveRequest:
    """A request at the IMAGE level."""
    return MoveRequest((study_of(series_uid),), (series_uid,), instance_uids(series_uid, numbers))
