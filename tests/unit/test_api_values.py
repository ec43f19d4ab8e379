"""What goes into `pacsifier.api`: what is not allowed is an InputError that tells it, before anything is done."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, fields
from datetime import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pacsifier import allowed, api
from pacsifier.allowed import checked
from pacsifier.cli import anonymize, retrieve
from pacsifier.config import Tls
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.deidentify.engine.profile import Options as Profile
from pacsifier.deidentify.model import Maps, Pixels, Request
from pacsifier.errors import InputError
from pacsifier.query import Shard
from pacsifier.transfer.exclusion import Excluded
from pacsifier.transfer.options import METHOD, Hours, Options, Rate

CONFIG: dict[str, object] = {
    **{"server_address": "127.0.0.1", "port": 1, "server_AET": "A", "AET": "B", "move_AET": "B"},
    **{"move_port": 2, "batch_size": 1, "batch_wait_time": 0},
}
ROWS = [{"PatientID": "00123"}]

NO_COUNT: tuple[Any, ...] = ("3", "x", 0, -1, 1.5, True, [1])
NO_BYTES: tuple[Any, ...] = ("500MB", -1, 1.5, False)
NO_OBJECT: tuple[Any, ...] = ("file.json", Path("file.json"), 1, [])
BAD: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("associations", "limit", "max_failures", "max_unexpected", "workers"), NO_COUNT),
    **dict.fromkeys(("min_free_bytes", "max_unexpected_bytes"), NO_BYTES),
    "retrieve_method": ("gte", "", "MOVE", 1, []),
    "sop_classes": ("1.2", [1.2], ["CT"], 1, [""]),
    "timeouts": (30, "30", Timeouts(tcp_timeout_s=-1), Timeouts(silence_timeout_s=float("nan"))),
    "hours": ("25:00-3", "", "19:00", "19:00-19:00", 19, (time(19), time(6))),
    "rate": ("x", "", "0", "-1", "0MB", 50, "5 MBit"),
    "shard": ("3", "0/8", "9/8", 3, (3, 8)),
    **dict.fromkeys(("capabilities", "maps", "reviewed"), NO_OBJECT),
    "excluded": ("file.txt", Path("file.txt"), 1, [""], ["0*"], ["1", 2]),
    "kept_words": ("word", 1, [1]),
    "pixels": ("some", "", True, 1),
    "ocr_models": (1, [], True),
}
NO_FLAG: tuple[Any, ...] = ("yes", "", 1, 0, [], np.int64(1))
# Which field each function takes by a name of its own.
NAMED = ("in_folder", "out_folder", "options", "key")


def bad_values(*kinds: type[Any]) -> list[tuple[str, Any]]:
    """Every field of some dataclasses that takes options, with everything that is not allowed in it."""
    return [
        (each.name, value)
        for kind in kinds
        for each in fields(kind)
        if each.name not in NAMED
        for value in BAD.get(each.name, NO_FLAG)
    ]


@pytest.mark.parametrize(
    ("name", "value"), [each for each in bad_values(Options) if each[0] not in ("save", "move")]
)
def test_a_wrong_option_of_a_retrieval_is_told(name, value, tmp_path):
    with pytest.raises(InputError) as raised:
        api.save(CONFIG, ROWS, tmp_path / "out", **{name: value})
    assert str(raised.value).startswith(f"{name}={allowed.shown(value)}: ")
    assert "allowed" in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "value"), bad_values(Profile, Request))
def test_a_wrong_option_of_a_de_identification_is_told(name, value, tmp_path):
    with pytest.raises(InputError) as raised:
        api.anonymize(tmp_path, tmp_path / "out", **{name: value})
    assert str(raised.value).startswith(f"{name}={allowed.shown(value)}: ")
    assert "allowed" in str(raised.value)


def test_every_wrong_option_is_told_at_once(tmp_path):
    with pytest.raises(InputError) as raised:
        api.find(CONFIG, ROWS, limit="3", associations=0, rate="x")
    assert [str(fault).partition("=")[0] for fault in raised.value.faults] == [
        "associations",
        "limit",
        "rate",
    ]


@pytest.mark.parametrize("kind", [Options, Profile, Request])
def test_each_field_without_a_kind_is_a_flag(kind):
    plain = [each for each in fields(kind) if not each.metadata and each.name not in NAMED]
    assert {each.default for each in plain} <= {True, False}
    taken = checked({each.name: True for each in plain}, kind)
    assert set(taken.values()) <= {True}


@pytest.mark.parametrize("kind", [Options, Profile, Request])
def test_every_default_is_allowed(kind):
    for each in fields(kind):
        if each.name in NAMED:
            continue
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        assert checked({each.name: default}, kind) in ({each.name: default}, {})


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("hours", "19:00-06:00", Hours(time(19), time(6))),
        ("hours", Hours(time(19), time(6)), Hours(time(19), time(6))),
        ("rate", "50", Rate(50)),
        ("rate", "5MB", Rate(5_000_000, in_bytes=True)),
        ("shard", "3/8", Shard(3, 8)),
        ("limit", np.int64(3), 3),
        ("min_free_bytes", 0, 0),
        ("sop_classes", ["1.2", "1.3"], ("1.2", "1.3")),
        ("timeouts", Timeouts(acse_timeout_s=1), Timeouts(acse_timeout_s=1)),
    ],
)
def test_what_the_command_line_takes_is_taken_here_too(name, value, taken):
    assert checked({name: value}, Options) == {name: taken}


@pytest.mark.parametrize("given", [["Ab1", " 22"], Excluded(frozenset({"Ab1", " 22"}))])
def test_whoever_is_excluded_is_so_however_the_name_is_spelled(given):
    excluded = checked({"excluded": given}, Options)["excluded"]
    assert [each in excluded for each in ("Ab1", "AB1", "ab1 ", "22", "23")] == [
        True,
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        (Maps(new_ids={"1": "A^B"}), "^new_ids, '1': 'A\\^B': a text of 1 to 64"),
        (Maps(new_ids={"1": "A\\B"}), "^new_ids, '1': "),
        (Maps(new_ids={"1": ""}), "^new_ids, '1': "),
        (Maps(new_ids={"1": 5}), "^new_ids, '1': '5'"),  # type: ignore[dict-item]
        (Maps(new_ids={1: "P1"}), "^new_ids, '1': names a patient"),  # type: ignore[dict-item]
        (Maps(new_ids={"1": "a", "sub-1": "b"}), "^new_ids, '1': stands with and without"),
        (Maps(new_ids=["1"]), "^maps="),  # type: ignore[arg-type]
        (Maps(day_shifts={"1": 1.5}), "^day_shifts, '1': '1.5': a whole"),  # type: ignore[dict-item]
        (Maps(day_shifts={"1": 99999}), "^day_shifts, '1': "),
    ],
)
def test_maps_are_checked_as_their_files_are(maps, said, tmp_path):
    with pytest.raises(InputError, match=said):
        api.anonymize(tmp_path, tmp_path / "out", maps=maps)


def test_sound_maps_are_taken_as_those_of_files():
    given = Maps({"sub-1": "sub-P1 "}, {"sub-1": np.int64(-3)})  # type: ignore[dict-item]
    assert checked({"maps": given}, Request) == {"maps": Maps({"sub-1": "P1"}, {"sub-1": -3})}


def test_the_names_of_kinds_of_pixels_are_taken():
    assert checked({"pixels": "all", "kept_words": {"R"}}, Request) == {
        "pixels": Pixels("all"),
        "kept_words": frozenset("R"),
    }


def test_the_choices_of_the_commands_are_those_of_the_kinds():
    (method,) = [
        each.choices
        for each in retrieve.build_parser()._actions
        if each.dest == "retrieve_method" and each.choices
    ]
    assert METHOD.allowed == f"allowed: {', '.join(method)}"
    (pixels,) = [each.choices for each in anonymize.build_parser()._actions if each.dest == "clean_pixels"]
    assert [Pixels(each).which for each in pixels or ()] == ["suspicious", "all"]


FIND = lambda **options: api.find(CONFIG, ROWS, **options)  # noqa: E731
SAVE = lambda **options: api.save(CONFIG, ROWS, "out", **options)  # noqa: E731
MOVE = lambda **options: api.move(CONFIG, ROWS, "out", **options)  # noqa: E731
ANONYMIZE = lambda **options: api.anonymize("in", "out", **options)  # noqa: E731
VERIFY = lambda **options: api.verify("in", "out", **options)  # noqa: E731


@pytest.mark.parametrize(
    ("call", "name", "value"),
    [
        (call, name, value)
        for call, names in (
            (FIND, ("save", "info", "move", "resume", "dry_run")),
            (SAVE, ("save", "move")),
            (MOVE, ("save", "move")),
            (VERIFY, ("verify", "resume")),
        )
        for name in names
        for value in (True, False)
    ]
    + [(FIND, "retrieve_method", "get"), (MOVE, "retrieve_method", "get"), (ANONYMIZE, "options", Profile())],
)
def test_what_a_function_says_itself_is_not_taken(call, name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{name}=.* takes no such option"):
        call(**{name: value})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("call", [FIND, SAVE, MOVE, ANONYMIZE])
def test_an_option_that_there_is_not_is_a_type_error_as_in_python(call):
    with pytest.raises(TypeError, match="resumee; known are"):
        call(resumee=True)


@pytest.mark.parametrize(
    ("call", "options", "said"),
    [
        (MOVE, {"rate": "5MB"}, "rate: in bytes"),
        (ANONYMIZE, {"safe_private": True, "remove_private": True}, "safe_private"),
        (ANONYMIZE, {"kept_words": ["a"], "retain_descriptors": True}, "kept_words"),
    ],
)
def test_options_that_exclude_each_other_are_refused_as_on_the_command_line(call, options, said):
    with pytest.raises(InputError, match=said):
        call(**options)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: api.find(None, ROWS), "^config=None: the path"),  # type: ignore[arg-type]
        (lambda: api.check(5), "^config=5: the path"),  # type: ignore[arg-type]
        (lambda: api.check(CONFIG, None), "^out=None"),  # type: ignore[arg-type]
        (lambda: api.save(CONFIG, ROWS, None), "^out=None"),  # type: ignore[arg-type]
        (lambda: api.move(CONFIG, ROWS, 5), "^out=5"),  # type: ignore[arg-type]
        (lambda: api.upload(CONFIG, None), "^folder=None"),  # type: ignore[arg-type]
        (lambda: api.upload(CONFIG, ".", on_progress=5), "^on_progress=5"),  # type: ignore[arg-type]
        (lambda: api.upload(CONFIG, ".", tls=True), "^tls=True"),  # type: ignore[arg-type]
        (lambda: api.find(CONFIG, ROWS, tls="yes"), "^tls='yes'"),  # type: ignore[arg-type]
        (lambda: api.find(CONFIG, ROWS, tls=Tls(ca=5)), "^ca=5"),  # type: ignore[arg-type]
        (lambda: api.find(CONFIG, ROWS, on_progress="f"), "^on_progress='f'"),  # type: ignore[arg-type]
        (lambda: api.anonymize(None, "x"), "^in_folder=None"),  # type: ignore[arg-type]
        (lambda: api.anonymize("x", "y", key=5), "^key=5"),  # type: ignore[arg-type]
        (lambda: api.verify("x", None), "^out_folder=None"),  # type: ignore[arg-type]
        (lambda: api.report(None), "^folder=None"),  # type: ignore[arg-type]
        (lambda: api.report("x", workers=0), "^workers=0"),
    ],
)
def test_a_wrong_argument_is_told_by_its_name(call, said):
    with pytest.raises(InputError, match=said):
        call()


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        (ROWS[0], "queries: the path .* not one dict"),
        (None, "queries: the path .* not one NoneType"),
        (5, "queries: the path .* not one int"),
        (pd.DataFrame(ROWS).iloc[0], "queries: the path .* not one Series"),
        (["00123"], "queries, row 0: a mapping .* not str"),
        ([*ROWS, 5], "queries, row 1: a mapping .* not int"),
        (b"00123", "queries, row 0: a mapping .* not int"),
        ([], "queries: there is no row"),
        (pd.DataFrame(columns=["PatientID"]), "queries: there is no row"),
        ([*ROWS, {"PatientID": ["a", "b"]}], "queries, row 1, column PatientID: .*one text or number"),
        ([{"PatientID": b"00123"}], "queries, row 0, column PatientID: .*one text or number"),
        ([{"PatientID": "\ud800"}], "queries, row 0, column PatientID: .*half of a character"),
        ([{"PatientID": "a\0b"}], "^queries, row 0, column PatientID: .*invisible character"),
        ([*ROWS, {"PatientID": 12.0}], "^queries, row 1, column PatientID: '12.0'"),
        ([*ROWS, {"StudyDate": "x"}], "^queries, row 1, column StudyDate: 'x'"),
        ([*ROWS, {"PatientID": " "}], "^queries, row 1: the row is empty"),
        ([{"PatID": "1"}], "^queries, 'PatID': unknown column"),
        (pd.DataFrame([["1", "2"]], columns=["PatientID", "PatientID"]), "^queries, 'PatientID': .*twice"),
        (
            pd.DataFrame([{"PatientID": "1"}, {"PatientID": pd.NA}], dtype=object),
            "^queries, row 1: the row is empty",
        ),
        (
            [{"PatientID": "1", "new_ids": "a"}, {"PatientID": "1", "new_ids": "b"}],
            "^queries, row 1, column new_ids: 'b': .* in row 0: one",
        ),
    ],
)
def test_wrong_queries_are_told_by_the_rows_that_were_given(queries, said):
    with pytest.raises(InputError, match=said) as raised:
        api.find(CONFIG, queries)
    assert "query.csv" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"port": "x"}, "^config, 'port': 'x'"),
        ({"port": {1}}, "^config: holds what a JSON file cannot hold"),
        ({"port": float("nan")}, "^config: .*NaN"),
        ({"server_address": Path("a b")}, "^config, 'server_address': 'a b'"),
        ({"ports": 1}, "^config, 'ports': .*unknown key"),
        ({5: 1}, "^config, '5': .*unknown key"),
    ],
)
def test_a_wrong_mapping_is_told_as_config(change, said):
    with pytest.raises(InputError, match=said) as raised:
        api.find({**CONFIG, **change}, ROWS)
    assert "config.json" not in str(raised.value)


def test_a_mapping_may_hold_numbers_of_numpy_and_paths():
    # The faults are of the queries, which are read after it.
    with pytest.raises(InputError, match=r"^queries: there is no row"):
        api.find({**CONFIG, "port": np.int64(104), "server_address": Path("pacs.site")}, [])


def test_a_mapping_can_be_checked(tmp_path):
    checks = api.check({**CONFIG, "port": "x"}, tmp_path)
    (probe,) = [each for each in checks.probes if each.name == "config"]
    assert "config, 'port': 'x'" in str(probe)
    assert ".json" not in str(probe)
    assert not checks.ok


def test_there_is_nothing_to_verify_where_there_is_no_output(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "file").touch()
    for name in ("nooutput", "file"):
        with pytest.raises(InputError, match=f"{name}: is no folder"):
            api.verify(tmp_path / "in", tmp_path / name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "in"]


def test_warnings_are_not_written_where_nobody_listens():
    words = "import logging\nfrom pacsifier import api\nlogging.getLogger('pacsifier.any').warning('asking again')"
    ended = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
    listening = words.replace("import logging\n", "import logging\nlogging.basicConfig()\n", 1)
    ended = subprocess.run([sys.executable, "-c", listening], capture_output=True, text=True, check=True)
    assert "asking again" in ended.stderr
