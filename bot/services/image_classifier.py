"""Score images with an ONNX model, as a program: ``python -m bot.services.image_classifier``.

It reads one JSON object a line and answers each with one line. The first names the model::

    {"model": path, "labels": [...], "size": 0, "mean": [...], "std": [...]}
    {"labels": [...]}
    {"path": "row-01.png", "boxes": [[0, 0, 512, 512], ...]}
    {"scores": [{"LABEL": 0.93, ...}, ...]}

An answer can be ``{"error": text}``: the model does not load, after which the program ends, or a
picture cannot be read. It ends when its input ends, so it does not outlive the bot.

Two kinds of models are known by the shape of their output. A classifier has one number for each
label; numbers outside 0..1 are taken as logits. A detector (YOLO's layout, as NudeNet's) has four
numbers for the place and one for each label, at many places; a label's score is that of its best
place. No overlapping places have to be removed for that.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bot.domain.json_parser import parse_json
from bot.services.decoding import DECODE_ERRORS, open_image, to_rgb

Pixels: TypeAlias = NDArray[np.floating[Any]]

NICENESS: Final = 10
MAX_PIXELS: Final = 150_000_000
DEFAULT_SIZE: Final = 224
_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Model:
    """A loaded model. Raises ValueError if it is not one of the two kinds, or its labels differ."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One core is left to the bot, and the models are small.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(config["model"]), options, providers=["CPUExecutionProvider"]
        )
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = list(config["labels"]) or _labels_in(metadata)
        if not self.labels:
            raise ValueError("the model does not name its labels: write them in a label file")
        (self._input, *_) = self._session.get_inputs()
        if self._input.type not in _TYPES or len(self._input.shape) != 4:
            raise ValueError("its input is no batch of pictures")
        self._channels_last = self._input.shape[3] == 3
        self._size = _input_size(
            self._input.shape[1:3] if self._channels_last else self._input.shape[2:],
            int(config["size"]),
            metadata,
        )
        self._mean, self._std = (
            np.asarray(config[name], dtype=np.float32) for name in ("mean", "std")
        )
        self._is_detector = False
        self._is_detector = self._run(np.zeros((*self._size, 3), np.float32))[1]

    def scores(self, picture: Image.Image) -> dict[str, float]:
        """Return the score of each label in an RGB picture."""
        if self._is_detector:
            # Not distorted: padded below and to the right, as these models were trained.
            side = max(picture.size)
            padded = Image.new("RGB", (side, side))
            padded.paste(picture)
            picture = padded
        height, width = self._size
        small = picture.resize((width, height), Image.Resampling.BILINEAR)
        scores, _ = self._run(np.asarray(small, dtype=np.float32) / 255)
        return {label: float(score) for label, score in zip(self.labels, scores, strict=True)}

    def _run(self, pixels: Pixels) -> tuple[Pixels, bool]:
        """Return the scores and whether the model is a detector."""
        array = (pixels - self._mean) / self._std
        if not self._channels_last:
            array = array.transpose(2, 0, 1)
        batch = np.ascontiguousarray(array[None], dtype=_TYPES[self._input.type])
        outputs = self._session.run(None, {self._input.name: batch})
        return read_output(outputs, len(self.labels))


def read_output(outputs: Sequence[Any], count: int) -> tuple[Pixels, bool]:
    """Return the scores of ``count`` labels, and whether the output is a detector's.

    Raises ValueError if no output has that many labels.
    """
    shapes = []
    for output in outputs:
        array = np.asarray(output, dtype=np.float32)
        shapes.append(array.shape)
        if array.shape == (1, count):
            return _to_probabilities(array[0]), False
        if array.ndim == 3 and array.shape[0] == 1 and count + 4 in array.shape[1:]:
            places = array[0] if array.shape[1] == count + 4 else array[0].T
            classes = places[4:]
            best = classes.argmax(axis=0)
            scores = np.zeros(count, np.float32)
            np.maximum.at(scores, best, classes.max(axis=0))
            return scores, True
    raise ValueError(f"its output {shapes} does not fit {count} labels")


def _to_probabilities(numbers: Pixels) -> Pixels:
    if numbers.min() >= 0 and numbers.max() <= 1:
        return numbers
    if numbers.size == 1:
        return np.asarray(1 / (1 + np.exp(-numbers)), np.float32)
    powers = np.exp(numbers - numbers.max())
    return np.asarray(powers / powers.sum(), np.float32)


def _labels_in(metadata: Mapping[str, str]) -> list[str]:
    """Return the labels that Ultralytics' exporter writes into a model, none for others."""
    with contextlib.suppress(ValueError, SyntaxError, AttributeError):
        names = ast.literal_eval(metadata.get("names", ""))
        return [str(names[number]) for number in sorted(names)]
    return []


def _input_size(shape: Sequence[Any], wanted: int, metadata: Mapping[str, str]) -> tuple[int, int]:
    """Return height and width: the configured ones, the model's own, or the usual ones."""
    if wanted:
        return wanted, wanted
    height, width = shape
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    with contextlib.suppress(ValueError, SyntaxError):
        height, width = ast.literal_eval(metadata.get("imgsz", ""))
        return int(height), int(width)
    return DEFAULT_SIZE, DEFAULT_SIZE


def _answer(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of the boxes in a picture, or of all of it."""
    try:
        with open_image(Path(request["path"])) as file:
            if file.width * file.height > MAX_PIXELS:
                return {"error": "a picture has too many pixels"}
            picture = to_rgb(file)
            boxes = request["boxes"] or [(0, 0, *picture.size)]
            return {"scores": [model.scores(picture.crop(tuple(box))) for box in boxes]}
    except DECODE_ERRORS as error:
        return {"error": f"a picture cannot be read ({type(error).__name__})"}


def serve(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the answer to each line."""
    config = parse_json(next(lines))
    try:
        model = Model(config)
    except ImportError:
        yield {"error": "onnxruntime is not installed"}
        return
    except Exception as error:
        # Whatever the library raises: the bot has to say it, and goes on without.
        text = " ".join(str(error).replace(config["model"], Path(config["model"]).name).split())
        yield {"error": f"the model does not load: {text[:300]}"}
        return
    yield {"labels": model.labels}
    for line in lines:
        yield _answer(model, parse_json(line))


def main() -> None:
    """Serve standard input."""
    os.nice(NICENESS)
    # Libraries may print: only answers may reach the real output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for answer in serve(iter(sys.stdin)):
        answers.write(json.dumps(answer, allow_nan=False) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
