"""What the DCMTK of this machine says, whatever its version, is understood as the recorded versions are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_what_the_tools_of_this_machine_say_is_understood(tmp_path):
    logs = tmp_path / "logs"
    # The tests by hypothesis take long, and are of the reading alone.
    tests = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not cut and not anywhere",
        TESTS / "unit/test_transcript.py",
    )
    for argv in ((TESTS / "transcripts/record.py", logs), ("-m", "pytest", *tests)):
        environment = {**os.environ, "PACSIFIER_TRANSCRIPTS": str(logs)}
        run = subprocess.run(
            [sys.executable, *argv], env=environment, capture_output=True, timeout=300, check=False
        )
        assert run.returncode == 0, (run.stdout + run.stderr)[-4000:].decode(errors="replace")
