"""The documentation builds without a warning and a network, and says nothing that the program does not know."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pacsifier

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import made  # noqa: E402
import meanings  # noqa: E402

PAGES = sorted(DOCS.glob("*.md"))
# A socket of the internet family ends the build: whatever wants the network fails, here as in a hospital.
WITHOUT_NETWORK = """
import socket, sys
kept = socket.socket
class Local(kept):
    def __init__(self, family=-1, *more, **named):
        if family not in (-1, socket.AF_UNIX) or family == -1:
            raise OSError("the build asked for the network")
        super().__init__(family, *more, **named)
socket.socket = Local
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as HTML."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, "-W", "-q", *("-d", folder / "trees"), DOCS, folder / "html"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_built_and_stands_in_the_tree(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    for page in PAGES:
        assert (site / f"{page.stem}.html").is_file()
        assert page.stem == "index" or f'href="{page.stem}.html"' in index, page


def test_a_page_needs_nothing_of_the_network_to_be_read(site):
    for page in site.glob("*.html"):
        loaded = re.findall(
            r'(?:<script[^>]*src|<link[^>]*href|<img[^>]*src)="([^"]+)"', page.read_text("utf-8")
        )
        assert not [each for each in loaded if re.match(r"(https?:)?//", each)], page


def test_a_build_leaves_nothing_in_the_source(site):
    assert site.is_dir()
    assert {path.name for path in DOCS.iterdir() if path.is_dir()} <= {"_static", "__pycache__"}
    assert {path.suffix for path in DOCS.iterdir() if path.is_file()} <= {
        ".md",
        ".py",
        ".ipynb",
        ".png",
    }


def test_the_reference_tells_every_option_of_every_command(site):
    text = (site / "commands.html").read_text(encoding="utf-8")
    for name, parser in made.parsers().items():
        assert name in text
        for action in parser._actions:
            for option in action.option_strings:
                assert f">{option}</span>" in text, (name, option)


def test_a_column_without_a_meaning_and_a_meaning_without_a_column_end_the_build():
    with pytest.raises(made.UnexplainedError, match="no meaning"):
        list(made.explained(["new"], {}, "table"))
    with pytest.raises(made.UnexplainedError, match="what is not there"):
        list(made.explained([], {"old": "gone"}, "table"))
    with pytest.raises(made.UnexplainedError, match="does not make"):
        made.filled("<!-- made: nothing_of_the_kind -->")


def test_every_status_says_what_to_do(site):
    for words in (
        meanings.SERIES_STATUS,
        meanings.LASTING,
        meanings.ROW_OUTCOME,
        meanings.STUDY_OUTCOME,
        meanings.PROBE,
        meanings.EXIT_STATUS,
        meanings.PATH_OF_FILES,
    ):
        assert all(len(text.split(" | ")) == 2 for text in words.values())


# --- troubleshooting by the message --------------------------------------------------------------------------------


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module; in the place of what it fills in stands …"""
    inside = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    }
    # A text that stands alone explains the code to its readers; nobody else sees it.
    explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            inside.discard(id(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node.value


def _said() -> str:
    package = Path(pacsifier.__file__).parent
    texts = [
        text for path in package.rglob("*.py") for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
    ]
    # What DCMTK says, as it was recorded.
    logs = (ROOT / "tests" / "transcripts").rglob("*.log")
    return "\n".join([*texts, *(path.read_text(encoding="utf-8", errors="replace") for path in logs)])


def _headings() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


SAID = _said()


@pytest.mark.parametrize("heading", _headings())
def test_the_message_that_a_heading_names_is_one_of_the_programs(heading):
    parts = [part.strip(" ;:,") for part in heading.split("…")]
    known = [part for part in parts if len(part) > 2]
    assert known
    for part in known:
        # Two texts of the program may stand side by side, as a remedy behind what was said.
        for each in re.split("[;:] ", part) if part not in SAID else [part]:
            assert each in SAID, each


def test_every_symptom_has_a_cause_and_something_to_do():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    for section in text.split("\n### ")[1:]:
        assert "\n**Cause.** " in section and "\n**What to do.** " in section, section[:60]


# --- what pages tell people to type --------------------------------------------------------------------------------


def _command_lines(text: str) -> Iterator[list[str]]:
    """The commands of ours on a page: indented lines, and what stands as code in a sentence."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"^(?:    |)((?:pacsifier|docker_)\S*(?: .+)?)$", joined, re.MULTILINE):
        yield shlex.split(line.partition("   #")[0], comments=True)
    for line in re.findall(r"`((?:pacsifier|docker_)[\w-]* -[^`]*)`", joined):
        yield shlex.split(line.replace("...", ""))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_no_page_names_an_option_that_its_command_does_not_have(page):
    options = {name: set(parser._option_string_actions) for name, parser in made.parsers().items()}
    for program, *words in _command_lines(page.read_text(encoding="utf-8")):
        if program not in options or "|" in words:
            continue
        own = words[: words.index("--")] if "--" in words else words
        for word in own:
            if re.match(r"--?[a-z]", word):
                name = word.partition("=")[0]
                letters = (
                    {f"-{letter}" for letter in name[1:]} if re.fullmatch(r"-[a-z]{2,}", name) else set()
                )
                assert name in options[program] or (letters and letters <= options[program]), (program, word)
