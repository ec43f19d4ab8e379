"""What is known to be wrong with the installed DCMTK, as a check tells it: nobody is refused for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pacsifier.checkup.probe import Probe
from pacsifier.dcmtk.binaries import Binary
from pacsifier.dcmtk.revisions import Flaw, Package, flaws_of, mended_in, package_of

NAME = "known faults of DCMTK"
_REMEDY = (
    "install a later DCMTK, or the patched package of your distribution; until then let a firewall pass only the PACS "
    "to move_port"
)


def try_flaws(binaries: Iterable[Binary]) -> Probe:
    """Looks which known faults the binaries have; reads the package that each belongs to."""
    kinds = {(each.version, each.path.resolve().parent): each for each in binaries}
    return judge_flaws([(each.version, package_of(each)) for each in kinds.values()])


def judge_flaws(installed: Sequence[tuple[str, Package | None]]) -> Probe:
    """What versions, and the packages they belong to (None: not known), mean for who uses them."""
    lines = list(dict.fromkeys(_told(version, package) for version, package in installed))
    if not lines:
        return Probe.skipped(NAME, "no tool of DCMTK can be used")
    if any(flaws_of(version, package) for version, package in installed):
        return Probe.warning(NAME, "\n".join(lines), _REMEDY)
    return Probe.ok(NAME, "\n".join(lines))


def _told(version: str, package: Package | None) -> str:
    where = f"{version} (package {package.name} {package.revision})" if package else version
    if flaws := flaws_of(version, package):
        return f"{where}: {'; '.join(_words(each, package) for each in flaws)}"
    mended = ", ".join(each.named for each in mended_in(version, package))
    return f"{where}: " + (f"its changelog tells of fixes of {mended}" if mended else "none is known here")


def _words(flaw: Flaw, package: Package | None) -> str:
    upstream = f"upstream before {flaw.upstream} has {flaw.what} ({flaw.named})"
    if package is None:
        return f"{upstream} unless your distribution patched it"
    if package.told is None:
        return f"{upstream} unless the package patched it, which its changelog would tell that is not on this machine"
    return f"{upstream}, and the package's changelog names no fix of that"
