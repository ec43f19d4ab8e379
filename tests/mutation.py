"""Says which small changes of a module no test notices.

    python tests/mutation.py pacsifier/transfer/fetch/verdict.py --tests tests/unit/test_verdict.py --at-least 95

Every place is changed alone: a comparison (== !=, < <= >=, in, is), `and` and `or`, a `not` dropped, the condition of
an `if` negated, an integer one higher in a comparison or in arithmetic, `return True` and `return False`, + and -.
A change is killed when a test fails, or when the tests do not end in time. What the tests need of other packages is
imported once; then each change gets a fork of this process in which the module is replaced before a test imports it.
Files are written below a temporary folder only. Processes that the tests start see the module as it is on disk.

Exit status: 0 enough killed, 1 fewer than --at-least percent of a module, 2 the tests fail or never import a module.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_POLL_S = 0.005
_MEMORY_BYTES = 8 << 30
_NEVER_IMPORTED, _BROKEN = 90, 91

_FLIPPED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}


# --- the changes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swap:
    """Another value for one field of a node; a reader sees the difference in `shown`, or in what it `becomes`."""

    node: ast.AST
    name: str
    value: Any
    shown: ast.AST
    becomes: ast.AST | None = None


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    line: int
    before: str
    after: str
    code: CodeType = field(compare=False)


def mutants(source: str, path: str = "<source>") -> Iterator[Mutant]:
    """Every change of a module, in the order of its lines."""
    tree = ast.parse(source)
    swaps = [swap for node in ast.walk(tree) for swap in _swaps(node)]
    swaps.sort(key=lambda swap: (swap.shown.lineno, swap.shown.col_offset))  # type: ignore[attr-defined]
    for swap in swaps:
        old, before = getattr(swap.node, swap.name), ast.unparse(swap.shown)
        setattr(swap.node, swap.name, swap.value)
        ast.fix_missing_locations(tree)
        code = compile(tree, path, "exec", dont_inherit=True)
        line: int = swap.shown.lineno  # type: ignore[attr-defined]
        yield Mutant(line, before, ast.unparse(swap.becomes or swap.shown), code)
        setattr(swap.node, swap.name, old)


def _swaps(node: ast.AST) -> Iterator[Swap]:
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                for flipped in _FLIPPED[type(op)]:
                    yield Swap(node, "ops", [*ops[:place], flipped(), *ops[place + 1 :]], node)
            yield from _one_higher(node)
        case ast.BoolOp(op=op):
            yield Swap(node, "op", ast.Or() if isinstance(op, ast.And) else ast.And(), node)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield Swap(node, "operand", _negated(operand), node)
        case ast.UnaryOp(op=ast.USub()):
            yield Swap(node, "op", ast.UAdd(), node)
        case ast.Return(value=ast.Constant(value=bool(value))):
            yield Swap(node, "value", ast.Constant(not value), node)
        case ast.If(test=test) | ast.IfExp(test=test) if _needs_negation(test):
            yield Swap(node, "test", negated := _negated(test), test, negated)
        case ast.comprehension(ifs=ifs):
            for place, each in enumerate(ifs):
                if _needs_negation(each):
                    negated = _negated(each)
                    yield Swap(node, "ifs", [*ifs[:place], negated, *ifs[place + 1 :]], each, negated)
        case _:
            yield from _swaps_of_arithmetic(node)


def _swaps_of_arithmetic(node: ast.AST) -> Iterator[Swap]:
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield Swap(node, "op", ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node)
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        yield from _one_higher(node)


def _one_higher(node: ast.AST) -> Iterator[Swap]:
    for number in ast.iter_child_nodes(node):
        if isinstance(number, ast.Constant) and type(number.value) is int:
            yield Swap(number, "value", number.value + 1, node)


def _needs_negation(test: ast.expr) -> bool:
    """Whether no other kind of change negates the condition; what is only for a type checker never runs."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return False
    if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
        return False
    return not (isinstance(test, ast.Compare) and len(test.ops) == 1)


def _negated(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


# --- one fork for each -------------------------------------------------------------------------------------------


class _Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from code in memory."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code
        self.used = False

    def find_spec(
        self, fullname: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        folder = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=self, submodule_search_locations=folder
        )

    def exec_module(self, module: ModuleType) -> None:
        self.used = True
        exec(self._code, module.__dict__)


@dataclass
class _Module:
    """A module to change."""

    path: Path

    @property
    def name(self) -> str:
        parts = self.path.resolve().relative_to(Path.cwd()).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def code(self) -> CodeType:
        return compile(self.path.read_text(), str(self.path), "exec", dont_inherit=True)


@dataclass
class _Fork:
    """A process that runs the tests over one changed module."""

    pid: int
    folder: Path
    mutant: Mutant
    began: float = field(default_factory=time.monotonic)

    def ended(self, limit_s: float) -> int | None:
        """The exit status, negative for a signal; None while it runs. Ended by force where it takes too long."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - self.began > limit_s:
            self.kill()
            return -signal.SIGKILL
        return None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _fork(module: _Module, mutant: Mutant, tests: Sequence[str], folder: Path) -> _Fork:
    folder.mkdir()
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        # Its process group must be there before it may be killed by it.
        os.read(read, 1)
        os.close(read)
        return _Fork(pid, folder, mutant)
    status = _BROKEN
    try:
        os.setsid()
        os.write(write, b".")
        os.close(write)
        os.close(read)
        status = _run(module, mutant.code, tests, folder)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _run(module: _Module, code: CodeType, tests: Sequence[str], folder: Path) -> int:
    """Runs the tests in this process, with their words in a file; the exit status of pytest."""
    import pytest

    out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(out, stream)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    _steady_hypothesis()
    replaced = _Replaced(module.name, module.path.resolve(), code)
    sys.meta_path.insert(0, replaced)
    before = set(sys.modules)
    status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}", *tests]))
    foreign = [name for name in sys.modules if name not in before and _is_foreign(sys.modules[name])]
    (folder / "imports").write_text(json.dumps(foreign))
    sys.stdout.flush()
    return status if replaced.used else _NEVER_IMPORTED


def _steady_hypothesis() -> None:
    """The same examples for every change, none kept, no time spent on making them small."""
    with contextlib.suppress(ImportError):
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutation", derandomize=True, database=None, deadline=None, phases=phases, print_blob=False
        )
        settings.load_profile("mutation")


def _is_foreign(module: ModuleType) -> bool:
    """Whether a module is none of the project's or its tests'."""
    path = Path(getattr(module, "__file__", None) or "/")
    return "site-packages" in path.parts or not path.is_relative_to(Path.cwd())


# --- the whole ---------------------------------------------------------------------------------------------------


def _unchanged(module: _Module, tests: Sequence[str], folder: Path) -> float:
    """Runs the tests over the module as it is and imports what they needed; returns the seconds they took."""
    mutant = Mutant(0, "", "", module.code())
    fork = _fork(module, mutant, tests, folder)
    while (status := fork.ended(3600)) is None:
        time.sleep(_POLL_S)
    if status == _NEVER_IMPORTED:
        raise SystemExit(_complaint(f"{module.path}: the tests never import it"))
    if status:
        sys.stdout.write((folder / "out").read_text(errors="replace"))
        raise SystemExit(_complaint(f"{module.path}: the tests fail without any change"))
    seconds = time.monotonic() - fork.began
    for name in json.loads((folder / "imports").read_text()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    shutil.rmtree(folder)
    return seconds


def _complaint(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def _probe(module: _Module, args: argparse.Namespace, folder: Path) -> float:
    """Tries every change of a module and tells of each; the percentage killed."""
    took_s = _unchanged(module, args.tests, folder / "unchanged")
    limit_s = args.limit or 10 + 5 * took_s
    waiting = enumerate(mutants(module.path.read_text(), str(module.path)))
    running: list[_Fork] = []
    killed = total = 0
    try:
        while True:
            while len(running) < args.jobs and (following := next(waiting, None)):
                number, mutant = following
                running.append(_fork(module, mutant, args.tests, folder / f"{number}"))
            if not running:
                break
            for fork in list(running):
                if (status := fork.ended(limit_s)) is None:
                    continue
                running.remove(fork)
                if status == _BROKEN:
                    raise SystemExit(_complaint(f"a fork broke: {(fork.folder / 'out').read_text()}"))
                shutil.rmtree(fork.folder, ignore_errors=True)
                total, killed = total + 1, killed + (status != 0)
                if status in (0, -signal.SIGKILL) or not args.quiet:
                    _tell(module, fork.mutant, status)
            time.sleep(_POLL_S)
    finally:
        for fork in running:
            fork.kill()
    percent = 100 * killed / total if total else 100.0
    print(f"{module.path}: {killed} of {total} killed, {percent:.1f} %", flush=True)
    return percent


def _tell(module: _Module, mutant: Mutant, status: int) -> None:
    # What was killed by the clock of a busy machine would be no merit of the tests.
    word = (
        "survived" if status == 0 else "killed by the time limit" if status == -signal.SIGKILL else "killed"
    )
    print(f"{module.path}:{mutant.line}: {word}: {mutant.before}  ->  {mutant.after}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="+", type=Path, help="files of modules, below the current folder")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest is to run")
    parser.add_argument("--at-least", type=float, default=0, metavar="PERCENT", help="of each module")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="changes at a time")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for the tests of one change")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="tell of survivors and of time limits only"
    )
    args = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        percents = []
        for number, path in enumerate(args.modules):
            own = Path(folder) / f"module{number}"
            own.mkdir()
            percents.append(_probe(_Module(path), args, own))
    return int(min(percents) < args.at_least)


if __name__ == "__main__":
    sys.exit(main())
