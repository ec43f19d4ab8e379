"""What TLS costs: one series of 200 images of 512x512, the raw binaries beside the forwarder, in plain beside both.

    python benchmarks/tls.py [--rounds N] [--images N]

Two Orthancs hold the same series, one in plain, one by TLS (both ways). All contenders alternate, round by round; the
medians of the wall time, of the CPU time on this side (ours and the tools'), and of the ratios of each round to the
first of their group are printed. What came is counted every time. movescu and getscu of DCMTK 3.6.7 have no TLS: there
the forwarder stands beside plain only.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from pacs.secure import Office, Paper, start_secure_orthanc  # noqa: E402
from pacs.servers import OUR_AET, OrthancServer, find_binary, make_peers, start_orthanc  # noqa: E402

from pacsifier.config import PacsConfig, Tls  # noqa: E402
from pacsifier.dcmtk.movescu import Move, MoveRequest  # noqa: E402
from pacsifier.dcmtk.pacs import Pacs  # noqa: E402
from pacsifier.dcmtk.storescp import Receiver  # noqa: E402
from pacsifier.dcmtk.storescu import Sendable, store  # noqa: E402
from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS  # noqa: E402
from pacsifier.dcmtk.toolbox import Toolbox  # noqa: E402

STUDY, SERIES, MR = "1.2.826.0.1.1", "1.2.826.0.1.1.1", "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LE = "1.2.840.10008.1.2.1"


@dataclass
class Contender:
    """A way to do one thing; `work` returns how many came or were answered."""

    group: str
    name: str
    work: Callable[[], int]
    expected: int
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        began, spent = time.perf_counter(), cpu_s()
        found = self.work()
        self.wall_s.append(time.perf_counter() - began)
        self.cpu_s.append(cpu_s() - spent)
        if found != self.expected:
            sys.exit(f"{self.group}, {self.name}: {found} of {self.expected}")


def cpu_s() -> float:
    """The CPU time of this process, its threads, and the tools that have ended."""
    tools = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + tools.ru_utime + tools.ru_stime


def write_series(folder: Path, number: int) -> list[Path]:
    """Images of noise that nobody can compress on the way."""
    from pydicom.dataset import Dataset, FileMetaDataset

    paths = []
    for index in range(number):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = MR, f"{SERIES}.{index + 1}"
        image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
        image.PatientID, image.PatientName, image.Modality = "BENCH", "BENCH^TLS", "MR"
        image.SeriesNumber, image.InstanceNumber = 1, index + 1
        image.Rows = image.Columns = 512
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelRepresentation, image.SamplesPerPixel = 0, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.PixelData = os.urandom(2 * 512 * 512)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = EXPLICIT_LE
        image.file_meta.MediaStorageSOPClassUID = MR
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        paths.append(folder / f"{index:04d}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


class Scene:
    """The two PACS and what goes on with them; each piece of work has a folder of its own."""

    def __init__(
        self, folder: Path, toolbox: Toolbox, files: list[Path], ours: Paper, office: Office
    ) -> None:
        self.folder = folder
        self.toolbox = toolbox
        self.files = files
        self.ours = ours
        self.office = office
        self._runs = 0

    def new_folder(self) -> Path:
        self._runs += 1
        folder = self.folder / f"run{self._runs:05d}"
        folder.mkdir()
        return folder

    def config(self, server: OrthancServer, tls: bool) -> PacsConfig:
        secure = Tls(self.office.ca, self.ours.cert, self.ours.key) if tls else None
        return PacsConfig(
            *(server.address, server.port, server.aet, OUR_AET, OUR_AET, server.our_port, 30, 0, secure)
        )

    def raw(self, tool: str, server: OrthancServer, tls: bool, *options: object) -> str:
        secure = ["+tls", self.ours.key, self.ours.cert, "+cf", self.office.ca] if tls else []
        peer = ["-aet", OUR_AET, "-aec", server.aet, server.address, server.port]
        argv = [find_binary(tool), "-v", *secure, *peer, *options]
        done = subprocess.run(
            [*map(str, argv)],
            capture_output=True,
            text=True,
            env={**os.environ, "TCP_NODELAY": "1"},
            cwd=self.new_folder(),
            check=True,
        )
        return done.stdout + done.stderr

    def raw_find(self, server: OrthancServer, tls: bool) -> int:
        keys = ["QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={STUDY}", f"SeriesInstanceUID={SERIES}"]
        keys.append("SOPInstanceUID")
        output = self.raw("findscu", server, tls, "-S", *(word for key in keys for word in ("-k", key)))
        return output.count("(Pending)")

    def find(self, server: OrthancServer, tls: bool) -> int:
        keys = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": ""}
        pacs = Pacs(self.config(server, tls), self.toolbox, self.new_folder())
        return len(pacs.find("IMAGE", [keys])[0].answers)

    def echo(self, server: OrthancServer, tls: bool) -> int:
        Pacs(self.config(server, tls), self.toolbox, self.new_folder()).echo()
        return 1

    def raw_store(self, server: OrthancServer, tls: bool) -> int:
        return self.raw("storescu", server, tls, *self.files).count("Received Store Response (Success)")

    def store(self, server: OrthancServer, tls: bool) -> int:
        sent = [Sendable(path, MR, EXPLICIT_LE) for path in self.files]
        config = self.config(server, tls)
        ends = store(config, self.toolbox, self.new_folder(), sent, DEFAULT_TIMEOUTS)
        return sum(end.stored for _, end in ends)

    def get(self, server: OrthancServer, tls: bool) -> int:
        staging, received = self.new_folder(), self.new_folder()
        pacs = Pacs(self.config(server, tls), self.toolbox, staging)
        self._waited(pacs.get(MoveRequest((STUDY,), (SERIES,)), received))
        return len([*received.iterdir()])

    def move(self, server: OrthancServer, tls: bool, *, plain_images: bool = False) -> int:
        config, staging = self.config(server, tls), self.new_folder()
        if config.tls and plain_images:
            config = replace(config, tls=replace(config.tls, plain_images=True))
        pacs = Pacs(config, self.toolbox, staging)
        with Receiver(
            *(self.toolbox, staging, OUR_AET, config.move_port, [MR]), tls=config.receiver_tls
        ) as receiver:
            self._waited(pacs.move([MoveRequest((STUDY,), (SERIES,))], OUR_AET))
            return len([*receiver.folder.iterdir()])

    def _waited(self, move: Move) -> None:
        while not move.ended:
            move.poll()
            time.sleep(0.002)
        move.close()


def main() -> int:
    """Runs the rounds and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tls-bench-")))
        (folder / "files").mkdir()
        files = write_series(folder / "files", arguments.images)
        office = Office(folder / "office")
        ours, theirs = office.issue("ours", "us.example.org"), office.issue("pacs", "127.0.0.1")
        plain = stack.enter_context(start_orthanc(folder / "plain", files, make_peers()))
        secure = stack.enter_context(
            start_secure_orthanc(folder / "secure", files, make_peers(), office, theirs)
        )
        toolbox = stack.enter_context(Toolbox())
        scene = Scene(folder, toolbox, files, ours, office)
        contenders = _contenders(scene, plain, secure, len(files))
        for _ in range(arguments.rounds):
            for each in contenders:
                each.run()
        _print(contenders)
    return 0


def _contenders(scene: Scene, plain: OrthancServer, secure: OrthancServer, number: int) -> list[Contender]:
    def make(
        group: str, name: str, work: Callable[..., int], server: OrthancServer, expected: int
    ) -> Contender:
        return Contender(group, name, lambda: work(server, server is secure), expected)

    raw, through = "raw binary, its own TLS", "through the forwarder"
    return [
        make("C-ECHO", "plain", scene.echo, plain, 1),
        make("C-ECHO", through, scene.echo, secure, 1),
        make("C-FIND of the images", "raw binary, plain", scene.raw_find, plain, number),
        make("C-FIND of the images", raw, scene.raw_find, secure, number),
        make("C-FIND of the images", "ours, plain", scene.find, plain, number),
        make("C-FIND of the images", through, scene.find, secure, number),
        make("upload (C-STORE)", "raw binary, plain", scene.raw_store, plain, number),
        make("upload (C-STORE)", raw, scene.raw_store, secure, number),
        make("upload (C-STORE)", "ours, plain", scene.store, plain, number),
        make("upload (C-STORE)", through, scene.store, secure, number),
        make("C-MOVE", "plain", scene.move, plain, number),
        make("C-MOVE", f"{through}, images to storescp +tls", scene.move, secure, number),
        make("C-GET", "plain", scene.get, plain, number),
        make("C-GET", through, scene.get, secure, number),
    ]


def _print(contenders: list[Contender]) -> None:
    first: dict[str, Contender] = {}
    for each in contenders:
        base = first.setdefault(each.group, each)
        print(f"{each.group:21} {each.name:45}", end="")
        for what, mine, others in (("wall", each.wall_s, base.wall_s), ("CPU", each.cpu_s, base.cpu_s)):
            ratios = [one / another for one, another in zip(mine, others, strict=True)]
            print(
                f" {what} {1000 * statistics.median(mine):6.0f} ms x{statistics.median(ratios):.2f}", end=""
            )
        print()


if __name__ == "__main__":
    sys.exit(main())
