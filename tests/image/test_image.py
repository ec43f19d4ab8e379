"""The image as a user runs it: built for real, by docker and podman, against a PACS that answers."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from image.conftest import OWNER, Demo
from image.engines import ROOT, WITHIN_S, Engine, wait_until
from pacsifier import __version__

NOBODY = ("--user=54321:54321", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--env=HOME=")


def _documented_line(folder: Path) -> str:
    """The `docker run` of docs/docker.md, word for word but for the folder."""
    text = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    (docker run (?:.*\\\n)+.*)$", text, re.MULTILINE)
    assert line.count("/path/to/my_dir:") == 1
    return line.replace("/path/to/my_dir", shlex.quote(str(folder)))


def _files(folder: Path) -> dict[str, bytes]:
    """The images of a tree, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("sub-*/ses-*/*/*")}


def _owners(folder: Path) -> set[tuple[int, int]]:
    return {(path.lstat().st_uid, path.lstat().st_gid) for path in folder.rglob("*")}


def _modules(demo: Demo, folder: Path) -> dict[str, bytes]:
    """What the PACS holds of the query, brought by pacsifier of this machine."""
    folder = demo.inputs(folder)
    command = ["--save", "-c", folder / "my_config.json", "-q", folder / "my_query.csv", "-d", folder / "out"]
    run = subprocess.run(
        [sys.executable, "-m", "pacsifier.cli.retrieve", *map(str, command)],
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return _files(folder / "out")


@pytest.fixture(scope="module")
def wanted(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return _modules(demo, tmp_path_factory.mktemp("wanted") / "in")


def test_the_documented_line_brings_all_images_and_they_belong_to_the_owner_of_the_folder(
    engine: Engine, demo: Demo, wanted, tmp_path
):
    folder = demo.inputs(tmp_path / "my dir")
    line = _documented_line(folder).replace("docker run", f"{shlex.join(engine.words)} run", 1)
    run = subprocess.run(
        ["bash", "-c", line],
        env=dict(engine.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=WITHIN_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert wanted
    assert _files(folder / "my_output_dir") == wanted
    assert list((folder / "my_output_dir").glob("sub-*/ses-*/*.csv"))
    assert _owners(folder) == {OWNER}
    assert engine.containers() == []


def test_any_user_with_a_read_only_root_no_capabilities_and_no_home(
    engine: Engine, demo: Demo, wanted, tmp_path
):
    folder = demo.inputs(tmp_path / "in")
    for path in (folder, *folder.iterdir()):
        os.chown(path, 54321, 54321)
    command = shlex.split("pacsifier --save -q my_query.csv -c my_config.json -d out")
    run = engine.run(*command, options=["--net=host", f"--volume={folder}:/base", *NOBODY])
    assert run.returncode == 0, run.stderr
    assert _files(folder / "out") == wanted
    assert _owners(folder) == {(54321, 54321)}


def test_a_root_that_may_not_change_its_user_is_told_the_option(docker: Engine, demo: Demo, tmp_path):
    folder = demo.inputs(tmp_path / "in")
    options = ["--net=host", f"--volume={folder}:/base", "--cap-drop=ALL"]
    run = docker.run("pacsifier", "--version", options=options)
    assert (run.returncode, run.stdout) == (0, f"pacsifier {__version__}\n")
    assert f"--user {OWNER[0]}:{OWNER[1]}" in run.stderr


def test_a_receiver_of_an_ordinary_user_may_listen_where_the_pacs_sends(docker: Engine, demo: Demo, tmp_path):
    """Port 104 is what most PACS know; root could listen there, and the user that it becomes still can."""
    folder = demo.inputs(tmp_path / "in")
    program = "import os, socket; s = socket.socket(); s.bind(('127.0.0.1', 104)); print(os.getuid())"
    run = docker.run("python", "-c", program, options=["--net=host", f"--volume={folder}:/base"])
    assert (run.returncode, run.stdout) == (0, f"{OWNER[0]}\n"), run.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("pacsifier --version", 0),
        ("pacsifier --save -c /absent.json -q /absent.csv", 2),
        ("pacsifier --no_such_option", 2),
        ("sh -c 'exit 77'", 77),
        ("no-such-command", 127),
    ],
)
def test_the_exit_status_is_the_commands_own(docker: Engine, command, status):
    assert docker.run(*shlex.split(command)).returncode == status


def test_stdin_reaches_the_command_and_output_comes_as_it_is_written(engine: Engine):
    argv = engine.argv("sh", "-c", "echo first; cat", options=["--interactive", "--net=host"])
    with subprocess.Popen(
        argv, env=dict(engine.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        # It still waits for more: output that is held back would block here.
        assert process.stdout.readline() == "first\n"
        process.stdin.write("second")
        process.stdin.close()
        assert process.stdout.read() == "second"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command_in_order_and_leaves_no_container(engine: Engine, number, status):
    command = ("pacsifier-demo-pacs", "--directory", "/tmp/pacs")
    argv = engine.argv(*command, options=["--net=none", "--user=54321:54321"])
    with subprocess.Popen(
        argv, env=dict(engine.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(WITHIN_S) == status
    wait_until(lambda: engine.containers() == [], "a container is left")


def test_the_command_runs_in_the_documented_environment_with_or_without_the_entrypoint(docker: Engine):
    program = "import os, sys; print(sys.prefix, os.environ['CONDA_DEFAULT_ENV'], os.environ['HOME'])"
    run = docker.run("python", "-c", program, options=NOBODY)
    assert run.stdout == "/opt/conda/envs/pacsifier_minimal pacsifier_minimal /tmp\n"
    run = docker.run("--version", options=["--entrypoint=pacsifier", *NOBODY])
    assert run.stdout == f"pacsifier {__version__}\n"


def test_scripts_of_the_conda_environment_are_sourced(docker: Engine, tmp_path):
    (tmp_path / "one.sh").write_text("export FROM_ACTIVATION=$NOT_SET-yes\n")
    mount = f"--volume={tmp_path}:/opt/conda/envs/pacsifier_minimal/etc/conda/activate.d:ro"
    assert docker.run("printenv", "FROM_ACTIVATION", options=[mount]).stdout == "-yes\n"


def test_one_dcmtk_ships_and_it_is_the_one_that_was_tested(docker: Engine):
    found = docker.run("find", "/", "-xdev", "-name", "findscu").stdout.split()
    assert found == ["/usr/bin/findscu"]
    here = subprocess.run(
        ["/usr/bin/findscu", "--version"], capture_output=True, encoding="utf-8", check=True
    )
    there = docker.run("/usr/bin/findscu", "--version")
    assert there.stdout.splitlines()[0] == here.stdout.splitlines()[0]


def test_the_image_says_what_is_in_it_and_that_is_what_was_locked(docker: Engine):
    lines = docker.run("cat", "/usr/share/pacsifier/packages.txt").stdout.splitlines()
    installed = {tuple(line.split()[1:3]) for line in lines if line.startswith("pypi ")}
    lock = (ROOT / "scripts/docker/requirements.lock").read_text(encoding="utf-8")
    locked = {(name, version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE)}
    known = {name.lower().replace("_", "-"): version for name, version in installed}
    assert known.pop("pacsifier") == __version__
    for tool in ("pip", "setuptools"):
        known.pop(tool, None)
    assert set(known.items()) <= locked
    assert {"pydicom", "pandas", "sh", "jsonschema"} <= set(known)
    assert any(line.startswith("deb dcmtk 3.6.") for line in lines)


def test_a_bill_of_materials_of_all_packages_lies_in_the_image(docker: Engine):
    text = docker.run("cat", "/usr/share/pacsifier/sbom.cdx.json").stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = docker.run("cat", "/usr/share/pacsifier/packages.txt").stdout.splitlines()
    told = json.loads(text)
    assert told["metadata"]["component"]["version"] == __version__
    assert len(told["components"]) == len(set(listed))
    assert any(each["purl"].startswith("pkg:deb/debian/dcmtk@3.6.") for each in told["components"])


def test_labels_tell_version_and_revision(docker: Engine):
    labels = docker.inspect()["Labels"]
    assert isinstance(labels, dict)
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == "tested"


@pytest.mark.parametrize(
    "broken", ["", "/usr/bin/findscu", "/opt/conda/envs/pacsifier_minimal/bin/pacsifier"]
)
def test_the_health_check_fails_when_a_tool_cannot_be_started(docker: Engine, broken):
    check = docker.inspect()["Healthcheck"]
    assert isinstance(check, dict)
    kind, command = check["Test"]
    assert kind == "CMD-SHELL"
    mount = [f"--volume=/dev/null:{broken}"] if broken else []
    run = docker.run("sh", "-c", command, options=[*NOBODY, *mount])
    assert (run.returncode == 0) == (not broken), run.stderr


def test_nothing_that_git_ignores_or_the_tests_need_is_in_the_image(docker: Engine):
    found = docker.run("find", "/build", "/base", "/opt", "/srv", "-name", "pacsifier", "-type", "d").stdout
    assert found.split() == ["/opt/conda/envs/pacsifier_minimal/lib/python3.11/site-packages/pacsifier"]
