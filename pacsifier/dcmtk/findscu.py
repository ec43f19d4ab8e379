"""C-FIND by findscu: running requests, whose answers are read as the log announces them.

findscu writes each answer to a file of its own; how a request ended stands in the log only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.association import association_error
from pacsifier.dcmtk.identifiers import Keys, remove_folder
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.transcript import SUCCESS, Answer, FindTranscript
from pacsifier.dicom import part10
from pacsifier.query.attributes import ATTRIBUTES
from pacsifier.query.series import PackedValues

Values = Mapping[str, "str | None"]

# Answers that a PACS may have sent before it hears of a C-CANCEL.
_AFTER_CANCEL = 50
_POLL_S = 0.005
MOST_ANSWERS = 100_000
"""Answers to one identifier; a PACS that sends more is cut off, for it may never end."""
# From so many answers on, those that name mostly the same are taken for a stream that goes round and round.
_FEWEST_ROUND = 1024
_MOST_COPIES = 10
_UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
# Answers that stay in staging until the end: ext4 passes over each inode that was freed in the last minutes whenever a
# file is created, which made each of 3,200 received objects 0.5 ms slower.
_KEPT_ANSWERS = 2000


@dataclass(frozen=True)
class FindResult:
    """What one C-FIND identifier brought: the answers (keyword -> value, None: key absent) and the end.

    An empty list with `failure` None is an honest "nothing matches"; `failure` says why there is no honest answer.
    `lost`: there was no final response since the association was cut off, so that it may be asked again. `outdone`:
    this PACS gave a longer answer of the level, so that the number of answers here is no limit of the PACS. `endless`:
    it was cut off since it went on answering; of its answers none is kept.
    """

    answers: tuple[Values, ...]
    status: int | None
    failure: str | None
    lost: bool = False
    outdone: bool = False
    endless: bool = False

    @classmethod
    def of_lost(cls, failure: str) -> FindResult:
        """The result of an identifier that was never answered."""
        return cls((), None, failure, lost=True)


class Find:
    """A running findscu and what it has been answered."""

    def __init__(
        self,
        process: Process,
        folder: Path,
        wanted: Sequence[Keys],
        at_most: int | None,
        most_answers: int = MOST_ANSWERS,
    ) -> None:
        self.process = process
        self._most_answers = most_answers
        self._endless: int | None = None
        self._cut_off = 0
        self._folder = folder
        self._wanted = wanted
        self._at_most = at_most
        self._answers: list[list[Values]] = [[] for _ in wanted]
        self._ends: dict[int, tuple[int, str]] = {}
        self._transcript = FindTranscript()
        self._read = 0

    def hear(self, data: bytes) -> None:
        """Takes the next bytes of the log, and reads the answers that it announces."""
        for event in self._transcript.feed(data):
            if self._endless is not None:
                return
            if isinstance(event, Answer):
                path = self._folder / event.name
                answers = self._answers[event.request]
                answers.append(_read_answer(path, self._wanted[event.request]))
                self._read += 1
                if self._read > _KEPT_ANSWERS:
                    path.unlink()
                if self._at_most and len(answers) == self._at_most + _AFTER_CANCEL:
                    self.process.end()
                if len(answers) > self._most_answers or self._goes_round(event.request):
                    self._cut_off = len(answers)
                    self._endless = event.request
                    answers.clear()
                    self.process.end()
            else:
                self._ends[event.request] = event.status, event.words

    @property
    def progress(self) -> tuple[int, int]:
        """How many requests have ended, and how many answers have come."""
        return len(self._ends), self._read

    def _goes_round(self, request: int) -> bool:
        """Whether the answers to a request name the same again and again; looked at whenever they have doubled."""
        number = len(self._answers[request])
        unique = _UNIQUE.get(self._wanted[request].get("QueryRetrieveLevel", ""))
        if number < _FEWEST_ROUND or number.bit_count() != 1 or unique is None:
            return False
        return len({answer.get(unique) for answer in self._answers[request]}) * _MOST_COPIES < number

    def results(self, config: PacsConfig, timeouts: Timeouts) -> list[FindResult]:
        """What each request has come to, once the process has ended; raises AssociationError where there was none."""
        answered = any(self._answers)
        if not self._ends and not (self._at_most and answered) and self._endless is None:
            raise association_error(config, self.process, answered=answered)
        if self._read > _KEPT_ANSWERS:
            remove_folder(self._folder)
        results = [_result(answers, self._ends.get(index)) for index, answers in enumerate(self._answers)]
        if self._endless is not None:
            failure = (
                f"{config.server_aet} did not end its answers to one question, and was cut off after {self._cut_off}: "
                "narrow the row"
            )
            results[self._endless] = FindResult((), None, failure, endless=True)
        elif self.process.silenced:
            # The one that the PACS was silent on would be so again; those behind it were never asked.
            in_flight = next((number for number, result in enumerate(results) if result.lost), None)
            if in_flight is not None:
                failure = f"no answer for {timeouts.silence_timeout_s:g} s (--silence_timeout)"
                results[in_flight] = replace(results[in_flight], lost=False, failure=failure)
        return results


def listen(finds: Sequence[Find], silence_timeout_s: float, tell: Callable[[int, int], None]) -> None:
    """Takes what the tools log, in turn, until all have ended; `tell` hears of requests ended and answers come."""
    news = {find: find.process.news(silence_timeout_s) for find in finds}
    while news:
        heard = False
        for find in list(news):
            data = next(news[find], None)
            if data is None:
                del news[find]
            elif data:
                heard = True
                find.hear(data)
        if heard:
            progress = [find.progress for find in finds]
            tell(sum(ended for ended, _ in progress), sum(answers for _, answers in progress))
        if news and not heard:
            time.sleep(_POLL_S)


def _read_answer(path: Path, keys: Collection[str]) -> Values:
    tags = {keyword: ATTRIBUTES[keyword].tag for keyword in (*keys, "SpecificCharacterSet")}
    file = part10.read(path, set(tags.values()))
    return PackedValues({keyword: file.text(tag) for keyword, tag in tags.items()})


def _result(answers: list[Values], end: tuple[int, str] | None) -> FindResult:
    if end is None:
        return FindResult(tuple(answers), None, "the association ended before the final response", lost=True)
    status, words = end
    return FindResult(tuple(answers), status, None if status == SUCCESS else f"C-FIND ended with {words!r}")
