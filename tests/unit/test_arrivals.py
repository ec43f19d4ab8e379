"""What lies in staging: nothing half written is handed out, nothing that came is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsifier.dicom import part10
from pacsifier.query import ATTRIBUTES
from pacsifier.transfer.fetch.arrivals import Arrivals

KEY = ("1.2", "1.2.3")
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def content(sop_uid: str = "1.2.3.4", key: tuple[str, str] = KEY, **more: bytes) -> bytes:
    values = {
        "SOPClassUID": SR.encode(),
        "SOPInstanceUID": sop_uid.encode(),
        "PatientID": b"00123",
        "StudyInstanceUID": key[0].encode(),
        "SeriesInstanceUID": key[1].encode(),
        **more,
    }
    return part10.encode([(ATTRIBUTES[k].tag, ATTRIBUTES[k].vr, value) for k, value in values.items()])


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals(tmp_path)


def taken(arrivals: Arrivals, key: tuple[str, str] = KEY) -> list[str]:
    """Take a series as a run does: what is taken leaves staging."""
    uids = []
    for arrival in arrivals.take(key):
        uids.append(arrival.sop_instance_uid)
        arrival.path.unlink()
    return sorted(uids)


def test_a_received_object_is_handed_out_with_its_series(tmp_path: Path, arrivals: Arrivals) -> None:
    (tmp_path / "SRt.1.2.3.4.0001").write_bytes(content(PatientName=b"A^B"))
    assert arrivals.scan() == 1
    (arrival,) = arrivals.take(KEY)
    assert arrival.series_key == KEY
    assert (arrival.sop_instance_uid, arrival.sop_class, arrival.prefix) == ("1.2.3.4", SR, "SRt")
    values = arrival.values()
    assert (values["PatientID"], values["PatientName"], values["Modality"]) == ("00123", "A^B", None)


def test_each_series_gets_its_own(tmp_path: Path, arrivals: Arrivals) -> None:
    other = ("1.2", "1.2.9")
    (tmp_path / "a").write_bytes(content("1.1"))
    (tmp_path / "b").write_bytes(content("1.2", other))
    (tmp_path / "c").write_bytes(content("1.3"))
    assert arrivals.scan() == 3
    assert taken(arrivals) == ["1.1", "1.3"]
    assert taken(arrivals, other) == ["1.2"]


def test_one_sop_instance_uid_in_two_studies_is_two_objects(tmp_path: Path, arrivals: Arrivals) -> None:
    for name, study in (("a", "1.5"), ("b", "1.6")):
        (tmp_path / name).write_bytes(content("1.1", (study, "1.2.3")))
    arrivals.scan()
    assert taken(arrivals, ("1.5", "1.2.3")) == taken(arrivals, ("1.6", "1.2.3")) == ["1.1"]


def test_nothing_is_handed_out_or_counted_twice(tmp_path: Path, arrivals: Arrivals) -> None:
    (tmp_path / "a").write_bytes(content("1.1"))
    assert (arrivals.scan(), arrivals.scan()) == (1, 0)
    assert taken(arrivals) == ["1.1"]
    assert taken(arrivals) == []
    assert arrivals.scan() == 0
    assert arrivals.received == 1


def test_a_name_that_is_used_again_after_it_was_taken_is_a_new_object(
    tmp_path: Path, arrivals: Arrivals
) -> None:
    for uid in ("1.1", "1.2"):
        (tmp_path / "a").write_bytes(content(uid))
        assert arrivals.scan() == 1
        assert taken(arrivals) == [uid]


def test_an_object_that_is_still_being_written_is_not_handed_out(tmp_path: Path, arrivals: Arrivals) -> None:
    whole = content("1.1", StudyDescription=b"x" * 60)
    (tmp_path / "a").write_bytes(whole[:-30])
    assert arrivals.scan() == 0
    assert taken(arrivals) == []
    (tmp_path / "a").write_bytes(whole)
    assert taken(arrivals) == ["1.1"]


def test_an_object_that_grew_after_it_looked_whole_is_read_again(tmp_path: Path, arrivals: Arrivals) -> None:
    # Cut between two elements a report looks whole.
    short, whole = content("1.1"), content("1.1", ImageType=b"A", SeriesNumber=b"7")
    (tmp_path / "a").write_bytes(short)
    assert arrivals.scan() == 1
    (tmp_path / "a").write_bytes(whole)
    (arrival,) = arrivals.take(KEY)
    assert arrival.file.size == len(whole)
    assert arrival.values()["SeriesNumber"] == "7"


def test_an_object_that_grew_into_a_broken_one_is_not_handed_out(tmp_path: Path, arrivals: Arrivals) -> None:
    (tmp_path / "a").write_bytes(content("1.1"))
    arrivals.scan()
    (tmp_path / "a").write_bytes(content("1.1", SeriesNumber=b"12345678")[:-4])
    assert taken(arrivals) == []
    assert [arrival.path.name for arrival in arrivals.take_broken()] == ["a"]


@pytest.mark.parametrize("garbage", [b"", b"no DICOM", content()[:140], content()[:-1]])
def test_a_broken_object_is_told_of_once_and_stays_on_disk(
    tmp_path: Path, arrivals: Arrivals, garbage: bytes
) -> None:
    (tmp_path / "a").write_bytes(garbage)
    assert arrivals.scan() == 0
    assert list(arrivals.take_strangers()) == []
    (broken,) = arrivals.take_broken()
    assert broken.file.defect
    assert broken.path.exists()
    assert arrivals.take_broken() == []


def test_objects_that_nobody_asked_for_are_handed_out_as_strangers(
    tmp_path: Path, arrivals: Arrivals
) -> None:
    (tmp_path / "a").write_bytes(content("1.1"))
    (tmp_path / "b").write_bytes(content("1.2", ("9", "9.9")))
    (tmp_path / "c").write_bytes(content("1.3", ("", "")))
    arrivals.scan()
    assert taken(arrivals) == ["1.1"]
    assert sorted(arrival.sop_instance_uid for arrival in arrivals.take_strangers()) == ["1.2", "1.3"]


def test_an_object_that_grows_is_heard_and_one_that_has_stopped_is_not(
    arrivals: Arrivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsifier.transfer.fetch.arrivals._WEIGHED_S", 0.0)
    whole, path = content(), tmp_path / "SRd.1"
    said = []
    for end in (0, 50, 50, 51, 51, len(whole), len(whole)):
        path.write_bytes(whole[:end])
        said.append((arrivals.scan(), arrivals.grew()))
    assert said == [(0, False), (0, True), (0, False), (0, True), (0, False), (0, True), (0, False)]
    assert taken(arrivals) == ["1.2.3.4"]
    assert not arrivals.grew()


def test_a_second_object_that_is_damaged_is_heard_once(
    arrivals: Arrivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsifier.transfer.fetch.arrivals._WEIGHED_S", 0.0)
    said = []
    for number in range(2):
        (tmp_path / f"SRd.{number}").write_bytes(content()[:-1])
        said += [(arrivals.scan(), arrivals.grew()), (arrivals.scan(), arrivals.grew())]
    assert said == [(0, True), (0, False)] * 2


def test_an_object_that_is_damaged_is_read_again_only_where_it_grew(
    arrivals: Arrivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "SRd.1"
    path.write_bytes(content()[:-1])
    arrivals.scan()
    reads: list[object] = []
    read = part10.read
    monkeypatch.setattr(part10, "read", lambda *it: reads.append(it) or read(*it))
    assert (taken(arrivals), reads) == ([], [])
    path.write_bytes(content())
    assert (taken(arrivals), len(reads)) == (["1.2.3.4"], 1)
