"""Generate pictures on ComfyUI servers: one prompt for each batch, several servers side by side.

Seeds: picture N of a seed is the N-th noise of that seed, whatever the size of its batch. The stock
graphs make a batch of latents and take the wanted ones out of it (LatentFromBatch), and ComfyUI
draws the noise of such latents one by one. So a batch that had to be halved gives the same
pictures, and rows with consecutive seeds never repeat one. In an operator's own graph the same
holds with the places FIRST and END; without them, a further batch has another seed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import aiohttp
from PIL import Image

from bot.txt2img.config import CHECKPOINT, ModelConfig, ServerConfig
from bot.txt2img.engines.base import Batch, OutOfMemory, Report, StepProgress
from bot.txt2img.engines.comfyui.client import (
    CHECKPOINTS,
    LORAS,
    UPSCALERS,
    Server,
    ServerError,
    find_name,
    open_session,
)
from bot.txt2img.engines.comfyui.graphs import (
    IMG2IMG,
    LORA_LOADER,
    TXT2IMG,
    UPSCALE,
    Graph,
    load_graph,
    stock_graph,
    with_loras,
)
from bot.txt2img.engines.comfyui.jobs import Job, Servers, Timing
from bot.txt2img.engines.comfyui.pictures import encode_picture, read_pictures
from bot.txt2img.engines.comfyui.samplers import find_sampler
from bot.txt2img.engines.comfyui.termination import run_until_terminated
from bot.txt2img.engines.diffusers_engine import image_seed
from bot.txt2img.models import GUIDANCE, Model, configured_family, family_of_name
from bot.txt2img.plan import UsageError
from bot.txt2img.prompt_tags import split_loras

NAME = "comfyui"
_NAMESPACE = uuid.UUID("5b0a5a3e-8a4e-4d53-9a8a-0d3c2c1f7b11")
_MAX_LATENTS = 64
"""What LatentFromBatch and RepeatLatentBatch take; pictures beyond have another seed."""

_DEFAULT_GUIDANCE = 7.0
"""Of a family that is not known; most checkpoints are SD or SDXL."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Pictures of one prompt in a batch; ``first`` counts from 0 within the run."""

    prompt: str
    first: int
    count: int


class ComfyUIEngine:
    """Generate with ``model`` on the servers of ``config``.

    Without a model the graph names its own, or the server's first checkpoint is taken. The
    variables GRIDBRUSH_JOB or STORAGE_PATH, and ``index``, tell the row that this process works on.
    Raises UsageError.
    """

    def __init__(
        self,
        config: ServerConfig,
        model: ModelConfig | None,
        environment: Mapping[str, str],
        *,
        timing: Timing | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not config.urls:
            raise UsageError('The engine comfyui needs a url, such as "http://127.0.0.1:8188".')
        self._config = config
        self._model = model or ModelConfig("", kind=CHECKPOINT)
        # The default model has no id, and its location is a name at the server.
        if self._model.id and self._model.kind != CHECKPOINT:
            raise UsageError(
                f"The model {self._model.id} is not one of a server: write checkpoint = its name."
            )
        self._checkpoint = self._model.location
        self._family = find_family(self._model)
        self._environment = environment
        self._timing = timing or Timing()
        self._sleep = sleep
        self._max_count = _MAX_LATENTS
        self._halved = False
        self._report = Report(NAME, "", 0, None, negative=True)

    @property
    def notice(self) -> str:
        """Return the log line that names the model."""
        return f"Generating with {self._checkpoint or 'the model of the graph'} on ComfyUI"

    @property
    def report(self) -> Report:
        """Return the model, the sampler and the number of steps that the server ran."""
        return self._report

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return the pictures of a batch. SIGTERM withdraws it and ends the process."""
        return run_until_terminated(self._generate(batch, step))

    def upscale(self, picture: Image.Image, factor: int) -> Image.Image | None:
        """Return the picture ``factor`` times larger; None if no server has an upscale model."""
        return run_until_terminated(self._upscale(picture, factor))

    async def _generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        purpose = TXT2IMG if batch.init_image is None else IMG2IMG
        graph = choose_graph(self._config, purpose, self._family)
        progress = _Progress(batch, step)
        pictures: list[Image.Image] = []
        async with open_session(self._config.username, self._config.password) as session:
            servers = self._servers(session)
            if "CHECKPOINT" in graph.places and not self._checkpoint:
                self._checkpoint = await first_checkpoint(servers)
                self._family = find_family(replace(self._model, location=self._checkpoint))
                graph = choose_graph(self._config, purpose, self._family)
            pending = deque(_split(batch, self._max_count if "SAMPLES" in graph.places else 1))
            while pending:
                part = pending.popleft()
                try:
                    files = await servers.run(self._job(batch, part, graph, progress))
                except OutOfMemory as error:
                    pending.extendleft(reversed(self._halve(part, batch, error)))
                    continue
                pictures += read_pictures(files, part.count, (batch.width, batch.height))
                progress.complete(part.count)
        self._report = self._make_report(batch, graph, progress.steps_run)
        return tuple(pictures)

    async def _upscale(self, picture: Image.Image, factor: int) -> Image.Image | None:
        graph = choose_graph(self._config, UPSCALE, "")
        size = picture.width * factor, picture.height * factor
        async with open_session(self._config.username, self._config.password) as session:
            servers = self._servers(session)
            model = ""
            if "CHECKPOINT" in graph.places:
                names = await servers.ask_any(lambda server: server.models(UPSCALERS))
                model = best_upscaler(names, factor)
                if not model:
                    return None
            values = {"CHECKPOINT": model, "WIDTH": size[0], "HEIGHT": size[1]}
            files = await servers.run(
                Job(
                    graph,
                    self._prompt_ids(values, picture),
                    _Filler(graph, values, picture, UPSCALERS),
                    lambda _part, _steps: None,
                )
            )
        self._report = Report(NAME, _stem(model or graph.name), 0, None, negative=True)
        (large,) = read_pictures(files, 1, size)
        return large

    def _servers(self, session: aiohttp.ClientSession) -> Servers:
        row = self._environment.get("index", "")
        return Servers(
            [Server(session, url, self._timing.answer) for url in dict.fromkeys(self._config.urls)],
            int(row) - 1 if row.isdecimal() else 0,
            self._timing,
            self._sleep,
            _say,
        )

    def _halve(self, part: _Part, batch: Batch, error: OutOfMemory) -> tuple[_Part, _Part]:
        """Return the halves of a part that was too large. Raises UsageError the second time."""
        if self._halved or part.count == 1:
            pictures = f"{part.count} pictures" if part.count > 1 else "One picture"
            raise UsageError(
                f"{error}: {pictures} of {batch.width}x{batch.height} did not fit, ask for fewer "
                "samples or smaller pictures."
            ) from error
        self._halved = True
        self._max_count = count = (part.count + 1) // 2
        _say(f"{error} with {part.count} pictures at once: generating {count} at once from here.")
        rest = replace(part, first=part.first + count, count=part.count - count)
        return replace(part, count=count), rest

    def _job(self, batch: Batch, part: _Part, graph: Graph, progress: _Progress) -> Job:
        prompt, applied = split_loras(part.prompt, self._model.loras)
        loras = {lora.location: weight for lora, weight in applied}
        graph = with_loras(graph, loras)
        sampler = find_sampler(self._model.sampler, self._family)
        # A graph that cannot take single latents out of a batch begins a batch with its own seed.
        base = part.first - part.first % _MAX_LATENTS if "FIRST" in graph.places else part.first
        values: dict[str, object] = {
            "PROMPT": prompt,
            "NEGATIVE_PROMPT": split_loras(batch.negative, ())[0],
            "SEED": image_seed(batch.seed, base),
            "STEPS": batch.steps,
            "WIDTH": batch.width,
            "HEIGHT": batch.height,
            "SAMPLES": part.count,
            "FIRST": part.first - base,
            "END": part.first - base + part.count,
            "CHECKPOINT": self._checkpoint,
            "GUIDANCE": self._guidance(batch),
            "SAMPLER": sampler.sampler,
            "SCHEDULER": sampler.scheduler,
            "STRENGTH": batch.strength,
        }
        return Job(
            graph,
            self._prompt_ids({**values, "LORAS": loras}, batch.init_image),
            _Filler(graph, values, batch.init_image),
            lambda done, steps: progress.show(done * part.count, steps),
        )

    def _guidance(self, batch: Batch) -> float:
        return default_guidance(self._model, self._family) if batch.scale is None else batch.scale

    def _make_report(self, batch: Batch, graph: Graph, steps_run: int) -> Report:
        guidance = self._guidance(batch) if "GUIDANCE" in graph.places else self._model.guidance
        sampler = find_sampler(self._model.sampler, self._family)
        acts = Model("", self._family, guidance).negative_acts(batch.scale)
        return Report(
            NAME,
            model_name(self._checkpoint, self._model, graph),
            steps_run or batch.steps,
            guidance,
            negative=acts and "NEGATIVE_PROMPT" in graph.places,
            sampler=f"{sampler.sampler}/{sampler.scheduler}" if "SAMPLER" in graph.places else "",
            sha256=self._model.sha256,
        )

    def _prompt_ids(
        self, values: Mapping[str, object], picture: Image.Image | None
    ) -> Callable[[int], str]:
        """Return the ids of attempts: equal in all processes of a row, for equal values."""
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        if picture is not None:
            digest.update(picture.tobytes())
        job = self._environment.get("GRIDBRUSH_JOB") or self._environment.get("STORAGE_PATH")
        key = f"{job or uuid.uuid4()}/{self._environment.get('index', '')}/{digest.hexdigest()}"
        return lambda attempt: str(uuid.uuid5(_NAMESPACE, f"{key}/{attempt}"))


class _Filler:
    """Set a graph's values for a server; store the picture that it starts from there, once.

    Names of models become those of the server's lists.
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, object],
        picture: Image.Image | None,
        folder: str = CHECKPOINTS,
    ) -> None:
        self._graph = graph
        self._folder = folder
        self._values = values
        self._png = None if picture is None else encode_picture(picture)
        self._stored: dict[str, str] = {}

    async def __call__(self, server: Server, prompt_id: str) -> Mapping[str, object]:
        values = dict(self._values)
        if self._png is not None:
            if server.name not in self._stored:
                name = f"{hashlib.sha256(self._png).hexdigest()[:32]}.png"
                self._stored[server.name] = await server.upload(name, self._png)
            values["INIT_IMAGE"] = self._stored[server.name]
        if "CHECKPOINT" in self._graph.places:
            names = await server.models(self._folder)
            values["CHECKPOINT"] = find_name(str(values["CHECKPOINT"]), names)
        filled = self._graph.fill(values, prompt_id)
        loaders = [node for node in filled.values() if node["class_type"] == LORA_LOADER]
        loras = await server.models(LORAS) if loaders else ()
        for loader in loaders:
            inputs = loader["inputs"]
            inputs["lora_name"] = find_name(str(inputs["lora_name"]), loras)
        return filled


class _Progress:
    """Count what is done of a whole batch, over its parts."""

    def __init__(self, batch: Batch, step: Callable[[], None]) -> None:
        self._pictures = len(batch.prompts)
        self._progress = StepProgress(batch.steps, step)
        self._complete = 0
        self.steps_run = 0

    def show(self, pictures: float, steps: int) -> None:
        """Show that ``pictures`` of the current part are done, by samplers with ``steps``."""
        self.steps_run = max(self.steps_run, steps)
        self._progress.show((self._complete + pictures) / self._pictures)

    def complete(self, pictures: int) -> None:
        """Show that a part is done."""
        self.show(pictures, 0)
        self._complete += pictures


def find_family(model: ModelConfig) -> str:
    """Return the model's family: as given, else by its name; empty if it is not known.

    Raises UnusableModel.
    """
    return configured_family(model) or family_of_name(model.location)


def default_guidance(model: ModelConfig, family: str) -> float:
    """Return the guidance scale of a request that asks for none."""
    if model.guidance is not None:
        return model.guidance
    return GUIDANCE.get(family, _DEFAULT_GUIDANCE)


def choose_graph(config: ServerConfig, purpose: str, family: str) -> Graph:
    """Return the operator's own graph for the purpose, or the stock one. Raises InvalidGraph."""
    path = config.graphs.get(purpose)
    return load_graph(path, purpose) if path else stock_graph(purpose, family)


async def first_checkpoint(servers: Servers) -> str:
    """Return the name of the first checkpoint of a server. Raises ServerError."""
    names = await servers.ask_any(lambda server: server.models(CHECKPOINTS))
    if not names:
        raise ServerError("The ComfyUI server has no checkpoint: put one into its folder.")
    return names[0]


def best_upscaler(names: Iterable[str], factor: int) -> str:
    """Return the first model that enlarges by ``factor``, or else any; empty if there is none."""
    known = sorted(names)
    fitting = [
        name for name in known if f"{factor}x" in name.lower() or f"x{factor}" in name.lower()
    ]
    return next(iter([*fitting, *known]), "")


def model_name(checkpoint: str, model: ModelConfig, graph: Graph) -> str:
    """Return the name of the model that a graph paints with, for people."""
    return _stem(checkpoint) if "CHECKPOINT" in graph.places else model.id or _stem(graph.name)


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _split(batch: Batch, most: int) -> list[_Part]:
    """Return runs of equal prompts of at most ``most`` pictures, none across a block of latents."""
    parts: list[_Part] = []
    for number, prompt in enumerate(batch.prompts, start=batch.first):
        last = parts[-1] if parts else None
        if (
            last is None
            or last.prompt != prompt
            or last.count == most
            or number % _MAX_LATENTS == 0
        ):
            parts.append(_Part(prompt, number, 1))
        else:
            parts[-1] = replace(last, count=last.count + 1)
    return parts


def _say(text: str) -> None:
    # On a line of its own: a progress bar may stand on the current one.
    print(f"\n{text}", file=sys.stderr, flush=True)
