"""What a run laid aside stays aside: no command takes a stranger's object from our logs for one of the user's."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from commands import Done, invoke
from pydicom.dataset import Dataset, FileMetaDataset

import pacsifier
from pacsifier.demo import make_hospital
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.names import LOG_MARK
from pacsifier.disk.tree import Tree
from pacsifier.disk.walk import Walk
from pacsifier.errors import InputError

HOME = Path(pacsifier.__file__).parents[1]
STRANGER = "STRANGER"
SAID = "passed over, not read: the logs of a pacsifier run"
REPORT = "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    make_hospital(folder := tmp_path_factory.mktemp("hospital"))
    return folder / "P0001/ST01/SE01/IM0001"


def instance(image: Path, path: Path, patient: str, number: int) -> Path:
    """An image of a patient under UIDs of its own."""
    dataset = pydicom.dcmread(image)
    dataset.PatientID, dataset.PatientName = patient, f"{patient}^Given"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"2.25.{number}", f"2.25.{number}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number}.1.1"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def report(path: Path, patient: str, number: int) -> Path:
    """A structured report of one line."""
    dataset, name, line = Dataset(), Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "1", "99TEST", "Finding"
    line.RelationshipType, line.ValueType, line.TextValue = "CONTAINS", "TEXT", f"text of {patient}"
    line.ConceptNameCodeSequence = dataset.ConceptNameCodeSequence = [name]
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ContentSequence, dataset.Modality = [line], "SR"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = REPORT, f"2.25.{number}.1.1", patient
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"2.25.{number}", f"2.25.{number}.1"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


class Data:
    """`data` as a run left it: an image and a report of the user's, one of each of a stranger set aside, tables."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        instance(image, self.data / "sub-1/ses-2/00003-T1/MR.2.25.1.1.1", "1", 1)
        report(self.data / "sub-1/ses-2/00004-SR/SRt.2.25.2.1.1", "1", 2)
        tree = Tree(self.data)
        tree.set_aside(instance(image, folder / "staged", STRANGER, 3), "MR", "2.25.3.1.1")
        tree.set_aside(report(folder / "staged", STRANGER, 4), "SRt", "2.25.4.1.1")
        (tree.logs / "pacsifier_log.csv").write_text(f"PatientID\n{STRANGER}\n")
        audit = {"ended_at": "2026-01-01T00:00:00+00:00", "did": ["save"], "query_sha256": "0"}
        (tree.logs / "audit.jsonl").write_text(json.dumps(audit) + "\n")

    def as_of_a_user(self) -> None:
        """The same files in a folder `logs` that no run of ours has made."""
        shutil.rmtree(self.data / "logs")
        image = self.data / "sub-1/ses-2/00003-T1/MR.2.25.1.1.1"
        instance(image, self.data / "logs" / "first visit" / "a.dcm", STRANGER, 3)
        report(self.data / "logs" / "first visit" / "b.dcm", STRANGER, 4)


def move_csv(made: Data) -> None:
    done = invoke("move_csv", "-d", "data", "-o", "info", cwd=made.folder)
    assert done.returncode == 0, done.stderr
    assert (made.folder / "info/logs/pacsifier_log.csv").is_file()
    assert not (made.data / "logs/pacsifier_log.csv").exists()
    assert (made.data / "logs" / LOG_MARK).is_file()
    assert not (made.folder / "info/logs" / LOG_MARK).exists()


def forget_the_mark(made: Data) -> None:
    (made.data / "logs" / LOG_MARK).unlink()


def older_and_moved(made: Data) -> None:
    move_csv(made)
    forget_the_mark(made)


def nest(made: Data) -> None:
    """The tree becomes one of several in the folder."""
    made.data.rename(made.folder / "site1")
    made.data.mkdir()
    (made.folder / "site1").rename(made.data / "site1")


STATES = {
    "as the run left it": (lambda _: None, "logs"),
    "after pacsifier-move-csv": (move_csv, "logs"),
    "of an older version": (forget_the_mark, "logs"),
    "of an older version, after pacsifier-move-csv": (older_and_moved, "logs"),
    "in a folder of several trees": (nest, "site1/logs"),
}


@pytest.fixture
def made(image: Path, tmp_path: Path) -> Data:
    (tmp_path / "ids.json").write_text(json.dumps({"sub-1": "P1", STRANGER: "P2"}))
    return Data(tmp_path, image)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def taken_by_anonymize(made: Data) -> tuple[Done, int]:
    done = invoke("anonymize", "-d", "data", "-o", "shared", "--verify", cwd=made.folder)
    return done, len([path for path in (made.folder / "shared").rglob("*") if path.is_file()])


def taken_by_dicomdir(made: Data) -> tuple[Done, int]:
    done = invoke("create_dicomdir", "-d", "data", "-o", "cd", cwd=made.folder)
    return done, len([path for path in (made.folder / "cd").rglob("IM*") if path.is_file()])


def taken_by_karnak(made: Data) -> tuple[Done, int]:
    before = snapshot(made.data)
    done = invoke("add_karnak_tags", "-d", "data", "-n", "ids.json", "-a", "Album", cwd=made.folder)
    return done, len(snapshot(made.data).items() - before.items())


def taken_by_extract(made: Data) -> tuple[Done, int]:
    done = invoke("extract_report", "-d", "data", cwd=made.folder)
    texts = [path for path in made.data.rglob("Clean_Report_*.txt") if path.is_file()]
    # Of the image nothing is taken.
    return done, 2 * len(texts)


COMMANDS = {
    "anonymize": taken_by_anonymize,
    "create_dicomdir": taken_by_dicomdir,
    "add_karnak_tags": taken_by_karnak,
    "extract_report": taken_by_extract,
}


@pytest.mark.parametrize(("change", "place"), STATES.values(), ids=STATES)
@pytest.mark.parametrize("take", COMMANDS.values(), ids=COMMANDS)
def test_no_command_takes_a_strangers_object_from_the_logs_of_a_run(
    take: Callable[[Data], tuple[Done, int]], change: Callable[[Data], None], place: str, made: Data
) -> None:
    change(made)
    before = snapshot(made.data / place)
    done, number = take(made)
    assert (done.returncode, number) == (0, 2), done.stderr
    assert done.stderr.count(SAID) == 1
    assert f"{place}: {SAID}" in done.stderr
    assert snapshot(made.data / place) == before
    written = [content for name, content in snapshot(made.folder).items() if not name.startswith("data/")]
    table = made.data / "reports.csv"
    written += [table.read_bytes()] if table.exists() else []
    allowed = (made.folder / "ids.json", made.folder / "info/logs/pacsifier_log.csv")
    known = [path.read_bytes() for path in allowed if path.exists()]
    assert not [content for content in written if STRANGER.encode() in content and content not in known]


@pytest.mark.parametrize("take", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_of_the_user_that_is_called_logs_is_taken_too(
    take: Callable[[Data], tuple[Done, int]], made: Data
) -> None:
    made.as_of_a_user()
    done, number = take(made)
    assert (done.returncode, number) == (0, 4), done.stderr
    assert "passed over" not in done.stderr


@pytest.mark.parametrize("change", [move_csv, forget_the_mark], ids=["marked, moved", "older"])
@pytest.mark.parametrize("folder", ["data/logs", "data/logs/unexpected"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("anonymize", "-o", "shared", "-d"),
        ("create_dicomdir", "-o", "cd", "-d"),
        ("add_karnak_tags", "-n", "ids.json", "-a", "Album", "-d"),
        ("extract_report", "-d"),
    ],
    ids=COMMANDS,
)
def test_the_logs_of_a_run_named_as_input_are_refused(
    arguments: tuple[str, ...], folder: str, change: Callable[[Data], None], made: Data
) -> None:
    change(made)
    before = snapshot(made.folder)
    done = invoke(*arguments, folder, cwd=made.folder)
    assert done.returncode == 2, done.stderr
    assert f"{folder}: lies in the logs of a pacsifier run" in done.stderr
    assert snapshot(made.folder) == before
    assert not (made.folder / "shared").exists()
    assert not list(made.folder.rglob(".pacsifier"))


def test_anonymize_names_each_file_of_the_logs_as_left_out_and_opens_none(made: Data) -> None:
    unexpected = made.data / "logs" / "unexpected" / "MR.2.25.3.1.1"
    unexpected.write_bytes(b"no DICOM at all, which would be a failure")
    done, _ = taken_by_anonymize(made)
    assert done.returncode == 0, done.stderr
    assert "5 (in the logs of a pacsifier run: not read)" in done.stderr
    table = (made.folder / "shared.deidentification_report.csv").read_text()
    assert "logs/unexpected/MR.2.25.3.1.1,,left out,in the logs of a pacsifier run: not read" in table


def test_anonymize_in_place_leaves_no_logs_in_the_folder_and_loses_none(made: Data) -> None:
    before = snapshot(made.data / "logs")
    done = invoke("anonymize", "-d", "data", "-o", "data", "--verify", cwd=made.folder)
    assert done.returncode == 0, done.stderr
    assert f"logs: {SAID}" in done.stderr
    assert not [name for name, content in snapshot(made.data).items() if STRANGER.encode() in content]
    assert sorted(path.name for path in made.data.iterdir()) == ["sub-000001"]
    assert len(snapshot(made.data)) == 2
    home = made.folder / "data.left_out"
    assert snapshot(home / "logs") == before
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_folder_that_holds_nothing_but_logs_tells_why_nothing_is_there(made: Data) -> None:
    shutil.rmtree(made.data / "sub-1")
    for take, status in ((taken_by_dicomdir, 2), (taken_by_karnak, 1), (taken_by_extract, 1)):
        done, number = take(made)
        assert (done.returncode, number) == (status, 0)
        assert f"logs: {SAID}" in done.stderr


@pytest.mark.parametrize("named", [".", "sub-1"])
def test_a_folder_that_a_run_still_writes_into_is_refused_by_name(tmp_path: Path, named: str) -> None:
    out = tmp_path / "data"
    (out / "sub-1").mkdir(parents=True)
    program = (
        "import sys; from pathlib import Path; from pacsifier.disk.lock import OutputLock\n"
        f"with OutputLock(Path({str(out)!r})):\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HOME
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=rf"process {other.pid}\b.*still writes"):
            Walk(out / named)
        assert other.stdin is not None
        other.stdin.close()
    Walk(out / named)


def test_a_run_that_holds_a_folder_may_read_it_itself(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    with OutputLock(tmp_path):
        assert list(Walk(tmp_path)) == [tmp_path / "image"]
