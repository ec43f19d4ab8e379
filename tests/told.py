"""Reads what a command tells with `--json`: every line as the schema in the package says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import jsonschema

from pacsifier.cli.events import SCHEMA

Event = dict[str, Any]


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def read(stdout: str) -> list[Event]:
    """The events, each as the schema says, the first and the last in their places and only there."""
    events: list[Event] = [json.loads(line) for line in stdout.splitlines()]
    for event in events:
        validator().validate(event)
    names = [event["event"] for event in events]
    assert (names[0], names[-1]) == ("started", "summary")
    assert names.count("started") == names.count("summary") == 1
    return events


def of(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event["event"] == name]
