"""What identifies a patient stays in the tree, the 0600 tables and the association; no run shows it to a bystander."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from commands import glimpse, invoke
from pacs.runs import Row, arguments, interrupt, read_table, write_query
from pacs.servers import MOVE_AET, RawScp, Server, free_port, pacsifier_argv, start_dcmqrscp, start_orthanc

from faults.corpus import ROOT, TEXT_SR, write_instance

BIRTH_DATE = "18870317"
TOKENS = ("SECRETID", "SECRETNAME", "SecretGiven", "SECRETACC", "SECRETDESC", BIRTH_DATE)
"""No run may show any of these: they stand in every patient of the corpus, and nowhere else."""

PATIENTS = range(1, 5)


def _write(folder: Path, number: int, instance: int = 1, **values: str) -> Path:
    return write_instance(
        folder / f"{number}-{instance}.dcm",
        number,
        instance,
        **{
            "PatientID": f"SECRETID{number}",
            "PatientName": f"SECRETNAME{number}^SecretGiven{number}",
            "PatientBirthDate": BIRTH_DATE,
            "AccessionNumber": f"SECRETACC{number}",
            "StudyDescription": f"SECRETDESC{number}",
            "SeriesDescription": f"SECRETDESC{number}",
        }
        | values,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Four patients of three instances."""
    folder = tmp_path_factory.mktemp("files")
    return [_write(folder, number, instance) for number in PATIENTS for instance in (1, 2, 3)]


@pytest.fixture(scope="module")
def secret(tmp_path_factory, files, peers) -> Iterator[Server]:
    """Orthanc with them."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc"), files, peers) as server:
        yield server


@pytest.fixture(scope="module")
def secret_dcmqrscp(tmp_path_factory, files, peers) -> Iterator[Server]:
    """And dcmqrscp."""
    with start_dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"), files, peers) as server:
        yield server


# --- a run that is watched ---------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What a bystander saw of a run: its output, and of its processes the command lines, environments and limits."""

    status: int = 0
    output: str = ""
    argv: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    core_limits: set[str] = field(default_factory=set)
    open_paths: set[Path] = field(default_factory=set)

    def tools(self) -> set[str]:
        return {Path(argv.split(b"\0")[0].decode()).name for argv in self.argv}


def _watch(args: Sequence[object], out: Path, *, umask: int = 0o022, code: str = "") -> Watched:
    """Runs `pacsifier` (after Python `code`, where given) and looks at its processes all the while."""
    argv = pacsifier_argv(*args)
    if code:
        argv = [sys.executable, "-c", f"{code}\nimport sys\nsys.exit(main())", *map(str, args)]
    (out.parent / "tmp").mkdir(parents=True, exist_ok=True)
    seen = Watched()
    with (out.parent / "output").open("w+b") as output, _core_dumps_allowed():
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(out.parent / "tmp")},
            umask=umask,
        )
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            for child in _descendants(process.pid):
                _look_at(child, seen)
            for each in glimpse(out, ".pacsifier*"):
                _look_into(each, seen)
            time.sleep(0.003)
        output.seek(0)
        seen.output = output.read().decode()
    seen.status = process.returncode
    return seen


@contextlib.contextmanager
def _core_dumps_allowed() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
        children = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in tasks]
    except OSError:
        return
    for child in {int(each) for text in children for each in text.split()}:
        yield from _descendants(child)


def _look_at(pid: int, seen: Watched) -> None:
    try:
        seen.argv.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        seen.environments.add(Path(f"/proc/{pid}/environ").read_bytes())
        if not Path(os.readlink(f"/proc/{pid}/exe")).name.startswith("python"):  # noqa: PTH115
            limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
            seen.core_limits |= {line.split()[4] for line in limits if line.startswith("Max core file size")}
    except OSError:
        return  # it has ended


def _look_into(staging: Path, seen: Watched) -> None:
    """Notes what others could reach in the staging folder."""
    try:
        if staging.stat().st_mode & 0o077:
            seen.open_paths.add(staging)
    except OSError:
        return


def _assert_silent(seen: Watched) -> None:
    for token in TOKENS:
        assert token not in seen.output, seen.output
        for where in (seen.argv, seen.environments):
            assert not [each for each in where if token.encode() in each]
    assert seen.open_paths == set()
    assert seen.core_limits <= {"0"}
    assert "Traceback" not in seen.output


def _assert_private(folder: Path) -> None:
    """Nothing of a run lies open, but images and info in the tree; nothing is left in the temporary folder."""
    out = folder / "out"
    assert not list((folder / "tmp").iterdir())
    assert not list(folder.rglob("core*"))
    logs = out / "logs"
    if logs.exists():
        for path in [logs, *logs.rglob("*")]:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    for path in out.rglob("new_id.txt"):
        assert path.stat().st_mode & 0o777 == 0o600
    with_tokens = set(folder.rglob("*SECRET*"))
    assert {path.relative_to(out).parts[0][:4] for path in with_tokens} <= {"sub-"}
    assert not list(out.glob(".pacsifier*"))


BY_ID: list[Row] = [{"PatientID": f"SECRETID{number}"} for number in PATIENTS]
BY_NAME: list[Row] = [{"PatientName": f"SecretGiven{number} Secretname{number}"} for number in PATIENTS]
BY_ACCESSION: list[Row] = [{"AccessionNumber": f"SECRETACC{number}"} for number in PATIENTS]
BY_BIRTH_DATE: list[Row] = [{"PatientBirthDate": BIRTH_DATE, "PatientID": "SECRETID*"}]
NOT_THERE: list[Row] = [{"PatientID": "SECRETID77"}, {"PatientName": "SECRETNAME88"}, *BY_ID]
PSEUDONYMS: list[Row] = [{"PatientID": f"SECRETID{number}", "new_ids": f"P{number}"} for number in PATIENTS]


@pytest.mark.parametrize(
    ("options", "rows", "tools"),
    [
        (["--info", "-v"], BY_ID, {"findscu"}),
        (["--info", "-v"], BY_NAME, {"findscu"}),
        (["--info"], BY_BIRTH_DATE, {"findscu"}),
        (["--save", "--info", "-v"], BY_ACCESSION, {"findscu", "movescu", "storescp"}),
        (["--save", "-v"], PSEUDONYMS, {"findscu", "movescu", "storescp"}),
        (["--save", "-v"], NOT_THERE, {"findscu", "movescu", "storescp"}),
        (["--save", "--dry_run", "-v"], BY_ID, {"findscu"}),
    ],
    ids=[
        "info by id",
        "info by name",
        "info by birth date",
        "save",
        "save with new_ids",
        "not found",
        "dry run",
    ],
)
def test_no_process_and_no_line_tells_who_is_fetched(secret, tmp_path, options, rows, tools):
    seen = _watch(arguments(secret, tmp_path, rows, *options), tmp_path / "out")
    assert seen.status == (1 if rows is NOT_THERE else 0), seen.output
    assert tools & seen.tools(), "no tool was seen"
    assert seen.core_limits == {"0"}
    _assert_silent(seen)
    _assert_private(tmp_path)


@pytest.mark.parametrize("rows", [BY_ID, BY_NAME], ids=["by id", "by name"])
def test_dcmqrscp_too_serves_without_anybody_being_told(secret_dcmqrscp, tmp_path, rows):
    seen = _watch(arguments(secret_dcmqrscp, tmp_path, rows, "--save", "--info", "-v"), tmp_path / "out")
    assert seen.status == 0, seen.output
    _assert_silent(seen)
    _assert_private(tmp_path)


def test_no_process_and_no_line_tells_who_is_moved(secret, tmp_path):
    with RawScp(MOVE_AET, secret.move_port, [TEXT_SR]) as receiver:
        seen = _watch(arguments(secret, tmp_path, BY_ID, "--move", "-v"), tmp_path / "out")
    assert len(receiver.objects) == 3 * len(PATIENTS), seen.output
    _assert_silent(seen)
    _assert_private(tmp_path)


def test_no_process_and_no_line_tells_who_is_resumed(secret, tmp_path):
    args = arguments(secret, tmp_path, BY_ID, "--save", "--info", "--resume", "-v")
    assert _watch(args, tmp_path / "out").status == 0
    first, second, *_ = sorted((tmp_path / "out").glob("sub-*/ses-*/*/SRt.*"))
    first.unlink()
    os.truncate(second, 400)
    seen = _watch(args, tmp_path / "out")
    assert seen.status == 0, seen.output
    _assert_silent(seen)
    _assert_private(tmp_path)


def test_no_process_and_no_line_tells_who_is_uploaded(secret, tmp_path):
    assert _watch(arguments(secret, tmp_path, BY_ID, "--save", "--info"), tmp_path / "out").status == 0
    broken = _write(tmp_path / "out" / "sub-SECRETID9" / "ses-1" / "1-SECRETDESC9", 9)
    broken = broken.rename(broken.with_name("SRt.2.25.9"))
    os.truncate(broken, 400)
    config = secret.write_config(tmp_path / "config.json")
    args = ["--upload", "-v", "-c", config, "-ud", tmp_path / "out"]
    seen = _watch(args, tmp_path / "out")
    assert seen.status == 1, seen.output
    assert "storescu" in seen.tools()
    assert "SRt.2.25.9: not whole" in seen.output, "the file is named by its UID"
    for token in TOKENS[:1]:
        assert token not in seen.output
    assert not [each for each in seen.argv | seen.environments if b"SECRET" in each]
    assert not list((tmp_path / "tmp").iterdir())


# --- runs that fail ----------------------------------------------------------------------------------------------


def _down(server: Server) -> dict[str, object]:
    return {"port": free_port()}


def _unknown(server: Server) -> dict[str, object]:
    return {"server_AET": "SOMEBODY"}


def _unreachable(server: Server) -> dict[str, object]:
    return {"move_port": free_port()}


@pytest.mark.parametrize("fault", [_down, _unknown, _unreachable])
@pytest.mark.parametrize("verb", ["--save", "--info"])
def test_a_run_that_fails_tells_no_patient(
    secret, tmp_path, fault: Callable[[Server], Mapping[str, object]], verb
):
    args = arguments(secret, tmp_path, BY_ID, verb, "-v", "--retry_wait", "0.01", **fault(secret))
    seen = _watch(args, tmp_path / "out")
    assert seen.status == (0 if fault is _unreachable and verb == "--info" else seen.status or 99)
    _assert_silent(seen)
    _assert_private(tmp_path)


def test_an_interrupted_run_tells_no_patient(secret, tmp_path):
    args = arguments(secret, tmp_path, BY_ID, "--save", "-v", batch_size=1, batch_wait_time=60)
    log = tmp_path / "out" / "logs" / "pacsifier_log.csv"
    status, said, _ = interrupt(
        args,
        signal.SIGINT,
        lambda: log.exists() and bool(glimpse(tmp_path / "out", "sub-*/ses-*/*/SRt.*")),
    )
    assert status == 130
    assert not [token for token in TOKENS if token in said], said
    (tmp_path / "tmp").mkdir()
    _assert_private(tmp_path)


@pytest.mark.parametrize("which", ["patient", "series", "info"])
def test_an_error_of_the_file_system_tells_no_patient(secret, tmp_path, which):
    patient = tmp_path / "out" / "sub-SECRETID2"
    blocked = {
        "patient": patient,
        "series": patient / "ses-20200101120000" / "00001-SECRETDESC2",
        "info": patient / "ses-20200101120000" / "00001-SECRETDESC2.csv" / "a folder",
    }[which]
    blocked.parent.mkdir(parents=True)
    blocked.mkdir() if which == "info" else blocked.write_text("in the way")
    seen = _watch(arguments(secret, tmp_path, BY_ID, "--save", "--info", "-v"), tmp_path / "out")
    assert seen.status == 1, seen.output
    _assert_silent(seen)


def test_a_fault_of_one_cell_does_not_tell_the_others_of_its_row(secret, tmp_path):
    rows = [{"PatientID": "SECRETID1", "PatientName": "SECRETNAME1", "StudyDate": "20200230"}]
    seen = _watch(arguments(secret, tmp_path, rows, "--save", "-v"), tmp_path / "out")
    assert seen.status == 2
    assert "'20200230'" in seen.output
    _assert_silent(seen)


@pytest.mark.parametrize("verbosity", [[], ["-v"]])
def test_a_fault_of_pacsifier_itself_tells_where_it_arose_and_no_value(secret, tmp_path, verbosity):
    code = (
        "from pacsifier.cli.retrieve import main\n"
        "from pacsifier.transfer import retrieve\n"
        "def fail(*_):\n    raise KeyError('SECRETID1')\n"
        "retrieve.retrieve = fail\n"
    )
    seen = _watch(arguments(secret, tmp_path, BY_ID, "--save", *verbosity), tmp_path / "out", code=code)
    assert seen.status == 1
    assert "KeyError" in seen.output
    assert "retrieve.py" in seen.output
    assert "SECRETID1" not in seen.output.replace("raise KeyError('SECRETID1')", "")


# --- objects that do not belong, and modes -----------------------------------------------------------------------


def test_an_object_of_another_patient_is_kept_where_only_its_owner_can_read_it(tmp_path, peers):
    """dcmqrscp tells one PatientID and sends another, where two objects of a series disagree."""
    files = [
        _write(tmp_path / "files", 1, 1),
        _write(tmp_path / "files", 1, 2),
        _write(tmp_path / "files", 1, 3, PatientID="SECRETID99"),
    ]
    with start_dcmqrscp(tmp_path / "server", files, peers) as server:
        for umask in (0, 0o022):
            folder = tmp_path / f"umask {umask:o}"
            folder.mkdir()
            args = arguments(server, folder, [{"StudyInstanceUID": f"{ROOT}.1"}], "--save", "-v")
            seen = _watch(args, folder / "out", umask=umask)
            assert seen.status == 1, seen.output
            assert len(list((folder / "out" / "logs" / "unexpected").iterdir())) >= 1
            _assert_silent(seen)
            _assert_private(folder)
            done = invoke("anonymize", "-d", "out", "-o", "shared", cwd=folder)
            assert done.returncode == 0, done.stderr
            assert "logs: passed over, not read: the logs of a pacsifier run" in done.stderr
            assert len(list((folder / "shared").rglob("*.dcm"))) == 2
            assert len(list((folder / "shared").glob("sub-*"))) == 1


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_tables_and_staging_are_private_whatever_the_umask(secret, tmp_path, umask):
    (tmp_path / "out" / "logs").mkdir(parents=True, mode=0o777)
    rows = [*PSEUDONYMS, {"PatientID": "SECRETID77", "new_ids": "P77"}]
    seen = _watch(arguments(secret, tmp_path, rows, "--save", "--info"), tmp_path / "out", umask=umask)
    assert seen.status == 1, seen.output
    assert (tmp_path / "out" / "logs" / "redo.csv").exists()
    assert len(list((tmp_path / "out").rglob("new_id.txt"))) == len(PATIENTS)
    assert [row["PatientID"] for row in read_table(tmp_path / "out" / "logs" / "query_rows.csv")] == [
        *(f"SECRETID{number}" for number in PATIENTS),
        "SECRETID77",
    ]
    _assert_silent(seen)
    _assert_private(tmp_path)


def test_the_query_and_the_config_are_not_copied_anywhere(secret, tmp_path):
    args = arguments(secret, tmp_path, BY_NAME, "--info", "-v")
    marker = "SECRETNAME4"
    write_query(tmp_path / "query.csv", [{"PatientName": f"x {marker}"}])
    _watch(args, tmp_path / "out")
    holders = {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if path.is_file() and marker.encode() in path.read_bytes()
    }
    tables = {
        *("query.csv", "out/logs/query_rows.csv", "out/logs/pacsifier_log.csv", "out/logs/redo.csv"),
        "out/logs/series.csv",
    }
    assert {each for each in holders if not each.startswith("out/sub-")} <= tables
