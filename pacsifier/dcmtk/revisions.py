"""Which known faults of DCMTK a binary has: by its version, and by what its distribution's changelog says it patched.

A distribution mends an old version and leaves the version as it is. Debian and those that descend from it tell so in
the changelog of the package, read here without starting anything; of other distributions nothing is known.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.dcmtk.binaries import Binary

_CVES = re.compile(r"CVE-(\d{4})((?:-\d{4,7})+)")


@dataclass(frozen=True)
class Flaw:
    """Faults of DCMTK that the version `mended` no longer has; `what` they let happen."""

    mended: tuple[int, ...]
    cves: tuple[str, ...]
    what: str

    @property
    def named(self) -> str:
        """The faults as a person writes them: CVE-2024-34508, -34509."""
        first, *others = self.cves
        return ", ".join((first, *("-" + each.rpartition("-")[2] for each in others)))

    @property
    def upstream(self) -> str:
        """The version from which on upstream's DCMTK is without them."""
        return ".".join(map(str, self.mended))


FLAWS = (
    Flaw(
        (3, 6, 7),
        ("CVE-2022-2119", "CVE-2022-2120", "CVE-2022-2121"),
        "faults by which a sender can have files written outside of the folder, or crash it",
    ),
    Flaw((3, 6, 9), ("CVE-2024-34508", "CVE-2024-34509"), "known crashes"),
)


@dataclass(frozen=True)
class Package:
    """The distribution's package of a binary; `told`: the CVEs that its changelog names, None: there is none here."""

    name: str
    revision: str
    told: frozenset[str] | None


def flaws_of(version: str, package: Package | None) -> list[Flaw]:
    """The flaws that a version has, as far as is known: what the changelog of its package names is mended."""
    return [each for each in _parted(version, package, told=False) if each.cves]


def mended_in(version: str, package: Package | None) -> list[Flaw]:
    """The flaws of this version that its package has mended."""
    return [each for each in _parted(version, package, told=True) if each.cves]


def _parted(version: str, package: Package | None, *, told: bool) -> Iterator[Flaw]:
    """The flaws of a version with those of their CVEs only that its package's changelog names, or does not name."""
    numbers = tuple(map(int, version.split(".")))
    names = (package.told if package else None) or frozenset()
    for flaw in FLAWS:
        if numbers < flaw.mended:
            yield replace(flaw, cves=tuple(each for each in flaw.cves if (each in names) is told))


def package_of(binary: Binary, root: Path = Path("/")) -> Package | None:
    """The package that a binary belongs to; None where that cannot be read.

    The libraries of the same source hold most of the code: what any of them does not name is not mended.
    """
    with contextlib.suppress(OSError):
        owner = _owner(str(binary.path.resolve()), root)
        every = _installed(root) if owner else {}
        if owner not in every:
            return None
        revision, source = every[owner]
        libraries = [name for name, (_, of) in every.items() if of == source and name.startswith("lib")]
        changelogs = [_told(name, root) for name in (owner, *libraries)]
        known = [each for each in changelogs if each is not None]
        told = frozenset.intersection(*known) if len(known) == len(changelogs) else None
        return Package(owner, revision, told)
    return None


def _owner(path: str, root: Path) -> str:
    """The name of the package that installed a file; "" for none. /bin may be a link to /usr/bin, or not."""
    lines = {path, path.removeprefix("/usr")}
    for listed in (root / "var/lib/dpkg/info").glob("*.list"):
        text = listed.read_text(encoding="utf-8", errors="replace")
        if not lines.isdisjoint(text.splitlines() if path.rpartition("/")[2] in text else ()):
            return listed.stem.partition(":")[0]
    return ""


def _installed(root: Path) -> Mapping[str, tuple[str, str]]:
    """The installed packages: name -> revision, source."""
    found = {}
    for fields in _stanzas(root / "var/lib/dpkg/status"):
        if fields.get("Status", "").endswith(" installed"):
            name = fields.get("Package", "")
            source = fields.get("Source", name).partition(" ")[0]
            found[name] = (fields.get("Version", ""), source)
    return found


def _stanzas(path: Path) -> Iterator[Mapping[str, str]]:
    for stanza in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        lines: Sequence[Sequence[str]] = [line.partition(": ") for line in stanza.splitlines()]
        yield {name: value for name, colon, value in lines if colon and not name.startswith(" ")}


def _told(name: str, root: Path) -> frozenset[str] | None:
    """The CVEs that the changelog of a package names; None where there is no changelog."""
    path = root / "usr/share/doc" / name / "changelog.Debian.gz"
    with contextlib.suppress(OSError, EOFError, zlib.error):
        return cves_in(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
    return None


def cves_in(text: str) -> frozenset[str]:
    """The CVEs that a text names, also where several share one beginning: CVE-2024-34508-34509."""
    found = (
        f"CVE-{year}-{number}"
        for year, numbers in _CVES.findall(text)
        for number in numbers.split("-")
        if number
    )
    return frozenset(found)
