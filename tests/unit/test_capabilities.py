"""The capability file: what one check found out, later runs obey; a wrong file must not steer a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pacs.servers import run_pacsifier

from pacsifier.config import PacsConfig
from pacsifier.errors import InputError
from pacsifier.transfer.capabilities import USUAL, Capabilities, Seen, load_capabilities, save_capabilities

CONFIG = PacsConfig("pacs.example.org", 104, "SERVER_AET", "YOUR_AET", "MOVE_AET", 11112, 30, 0.0)
GOOD: dict[str, Any] = {
    "format": 1,
    "server": {"server_address": "pacs.example.org", "port": 104, "server_AET": "SERVER_AET"},
    "checked_at": "2030-01-01T00:00:00+00:00",
    "uid_lists": False,
    "image_moves": False,
    "associations": 3,
    "relational": None,
    "returned_keys": {"SERIES": {"SeriesDescription": False}},
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "can.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def faults(folder: Path, content: Any, config: PacsConfig = CONFIG) -> list[str]:
    path = write(folder, content)
    with pytest.raises(InputError) as caught:
        load_capabilities(path, config)
    assert all(str(fault).startswith(str(path)) for fault in caught.value.faults)
    return [str(fault).removeprefix(f"{path}") for fault in caught.value.faults]


def test_what_a_check_saw_is_what_a_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "can.json"
    seen = Seen(
        uid_lists=False, image_moves=True, associations=1, returned_keys={"STUDY": {"PatientID": True}}
    )
    save_capabilities(path, CONFIG, seen)
    assert load_capabilities(path, CONFIG) == Capabilities(False, True, 1)
    assert [each.name for each in tmp_path.iterdir()] == ["can.json"]


def test_what_is_not_known_is_as_usual(tmp_path: Path) -> None:
    path = tmp_path / "can.json"
    save_capabilities(path, CONFIG, Seen())
    assert load_capabilities(path, CONFIG) == USUAL
    assert json.loads(path.read_text())["uid_lists"] is None


def test_the_number_of_associations_is_a_whole_one_however_it_is_spelled(tmp_path: Path) -> None:
    found = load_capabilities(write(tmp_path, {**GOOD, "associations": 2.0}), CONFIG)
    assert repr(found.associations) == "2"


@pytest.mark.parametrize(
    ("change", "there"),
    [
        ({"server_address": "other.example.org"}, "SERVER_AET at other.example.org:104"),
        ({"port": 4242}, "SERVER_AET at pacs.example.org:4242"),
        ({"server_AET": "OTHER"}, "OTHER at pacs.example.org:104"),
    ],
)
def test_the_abilities_of_another_pacs_are_refused_and_both_are_named(change, there, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, {**GOOD, "server": {**GOOD["server"], **change}})
    assert there in fault
    assert "SERVER_AET at pacs.example.org:104" in fault
    assert "--check --capabilities" in fault


def test_the_same_pacs_is_known_again_however_its_name_is_written(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_capabilities(path, replace(CONFIG, server_address="PACS.Example.Org")).associations == 3


@pytest.mark.parametrize(
    ("change", "key", "allowed"),
    [
        ({"format": 2}, "'format': '2'", "1, the only format"),
        ({"format": True}, "'format': 'true'", "1, the only format"),
        ({"uid_lists": "yes"}, "'uid_lists': 'yes'", "true, false, or null"),
        ({"image_moves": 1}, "'image_moves': '1'", "true, false, or null"),
        ({"associations": 0}, "'associations': '0'", "an integer from 1"),
        ({"associations": 1.5}, "'associations': '1.5'", "an integer from 1"),
        ({"server": "pacs"}, "'server': 'pacs'", "an object that names the PACS"),
        ({"server": {**GOOD["server"], "port": "104"}}, "'server.port': '104'", "the PACS's port"),
        ({"returned_keys": {"PATIENT": {}}}, "'returned_keys.PATIENT': '{}'", "STUDY, SERIES, IMAGE"),
        ({"returned_keys": {"STUDY": {"A": 1}}}, "'returned_keys.STUDY.A': '1'", "true or false"),
        ({"uid_list": True}, "'uid_list': 'true'", "unknown key; allowed: format, server"),
    ],
)
def test_each_fault_says_key_value_and_what_is_allowed(change, key, allowed, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, {**GOOD, **change})
    assert fault.startswith(f", {key}: ")
    assert allowed in fault


def test_all_faults_come_at_once_each_once(tmp_path: Path) -> None:
    server = {"server_address": "pacs.example.org"}
    document = {"format": 1, "server": server, "uid_lists": 5, "image_moves": None}
    found = faults(tmp_path, document)
    assert sorted(fault.split(":")[0] for fault in found) == [
        ", 'associations'",
        ", 'server.port'",
        ", 'server.server_AET'",
        ", 'uid_lists'",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ("[]", "allowed: a JSON object as pacsifier --check writes it"),
        ('{"format": 1, "format": 1}', "'format': the key stands twice"),
    ],
)
def test_what_is_no_such_file_is_named_as_that(text, reason, tmp_path: Path) -> None:
    assert any(reason in fault for fault in faults(tmp_path, text))


def test_a_file_that_is_not_there_is_a_fault_of_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        load_capabilities(tmp_path / "none.json", CONFIG)


def test_a_place_that_cannot_be_written_is_a_fault_of_input(tmp_path: Path) -> None:
    path = tmp_path / "no_such_folder" / "can.json"
    with pytest.raises(InputError, match="cannot be written"):
        save_capabilities(path, CONFIG, Seen())


def test_a_run_stops_before_it_asks_a_pacs_that_the_file_is_not_of(tmp_path: Path) -> None:
    config = {
        **{"server_address": "127.0.0.1", "port": 1, "server_AET": "HERE", "AET": "US", "move_AET": "THERE"},
        **{"move_port": 11112, "batch_size": 30, "batch_wait_time": 0},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "query.csv").write_text("PatientID\n1\n")
    ended = run_pacsifier(
        *("--info", "-c", tmp_path / "config.json", "-q", tmp_path / "query.csv", "-d", tmp_path / "out"),
        *("--capabilities", write(tmp_path, GOOD)),
    )
    assert ended.returncode == 2
    assert "is of another PACS than the config" in ended.stderr
    assert not (tmp_path / "out").exists()
