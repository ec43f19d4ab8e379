"""Records anew what the DCMTK of this machine says: its tools against a real dcmqrscp and a real Orthanc.

`.venv/bin/python tests/transcripts/record.py` writes into the folder of that version beside this file,
`record.py FOLDER` elsewhere. Paths, hosts and process numbers are taken out of the logs, nothing else;
`test_transcript.py` says what must be read from them, whatever the version. `scripts/test-systems` has other versions.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from pacs.servers import (  # noqa: E402
    IMPLICIT_LE,
    LOOPBACK,
    OUR_AET,
    RLE,
    Hospital,
    Server,
    build_hospital,
    find_binary,
    free_port,
    make_peers,
    start_dcmqrscp,
    start_orthanc,
)

from pacsifier.dcmtk import negotiation  # noqa: E402
from pacsifier.dcmtk.identifiers import encode_identifier  # noqa: E402
from pacsifier.dcmtk.storescp import Receiver  # noqa: E402
from pacsifier.dcmtk.toolbox import Toolbox  # noqa: E402

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.22"
OBI_WAN, LEIA = "00123", "124588"
# What DCMTK says of itself and of the association: not read, and long.
_NOISE = re.compile(
    r"D: (\$dcmtk|$|Dcm|Request Parameters|=+ (BEGIN|END) A-|(Our|Their) |[\w ]*Application |Presentation Contexts"
    r"|  (?!Filename: |SOP Class UID: )|\w+ Extended |\w*\s?User Identity|setting network|DUL"
    r"|Constructing|PDU |Parsing|Association Param)"
)
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@functools.cache
def _target() -> Path:
    """The folder that the logs go to, made."""
    if sys.argv[1:]:
        folder = Path(sys.argv[1]).absolute()
    else:
        told = subprocess.run([find_binary("findscu"), "--version"], capture_output=True, check=True).stdout
        folder = HERE / told.split()[2].decode("ascii").removeprefix("v")
    folder.mkdir(exist_ok=True)
    return folder


def run(name: str, tool: str, folder: Path, arguments: Sequence[str]) -> None:
    """Run a tool in `folder` and keep what it says as `<name>.log`."""
    (folder / "answers").mkdir(exist_ok=True)
    ended = subprocess.run(
        [find_binary(tool), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        check=False,
    )
    text = ended.stdout.decode("latin-1")
    for pattern, kept in (
        (rf"{re.escape(str(folder.parent))}\S*", "FOLDER"),
        (r"Host(name)?: \S+", r"Host\1: HOST"),
        (rf"{re.escape(os.uname().nodename)}", "HOST"),
        (rf"\b{LOOPBACK}:\d+", "HOST:PORT"),
    ):
        text = re.sub(pattern, kept, text)
    kept = [line for line in text.splitlines(keepends=True) if not _NOISE.match(line)]
    (_target() / f"{name}.log").write_text("".join(kept), encoding="latin-1")
    sys.stdout.write(f"{name}: {len(kept)} lines, exit {ended.returncode}\n")


def peer(server: Server, calling: str = OUR_AET, called: str | None = None) -> list[str]:
    return ["-aet", calling, "-aec", called or server.aet, LOOPBACK, str(server.port)]


def identifiers(folder: Path, wanted: Sequence[Mapping[str, str]]) -> list[str]:
    names = []
    for number, keys in enumerate(wanted):
        (folder / f"q{number:06d}.dcm").write_bytes(encode_identifier(keys))
        names.append(f"q{number:06d}.dcm")
    return names


def echos(server: Server, folder: Path) -> None:
    """The C-ECHO of a caller that is known, one under a wrong name, and one of a stranger."""
    kind = server.kind
    run(f"echo_{kind}", "echoscu", folder, ["-v", *peer(server)])
    run(f"echo_{kind}_rejected", "echoscu", folder, ["-v", *peer(server, called="NOT_ITS_AET")])
    run(f"echo_{kind}_stranger", "echoscu", folder, ["-v", *peer(server, calling="STRANGER")])


def finds(server: Server, folder: Path) -> None:
    kind = server.kind
    fixed = ["-v", "-S", "-X", "-od", "answers"]
    base = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
    wanted = [{**base, "PatientID": each} for each in (OBI_WAN, "NOBODY", LEIA)]
    run(f"find_{kind}", "findscu", folder, [*fixed, *peer(server), *identifiers(folder, wanted)])
    bad = [
        {**base, "PatientID": OBI_WAN},
        {**base, "QueryRetrieveLevel": "NOLEVEL"},
        {**base, "PatientID": LEIA},
    ]
    run(f"find_{kind}_failed", "findscu", folder, [*fixed, *peer(server), *identifiers(folder, bad)])
    names = identifiers(folder, wanted)
    run(f"find_{kind}_rejected", "findscu", folder, [*fixed, *peer(server, called="NOT_ITS_AET"), *names])
    if kind == "orthanc":
        run("find_orthanc_stranger", "findscu", folder, [*fixed, *peer(server, calling="STRANGER"), *names])


def moves(server: Server, folder: Path, hospital: Hospital) -> None:
    kind = server.kind
    studies = dict.fromkeys(
        record.study_uid
        for patient in (OBI_WAN, LEIA)
        for record in hospital.by_patient[patient]
        if record.sop_class in (CT, SR)
    )
    wanted = [{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid} for uid in studies]
    names = identifiers(folder, wanted)

    def move(name: str, destination: str) -> None:
        arguments = ["-d", "-S", "-aem", destination, *peer(server), *names]
        run(f"move_{kind}{name}", "movescu", folder, arguments)

    with Toolbox() as toolbox:
        staging = folder / "staging"
        staging.mkdir()
        with Receiver(toolbox, staging, OUR_AET, server.our_port, []):
            move("", OUR_AET)
            identifiers(folder, [{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.4"}])
            move("_nothing_first", OUR_AET)
        identifiers(folder, wanted)
        move("_unreachable", OUR_AET)
        move("_unknown_destination", "NOWHERE")
        with _only(CT, toolbox, staging, server.our_port):
            move("_refused_class", OUR_AET)


def gets(server: Server, folder: Path, hospital: Hospital) -> None:
    """A study of two SOP classes, one that is compressed, one that does not exist; under a wrong name."""
    base = ["-d", "-S", "+B", "-od", "answers"]
    mixed = next(record for record in hospital.by_patient[OBI_WAN] if record.sop_class == SR).study_uid
    compressed = next(record for record in hospital.records if record.transfer_syntax == RLE).study_uid
    for name, uid in (("", mixed), ("_compressed", compressed), ("_nothing", "1.2.3.4")):
        names = identifiers(folder, [{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid}])
        run(f"get_{server.kind}{name}", "getscu", folder, [*base, *peer(server), *names])
    run(f"get_{server.kind}_rejected", "getscu", folder, [*base, *peer(server, called="NOT_ITS_AET"), *names])


class _only(Receiver):  # noqa: N801
    """A receiver of one SOP class only."""

    def __init__(self, sop_class: str, toolbox: Toolbox, staging: Path, port: int) -> None:
        super().__init__(toolbox, staging, OUR_AET, port, [])
        self.sop_classes = (sop_class,)


def stores(server: Server, folder: Path, hospital: Hospital) -> None:
    """Against a receiver that knows MR only: one taken, one refused, one not readable, one taken."""
    records = hospital.by_patient[OBI_WAN]
    images = [record for record in records if record.sop_class == MR]
    report = next(record for record in records if record.sop_class == SR)
    (folder / "text").write_text("no DICOM at all\n")
    (folder / "cut").write_bytes(images[1].path.read_bytes()[:-500])
    for number, path in enumerate(
        (images[0].path, report.path, folder / "text", folder / "cut", images[2].path)
    ):
        (folder / f"f{number:07d}").symlink_to(path)
    names = [f"f{number:07d}" for number in range(5)]
    syntax = negotiation.UNCOMPRESSED[:1]
    (folder / "sender.cfg").write_text(negotiation.config_text([(MR, syntax), (SR, syntax)]))
    fixed = ["-v", "-nh", "-xf", "sender.cfg", negotiation.NAME]
    if server.kind == "orthanc":
        run("store_orthanc", "storescu", folder, [*fixed, *peer(server), *names])
    with Toolbox() as toolbox:
        staging = folder / "staging"
        with _only(MR, toolbox, staging, server.our_port):
            arguments = [*fixed, "-aet", "US", "-aec", OUR_AET, LOOPBACK, str(server.our_port), *names]
            run("store_refused_class", "storescu", folder, arguments)
        (folder / "sender.cfg").write_text(negotiation.config_text([(MR, (IMPLICIT_LE,))]))
        with _only(MR, toolbox, staging, server.our_port):
            run("store_encoded", "storescu", folder, arguments[: -len(names) + 1])
    run("store_unreachable", "storescu", folder, arguments)


def statuses(folder: Path, hospital: Hospital) -> None:
    """How the tools spell the final statuses that dcmqrscp and Orthanc do not send."""
    from pynetdicom import AE, evt

    wanted = [0xA700, 0xA900, 0xC001, 0xFE00, 0x0122]
    stored = [0xB000, 0xB007, 0xA700, 0xA900, 0xC000, 0x0117, 0x0000, None]
    finding, storing = iter(wanted), iter(stored)

    def on_store(event: Any) -> int:
        status = next(storing)
        if status is None:
            event.assoc.abort()
        return status or 0

    entity = AE(ae_title="ANY")
    for uid in ("1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1", MR):
        entity.add_supported_context(uid)
    port = free_port()
    handlers = [
        (evt.EVT_C_ECHO, lambda _: 0x0122),
        (evt.EVT_C_FIND, lambda _: iter([(next(finding), None)])),
        (evt.EVT_C_STORE, on_store),
    ]
    server = entity.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
    try:
        there = ["-aet", OUR_AET, "-aec", "ANY", LOOPBACK, str(port)]
        run("echo_failed", "echoscu", folder, ["-v", *there])
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
        names = identifiers(folder, [keys] * len(wanted))
        run("get_not_offered", "getscu", folder, ["-d", "-S", *there, *names[:1]])
        run("find_statuses", "findscu", folder, ["-v", "-S", "-X", "-od", "answers", *there, *names])
        images = [record.path for record in hospital.records if record.sop_class == MR]
        names = [f"s{number:07d}" for number in range(len(stored) + 1)]
        for name, path in zip(names, images, strict=False):
            (folder / name).symlink_to(path)
        (folder / "sender.cfg").write_text(negotiation.config_text([(MR, negotiation.UNCOMPRESSED[:1])]))
        fixed = ["-v", "-nh", "-xf", "sender.cfg", negotiation.NAME]
        run("store_statuses", "storescu", folder, [*fixed, *there, *names])
    finally:
        server.shutdown()


def media(folder: Path, hospital: Hospital) -> None:
    """dcmmkdir, which lists one file, warns of one and refuses the others."""
    folder.mkdir()
    changes: dict[str, dict[str, str]] = {
        "GOOD": {},
        "OTHER": {"PatientName": "Somebody^Else"},
        "CLASS": {"SOPClassUID": "1.3.12.2.1107.5.9.1"},
        "NONUMBER": {"SeriesNumber": ""},
        "NOID": {"PatientID": ""},
        "CUT": {},
    }
    for number, (name, values) in enumerate(changes.items(), 1):
        dataset = dcmread(next(record.path for record in hospital.records if record.sop_class == MR))
        dataset.update(values)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        dataset.save_as(folder / name)
    (folder / "CUT").write_bytes((folder / "CUT").read_bytes()[:-100])
    run("media_refused", "dcmmkdir", folder, ["-Pmi", "-nb", "+Nrs", *changes])


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hospital = build_hospital(folder / "hospital")
        peers = make_peers()
        with (
            start_dcmqrscp(folder / "dcmqrscp", hospital.files, peers) as dcmqrscp,
            start_orthanc(folder / "orthanc", hospital.files, peers) as orthanc,
        ):
            for server in (dcmqrscp, orthanc):
                work = folder / f"work_{server.kind}"
                work.mkdir()
                echos(server, work)
                finds(server, work)
                moves(server, work, hospital)
                gets(server, work, hospital)
                stores(server, work, hospital)
            statuses(work, hospital)
            media(folder / "media", hospital)
            nobody = ["-aet", OUR_AET, "-aec", "ANY", LOOPBACK, str(free_port())]
            run("echo_unreachable", "echoscu", work, ["-v", *nobody])
            run("find_unreachable", "findscu", work, ["-v", "-S", "-X", *nobody, "q000000.dcm"])
            run("get_unreachable", "getscu", work, ["-d", "-S", *nobody, "q000000.dcm"])
            run("move_unreachable_pacs", "movescu", work, ["-d", "-S", "-aem", "X", *nobody, "q000000.dcm"])


if __name__ == "__main__":
    main()
