"""The configuration file: every fault at once, each naming file, key, value and what is allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pacsifier.config import PACS_SCHEMA, PacsConfig, departures, load_pacs_config
from pacsifier.errors import Fault, InputError

# Timing on a loaded machine is no finding.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GOOD: dict[str, Any] = {
    "server_address": "pacs.example.org",
    "port": 104,
    "server_AET": "SERVER_AET",
    "AET": "YOUR_AET",
    "move_AET": "MOVE DESTINATION",
    "move_port": 11112,
    "batch_size": 30,
    "batch_wait_time": 10,
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "config.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def faults(folder: Path, content: Any) -> tuple[Fault | str, ...]:
    with pytest.raises(InputError) as caught:
        load_pacs_config(write(folder, content))
    assert all(str(folder / "config.json") in str(fault) for fault in caught.value.faults)
    return caught.value.faults


def only_fault(folder: Path, content: Any) -> str:
    (fault,) = faults(folder, content)
    return str(fault)


def test_the_documented_file_is_read_as_written(tmp_path: Path) -> None:
    assert load_pacs_config(write(tmp_path, GOOD)) == PacsConfig(
        server_address="pacs.example.org",
        port=104,
        server_aet="SERVER_AET",
        aet="YOUR_AET",
        move_aet="MOVE DESTINATION",
        move_port=11112,
        batch_size=30,
        batch_wait_s=10.0,
    )


def test_the_schema_holds_exactly_the_documented_keys() -> None:
    assert list(PACS_SCHEMA["properties"]) == list(GOOD) == PACS_SCHEMA["required"]


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named_with_what_is_allowed(tmp_path: Path, key: str) -> None:
    text = only_fault(tmp_path, {name: value for name, value in GOOD.items() if name != key})
    assert f"{key!r}: the key is missing; allowed: " in text


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    content = {**GOOD, "port": 0, "AET": "", "batch_size": 1.5, "tls": True}
    del content["move_AET"]
    columns = [fault.column for fault in faults(tmp_path, content) if isinstance(fault, Fault)]
    assert columns == ["port", "AET", "move_AET", "batch_size", "tls"]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("port", True, "true"),
        ("port", 70000, "70000"),
        ("port", 0, "0"),
        ("move_port", 104.5, "104.5"),
        ("move_port", None, "null"),
        ("batch_size", 0, "0"),
        ("batch_size", True, "true"),
        ("batch_wait_time", False, "false"),
        ("batch_wait_time", -0.5, "-0.5"),
        ("batch_wait_time", 1e300, "1e+300"),
        ("AET", 7, "7"),
        ("AET", "A" * 17, "A" * 17),
        ("AET", "   ", "   "),
        ("AET", "A\\B", r"A\\B"),
        ("AET", "ABC\n", r"ABC\n"),
        ("AET", "HÔPITAL", "HÔPITAL"),
        ("server_address", "", "''"),
        ("server_address", "PACS server IP or hostname", "PACS server IP or hostname"),
        ("server_address", "-oProxy", "-oProxy"),
        ("server_address", "@file", "@file"),
        ("server_address", "pacs:104", "pacs:104"),
        ("server_address", "pacs\n", r"pacs\n"),
        ("server_address", ["10.0.0.1"], "10.0.0.1"),
        ("server_address", "[::1]", "without brackets; DCMTK 3.6.7 knows IPv4 only"),
        ("server_address", "[2001:db8::7]:104", "without brackets; DCMTK 3.6.7 knows IPv4 only"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(tmp_path: Path, key: str, value: Any, shown: str) -> None:
    text = only_fault(tmp_path, {**GOOD, key: value})
    assert repr(key) in text
    assert shown in text
    assert f"allowed: {PACS_SCHEMA['properties'][key]['description']}" in text


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "pacs", "pacs-1.hôpital.ch", "pacs_1", "::1", "fe80::1%eth0"]
)
def test_host_names_and_addresses_pass(tmp_path: Path, address: str) -> None:
    assert load_pacs_config(write(tmp_path, {**GOOD, "server_address": address})).server_address == address


@pytest.mark.parametrize("wait", [0, 0.25, 31_536_000])
def test_a_pause_may_be_a_fraction_or_none(tmp_path: Path, wait: float) -> None:
    assert load_pacs_config(write(tmp_path, {**GOOD, "batch_wait_time": wait})).batch_wait_s == wait


def test_blanks_around_an_ae_title_are_not_significant(tmp_path: Path) -> None:
    assert load_pacs_config(write(tmp_path, {**GOOD, "AET": " MY AET "})).aet == "MY AET"


def test_a_pacsman_file_gets_the_migration_hints_of_the_documentation(tmp_path: Path) -> None:
    old = {**GOOD, "server_ip": "10.0.0.1", "port": "104", "batch_wait_time": "10"}
    del old["server_address"]
    text = "\n".join(map(str, faults(tmp_path, old)))
    assert "PACSMAN? server_ip → server_address" in text
    assert "'port': '104': allowed: an integer from 1 to 65535" in text
    assert "PACSMAN? string → integer: write 104" in text
    assert "'batch_wait_time'" in text
    assert text.count("\n") == 2


def test_an_unknown_key_gets_the_nearest_documented_one(tmp_path: Path) -> None:
    assert "did you mean server_AET?" in only_fault(tmp_path, {**GOOD, "server_aet": "X"})


def test_a_key_that_stands_twice_is_not_silently_the_last_one(tmp_path: Path) -> None:
    text = json.dumps({**GOOD, "batch_size": 0}).replace('"port": 104', '"port": 104, "port": 105')
    assert [getattr(fault, "column", "") for fault in faults(tmp_path, text)] == ["port", "batch_size"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{\n  "port" 104\n}', "line 2, column 10"),
        (b"[]", "holds no JSON object"),
        (b'"text"', "holds no JSON object"),
        (b"NaN", "NaN is no JSON number"),
        (b"[" * 100_000, "that can be used"),
        (b"9" * 10_000, "that can be used"),
        ('{"AET": "é"}'.encode("latin-1"), "is not UTF-8 text (byte 10)"),
    ],
)
def test_what_is_no_json_object_is_said(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in only_fault(tmp_path, content)


def test_the_place_of_a_json_error_is_told(tmp_path: Path) -> None:
    assert "(line 2, column 11)" in only_fault(tmp_path, '{\n  "port": x}')


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    assert load_pacs_config(write(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode())).port == 104


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_pacs_config(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@unhurried
@given(st.dictionaries(st.sampled_from([*GOOD, "server_ip"]), json_values))
def test_any_json_gives_a_configuration_or_named_faults(
    tmp_path_factory: pytest.TempPathFactory, change: dict[str, Any]
) -> None:
    path = write(tmp_path_factory.getbasetemp(), {**GOOD, **change})
    try:
        config = load_pacs_config(path)
    except InputError as error:
        assert all(isinstance(fault, Fault) for fault in error.faults)
        return
    assert 1 <= config.port <= 65535
    assert type(config.port) is type(config.batch_size) is int
    assert config.batch_wait_s >= 0
    assert 1 <= len(config.aet) <= 16


def test_importing_config_and_query_loads_no_heavy_library() -> None:
    code = (
        "import sys, pacsifier.config, pacsifier.query;"
        "print([m for m in ('pandas', 'numpy', 'pydicom', 'jsonschema') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --- without jsonschema, where nothing is wrong -------------------------------------------------------------------

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70_000),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(["pacs", "fe80::1", "A" * 16, "A" * 17, " ", "a\\b", "::1\n", "1" * 256]),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=1),
)


@unhurried
@given(
    changed=st.dictionaries(st.sampled_from([*GOOD, "other"]), ODD_VALUES),
    without=st.sets(st.sampled_from([*GOOD])),
)
def test_what_is_taken_without_jsonschema_is_what_jsonschema_takes(
    changed: dict[str, Any], without: set[str]
) -> None:
    document = {key: value for key, value in {**GOOD, **changed}.items() if key not in without}
    told = departures(document, PACS_SCHEMA)
    assert (not told) == Draft202012Validator(PACS_SCHEMA).is_valid(document)


def test_a_sound_file_does_not_wait_for_jsonschema(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from pacsifier.config import load_pacs_config
load_pacs_config(Path({str(write(tmp_path, GOOD))!r}))
print(*sorted({{"jsonschema", "attrs"}} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == []
