"""The bill of materials of the image: its list of packages (packages.txt) as CycloneDX 1.6, JSON.

    python sbom.py NAME VERSION <packages.txt >sbom.cdx.json

A line of the list is `deb NAME VERSION`, `pypi NAME VERSION` or `conda NAME-VERSION-BUILD`. The same list gives the
same bytes. Source: the CycloneDX specification, and package-url for the types of packages.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

_NAMES = uuid.UUID("5d7b7a0e-6f1c-5f5a-9d0e-1d6f2f1f7c11")


def components(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each package as a component with its package URL."""
    for line in lines:
        kind, _, rest = line.strip().partition(" ")
        if kind == "conda":
            name, version, build = rest.rsplit("-", 2)
            purl = f"pkg:conda/{quote(name)}@{quote(version)}?build={quote(build)}"
        elif kind in ("deb", "pypi"):
            name, version = rest.split()
            place = "deb/debian" if kind == "deb" else "pypi"
            purl = f"pkg:{place}/{quote(name, safe='')}@{quote(version, safe='')}"
        else:
            raise ValueError(f"no package: {line!r}")
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill(name: str, version: str, lines: Iterable[str]) -> dict[str, Any]:
    """The whole document."""
    parts = list({each["purl"]: each for each in components(lines)}.values())
    serial = uuid.uuid5(_NAMES, json.dumps([name, version, parts]))
    image = {"type": "container", "bom-ref": "image", "name": name, "version": version}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": image},
        "components": parts,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(bill(sys.argv[1], sys.argv[2], sys.stdin), indent=1) + "\n")
