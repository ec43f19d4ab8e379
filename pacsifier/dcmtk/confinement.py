"""Lets a tool write into one folder only, by Linux's Landlock (5.13 and later).

getscu names a file by what the PACS sends as SOP Instance UID; an absolute path there would be written to.
"""

from __future__ import annotations

import os
import platform
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

# linux/landlock.h and linux/prctl.h; the three system calls have these numbers on every architecture but alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38
# Write a file, remove a folder or a file, make anything: what the first version knows beside reading.
_WRITING = 1 << 1 | sum(1 << bit for bit in range(4, 13))


@cache
def is_possible() -> bool:
    """Whether this kernel can confine a process."""
    return platform.system() == "Linux" and _call(_CREATE_RULESET, None, 0, _ASK_VERSION) > 0


def confine(folder: Path) -> None:
    """From now on this process and its children write below `folder` only; reading stays free.

    Raises:
        OSError: the kernel refused.
    """
    ruleset = _checked(_call(_CREATE_RULESET, struct.pack("=Q", _WRITING), 8, 0))
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", _WRITING, place), 0))
    _checked(int(_libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)))
    _checked(_call(_RESTRICT_SELF, ruleset, 0))
    os.close(place)
    os.close(ruleset)


def _call(number: int, *arguments: object) -> int:
    return int(_libc().syscall(number, *arguments))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError("the kernel refused to confine a process (Landlock)")
    return result


@cache
def _libc() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
