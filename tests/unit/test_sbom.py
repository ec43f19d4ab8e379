"""The bill of materials of the image: what a hospital's scanner reads to know what it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SCRIPT = Path(__file__).parents[2] / "scripts/docker/sbom.py"
PACKAGES = "deb dcmtk 3.6.7-9~deb12u4\ndeb libc6 2.36-9+deb12u10\npypi pydicom 3.0.1\nconda python-3.11.11-h9e4cc4f_1\n"


def made(packages: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "pacsifier", "2.0"],
        input=packages,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_package_stands_in_a_document_that_a_scanner_takes():
    done = made(PACKAGES)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout) is None
    assert [each["purl"] for each in json.loads(done.stdout)["components"]] == [
        "pkg:deb/debian/dcmtk@3.6.7-9~deb12u4",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10",
        "pkg:pypi/pydicom@3.0.1",
        "pkg:conda/python@3.11.11?build=h9e4cc4f_1",
    ]


def test_the_same_packages_give_the_same_bytes():
    assert made(PACKAGES).stdout == made(PACKAGES + "pypi pydicom 3.0.1\n").stdout


@pytest.mark.parametrize("line", ["pydicom 3.0.1", "rpm x 1"])
def test_a_line_that_names_no_package_is_not_left_out_silently(line):
    assert made(f"{PACKAGES}{line}\n").returncode != 0
