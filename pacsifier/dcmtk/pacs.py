"""`Pacs`: the verbs echo, find, move and get towards one PACS, by DCMTK's echoscu, findscu, movescu and getscu.

Success is read from final statuses in the tools' logs, never from exit statuses: findscu took 100,000 answers well
and then exited 2 because the release failed, and exits 0 after failed requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import confinement, negotiation
from pacsifier.dcmtk.association import association_error
from pacsifier.dcmtk.dictionary import dictionary_text
from pacsifier.dcmtk.findscu import Find, FindResult, listen
from pacsifier.dcmtk.identifiers import Keys, remove_folder, write_identifiers
from pacsifier.dcmtk.movescu import INCOMING, Get, Move, MoveRequest
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.scu import start_scu
from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS, Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import echo_response
from pacsifier.errors import AssociationError, OperationError

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_DICTIONARY = "dictionary.dic"
_DICTIONARY_THERE = f"../{_DICTIONARY}"

Finding = Callable[[str, int, int, int], None]
"""Hears of a running find: its level, how many identifiers were answered to the end, of how many, answers until now."""


class Pacs:
    """One PACS as its config names it; the tools work in folders below `staging`; `finding` hears of running finds."""

    def __init__(
        self,
        config: PacsConfig,
        toolbox: Toolbox,
        staging: Path,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        finding: Finding = lambda *_: None,
    ) -> None:
        self.config = config
        self._finding = finding
        self._toolbox = toolbox
        self._staging = staging
        self._timeouts = timeouts
        self._runs = 0
        (staging / _DICTIONARY).write_text(dictionary_text(), encoding="ascii")

    def echo(self) -> None:
        """Asks for a C-ECHO over an association of its own.

        Raises:
            AssociationError: there was no association, or it ended without an answer.
            OperationError: the answer is not Success.
        """
        folder = self._make_folder("echo")
        process = self._start("echoscu", folder, level="INFO")
        words = echo_response(b"".join(process.follow(self._timeouts.silence_timeout_s)))
        if words is None:
            raise self.no_association(process)
        remove_folder(folder)
        if words != "Success":
            raise OperationError(f"C-ECHO ended with {words!r}")

    def find(
        self, level: str, requests: Sequence[Keys], at_most: int | None = None, associations: int = 1
    ) -> list[FindResult]:
        """Asks all identifiers at one level (STUDY, SERIES, IMAGE; Study Root) over that many associations.

        A failed request is a `FindResult` with a failure, and says nothing of the others. Where one association is not
        admitted beside the others, its requests are lost. After `at_most` answers a request is cancelled; a PACS that
        still goes on is cut off, and with it the requests behind.

        Raises:
            AssociationError: there was no association at all.
        """
        shares = [range(number, len(requests), associations) for number in range(associations)]
        shares = [share for share in shares if share]
        finds = [self._start_find(level, [requests[at] for at in share], at_most) for share in shares]
        listen(
            finds,
            self._timeouts.silence_timeout_s,
            lambda ended, answers: self._finding(level, ended, len(requests), answers),
        )
        results = [FindResult.of_lost("there was no association for it")] * len(requests)
        errors = []
        for find, share in zip(finds, shares, strict=True):
            try:
                for at, result in zip(share, find.results(self.config, self._timeouts), strict=True):
                    results[at] = result
            except AssociationError as error:
                errors.append(error)
        if errors and len(errors) == len(finds):
            raise errors[0]
        return results

    def _start_find(self, level: str, requests: Sequence[Keys], at_most: int | None) -> Find:
        wanted = [{"QueryRetrieveLevel": level, **keys} for keys in requests]
        folder = self._make_folder("find")
        names = write_identifiers(folder, wanted)
        (folder / "answers").mkdir()
        cancel = ["--cancel", str(at_most)] if at_most else []
        options = ["-S", "-X", "-od", "answers", *cancel]
        process = self._start("findscu", folder, options, names, level="INFO", dictionary=_DICTIONARY_THERE)
        return Find(process, folder, wanted, at_most)

    def move(self, requests: Sequence[MoveRequest], destination: str) -> Move:
        """Starts C-MOVE of the requests, one after the other over one association, to an AE title."""
        folder = self._make_folder("move")
        names = write_identifiers(folder, [request.keys() for request in requests])
        options = ["-S", "-aem", destination]
        process = self._start("movescu", folder, options, names, level="DEBUG", dictionary=_DICTIONARY_THERE)
        return Move(len(requests), process, folder)

    def get(self, request: MoveRequest, received: Path, syntax: str = "") -> Get:
        """Starts a C-GET of one request; what it brings goes to the folder `received` as storescp names it.

        getscu 3.6.7 proposes 120 storage classes, uncompressed, and before that one compressed `syntax` for all; it
        takes one request, for with several it crashes. Where the kernel cannot keep it from writing elsewhere, it
        stores what it understood (`-B`, under names that are safe) in place of what it was sent (`+B`).
        """
        folder = self._make_folder("get")
        names = write_identifiers(folder, [request.keys()])
        (folder / INCOMING).mkdir(mode=0o700)
        confined = folder / INCOMING if confinement.is_possible() else None
        prefer = negotiation.GETSCU_PREFERENCES.get(syntax)
        options = [
            *("-d", "-S", "+B" if confined else "-B", "-pdu", "131072", "-od", INCOMING),
            *([prefer] if prefer else []),
        ]
        # Its log comes by the standard output: confined, it could write no other.
        process = self._start("getscu", folder, options, names, writes_to=confined)
        return Get(process, folder, received)

    def offers(self, sop_class: str) -> None:
        """Opens an association for one SOP class and releases it; asks for nothing over it.

        By storescu, the one of DCMTK's tools that proposes what it is told to: it is given a file that it cannot send.

        Raises:
            AssociationError: there was none, or not for this class.
        """
        folder = self._make_folder("offer")
        text = negotiation.config_text([(sop_class, negotiation.NATIVE)])
        (folder / "offer.cfg").write_text(text, encoding="ascii")
        (folder / "nothing").touch()
        options = ["-nh", "-xf", "offer.cfg", negotiation.NAME]
        process = self._start("storescu", folder, options, ["nothing"], level="INFO")
        if b"Association Accepted" not in b"".join(process.follow(self._timeouts.silence_timeout_s)):
            raise self.no_association(process)
        remove_folder(folder)

    def no_association(self, process: Process) -> AssociationError:
        """The error for a tool that ended before any response, with what its log says."""
        return association_error(self.config, process)

    def _start(
        self, name: str, folder: Path, options: Sequence[str] = (), operands: Sequence[str] = (), **how: Any
    ) -> Process:
        return start_scu(
            *(name, folder, options, operands),
            config=self.config,
            toolbox=self._toolbox,
            timeouts=self._timeouts,
            **how,
        )

    def _make_folder(self, verb: str) -> Path:
        """A working folder for the next tool."""
        self._runs += 1
        folder = self._staging / f"{verb}{self._runs:05d}"
        folder.mkdir(mode=0o700)
        return folder
