"""Generate pictures on servers with the API of the A1111 web UI, one picture a call.

A batch of a server takes the seeds s, s + 1, …, and rows have consecutive seeds: so each picture is
asked for alone, with the seed that every engine here gives it, cut to what the server takes.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from PIL import Image

from bot.txt2img.config import ModelConfig, ServerConfig
from bot.txt2img.engines.a1111.catalog import Selection, select
from bot.txt2img.engines.a1111.client import (
    ASK_SECONDS,
    Busy,
    ConnectionLost,
    NotThere,
    Server,
    ServerError,
    Unreachable,
    decode_picture,
    picture_request,
)
from bot.txt2img.engines.a1111.upscaling import upscale
from bot.txt2img.engines.base import Batch, Report, StepProgress
from bot.txt2img.engines.diffusers_engine import image_seed
from bot.txt2img.plan import UsageError
from bot.txt2img.prompt_tags import split_loras

NAME = "a1111"
MAX_BUSY_SECONDS = 1800.0
"""How long a server may be busy or start up before the row fails."""
MAX_SILENT_SECONDS = 300.0
"""How long a server may not answer while it should generate: loading a model takes minutes."""
_POLL_SECONDS = 1.0
_WATCH_SECONDS = 5.0
_INTERRUPT_SECONDS = 1.0
"""Short: four seconds after the signal to end comes the one that kills."""
_MAX_RESENT = 2
_MAX_UNREACHABLE = 3

_PROMPT_PARTS = re.compile(r"\bAND\b")
"""Each part that A1111 finds costs as much as a picture; 160 of them fit into a prompt."""


_SEED_BITS = 32
_SEED_BITS_SIGNED = 31
"""stable-diffusion.cpp reads a larger seed as negative, and then draws one by chance."""


class _Terminated(BaseException):
    """SIGTERM came."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time in seconds, waiting, and how often a running call is looked at."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    poll_seconds: float = _POLL_SECONDS


REAL_TIME = Clock()


class A1111Engine:
    """Generate on the servers of ``config``; ``model`` None is the checkpoint that each has loaded.

    Nothing is sent before the first picture. Raises UsageError for an address that is none.
    """

    def __init__(
        self,
        config: ServerConfig,
        model: ModelConfig | None,
        environment: Mapping[str, str],
        *,
        clock: Clock = REAL_TIME,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        if not config.urls:
            raise UsageError("The engine a1111 needs the url of an image server.")
        self._servers = [Server(url, config) for url in config.urls]
        self._model = model
        self._clock = clock
        self._new_id = new_id
        self._left_out: dict[Server, UsageError] = {}
        self._selections: dict[Server, Selection] = {}
        self._report = Report(NAME, model.location if model else "", 0, None, negative=True)

    @property
    def notice(self) -> str:
        """Return the log line that names the servers."""
        return f"Generating on {', '.join(server.name for server in self._servers)}"

    @property
    def report(self) -> Report:
        """Return what the server said of the last picture."""
        return self._report

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return the pictures, made one after the other. Raises UsageError.

        On SIGTERM the server is told to stop if, and only if, it says that it runs our picture.
        """
        progress = StepProgress(batch.steps, step)
        count = len(batch.prompts)
        pictures = []
        with _raise_on_sigterm():
            for number, prompt in enumerate(batch.prompts):
                show = partial(_show, progress, number, count)
                pictures.append(self._generate_one(batch, number, prompt, show))
                show(1.0)
        return tuple(pictures)

    def upscale(self, picture: Image.Image, factor: int) -> Image.Image | None:
        """Return the picture ``factor`` times as wide and high; None if no server can.

        Raises UsageError.
        """
        last: UsageError | None = None
        for server in self._servers:
            try:
                large, name = upscale(server, picture, factor)
            except NotThere:
                continue
            except ServerError as error:
                last = error
            else:
                self._report = Report(NAME, name, 0, None, negative=True)
                return large
        if last is not None:
            raise last
        return None

    def _generate_one(
        self, batch: Batch, number: int, prompt: str, show: Callable[[float], None]
    ) -> Image.Image:
        """Return one picture, from another server if one dies; ``show`` gets the part that is done.

        Raises UsageError.
        """
        seed = image_seed(batch.seed, batch.first + number)
        path = "/txt2img" if batch.init_image is None else "/img2img"
        resent = 0
        until = self._clock.now() + MAX_BUSY_SECONDS
        while True:
            server, selection = self._choose(batch.seed + number)
            body, guidance = self._request(batch, prompt, seed, selection)
            try:
                answer = self._call(server, path, body, selection, show)
            except Unreachable as error:
                self._left_out[server] = error
            except Busy as error:
                if self._clock.now() > until:
                    raise
                print(f"{error} It is asked again.", flush=True)
                self._clock.sleep(self._clock.poll_seconds * 5)
            except ConnectionLost as error:
                resent += 1
                if resent > _MAX_RESENT:
                    raise
                # It may still run there, and would run twice.
                self._wait_until_over(server, str(body["force_task_id"]))
                print(f"{error} The picture is asked for again.", flush=True)
            else:
                picture = self._read(server, answer, batch)
                self._report = self._read_report(answer, batch, selection, guidance)
                return picture

    def _choose(self, turn: int) -> tuple[Server, Selection]:
        """Return an idle server, else the next one in turn. Raises UsageError if none is left."""
        count = len(self._servers)
        order = [self._servers[(turn + offset) % count] for offset in range(count)]
        alive = [server for server in order if self._prepare(server)]
        if not alive:
            reasons = dict.fromkeys(str(error) for error in self._left_out.values())
            raise UsageError(" ".join(reasons))
        busy = [server for server in alive if len(alive) > 1 and self._is_busy(server)]
        chosen = next((server for server in alive if server not in busy), alive[0])
        return chosen, self._selections[chosen]

    def _prepare(self, server: Server) -> bool:
        """Return whether the server can be used; what it has is asked for once."""
        if server in self._left_out:
            return False
        if server not in self._selections:
            try:
                self._selections[server] = self._select(server)
            except UsageError as error:
                self._left_out[server] = error
                return False
        return True

    def _select(self, server: Server) -> Selection:
        until = self._clock.now() + MAX_BUSY_SECONDS
        while True:
            try:
                return select(server, self._model, seconds=ASK_SECONDS)
            except Busy:
                if len(self._servers) > 1 or self._clock.now() > until:
                    raise
                self._clock.sleep(self._clock.poll_seconds * 5)

    def _is_busy(self, server: Server) -> bool:
        if not self._selections[server].has_progress:
            return False
        try:
            state = _ask_state(server)
        except ServerError:
            return True
        return bool(state.get("job_count") or state.get("job"))

    def _request(
        self, batch: Batch, prompt: str, seed: int, selection: Selection
    ) -> tuple[dict[str, Any], float | None]:
        """Return the body of a request, and the guidance in it."""
        model = self._model
        guidance = batch.scale if batch.scale is not None or not model else model.guidance
        text, loras = split_loras(prompt, model.loras if model else ())
        text = _PROMPT_PARTS.sub("and", text)
        names = list(zip(selection.loras, (weight for _, weight in loras), strict=False))
        if names and not selection.lora_paths:
            text += "".join(f" <lora:{name}:{weight:g}>" for name, weight in names)
        negative = _PROMPT_PARTS.sub("and", split_loras(batch.negative, ())[0])
        bits = _SEED_BITS if selection.has_progress else _SEED_BITS_SIGNED
        body = picture_request(batch, text, seed % 2**bits, guidance)
        body["negative_prompt"] = negative
        if names and selection.lora_paths:
            body["lora"] = [{"path": name, "multiplier": weight} for name, weight in names]
        if selection.sampler:
            body["sampler_name"] = selection.sampler
        if selection.scheduler:
            body["scheduler"] = selection.scheduler
        if model is not None and model.family.startswith("flux") and guidance is not None:
            # Forge has two: the one that Flux was distilled with, and the one that doubles the work
            body |= {"cfg_scale": 1.0, "distilled_cfg_scale": guidance}
        settings: dict[str, Any] = {"samples_format": "png"}
        if selection.checkpoint.title:
            settings["sd_model_checkpoint"] = selection.checkpoint.title
        if "#" in text or "#" in negative:
            settings["enable_prompt_comments"] = False
        body["override_settings"] = settings
        # Restoring would load the other checkpoint again after each picture.
        body["override_settings_restore_afterwards"] = False
        body["force_task_id"] = f"gridbrush-{self._new_id()}"
        return body, guidance

    def _call(
        self,
        server: Server,
        path: str,
        body: Mapping[str, Any],
        selection: Selection,
        show: Callable[[float], None],
    ) -> Any:
        """Return the answer to a call that lasts as long as the picture takes. Raises ServerError.

        The server's own progress is shown meanwhile; one that has died is given up.
        """
        task = str(body["force_task_id"])
        watch = Watch(server, task, selection.has_progress, self._clock)
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(server.post(path, body, seconds=None))
            except Exception as error:
                future.set_exception(error)

        try:
            # Not of a pool: the program would wait at its end for a call that never returns.
            threading.Thread(target=run, daemon=True).start()
            while True:
                try:
                    return future.result(timeout=self._clock.poll_seconds)
                except TimeoutError:
                    show(watch.look())
        except (_Terminated, KeyboardInterrupt):
            _interrupt(server, task)
            raise SystemExit(128 + signal.SIGTERM) from None

    def _wait_until_over(self, server: Server, task: str) -> None:
        """Return when a call whose connection was lost runs no more, as far as the server says."""
        until = self._clock.now() + MAX_BUSY_SECONDS
        while self._clock.now() < until:
            try:
                state = _ask_task(server, task)
                if state is None or not (state.get("active") or state.get("queued")):
                    # Without a word on our task: whatever runs there may be it.
                    known = state is not None and state.get("completed")
                    if known or not _ask_state(server).get("job_count"):
                        return
            except (NotThere, Unreachable):
                return
            except ServerError:
                pass
            self._clock.sleep(self._clock.poll_seconds)

    def _read(self, server: Server, answer: Any, batch: Batch) -> Image.Image:
        images = answer.get("images") if isinstance(answer, dict) else None
        if not isinstance(images, list):
            raise ServerError(f"{server.name} answers without pictures: is it the A1111 API?")
        if not images:
            raise ServerError(f"{server.name} made no picture: it may have been stopped there.")
        # Extensions may append pictures of their own.
        return decode_picture(server.name, images[0], batch.width, batch.height)

    def _read_report(
        self, answer: dict[str, Any], batch: Batch, selection: Selection, guidance: float | None
    ) -> Report:
        info = _read_info(answer.get("info"))
        steps = info.get("steps")
        steps = steps if type(steps) is int and 0 < steps <= 10 * batch.steps else batch.steps
        if batch.init_image is not None:
            # They begin in the middle; A1111 adds one.
            steps = max(min(steps, int(batch.strength * steps) + bool(info)), 1)
        said = info.get("cfg_scale")
        if guidance is None and isinstance(said, int | float) and not isinstance(said, bool):
            guidance = float(said)
        model = self._model
        name, sampler = info.get("sd_model_name"), info.get("sampler_name")
        flux = model is not None and model.family.startswith("flux")
        return Report(
            NAME,
            (name if isinstance(name, str) else "")
            or selection.checkpoint.name
            or (model.location if model else ""),
            steps,
            guidance,
            negative=not flux and (guidance is None or guidance > 1),
            sampler=(sampler if isinstance(sampler, str) else "") or selection.sampler,
            sha256=selection.checkpoint.sha256 or (model.sha256 if model else ""),
        )


class Watch:
    """Looks at a call that runs: how far it is, and whether its server still lives."""

    def __init__(self, server: Server, task: str, has_progress: bool, clock: Clock) -> None:
        self._server = server
        self._task = task
        self._has_progress = has_progress
        self._knows_tasks = has_progress
        self._clock = clock
        self._heard = clock.now()
        self._unreachable = 0
        self._fraction = 0.0

    def look(self) -> float:
        """Return the part of the picture that is done. Raises ConnectionLost for a dead server."""
        try:
            self._fraction = max(self._fraction, self._ask())
        except Unreachable as error:
            self._unreachable += 1
            if self._unreachable >= _MAX_UNREACHABLE:
                raise ConnectionLost(str(error)) from None
        except ServerError:
            if self._clock.now() - self._heard > MAX_SILENT_SECONDS:
                raise ConnectionLost(f"{self._server.name} does not answer any more.") from None
        else:
            self._heard = self._clock.now()
            self._unreachable = 0
        return self._fraction

    def _ask(self) -> float:
        if not self._has_progress:
            if self._clock.now() - self._heard > _WATCH_SECONDS:
                self._server.ask("/sd-models", seconds=_WATCH_SECONDS)
            return 0.0
        if self._knows_tasks:
            task = _ask_task(self._server, self._task)
            if task is not None and (task.get("active") or task.get("queued")):
                return _fraction(task.get("progress")) if task.get("active") else 0.0
            if task is not None and task.get("completed"):
                return self._fraction
            # It ignores our id; then the only job that it tells of is perhaps not ours.
        state = _ask_state(self._server)
        total = state.get("sampling_steps")
        done = state.get("sampling_step")
        if isinstance(total, int) and isinstance(done, int) and total > 0:
            return _fraction(done / total)
        return 0.0


def _show(progress: StepProgress, number: int, count: int, fraction: float) -> None:
    """Show the part of picture ``number`` of ``count`` that is done."""
    progress.show((number + min(max(fraction, 0.0), 1.0)) / count)


def _fraction(value: object) -> float:
    """Return a number from 0 to 0.99: complete is only what has arrived."""
    known = isinstance(value, int | float) and value == value
    return min(max(float(value), 0.0), 0.99) if known else 0.0  # type: ignore[arg-type]


def _ask_task(server: Server, task: str) -> dict[str, Any] | None:
    """Return what the server knows of one call; None if it knows no calls.

    A1111 (from 1.7) and Forge keep the id given as ``force_task_id``; the keys are ``active``,
    ``queued``, ``completed`` and ``progress``.
    """
    try:
        answer = server.post(
            "/internal/progress", {"id_task": task, "live_preview": False}, seconds=_WATCH_SECONDS
        )
    except NotThere:
        return None
    return answer if isinstance(answer, dict) else None


def _ask_state(server: Server) -> dict[str, Any]:
    answer = server.ask("/progress?skip_current_image=true", seconds=_WATCH_SECONDS)
    state = answer.get("state") if isinstance(answer, dict) else None
    return state if isinstance(state, dict) else {}


def _interrupt(server: Server, task: str) -> None:
    """Stop a call. ``/interrupt`` stops whatever runs, so ours must be what runs."""
    try:
        answer = server.post(
            "/internal/progress",
            {"id_task": task, "live_preview": False},
            seconds=_INTERRUPT_SECONDS,
        )
        if isinstance(answer, dict) and answer.get("active") is True:
            server.post("/interrupt", {}, seconds=_INTERRUPT_SECONDS)
    except ServerError:
        pass


def _read_info(text: object) -> dict[str, Any]:
    """Return what the server says of a picture; empty for stable-diffusion.cpp and koboldcpp."""
    try:
        info = json.loads(text) if isinstance(text, str) and text else {}
    except (ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


@contextmanager
def _raise_on_sigterm() -> Iterator[None]:
    """Raise _Terminated in the main thread when SIGTERM comes; elsewhere do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _Terminated:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)
