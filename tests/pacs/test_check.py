"""`--check` on two real PACS, and on sites where one thing is wrong: the right probe says so, with what to do."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import socket
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pacs.runs import MARK, header, port_is_free, processes, run, until
from pacs.servers import (
    LOOPBACK,
    OUR_AET,
    Hospital,
    Server,
    find_binary,
    free_port,
    pacsifier_argv,
    start_orthanc,
)
from pacsifier.disk.lock import OutputLock

TOOLS = ("echoscu", "findscu", "movescu", "storescp", "storescu", "getscu", "dcmmkdir")
FINDS = (
    *(f"C-FIND, {level} level" for level in ("STUDY", "SERIES", "IMAGE")),
    "returned keys",
    "relational C-FIND",
)
MOVES = ("C-MOVE to this machine", "C-MOVE of a UID list", "C-MOVE at the IMAGE level")
GET = "C-GET to this machine"
OF_PACS = ("association and C-ECHO", *FINDS, *MOVES, GET, "associations at a time")
FLAWS = "known faults of DCMTK"
ORDER = [
    *(
        "config",
        *(f"DCMTK {tool}" for tool in TOOLS),
        FLAWS,
        "name resolution",
        "TCP",
        "association and C-ECHO",
    ),
    *(*FINDS, "own port", *MOVES, GET, "associations at a time", "write rights", "free space"),
]
_LINE = re.compile(r"(ok|warning|FAILED|skipped) +([^:]+): (.*)\Z")


@dataclass(frozen=True)
class Checked:
    """A check that has ended; `probes`: name -> outcome, what was seen, the remedy."""

    status: int
    stdout: str
    stderr: str
    probes: dict[str, tuple[str, str, str]]

    @property
    def warned(self) -> set[str]:
        """What is warned of, whatever is known of the DCMTK that the tests use."""
        return self.named("warning") - {FLAWS}

    def outcome(self, name: str) -> str:
        return self.probes[name][0]

    def named(self, outcome: str) -> set[str]:
        return {name for name, each in self.probes.items() if each[0] == outcome}


def parse(stdout: str) -> dict[str, tuple[str, str, str]]:
    probes: dict[str, tuple[str, str, str]] = {}
    for line in stdout.splitlines():
        if found := _LINE.match(line):
            name = found[2]
            probes[name] = (found[1], found[3], "")
        elif line.startswith("         -> "):
            probes[name] = (*probes[name][:2], line.strip()[3:])
        elif line.startswith("         "):
            probes[name] = (probes[name][0], f"{probes[name][1]}\n{line.strip()}", "")
    return probes


def check(folder: Path, *options: object, prefix: Sequence[str] = ()) -> Checked:
    """Check the site of `folder/config.json`; nothing of it may be left anywhere."""
    mark = uuid.uuid4().hex
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    out = () if "-d" in options else ("-d", folder / "out")
    ended = subprocess.run(
        [*prefix, *pacsifier_argv("--check", "-c", folder / "config.json", *out, *options)],
        env={**os.environ, MARK: mark, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    assert list(temporary.iterdir()) == []
    assert processes(mark) == []
    return Checked(ended.returncode, ended.stdout, ended.stderr, parse(ended.stdout))


def identities(hospital: Hospital) -> set[str]:
    """What must never be on the console: UIDs, names, PatientIDs, accession numbers, birth dates."""
    found = set()
    for record in hospital.records:
        dataset = header(record)
        found |= {record.patient_id, record.study_uid, record.series_uid, record.sop_uid}
        found |= {
            str(dataset.get(each, "")) for each in ("PatientName", "AccessionNumber", "PatientBirthDate")
        }
    return {each for each in found if len(each) > 4}


# --- a site that works -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked(pacs: Server, tmp_path_factory) -> tuple[Checked, Path]:
    """A check of each PACS with consent, and what it wrote."""
    folder = tmp_path_factory.mktemp("check")
    pacs.write_config(folder / "config.json")
    return check(folder, "--yes", "--capabilities", folder / "can.json"), folder


def test_a_site_that_works_passes_every_probe_in_order(checked, pacs: Server) -> None:
    done, folder = checked
    assert done.status == 0, done.stdout
    assert list(done.probes) == ORDER
    assert done.warned == ({"returned keys"} if pacs.kind == "dcmqrscp" else set())
    assert done.named("ok") == {*ORDER} - done.named("warning")
    assert not (folder / "out").exists()


def test_nobody_who_reads_the_check_learns_of_a_patient(checked, hospital: Hospital) -> None:
    done, _ = checked
    said = done.stdout + done.stderr
    assert "C-MOVE to this machine" in said
    assert [each for each in identities(hospital) if each in said] == []


def test_only_what_does_not_work_has_a_remedy(checked) -> None:
    done, _ = checked
    assert {name for name, each in done.probes.items() if each[2]} == done.named("warning")


def test_what_the_pacs_can_do_is_written_down(checked, pacs: Server) -> None:
    _, folder = checked
    found = json.loads((folder / "can.json").read_text())
    assert (found["uid_lists"], found["image_moves"], found["relational"]) == (True, True, True)
    # Four associations are no limit: a run that is told to take six may.
    assert found["associations"] is None
    assert (found["c_get"], found["retrieve_method"]) == (True, "move")
    assert found["returned_keys"]["SERIES"]["SeriesDescription"] is (pacs.kind == "orthanc")
    assert found["returned_keys"]["STUDY"]["PatientID"] is True
    assert found["server"] == {"server_address": LOOPBACK, "port": pacs.port, "server_AET": pacs.aet}


def test_a_run_that_is_given_the_file_brings_everything(checked, pacs: Server, hospital, tmp_path) -> None:
    _, folder = checked
    done = run(pacs, tmp_path, [{"PatientID": "00123"}], "--save", "--capabilities", folder / "can.json")
    assert done.status == 0, done.stderr
    assert done.files.keys() == {record.sop_uid for record in hospital.by_patient["00123"]}


# --- consent -----------------------------------------------------------------------------------------------------


def test_without_consent_no_image_is_sent(orthanc: Server, tmp_path: Path) -> None:
    orthanc.write_config(tmp_path / "config.json")
    done = check(tmp_path, "--capabilities", tmp_path / "can.json")
    assert done.status == 0, done.stdout
    assert done.named("skipped") == {*MOVES}
    assert "--yes" in done.probes[MOVES[0]][1]
    assert done.probes[GET][:2] == ("ok", "the PACS offers it; with --yes it is asked for an image")
    assert done.stdout.splitlines()[-1].startswith("recommended: --retrieve_method auto: ")
    found = json.loads((tmp_path / "can.json").read_text())
    assert (found["uid_lists"], found["image_moves"], found["c_get"]) == (None, None, None)


@pytest.mark.parametrize(("answer", "outcome"), [(b"y\n", "ok"), (b"\n", "skipped")])
def test_a_person_at_a_terminal_is_asked(answer, outcome, dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json")
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    process = subprocess.Popen(
        pacsifier_argv("--check", "-c", tmp_path / "config.json", "-d", tmp_path / "out"),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        encoding="utf-8",
    )
    try:
        stdout, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(theirs)
    with contextlib.closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        said = terminal.read(4096).decode()
    assert parse(stdout)[MOVES[0]][0] == outcome
    assert parse(stdout)[GET][0] == "ok"
    assert re.search(r"May the PACS send \d+ images to this machine", said)


# --- a query file ------------------------------------------------------------------------------------------------


def test_the_first_row_of_a_query_says_what_to_look_for(orthanc: Server, tmp_path: Path) -> None:
    orthanc.write_config(tmp_path / "config.json")
    (tmp_path / "query.csv").write_text("PatientID,Modality\n124588,\n00123,MR\n")
    done = check(tmp_path, "-q", tmp_path / "query.csv")
    assert done.status == 0, done.stdout
    assert done.outcome("query file") == "ok"
    assert done.probes["C-FIND, STUDY level"][1].endswith("for the first row of the query file")
    assert "124588" not in done.stdout + done.stderr


def test_a_row_that_matches_nothing_is_no_failure_and_says_what_is_missing(orthanc: Server, tmp_path) -> None:
    orthanc.write_config(tmp_path / "config.json")
    (tmp_path / "query.csv").write_text("PatientID\nNOBODY\n")
    done = check(tmp_path, "--yes", "-q", tmp_path / "query.csv")
    assert done.status == 0, done.stdout
    assert done.outcome("C-FIND, STUDY level") == "warning"
    assert "--queryfile" in done.probes["C-FIND, STUDY level"][2]
    assert done.named("skipped") == {*FINDS[1:], *MOVES, "associations at a time"}


def test_a_faulty_query_file_is_told_without_its_values(orthanc: Server, tmp_path: Path) -> None:
    orthanc.write_config(tmp_path / "config.json")
    (tmp_path / "query.csv").write_text("PatientID,StudyDate\nSECRET,12.05.2015\n")
    done = check(tmp_path, "-q", tmp_path / "query.csv")
    assert done.status == 2
    assert done.outcome("query file") == "FAILED"
    assert "row 2, column StudyDate" in done.probes["query file"][1]
    assert "SECRET" not in done.stdout + done.stderr
    assert "12.05.2015" not in done.stdout + done.stderr


# --- sites where one thing is wrong ------------------------------------------------------------------------------


def test_every_fault_of_the_config_is_told_and_this_side_is_tried_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"port": "104", "AET": "A"}')
    done = check(tmp_path)
    assert done.status == 2
    assert "'port'" in done.probes["config"][1]
    assert "'server_address'" in done.probes["config"][1]
    assert done.named("ok") - {FLAWS} == {*(f"DCMTK {tool}" for tool in TOOLS), "write rights", "free space"}
    assert done.named("skipped") == {"name resolution", "TCP", "own port", *OF_PACS}


def test_a_pacs_that_is_down(dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json", port=free_port())
    done = check(tmp_path, "--yes", "--capabilities", tmp_path / "can.json")
    assert done.status == 3
    assert done.named("FAILED") == {"TCP"}
    assert "refused" in done.probes["TCP"][1]
    assert "check port" in done.probes["TCP"][2]
    assert done.named("skipped") == {*OF_PACS}
    assert done.outcome("own port") == "ok"
    assert not (tmp_path / "can.json").exists()


def test_a_name_without_an_address(dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json", server_address="no-such-pacs.invalid")
    done = check(tmp_path, "--yes")
    assert done.status == 3
    assert done.named("FAILED") == {"name resolution"}
    assert "no-such-pacs.invalid" in done.probes["name resolution"][1]
    assert "spelling of server_address" in done.probes["name resolution"][2]
    assert done.named("skipped") == {"TCP", *OF_PACS}


def test_a_port_where_something_listens_that_never_answers(dcmqrscp: Server, tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as mute:
        dcmqrscp.write_config(tmp_path / "config.json", port=mute.getsockname()[1])
        done = check(tmp_path, "--yes", "--acse_timeout", "1")
    assert done.status == 3
    assert done.outcome("TCP") == "ok"
    assert done.named("FAILED") == {"association and C-ECHO"}
    assert "DICOM port" in done.probes["association and C-ECHO"][2]


@pytest.mark.parametrize("wrong", [{"server_AET": "NOT_ITS_AET"}, {"AET": "STRANGER"}])
def test_an_ae_title_that_one_side_does_not_know(wrong, pacs: Server, tmp_path: Path) -> None:
    config = pacs.config(**wrong)
    pacs.write_config(tmp_path / "config.json", **wrong)
    done = check(tmp_path, "--yes")
    assert done.status == 3
    assert done.named("FAILED") == {"association and C-ECHO"}
    remedy = done.probes["association and C-ECHO"][2]
    assert f"declare the AE title {config['AET']}" in remedy
    assert f"port {config['move_port']}" in remedy
    assert str(wrong.get("server_AET", "")) in remedy


def test_a_receive_port_that_is_taken(pacs: Server, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        pacs.write_config(tmp_path / "config.json", move_port=taken.getsockname()[1])
        done = check(tmp_path, "--yes")
    assert done.status == 1
    assert done.named("FAILED") == {"own port"}
    assert "move_port" in done.probes["own port"][2]
    assert done.named("skipped") == {*MOVES}
    assert done.probes[MOVES[0]][1] == "the own port cannot be used"
    assert "--retrieve_method get: images come by C-GET; C-MOVE was not tried" in done.stdout


def test_a_run_that_holds_the_receive_port_is_named_with_its_folder(dcmqrscp: Server, tmp_path: Path) -> None:
    config = dcmqrscp.write_config(tmp_path / "config.json")
    (tmp_path / "query.csv").write_text("PatientID\n00123\n")
    argv = pacsifier_argv("--save", "-c", config, "-q", tmp_path / "query.csv", "-d", tmp_path / "running")
    with subprocess.Popen(
        [*argv, "--rate", "1"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: not port_is_free(dcmqrscp.our_port), 60)
            done = check(tmp_path, "--yes")
        finally:
            process.terminate()
    assert done.named("FAILED") == {"own port"}
    seen, remedy = done.probes["own port"][1:]
    assert (
        f"another run of pacsifier, process {process.pid}, receives there into {tmp_path / 'running'}" in seen
    )
    assert "wait until it has ended" in remedy
    assert "recommended: --retrieve_method get" in done.stdout


def test_a_pacs_that_sends_to_another_port_than_ours(pacs: Server, tmp_path: Path) -> None:
    pacs.write_config(tmp_path / "config.json", move_port=free_port())
    done = check(tmp_path, "--yes", "--capabilities", tmp_path / "can.json")
    assert done.status == 1
    assert done.named("FAILED") == {MOVES[0]}
    assert done.named("skipped") == {*MOVES[1:]}
    assert "never called this machine" in done.probes[MOVES[0]][1]
    remedy = done.probes[MOVES[0]][2]
    assert f"AE title {OUR_AET} with this machine's address (127.0.0.1)" in remedy
    assert "firewalls" in remedy
    assert done.stdout.splitlines()[-1].startswith("recommended: --retrieve_method get: images come by C-GET")
    # What failed for another reason says nothing about lists.
    assert json.loads((tmp_path / "can.json").read_text())["uid_lists"] is None


def test_an_ae_title_that_may_ask_but_is_no_destination(hospital: Hospital, peers, tmp_path: Path) -> None:
    few = {OUR_AET: peers[OUR_AET]}
    loose = {"DicomAlwaysAllowEcho": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True}
    with start_orthanc(tmp_path / "pacs", hospital.files[:6], few, **loose) as server:
        server.write_config(tmp_path / "config.json", AET="UNDECLARED")
        done = check(tmp_path, "--yes")
    assert done.status == 1
    assert done.named("FAILED") == {MOVES[0]}
    assert "declare the AE title UNDECLARED" in done.probes[MOVES[0]][2]


def test_an_ae_title_that_may_echo_but_not_find(hospital: Hospital, peers, tmp_path: Path) -> None:
    us = {"AET": OUR_AET, "Host": LOOPBACK, "Port": peers[OUR_AET][1], "AllowFind": False, "AllowMove": False}
    modalities = {"DicomModalities": {"us": us}}
    with start_orthanc(tmp_path / "pacs", hospital.files[:1], peers, **modalities) as server:
        server.write_config(tmp_path / "config.json")
        done = check(tmp_path, "--yes")
    assert done.status == 1
    assert done.outcome("association and C-ECHO") == "ok"
    assert done.named("FAILED") == {"C-FIND, STUDY level"}
    assert OUR_AET in done.probes["C-FIND, STUDY level"][2]


@pytest.fixture
def tools_without(tmp_path: Path):
    """A folder of DCMTK's tools but one."""

    def make(missing: str) -> Path:
        folder = tmp_path / "dcmtk"
        folder.mkdir()
        for tool in {*TOOLS} - {missing}:
            (folder / tool).symlink_to(find_binary(tool))
        return folder

    return make


@pytest.mark.parametrize("missing", ["findscu", "movescu", "storescp"])
def test_a_missing_tool_that_runs_need(missing, tools_without, dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json")
    done = check(tmp_path, "--yes", "--dcmtk_dir", tools_without(missing))
    assert done.status == 4
    assert done.named("FAILED") == {f"DCMTK {missing}"}
    assert "install DCMTK" in done.probes[f"DCMTK {missing}"][2]
    assert done.outcome("association and C-ECHO") == "ok"
    assert done.named("skipped") == {*MOVES} | (
        {*FINDS, "associations at a time"} if missing == "findscu" else set()
    )


@pytest.mark.parametrize(
    ("missing", "need"),
    [("echoscu", "C-ECHO"), ("storescu", "--upload"), ("getscu", "--retrieve_method get")],
)
def test_a_missing_tool_that_not_all_need(missing, need, tools_without, orthanc: Server, tmp_path) -> None:
    orthanc.write_config(tmp_path / "config.json")
    done = check(tmp_path, "--yes", "--dcmtk_dir", tools_without(missing))
    assert done.status == 0, done.stdout
    assert done.warned == {f"DCMTK {missing}"}
    assert need in done.probes[f"DCMTK {missing}"][2]
    assert done.outcome(MOVES[0]) == "ok"
    assert "recommended: --retrieve_method move" in done.stdout


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("3.6.6", ("CVE-2022-2119, -2120, -2121", "CVE-2024-34508, -34509")),
        (
            "3.6.8",
            ("upstream before 3.6.9 has known crashes (CVE-2024-34508, -34509) unless your distribution",),
        ),
        ("3.6.9", ()),
    ],
)
def test_an_old_dcmtk_is_named_with_what_is_wrong_with_it_and_used_all_the_same(
    version, told, orthanc: Server, tmp_path
) -> None:
    (tmp_path / "dcmtk").mkdir()
    for tool in TOOLS:
        script = tmp_path / "dcmtk" / tool
        banner = f"$dcmtk: {tool} v{version} 2022-01-01 $"
        real = find_binary(tool)
        script.write_text(f'#!/bin/sh\n[ "$1" != --version ] || exec echo \'{banner}\'\nexec {real} "$@"\n')
        script.chmod(0o755)
    orthanc.write_config(tmp_path / "config.json")
    done = check(tmp_path, "--yes", "--dcmtk_dir", tmp_path / "dcmtk")
    assert done.status == 0, done.stdout
    assert done.named("warning") == ({FLAWS} if told else set())
    assert [each for each in told if each not in done.probes[FLAWS][1]] == []
    assert ("CVE-2022" in done.probes[FLAWS][1]) is (version == "3.6.6")
    assert ("later DCMTK" in done.probes[FLAWS][2]) is bool(told)


def test_without_echoscu_the_find_shows_that_there_is_no_association(tools_without, pacs, tmp_path) -> None:
    pacs.write_config(tmp_path / "config.json", AET="STRANGER")
    done = check(tmp_path, "--yes", "--dcmtk_dir", tools_without("echoscu"))
    assert done.status == 3
    assert done.named("FAILED") == {"C-FIND, STUDY level"}
    assert "declare the AE title STRANGER" in done.probes["C-FIND, STUDY level"][2]


def test_a_folder_that_may_not_be_written_to(dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json")
    (tmp_path / "closed").mkdir(mode=0o555)
    # Root without the right to pass over the bits of folders; for everybody else it changes nothing.
    prefix = (find_binary("setpriv"), "--bounding-set=-all", "--inh-caps=-all")
    done = check(tmp_path, "-d", tmp_path / "closed" / "out", prefix=prefix)
    assert done.status == 1
    assert done.named("FAILED") == {"write rights"}
    assert str(tmp_path / "closed") in done.probes["write rights"][1]
    assert "--out_directory" in done.probes["write rights"][2]


def test_a_file_where_the_output_folder_should_be(dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json")
    (tmp_path / "file").write_text("")
    done = check(tmp_path, "-d", tmp_path / "file" / "out")
    assert done.status == 1
    assert done.probes["write rights"][:2] == ("FAILED", f"{tmp_path / 'file'} is no folder")


def test_too_little_room(dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json")
    done = check(tmp_path, "--min_free", "1000TB")
    assert done.status == 1
    assert done.named("FAILED") == {"free space"}
    assert "--min_free" in done.probes["free space"][1]
    assert "make room" in done.probes["free space"][2]


def test_a_place_for_the_abilities_that_is_none_comes_out_before_anything_is_tried(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = check(tmp_path, "--capabilities", tmp_path / "no_such_folder" / "can.json")
    assert (done.status, done.stdout) == (2, "")
    assert "--capabilities" in done.stderr


def test_a_check_does_not_disturb_a_run(dcmqrscp: Server, tmp_path: Path) -> None:
    dcmqrscp.write_config(tmp_path / "config.json")
    with OutputLock(tmp_path / "out") as lock:
        before = sorted(tmp_path.glob("out/**/*"))
        done = check(tmp_path, "--yes")
        assert sorted(tmp_path.glob("out/**/*")) == before
        lock.check()
    assert done.status == 0, done.stdout
