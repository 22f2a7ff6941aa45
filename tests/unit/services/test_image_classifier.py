"""The classifier program, without its process: any ONNX model, by the shape of its output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bot.services.image_classifier import read_output, serve
from tests.onnx_models import colour_classifier

LABELS = ["red", "green", "blue"]
PLAIN = {"size": 0, "mean": [0, 0, 0], "std": [1, 1, 1]}


def answers(model: Path, requests: Iterable[Mapping[str, Any]], **config: Any) -> list[Any]:
    first = {"model": str(model), "labels": LABELS, **PLAIN, **config}
    return list(serve(json.dumps(line) for line in (first, *requests)))


def picture(folder: Path, mode: str = "RGB", colour: Any = (255, 51, 0)) -> Path:
    """Write a picture that is half of one colour and half black."""
    path = folder / "picture.png"
    image = Image.new(mode, (40, 20))
    image.paste(colour, (0, 0, 20, 20))
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ({}, {}),
        ({"sides": ("height", "width")}, {}),
        ({"sides": ("height", "width")}, {"size": 16}),
        ({"sides": (4, 24)}, {}),
        ({"sides": (8, 24), "channels_last": True}, {}),
        ({"metadata": {"names": "{0: 'red', 1: 'green', 2: 'blue'}"}}, {"labels": []}),
        ({"metadata": {"names": "{1: 'green', 0: 'red', 2: 'blue'}"}}, {"labels": []}),
    ],
    ids=[
        "fixed",
        "any size",
        "chosen size",
        "not square",
        "channels last",
        "own labels",
        "labels out of order",
    ],
)
def test_a_classifier_scores_each_box_of_a_picture(
    tmp_path: Path, model: dict[str, Any], config: dict[str, Any]
) -> None:
    path = colour_classifier(tmp_path / "model.onnx", **model)
    boxes = [[0, 0, 20, 20], [20, 0, 40, 20]]
    request = {"path": str(picture(tmp_path)), "boxes": boxes}
    ready, answer = answers(path, [request], **config)
    assert ready == {"labels": LABELS}
    left, right = answer["scores"]
    assert left == pytest.approx({"red": 1.0, "green": 0.2, "blue": 0.0}, abs=0.01)
    assert right == {"red": 0.0, "green": 0.0, "blue": 0.0}


def test_without_boxes_the_whole_picture_counts_and_colours_are_normalised(tmp_path: Path) -> None:
    model = colour_classifier(tmp_path / "model.onnx")
    request = {"path": str(picture(tmp_path)), "boxes": []}
    _, answer = answers(model, [request], mean=[0.25, 0, 0], std=[0.5, 1, 1])
    assert answer["scores"] == [pytest.approx({"red": 0.5, "green": 0.1, "blue": 0.0}, abs=0.02)]


@pytest.mark.parametrize(
    ("mode", "colour", "red"),
    [("L", 255, 1.0), ("RGBA", (255, 0, 0, 255), 1.0), ("P", 0, 0.0), ("LA", (255, 0), 1.0)],
)
def test_pictures_of_every_mode_are_looked_at(
    tmp_path: Path, mode: str, colour: Any, red: float
) -> None:
    model = colour_classifier(tmp_path / "model.onnx")
    request = {"path": str(picture(tmp_path, mode, colour)), "boxes": [[0, 0, 20, 20]]}
    _, answer = answers(model, [request])
    assert answer["scores"][0]["red"] == pytest.approx(red, abs=0.01)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a" * 9])
def test_what_is_no_picture_is_an_error_and_the_next_one_is_looked_at(
    tmp_path: Path, content: bytes
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(content)
    model = colour_classifier(tmp_path / "model.onnx")
    requests = [{"path": str(path), "boxes": []} for path in (broken, picture(tmp_path))]
    missing = {"path": str(tmp_path / "missing.png"), "boxes": []}
    _, first, second, third = answers(model, [missing, *requests])
    assert "cannot be read" in first["error"]
    assert "cannot be read" in second["error"]
    assert "scores" in third


@pytest.mark.parametrize(
    ("model", "config", "problem"),
    [
        (None, {}, "does not load"),
        (b"no model", {}, "does not load"),
        ({}, {"labels": ["red", "green"]}, "does not fit 2 labels"),
        ({}, {"labels": []}, "does not name its labels"),
        ({"metadata": {"names": "nonsense("}}, {"labels": []}, "does not name its labels"),
        ({"operator": "NoSuchOperator"}, {}, "does not load"),
    ],
    ids=["missing", "no model", "too few labels", "no labels", "broken labels", "unknown operator"],
)
def test_a_model_that_does_not_load_is_one_error_and_the_end(
    tmp_path: Path, model: Any, config: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "model.onnx"
    if isinstance(model, bytes):
        path.write_bytes(model)
    elif model is not None:
        colour_classifier(path, **model)
    (answer,) = answers(path, [{"path": "unused", "boxes": []}], **config)
    assert problem in answer["error"]
    assert str(tmp_path) not in answer["error"]  # moderators read it, too
    assert len(answer["error"]) < 400


DETECTIONS = np.zeros((1, 7, 5), np.float32)
DETECTIONS[0, 4:, 1] = [0.9, 0.8, 0.1]  # the best label of a place counts, no other
DETECTIONS[0, 4:, 3] = [0.2, 0.3, 0.1]


@pytest.mark.parametrize(
    ("outputs", "scores", "detector"),
    [
        ([np.array([[0.1, 0.7, 0.2]])], [0.1, 0.7, 0.2], False),
        ([np.array([[0.9, 0.8, 0.0]])], [0.9, 0.8, 0.0], False),
        ([np.array([[0.0, 1.0, -1.0]])], [0.245, 0.665, 0.090], False),
        ([np.array([[1000.0, 0.0, 0.0]])], [1.0, 0.0, 0.0], False),
        ([np.zeros((1, 9)), np.array([[0.1, 0.7, 0.2]])], [0.1, 0.7, 0.2], False),
        ([DETECTIONS], [0.9, 0.3, 0.0], True),
        ([DETECTIONS.transpose(0, 2, 1)], [0.9, 0.3, 0.0], True),
    ],
    ids=["probabilities", "several", "logits", "huge", "second", "detector", "turned"],
)
def test_the_shape_of_an_output_says_what_it_is(
    outputs: list[Any], scores: list[float], detector: bool
) -> None:
    found, is_detector = read_output(outputs, 3)
    assert list(found) == pytest.approx(scores, abs=0.001)
    assert is_detector is detector


def test_one_logit_is_one_probability() -> None:
    found, _ = read_output([np.array([[2.0]])], 1)
    assert list(found) == pytest.approx([0.881], abs=0.001)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 4), (1, 3, 9), (1, 2, 3, 4), ()])
def test_any_other_output_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit 3 labels"):
        read_output([np.zeros(shape)], 3)
