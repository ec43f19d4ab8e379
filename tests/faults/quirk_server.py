"""The process of the quirk PACS: run by `faults.quirk_pacs`, which documents its switches, never imported by tests."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache, partialmethod
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pydicom
import pydicom.encaps
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE
from pynetdicom.dsutils import decode, encode, split_dataset
from pynetdicom.service_class import QueryRetrieveServiceClass

from faults.quirk_pacs import FOR_EVER, Quirks, altered, tuples

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
OFFERS = {VERIFICATION: "echo", STUDY_ROOT_FIND: "find", STUDY_ROOT_MOVE: "move", STUDY_ROOT_GET: "get"}

SUCCESS, PENDING, WARNING = 0x0000, 0xFF00, 0xB000
CANNOT_SEND, UNKNOWN_DESTINATION, BAD_IDENTIFIER = 0xA702, 0xA801, 0xA900

CONGESTION, LIMIT, NO_REASON = (2, 3, 1), (2, 3, 2), (1, 1, 1)
CALLING_UNKNOWN, CALLED_UNKNOWN = (1, 1, 3), (1, 1, 7)
"""Result, source and reason of a rejection, PS3.8 9.3.4."""

LEVELS = ("STUDY", "SERIES", "IMAGE")
UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
OWN_KEYS = {
    "STUDY": (
        *("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID"),
        *("IssuerOfPatientID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"),
    ),
    "SERIES": ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
TOLD_TOO = (
    "ProtocolName",
    "DeviceSerialNumber",
    "AcquisitionDate",
    "SequenceName",
    "ImageType",
    "BodyPartExamined",
)
WORKED_OUT = {
    *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"),
    *("ModalitiesInStudy", "SOPClassesInStudy"),
}
KEYWORDS = (*OWN_KEYS["STUDY"], *OWN_KEYS["SERIES"], *OWN_KEYS["IMAGE"], *TOLD_TOO)


# --- what it holds -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instance:
    """One file with its values as C-FIND tells them."""

    path: Path
    transfer_syntax: str
    values: Mapping[str, str]

    def uid(self, level: str = "IMAGE") -> str:
        return self.values[UNIQUE[level]]


@cache
def read_instance(path: Path) -> Instance:
    """Read a file's header."""
    dataset = pydicom.dcmread(
        path, specific_tags=["SpecificCharacterSet", *KEYWORDS], stop_before_pixels=True
    )
    dataset.decode()
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    return Instance(path, syntax, {keyword: text(dataset, keyword) for keyword in KEYWORDS})


def text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    several = isinstance(value, MultiValue)
    return "\\".join(map(str, value)) if several else str("" if value is None else value)


class Archive:
    """The instances and their index."""

    def __init__(self, files: Sequence[Path], quirks: Quirks) -> None:
        self.quirks = quirks
        self.instances = [self._indexed(read_instance(path)) for path in files]
        self.visible = [each for each in self.instances if each.uid() not in quirks.hidden]

    def _indexed(self, instance: Instance) -> Instance:
        told = dict(instance.values)
        for level in LEVELS:
            told |= self.quirks.index_says.get(instance.uid(level), {})
        return replace(instance, values=told)

    def find(self, level: str, keys: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Yield the values of each study, series or instance that matches."""
        depth = LEVELS.index(level)
        compared = [*OWN_KEYS[level], *(UNIQUE[above] for above in LEVELS[:depth])]
        if self.quirks.relational == "answered":
            compared = [keyword for each in LEVELS[: depth + 1] for keyword in OWN_KEYS[each]]
        unrestricted = self.quirks.relational == "everything" and lacks_keys(level, keys)
        if unrestricted or "*" in self.quirks.ignored_keys:
            compared = []
        asked = {key: keys[key] for key in compared if keys.get(key) and key not in self.quirks.ignored_keys}
        listed = [
            each
            for each in self.visible
            if level == "STUDY" or each.uid("SERIES") not in self.quirks.unlisted_series
            if level != "IMAGE" or each.uid("SERIES") not in self.quirks.emptied_series
        ]
        for members in grouped(listed, level).values():
            values = self._values(level, members)
            if all(fits(keyword, wanted, values.get(keyword, "")) for keyword, wanted in asked.items()):
                yield values

    def select(self, level: str, keys: Mapping[str, str]) -> list[Instance]:
        """Return the instances that a C-MOVE identifier names."""
        names = {above: set(keys.get(UNIQUE[above], "").split("\\")) for above in upto(level)}
        held = [each for each in self.instances if each.uid("SERIES") not in self.quirks.emptied_series]
        return [each for each in held if all(each.uid(above) in names[above] for above in names)]

    def _values(self, level: str, members: Sequence[Instance]) -> dict[str, str]:
        values = dict(members[0].values)
        series = {each.uid("SERIES") for each in members}
        if level == "STUDY":
            values |= {
                "NumberOfStudyRelatedSeries": self.quirks.announced_series
                if self.quirks.announced_series is not None
                else str(self.quirks.synthetic_series or len(series)),
                "NumberOfStudyRelatedInstances": str(len(members)),
                "ModalitiesInStudy": "\\".join(sorted({each.values["Modality"] for each in members})),
                "SOPClassesInStudy": "\\".join(sorted({each.values["SOPClassUID"] for each in members})),
            }
        elif level == "SERIES":
            emptied = members[0].uid("SERIES") in self.quirks.emptied_series
            number = 0 if emptied else len(members) + self.quirks.announced_offset
            values["NumberOfSeriesRelatedInstances"] = str(number)
        return values | {"InstanceAvailability": "ONLINE"}


def upto(level: str) -> tuple[str, ...]:
    return LEVELS[: LEVELS.index(level) + 1]


def lacks_keys(level: str, keys: Mapping[str, str]) -> bool:
    """Tell whether a unique key of the levels above is missing (PS3.4 C.4.1.2.2.1: no relational queries)."""
    return any(not keys.get(UNIQUE[above]) for above in upto(level)[:-1])


def holds_list(keys: Mapping[str, str]) -> bool:
    """Whether the keys hold a list of UIDs."""
    return any("\\" in keys.get(keyword, "") for keyword in UNIQUE.values())


def grouped(instances: Sequence[Instance], level: str) -> dict[tuple[str, ...], list[Instance]]:
    groups: dict[tuple[str, ...], list[Instance]] = defaultdict(list)
    for each in instances:
        groups[tuple(each.uid(above) for above in upto(level))].append(each)
    return groups


def fits(keyword: str, asked: str, found: str) -> bool:
    """Tell whether a value matches a key (PS3.4 C.2.2.2): UID list, range, wildcards, single value."""
    if keyword.endswith("UID"):
        return found in asked.split("\\")
    if keyword.endswith(("Date", "Time")) and "-" in asked:
        first, _, last = asked.partition("-")
        return bool(found) and (first or "0") <= found <= (last or "9")
    if keyword == "PatientName":
        asked, found = asked.casefold(), found.casefold()
    pattern = asked.strip().replace("[", "[[]")
    return any(fnmatchcase(each.strip(), pattern) for each in (found, *found.split("\\")))


# --- what goes wrong, and the record -----------------------------------------------------------------------------


class State:
    """The quirks in force, what has struck so far, and the record; given up as a whole at the next `become`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.aet = str(config["aet"])
        self.peers: dict[str, list[Any]] = config["peers"]
        self.quirks = Quirks(**tuples(config["quirks"]))
        self.archive = Archive([Path(path) for path in config["files"]], self.quirks)
        self.over = threading.Event()
        self._record = Path(config["record"])
        self._counts: Counter[object] = Counter()
        self._lock = threading.Lock()

    def count(self, what: object) -> int:
        """Return how often this has been counted, this time included."""
        with self._lock:
            self._counts[what] += 1
            return self._counts[what]

    def note(self, what: str, **values: object) -> None:
        if not self.over.is_set():
            with self._lock, self._record.open("a", encoding="utf-8") as record:
                record.write(json.dumps({"what": what, "at": time.monotonic(), **values}) + "\n")

    def pause(self, association: Any, seconds: float) -> bool:
        """Wait as long as the peer stays; tell whether the work may go on."""
        deadline = time.monotonic() + seconds
        while is_connected(association) and time.monotonic() < deadline and not self.over.is_set():
            self.over.wait(min(0.05, max(0.0, deadline - time.monotonic())))
        return is_connected(association) and not self.over.is_set()


def strikes(number: int, times: int) -> bool:
    return times == 0 or number <= times


def is_connected(association: Any) -> bool:
    wrapper = association.dul.socket
    return wrapper is not None and wrapper.socket is not None and wrapper.socket.fileno() >= 0


def without_delay(event: Any) -> None:
    """Turn Nagle's algorithm off, which costs 40 ms a message."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(association: Any) -> None:
    """End the TCP connection with RST."""
    if is_connected(association):
        plain = association.dul.socket.socket
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.close()


# --- associations ------------------------------------------------------------------------------------------------


class Server:
    """Takes associations, and hands their requests to whatever state is in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._port = 0
        self.state = self._load()
        self._entity = AE(ae_title=self.state.aet)
        self._entity.maximum_associations = 1000
        self._entity.network_timeout = self._entity.dimse_timeout = None
        for uid in OFFERS:
            self._entity.add_supported_context(uid)
        # pynetdicom takes the first of these that is proposed.
        syntaxes = [RLE, *UNCOMPRESSED]
        for each in AllStoragePresentationContexts:
            self._entity.add_supported_context(each.abstract_syntax, syntaxes, scu_role=False, scp_role=True)
        self._numbers = Counter[str]()

    def _load(self) -> State:
        config = json.loads(self._path.read_text(encoding="utf-8"))
        self._port = config["port"]
        return State(config)

    def start(self) -> None:
        handlers = [
            (evt.EVT_CONN_OPEN, without_delay),
            (evt.EVT_REQUESTED, self._judge),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_PDU_RECV, self._received),
        ]
        # Not a bound method: it would not be given the service.
        QueryRetrieveServiceClass.SCP = partialmethod(_serve, self)
        self._entity.start_server(("127.0.0.1", self._port), block=False, evt_handlers=handlers)
        self.state.note("ready")

    def become(self) -> None:
        """Take new quirks and files; what still runs sees that its state is over."""
        before = self.state
        self.state = self._load()
        before.over.set()
        self.state.note("ready")

    def _open(self) -> list[Any]:
        return [each for each in self._entity.active_associations if each.is_acceptor and each.is_established]

    def _judge(self, event: Any) -> None:
        association, state = event.assoc, self.state
        reason = self._reason(association, state)
        if reason == "mute":
            state.over.wait(FOR_EVER)
            reason = "abort"
        if reason == "abort":
            association.abort(block=False)
        elif reason:
            state.note("rejected", **who(association), reason=reason)
            association.acse.send_reject(*reason)
            association.kill()
        elif state.quirks.no_get or state.quirks.decompresses or state.quirks.prefers_uncompressed:
            known = [deepcopy(each) for each in association.acceptor.supported_contexts]
            if state.quirks.no_get:
                known = [each for each in known if each.abstract_syntax != STUDY_ROOT_GET]
            if state.quirks.decompresses or state.quirks.prefers_uncompressed:
                compressed = [] if state.quirks.decompresses else [RLE]
                for each in known:
                    each.transfer_syntax = [*UNCOMPRESSED, *compressed]
            association.acceptor.supported_contexts = known

    def _reason(self, association: Any, state: State) -> Any:
        """Why an association request is not accepted; None where it is."""
        quirks = state.quirks
        request = association.requestor.primitive
        if quirks.mute:
            return "mute"
        if request.calling_ae_title not in state.peers:
            return CALLING_UNKNOWN
        if request.called_ae_title != state.aet:
            return CALLED_UNKNOWN
        number, moves = state.count("association"), 0
        if who(association)["offers"] in ("move", "get"):
            moves = state.count("association that offers C-MOVE")
        if number <= quirks.reject_first or 0 < moves <= quirks.reject_first_moves:
            return CONGESTION
        if quirks.reject_moves_after and moves > quirks.reject_moves_after:
            return CONGESTION
        return self._over_limit(association, state)

    def _over_limit(self, association: Any, state: State) -> Any:
        most, how = state.quirks.most_associations, state.quirks.over_limit
        while most and len(self._open()) >= most:
            if how != "wait":
                return {"transient": LIMIT, "permanent": NO_REASON}.get(how, how)
            if not state.pause(association, 0.02):
                return "abort"
        return None

    def _established(self, event: Any) -> None:
        self.state.note("association", **who(event.assoc), open=len(self._open()))

    def _received(self, event: Any) -> None:
        if self.state.quirks.breaks_release and type(event.pdu).__name__ == "A_RELEASE_RQ":
            reset(event.assoc)


def _serve(service: Any, server: Server, request: Any, context: Any) -> None:
    """Takes the place of pynetdicom's own service, which would not let anything go wrong."""
    handlers: dict[type, type[Request]] = {C_FIND: Find, C_MOVE: Move, C_GET: Get}
    handlers[type(request)](server.state, service, request, context).serve()


def who(association: Any) -> dict[str, str]:
    """The caller of an association and what it wants to do."""
    request = association.requestor.primitive
    offered = {str(each.abstract_syntax) for each in request.presentation_context_definition_list}
    offers = [OFFERS[uid] for uid in OFFERS if uid in offered]
    return {"calling": request.calling_ae_title.strip(), "offers": offers[-1] if offers else ""}


class Request:
    """One C-FIND or C-MOVE request."""

    def __init__(self, state: State, service: Any, request: Any, context: Any) -> None:
        self.state, self.quirks, self.archive = state, state.quirks, state.archive
        self.association, self.dimse, self.request = service.assoc, service.dimse, request
        self.context_id = context.context_id
        self.syntax = UID(context.transfer_syntax[0])
        asked = decode(request.Identifier, *self._encoding)
        asked.decode()
        self.level = text(asked, "QueryRetrieveLevel")
        keys = {element.keyword: text(asked, element.keyword) for element in asked if element.keyword}
        self.keys = {key: value for key, value in keys.items() if key != "QueryRetrieveLevel"}
        self.began, self._cpu_began = time.monotonic(), time.thread_time()

    @property
    def _encoding(self) -> tuple[bool, bool]:
        return self.syntax.is_implicit_VR, self.syntax.is_little_endian

    def serve(self) -> None:
        raise NotImplementedError

    def encoded(self, dataset: Dataset) -> bytes:
        return encode(dataset, *self._encoding) or b""

    def respond(self, status: int, **values: object) -> None:
        """Send a response without a data set, or a final one."""
        response = type(self.request)()
        response.MessageIDBeingRespondedTo = self.request.MessageID
        response.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        response.Status = status
        for keyword, value in values.items():
            setattr(response, keyword, value)
        self.dimse.send_msg(response, self.context_id)

    def describe(self) -> dict[str, object]:
        told = {key: value for key, value in self.keys.items() if value}
        return {
            **{"association": id(self.association), "calling": self.association.requestor.ae_title},
            **{"level": self.level, "keys": told, "began": self.began},
        }


# --- C-FIND ------------------------------------------------------------------------------------------------------


class Find(Request):
    """A C-FIND request. Answers go past pynetdicom straight to the socket: it takes a millisecond for each."""

    def serve(self) -> None:
        faulty = strikes(self.state.count(("find", self.level)), self.quirks.find_times)
        if faulty and not self.state.pause(self.association, self.quirks.find_silence_s.get(self.level, 0)):
            return
        answers, status = self._answer(faulty)
        cpu_s = time.thread_time() - self._cpu_began
        self.state.note("find", **self.describe(), answers=answers, status=status, cpu_s=cpu_s)
        if is_connected(self.association):
            self.respond(status)

    def _answer(self, faulty: bool) -> tuple[int, int]:
        """Send the pending answers; their number and the final status."""
        quirks = self.quirks
        refused = self.level not in LEVELS or (
            lacks_keys(self.level, self.keys) and quirks.relational == "refused"
        )
        if refused or self.level in quirks.refused_find_levels:
            return 0, BAD_IDENTIFIER
        if faulty and self.level in quirks.find_status:
            return 0, quirks.find_status[self.level]
        if quirks.synthetic_series and self.level == "SERIES":
            return self._send(self._synthetic(), quirks.synthetic_series), SUCCESS
        found = list(self.archive.find(self.level, self.keys))
        if self.level in quirks.endless_finds:
            return self._send(cycle([self._encoded_answer(each) for each in found]), sys.maxsize), SUCCESS
        if quirks.counts_as_one and len(found) > 1 and WORKED_OUT & self.keys.keys():
            found = [one_for_all(found)]
        answers = [self._encoded_answer(values) for values in found]
        most = quirks.find_cap.get(self.level, len(answers)) if faulty else len(answers)
        if faulty and self.level in quirks.find_break:
            number = self._send(iter(answers[: quirks.find_break[self.level]]), len(answers))
            # What was sent is to arrive before the connection is gone.
            self.state.pause(self.association, 0.1)
            reset(self.association)
            return number, SUCCESS
        number = self._send(iter(answers[:most]), most)
        return number, quirks.find_cap_status if most < len(answers) else SUCCESS

    def _encoded_answer(self, values: Mapping[str, str]) -> bytes:
        told = Dataset()
        told.SpecificCharacterSet = "ISO_IR 192"
        told.QueryRetrieveLevel = self.level
        for keyword in self.keys:
            if keyword not in (*self.quirks.omitted_keys, "SpecificCharacterSet"):
                value = "" if keyword in self.quirks.empty_keys else values.get(keyword, "")
                setattr(told, keyword, value.split("\\") if "\\" in value else value)
        return self.encoded(told)

    def _synthetic(self) -> Iterator[bytes]:
        """Yield answers for invented series of the study: one is encoded, in the others bytes are replaced."""
        uid, number, name = "2.25." + 39 * "7", "777777", "invented 777777"
        values = next(self.archive.find("STUDY", {"StudyInstanceUID": self.keys["StudyInstanceUID"]}), None)
        if values is None:
            return
        made = {"SeriesInstanceUID": uid, "SeriesNumber": number, "SeriesDescription": name}
        template = self._encoded_answer({**values, **made, "NumberOfSeriesRelatedInstances": "1"})
        for each in range(self.quirks.synthetic_series):
            own = f"{each + 1:06d}".encode()
            answer = template.replace(uid.encode(), b"2.25.1" + f"{each:038d}".encode())
            yield answer.replace(b"777777", own)

    def _send(self, answers: Iterator[bytes], number: int) -> int:
        command = self._pending_command()
        sent = 0
        while sent < number and is_connected(self.association) and not self.state.over.is_set():
            batch = [command + pdu(self.context_id, 0x02, each) for each in islice(answers, 200)]
            if not batch:
                break
            self.association.dul.socket.send(b"".join(batch))
            sent += len(batch)
        return sent

    def _pending_command(self) -> bytes:
        command = Dataset()
        command.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        command.CommandField = 0x8020
        command.MessageIDBeingRespondedTo = self.request.MessageID
        command.CommandDataSetType = 0x0001
        command.Status = PENDING
        body = encode(command, True, True) or b""
        length = struct.pack("<HHLL", 0, 0, 4, len(body))
        return pdu(self.context_id, 0x03, length + body)


def one_for_all(found: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """One line whose counts are of all that was found, as an aggregate without groups gives it."""
    counts = [each for each in WORKED_OUT if each.startswith("Number")]
    return {**found[0], **{each: str(sum(int(one.get(each) or 0) for one in found)) for each in counts}}


def pdu(context_id: int, header: int, fragment: bytes) -> bytes:
    """Return a P-DATA-TF PDU with one value (PS3.8 9.3.5)."""
    value = struct.pack(">LBB", len(fragment) + 2, context_id, header) + fragment
    return struct.pack(">BBL", 0x04, 0, len(value)) + value


# --- C-MOVE ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parcel:
    """One sub-operation; `asked`: it counts, `sends`: something goes out, `fails`: it is counted as failed."""

    instance: Instance
    path: Path
    asked: bool = True
    sends: bool = True
    fails: bool = False
    cut_at: float = 0.0


class Move(Request):
    """A C-MOVE request."""

    def serve(self) -> None:
        state, quirks = self.state, self.quirks
        self.number = state.count("move")
        self.faulty = self.number > quirks.move_after and strikes(
            self.number - quirks.move_after, quirks.move_times
        )
        self.completed = self.failed = 0
        destination = self._destination()
        state.note("move", number=self.number, destination=destination, **self.describe())
        if self.faulty and not state.pause(self.association, quirks.move_silence_s):
            return
        if self._lists in ("aborted", "reset"):
            self._break(self._lists)
            return
        status = self._refusal(destination)
        if status is None:
            status = self._retrieve(destination)
        if status is not None:
            self._end(status)

    @property
    def _lists(self) -> str:
        """What it does with this request as one with a list of UIDs; "" where it has none."""
        return self.quirks.uid_lists if self.faulty and holds_list(self.keys) else ""

    def _destination(self) -> str:
        return str(self.request.MoveDestination.strip())

    def _knows(self, destination: str) -> bool:
        return destination in self.state.peers and destination != self.quirks.undeclared

    def _courier(self, parcels: Sequence[Parcel], destination: str) -> Courier:
        return Courier(self, self.state.peers[destination], parcels)

    def _end(self, status: int) -> None:
        self.state.note("moved", number=self.number, status=status, completed=self.completed)
        if is_connected(self.association):
            self.respond(status, **self._counters(None))

    def _refusal(self, destination: str) -> int | None:
        quirks = self.quirks
        if not self._knows(destination):
            return UNKNOWN_DESTINATION
        if (
            self.level not in LEVELS
            or lacks_keys(self.level, self.keys)
            or self.level in quirks.refused_move_levels
        ):
            return BAD_IDENTIFIER
        if self._lists == "refused":
            return quirks.list_status
        if self.faulty and quirks.move_status and not quirks.status_sends:
            return quirks.move_status
        return quirks.series_status.get(self.keys.get("SeriesInstanceUID", ""))

    def _retrieve(self, destination: str) -> int | None:
        """Send what is asked for; the final status, None where there is nobody left to hear it."""
        keys = dict(self.keys)
        if self._lists == "first":
            keys |= {each: keys.get(each, "").partition("\\")[0] for each in UNIQUE.values()}
        parcels = self._parcels([] if self._lists == "ignored" else self.archive.select(self.level, keys))
        self.remaining = sum(parcel.asked for parcel in parcels)
        courier = self._courier(parcels, destination)
        if self.number == 1:
            for path, title in self.quirks.intruders.items():
                intrude(Path(path), title, self.state.peers[destination], destination)
        late = parcels[len(parcels) - self.quirks.late :]
        try:
            if self.quirks.none_accepted and parcels and not courier.finds_taker():
                return self._without_context()
            now = (parcel for parcel in parcels if parcel not in late)
            if not all(self._deliver(courier, parcel) for parcel in now) or self._breaks(courier):
                return None
            self.completed += len(late)
            self._end(self._final_status())
            if late:
                self.state.over.wait(self.quirks.late_s)
            for parcel in late:
                courier.send(parcel)
        finally:
            courier.close()
        return None

    def _without_context(self) -> int | None:
        """What a PACS makes of an association over which nothing can be sent."""
        how = self.quirks.none_accepted
        if how != "reset":
            return int(how, 16)
        reset(self.association)
        return None

    def _final_status(self) -> int:
        if self.faulty and self.quirks.move_status:
            return self.quirks.move_status
        if self.failed and not self.completed:
            return CANNOT_SEND
        return WARNING if self.failed or self.quirks.counts == "warning" else SUCCESS

    def _parcels(self, instances: Sequence[Instance]) -> list[Parcel]:
        held = (each for each in instances if each.uid() not in self.quirks.gone)
        asked = [parcel for each in held for parcel in self._parcels_of(each)]
        if self.number > 1:
            return asked
        by_uid = {each.uid(): each for each in self.archive.instances}
        extra = (by_uid[uid] for uid in self.quirks.extra)
        return [*asked, *(Parcel(each, each.path, asked=False) for each in extra)]

    def _parcels_of(self, instance: Instance) -> list[Parcel]:
        """The sub-operations for one object that is asked for; its second delivery comes last."""
        quirks, uid = self.quirks, instance.uid()
        if not strikes(self.state.count(("object", uid)), quirks.object_times):
            return [Parcel(instance, instance.path)]
        parcel = Parcel(
            instance,
            self._as_sent(instance),
            sends=uid not in (*quirks.lose, *quirks.drop),
            fails=uid in quirks.lose,
            cut_at=quirks.cut_at.get(uid, 0.0),
        )
        if uid not in quirks.twice:
            return [parcel]
        path = self._made("other", instance, flipped) if quirks.twice_differs else parcel.path
        if quirks.twice_as:
            source = replace(instance, path=path)
            path = self._made("again", source, lambda *paths: compressed(*paths, quirks.twice_as))
        return [parcel, replace(parcel, path=path, asked=False)]

    def _as_sent(self, instance: Instance) -> Path:
        """The file to send for an object: its own, or one with other values or an early end."""
        quirks = self.quirks
        own = read_instance(instance.path)
        values: dict[str, str] = {}
        for level in LEVELS:
            values |= quirks.header_says.get(own.uid(level), {})
        path = instance.path
        if quirks.decompresses and own.transfer_syntax not in UNCOMPRESSED:
            path = self._made("native", instance, decompressed)
        if values:
            path = self._made("says", instance, lambda source, target: altered(source, target, **values))
        if instance.uid() in quirks.truncate:
            where = quirks.truncate[instance.uid()]
            path = self._made("cut", replace(instance, path=path), lambda *paths: truncated(*paths, where))
        return path

    def _made(self, name: str, instance: Instance, make: Callable[[Path, Path], object]) -> Path:
        target = Path.cwd() / f"{name}{self.state.count('made')}.dcm"
        make(instance.path, target)
        return target

    def _deliver(self, courier: Courier, parcel: Parcel) -> bool:
        """Send one object and say so; tell whether the request goes on."""
        quirks = self.quirks
        if self._breaks(courier):
            return False
        fine = not parcel.fails and (not parcel.sends or courier.send(parcel))
        if parcel.asked:
            self.remaining -= 1
            self.completed += fine
            self.failed += not fine
        if self.state.count("delivery") == quirks.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if quirks.pace and not self.state.pause(self.association, 1 / quirks.pace):
            return False
        if parcel.asked and not quirks.no_pending and self.remaining and is_connected(self.association):
            self.respond(PENDING, **self._counters(self.remaining))
        return is_connected(self.association) and not self.state.over.is_set()

    def _breaks(self, courier: Courier) -> bool:
        if not self.faulty or courier.delivered != self.quirks.break_after:
            return False
        self._break("aborted" if self.quirks.break_by == "abort" else "reset")
        return True

    def _break(self, how: str) -> None:
        self.association.abort(block=False) if how == "aborted" else reset(self.association)

    def _counters(self, remaining: int | None) -> dict[str, object]:
        counts = self.quirks.counts
        if counts == "never" or (counts == "pending" and remaining is None):
            return {}
        with_warning = self.completed if counts == "warning" else 0
        return {
            "NumberOfRemainingSuboperations": remaining,
            "NumberOfCompletedSuboperations": self.completed - with_warning,
            "NumberOfFailedSuboperations": self.failed,
            "NumberOfWarningSuboperations": with_warning,
        }


class Get(Move):
    """A C-GET request: the objects go out over its own association."""

    def _destination(self) -> str:
        return str(self.association.requestor.ae_title)

    def _knows(self, destination: str) -> bool:
        return True

    def _courier(self, parcels: Sequence[Parcel], destination: str) -> Courier:
        return OwnCourier(self, ("", 0), parcels)


class Checkpoint(threading.Event):
    """Holds pynetdicom's own loop for good: it would now and then take the answer that `Courier` waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)


class Courier:
    """The association over which the objects of one request go out; opened anew where it was cut."""

    def __init__(self, move: Move, peer: Sequence[Any], parcels: Sequence[Parcel]) -> None:
        self.delivered = 0
        self._move, self._state = move, move.state
        self._host, self._port = peer
        self._association: Any = None
        pairs = {(each.instance.values["SOPClassUID"], each.instance.transfer_syntax) for each in parcels}
        if move.quirks.twice_as or move.quirks.decompresses:
            pairs |= {(each.instance.values["SOPClassUID"], syntax_of(each.path)) for each in parcels}
        offered = move.quirks.offered
        self._contexts = [build_context(uid, [*offered, syntax]) for uid, syntax in sorted(pairs)][:128]
        self._cut_in = self._byte_s = 0.0

    def send(self, parcel: Parcel) -> bool:
        """Send one object; tell whether it was taken."""
        if self._association is None or not is_connected(self._association):
            self._associate()
        status = self._store(parcel) if self._association.is_established else None
        taken = status == SUCCESS
        self.delivered += taken
        self._state.note(
            "sent",
            move=self._move.number,
            sop_uid=parcel.instance.uid(),
            syntax=parcel.instance.transfer_syntax,
            status=status,
        )
        return taken

    def finds_taker(self) -> bool:
        """Open the association; tell whether anything can be sent over it."""
        if self._association is None:
            self._associate()
        return bool(self._association.is_established)

    def close(self) -> None:
        if self._association is not None and self._association.is_established:
            self._association.release() if is_connected(self._association) else self._association.kill()

    def _associate(self) -> None:
        self.close()
        titles = self._move.quirks.sends_as or (self._state.aet,)
        entity = AE(ae_title=titles[self._state.count("courier") % len(titles)])
        entity.connection_timeout = 5
        entity.dimse_timeout = None
        handlers = [(evt.EVT_CONN_OPEN, without_delay), (evt.EVT_DATA_SENT, self._count)]
        self._cut_in = self._byte_s = 0.0
        self._association = entity.associate(
            self._host,
            self._port,
            self._contexts,
            ae_title=self._move.request.MoveDestination.strip(),
            evt_handlers=handlers,
        )
        accepted = [
            (str(each.abstract_syntax), str(each.transfer_syntax[0]))
            for each in self._association.accepted_contexts
        ]
        self._state.note("contexts", move=self._move.number, accepted=accepted)
        if self._association.is_established:
            checkpoint = self._association._reactor_checkpoint = Checkpoint()
            checkpoint.reached.wait(10)

    def _store(self, parcel: Parcel) -> int | None:
        """Send one object's bytes as they are; the final status, None where no context or no answer came."""
        _, offset = split_dataset(parcel.path)
        data = parcel.path.read_bytes()[offset:]
        instance, move = parcel.instance, self._move
        pair = instance.values["SOPClassUID"], syntax_of(parcel.path)
        accepted = {
            (str(each.abstract_syntax), str(each.transfer_syntax[0])): each.context_id
            for each in self._association.accepted_contexts
        }
        if pair not in accepted:
            return None
        request = C_STORE()
        request.MessageID = 1 + self.delivered % 65535
        request.AffectedSOPClassUID = pair[0]
        request.AffectedSOPInstanceUID = sop_instance_uid(parcel.path)
        request.Priority = 2
        if not isinstance(move, Get):
            request.MoveOriginatorApplicationEntityTitle = move.association.requestor.ae_title
            request.MoveOriginatorMessageID = move.request.MessageID
        request.DataSet = BytesIO(data)
        self._cut_in = parcel.cut_at * len(data)
        self._byte_s = move.quirks.slow.get(instance.uid(), 0.0) / len(data)
        self._association.dimse.send_msg(request, accepted[pair])
        _, answer = self._association.dimse.get_msg(block=True)
        return None if answer is None else int(answer.Status)

    def _count(self, event: Any) -> None:
        self._state.over.wait(self._byte_s * len(event.data))
        if self._cut_in:
            self._cut_in = max(0.0, self._cut_in - len(event.data))
            if not self._cut_in:
                reset(event.assoc)


class OwnCourier(Courier):
    """The association of the request itself."""

    def __init__(self, move: Move, peer: Sequence[Any], parcels: Sequence[Parcel]) -> None:
        super().__init__(move, peer, parcels)
        self._association = move.association

    def close(self) -> None:
        """The association goes on."""

    def _associate(self) -> None:
        """There is no other one."""


def intrude(path: Path, title: str, peer: Sequence[Any], destination: str) -> None:
    """Send a file from another AE title; it must be taken."""
    dataset = pydicom.dcmread(path)
    entity = AE(ae_title=title)
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate(*peer, ae_title=destination)
    status = association.send_c_store(dataset)
    association.release()
    if status.Status != SUCCESS:
        raise RuntimeError(f"the object of {title} was not taken: {status.Status:04X}")


def sop_instance_uid(path: Path) -> str:
    return str(pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID)


def syntax_of(path: Path) -> str:
    return str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID)


def decompressed(source: Path, target: Path) -> None:
    """Write a copy with native pixels."""
    dataset = pydicom.dcmread(source)
    dataset.decompress(generate_instance_uid=False)
    dataset.save_as(target, enforce_file_format=True)


def compressed(source: Path, target: Path, how: str) -> None:
    """Write a copy whose pixels are compressed without loss, or stand for some that were compressed with loss."""
    dataset = pydicom.dcmread(source)
    if how == "rle":
        dataset.compress(RLE, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = JPEG
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(target, enforce_file_format=True)


def flipped(source: Path, target: Path) -> None:
    """Write a copy whose last byte differs: a pixel, where the pixels are not encapsulated."""
    content = bytearray(source.read_bytes())
    content[-1] ^= 0x01
    target.write_bytes(content)


def truncated(source: Path, target: Path, where: str) -> None:
    """Write the beginning of a file: up to the middle of its pixels, or to the end of Rows."""
    content = source.read_bytes()
    end = content.index(b"\xe0\x7f\x10\x00") + 64
    if where == "Rows":
        rows = re.escape(b"\x28\x00\x10\x00") + rb"(?:US\x02\x00|\x02\x00\x00\x00).."
        end = re.search(rows, content, re.DOTALL).end()  # type: ignore[union-attr]
    target.write_bytes(content[: end + end % 2])


def main(path: str) -> None:
    """Serve; change with each line of stdin, and end with it, so that nothing outlives whoever started this."""
    logging.basicConfig(level=logging.ERROR)
    server = Server(Path(path))
    server.start()
    # Not by a signal: one that comes before this thread waits for it goes to a thread that a library has made.
    for _ in sys.stdin:
        server.become()
    os._exit(0)  # associations may still wait for their peers


if __name__ == "__main__":
    main(sys.argv[1])
