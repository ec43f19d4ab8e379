"""The models are computed faster, and what they answer is the same."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from pacsifier.pictures.graph import faster
from pacsifier.pictures.models import Models

SHAPES = {"detector": (1, 3, 96, 160), "recogniser": (1, 3, 48, 200)}


def answer(model: bytes, data: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": data})
    return np.asarray(found)


@pytest.mark.parametrize("which", SHAPES)
def test_a_rewritten_model_answers_as_the_one_in_the_wheel(which: str, found: Models) -> None:
    model = getattr(found, which).read_bytes()
    data = np.random.default_rng(1).standard_normal(SHAPES[which], np.float32)
    rewritten = faster(model)
    assert rewritten.count(b"BatchNormalization") > model.count(b"BatchNormalization") + 40
    assert rewritten.count(b"HardSigmoid") > model.count(b"HardSigmoid") + 20
    assert rewritten.count(b"Clip") < model.count(b"Clip") / 2
    np.testing.assert_allclose(answer(rewritten, data), answer(model, data), atol=1e-4)


@pytest.mark.parametrize("which", SHAPES)
def test_a_model_in_which_there_is_nothing_to_rewrite_keeps_its_steps(which: str, found: Models) -> None:
    once = faster(getattr(found, which).read_bytes())
    assert faster(once) == once


def test_the_metadata_of_the_recogniser_stay(found: Models) -> None:
    model = faster(found.recogniser.read_bytes())
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert len(session.get_modelmeta().custom_metadata_map["character"].splitlines()) > 6000
