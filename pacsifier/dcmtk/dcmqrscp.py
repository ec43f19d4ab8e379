"""DCMTK's dcmqrscp as a small PACS to try everything against; not for real data."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.storescp import check_port
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import ToolError

AE_TITLE = "DEMO_PACS"
_ARCHIVE = "archive"


@dataclass(frozen=True)
class Peer:
    """An AE title that may retrieve, with the address to which the demo PACS sends its objects."""

    ae_title: str
    host: str
    port: int


class DemoPacs:
    """dcmqrscp over the DICOM files of a folder, as a context manager.

    It takes compressed objects only where `-xf` names one transfer syntax per SOP class, so the files of a class must
    share their syntax: `syntaxes` names those other than Explicit VR Little Endian.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        folder: Path,
        port: int,
        peers: Sequence[Peer],
        *,
        syntaxes: Mapping[str, str],
    ) -> None:
        self._toolbox = toolbox
        self._folder = folder
        self._port = port
        self._peers = peers
        self._syntaxes = syntaxes
        self._process: Process | None = None

    def fill(self, files: Sequence[Path]) -> None:
        """Copies the files into the archive and registers them (dcmqridx).

        Raises:
            ToolError: dcmqridx refused them.
        """
        archive = self._folder / _ARCHIVE
        if archive.exists():
            shutil.rmtree(archive)
        archive.mkdir()
        names = []
        for number, path in enumerate(files):
            names.append(f"{_ARCHIVE}/{number:06d}.dcm")
            shutil.copyfile(path, self._folder / names[-1])
        process = self._toolbox.start("dcmqridx", [_ARCHIVE, *names], self._folder, "dcmqridx")
        if process.wait(300) != 0:
            raise ToolError(f"dcmqridx failed: {'; '.join(process.last_lines())}")

    def __enter__(self) -> DemoPacs:
        check_port(self._port, "--port")
        (self._folder / "dcmqrscp.cfg").write_text(self._configuration(), encoding="ascii")
        contexts = [
            (uid, (self._syntaxes.get(uid, negotiation.UNCOMPRESSED[0]),))
            for uid in (*self._syntaxes, *negotiation.storage_classes()[: negotiation.MAX_CONTEXTS - 20])
        ]
        text = negotiation.config_text(
            [*dict(contexts).items(), *_QUERY_CONTEXTS], senders=tuple(dict(contexts))
        )
        (self._folder / "associations.cfg").write_text(text, encoding="ascii")
        arguments = [
            *("-dhl", "-c", "dcmqrscp.cfg", "-xf", "associations.cfg", negotiation.NAME, negotiation.NAME),
            str(self._port),
        ]
        self._process = self._toolbox.start("dcmqrscp", arguments, self._folder, "dcmqrscp")
        self._process.wait_until_it_listens(self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.end()

    def serve(self) -> None:
        """Waits for as long as dcmqrscp runs.

        Raises:
            ToolError: it ended by itself.
        """
        while self._process is not None:
            self._process.check()
            time.sleep(0.2)

    def _configuration(self) -> str:
        hosts = [f"peer{n} = ({p.ae_title}, {p.host}, {p.port})" for n, p in enumerate(self._peers)]
        members = ", ".join(f"peer{number}" for number in range(len(self._peers)))
        return "\n".join(
            [
                *("MaxPDUSize = 131072", "MaxAssociations = 16"),
                *("HostTable BEGIN", *hosts, f"peers = {members}"),
                *("HostTable END", "VendorTable BEGIN", "VendorTable END", "AETable BEGIN"),
                f"{AE_TITLE} {_ARCHIVE} RW (1000000, 65536mb) peers",
                *("AETable END", ""),
            ]
        )


_QUERY_CONTEXTS = [
    (uid, negotiation.UNCOMPRESSED)
    for uid in (
        "1.2.840.10008.1.1",  # Verification
        *(f"1.2.840.10008.5.1.4.1.2.{model}.{verb}" for model in (1, 2) for verb in (1, 2, 3)),
    )
]
