"""The plan of the house (CONTRIBUTING.md) held against the code: who imports whom, and who may change what.

Imports are read with `ast`, those under TYPE_CHECKING and inside functions included.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pacsifier

HOME = Path(pacsifier.__file__).parent

# Breaks that are known; the list may only shrink.
KNOWN: frozenset[str] = frozenset()

# The floor of each room; an import runs down only, and rooms on one floor do not import each other.
FLOORS: Mapping[str, int] = {
    "api": 8,
    "cli": 8,
    "report": 7,
    "checkup": 6,
    "deidentify": 6,
    "flows": 6,
    "deidentify.engine": 5,
    "transfer": 5,
    "maps": 5,
    "dcmtk": 4,
    "disk": 4,
    "config": 3,
    "query": 3,
    "allowed": 2,
    "dicom": 2,
    "pictures": 2,
    "demo": 1,
    "errors": 1,
    "figures": 1,
    "slurm": 1,
    "": 0,
}
# What a file in a room may import besides the floors below: inside `transfer`, and doors that stand among flows.
SHARED = (
    "transfer.model",
    "transfer.options",
    "transfer.retry",
    "transfer.capabilities",
    "transfer.exclusion",
)
# One file or room -> the rooms and files of its own room that it may import.
INSIDE: Mapping[str, tuple[str, ...]] = {
    "transfer.find": ("transfer.find", *SHARED),
    "transfer.fetch": ("transfer.fetch", "transfer.find.images", *SHARED),
    "transfer.fetch.rounds": ("transfer.fetch", "transfer.find.images", "transfer.run", *SHARED),
    "transfer.record": ("transfer.record", *SHARED),
    "transfer.plan": SHARED,
    "transfer.run": SHARED,
    "transfer.resume": ("transfer.run", "transfer.find.images", "transfer.fetch.verdict", *SHARED),
    "transfer.upload": SHARED,
    **dict.fromkeys(SHARED, SHARED),
    "flows": ("flows.deid_service", "flows.plaintext"),
}
# The engine knows no folders; flows above the engine may not be known to it anyway.
NEVER = {"deidentify.engine": ("disk", "deidentify.key"), "transfer.run": ("transfer.fetch",)}
# Only the door starts processes; wrappers of the container replace themselves by docker or podman.
STARTS_PROCESSES = ("dcmtk", "cli.docker")
# What Slurm runs is copied into the folder of the jobs, where there need be no package.
ALONE = ("slurm",)


def _name(path: Path) -> str:
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


TREES = {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(HOME.rglob("*.py"))}


def _imported(tree: ast.AST) -> Iterator[str]:
    """The modules of the package that a tree imports, by their names without `pacsifier.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [
                whole
                if (whole := f"{node.module}.{alias.name}").removeprefix("pacsifier.") in TREES
                else node.module
                for alias in node.names
            ]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "pacsifier":
                yield rest


IMPORTS = {name: sorted(set(_imported(tree)) - {name}) for name, tree in TREES.items()}


def _within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def _room(name: str) -> str:
    """The room with a floor of its own in which a module stands."""
    return max((room for room in FLOORS if room and _within(name, room)), key=len, default="")


def _allowed_inside(name: str) -> tuple[str, ...] | None:
    """What of its own room a module may import; None: all of it."""
    places = [place for place in INSIDE if _within(name, place)]
    return INSIDE[max(places, key=len)] if places else None


def _breaks() -> Iterator[str]:
    for name, imported in IMPORTS.items():
        for other in imported:
            here, there = _room(name), _room(other)
            inside = _allowed_inside(name)
            if here != there:
                wrong = FLOORS[there] >= FLOORS[here]
            else:
                wrong = inside is not None and not any(_within(other, place) for place in inside)
            wrong = wrong or any(
                _within(name, place) and _within(other, barred)
                for place, all_barred in NEVER.items()
                for barred in all_barred
            )
            if wrong:
                yield f"{name} -> {other}"


def test_imports_run_down_only() -> None:
    assert set(_breaks()) - KNOWN == set()


def test_a_break_that_was_mended_is_struck_off_the_list() -> None:
    assert set(_breaks()) >= KNOWN


def test_no_module_imports_itself_by_way_of_others() -> None:
    reached: dict[str, set[str]] = {}
    for name, imported in IMPORTS.items():
        seen: set[str] = set()
        todo = list(imported)
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                todo += IMPORTS.get(other, ())
        reached[name] = seen
    assert {name for name, seen in reached.items() if name in seen} == set()


def test_every_module_stands_in_a_room_with_a_floor() -> None:
    assert {name for name in TREES if not _room(name) and name} == set()


def test_the_state_of_a_series_changes_by_its_own_methods_only() -> None:
    fields = {
        "status",
        "reason",
        "counted",
        "spoiled",
        "tried",
        "failed",
        "refused",
        "relabelled",
        "moved",
    }
    assigned = [
        f"{name}:{node.lineno} {node.attr}"
        for name, tree in TREES.items()
        if _within(name, "transfer") and name != "transfer.model"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in fields
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    assert assigned == []


def _written_later(tree: ast.Module) -> Iterator[str]:
    """Names of the module that one of its functions writes, or changes in place."""
    names = {
        target.id
        for node in tree.body
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    }
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        local = {
            each.id
            for each in ast.walk(function)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        }
        local |= {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)}
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield from node.names
            elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(
                node.ctx, ast.Store | ast.Del
            ):
                if isinstance(node.value, ast.Name) and node.value.id in names - local:
                    yield node.value.id
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                changes = node.func.attr in (
                    "append",
                    "add",
                    "update",
                    "clear",
                    "pop",
                    "extend",
                    "setdefault",
                )
                if changes and isinstance(node.func.value, ast.Name) and node.func.value.id in names - local:
                    yield node.func.value.id


def test_a_module_keeps_no_state() -> None:
    assert {f"{name}.{each}" for name, tree in TREES.items() for each in _written_later(tree)} == set()


def test_only_the_commands_print() -> None:
    assert [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        if not _within(name, "cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ] == []


def test_only_the_door_starts_processes() -> None:
    assert [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        if not any(_within(name, place) for place in STARTS_PROCESSES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for each in ([alias.name for alias in node.names] + [getattr(node, "module", None) or ""])
        if each.split(".")[0] in ("sh", "subprocess")
    ] == []


def test_what_slurm_runs_needs_the_standard_library_only() -> None:
    assert {
        each.split(".")[0]
        for name, tree in TREES.items()
        if any(_within(name, place) for place in ALONE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for each in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
    } <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("seen = []\ndef f():\n    seen.append(1)", {"seen"}),
        ("last = None\ndef f():\n    global last\n    last = 1", {"last"}),
        ("memo = {}\ndef f(key):\n    memo[key] = 1", {"memo"}),
        ("memo = {}\ndef f(memo):\n    memo['a'] = 1", set()),
        ("TABLE = {'a': 1}\ndef f(key):\n    return TABLE[key]", set()),
    ],
)
def test_state_of_a_module_is_seen_when_it_is_there(code: str, found: set[str]) -> None:
    assert set(_written_later(ast.parse(code))) == found


@pytest.mark.parametrize(
    ("code", "imported"),
    [
        ("from pacsifier.disk import tree", {"disk.tree"}),
        ("from pacsifier.disk.tree import Tree", {"disk.tree"}),
        ("import pacsifier.config", {"config"}),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pacsifier.errors import Fault",
            {"errors"},
        ),
        ("def f():\n    from pacsifier import demo", {"demo"}),
        ("from pathlib import Path", set()),
    ],
)
def test_an_import_is_seen_wherever_it_stands(code: str, imported: set[str]) -> None:
    assert set(_imported(ast.parse(code))) == imported
