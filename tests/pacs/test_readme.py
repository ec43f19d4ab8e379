"""README read aloud: its commands, in their order, on the demo PACS, as a newcomer would type them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pacs.servers import find_binary, free_port

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BACKGROUND = "in another terminal"
DEMO_PORT, MOVE_PORT = "11112", "11113"
OF_DCMTK = ("storescp",)
OF_A_SHELL = ("cp", "mkdir", "chmod")


@dataclass(frozen=True)
class Step:
    """A command line of README, or a file that it shows (`name` is its name)."""

    text: str
    name: str = ""

    @property
    def in_background(self) -> bool:
        return BACKGROUND in self.text.partition("#")[2]

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def steps(text: str) -> Iterator[Step]:
    """Everything between "Use it" and "Exit status" that is to be typed or written, in order."""
    part = text[text.index("\n## Use it") : text.index("\n### Exit status")]
    name, fenced = "", None
    for line in part.splitlines():
        if line.startswith("```"):
            if fenced is not None and name:
                yield Step("\n".join(fenced) + "\n", name)
            fenced, name = (None, "") if fenced is not None else ([], name)
        elif fenced is not None:
            fenced.append(line)
        elif line.startswith("    "):
            yield Step(line.strip())
        elif shown := re.match(r"`(\w+\.(?:csv|json))` ", line):
            name = shown[1]
        elif line.startswith("#"):
            name = ""


STEPS = tuple(steps(README.read_text(encoding="utf-8")))


class Walk:
    """A folder of a newcomer, with what runs in other terminals."""

    def __init__(self, folder: Path, service: str) -> None:
        self.folder, self.service = folder, service
        self.ports = {DEMO_PORT: str(free_port()), MOVE_PORT: str(free_port())}
        self.others: list[subprocess.Popen[str]] = []

    def take(self, step: Step) -> None:
        if step.name:
            self.write(step)
        elif step.in_background:
            self.start(step)
        else:
            done = subprocess.run(
                self.argv(step), cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, f"{step.text}\n{done.stdout}{done.stderr}"
            if step.words[0] not in OF_A_SHELL:
                self.end_all_but_the_pacs()

    def argv(self, step: Step) -> list[str]:
        program, *words = (self.ports.get(word, word) for word in step.words)
        if program in OF_A_SHELL:
            return [program, *words]
        if program in OF_DCMTK:
            return [find_binary(program), *words]
        own = {"pacsifier": "retrieve", "pacsifier-extract-carestream-report": "extract_report"}
        module = own.get(program, program.removeprefix("pacsifier-").replace("-", "_"))
        if module == "demo_pacs":
            words += ["--port", self.ports[DEMO_PORT], "--move_port", self.ports[MOVE_PORT]]
        return [sys.executable, "-m", f"pacsifier.cli.{module}", *words]

    def write(self, step: Step) -> None:
        text = step.text.replace("https://deid.example.org/api/pseudonyms", self.service)
        if step.name == "config.json":
            # The one of the demo PACS lies there already; this one has the same keys.
            assert set(json.loads(text)) == set(json.loads((self.folder / step.name).read_text("utf-8")))
            return
        (self.folder / step.name).write_text(text, encoding="utf-8")

    def start(self, step: Step) -> None:
        process = subprocess.Popen(
            self.argv(step), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.others.append(process)
        if process is self.others[0]:
            assert process.stdout is not None
            assert any("Ctrl-C ends it." in line for line in process.stdout)
        else:
            deadline = time.monotonic() + 20
            while not listens(int(self.ports[MOVE_PORT])):
                assert process.poll() is None and time.monotonic() < deadline, step.text

    def end_all_but_the_pacs(self) -> None:
        for process in self.others[1:]:
            end(process)
        del self.others[1:]


def listens(port: int) -> bool:
    wanted = f":{port:04X} "
    tables = (Path(f"/proc/net/{name}") for name in ("tcp", "tcp6"))
    lines = (line for table in tables if table.exists() for line in table.read_text().splitlines())
    return any(wanted in line and " 0A " in line for line in lines)


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=15)
    if process.poll() is None:
        process.kill()
        process.communicate()


@pytest.fixture
def service(httpserver: HTTPServer) -> str:
    """A de-ID service that knows everybody."""

    def answer(request: Request) -> Response:
        patients = [each["PatientID"] for each in request.get_json()["PatientIDList"]]
        shift = request.path.endswith("_shift")
        told = {f"sub-{each}": "-3" if shift else f"X{number:04}" for number, each in enumerate(patients)}
        return Response(json.dumps(told), content_type="application/json")

    httpserver.expect_request(re.compile("/deid(_shift)?"), method="POST").respond_with_handler(answer)
    return httpserver.url_for("/deid")


def set_up_here() -> bool:
    """Whether scripts/ of this folder made the environment: those of another one would install this folder into it."""
    # Not by importlib.metadata, which also finds what a build has left in the working folder.
    places = Path(sysconfig.get_path("purelib")).glob("pacsifier-*.dist-info/direct_url.json")
    return [json.loads(place.read_text())["url"] for place in places] == [ROOT.as_uri()]


@pytest.mark.skipif(
    not (set_up_here() or os.environ.get("CI")), reason="scripts/ of this folder did not set this up"
)
def test_the_demo_ends_with_two_commands_that_start_its_pacs_again_and_query_it(tmp_path):
    folder = tmp_path / "my demo"
    done = subprocess.run(
        [ROOT / "scripts" / "demo", folder],
        env={**os.environ, "PACSIFIER_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    start, query = (shlex.split(line) for line in done.stdout.splitlines()[-4:] if line.startswith("    "))
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pacs:
        try:
            assert pacs.stdout is not None
            assert any("Ctrl-C ends it." in line for line in pacs.stdout)
            again = subprocess.run(query, capture_output=True, text=True, timeout=120, check=False)
        finally:
            end(pacs)
    assert again.returncode == 0, again.stderr
    assert "rows: 7 (7 complete)" in again.stderr


def test_every_command_of_the_package_is_in_the_walk():
    told = {step.words[0] for step in STEPS if not step.name and step.words}
    shown = set(re.findall(r"^\| `(pacsifier-[a-z-]+)`", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert shown | {"pacsifier", "pacsifier-anonymize", "pacsifier-demo-pacs"} <= told


def test_the_commands_of_readme_work_in_their_order_on_the_demo_pacs(tmp_path, service):
    walk = Walk(tmp_path, service)
    try:
        for step in STEPS:
            walk.take(step)
    finally:
        for process in walk.others:
            end(process)
    images = [path for path in (tmp_path / "data").rglob("*.2.25.*") if path.suffix != ".csv"]
    assert len(list((tmp_path / "elsewhere").iterdir())) == len(images) > 30
    assert len(list((tmp_path / "coded").glob("sub-P000*"))) == 3
    assert (tmp_path / "cd" / "DICOMDIR").is_file()
    assert list((tmp_path / "info").rglob("*.csv"))
    assert (tmp_path / "data" / "reports.csv").is_file() != (tmp_path / "info" / "reports.csv").is_file()
    assert len(json.loads((tmp_path / "ids" / "new_ids_OTHERPROJECT.json").read_text())) == 3
