"""The notebook of the docs runs from its first cell to its last against the demo PACS, as a person would run it."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from pacs.test_demo_pacs import _demo as demo_pacs

NOTEBOOK = Path(__file__).parents[2] / "docs" / "look-choose-fetch.ipynb"


def test_the_notebook_runs_from_look_to_shareable_data(tmp_path, monkeypatch):
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert not any(cell.get("outputs") for cell in book.cells), "results are not kept in the repository"
    with demo_pacs(tmp_path / "demo") as demo:
        monkeypatch.setenv("PACSIFIER_CONFIG", str(demo.config))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        # The kernel must import this checkout wherever it works.
        monkeypatch.setenv(
            "PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")])
        )
        client = NotebookClient(
            book, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
        )
        client.execute()
    pictures = [
        output
        for cell in book.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1
    shared = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    images = [path for path in (tmp_path / "images").glob("sub-*/ses-*/*/*") if path.is_file()]
    assert len(shared) == len(images) > 0
