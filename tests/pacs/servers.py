"""Real PACS for the tests, and a raw Storage SCP that tells what they send.

Debian's Orthanc, DCMTK's dcmqrscp, PixelMed's storage server, pynetdicom's qrscp, tiny-pacs.
Everything is addressed to 127.0.0.1, lives in the folder it is given and is ended by its process handle. Nothing
here uses pacsifier (except that the hospital comes from `pacsifier.demo`), so it can bear witness for it;
`run_pacsifier` starts the command under test as a process of its own.

What was seen on the binaries (dcmqrscp 3.6.7, Orthanc 1.10.1 of Debian 12):

- dcmqrscp sends and takes compressed objects only by `-xf FILE IN OUT` with ONE transfer syntax for that SOP class.
- dcmqrscp compares the caller with its HostTable; hosts written as addresses match only with `-dhl`.
- dcmqrscp lowers its quota to 500 studies of 1 GiB each, whatever the AETable says. It forks for each association.
- dcmqridx registers files where they lie, and dcmqrscp deletes a file that a new one replaces: so it gets links.
- Orthanc takes a ZIP archive by POST /instances and keeps compressed instances as they are.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
OUR_AET = "PACSIFIER"
MOVE_AET = "OTHER"
RAW_AET = "RAWSCP"

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
RLE = "1.2.840.10008.1.2.5"
UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE)
ONE_AT_A_TIME = (
    *UNCOMPRESSED,
    RLE,
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless SV1
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.1.99",  # Deflated
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
)
"""Transfer syntaxes in the order in which the raw SCP takes the first that a context offers."""

COMMON_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in (
        *("1", "1.1", "1.2", "2", "2.1", "3.1", "4", "4.1", "4.2", "6.1", "7", "7.1", "7.2", "7.3", "7.4"),
        *("11.1", "12.1", "20", "66", "66.1", "66.4", "88.11", "88.22", "88.33", "88.59", "88.67"),
        *("104.1", "104.2", "128", "481.1", "481.2", "481.3", "481.5"),
    )
)
"""Storage classes that dcmqrscp takes uncompressed besides those it is filled with."""

PIXELMED_JAR = "/usr/share/java/pixelmed.jar"
"""Debian's libpixelmed-java; its manifest names what it needs."""

Peers = Mapping[str, tuple[str, int]]


# --- ports, binaries ---------------------------------------------------------------------------------------------

_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port that nobody listens on, never the same twice in this process.

    From below the kernel's ephemeral range (32768 and up on Linux): a port that the kernel gives out may be
    taken by any outgoing connection before the server that it is meant for listens.
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _given:
                probe.bind(("", port))
                _given.add(port)
                return port
    raise RuntimeError("no free TCP port between 15000 and 32000")


def make_peers() -> dict[str, tuple[str, int]]:
    """Return the AE titles that both servers know, each at a port of its own."""
    return {aet: (LOOPBACK, free_port()) for aet in (OUR_AET, MOVE_AET, RAW_AET)}


def find_binary(name: str) -> str:
    """Return the path of a program; its absence fails the test, which must not be skipped."""
    for folder in (*os.get_exec_path(), "/usr/sbin", "/usr/local/sbin"):
        path = shutil.which(name, path=folder)
        # pynetdicom puts scripts of DCMTK's names into an activated environment.
        if path is not None and not Path(path).read_bytes().startswith(b"#!"):
            return path
    raise RuntimeError(f"{name} is not installed: the tests need the packages dcmtk and orthanc")


def dcmtk_version() -> tuple[int, ...]:
    """Return the version of DCMTK that the tests meet, such as (3, 6, 7)."""
    banner = subprocess.run([find_binary("getscu"), "--version"], capture_output=True, check=True).stdout
    return tuple(map(int, banner.split()[2].decode("ascii").strip("v+").split(".")))


# --- the hospital ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One instance as pydicom reads it from the file that the servers are filled with."""

    path: Path
    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    modality: str
    series_description: str | None
    series_number: int


@dataclass(frozen=True)
class Hospital:
    """The files of `pacsifier.demo.make_hospital` and who they are."""

    folder: Path
    records: tuple[Record, ...]

    @property
    def files(self) -> list[Path]:
        return [record.path for record in self.records]

    @cached_property
    def by_sop(self) -> dict[str, Record]:
        return {record.sop_uid: record for record in self.records}

    @cached_property
    def by_series(self) -> dict[str, list[Record]]:
        return _grouped(self.records, "series_uid")

    @cached_property
    def by_study(self) -> dict[str, list[Record]]:
        return _grouped(self.records, "study_uid")

    @cached_property
    def by_patient(self) -> dict[str, list[Record]]:
        return _grouped(self.records, "patient_id")


def _grouped(records: Iterable[Record], attribute: str) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[getattr(record, attribute)].append(record)
    return dict(groups)


def read_record(path: Path) -> Record:
    """Read who an instance is, with pydicom."""
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return Record(
        path=path,
        patient_id=dataset.PatientID,
        study_uid=dataset.StudyInstanceUID,
        series_uid=dataset.SeriesInstanceUID,
        sop_uid=dataset.SOPInstanceUID,
        sop_class=dataset.SOPClassUID,
        transfer_syntax=dataset.file_meta.TransferSyntaxUID,
        modality=dataset.Modality,
        series_description=dataset.get("SeriesDescription"),
        series_number=int(dataset.SeriesNumber),
    )


def build_hospital(folder: Path) -> Hospital:
    """Write the demo hospital below `folder` and read it back."""
    from pacsifier.demo import make_hospital

    return Hospital(folder, tuple(read_record(path) for path in make_hospital(folder)))


# --- a server, whichever -----------------------------------------------------------------------------------------


@dataclass
class Server:
    """A PACS that runs; a context manager that ends it."""

    kind: str
    folder: Path
    aet: str
    port: int
    peers: Peers
    process: subprocess.Popen[bytes] = field(repr=False)
    address: str = LOOPBACK
    echo_options: Sequence[str] = ()

    @property
    def our_aet(self) -> str:
        """The AE title under which the PACS knows us; it sends to `our_port` on 127.0.0.1."""
        return OUR_AET

    @property
    def our_port(self) -> int:
        return self.peers[OUR_AET][1]

    @property
    def move_aet(self) -> str:
        """A second destination that the PACS knows; nobody listens on `move_port` unless the test does."""
        return MOVE_AET

    @property
    def move_port(self) -> int:
        return self.peers[MOVE_AET][1]

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def config(self, **overrides: object) -> dict[str, object]:
        """Return a pacsifier configuration for this PACS in the documented keys, without pauses.

        `move_port` there is the port on which our own receiver (AE title `AET`) listens when saving.
        """
        return {
            "server_address": self.address,
            "port": self.port,
            "server_AET": self.aet,
            "AET": self.our_aet,
            "move_AET": self.move_aet,
            "move_port": self.our_port,
            "batch_size": 30,
            "batch_wait_time": 0,
        } | overrides

    def write_config(self, path: Path, **overrides: object) -> Path:
        """Write `config(**overrides)` as the JSON file that `--config` names, and return its path."""
        path.write_text(json.dumps(self.config(**overrides), indent=4), encoding="utf-8")
        return path

    def echo(self) -> bool:
        """Tell whether a C-ECHO in our name is answered."""
        argv = [find_binary("echoscu"), "-q", "-to", "2", *self.echo_options, *_titles(self)]
        argv += [self.address, str(self.port)]
        return subprocess.run(argv, capture_output=True, env=_environment(True), check=False).returncode == 0

    def stop(self) -> None:
        """End the server and every process that it forked; all of them are one process group of ours.

        Orthanc takes 3 s to end in good order; what it holds is temporary, so nobody waits for that.
        """
        for number, patience_s in ((signal.SIGTERM, 0.5), (signal.SIGKILL, 10)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        assert self.process.returncode is not None, f"{self.kind} cannot be ended"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _titles(server: Server) -> list[str]:
    return ["-aet", server.our_aet, "-aec", server.aet]


def _environment(nagle_off: bool) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    return inherited | ({"TCP_NODELAY": "1"} if nagle_off else {})


def _spawn(argv: Sequence[str], folder: Path, nagle_off: bool) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(nagle_off),
            start_new_session=True,
        )


def _await_echo(server: Server, patience_s: float = 60) -> None:
    """Return when the server answers a C-ECHO; end it and say what it wrote if it does not."""
    deadline = time.monotonic() + patience_s
    while not (_listens(server.port) and server.echo()):
        if server.process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise RuntimeError(
                f"{server.kind} does not answer a C-ECHO; its last lines:\n{server.log[-2000:]}"
            )
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


# --- dcmqrscp ----------------------------------------------------------------------------------------------------

_QUERY_RETRIEVE = tuple(
    f"{verb}{root}RootQueryRetrieveInformationModel"
    for root in ("Patient", "Study")
    for verb in ("FIND", "MOVE", "GET")
)


def start_dcmqrscp(
    folder: Path,
    files: Sequence[Path],
    peers: Peers,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    options: Sequence[str] = (),
    nagle_off: bool = True,
) -> Server:
    """Start dcmqrscp in `folder` (made) with `files` in it and `peers` allowed.

    `classes` adds storage classes: SOP Class UID -> transfer syntaxes, or replaces those found in the files;
    `options` are more options of dcmqrscp, such as `+U8`. It takes at most 500 studies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage"
    storage.mkdir()
    _register(storage, files)
    port = free_port()
    (folder / "dcmqrscp.cfg").write_text(_dcmqrscp_config(port, storage, peers), encoding="ascii")
    contexts = _syntaxes_of(files) | dict(classes or {})
    (folder / "associations.cfg").write_text(_dcmqrscp_profile(contexts), encoding="ascii")
    argv = [
        find_binary("dcmqrscp"),
        "-dhl",
        "-c",
        "dcmqrscp.cfg",
        "-xf",
        "associations.cfg",
        "Accept",
        "Propose",
    ]
    process = _spawn([*argv, *options], folder, nagle_off)
    server = Server("dcmqrscp", folder, "DCMQRSCP", port, peers, process)
    _await_echo(server)
    return server


def _register(storage: Path, files: Sequence[Path]) -> None:
    """Link `files` into the storage area and write the index there; the originals stay safe from dcmqrscp."""
    linked = []
    for number, path in enumerate(files):
        target = storage / f"{number:06d}.dcm"
        try:
            target.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, target)
        linked.append(str(target))
    for start in range(0, len(linked), 1000):
        argv = [find_binary("dcmqridx"), str(storage), *linked[start : start + 1000]]
        subprocess.run(argv, check=True, capture_output=True)


def _syntaxes_of(files: Iterable[Path]) -> dict[str, Sequence[str]]:
    """Return the transfer syntaxes for each SOP class in `files`: the one compressed one, or the uncompressed."""
    from pydicom.filereader import read_file_meta_info

    found: dict[str, set[str]] = defaultdict(set)
    for path in files:
        meta = read_file_meta_info(path)
        found[str(meta.MediaStorageSOPClassUID)].add(str(meta.TransferSyntaxUID))
    contexts: dict[str, Sequence[str]] = {}
    for sop_class, syntaxes in found.items():
        compressed = syntaxes.difference(UNCOMPRESSED)
        if compressed and len(syntaxes) > 1:
            raise ValueError(f"dcmqrscp holds one transfer syntax of {sop_class}, not {sorted(syntaxes)}")
        contexts[sop_class] = tuple(compressed) or UNCOMPRESSED
    return contexts


def _dcmqrscp_config(port: int, storage: Path, peers: Peers) -> str:
    hosts = [f"host{n} = ({aet}, {host}, {port})" for n, (aet, (host, port)) in enumerate(peers.items())]
    everyone = ", ".join(f"host{n}" for n in range(len(hosts)))
    return "\n".join(
        (
            f"NetworkTCPPort = {port}",
            "MaxPDUSize = 131072",
            "MaxAssociations = 64",
            *("HostTable BEGIN", *hosts, f"everyone = {everyone}", "HostTable END"),
            *("VendorTable BEGIN", "VendorTable END"),
            *("AETable BEGIN", f"DCMQRSCP {storage} RW (500, 1024mb) everyone", "AETable END", ""),
        )
    )


def _dcmqrscp_profile(contexts: Mapping[str, Sequence[str]]) -> str:
    """Return a file of association profiles `Accept` and `Propose` (DCMTK's asconfig.txt)."""
    lists = {name: tuple(syntaxes) for name, syntaxes in contexts.items()}
    names = {
        syntaxes: f"Syntaxes{n}"
        for n, syntaxes in enumerate({UNCOMPRESSED: 0} | dict.fromkeys(lists.values(), 0))
    }
    lines = ["[[TransferSyntaxes]]"]
    for syntaxes, name in names.items():
        lines += [f"[{name}]", *(f"TransferSyntax{n} = {uid}" for n, uid in enumerate(syntaxes, 1))]
    storage = dict.fromkeys(COMMON_CLASSES, UNCOMPRESSED) | lists
    service = dict.fromkeys(("VerificationSOPClass", *_QUERY_RETRIEVE), UNCOMPRESSED)
    lines.append("[[PresentationContexts]]")
    for section, wanted in (("In", service | storage), ("Out", lists | storage)):
        lines.append(f"[{section}]")
        pairs = wanted.items()
        lines += [f"PresentationContext{n} = {uid}\\{names[each]}" for n, (uid, each) in enumerate(pairs, 1)]
    # Without roles dcmqrscp sends nothing by C-GET.
    lines += ["[[SCPSCURoleSelection]]", "[Roles]"]
    lines += [f"Role{n} = {uid}\\BOTH" for n, uid in enumerate(storage, 1)]
    lines += ["[[Profiles]]", "[Accept]", "PresentationContexts = In", "SCPSCURoleSelection = Roles"]
    lines += ["[Propose]", "PresentationContexts = Out", ""]
    return "\n".join(lines)


# --- Orthanc -----------------------------------------------------------------------------------------------------


@dataclass
class OrthancServer(Server):
    """Orthanc, with the few verbs of its REST API that tests need to prepare or inspect it."""

    http_port: int = 0

    def rest(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Return the JSON answer to one request, for example `rest("GET", "/statistics")`."""
        url = f"http://{LOOPBACK}:{self.http_port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    @cached_property
    def version(self) -> tuple[int, ...]:
        """Its version, such as (1, 10, 1)."""
        return tuple(map(int, self.rest("GET", "/system")["Version"].split(".")))

    def count(self) -> int:
        """Return the number of instances it holds."""
        return int(self.rest("GET", "/statistics")["CountInstances"])

    def add(self, files: Sequence[Path]) -> None:
        """Put `files` into it, as ZIP archives of about 64 MB (each instance stays as it is)."""
        before = self.count()
        for archive in _archives(files):
            self.rest("POST", "/instances", archive)
        assert self.count() - before == len(files), "Orthanc did not take every file, or held it already"

    def delete_instance(self, sop_uid: str) -> None:
        """Remove the instance with this SOP Instance UID."""
        (found,) = [each for each in self._lookup(sop_uid) if each["Type"] == "Instance"]
        self.rest("DELETE", found["Path"])

    def file(self, sop_uid: str) -> bytes:
        """Return the Part 10 file that it holds for this SOP Instance UID."""
        (found,) = [each for each in self._lookup(sop_uid) if each["Type"] == "Instance"]
        url = f"http://{LOOPBACK}:{self.http_port}{found['Path']}/file"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bytes(answer.read())

    def _lookup(self, uid: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.rest("POST", "/tools/lookup", uid.encode("ascii"))
        return found


def _archives(files: Sequence[Path], limit: int = 64_000_000) -> Iterator[bytes]:
    """Yield ZIP archives, stored and not deflated, that hold all `files`."""
    rest = list(enumerate(files))
    while rest:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            while rest and buffer.tell() < limit:
                number, path = rest.pop(0)
                archive.write(path, f"{number:06d}.dcm")
        yield buffer.getvalue()


def start_orthanc(
    folder: Path,
    files: Sequence[Path],
    peers: Peers,
    *,
    nagle_off: bool = True,
    echo_options: Sequence[str] = (),
    **overrides: object,
) -> OrthancServer:
    """Start Orthanc in `folder` (made) with `files` in it and `peers` allowed.

    `echo_options` are those of the echoscu that waits for it; `overrides` are keys of its configuration, for example
    `DefaultEncoding="Latin1"` (here "Utf8", so that every name of the hospital can be answered) or
    `LimitFindResults=10`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, http_port = free_port(), free_port()
    config = _orthanc_config(folder, port, http_port, peers) | overrides
    (folder / "orthanc.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    process = _spawn([find_binary("Orthanc"), "orthanc.json"], folder, nagle_off)
    server = OrthancServer(
        *("orthanc", folder, str(config["DicomAet"]), port, peers, process),
        echo_options=echo_options,
        http_port=http_port,
    )
    try:
        _await_echo(server)
        server.add(files)
    except BaseException:
        server.stop()
        raise
    return server


def _orthanc_config(folder: Path, port: int, http_port: int, peers: Peers) -> dict[str, object]:
    return {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "TemporaryDirectory": str(_made(folder / "tmp")),
        "StorageCompression": False,
        "Plugins": [],
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomModalities": {aet.lower(): [aet, host, peer_port] for aet, (host, peer_port) in peers.items()},
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False,
        "DefaultEncoding": "Utf8",
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": True,
        "SynchronousCMove": True,
        "SaveJobs": False,
        "CheckRevisions": False,
        # Where a receiver takes both, 1.12 decompresses by default.
        "DicomScuPreferredTransferSyntax": RLE,
        # Not ten seconds: on a busy machine a receiver may take longer to answer.
        "DicomScuTimeout": 60,
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- PixelMed, qrscp, tiny-pacs: filled by C-STORE ----------------------------------------------------------------


def start_pixelmed(folder: Path, files: Sequence[Path], peers: Peers) -> Server:
    """Start PixelMed's storage server (Java) in `folder` (made) with `files` in it and `peers` known."""
    _made(folder)
    port = free_port()
    others = [f"Dicom.RemoteAEs={' '.join(aet.lower() for aet in peers)}"]
    for aet, (host, peer_port) in peers.items():
        name = f"Dicom.RemoteAEs.{aet.lower()}"
        others += [
            f"{name}.CalledAETitle={aet}",
            f"{name}.HostNameOrIPAddress={host}",
            f"{name}.Port={peer_port}",
        ]
    lines = (
        f"Dicom.ListeningPort={port}",
        "Dicom.CalledAETitle=PIXELMED",
        "Dicom.CallingAETitle=PIXELMED",
        *others,
        f"Application.DatabaseFileName={folder / 'database'}",
        f"Application.SavedImagesFolderName={_made(folder / 'images')}",
        f"WebServer.ListeningPort={free_port()}",
        "",
    )
    (folder / "pixelmed.properties").write_text("\n".join(lines), encoding="ascii")
    # Its compiler would take both cores for as long as a test lasts.
    java = (find_binary("java"), "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")
    argv = [*java, "-cp", PIXELMED_JAR, "com.pixelmed.server.DicomAndWebStorageServer", "pixelmed.properties"]
    return _filled(Server("pixelmed", folder, "PIXELMED", port, peers, _spawn(argv, folder, True)), files)


def start_qrscp(folder: Path, files: Sequence[Path], peers: Peers) -> Server:
    """Start pynetdicom's qrscp in `folder` (made) with `files` in it and `peers` as destinations."""
    _made(folder)
    port = free_port()
    lines = [
        "[DEFAULT]",
        *("ae_title: QRSCP", f"port: {port}", f"bind_address: {LOOPBACK}", "max_pdu: 0"),
        *("acse_timeout: 30", "dimse_timeout: 30", "network_timeout: 30", "log_identifier: False"),
        f"instance_location: {_made(folder / 'instances')}",
        f"database_location: {folder / 'instances.sqlite'}",
    ]
    for aet, (host, peer_port) in peers.items():
        lines += [f"[{aet}]", f"address: {host}", f"port: {peer_port}"]
    (folder / "qrscp.ini").write_text("\n".join([*lines, ""]), encoding="ascii")
    argv = [sys.executable, "-m", "pynetdicom.apps.qrscp.qrscp", "--config", "qrscp.ini"]
    return _filled(Server("qrscp", folder, "QRSCP", port, peers, _spawn(argv, folder, True)), files)


def start_tiny_pacs(folder: Path, files: Sequence[Path], peers: Peers) -> Server:
    """Start tiny-pacs in `folder` (made) with `files` in it and `peers` known; it listens on all interfaces."""
    _made(folder)
    port = free_port()
    devices = {
        aet: {"aet": aet, "address": host, "port": peer_port} for aet, (host, peer_port) in peers.items()
    }
    handlers = {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}
    config = {
        "ae": {"ae_title": ["TINY_PACS"], "port": port, "dump_ds": False},
        "log": {"version": 1, "handlers": handlers, "root": {"level": "WARNING", "handlers": ["console"]}},
        "components": {
            "Database": {"on": True},
            "Devices": {"on": True, "devices": devices, "auto_add": False},
            "PACS": {"on": True},
            "InMemoryStorage": {"on": True},
        },
    }
    (folder / "tiny_pacs.json").write_text(json.dumps(config, indent=1), encoding="ascii")
    argv = [sys.executable, "-m", "tiny_pacs", "run", "-c", "tiny_pacs.json"]
    return _filled(Server("tiny-pacs", folder, "TINY_PACS", port, peers, _spawn(argv, folder, True)), files)


def _filled(server: Server, files: Sequence[Path]) -> Server:
    try:
        _await_echo(server)
        refused = store(server, files)
        assert not refused, f"{server.kind} takes none of {refused} in the syntax that it has"
    except BaseException:
        server.stop()
        raise
    return server


def store(server: Server, files: Sequence[Path]) -> list[Path]:
    """Send files as they are by C-STORE, with pynetdicom; return those in whose syntax the server takes none.

    An association that the server drops is opened again twice: Java under the load of many tests does that.
    """
    from pydicom.filereader import read_file_meta_info

    pairs = {}
    for path in files:
        meta = read_file_meta_info(path)
        pairs[path] = str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    left, refused = list(files), []
    for _ in range(3):
        left, no = _store_on_one(server, left, pairs)
        refused += no
        if not left:
            return refused
    raise AssertionError(f"{server.kind} drops the association at {left[0]}, three times")


def _store_on_one(
    server: Server, files: Sequence[Path], pairs: Mapping[Path, tuple[str, str]]
) -> tuple[list[Path], list[Path]]:
    """Send on one association; return what is left where the server drops it, and what it does not take."""
    from pynetdicom import AE, evt

    entity = AE(ae_title=OUR_AET)
    # A server in Java, on a machine that works for many tests at a time.
    entity.dimse_timeout = 180
    for pair in sorted({pairs[path] for path in files}):
        _register_storage_class(pair[0])
        entity.add_requested_context(*pair)
    handlers = [(evt.EVT_CONN_OPEN, _without_delay), (evt.EVT_DATA_SENT, _without_delay)]
    association = entity.associate(server.address, server.port, ae_title=server.aet, evt_handlers=handlers)
    assert association.is_established, f"{server.kind} takes no association for C-STORE"
    accepted = {
        (str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in association.accepted_contexts
    }
    refused = [path for path in files if pairs[path] not in accepted]
    wanted = [path for path in files if pairs[path] in accepted]
    for number, path in enumerate(wanted):
        status = association.send_c_store(path)
        if "Status" not in status:
            association.abort()
            return wanted[number:], refused
        assert status.Status == 0, f"{server.kind} does not take {path}: {status}"
    association.release()
    return [], refused


def _without_delay(event: Any) -> None:
    """Turn Nagle's algorithm off, and the delayed acknowledgement of what comes next: they cost 40 ms a message."""
    plain = event.assoc.dul.socket.socket
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


# --- asking, by DCMTK --------------------------------------------------------------------------------------------


def find(server: Server, level: str, **keys: str) -> list[Any]:
    """Return the answers (pydicom data sets) to one Study Root C-FIND in our name, by DCMTK's findscu."""
    import pydicom

    query = ["-k", f"QueryRetrieveLevel={level}"]
    for keyword, value in keys.items():
        query += ["-k", f"{keyword}={value}"]
    with tempfile.TemporaryDirectory() as folder:
        argv = [find_binary("findscu"), "-S", *_titles(server), "-X", "-od", folder, *query]
        argv += [server.address, str(server.port)]
        run = subprocess.run(argv, capture_output=True, env=_environment(True), check=False)
        assert run.returncode == 0, run.stderr.decode(errors="replace")
        answers = [pydicom.dcmread(path, force=True) for path in sorted(Path(folder).iterdir())]
        for answer in answers:
            answer.decode()
    return answers


def move_studies(server: Server, study_uids: Iterable[str], destination: str) -> None:
    """Let the PACS send whole studies to an AE title it knows, by one movescu; all must end in Success."""
    from pydicom.dataset import Dataset, FileMetaDataset

    with tempfile.TemporaryDirectory() as folder:
        queries = []
        for number, uid in enumerate(study_uids):
            identifier = Dataset()
            identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", uid
            identifier.file_meta = FileMetaDataset()
            identifier.file_meta.TransferSyntaxUID = EXPLICIT_LE
            identifier.file_meta.MediaStorageSOPClassUID = identifier.file_meta.MediaStorageSOPInstanceUID = (
                "1.2"
            )
            queries.append(f"{folder}/{number:04d}.dcm")
            identifier.save_as(queries[-1], enforce_file_format=True)
        argv = [find_binary("movescu"), "-S", "-v", *_titles(server), "-aem", destination]
        argv += [server.address, str(server.port), *queries]
        run = subprocess.run(argv, capture_output=True, env=_environment(True), check=False)
    output = (run.stdout + run.stderr).decode(errors="replace")
    assert run.returncode == 0, output
    assert output.count("Received Final Move Response (Success)") == len(queries), output


# --- the command under test --------------------------------------------------------------------------------------


def pacsifier_argv(*args: object) -> list[str]:
    """Return the command line of `pacsifier` under the interpreter of the tests."""
    return [sys.executable, "-m", "pacsifier.cli.retrieve", *map(str, args)]


def run_pacsifier(
    *args: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `pacsifier` to its end; `env` is added to the environment. The exit status is the caller's to judge."""
    return subprocess.run(
        pacsifier_argv(*args),
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


# --- Storage SCPs ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def start_storescp(folder: Path, aet: str, port: int) -> Iterator[Path]:
    """Run DCMTK's storescp, which takes every syntax as it comes; yields where the files come."""
    received = _made(folder / "received")
    argv = [find_binary("storescp"), "-aet", aet, "+xa", "+B", "-od", str(received), str(port)]
    process = _spawn(argv, folder, True)
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None and time.monotonic() < deadline, "storescp does not listen"
            time.sleep(0.02)
        yield received
    finally:
        process.kill()
        process.wait(10)


# --- the raw Storage SCP -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Received:
    """One object as it came over the wire: `data_set` is every byte of it, in `transfer_syntax`."""

    sop_uid: str
    sop_class: str
    transfer_syntax: str
    data_set: bytes
    calling_aet: str


class RawScp:
    """A Storage SCP in a thread that keeps the bytes it gets, by pynetdicom; a context manager.

    It takes every storage class that pynetdicom knows and `more_classes` (private ones), in each context the first
    of `syntaxes` that is offered. `objects` lists what came, in order.
    """

    def __init__(
        self,
        aet: str,
        port: int,
        more_classes: Iterable[str] = (),
        syntaxes: Sequence[str] = ONE_AT_A_TIME,
    ) -> None:
        self.aet, self.port = aet, port
        self.more_classes, self.syntaxes = tuple(more_classes), list(syntaxes)
        self.objects: list[Received] = []

    def __enter__(self) -> RawScp:
        from pynetdicom import AE, AllStoragePresentationContexts, evt

        entity = AE(ae_title=self.aet)
        entity.maximum_pdu_size = 0
        entity.maximum_associations = 20
        known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
        for sop_class in dict.fromkeys((*known, *self.more_classes)):
            _register_storage_class(sop_class)
            entity.add_supported_context(sop_class, self.syntaxes)
        entity.add_supported_context("1.2.840.10008.1.1")
        self._server = entity.start_server(
            (LOOPBACK, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)]
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def _keep(self, event: Any) -> int:
        self.objects.append(
            Received(
                sop_uid=str(event.request.AffectedSOPInstanceUID),
                sop_class=str(event.request.AffectedSOPClassUID),
                transfer_syntax=str(event.context.transfer_syntax),
                data_set=event.request.DataSet.getvalue(),
                calling_aet=event.assoc.requestor.ae_title,
            )
        )
        return 0x0000


def _register_storage_class(sop_class: str) -> None:
    """Tell pynetdicom that objects of this class are stored, where it does not know."""
    from pynetdicom.service_class import StorageServiceClass
    from pynetdicom.sop_class import register_uid, uid_to_service_class

    if uid_to_service_class(sop_class) is not StorageServiceClass:
        register_uid(sop_class, f"Storage_{sop_class.replace('.', '_')}", StorageServiceClass)


def parse(transfer_syntax: str, data_set: bytes) -> Any:
    """Return what was captured as a pydicom data set (not for the deflated syntax)."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    syntax = UID(transfer_syntax)
    return read_dataset(io.BytesIO(data_set), syntax.is_implicit_VR, syntax.is_little_endian)


def capture(server: Server, hospital: Hospital) -> dict[str, tuple[str, bytes]]:
    """Return what the PACS sends for each instance of the hospital: SOP Instance UID -> (syntax, data set).

    The data set is what follows the file meta information in a file that was saved bit by bit.
    """
    classes = {record.sop_class for record in hospital.records}
    with RawScp(RAW_AET, server.peers[RAW_AET][1], classes) as receiver:
        move_studies(server, hospital.by_study, RAW_AET)
    captured = {each.sop_uid: (each.transfer_syntax, each.data_set) for each in receiver.objects}
    assert len(captured) == len(receiver.objects), "the PACS sent an instance twice"
    assert captured.keys() == hospital.by_sop.keys(), "the PACS did not send what it was asked for"
    return captured
