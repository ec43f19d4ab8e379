"""`pacsifier --upload` into both PACS: all of a folder arrives as it is, and what cannot is named with its reason."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest
from commands import invoke
from hypothesis import given
from hypothesis import strategies as st

from pacs.servers import (
    COMMON_CLASSES,
    EXPLICIT_LE,
    IMPLICIT_LE,
    LOOPBACK,
    RLE,
    Hospital,
    Record,
    Server,
    capture,
    find,
    free_port,
    pacsifier_argv,
    parse,
    read_record,
    run_pacsifier,
    start_dcmqrscp,
    start_orthanc,
)
from pacsifier.dcmtk.storescu import Sendable, associations, contexts
from pacsifier.disk.tree import Tree

MR = "1.2.840.10008.5.1.4.1.1.4"
US = "1.2.840.10008.5.1.4.1.1.3.1"
PRIVATE = "1.2.826.0.1.3680043.10.1.4.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


@pytest.fixture(scope="module", params=["dcmqrscp", "orthanc"])
def own(request, tmp_path_factory, peers) -> Iterator[Server]:
    """A PACS of this module, empty at first; each test brings instances of its own, or all of the hospital."""
    folder = tmp_path_factory.mktemp("own")
    if request.param == "orthanc":
        server: Server = start_orthanc(folder, [], peers)
    else:
        server = start_dcmqrscp(folder, [], peers, classes={US: (RLE,)})
    with server:
        yield server


@pytest.fixture(scope="module")
def saved(tmp_path_factory, dcmqrscp, hospital) -> Path:
    """The whole hospital as `pacsifier --save --info` leaves it on disk."""
    folder = tmp_path_factory.mktemp("saved")
    query = folder / "query.csv"
    query.write_text("\n".join(["PatientID", *hospital.by_patient, ""]), encoding="utf-8")
    config = dcmqrscp.write_config(folder / "config.json")
    run = run_pacsifier("--save", "--info", "-c", config, "-q", query, "-d", folder / "data")
    assert run.returncode == 0, run.stderr
    return folder / "data"


def _upload(
    server: Server, tmp_path: Path, folder: Path, *more: object, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Uploads; whatever comes of it, nothing in the folder changes and nothing is left in the temporary folder."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    before = _snapshot(folder)
    config = server.write_config(tmp_path / "config.json")
    environment = {"TMPDIR": str(temporary)}
    run = run_pacsifier("--upload", "-c", config, "-ud", folder, *more, env=environment, timeout=timeout)
    assert _snapshot(folder) == before
    assert not list(temporary.iterdir())
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run


def _snapshot(folder: Path) -> Mapping[Path, tuple[object, ...]]:
    found: dict[Path, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path] = (stat.st_mode, stat.st_mtime_ns, stat.st_ino, stat.st_nlink, content)
    return found


def _write(path: Path, record: Record, study: str, number: int = 1, sop_class: str | None = None) -> Path:
    """Writes an instance of the hospital under new UIDs, which all begin with those of a study."""
    dataset = pydicom.dcmread(record.path)
    dataset.StudyInstanceUID = f"2.25.{study}"
    dataset.SeriesInstanceUID = f"2.25.{study}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.{study}.1.{number}"
    if sop_class is not None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def _held(server: Server, study: str) -> set[str]:
    """The numbers of the instances that the PACS lists for a study that `_write` made."""
    keys = {"StudyInstanceUID": f"2.25.{study}", "SeriesInstanceUID": f"2.25.{study}.1", "SOPInstanceUID": ""}
    return {each.SOPInstanceUID.rpartition(".")[2] for each in find(server, "IMAGE", **keys)}


def _of(hospital: Hospital, modality: str) -> Record:
    return next(each for each in hospital.records if each.modality == modality)


def _reason(run: subprocess.CompletedProcess[str], path: Path) -> str:
    """What stderr says of a file."""
    mark = f"pacsifier: {path}: "
    assert mark in run.stderr, run.stderr
    return run.stderr.partition(mark)[2].partition("\n")[0]


# --- complete ----------------------------------------------------------------------------------------------------


def test_a_saved_tree_uploads_again_completely(own, saved, hospital, tmp_path):
    run = _upload(own, tmp_path, saved)
    assert run.returncode == 0, run.stderr
    number = len(hospital.records)
    assert f"files: {number} found, {number} stored, 0 not stored" in run.stderr
    for uid, captured in capture(own, hospital).items():
        given = pydicom.dcmread(hospital.by_sop[uid].path)
        assert captured[0] == given.file_meta.TransferSyntaxUID
        assert parse(*captured) == pydicom.Dataset(given)


def test_what_is_uploaded_twice_is_there_once(own, hospital, tmp_path):
    folder = tmp_path / "in"
    _write(folder / "a.dcm", _of(hospital, "MR"), "1001")
    assert [_upload(own, tmp_path, folder).returncode for _ in range(2)] == [0, 0]
    assert _held(own, "1001") == {"1"}


def test_compressed_images_stay_as_they_are(own, hospital, tmp_path):
    path = _write(tmp_path / "in" / "us.dcm", _of(hospital, "US"), "1002")
    assert _upload(own, tmp_path, path.parent).returncode == 0
    own_hospital = Hospital(path.parent, (read_record(path),))
    ((syntax, data_set),) = capture(own, own_hospital).values()
    assert syntax == RLE
    assert parse(syntax, data_set).PixelData == pydicom.dcmread(path).PixelData


NAMES = [
    *("with blanks", "it's", 'say "hi"', "both ' and \"", "line\nbreak", "-v", "@file", "--help", "#1", "*"),
    *("é\u0301ü", "\udcff.dcm", "back\\slash", "tab\there", "a" * 255, ".hidden", "IMG0001", "percent%n"),
]


def test_any_name_that_a_file_can_have_is_uploaded(own, hospital, tmp_path):
    folder = tmp_path / 'in put\'s "folder"\n'
    for number, name in enumerate(NAMES, 1):
        _write(folder / f"sub {number}" / "placeholder", _of(hospital, "MR"), "1003", number)
        (folder / f"sub {number}" / "placeholder").rename(folder / f"sub {number}" / name)
    run = _upload(own, tmp_path, folder)
    assert run.returncode == 0, run.stderr
    assert _held(own, "1003") == {str(number) for number in range(1, len(NAMES) + 1)}


def test_a_relative_folder_is_the_users_and_not_the_tools(own, hospital, tmp_path):
    _write(tmp_path / "in" / "a.dcm", _of(hospital, "MR"), "1004")
    own.write_config(tmp_path / "config.json")
    run = run_pacsifier("-u", "-c", "config.json", "-ud", "in", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert _held(own, "1004") == {"1"}


def test_without_a_folder_named_it_is_data(own, hospital, tmp_path):
    _write(tmp_path / "data" / "a.dcm", _of(hospital, "MR"), "1005")
    own.write_config(tmp_path / "config.json")
    run = run_pacsifier("-u", "-c", "config.json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert _held(own, "1005") == {"1"}


def test_a_folder_of_the_user_that_is_called_logs_is_uploaded_too(own, hospital, tmp_path):
    _write(tmp_path / "in" / "logs" / "a.dcm", _of(hospital, "MR"), "1006", 1)
    _write(tmp_path / "in" / "b.dcm", _of(hospital, "MR"), "1006", 2)
    run = _upload(own, tmp_path, tmp_path / "in")
    assert "2 found, 2 stored" in run.stderr
    assert _held(own, "1006") == {"1", "2"}


def _lay_aside(folder: Path, hospital: Hospital, study: str) -> Path:
    """The logs of a run, with an object in them that nobody asked for."""
    tree = Tree(folder)
    path = tree.set_aside(_write(folder / "staged", _of(hospital, "MR"), study, 9), "MR", f"2.25.{study}.1.9")
    (tree.logs / "pacsifier_log.csv").write_text("PatientID\nSTRANGER\n")
    return path


@pytest.mark.parametrize("moved", [False, True], ids=["as the run left it", "after pacsifier-move-csv"])
def test_what_a_run_laid_aside_is_not_uploaded_and_that_is_said(own, hospital, tmp_path, moved):
    study = f"101{moved:d}"
    _write(tmp_path / "in" / "sub-1" / "a.dcm", _of(hospital, "MR"), study, 1)
    _lay_aside(tmp_path / "in", hospital, study)
    if moved:
        assert invoke("move_csv", "-d", "in", "-o", "info", cwd=tmp_path).returncode == 0
        assert (tmp_path / "info" / "logs" / "pacsifier_log.csv").is_file()
    run = _upload(own, tmp_path, tmp_path / "in")
    assert run.returncode == 0, run.stderr
    assert "1 found, 1 stored" in run.stderr
    assert run.stderr.count("logs: passed over, not read: the logs of a pacsifier run") == 1
    assert _held(own, study) == {"1"}


def test_the_logs_of_a_run_are_not_uploaded_when_named_either(own, hospital, tmp_path):
    path = _lay_aside(tmp_path / "in", hospital, "1012")
    for folder in (path.parent, path.parent.parent):
        run = _upload(own, tmp_path, folder)
        assert run.returncode == 2
        assert "lies in the logs of a pacsifier run" in run.stderr
    run = _upload(own, tmp_path, tmp_path / "in")
    assert run.returncode == 2
    assert "holds no file to upload" in run.stderr
    assert "logs: passed over, not read" in run.stderr
    assert _held(own, "1012") == set()


def test_an_image_with_an_odd_suffix_is_not_passed_over_in_silence(own, hospital, tmp_path):
    for number, name in enumerate(("a.csv", "b.json", "DICOMDIR"), 1):
        _write(tmp_path / "in" / name, _of(hospital, "MR"), "1007", number)
    run = _upload(own, tmp_path, tmp_path / "in")
    assert _held(own, "1007") == {"1", "2", "3"} or run.returncode == 1, run.stderr


# --- with what cannot be stored ----------------------------------------------------------------------------------


def test_bad_files_are_named_with_reasons_and_the_others_stored(own, hospital, tmp_path):
    folder = tmp_path / "in"
    _write(folder / "a good.dcm", _of(hospital, "MR"), "2001", 1)
    _write(folder / "m good.dcm", _of(hospital, "CT"), "2001", 2)
    _write(folder / "z us.dcm", _of(hospital, "US"), "2001", 3)
    private = _write(folder / "b private.dcm", _of(hospital, "MR"), "2001", 4, sop_class=PRIVATE)
    cut = _write(folder / "c cut.dcm", _of(hospital, "MR"), "2001", 5)
    os.truncate(cut, cut.stat().st_size - 200)
    short = _write(folder / "d short.dcm", _of(hospital, "US"), "2001", 6)
    os.truncate(short, short.stat().st_size - 8)
    (folder / "notes.txt").write_text("no image")
    (folder / "empty").touch()
    (folder / "dangling").symlink_to("nowhere")
    run = _upload(own, tmp_path, folder)
    assert run.returncode == 1
    assert _reason(run, folder / "notes.txt") == "not a DICOM file"
    assert _reason(run, folder / "empty")
    assert "No such file" in _reason(run, folder / "dangling")
    for path in (cut, short):
        assert _reason(run, path).startswith("not whole")
    stored = {"1", "2", "3"}
    if own.kind == "dcmqrscp":
        assert PRIVATE in _reason(run, private)
    else:
        stored.add("4")
        assert str(private) not in run.stderr
    assert _held(own, "2001") == stored
    assert f"files: 9 found, {len(stored)} stored, {9 - len(stored)} not stored" in run.stderr


def test_a_pacs_that_refuses_the_class_of_every_file_is_not_called_unreachable(tmp_path, hospital, peers):
    paths = [
        _write(tmp_path / "in" / f"{n}.dcm", _of(hospital, "MR"), "2002", n, sop_class=PRIVATE)
        for n in (1, 2)
    ]
    with start_dcmqrscp(tmp_path / "own", [], peers) as server:
        run = _upload(server, tmp_path, tmp_path / "in")
    assert run.returncode == 1, run.stderr
    for path in paths:
        assert "resentation" in _reason(run, path)


def test_a_first_association_that_takes_nothing_does_not_keep_the_next_from_being_tried(
    tmp_path, hospital, peers
):
    for number in range(1, 129):
        path = tmp_path / "in" / f"{number:03d}"
        _write(path, _of(hospital, "SR"), "2003", number, sop_class=f"{PRIVATE}.{number}")
    _write(tmp_path / "in" / "last", _of(hospital, "MR"), "2003", 129)
    with start_dcmqrscp(tmp_path / "own", [], peers) as server:
        run = _upload(server, tmp_path, tmp_path / "in")
        assert run.returncode == 1, run.stderr
        assert _held(server, "2003") == {"129"}
    assert "129 found, 1 stored, 128 not stored" in run.stderr


def test_a_named_pipe_does_not_hold_the_upload_for_ever(own, hospital, tmp_path):
    folder = tmp_path / "in"
    _write(folder / "a.dcm", _of(hospital, "MR"), "2004")
    os.mkfifo(folder / "pipe")
    run = _upload(own, tmp_path, folder, timeout=60)
    assert _held(own, "2004") == {"1"}, run.stderr


def test_a_folder_that_links_to_itself_ends(own, hospital, tmp_path):
    folder = tmp_path / "in"
    _write(folder / "a.dcm", _of(hospital, "MR"), "2005")
    (folder / "again").symlink_to(".")
    run = _upload(own, tmp_path, folder, timeout=60)
    assert "2 found, 1 stored, 1 not stored" in run.stderr, "the link is named, not followed"


def test_a_folder_without_any_image_sends_nothing_and_exits_1(own, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no image")
    run = _upload(own, tmp_path, tmp_path / "in")
    assert run.returncode == 1
    assert "1 found, 0 stored, 1 not stored" in run.stderr


# --- nothing to do, nobody there ---------------------------------------------------------------------------------


def test_an_empty_a_missing_and_a_wrong_folder_are_input_errors(own, tmp_path):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    own.write_config(tmp_path / "config.json")
    (tmp_path / "a file").write_text("")
    for name in ("empty", "missing", "a file"):
        run = run_pacsifier("-u", "-c", "config.json", "-ud", name, cwd=tmp_path)
        assert run.returncode == 2
        assert name in run.stderr
        assert "Traceback" not in run.stderr


def test_a_pacs_that_is_down_is_named(own, hospital, tmp_path):
    _write(tmp_path / "in" / "a.dcm", _of(hospital, "MR"), "3001")
    port = free_port()
    own.write_config(tmp_path / "config.json", port=port)
    run = run_pacsifier("-u", "-c", "config.json", "-ud", "in", cwd=tmp_path)
    assert run.returncode == 3
    assert f"127.0.0.1:{port}" in run.stderr
    assert _held(own, "3001") == set()


def test_a_pacs_that_does_not_know_the_called_title_is_an_association_error(own, hospital, tmp_path):
    _write(tmp_path / "in" / "a.dcm", _of(hospital, "MR"), "3002")
    own.write_config(tmp_path / "config.json", server_AET="SOMEBODY")
    run = run_pacsifier("-u", "-c", "config.json", "-ud", "in", cwd=tmp_path)
    assert run.returncode == 3, run.stderr
    assert "SOMEBODY" in run.stderr


# --- a PACS that misbehaves --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _scp(answer: Callable[[Any], int], tmp_path: Path) -> Iterator[Server]:
    """A Storage SCP whose answer to each C-STORE the test decides, dressed as a server."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    entity = AE(ae_title="MOODY")
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, [EXPLICIT_LE, IMPLICIT_LE, RLE])
    port = free_port()
    handlers = [(evt.EVT_C_STORE, answer)]
    thread = entity.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
    peers = {"PACSIFIER": (LOOPBACK, free_port())}
    try:
        yield Server("moody", tmp_path, "MOODY", port, peers, None)  # type: ignore[arg-type]
    finally:
        thread.shutdown()


def _three(folder: Path, hospital: Hospital) -> list[Path]:
    return [_write(folder / f"{n}.dcm", _of(hospital, "MR"), "4001", n) for n in (1, 2, 3)]


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0x0122, 0xA900, 0xFE00])
def test_a_file_that_the_pacs_fails_to_store_is_named_and_the_rest_sent(status, hospital, tmp_path):
    paths = _three(tmp_path / "in", hospital)

    def answer(event: Any) -> int:
        return status if event.request.AffectedSOPInstanceUID.endswith(".2") else 0x0000

    with _scp(answer, tmp_path) as server:
        run = _upload(server, tmp_path, tmp_path / "in")
    assert run.returncode == 1
    assert _reason(run, paths[1])
    assert "3 found, 2 stored, 1 not stored" in run.stderr


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_file_that_is_stored_with_a_warning_is_stored(status, hospital, tmp_path):
    _three(tmp_path / "in", hospital)
    with _scp(lambda event: status, tmp_path) as server:
        run = _upload(server, tmp_path, tmp_path / "in")
    assert run.returncode == 0, run.stderr
    assert "3 found, 3 stored, 0 not stored" in run.stderr


def test_a_file_at_which_the_pacs_hangs_up_is_named_and_those_behind_it_are_sent(hospital, tmp_path):
    paths = _three(tmp_path / "in", hospital)

    def answer(event: Any) -> int:
        if event.request.AffectedSOPInstanceUID.endswith(".2"):
            event.assoc.abort()
        return 0x0000

    with _scp(answer, tmp_path) as server:
        run = _upload(server, tmp_path, tmp_path / "in", "--retry_wait", 0.01)
    assert run.returncode == 1
    assert "aborted" in _reason(run, paths[1])
    assert str(paths[0]) not in run.stderr
    assert "3 found, 2 stored, 1 not stored" in run.stderr


def test_a_pacs_that_falls_silent_does_not_hold_the_upload_for_ever(hospital, tmp_path):
    import threading

    paths, over = _three(tmp_path / "in", hospital), threading.Event()

    def answer(event: Any) -> int:
        if event.request.AffectedSOPInstanceUID.endswith(".2"):
            over.wait(600)
        return 0x0000

    with _scp(answer, tmp_path) as server:
        try:
            limits = ("--silence_timeout", 1, "--retry_wait", 0.01)
            run = _upload(server, tmp_path, tmp_path / "in", *limits, timeout=120)
        finally:
            over.set()
    assert run.returncode == 1
    assert "--silence_timeout" in _reason(run, paths[1])
    assert "3 found, 2 stored, 1 not stored" in run.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_upload_leaves_no_process_and_no_temporary_file(number, status, hospital, tmp_path):
    _three(tmp_path / "in", hospital)
    (tmp_path / "tmp").mkdir()
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen()
        peers = {"PACSIFIER": (LOOPBACK, free_port())}
        server = Server("silent", tmp_path, "SILENT", silent.getsockname()[1], peers, None)  # type: ignore[arg-type]
        argv = pacsifier_argv(
            "-u", "-c", server.write_config(tmp_path / "config.json"), "-ud", tmp_path / "in"
        )
        environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
        with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(30)
            caller, _ = silent.accept()
            process.send_signal(number)
            _, said = process.communicate(timeout=20)
            with caller:
                caller.settimeout(5)
                while caller.recv(65536):
                    pass
    assert process.returncode == status
    assert "Traceback" not in said
    assert "--resume" not in said, "an upload knows no such option"
    assert not list((tmp_path / "tmp").iterdir())


# --- more pairs of class and syntax than one association holds ---------------------------------------------------


def _sendables(*pairs: tuple[str, str]) -> list[Sendable]:
    return [Sendable(Path(f"{number}.dcm"), *pair) for number, pair in enumerate(pairs)]


def test_files_of_few_kinds_go_over_one_association():
    files = _sendables(*[(MR, EXPLICIT_LE), (US, RLE)] * 1000)
    assert associations(files) == [files]
    assert associations([]) == []


@pytest.mark.parametrize(
    ("syntax", "kinds", "parts"),
    [
        *(
            (RLE, kinds, parts)
            for kinds, parts in ((127, 1), (128, 1), (129, 2), (256, 2), (257, 3), (1000, 8))
        ),
        # The other uncompressed syntaxes are a second context.
        *((EXPLICIT_LE, kinds, parts) for kinds, parts in ((63, 1), (64, 1), (65, 2), (128, 2), (129, 3))),
    ],
)
def test_no_association_is_asked_for_more_contexts_than_it_holds(syntax, kinds, parts):
    files = _sendables(*[(f"{PRIVATE}.{number}", syntax) for number in range(kinds)])
    cut = associations(files)
    assert len(cut) == parts
    assert all(len(contexts(part)) <= 128 for part in cut)
    assert [each for part in cut for each in part] == files


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.sampled_from([EXPLICIT_LE, IMPLICIT_LE, BIG_ENDIAN, RLE])),
        max_size=400,
    )
)
def test_every_file_goes_over_one_association_that_offers_what_it_needs(kinds):
    files = _sendables(*[(f"{PRIVATE}.{number}", syntax) for number, syntax in kinds])
    cut = associations(files)
    assert sorted(str(each.path) for part in cut for each in part) == sorted(str(each.path) for each in files)
    for part in cut:
        offered = contexts(part)
        assert len(offered) <= 128
        assert {(each.sop_class, (each.transfer_syntax,)) for each in part} <= set(offered)
        assert len({each.kind for each in part}) == len({each.sop_class for each in part})


def test_a_kind_that_is_known_already_does_not_begin_an_association():
    many = [(f"{PRIVATE}.{number}", EXPLICIT_LE) for number in range(128)]
    assert [len(part) for part in associations(_sendables(*many, *many))] == [128, 128]


def test_more_kinds_than_one_association_holds_all_arrive(tmp_path, hospital, peers):
    classes = [*COMMON_CLASSES[:5], *(f"{PRIVATE}.{number}" for number in range(130))]
    for number, sop_class in enumerate(classes, 1):
        path = tmp_path / "in" / f"{number:03d}.dcm"
        _write(path, _of(hospital, "SR"), "5001", number, sop_class=sop_class)
    with start_orthanc(tmp_path / "own", [], peers) as server:
        run = _upload(server, tmp_path, tmp_path / "in")
        assert run.returncode == 0, run.stderr
        assert server.count() == len(classes)


def test_one_class_in_several_syntaxes_arrives_in_each(tmp_path, hospital, peers):
    folder = tmp_path / "in"
    _write(folder / "explicit.dcm", _of(hospital, "MR"), "5002", 1)
    dataset = pydicom.dcmread(_write(folder / "implicit.dcm", _of(hospital, "MR"), "5002", 2))
    dataset.file_meta.TransferSyntaxUID = IMPLICIT_LE
    pydicom.dcmwrite(folder / "implicit.dcm", dataset, implicit_vr=True, little_endian=True)
    dataset = pydicom.dcmread(_write(folder / "rle.dcm", _of(hospital, "MR"), "5002", 3))
    dataset.compress(RLE, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(folder / "rle.dcm")
    with start_orthanc(tmp_path / "own", [], peers) as server:
        assert _upload(server, tmp_path, folder).returncode == 0
        for number, syntax in (("1", EXPLICIT_LE), ("2", IMPLICIT_LE), ("3", RLE)):
            held = tmp_path / "held.dcm"
            held.write_bytes(server.file(f"2.25.5002.1.{number}"))
            stored = pydicom.dcmread(held)
            assert stored.file_meta.TransferSyntaxUID == syntax
            (given,) = [
                path for path in folder.iterdir() if path.read_bytes().find(f".1.{number}".encode()) > 0
            ][:1]
            assert stored.PixelData == pydicom.dcmread(given).PixelData
