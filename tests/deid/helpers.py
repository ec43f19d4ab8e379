"""Running the engine and looking at what it wrote, by means of its own."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset

from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.identifiers import Identifiers
from pacsifier.deidentify.engine.profile import Options, Profile
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.folder import deidentify_folder
from pacsifier.deidentify.key import key_path
from pacsifier.deidentify.model import Request
from pacsifier.deidentify.report import Totals

SECRET = b"a secret of the tests, 32 bytes!"


def request(source: Path, out: Path, options: Options | None = None, **more: object) -> Request:
    made = Request(source, out, options or Options(), key_path(out, None), workers=1)
    return replace(made, **more)  # type: ignore[arg-type]


def run(source: Path, out: Path, options: Options | None = None, **more: object) -> Totals:
    return deidentify_folder(request(source, out, options, **more))


def rules(options: Options | None = None, known: Identifiers | None = None, **subject: object) -> Rules:
    """An engine for one patient, P0001, whose birth date moves by 5 days and the others by 12 (under -a)."""
    chosen = options or Options()
    who = Subject("somebody", "P0001", 12 if chosen.fuzz_dates else 0, 5, False, known or Identifiers())
    return Rules(Profile(chosen), SECRET, replace(who, **subject), Vocabulary())  # type: ignore[arg-type]


def read(path: Path) -> FileDataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def outputs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.dcm") if path.is_file())


def every_element(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from every_element(item)


def digests(folder: Path) -> dict[str, str]:
    """What a folder holds, byte for byte."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
