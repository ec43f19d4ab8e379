"""README and the pages of docs/ read aloud: their commands, in their order, on the demo PACS, as a newcomer would."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pacs.walking import ROOT, Step, Walk, end, headers, steps

sys.path.insert(0, str(ROOT / "docs"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST, LAST = "\n## First query, on the demo PACS", "\n## What is proven"
# Every page of docs/ whose commands are typed here, from the first to the last.
PAGES = ("tutorial.md", "look-choose-fetch.md", "retrieving.md", "other-commands.md", "bids.md")
# What a page expects that does not begin with the demo PACS itself.
BEFORE = (
    Step("pacsifier-demo-pacs             # in another terminal"),
    Step("cp demo-pacs/config.json ."),
    Step("StudyDate,PatientID\n20150512,123421\n,45322\n20180102,\n", "query.csv"),
)


def _steps(page: str) -> tuple[Step, ...]:
    if page == "README.md":
        return tuple(steps(README[README.index(FIRST) : README.index(LAST)]))
    return tuple(steps((ROOT / "docs" / page).read_text(encoding="utf-8")))


STEPS = {page: _steps(page) for page in ("README.md", *PAGES)}


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


def walked(page: str, folder: Path, service: str = "") -> Path:
    """Types all of a page; where it does not say so, the demo PACS is there. Returns the newcomer's folder."""
    with Walk(folder, service) as walk:
        if not any(step.program == "pacsifier-demo-pacs" for step in STEPS[page]):
            for step in BEFORE:
                walk.take(step)
        for step in STEPS[page]:
            walk.take(step)
    return walk.folder


def explained(folder: Path) -> set[str]:
    """The kinds of tables below a folder, each of whose columns stands in the reference (docs/files.md)."""
    import made
    import meanings

    known = {
        "pacsifier_log.csv": meanings.SERIES_LOG,
        "series.csv": meanings.SERIES_TABLE,
        "query_rows.csv": meanings.QUERY_ROWS,
        "redo.csv": meanings.REDO,
        "summary.csv": meanings.SUMMARY,
        "audit.jsonl": meanings.AUDIT,
        "summary.json": meanings.SUMMARY_JSON,
        "key.json": meanings.KEY,
        "reports.csv": meanings.REPORTS,
        "log_get_pseudonyms.csv": meanings.PSEUDONYMS,
        "deidentification_report.csv": meanings.DEIDENTIFIED,
        "verify_report.csv": meanings.VERIFIED,
        "descriptor_words.csv": meanings.WORDS,
    }
    # A series table is a query as well.
    asked = {*made.QUERY_COLUMNS, *meanings.SERIES_TABLE, "new_ids"}
    anywhere = {*asked, *(f"query_{name}" for name in asked), *made.INFO_COLUMNS}
    seen = set()
    for path, columns in headers(folder):
        name = next((name for name in known if path.name.endswith(name)), "")
        # The page's own files; those beside an output folder are ours.
        if path.parent == folder and not name:
            continue
        assert {*columns} <= {*known.get(name, ())} | anywhere, path
        seen.add(name)
    return seen


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


def test_every_command_of_the_package_is_typed_on_some_page():
    told = {step.program for page in STEPS.values() for step in page}
    shown = set(re.findall(r"^\| `(pacsifier-[a-z-]+)`", README, re.MULTILINE))
    assert shown | {"pacsifier", "pacsifier-anonymize", "pacsifier-demo-pacs"} <= told


def test_readme_brings_the_images_and_a_copy_without_identities(tmp_path):
    folder = walked("README.md", tmp_path)
    images = [path for path in (folder / "data").rglob("*.2.25.*") if path.suffix != ".csv"]
    shared = [path for path in (folder / "shared").rglob("*.dcm") if path.is_file()]
    assert len(images) == len(shared) > 30
    assert (folder / "shared.key.json").is_file()


def test_the_tutorial_leads_from_a_query_to_data_that_can_be_shared(tmp_path):
    folder = walked("tutorial.md", tmp_path)
    shared = list((folder / "shared").rglob("*.dcm"))
    assert len({path.relative_to(folder / "shared").parts[0] for path in shared}) == 3
    assert all(path.relative_to(folder / "shared").parts[0].startswith("sub-P000") for path in shared)
    assert (folder / "handed_over" / "DICOMDIR").is_file()
    assert explained(folder) >= {
        *("pacsifier_log.csv", "series.csv", "query_rows.csv", "summary.csv", "audit.jsonl"),
        *(
            "deidentification_report.csv",
            "verify_report.csv",
            "descriptor_words.csv",
            "summary.json",
            "key.json",
        ),
    }
    for path in (folder / "handed_over").rglob("*"):
        held = path.read_bytes() if path.is_file() else b""
        assert not any(name in held for name in (b"123421", b"45322", b"YODA", "Müller".encode("latin-1"))), (
            path
        )


@pytest.mark.parametrize("page", ["look-choose-fetch.md", "retrieving.md"])
def test_the_commands_of_a_page_work_in_their_order(page, tmp_path):
    folder = walked(page, tmp_path)
    assert [path for path in (folder / "data").rglob("*.2.25.*") if path.suffix != ".csv"]


def test_the_smaller_commands_work_in_their_order(tmp_path, service):
    folder = walked("other-commands.md", tmp_path, service)
    assert len(list((folder / "coded").glob("sub-P000*"))) == 3
    assert explained(folder) >= {"reports.csv", "log_get_pseudonyms.csv"}
    assert (folder / "cd" / "DICOMDIR").is_file()
    assert list((folder / "info").rglob("*.csv"))
    assert (folder / "data" / "reports.csv").is_file() != (folder / "info" / "reports.csv").is_file()
    assert len(json.loads((folder / "ids" / "new_ids_OTHERPROJECT.json").read_text())) == 3


def test_the_produced_tree_becomes_nifti_and_bids_by_the_programs_of_others(tmp_path):
    for program in ("dcm2niix", "dcm2bids"):
        assert shutil.which(program), f"{program} is not here"
    folder = walked("bids.md", tmp_path)
    assert len(list((folder / "nifti").glob("*.nii.gz"))) >= 8
    kinds: dict[str, set[str]] = {}
    for path in (folder / "bids").glob("sub-*/anat/*.nii.gz"):
        patient, _, kind = path.name.removesuffix(".nii.gz").partition("_")
        assert path.parts[-3] == patient
        kinds.setdefault(patient, set()).add(kind)
    # Which patient got which number is drawn.
    assert sorted(map(sorted, kinds.values())) == [["FLAIR", "T1w"], ["T2w"], ["T2w"]]
    for path in (folder / "bids").glob("sub-*/anat/*.json"):
        said = path.read_text(encoding="utf-8")
        assert not any(name in said for name in ("123421", "45322", "Müller", "PatientBirthDate")), path
