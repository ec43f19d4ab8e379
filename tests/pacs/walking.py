"""Pages read aloud: what a page has a person type and write, in its order, in the shell, in a folder of a newcomer's.

A line that is indented by four blanks is typed; `in another terminal` behind it: it goes on beside the others. A fenced
block is a file where the paragraph above it begins with the file's name, such as `` `query.csv` ``.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pacs.servers import find_binary, free_port

ROOT = Path(__file__).resolve().parents[2]
BACKGROUND = "in another terminal"
DEMO_PORT, MOVE_PORT = "11112", "11113"
DEID_SERVICE = "https://deid.example.org/api/pseudonyms"
MODULES = {"pacsifier": "retrieve", "pacsifier-extract-carestream-report": "extract_report"}
NAMED = re.compile(r"`([\w.]+\.(?:csv|json|txt))`[ ,:]")


@dataclass(frozen=True)
class Step:
    """A command line of a page, or a file that it shows (`name` is its name)."""

    text: str
    name: str = ""

    @property
    def in_background(self) -> bool:
        return BACKGROUND in self.text.partition("#")[2]

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def program(self) -> str:
        return "" if self.name else self.words[0] if self.words else ""


def steps(text: str) -> Iterator[Step]:
    """All that is to be typed or written, in order."""
    name, fenced, before = "", None, ""
    for line in text.splitlines():
        if line.startswith("```"):
            if fenced is not None and name:
                yield Step("\n".join(fenced) + "\n", name)
            fenced, name = (None, "") if fenced is not None else ([], name)
        elif fenced is not None:
            fenced.append(line)
        elif line.startswith("    "):
            yield Step(line.strip())
            name = ""
        elif not before and (shown := NAMED.match(line)):
            name = shown[1]
        elif line.startswith("#"):
            name = ""
        before = line


class Walk:
    """A folder of a newcomer, with what runs in other terminals; a context manager."""

    def __init__(self, folder: Path, service: str = "") -> None:
        self.folder, self.service = folder / "here", service
        self.programs = folder / "programs"
        self.ports = {DEMO_PORT: str(free_port()), MOVE_PORT: str(free_port())}
        self.others: list[subprocess.Popen[str]] = []
        self.folder.mkdir()
        self.install()

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.others:
            end(process)

    def install(self) -> None:
        """The commands of this checkout, as pip would have installed them, and DCMTK's own."""
        self.programs.mkdir()
        lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()
        names = [line.split()[0] for line in lines if re.match(r"    pacsifier\S* = ", line)]
        for name in names:
            module = MODULES.get(name, name.removeprefix("pacsifier-").replace("-", "_"))
            ports = f"--port {self.ports[DEMO_PORT]} --move_port {self.ports[MOVE_PORT]} "
            self._program(
                name,
                f'{shlex.quote(sys.executable)} -m pacsifier.cli.{module} {ports if module == "demo_pacs" else ""}"$@"',
            )
        self._program("python", f'{shlex.quote(sys.executable)} "$@"')
        # An environment with pynetdicom has programs of the same names.
        self._program("storescp", f'{find_binary("storescp")} "$@"')

    def _program(self, name: str, command: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
        path.chmod(0o755)

    def take(self, step: Step) -> None:
        if step.name:
            self.write(step)
        elif step.in_background:
            self.start(step)
        else:
            done = subprocess.run(
                self.argv(step),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            assert done.returncode == 0, f"{step.text}\n{done.stdout}{done.stderr}"
            if step.program.startswith("pacsifier"):
                self.end_all_but_the_pacs()

    def argv(self, step: Step) -> list[str]:
        text = re.sub(rf"\b({DEMO_PORT}|{MOVE_PORT})\b", lambda found: self.ports[found[1]], step.text)
        # The shell becomes what runs beside the others, so that its end is theirs.
        return ["bash", "-c", f"exec {text}" if step.in_background else text]

    def environment(self) -> dict[str, str]:
        places = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        path = os.pathsep.join([str(self.programs), os.environ.get("PATH", "")])
        return {**os.environ, "PYTHONPATH": places, "PATH": path}

    def write(self, step: Step) -> None:
        text = step.text.replace(DEID_SERVICE, self.service)
        path = self.folder / step.name
        if step.name == "config.json" and path.exists():
            # The one of the demo PACS lies there already; this one has the same keys.
            assert set(json.loads(text)) == set(json.loads(path.read_text("utf-8")))
            return
        path.write_text(text, encoding="utf-8")

    def start(self, step: Step) -> None:
        process = subprocess.Popen(
            self.argv(step),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.others.append(process)
        if step.program == "pacsifier-demo-pacs":
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


def headers(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The columns of every table below a folder, and the keys of every line of JSON."""
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield path, next(csv.reader(file), [])
    for path in sorted(folder.rglob("audit.jsonl")):
        yield path, list(json.loads(path.read_text(encoding="utf-8").splitlines()[0]))
    for name in ("summary.json", "*.key.json"):
        for path in sorted(folder.rglob(name)):
            yield path, list(json.loads(path.read_text(encoding="utf-8")))
