"""Which faults an installed DCMTK is said to have: none that its package mended, none fewer than are known."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pacsifier.checkup.flaws import judge_flaws
from pacsifier.checkup.probe import Outcome
from pacsifier.dcmtk.binaries import Binary
from pacsifier.dcmtk.revisions import Package, cves_in, flaws_of, package_of

OLD, CRASHES = {"CVE-2022-2119", "CVE-2022-2120", "CVE-2022-2121"}, {"CVE-2024-34508", "CVE-2024-34509"}


def package(*told: str) -> Package:
    return Package("dcmtk", "3.6.7-9~deb12u4", frozenset(told))


@pytest.mark.parametrize(
    ("version", "of", "left"),
    [
        ("3.6.6", None, OLD | CRASHES),
        ("3.6.7", None, CRASHES),
        ("3.6.8", None, CRASHES),
        ("3.6.9", None, set()),
        ("3.7.0", None, set()),
        ("3.6.10", None, set()),
        ("3.6.7", package(*CRASHES), set()),
        ("3.6.7", package("CVE-2024-34508"), {"CVE-2024-34509"}),
        ("3.6.6", package("CVE-2022-2119", "CVE-2022-2120"), {"CVE-2022-2121"} | CRASHES),
        ("3.6.7", package(*OLD), CRASHES),
        ("3.6.7", Package("dcmtk", "3.6.7-9", None), CRASHES),
    ],
)
def test_a_fault_is_gone_only_by_version_or_where_the_changelog_names_it(version, of, left) -> None:
    assert {cve for flaw in flaws_of(version, of) for cve in flaw.cves} == left


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("  * 0010-CVE-2024-34508-34509.patch: new.", CRASHES),
        ("This patch fixes CVE-2024-34508 and CVE-2024-34509.", CRASHES),
        ("d/patches: CVE-2022-2119 CVE-2022-2120. Closes: #1017743", {"CVE-2022-2119", "CVE-2022-2120"}),
        ("fix CVE-2024-345080", {"CVE-2024-345080"}),
        ("nothing of the kind, CVE-, CVE-2024", set()),
    ],
)
def test_every_cve_that_a_changelog_names_is_read_and_no_other(text: str, found: set[str]) -> None:
    assert cves_in(text) == found


@pytest.mark.parametrize(
    ("version", "of", "outcome", "words"),
    [
        ("3.6.9", None, Outcome.OK, "3.6.9: none is known here"),
        (
            "3.6.7",
            package(*CRASHES),
            Outcome.OK,
            "3.6.7 (package dcmtk 3.6.7-9~deb12u4): its changelog tells of fixes of CVE-2024-34508, -34509",
        ),
        (
            "3.6.7",
            None,
            Outcome.WARNING,
            "3.6.7: upstream before 3.6.9 has known crashes (CVE-2024-34508, -34509) unless your distribution",
        ),
        ("3.6.7", package(), Outcome.WARNING, "the package's changelog names no fix of that"),
        ("3.6.7", Package("dcmtk", "3.6.7-9", None), Outcome.WARNING, "that is not on this machine"),
        ("3.6.6", None, Outcome.WARNING, "(CVE-2022-2119, -2120, -2121) unless"),
    ],
)
def test_only_what_the_changelog_says_is_told(version, of, outcome, words) -> None:
    probe = judge_flaws([(version, of)])
    assert probe.outcome is outcome
    assert words in probe.seen


def test_without_any_tool_nothing_is_said_of_faults() -> None:
    assert judge_flaws([]).outcome is Outcome.SKIPPED


STATUS = """Package: dcmtk
Status: {state}
Version: 3.6.7-9~deb12u4
Description: toolkit
 of many tools
 Version: none of these

Package: libdcmtk17
Status: install ok installed
Source: dcmtk (3.6.7-9)
Version: 3.6.7-9

Package: other
Status: install ok installed
Version: 1
"""


def machine(
    root: Path, *, state: str = "install ok installed", library: str | None = "CVE-2024-34508"
) -> Binary:
    """A machine of Debian's with DCMTK's package and its library, whose changelog says this; None: has none."""
    binary = root / "usr/bin/getscu"
    info = root / "var/lib/dpkg/info"
    for folder in (binary.parent, info, root / "usr/share/doc/dcmtk", root / "usr/share/doc/libdcmtk17"):
        folder.mkdir(parents=True)
    binary.touch()
    (info / "dcmtk.list").write_text(f"/.\n{binary.parent}\n{binary.resolve()}\n")
    (info / "other.list").write_text(f"/.\n{binary}.old\n")
    (info.parent / "status").write_text(STATUS.format(state=state))
    texts = {"dcmtk": "CVE-2024-34508 and CVE-2024-34509", "libdcmtk17": library}
    for name, text in texts.items():
        if text is not None:
            path = root / "usr/share/doc" / name / "changelog.Debian.gz"
            path.write_bytes(gzip.compress(text.encode()))
    return Binary(binary, "3.6.7")


def test_a_library_that_was_left_behind_is_not_taken_for_mended(tmp_path: Path) -> None:
    found = package_of(machine(tmp_path), tmp_path)
    assert found == Package("dcmtk", "3.6.7-9~deb12u4", frozenset({"CVE-2024-34508"}))


def test_a_changelog_that_was_not_installed_is_told_from_one_that_names_nothing(tmp_path: Path) -> None:
    assert package_of(machine(tmp_path, library=None), tmp_path) == Package("dcmtk", "3.6.7-9~deb12u4", None)


def test_what_no_package_owns_has_no_revision(tmp_path: Path) -> None:
    binary = machine(tmp_path)
    (tmp_path / "opt").mkdir()
    assert package_of(Binary(tmp_path / "opt" / "getscu", "3.6.7"), tmp_path) is None
    assert package_of(binary, tmp_path / "opt") is None


def test_a_package_that_was_removed_is_not_asked(tmp_path: Path) -> None:
    assert package_of(machine(tmp_path, state="deinstall ok config-files"), tmp_path) is None


@pytest.mark.parametrize("damage", ["no gzip", "cut", "broken"])
def test_a_changelog_that_cannot_be_read_is_no_failure(tmp_path: Path, damage: str) -> None:
    binary = machine(tmp_path)
    changelog = tmp_path / "usr/share/doc/dcmtk/changelog.Debian.gz"
    whole = gzip.compress(b"CVE-2024-34508" * 99)
    broken = {"no gzip": b"text", "cut": whole[:20], "broken": whole[:12] + b"\xff" * 9 + whole[21:]}
    changelog.write_bytes(broken[damage])
    found = package_of(binary, tmp_path)
    assert found is not None
    assert found.told is None
