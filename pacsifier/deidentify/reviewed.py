"""What a person said after a look at the pictures: a list of names, or the answers that the page of the pixels saves.

A list names SOP Instance UIDs or paths, one per line: no identity in their pixels. The answers are JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacsifier.errors import Fault, InputError
from pacsifier.pictures.boxes import Box

KIND = "pacsifier: answers to pictures"
ALL_GONE, BLANK, LEAVE_OUT = "all gone", "blank here, too", "leave out"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["kind", "answers"],
    "additionalProperties": False,
    "properties": {
        "kind": {"const": KIND},
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["sop_instance_uid", "answer"],
                "additionalProperties": False,
                "properties": {
                    "sop_instance_uid": {"type": "string", "pattern": "^[0-9a-z_.]{1,80}$"},
                    "answer": {"enum": [ALL_GONE, BLANK, LEAVE_OUT]},
                    "boxes": {
                        "type": "array",
                        "items": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 0, "maximum": 65536},
                            "minItems": 4,
                            "maxItems": 4,
                        },
                    },
                },
            },
        },
    },
}
"""The answers, as JSON Schema; a box is left, top, right, bottom, the last two being the first pixels outside."""


@dataclass(frozen=True)
class Answer:
    """What was said of one instance; all of it may be true together but `leave_out`."""

    all_gone: bool = False
    leave_out: bool = False
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Reviewed:
    """`named`: UIDs and paths of a list; `answers`: by SOP Instance UID, of the input or of the output."""

    named: frozenset[str] = frozenset()
    answers: Mapping[str, Answer] = field(default_factory=dict)

    def lists(self, names: Iterable[str]) -> bool:
        """Whether a list names an instance by one of its names."""
        return not self.named.isdisjoint(names)

    def seen(self, names: Sequence[str]) -> bool:
        """Whether a person has looked at an instance that goes by these names, and found nothing left."""
        answer = self.answer(names)
        return self.lists(names) or (answer is not None and answer.all_gone)

    def answer(self, names: Iterable[str]) -> Answer | None:
        """What was answered of an instance that goes by these names; None for nothing."""
        if not self.answers:
            return None
        return next((self.answers[name] for name in names if name in self.answers), None)


def read(paths: Sequence[Path]) -> Reviewed:
    """Reads lists and files of answers; raises InputError, all faults at once."""
    named: set[str] = set()
    answers: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    faults: list[Fault | str] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(Fault(str(path), f"cannot be read: {error}"))
            continue
        if not text.lstrip().startswith("{"):
            named |= {line.strip() for line in text.splitlines() if line.strip()}
            continue
        try:
            for each in _answers(path, text):
                answers[each["sop_instance_uid"]].append(each)
        except InputError as error:
            faults += error.faults
    faults += _contradictions(answers, paths)
    if faults:
        raise InputError(*faults)
    return Reviewed(frozenset(named), {uid: _answer(each) for uid, each in answers.items()})


def _answers(path: Path, text: str) -> list[Mapping[str, Any]]:
    try:
        loaded = json.loads(text)
    except ValueError as error:
        raise InputError(Fault(str(path), f"is no JSON: {error}")) from error
    from jsonschema import Draft202012Validator

    found = list(Draft202012Validator(SCHEMA).iter_errors(loaded))
    if found:
        raise InputError(
            *(Fault(str(path), each.message, column=each.json_path.removeprefix("$.")) for each in found[:10])
        )
    answers: list[Mapping[str, Any]] = loaded["answers"]
    empty = [
        Fault(str(path), "is empty: a box is left, top, right, bottom", column="boxes", value=str(box))
        for each in answers
        for box in each.get("boxes", ())
        if box[2] <= box[0] or box[3] <= box[1]
    ]
    if empty:
        raise InputError(*empty)
    return answers


def _contradictions(
    answers: Mapping[str, Collection[Mapping[str, Any]]], paths: Sequence[Path]
) -> list[Fault]:
    said = {uid: {each["answer"] for each in all_of_it} for uid, all_of_it in answers.items()}
    source = ", ".join(map(str, paths))
    return [
        Fault(source, f"is answered with {LEAVE_OUT!r} and with something else: keep one of them", value=uid)
        for uid, each in said.items()
        if LEAVE_OUT in each and len(each) > 1
    ]


def _answer(answers: Iterable[Mapping[str, Any]]) -> Answer:
    said = {each["answer"] for each in answers}
    boxes = {Box(*box) for each in answers for box in each.get("boxes", ())}
    return Answer(ALL_GONE in said, LEAVE_OUT in said, tuple(sorted(boxes)))
