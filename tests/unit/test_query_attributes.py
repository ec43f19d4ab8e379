"""The one table of attributes against the standard (pydicom's dictionary) and the documentation."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from pacsifier.query import ATTRIBUTES, INFO_COLUMNS, QUERY_COLUMNS, Attribute


@pytest.mark.parametrize("attribute", ATTRIBUTES.values(), ids=list(ATTRIBUTES))
def test_tag_and_vr_are_those_of_the_standard(attribute: Attribute) -> None:
    assert tag_for_keyword(attribute.keyword) == attribute.tag
    assert dictionary_VR(attribute.tag) == attribute.vr


def test_the_seventeen_documented_columns_are_in_the_table() -> None:
    assert len(QUERY_COLUMNS) == 17
    assert {a.keyword for a in ATTRIBUTES.values() if a.query_column} == set(QUERY_COLUMNS)
    assert set(INFO_COLUMNS) <= set(ATTRIBUTES)
    assert set(INFO_COLUMNS) == set(QUERY_COLUMNS)


def test_ranges_are_allowed_in_study_and_acquisition_date_only() -> None:
    assert {a.keyword for a in ATTRIBUTES.values() if a.range_allowed} == {"StudyDate", "AcquisitionDate"}


def test_no_image_level_attribute_is_taken_for_a_series_key() -> None:
    by_level = {
        level: {a.keyword for a in ATTRIBUTES.values() if a.query_column and a.level == level}
        for level in ("SERIES", "IMAGE")
    }
    assert by_level["SERIES"] == {"Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"}
    assert by_level["IMAGE"] == {
        "ProtocolName",
        "DeviceSerialNumber",
        "AcquisitionDate",
        "SequenceName",
        "ImageType",
    }
