"""What the tests of whole runs share."""

from __future__ import annotations

import pytest

from pacsifier.deidentify.engine import uids


@pytest.fixture(autouse=True)
def numbers_in_the_order_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patients are numbered as their PatientIDs are sorted, so that tests can say who 000001 is."""
    monkeypatch.setattr(uids, "drawn_place", lambda secret, person: person)
