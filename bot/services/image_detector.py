"""Run the image classifier in a process of its own: resident, niced, one picture at a time.

The process is started when it is needed and started again after it has died. Whatever goes wrong
while it looks at a picture is an ImageCheckFailed; the caller decides what that means.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.domain.errors import ImageCheckFailed
from bot.domain.grid import Box
from bot.domain.image_check import NUDENET_LABELS
from bot.domain.json_parser import parse_json

log = logging.getLogger(__name__)

PROGRAM: Final = (sys.executable, "-m", "bot.services.image_classifier")
START_SECONDS: Final = 60.0
_END_SECONDS: Final = 2.0
_MAX_ANSWER_BYTES: Final = 1 << 20
_MAX_LABELS: Final = 10_000
# It must not know the bot's token and keys.
_INHERITED: Final = re.compile(
    r"PATH|PYTHON\w*|VIRTUAL_ENV|HOME|LANG|LC_\w+|TMPDIR|LD_LIBRARY_PATH"
)
NOT_INSTALLED: Final = "NudeNet is not installed"
NO_RUNTIME: Final = "onnxruntime is not installed"
"""What the program says; it imports nothing from here, and nothing here from it."""


@dataclass(frozen=True, slots=True)
class DetectorModel:
    """An ONNX model. ``labels`` are in the order of its outputs; empty: it names them itself.

    ``size`` is the side of its input in pixels, 0 for what the model says. Colours are scaled to
    0..1, then reduced by ``mean`` and divided by ``std``.
    """

    path: Path
    labels: tuple[str, ...] = ()
    size: int = 0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class ImageDetector:
    """Scores images, one at a time. ``load_model`` is blocking and may raise ImageCheckFailed."""

    def __init__(
        self,
        load_model: Callable[[], DetectorModel],
        wanted: Sequence[str],
        *,
        timeout_s: float,
        start_timeout_s: float = START_SECONDS,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._load_model = load_model
        self._wanted = tuple(wanted)
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        self._program = tuple(program)
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self.problem = ""
        """Why the latest attempt has failed, "" if it has not."""

    @property
    def pid(self) -> int | None:
        """Return the process id while the process runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> tuple[str, ...]:
        """Start the process if none runs, and return the labels that are looked for.

        Raises ImageCheckFailed.
        """
        async with self._lock:
            await self._ensure_started()
            return self._wanted

    async def scores(self, path: Path, boxes: Sequence[Box]) -> tuple[dict[str, float], ...]:
        """Return the scores of the wanted labels in each box of a picture; of all without boxes.

        Raises ImageCheckFailed.
        """
        async with self._lock:
            process = await self._ensure_started()
            answer = await self._ask(process, {"path": str(path), "boxes": boxes}, self._timeout_s)
            if "error" in answer:
                # The process goes on: it is the picture that is at fault.
                self.problem = str(answer["error"])
                raise ImageCheckFailed(self.problem)
            try:
                found = _parse_scores(answer, self._wanted, len(boxes) or 1)
            except (KeyError, TypeError, ValueError) as error:
                raise await self._give_up("its answer has the wrong form") from error
            self.problem = ""
            return found

    async def aclose(self) -> None:
        """End the process."""
        async with self._lock:
            await self._kill()

    async def _ensure_started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._kill()
        try:
            model = await asyncio.to_thread(self._load_model)
        except ImageCheckFailed as error:
            raise await self._give_up(str(error)) from error
        environment = {
            name: text for name, text in os.environ.items() if _INHERITED.fullmatch(name)
        }
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                env=environment,
                limit=_MAX_ANSWER_BYTES,
                start_new_session=True,  # Ctrl-C is for the bot, which ends this process itself
            )
        except OSError as error:
            what = f"the process cannot be started ({error.strerror})"
            raise await self._give_up(what) from error
        config = {
            "model": str(model.path),
            "labels": model.labels,
            "size": model.size,
            "mean": model.mean,
            "std": model.std,
        }
        answer = await self._ask(process, config, self._start_timeout_s)
        if "error" in answer:
            raise await self._give_up(str(answer["error"]))
        labels = answer.get("labels")
        if not isinstance(labels, list) or len(labels) > _MAX_LABELS:
            raise await self._give_up("its answer has the wrong form")
        if missing := [label for label in self._wanted if label not in labels]:
            known = ", ".join(str(label) for label in labels[:30])
            raise await self._give_up(f"the model has no label {missing[0]}; it has {known}")
        log.info("the image check looks for %s", ", ".join(self._wanted))
        self.problem = ""
        return process

    async def _ask(
        self, process: asyncio.subprocess.Process, message: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Send a line and return the answer. Raises ImageCheckFailed, after ending the process."""
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        try:
            async with asyncio.timeout(seconds):
                process.stdin.write(json.dumps(message).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
                if not line.endswith(b"\n"):
                    raise EOFError
            answer = parse_json(line)
        except TimeoutError as error:
            raise await self._give_up(f"no answer within {seconds:g} seconds") from error
        except (EOFError, ConnectionError) as error:
            # How it has ended is lost if it is killed before that was noticed.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            await self._kill()
            raise await self._give_up(f"the process ended ({_tell_exit(process)})") from error
        except ValueError as error:  # no JSON, or a line that never ends
            raise await self._give_up("its answer has the wrong form") from error
        except asyncio.CancelledError:
            # The answer to this picture must not be taken for that to the next one.
            await asyncio.shield(self._kill())
            raise
        if not isinstance(answer, dict):
            raise await self._give_up("its answer has the wrong form")
        return answer

    async def _give_up(self, problem: str) -> ImageCheckFailed:
        """End the process and return the error to raise."""
        await self._kill()
        self.problem = problem
        return ImageCheckFailed(problem)

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


def load_model(
    engine: Path | str,
    label_file: Path | None,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> DetectorModel:
    """Return the model at a path, or NudeNet's for any other text. Blocking.

    Raises ImageCheckFailed if a file is missing.
    """
    if not isinstance(engine, Path):
        return DetectorModel(find_nudenet(), NUDENET_LABELS)
    if not engine.is_file():
        raise ImageCheckFailed(f"there is no file {engine.name}")
    labels = read_labels(label_file) if label_file is not None else ()
    return DetectorModel(engine, labels, size, mean, std)


def find_nudenet() -> Path:
    """Return NudeNet's model, without importing the package: that would load OpenCV. Blocking.

    Raises ImageCheckFailed if it is not installed.
    """
    found = importlib.util.find_spec("nudenet")
    for folder in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*.onnx")):
            return path
    raise ImageCheckFailed(NOT_INSTALLED)


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels in a file: one on each line, or Hugging Face's config.json. Blocking.

    Raises ImageCheckFailed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(line.strip() for line in text.splitlines() if line.strip())
        labels: Mapping[str, str] = parse_json(text)["id2label"]
        return tuple(str(labels[number]) for number in sorted(labels, key=int))
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = type(error).__name__
        raise ImageCheckFailed(f"the labels in {path.name} cannot be read ({what})") from error


def _parse_scores(
    answer: Mapping[str, Any], wanted: Sequence[str], count: int
) -> tuple[dict[str, float], ...]:
    """Return the wanted scores of ``count`` images. Raises KeyError, TypeError, ValueError."""
    found = tuple({label: float(image[label]) for label in wanted} for image in answer["scores"])
    if len(found) != count:
        raise ValueError("another number of images")
    if any(not 0 <= score <= 1 for image in found for score in image.values()):
        raise ValueError("a score out of range")
    return found


def _tell_exit(process: asyncio.subprocess.Process) -> str:
    code = process.returncode
    return f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
