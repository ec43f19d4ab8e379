"""The wrapper commands by `--print`: nothing of a command line may be lost, mounted wrongly or shown to others."""

from __future__ import annotations

import configparser
import csv
import os
import shlex
from pathlib import Path

import pytest

from pacsifier import __version__
from pacsifier.cli import docker
from pacsifier.cli.docker import IMAGE, WRAPPERS

ROOT = Path(__file__).resolve().parents[2]
every_wrapper = pytest.mark.parametrize("name", WRAPPERS)

# The least that each wrapped command asks for.
LEAST = {
    "docker_pacsifier": "--config c.json --save --queryfile q.csv",
    "docker_anonymize_dicoms": "--in_folder in --out_folder out",
    "docker_create_dicomdir": "",
    "docker_get_pseudonyms": "--project_name p --out_directory out",
    "docker_move_dumps": "--data_folder in --info_folder out",
    "docker_add_karnak_tags": "--in_folder in --new_ids n.json --album_name a",
    "docker_extract_carestream_report": "--data_folder in",
    "docker_report": "in",
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with inputs in it, and nothing in the environment that a wrapper reads."""
    monkeypatch.chdir(tmp_path)
    for name in ("PACSIFIER_ENGINE", "PACSIFIER_DOCKER_IMAGE", "TZ", "DEID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("c.json", "q.csv", "n.json"):
        (tmp_path / name).touch()
    (tmp_path / "in").mkdir()


class Printed:
    """A command line as `--print` shows it, taken apart."""

    def __init__(self, name: str, arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert docker.main([*shlex.split(arguments), "--print"], name) == 0
        self.words = shlex.split(capsys.readouterr().out)
        wrapped = docker._wrapped_parser(name).prog
        self.at = self.words.index(wrapped)
        self.image = self.words[self.at - 1]
        self.options = self.words[: self.at - 1]
        self.command = self.words[self.at :]

    def mounts(self) -> dict[str, bool]:
        """Source -> whether it is writable; each must be at the same place below /host."""
        found = {}
        for option in self.options:
            if option.startswith("--mount="):
                (fields,) = csv.reader([option.removeprefix("--mount=")])
                kind, source, target, *mode = fields
                assert (kind, target) == ("type=bind", f"target=/host{source.removeprefix('source=')}")
                found[source.removeprefix("source=")] = mode != ["readonly"]
        return {
            source: mode for source, mode in found.items() if not source.startswith("/usr/share/zoneinfo")
        }


def test_every_documented_wrapper_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    installed = {line.split("=")[0].strip() for line in scripts if line.strip().startswith("docker_")}
    assert installed == set(WRAPPERS) == set(LEAST)
    page = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in WRAPPERS)
    assert "docs/docker.md" in (ROOT / "README.md").read_text(encoding="utf-8")


@every_wrapper
def test_help_and_version_are_those_of_the_wrapped_command_under_its_own_name(name, capsys):
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as end:
            docker.main([option], name)
        assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {name} ")
    assert out.endswith(f"{name} {__version__}\n")
    wrapped = docker._wrapped_parser(name)
    shown = {
        option
        for action in wrapped._actions
        for option in action.option_strings
        if action.help != "==SUPPRESS=="
    }
    assert all(option in out for option in shown)


@every_wrapper
def test_the_wrapped_command_understands_all_that_it_is_handed(name, capsys):
    printed = Printed(name, LEAST[name], capsys)
    assert printed.image == IMAGE
    handed = vars(docker._wrapped_parser(name).parse_args(printed.command[1:]))
    typed = vars(docker._wrapped_parser(name).parse_args(shlex.split(LEAST[name])))
    for dest, value in typed.items():
        expected = Path(f"/host{value.resolve()}") if isinstance(value, Path) else value
        assert handed[dest] == expected, dest


@every_wrapper
def test_what_the_table_says_is_written_is_an_option_and_a_path(name):
    actions = {action.dest: action for action in docker._wrapped_parser(name)._actions}
    needs = WRAPPERS[name][1]
    assert needs.folders | needs.beside
    for dest in needs.folders | needs.beside:
        assert actions[dest].type is Path, dest


@every_wrapper
def test_no_option_that_names_a_file_or_folder_is_left_unmounted(name):
    for action in docker._wrapped_parser(name)._actions:
        named = (action.metavar or action.dest).lower()
        takes_text = action.nargs is None and action.choices is None
        if takes_text and any(word in named for word in ("file", "folder", "dir", "config")):
            assert action.type is Path, action.dest


@every_wrapper
def test_a_mistake_is_told_before_a_container_starts(name, capsys):
    with pytest.raises(SystemExit) as end:
        docker.main([*shlex.split(LEAST[name]), "--no_such_option"], name)
    assert end.value.code == 2
    assert f"{name}: error: " in capsys.readouterr().err


def test_values_repeats_and_abbreviations_arrive_as_they_were_meant(capsys):
    printed = Printed(
        "docker_pacsifier",
        "--conf c.json -siq q.csv -vv --hours 19:00-06:00 --rate 5MB --sop_class 1.2 --sop_class 1.3 "
        "--min_free 2GB --limit 7 --dcmtk_dir /opt/dcmtk",
        capsys,
    )
    assert printed.command.count("--verbose") == 2
    wanted = "--hours=19:00-06:00 --rate=5MB --sop_class=1.2 --sop_class=1.3 --min_free=2GB --limit=7 --save --info"
    assert set(wanted.split()) <= set(printed.command)
    assert "--dcmtk_dir=/opt/dcmtk" in printed.command, "the image's folder, not one of this machine"


def test_a_value_that_cannot_be_meant_never_reaches_the_engine(capsys):
    with pytest.raises(SystemExit) as end:
        docker.main(shlex.split("-c c.json -s -q q.csv --hours soon"), "docker_pacsifier")
    assert end.value.code == 2
    assert "--hours" in capsys.readouterr().err


def test_inputs_are_read_only_and_only_the_output_is_writable(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    printed = Printed("docker_pacsifier", "-c c.json -s -q q.csv -d out", capsys)
    assert printed.mounts() == {
        str(tmp_path / "c.json"): False,
        str(tmp_path / "q.csv"): False,
        str(tmp_path / "out"): True,
    }


def test_a_folder_that_the_command_makes_lies_where_the_user_meant(tmp_path, capsys):
    printed = Printed("docker_pacsifier", "-c c.json -s -q q.csv -d new/deeper", capsys)
    assert printed.mounts() == {
        str(tmp_path / "c.json"): False,
        str(tmp_path / "q.csv"): False,
        str(tmp_path / "new" / "deeper"): True,
    }
    assert f"--out_directory=/host{tmp_path}/new/deeper" in printed.command
    assert not (tmp_path / "new").exists()


@every_wrapper
def test_nothing_around_an_output_folder_is_writable(name, tmp_path, capsys):
    printed = Printed(name, LEAST[name].replace(" out", " new/out"), capsys)
    (tmp_path / "new").mkdir()
    beside = Printed(name, LEAST[name].replace(" out", " new/out"), capsys)
    # A report of anonymized images lies beside their folder, as what anonymizes does.
    if name == "docker_report":
        return
    for mounts in (
        (printed.mounts(), beside.mounts()) if name != "docker_anonymize_dicoms" else (beside.mounts(),)
    ):
        assert str(tmp_path) not in mounts
        assert not any(writable and tmp_path.is_relative_to(source) for source, writable in mounts.items())


def test_what_writes_beside_its_output_has_the_folder_around_it(tmp_path, capsys):
    printed = Printed("docker_anonymize_dicoms", "-d in -o shared", capsys)
    assert printed.mounts()[str(tmp_path)] is True
    (tmp_path / "site").mkdir()
    printed = Printed("docker_pacsifier", "--check -c c.json -d out --capabilities site/pacs.json", capsys)
    assert printed.mounts()[str(tmp_path / "site")] is True


def test_an_output_folder_is_made_before_the_container_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("PACSIFIER_ENGINE", "engine")
    seen = []
    monkeypatch.setattr(os, "execvp", lambda *_: seen.append((tmp_path / "new" / "deeper").is_dir()))
    docker.main(shlex.split("-c c.json -s -q q.csv -d new/deeper"), "docker_pacsifier")
    assert seen == [True]
    assert not (tmp_path / "new").stat().st_mode & 0o007


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert docker.main(shlex.split("-c c.json -s -q q.csv -d file/deeper"), "docker_pacsifier") == 2
    assert f"{tmp_path}/file/deeper: cannot be made a folder" in capsys.readouterr().err


@pytest.mark.parametrize("there", [False, True])
def test_a_file_or_nothing_in_the_place_of_a_folder_is_the_commands_own_error(tmp_path, capsys, there):
    if there:
        (tmp_path / "typo").touch()
    printed = Printed("docker_move_dumps", "-d typo -o typo", capsys)
    assert printed.mounts() == ({str(tmp_path / "typo"): False} if there else {str(tmp_path / "typo"): True})
    printed = Printed("docker_add_karnak_tags", "-d typo --new_ids n.json -a a", capsys)
    assert True not in printed.mounts().values()


def test_what_is_renamed_beside_the_output_stays_in_one_mount(tmp_path, capsys):
    inside = tmp_path / "data"
    (inside / "in").mkdir(parents=True)
    same = Printed("docker_anonymize_dicoms", "-d data/in -o data/in", capsys)
    assert same.mounts() == {str(inside): True}
    apart = Printed("docker_anonymize_dicoms", "-d data/in -o data/out --key data/key.json", capsys)
    assert apart.mounts() == {str(inside): True, str(inside / "in"): False}


def test_a_table_inside_the_output_can_be_replaced_by_the_run(tmp_path, capsys):
    (tmp_path / "out" / "logs").mkdir(parents=True)
    (tmp_path / "out" / "logs" / "redo.csv").touch()
    printed = Printed("docker_pacsifier", "-c c.json -s -q out/logs/redo.csv -d out", capsys)
    assert str(tmp_path / "out" / "logs" / "redo.csv") not in printed.mounts()


def test_a_path_that_does_not_exist_is_left_to_the_command(tmp_path, capsys):
    printed = Printed("docker_pacsifier", "-c absent.json -s -q q.csv -d in", capsys)
    assert f"--config=/host{tmp_path}/absent.json" in printed.command
    assert str(tmp_path / "absent.json") not in printed.mounts()


@pytest.mark.parametrize("name", ["a b", "a,b", "a:b", 'a"b', "Zürich", "-d", "--x=1"])
def test_any_name_of_a_folder_can_be_mounted(name, tmp_path, capsys):
    (tmp_path / name).mkdir()
    printed = Printed(
        "docker_pacsifier", f"-c c.json -s -q q.csv --out_directory={shlex.quote(name)}", capsys
    )
    assert printed.mounts()[str(tmp_path / name)] is True
    assert f"--out_directory=/host{tmp_path}/{name}" in printed.command


def test_a_link_is_followed_before_it_is_mounted(tmp_path, capsys):
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    printed = Printed("docker_pacsifier", "-c c.json -s -q q.csv -d link", capsys)
    assert printed.mounts()[str(tmp_path / "store")] is True


def test_only_commands_that_talk_to_a_server_get_a_network(capsys):
    networked = {name for name in WRAPPERS if "--net=host" in Printed(name, LEAST[name], capsys).options}
    assert networked == {"docker_pacsifier", "docker_get_pseudonyms"}
    others = set(WRAPPERS) - networked
    assert all("--net=none" in Printed(name, LEAST[name], capsys).options for name in others)


def test_the_token_of_the_service_is_handed_on_by_name_only(monkeypatch, capsys):
    monkeypatch.setenv("DEID_TOKEN", "secret")
    printed = Printed("docker_get_pseudonyms", LEAST["docker_get_pseudonyms"], capsys)
    assert "--env=DEID_TOKEN" in printed.options
    assert "secret" not in " ".join(printed.words)
    assert "--env=DEID_TOKEN" not in Printed("docker_move_dumps", "", capsys).options


def test_output_belongs_to_the_caller(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 2345)
    monkeypatch.setattr(os, "getgroups", lambda: [2345, 44])
    printed = Printed("docker_move_dumps", "", capsys)
    assert {"--user=1234:2345", "--group-add=44"} <= set(printed.options)
    monkeypatch.setenv("PACSIFIER_ENGINE", "/usr/bin/podman --log-level=error")
    printed = Printed("docker_move_dumps", "", capsys)
    assert printed.words[:3] == ["/usr/bin/podman", "--log-level=error", "run"]
    assert {"--user=1234:2345", "--userns=keep-id"} <= set(printed.options)


@pytest.mark.parametrize(
    ("user", "engine", "limits"),
    [
        (1234, "docker", {"--cap-drop=ALL", "--pids-limit=2048"}),
        (1234, "podman", {"--cap-drop=ALL"}),
        (
            0,
            "docker",
            {
                *("--cap-drop=ALL", "--cap-add=DAC_OVERRIDE", "--cap-add=NET_BIND_SERVICE"),
                "--pids-limit=2048",
            },
        ),
    ],
)
def test_a_container_can_do_no_more_than_its_user_and_flood_nothing(
    monkeypatch, capsys, user, engine, limits
):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("PACSIFIER_ENGINE", engine)
    options = Printed("docker_pacsifier", LEAST["docker_pacsifier"], capsys).options
    assert {each for each in options if each.startswith(("--cap", "--pids"))} == limits
    assert "--security-opt=no-new-privileges" in options


def test_hours_of_the_day_are_those_of_this_machine(monkeypatch, capsys):
    monkeypatch.setenv("TZ", "Europe/Zurich")
    assert "--env=TZ" in Printed("docker_move_dumps", "", capsys).options
    monkeypatch.delenv("TZ")
    zone = Path("/etc/localtime").resolve()
    options = Printed("docker_move_dumps", "", capsys).options
    assert (f"--env=TZ=:/host{zone}" in options) == zone.is_file()


def test_the_image_is_the_option_then_the_variable_then_the_published_one(monkeypatch, capsys):
    monkeypatch.setenv("PACSIFIER_DOCKER_IMAGE", "registry.example/pacsifier:2")
    assert Printed("docker_move_dumps", "", capsys).image == "registry.example/pacsifier:2"
    assert Printed("docker_move_dumps", "--image mine:1", capsys).image == "mine:1"


def test_an_engine_that_is_not_there_is_named_with_a_remedy(monkeypatch, capsys):
    monkeypatch.setenv("PACSIFIER_ENGINE", "no-such-engine")
    assert docker.main([], "docker_move_dumps") == 4
    said = capsys.readouterr().err
    assert "no-such-engine" in said
    assert "PACSIFIER_ENGINE" in said


def test_an_engine_that_is_not_there_is_told_so_whatever_stands_on_path(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PACSIFIER_ENGINE", "no-such-engine")
    monkeypatch.setenv("PATH", f"{tmp_path / ('n' * 300)}:{tmp_path}")
    assert docker.main([], "docker_move_dumps") == 4
    assert "'no-such-engine' cannot be started: No such file or directory" in capsys.readouterr().err


def test_a_name_that_is_no_wrapper_is_said(capsys):
    assert docker.main([], "docker_other") == 2
    assert "docker_move_dumps" in capsys.readouterr().err
