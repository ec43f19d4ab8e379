"""DCMTK's coders for pictures, as callables: started in a folder of the process that asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path

from pacsifier.dcmtk.dcmcjpeg import encode_jpeg_lossless
from pacsifier.dcmtk.dcmcjpls import encode_jpeg_ls
from pacsifier.dcmtk.dcmdjpeg import decode_jpeg
from pacsifier.dcmtk.dcmdjpls import decode_jpeg_ls
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.pictures.coders import Coders


@contextmanager
def coders_in(staging: Path) -> Iterator[Coders]:
    """The coders of this process, in a folder of its own (0700) below `staging`; afterwards nothing of them runs."""
    scratch = staging / f"coders-{os.getpid()}"
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Toolbox() as toolbox:
        yield Coders(
            scratch,
            djpeg=partial(decode_jpeg, toolbox, staging=scratch),
            cjpeg=partial(encode_jpeg_lossless, toolbox, staging=scratch),
            djpls=partial(decode_jpeg_ls, toolbox, staging=scratch),
            cjpls=partial(encode_jpeg_ls, toolbox, staging=scratch),
        )


class WithCoders:
    """A worker that may need the coders of its process: made when they are first asked for, ended by `close`."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._opened = ExitStack()

    @cached_property
    def coders(self) -> Coders:
        """The coders, in a folder of their own below `staging`."""
        return self._opened.enter_context(coders_in(self._staging))

    def close(self) -> None:
        """Ends what runs for the worker."""
        self._opened.close()
