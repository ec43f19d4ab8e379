"""C-FIND over several associations and by lists of UIDs brings what single requests bring, on real PACS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from pacsifier.config import load_pacs_config
from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.query.series import Series
from pacsifier.transfer.find.images import list_instances


@pytest.fixture(params=["dcmqrscp", "orthanc"])
def pacs(request, tmp_path) -> Iterator[Pacs]:
    server = request.getfixturevalue(request.param)
    staging = tmp_path / "staging"
    staging.mkdir()
    server.write_config(tmp_path / "config.json")
    with Toolbox() as toolbox:
        yield Pacs(load_pacs_config(tmp_path / "config.json"), toolbox, staging)


def series_of(hospital) -> list[Series]:
    keys = sorted({(record.study_uid, record.series_uid) for record in hospital.records})
    return [
        Series({"StudyInstanceUID": study, "SeriesInstanceUID": uid}, (), {}, None) for study, uid in keys
    ]


def test_what_is_asked_over_several_associations_is_answered_in_its_own_place(pacs, hospital):
    studies = sorted({record.study_uid for record in hospital.records})
    requests = [{"StudyInstanceUID": uid, "PatientID": "", "StudyDate": ""} for uid in studies]
    apart = pacs.find("STUDY", requests, associations=3)
    assert [result.answers[0]["StudyInstanceUID"] for result in apart] == studies
    assert apart == pacs.find("STUDY", requests)


def test_a_list_of_series_tells_the_instances_that_each_series_alone_tells(pacs, hospital):
    series = series_of(hospital)
    of_lists = list_instances(pacs, series, uid_lists=True)
    alone = list_instances(pacs, series)
    for one, other, each in zip(of_lists, alone, series, strict=True):
        wanted = {record.sop_uid for record in hospital.records if record.series_uid == each.series_uid}
        assert {answer["SOPInstanceUID"] for answer in one.answers} == wanted
        assert {answer["SOPInstanceUID"] for answer in other.answers} == wanted


class Misunderstanding:
    """Answers single series well, and lists as `of_list` says; counts the lists."""

    def __init__(self, of_list) -> None:
        self.of_list = of_list
        self.lists = 0

    def find(self, level: str, requests: Sequence[Keys]) -> list[FindResult]:
        return [self._answer(keys["SeriesInstanceUID"]) for keys in requests]

    def _answer(self, uids: str) -> FindResult:
        if "\\" not in uids:
            return instances(uids)
        self.lists += 1
        return self.of_list(uids.split("\\"))


def instances(*uids: str) -> FindResult:
    answers = (
        {"SeriesInstanceUID": uid, "SOPInstanceUID": f"{uid}.{number}"} for uid in uids for number in (1, 2)
    )
    return FindResult(tuple(answers), 0, None)


@pytest.mark.parametrize(
    "of_list",
    [
        lambda uids: instances(uids[0]),
        lambda uids: instances(*uids, "1.9.9"),
        lambda uids: FindResult((), 0xA900, "Failed: IdentifierDoesNotMatchSOPClass"),
        lambda uids: FindResult(instances(*uids).answers, 0xA700, None),
        lambda uids: FindResult(
            tuple({**each, "SeriesInstanceUID": None} for each in instances(*uids).answers), 0, None
        ),
    ],
    ids=["only the first", "all of the study", "refused", "capped", "not told of which"],
)
def test_a_pacs_that_does_not_understand_lists_is_asked_for_each_series(of_list):
    pacs = Misunderstanding(of_list)
    series = [
        Series({"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.{number}"}, (), {}, None)
        for study in ("1.1", "1.2", "1.3")
        for number in (1, 2)
    ]
    found = list_instances(pacs, series, uid_lists=True)
    assert [each.answers for each in found] == [instances(each.series_uid).answers for each in series]
    assert pacs.lists == 1, "a PACS that does not understand them was sent more"
