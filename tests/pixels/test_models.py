"""The models that find text: the measured ones, or an error that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

from pacsifier.errors import InputError
from pacsifier.pictures import models

SCRIPT = Path(__file__).parents[2] / "scripts" / "fetch_ocr_models"


@pytest.fixture
def folder(found: models.Models, tmp_path: Path) -> Path:
    """A folder with both models, as the script leaves it."""
    place = tmp_path / "models"
    place.mkdir()
    for path in (found.detector, found.recogniser):
        (place / path.name).write_bytes(path.read_bytes())
    return place


def without(*absent: str) -> object:
    def spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in absent else find_spec(name, package)

    return spec


@pytest.mark.skipif(find_spec("rapidocr_onnxruntime") is None, reason="it wants Python before 3.13")
def test_the_installed_package_is_found_and_never_imported() -> None:
    code = (
        "import sys; from pacsifier.pictures import models; models.find();"
        "print([each for each in ('rapidocr_onnxruntime', 'onnxruntime', 'numpy', 'PIL') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_serves_where_the_package_cannot_be_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find_spec", without("rapidocr_onnxruntime"))
    assert models.find(folder) == models.Models(folder / models.DETECTOR, folder / models.RECOGNISER)


@pytest.mark.parametrize("name", list(models.DIGESTS))
def test_a_model_that_nobody_measured_is_refused(name: str, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}.*SHA-256.*fetch_ocr_models"):
        models.find(folder)


@pytest.mark.parametrize("name", list(models.DIGESTS))
def test_a_model_that_is_not_there_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file.*fetch_ocr_models"):
        models.find(folder)


def test_all_that_is_wrong_with_a_folder_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        models.find(tmp_path)
    assert len(caught.value.faults) == len(models.DIGESTS)


@pytest.mark.parametrize("absent", ["onnxruntime", "numpy", "scipy", "PIL", "rapidocr_onnxruntime"])
def test_without_the_extra_the_line_that_installs_it_is_told(
    absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find_spec", without(absent))
    with pytest.raises(InputError) as caught:
        models.find()
    assert "pip install 'pacsifier[pixels]'" in str(caught.value)


# --- scripts/fetch_ocr_models ---------------------------------------------------------------------


def _wheel(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"{models.FOLDER}/{name}", content)
    return path


def _fetch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "no_proxy": "*"}
    )


def test_a_folder_is_filled_from_a_wheel_without_a_network(folder: Path, tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "some.whl", {name: (folder / name).read_bytes() for name in models.DIGESTS})
    assert _fetch(tmp_path / "filled", wheel).returncode == 0
    assert models.find(tmp_path / "filled").detector.parent == tmp_path / "filled"
    assert sorted(path.name for path in (tmp_path / "filled").iterdir()) == sorted(models.DIGESTS)


@pytest.mark.parametrize("damage", ["other bytes", "one is absent", "no zip"])
def test_nothing_is_written_from_another_wheel(damage: str, folder: Path, tmp_path: Path) -> None:
    contents = {name: (folder / name).read_bytes() for name in models.DIGESTS}
    if damage == "other bytes":
        contents[models.RECOGNISER] += b"\0"
    elif damage == "one is absent":
        del contents[models.RECOGNISER]
    wheel = _wheel(tmp_path / "some.whl", contents)
    if damage == "no zip":
        wheel.write_bytes(b"no zip")
    done = _fetch(tmp_path / "filled", wheel)
    assert (done.returncode, (tmp_path / "filled").exists()) == (2, False)
    assert "some.whl" in done.stderr
