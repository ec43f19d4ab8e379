"""The commands as a user meets them: options as documented, mistakes named, exit statuses that scripts can trust."""

from __future__ import annotations

import argparse
import configparser
import errno
import importlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pacs.servers import find_binary, free_port, run_pacsifier

from pacsifier import __version__

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pandas", "pydicom", "jsonschema", "numpy", "requests", "sh", "rich")


def _console_scripts() -> dict[str, str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    scripts = dict(line.replace(" ", "").split("=") for line in lines)
    # The wrapper commands have tests of their own (test_docker_wrappers.py).
    return {name: target for name, target in scripts.items() if not name.startswith("docker_")}


COMMANDS = _console_scripts()
every_command = pytest.mark.parametrize("command", COMMANDS)


@dataclass(frozen=True)
class Documented:
    """One option of the documentation; `default` None where it has none."""

    spellings: tuple[str, ...]
    default: object = None
    takes_value: bool = True


def _flag(*spellings: str) -> Documented:
    return Documented(spellings, False, takes_value=False)


def _value(*spellings: str, default: object = None) -> Documented:
    return Documented(spellings, default)


# "Commandline Usage" of the documentation, as facts.
DOCUMENTED: Mapping[str, Sequence[Documented]] = {
    "pacsifier": (
        _value("--config", "-c"),
        _flag("--save", "-s"),
        _flag("--info", "-i"),
        _flag("--move", "-m"),
        _value("--queryfile", "-q"),
        _value("--out_directory", "-d", default="./data"),
        _flag("--upload", "-u"),
        _value("--upload_directory", "-ud", default="./data"),
        Documented(("--version",), takes_value=False),
        _flag("--resume"),
        _flag("--verbose", "-v"),
    ),
    "pacsifier-anonymize": (
        _value("--in_folder", "-d", default="./data"),
        _value("--out_folder", "-o", default="./data"),
        _flag("--delete_identifiable", "-i"),
        _flag("--remove_private_tags", "-p"),
        _flag("--fuzz_acq_dates", "-a"),
        _value("--new_ids", "-n"),
        _flag("--keep_patient_dir_names", "-k"),
    ),
    "pacsifier-create-dicomdir": (
        _value("--in_folder", "-d", default="./data"),
        _value("--out_folder", "-o", default="./data"),
    ),
    "pacsifier-get-pseudonyms": (
        _value("--mode", "-m", default="de-id"),
        _value("--config", "-c"),
        _value("--queryfile", "-q"),
        _value("--mappingfile", "-mf"),
        _flag("--shift-days"),
        _value("--project_name", "-a"),
        _value("--out_directory", "-d"),
        _flag("--verbose", "-v"),
    ),
    "pacsifier-move-csv": (_value("--data_folder", "-d"), _value("--info_folder", "-o")),
    "pacsifier-add-karnak-tags": (
        _value("--in_folder", "-d", default="./data"),
        _value("--new_ids", "-n"),
        _value("--day_shift", "-s"),
        _value("--album_name", "-a"),
    ),
    "pacsifier-extract-carestream-report": (_value("--data_folder", "-d"),),
}
documented_commands = pytest.mark.parametrize("command", [name for name in COMMANDS if name in DOCUMENTED])


def _parser(command: str) -> argparse.ArgumentParser:
    parser = importlib.import_module(COMMANDS[command].partition(":")[0]).build_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def _run(command: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as its console script does, and adds to stderr which heavy modules it imported."""
    module, _, function = COMMANDS[command].partition(":")
    program = (
        f"import atexit, sys\nfrom {module} import {function}\nsys.argv[0] = {command!r}\n"
        f"atexit.register(lambda: print('HEAVY', *sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))\n"
        f"sys.exit({function}())"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


# --- every command -----------------------------------------------------------------------------------------------


def test_the_commands_that_can_be_installed_are_known():
    assert "pacsifier" in COMMANDS
    assert all(":" in target for target in COMMANDS.values())


@every_command
def test_help_is_printed_at_once_and_names_the_exit_statuses(command, tmp_path):
    run = _run(command, "--help", cwd=tmp_path)
    assert run.returncode == 0
    assert run.stdout.startswith(f"usage: {command} ")
    assert "exit status:" in run.stdout
    assert run.stderr == "HEAVY\n"
    assert not list(tmp_path.iterdir())


@every_command
def test_version_is_printed_without_any_other_option(command, tmp_path):
    run = _run(command, "--version", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"{command} {__version__}\n", "HEAVY\n")


@every_command
def test_a_mistyped_option_is_a_usage_error_on_stderr(command, tmp_path):
    run = _run(command, "--xyzzy", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == f"{command}: error: unknown option --xyzzy (see --help)\nHEAVY\n"
    assert run.stdout == ""
    assert not list(tmp_path.iterdir())


@every_command
def test_a_parser_can_be_had_without_side_effects(command, tmp_path):
    program = f"""
import logging, os, signal, sys
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)], dict(os.environ), os.umask(0)
os.umask(before[2])
from {COMMANDS[command].partition(":")[0]} import build_parser
first, second = build_parser(), build_parser()
after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)], dict(os.environ), os.umask(0)
assert first is not second
assert before == after
assert not logging.getLogger().handlers
assert first.format_help() == second.format_help()
print(first.prog)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr) == (f"{command}\n", "")
    assert not list(tmp_path.iterdir())


@every_command
def test_every_option_is_explained_and_spelled_with_underscores(command):
    parser = _parser(command)
    assert parser.description
    for action in parser._actions:
        assert action.help, action
        for spelling in action.option_strings:
            assert "-" not in spelling[2:] or spelling == "--shift-days", spelling


@every_command
def test_the_readme_shows_the_command(command):
    assert f"`{command}`" in (ROOT / "README.md").read_text(encoding="utf-8")


@every_command
def test_every_path_is_absolute_once_it_is_read_and_links_stay(command, tmp_path, monkeypatch):
    from pacsifier.cli import common

    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path.parent)
    parser = _parser(command)
    paths = [action for action in parser._actions if action.type is Path and action.option_strings]
    for action in parser._actions:
        action.required = False
    given = [word for action in paths for word in (*action.option_strings[:1], "link/../x")]
    assert paths
    for words, expected in ((given, tmp_path / "link/../x"), ([], None)):
        arguments = vars(common.parsed(parser, words))
        for action in paths:
            default = action.default and tmp_path / action.default
            value = arguments[action.dest]
            for each in value if isinstance(value, list) else [value]:
                assert each == (expected or default), action.dest


# --- the documented options --------------------------------------------------------------------------------------


@documented_commands
def test_every_documented_option_has_its_spellings_and_default(command):
    parser = _parser(command)
    actions = {spelling: action for action in parser._actions for spelling in action.option_strings}
    for option in DOCUMENTED[command]:
        (action,) = {id(actions.get(each)): actions.get(each) for each in option.spellings}.values()
        assert action is not None, f"{option.spellings} is missing"
        assert (action.nargs is None) == option.takes_value, option.spellings
        default = parser.get_default(action.dest)
        if option.takes_value:
            wanted = option.default
            assert (default and str(default)) == (wanted and os.path.normpath(str(wanted))), option.spellings
        else:
            assert not default or default == argparse.SUPPRESS, option.spellings


@documented_commands
def test_every_abbreviation_of_a_documented_option_still_means_it(command):
    """What argparse took for an option while only the documented ones existed, such as `--s` for `--save`."""
    names = ["--help", *(option.spellings[0] for option in DOCUMENTED[command])]
    broken = []
    for option in DOCUMENTED[command]:
        name = option.spellings[0]
        value = [str(option.default or "x")] if option.takes_value else []
        prefixes = [name[:length] for length in range(3, len(name))]
        for prefix in prefixes:
            alone = sum(each.startswith(prefix) for each in names) == 1
            if alone and _parsed(command, [prefix, *value]) != _parsed(command, [name, *value]):
                broken.append((prefix, name))
    assert not broken


def _parsed(command: str, arguments: Sequence[str]) -> object:
    """What a command line comes to: values, or an exit status (`--version`, or not understood)."""
    parser = _parser(command)
    for action in parser._actions:
        action.required = False
    try:
        return vars(parser.parse_args(arguments))
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    ("written", "dest", "value"),
    [
        (["-ud", "in"], "upload_directory", Path("in")),
        (["--upload_d", "in"], "upload_directory", Path("in")),
        (["--out", "there"], "out_directory", Path("there")),
        (["-d", "there"], "out_directory", Path("there")),
        (["-dthere"], "out_directory", Path("there")),
        (["--out_directory=there"], "out_directory", Path("there")),
        (["--queryf", "q.csv"], "queryfile", Path("q.csv")),
        (["-q", "q.csv"], "queryfile", Path("q.csv")),
        (["--conf", "other.json"], "config", Path("other.json")),
        (["--mov"], "move", True),
        (["--inf"], "info", True),
        (["--sav"], "save", True),
        (["--res"], "resume", True),
        (["-si"], "info", True),
        (["-si"], "save", True),
        (["-siq", "q.csv"], "queryfile", Path("q.csv")),
        (["-v"], "verbose", 1),
        (["-vv"], "verbose", 2),
        (["--verb"], "verbose", 1),
        (["--sop_class", "1.2", "--sop_class", "1.3"], "sop_class", ["1.2", "1.3"]),
    ],
)
def test_a_command_line_written_years_ago_still_means_the_same(written, dest, value):
    assert getattr(_parser("pacsifier").parse_args(["-c", "config.json", *written]), dest) == value


def test_a_parser_keeps_nothing_from_one_command_line_to_the_next():
    parser = _parser("pacsifier")
    parser.parse_args(["-c", "x", "--sop_class", "1.2", "-v"])
    again = parser.parse_args(["-c", "x"])
    assert (again.sop_class, again.verbose) == ([], 0)


# --- pacsifier: what cannot be asked for together ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--save --move", "--save cannot be used together with --move"),
        ("-s -m -i", "--save cannot be used together with --move"),
        ("--upload --save", "--upload cannot be used together with"),
        ("--upload --move", "--upload cannot be used together with"),
        ("--upload --info", "--upload cannot be used together with"),
        ("--upload --shard 1/2", "--shard"),
        ("", "nothing to do"),
        ("--resume", "nothing to do"),
        ("--move --retrieve_method get", "--retrieve_method is for --save"),
    ],
)
def test_what_cannot_be_asked_for_together_is_said_before_any_file_is_read(options, said, tmp_path):
    run = _run("pacsifier", "-c", "absent.json", "-q", "absent.csv", *options.split(), cwd=tmp_path)
    assert said in usage_error(run)
    assert run.stderr.endswith("\nHEAVY\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--save", "--move", "--info"])
def test_a_forgotten_query_file_is_said(option, tmp_path):
    assert "--queryfile" in usage_error(_run("pacsifier", "-c", "absent.json", option, cwd=tmp_path))


def test_a_forgotten_config_is_said(tmp_path):
    assert "--config" in usage_error(_run("pacsifier", "--save", "-q", "absent.csv", cwd=tmp_path))


@pytest.mark.parametrize(
    "option",
    [
        "--associations 0",
        "--associations two",
        "--limit -1",
        "--shard 9/8",
        "--silence_timeout 0",
        "--silence_timeout nan",
        "--silence_timeout inf",
        "--sop_class CT",
        "--sop_class 1.2\n[[Profiles]]",
        "superfluous",
    ],
)
def test_the_option_of_a_value_that_cannot_be_meant_is_named(option, tmp_path):
    name, _, value = option.partition(" ")
    run = _run(
        "pacsifier", "-c", "absent.json", "-q", "a.csv", "-s", name, *([value] if value else []), cwd=tmp_path
    )
    assert (name if value else "belongs to no option") in usage_error(run)


def usage_error(run: subprocess.CompletedProcess[str]) -> str:
    """The first line of what a mistake on the command line costs, which is all that it costs."""
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("pacsifier: error: ")
    assert "Traceback" not in run.stderr
    return run.stderr.splitlines()[0]


# --- pacsifier: mistakes in the files ----------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a sound config (nobody listens at its port) and a sound query."""
    config = {
        "server_address": "127.0.0.1",
        "port": free_port(),
        "server_AET": "NOBODY",
        "AET": "PACSIFIER",
        "move_AET": "OTHER",
        "move_port": free_port(),
        "batch_size": 30,
        "batch_wait_time": 0,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "query.csv").write_text("PatientID\n1\n", encoding="utf-8")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.dcm").write_bytes(_small_instance())
    return tmp_path


def _small_instance() -> bytes:
    from io import BytesIO

    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3", "1.2.3.5", "1"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


VERBS = [
    ("--save", "-q", "query.csv", "-d", "new/out"),
    ("--info", "-q", "query.csv", "-d", "new/out"),
    ("--move", "-q", "query.csv", "-d", "new/out"),
    ("--upload", "-ud", "images"),
]
RETRIEVALS = VERBS[:3]
each_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
each_retrieval = pytest.mark.parametrize("verb", RETRIEVALS, ids=lambda verb: verb[0])


def _pacsifier(here: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    before = {path.name for path in here.iterdir()}
    run = run_pacsifier("-c", "config.json", *arguments, cwd=here, env=environment)
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert {path.name for path in here.iterdir()} == before, "something was left behind"
    return run


@each_verb
def test_every_fault_of_the_config_is_told_at_once_and_nothing_is_made(here, verb):
    config = json.loads((here / "config.json").read_text())
    config |= {"port": "104", "batch_size": 0, "server_ip": "127.0.0.1"}
    del config["AET"]
    (here / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run = _pacsifier(here, *verb)
    assert run.returncode == 2
    (port,) = [line for line in run.stderr.splitlines() if "'port'" in line]
    assert "config.json" in port
    assert "104" in port
    for key in ("batch_size", "server_ip", "AET"):
        assert f"'{key}'" in run.stderr


@each_verb
def test_an_ipv6_address_fails_with_the_reason_and_the_remedy(here, verb):
    config = json.loads((here / "config.json").read_text()) | {"server_address": "::1"}
    (here / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run = _pacsifier(here, *verb)
    assert run.returncode == 3
    assert "::1 has IPv6 addresses only (::1), and DCMTK 3.6.7 knows IPv4 only: write an IPv4" in run.stderr


@each_retrieval
def test_every_fault_of_the_query_is_told_with_row_column_and_value(here, verb):
    text = "PatientID,StudyDate,Paris\n*,2015-05-12,\n1,20159999,\n2,20150512,\n,,\n1.23E+09,,\n"
    (here / "query.csv").write_text(text, encoding="utf-8")
    run = _pacsifier(here, *verb)
    assert run.returncode == 2
    lines = run.stderr.splitlines()
    for row, column, value in (
        (1, "Paris", ""),
        (2, "PatientID", "'*'"),
        (2, "StudyDate", "'2015-05-12'"),
        (3, "StudyDate", "'20159999'"),
        (6, "PatientID", "'1.23E+09'"),
    ):
        assert [each for each in lines if f"row {row}, column {column}: {value}" in each], (row, column)
    assert [line for line in lines if "row 5" in line]
    assert not [line for line in lines if "row 4" in line]


@pytest.mark.parametrize(
    ("content", "name"), [(b"{", "config.json"), (b"\xff\xfe\x00", "config.json"), (b"", "query.csv")]
)
def test_a_file_that_cannot_be_read_at_all_is_named(here, content, name):
    (here / name).write_bytes(content)
    run = _pacsifier(here, *VERBS[0])
    assert run.returncode == 2
    assert name in run.stderr


@pytest.mark.parametrize("name", ["config.json", "query.csv"])
def test_a_file_that_is_not_there_or_is_a_folder_is_named(here, name):
    (here / name).unlink()
    run = _pacsifier(here, *VERBS[0])
    assert (run.returncode, name in run.stderr) == (2, True)
    (here / name).mkdir()
    run = _pacsifier(here, *VERBS[0])
    assert (run.returncode, name in run.stderr) == (2, True)


@each_retrieval
def test_an_output_folder_that_is_a_file_is_said(here, verb):
    run = _pacsifier(here, *verb[:-1], "config.json")
    assert run.returncode == 2
    assert "config.json" in run.stderr


# --- pacsifier: DCMTK is not what is needed ----------------------------------------------------------------------


def _script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _tool(verb: Sequence[str]) -> str:
    return "storescu" if verb[0] == "--upload" else "findscu"


@each_verb
def test_missing_dcmtk_is_told_with_a_remedy_and_nothing_is_made(here, verb, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    run = _pacsifier(here, *verb, "--dcmtk_dir", empty)
    assert run.returncode == 4
    assert _tool(verb) in run.stderr
    assert str(empty) in run.stderr
    assert "install" in run.stderr


def test_missing_dcmtk_is_told_where_path_leads_nowhere(here):
    run = _pacsifier(here, *VERBS[0], PATH="")
    if run.returncode == 3:
        pytest.skip("DCMTK lies beside the interpreter, where it is looked for too")
    assert run.returncode == 4
    assert "findscu" in run.stderr


@each_verb
def test_a_tool_of_the_same_name_is_told_apart_from_dcmtks(here, verb, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dcm4che")
    for name in ("findscu", "movescu", "storescp", "storescu"):
        _script(folder, name, f'echo "{name}: 5.31.0 (dcm4che)"')
    run = _pacsifier(here, *verb, "--dcmtk_dir", folder)
    assert run.returncode == 4
    assert f"{folder / _tool(verb)} is not DCMTK's {_tool(verb)}" in run.stderr
    assert "--dcmtk_dir" in run.stderr


@each_verb
def test_an_old_dcmtk_is_told_with_its_version_and_the_one_needed(here, verb, tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    for tool in ("findscu", "movescu", "storescp", "storescu", "echoscu"):
        _script(folder, tool, f"echo '$dcmtk: {tool} v3.6.1 2015-01-01 $'")
    run = _pacsifier(here, *verb, "--dcmtk_dir", folder)
    assert run.returncode == 4
    assert "3.6.1" in run.stderr
    assert "3.6.6" in run.stderr


def test_another_tool_of_the_name_earlier_on_path_does_not_hide_dcmtk(here, tmp_path_factory):
    """pynetdicom installs its own findscu, movescu, storescu and storescp beside the interpreter."""
    strangers = tmp_path_factory.mktemp("strangers")
    for name in ("findscu", "movescu", "storescp"):
        _script(strangers, name, f'echo "{name}.py v0.2.0"')
    path = f"{strangers}:{Path(find_binary('findscu')).parent}"
    assert _pacsifier(here, *VERBS[0], PATH=path).returncode == 3


def test_the_folder_that_the_environment_names_is_used_and_an_option_wins_over_it(here, tmp_path_factory):
    ours, empty = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("empty")
    used = ours / "used"
    for name in ("findscu", "movescu", "storescp"):
        _script(ours, name, f'echo {name} >>{used}\nexec {find_binary(name)} "$@"')
    run = _pacsifier(here, *VERBS[0], PACSIFIER_DCMTK_DIR=str(ours))
    assert run.returncode == 3
    assert {"findscu", "movescu", "storescp"} == set(used.read_text().split())
    run = _pacsifier(here, *VERBS[0], PACSIFIER_DCMTK_DIR=str(empty))
    assert run.returncode == 4
    assert str(empty) in run.stderr
    assert _pacsifier(here, *VERBS[0], "--dcmtk_dir", ours, PACSIFIER_DCMTK_DIR=str(empty)).returncode == 3
    assert _pacsifier(here, *VERBS[0], "--dcmtk_dir", empty, PACSIFIER_DCMTK_DIR=str(ours)).returncode == 4


def test_a_relative_dcmtk_folder_is_found_from_where_the_user_stands(here):
    tools = here / "tools"
    for name in ("findscu", "movescu", "storescp"):
        _script(tools, name, f'exec {find_binary(name)} "$@"')
    assert _pacsifier(here, *VERBS[0], "--dcmtk_dir", "tools").returncode == 3


# --- pacsifier: the PACS is down ---------------------------------------------------------------------------------


@each_verb
def test_a_pacs_that_is_down_is_named_and_no_folder_is_left(here, verb):
    config = json.loads((here / "config.json").read_text())
    run = _pacsifier(here, *verb)
    assert run.returncode == 3
    assert f"127.0.0.1:{config['port']}" in run.stderr
    assert "NOBODY" in run.stderr


@each_retrieval
def test_a_pacs_that_is_down_leaves_a_folder_of_the_user_as_it_was(here, verb):
    mine = here / "new" / "out"
    mine.mkdir(parents=True)
    (mine / "mine.txt").write_text("mine")
    assert _pacsifier(here, *verb).returncode == 3
    assert [path.name for path in mine.iterdir()] == ["mine.txt"]


def test_a_full_disk_is_told_without_a_traceback_and_without_naming_the_patient(capsys):
    from pacsifier.cli import common

    def work() -> int:
        raise OSError(28, "No space left on device", "/out/sub-123421/ses-20150512")

    assert common.run(work, "pacsifier", remedy="; --resume goes on from here") == 1
    said = capsys.readouterr().err
    assert said == "pacsifier: the run ended early: No space left on device; --resume goes on from here\n"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("/opt/bin/findscu",), " (/opt/bin/findscu)"),
        (
            ("/data/out.key.json", None, "/data/out.key.json.part"),
            " (/data/out.key.json, /data/out.key.json.part)",
        ),
        (("/data/out",), " (/data/out)"),
        (("/data/out/sub-1234/ses-1",), " (in /data/out)"),
        (("/data/out/1234 Familyname.dcm",), " (in /data/out)"),
        (("/data/out/a", None, "/data/out/b"), " (in /data/out)"),
        (("/data/out/deep/1234",), " (in /data/out/deep)"),
        ((b"/opt/bin/findscu",), " (/opt/bin/findscu)"),
        (("/data/out.left_out/1234 Familyname.txt",), " (in /data/out.left_out)"),
        (("/elsewhere/sub-1234/ses-1",), ""),
        (("1234 Familyname.dcm",), ""),
        ((7,), ""),
        ((), ""),
    ],
)
def test_an_error_of_the_file_system_names_what_was_opened_and_no_patient(names, told, capsys):
    from pacsifier.cli import common

    arguments = argparse.Namespace(out=Path("/data/out"), deep=Path("/data/out/deep"), verbose=0, none=None)

    def work() -> int:
        raise OSError(errno.EACCES, "Permission denied", *names)

    assert common.run(work, "pacsifier", remedy="; again", arguments=arguments) == 1
    assert capsys.readouterr().err == f"pacsifier: the run ended early: Permission denied{told}; again\n"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("data", "{0}/data"),
        ("./new/data/", "{0}/new/data"),
        ("../x", "{0}/../x"),
        ("{0}/data", "{0}/data"),
    ],
)
def test_a_message_names_the_path_in_full_wherever_it_was_typed(typed, shown, tmp_path, monkeypatch, capsys):
    from pacsifier.cli import common
    from pacsifier.errors import InputError

    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    arguments = common.parsed(parser, ["--folder", typed.format(tmp_path)])

    def work() -> int:
        sys.stdout.write(f"{arguments.folder}\n")
        raise InputError(f"{arguments.folder}/sub-1: gone")

    assert common.run(work, "pacsifier", arguments=arguments) == 2
    told = capsys.readouterr()
    whole = shown.format(tmp_path)
    assert told.out == f"{whole}\n"
    assert told.err.splitlines()[0] == f"pacsifier: {whole}/sub-1: gone"
