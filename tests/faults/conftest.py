"""One quirk PACS a session: each test that asks for it gives it its own quirks and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pacs.servers import Hospital

from faults.quirk_pacs import QuirkPacs, Quirks, start_quirk_pacs


@pytest.fixture(scope="session")
def quirk_process(tmp_path_factory, hospital: Hospital, peers) -> Iterator[QuirkPacs]:
    """The process, not to be killed by tests; those start their own with `start_quirk_pacs`."""
    with start_quirk_pacs(tmp_path_factory.mktemp("quirk"), hospital.files, peers) as pacs:
        assert isinstance(pacs, QuirkPacs)
        yield pacs


@pytest.fixture
def quirky(quirk_process: QuirkPacs, hospital: Hospital) -> Iterator[Callable[..., QuirkPacs]]:
    """A function that returns the quirk PACS with these files (the hospital's) and these quirks."""
    before = len(quirk_process.log)

    def become(files: Sequence[Path] | None = None, **quirks: object) -> QuirkPacs:
        # One that has died fails the test that it died in, not all that come after.
        dead = quirk_process.process.poll() is not None
        return (quirk_process.restart if dead else quirk_process.become)(
            Quirks(**quirks), files or hospital.files
        )

    yield become
    assert "quirk_server.py" not in quirk_process.log[before:], "a fault of the quirk PACS itself"
