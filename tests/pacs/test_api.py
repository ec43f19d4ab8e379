"""`pacsifier.api` on real archives: the same flows as the commands, quiet, from any thread."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading

import pytest

from pacs.servers import Hospital, Server, free_port
from pacsifier import api
from pacsifier.errors import AssociationError, InputError
from pacsifier.query import SERIES_COLUMNS

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]


@pytest.fixture
def config(pacs: Server) -> dict[str, object]:
    return pacs.config()


def test_look_choose_fetch_in_python(config, hospital: Hospital, tmp_path, capfd):
    found = api.find(config, EVERYONE)
    assert found.summary.complete
    table = found.to_frame()
    assert set(table["SeriesInstanceUID"]) == hospital.by_series.keys()
    chosen = table[table["Modality"] == "CT"]
    assert 0 < len(chosen) < len(table)
    steps: list[api.Progress] = []
    summary = api.save(config, chosen, tmp_path / "out", on_progress=steps.append)
    assert summary.complete and summary.instances > 0
    wanted = set(chosen["SeriesInstanceUID"])
    assert summary.instances == sum(record.series_uid in wanted for record in hospital.records)
    last = [step for step in steps if step.things == "series"][-1]
    assert (last.done, last.total) == (len(chosen), len(chosen))
    totals = api.anonymize(tmp_path / "out", tmp_path / "shared", fuzz_dates=True, workers=1)
    assert (totals.written, totals.failures) == (summary.instances, 0)
    proof = api.verify(tmp_path / "out", tmp_path / "shared", fuzz_dates=True, workers=1)
    assert (proof.verified, proof.hits, proof.written) == (summary.instances, 0, 0)
    for folder, page in (("out", "out/report.html"), ("shared", "shared.report.html")):
        written = api.report(tmp_path / folder, workers=1, on_progress=steps.append)
        assert (written.path, written.images) == (tmp_path / page, summary.instances)
    assert steps[-1].things == "folders looked at"
    assert capfd.readouterr() == ("", "")


def test_the_columns_are_the_same_whatever_is_found(config):
    nobody = api.find(config, [{"PatientID": "ZZ"}]).to_frame()
    some = api.find(config, EVERYONE[:1]).to_frame()
    assert (len(nobody), list(nobody.columns)) == (0, list(SERIES_COLUMNS))
    assert list(some.columns) == list(nobody.columns)


def test_a_call_takes_over_neither_signals_nor_logging(config):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers], list(logging.getLogger().handlers)
    api.find(config, [{"PatientID": "00123"}])
    assert ([signal.getsignal(number) for number in numbers], list(logging.getLogger().handlers)) == before


def test_what_commands_warn_of_is_not_written_where_nobody_listens(config, tmp_path):
    # In a process of its own: pytest listens to everything.
    words = f"from pacsifier import api; api.move({config!r}, [{{'PatientID': '45322'}}], 'out')"
    ended = subprocess.run(
        [sys.executable, "-c", words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (ended.stdout, ended.stderr) == ("", "")


def test_it_works_from_a_thread(config, tmp_path):
    done: list[object] = []
    thread = threading.Thread(
        target=lambda: done.append(api.save(config, [{"PatientID": "45322"}], tmp_path / "out"))
    )
    thread.start()
    thread.join()
    assert [summary.complete for summary in done] == [True]  # type: ignore[attr-defined]


def test_what_goes_wrong_is_raised_with_its_place(config, tmp_path):
    with pytest.raises(InputError, match="StudyDate"):
        api.find(config, [{"StudyDate": "yesterday"}])
    with pytest.raises(InputError, match="port"):
        api.find({**config, "port": "x"}, EVERYONE)
    with pytest.raises(AssociationError):
        api.save({**config, "port": free_port()}, EVERYONE, tmp_path / "out")
    with pytest.raises(TypeError, match="resumee"):
        api.save(config, EVERYONE, tmp_path / "out", resumee=True)


def test_what_the_callback_raises_ends_the_call(config, tmp_path):
    def stop(_: api.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.save(config, EVERYONE, tmp_path / "out", on_progress=stop)
