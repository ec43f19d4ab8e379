"""axe-core, which looks at a page for what keeps people from reading it; scripts/test fetches it by npm."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from selenium import webdriver

_HOME = Path(os.environ.get("PACSIFIER_AXE") or Path(sys.prefix) / "axe" / "node_modules" / "axe-core")
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
_RUN = """
const [options, done] = arguments;
axe.run(document, options).then(done, (error) => done({ error: String(error) }));
"""


def barriers(browser: webdriver.Chrome) -> list[str]:
    """What axe-core finds wrong with the page that is open, a line each; none is what a page should have."""
    script = _HOME / "axe.min.js"
    assert script.is_file(), f"no axe-core in {_HOME}: scripts/test fetches it"
    browser.execute_script(script.read_text(encoding="utf-8"))
    found: dict[str, Any] = browser.execute_async_script(
        _RUN, {"runOnly": _RULES, "resultTypes": ["violations"]}
    )
    assert "error" not in found, found
    return [
        f"{each['id']}: {node['html'][:150]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]
