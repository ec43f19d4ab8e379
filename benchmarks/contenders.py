"""Ways to get a query's images out of a PACS, each as `prepare` (not timed) and `fetch` (timed).

They all ask the same PACS for the same patients and write below a folder of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacs.servers import Record, Server, find_binary

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.identifiers import encode_identifier
from pacsifier.disk.durable import wait_until_on_disk
from pacsifier.query import ATTRIBUTES, INFO_COLUMNS
from pacsifier.transfer.find.series import SERIES_RETURN_KEYS
from pacsifier.transfer.find.studies import STUDY_RETURN_KEYS

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True)
class Work:
    """What is to be fetched: the patients of some records, from one PACS."""

    server: Server
    records: Sequence[Record]
    folder: Path  # that holds just these files
    associations: int = 2

    @property
    def patients(self) -> list[str]:
        return sorted({record.patient_id for record in self.records})

    @property
    def series(self) -> dict[tuple[str, str], int]:
        """Study and Series Instance UID -> number of instances."""
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for record in self.records:
            counts[record.study_uid, record.series_uid] += 1
        return counts


class FailedError(Exception):
    """A contender did not do the work; the text says what it said."""


class Contender:
    """One way; `why_not` tells why it cannot run here, "" where it can."""

    name = ""
    why_not = ""
    checks_places = False
    re_encodes = False

    def __init__(self, scratch: Path) -> None:
        self.scratch = self.folder = scratch

    def prepare(self, work: Work, out: Path) -> None:
        """What is not timed."""

    def fetch(self, work: Work, out: Path) -> None:
        """The work itself."""
        raise NotImplementedError


def run(argv: Sequence[object], folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> None:
    """Runs a command to its end; its output goes to a file that is shown when it fails."""
    with (folder / "output.log").open("wb") as log:
        ended = subprocess.run(
            [str(each) for each in argv], check=False, cwd=folder, stdout=log, stderr=log, env=environment
        )
    if ended.returncode:
        raise FailedError(
            f"{argv[0]} ended with {ended.returncode}:\n{(folder / 'output.log').read_text()[-3000:]}"
        )


class Pacsifier(Contender):
    """The command of this tree."""

    name = "pacsifier"
    checks_places = True
    options: tuple[str, ...] = ("--save", "--info")

    def prepare(self, work: Work, out: Path) -> None:
        folder = self.folder = new_folder(self.scratch)
        work.server.write_config(folder / "config.json")
        (folder / "query.csv").write_text("PatientID\n" + "\n".join(work.patients) + "\n")

    def fetch(self, work: Work, out: Path) -> None:
        folder = self.folder
        files = (
            "--config",
            folder / "config.json",
            "--queryfile",
            folder / "query.csv",
            "--out_directory",
            out,
        )
        argv = [sys.executable, "-m", "pacsifier.cli.retrieve", *self.options, *files]
        run([*argv, "--associations", work.associations], folder)


class Resume(Pacsifier):
    """The same over a tree that is complete."""

    name = "pacsifier --resume"
    options = ("--save", "--info", "--resume")

    def prepare(self, work: Work, out: Path) -> None:
        super().prepare(work, out)
        first = Pacsifier(self.scratch)
        first.prepare(work, out)
        first.fetch(work, out)


class Pacsifier4(Pacsifier):
    """The same over four associations."""

    name = "pacsifier, 4 assoc."

    def fetch(self, work: Work, out: Path) -> None:
        super().fetch(replace(work, associations=4), out)


class PacsifierGet(Pacsifier):
    """The same by C-GET."""

    name = "pacsifier, C-GET"
    # getscu proposes uncompressed syntaxes beside every compressed one, and Orthanc takes them for RLE.
    re_encodes = True
    options = ("--save", "--info", "--retrieve_method", "get")


class OwnCpu(Pacsifier):
    """The same; `cpu_s` of the process itself, without DCMTK's tools."""

    cpu_s = 0.0

    def fetch(self, work: Work, out: Path) -> None:
        folder = self.folder
        (folder / "measure.py").write_text(_MEASURE)
        named = ("config.json", "query.csv", out)
        files = [each for pair in zip(("-c", "-q", "-d"), named, strict=True) for each in pair]
        run([sys.executable, "measure.py", *self.options, *files], folder)
        self.cpu_s = float((folder / "cpu").read_text())


class Info(Pacsifier):
    """`--info` alone."""

    options = ("--info",)


class Raw(Contender):
    """The same binaries driven by hand at their best: find, then storescp and movescu with many identifiers."""

    name = "raw DCMTK"
    with_move = True

    def prepare(self, work: Work, out: Path) -> None:
        folder = self.folder = new_folder(self.scratch)
        _write(folder, "study", ({**_STUDY_KEYS, "PatientID": patient} for patient in work.patients))
        studies = sorted({study for study, _ in work.series})
        _write(folder, "series", ({**_SERIES_KEYS, "StudyInstanceUID": study} for study in studies))
        self._shares(work, folder)
        classes = negotiation.receiver_classes(sorted({record.sop_class for record in work.records}))
        contexts = [(uid, negotiation.EVERY_SYNTAX) for uid in classes]
        (folder / "receiver.cfg").write_text(negotiation.config_text(contexts))
        for each in ("found", "received"):
            (folder / each).mkdir()

    def _shares(self, work: Work, folder: Path) -> None:
        """Identifiers in shares of equal numbers of instances; a study each, or a series where studies are few."""
        by_study: dict[str, int] = defaultdict(int)
        for (study, _), number in work.series.items():
            by_study[study] += number
        if len(by_study) >= 4 * work.associations:
            sizes = {(study, ""): number for study, number in by_study.items()}
        else:
            sizes = dict(work.series)
        shares: list[list[dict[str, str]]] = [[] for _ in range(work.associations)]
        totals = [0] * work.associations
        for (study, series), number in sorted(sizes.items(), key=lambda item: -item[1]):
            least = totals.index(min(totals))
            totals[least] += number
            level = {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": series} if series else {}
            shares[least].append({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study, **level})
        for number, share in enumerate(shares):
            _write(folder, f"move{number}", share)

    def fetch(self, work: Work, out: Path) -> None:
        folder = self.folder
        for level in ("study", "series"):
            self._scu("findscu", ["-S", "-X", "-od", "found"], work.server, folder, level).wait()
        if not self.with_move:
            return
        port = str(work.server.our_port)
        options = ("--fork", "+B", "+uf", "-pdu", "131072", "-aet", work.server.our_aet)
        files = ("-xf", "receiver.cfg", negotiation.NAME, "-od", "received", port)
        receiver = _start([find_binary("storescp"), *options, *files], folder)
        try:
            await_port(work.server.our_port)
            movers = [
                self._scu(
                    "movescu", ["-S", "-aem", work.server.our_aet], work.server, folder, f"move{number}"
                )
                for number in range(work.associations)
            ]
            if any(mover.wait() for mover in movers):
                raise FailedError("movescu failed")
        finally:
            receiver.terminate()
            receiver.wait()
        (folder / "received").rename(out)
        wait_until_on_disk(out, out.iterdir())

    def _scu(
        self, name: str, options: Sequence[str], server: Server, folder: Path, query: str
    ) -> subprocess.Popen[bytes]:
        peer = ("-aet", server.our_aet, "-aec", server.aet, server.address, str(server.port))
        names = sorted(path.name for path in folder.glob(f"{query}_*.dcm"))
        (folder / f"{query}.args").write_text("\n".join((*options, *peer, *names)) + "\n")
        return _start([find_binary(name), f"@{query}.args"], folder)


class RawInfo(Raw):
    """Only the two hierarchical finds by hand."""

    name = "raw findscu"
    with_move = False


class Copy(Contender):
    """`cp -r` of the files that the PACS was filled with."""

    name = "cp -r"

    def fetch(self, work: Work, out: Path) -> None:
        run(["cp", "-r", "--reflink=never", work.folder, out], self.scratch)


class Pynetdicom(Contender):
    """A straightforward script with pynetdicom: find studies, then C-MOVE or C-GET each study."""

    verb = ""
    re_encodes = True

    def prepare(self, work: Work, out: Path) -> None:
        server = work.server
        (self.scratch / f"{self.verb}.json").write_text(
            json.dumps(
                {
                    "verb": self.verb,
                    "peer": [server.address, server.port, server.aet],
                    "us": [server.our_aet, server.our_port],
                    "patients": work.patients,
                    "classes": sorted({record.sop_class for record in work.records}),
                    "syntaxes": sorted({record.transfer_syntax for record in work.records}),
                }
            )
        )

    def fetch(self, work: Work, out: Path) -> None:
        script = Path(__file__).with_name("pynetdicom_script.py")
        run([sys.executable, script, self.scratch / f"{self.verb}.json", out], self.scratch)


class PynetdicomMove(Pynetdicom):
    name = "pynetdicom C-MOVE"
    verb = "move"


class PynetdicomGet(Pynetdicom):
    name = "pynetdicom C-GET"
    verb = "get"


class Peer(Contender):
    """PACSIFIER 1.0.0 from the package index, in an environment of its own."""

    name = "PACSIFIER 1.0.0"
    checks_places = True

    def __init__(self, scratch: Path, environment: Path | None) -> None:
        super().__init__(scratch)
        self.environment = environment
        if environment is None:
            self.why_not = "--peer was not given"

    def prepare(self, work: Work, out: Path) -> None:
        folder = self.folder = new_folder(self.scratch)
        work.server.write_config(folder / "config.json")
        (folder / "query.csv").write_text("PatientID\n" + "\n".join(work.patients) + "\n")

    def fetch(self, work: Work, out: Path) -> None:
        assert self.environment is not None
        folder = self.folder
        files = (
            "--config",
            folder / "config.json",
            "--queryfile",
            folder / "query.csv",
            "--out_directory",
            out,
        )
        plain = {
            name: value for name, value in os.environ.items() if name not in {"TCP_NODELAY", "PYTHONPATH"}
        }
        run([self.environment / "bin/pacsifier", "--save", "--info", *files], folder, plain)


_MEASURE = """
import resource, sys
from pacsifier.cli.retrieve import main
status = main()
used = resource.getrusage(resource.RUSAGE_SELF)
open("cpu", "w").write(str(used.ru_utime + used.ru_stime))
sys.exit(status)
"""

# What `pacsifier --info` writes is asked for by hand, too: other attributes cost a PACS other amounts of work.
_STUDY_KEYS = {"QueryRetrieveLevel": "STUDY", **dict.fromkeys(STUDY_RETURN_KEYS, "")}
_SERIES_KEYS = {
    "QueryRetrieveLevel": "SERIES",
    **dict.fromkeys(SERIES_RETURN_KEYS, ""),
    **{column: "" for column in INFO_COLUMNS if ATTRIBUTES[column].level == "IMAGE"},
}


def _write(folder: Path, query: str, identifiers: Sequence[Mapping[str, str]] | object) -> None:
    for number, keys in enumerate(identifiers):  # type: ignore[arg-type, var-annotated]
        (folder / f"{query}_{number:06d}.dcm").write_bytes(encode_identifier(keys))


def _start(argv: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, cwd=folder, stdin=null, stdout=null, stderr=null, env=ENVIRONMENT)


def await_port(port: int) -> None:
    """Waits until somebody listens on a port of 127.0.0.1."""
    import socket

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    sys.exit(f"nothing listens on port {port}")


def new_folder(scratch: Path) -> Path:
    """A new folder, so that nothing is removed between runs (see `retrieve.py`)."""
    return Path(tempfile.mkdtemp(dir=scratch))
