"""Execute a plan: generate batch after batch, save each picture, then save the grid.

The order of files, lines and progress bars is that of ``scripts/txt2img.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from PIL import Image

from bot.txt2img.engines.base import Batch, ImageEngine
from bot.txt2img.init_image import read_init_image
from bot.txt2img.make_grid import make_grid
from bot.txt2img.plan import Plan, Sampler
from bot.txt2img.tqdm_bars import Bar, ProgressBars

_COMPRESSION = 3
"""zlib level: three times faster than the default, and film grain does not shrink further."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The output of a run: lines go to ``out``, progress to ``err``; ``clock`` is in seconds."""

    out: TextIO
    err: TextIO
    clock: Callable[[], float]


def run(plan: Plan, negative: str, engine: ImageEngine, streams: Streams) -> None:
    """Generate everything in ``plan`` into its folder. Raises OSError, UsageError.

    File numbers continue from the entries in the folder: in an empty one the files are
    ``samples/00000.png`` and ``grid-0000.png``.
    """
    init_image = None
    if plan.init_image is not None:
        init_image = read_init_image(plan.init_image, plan.width, plan.height)
    samples = plan.outdir / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    number = len(list(samples.iterdir()))
    grid_number = len(list(plan.outdir.iterdir())) - 1
    pictures: list[Image.Image] = []
    bars = ProgressBars(streams.err, streams.clock)
    with bars.bar("Sampling", plan.iterations) as iterations:
        for _ in range(plan.iterations):
            with bars.bar("data", len(plan.batches)) as batches:
                for prompts in plan.batches:
                    for line in plan.sampler.announcements:
                        print(line, file=streams.out)
                    batch = _build_batch(plan, prompts, negative, len(pictures), init_image)
                    with ExitStack() as stack:
                        sampler = _SamplerBars(bars, plan.sampler, stack)
                        generated = engine.generate(batch, sampler.step)
                    for picture in generated:
                        _save(picture, samples / f"{number:05}.png")
                        number += 1
                    pictures.extend(generated)
                    batches.advance()
            iterations.advance()
    _save(make_grid(pictures, plan.columns), plan.outdir / f"grid-{grid_number:04}.png")
    print(
        f"Your samples are ready and waiting for you here: \n{plan.outdir} \n \nEnjoy.",
        file=streams.out,
    )


def _build_batch(
    plan: Plan,
    prompts: tuple[str, ...],
    negative: str,
    first: int,
    init_image: Image.Image | None,
) -> Batch:
    return Batch(
        prompts=prompts,
        negative=negative,
        seed=plan.seed,
        first=0 if plan.fixed_code else first,
        width=plan.width,
        height=plan.height,
        steps=plan.steps,
        scale=plan.scale,
        init_image=init_image,
        strength=plan.strength,
    )


class _SamplerBars:
    """The progress bars of one batch; each opens when the previous one is complete."""

    def __init__(self, bars: ProgressBars, sampler: Sampler, stack: ExitStack) -> None:
        self._bars = bars
        self._pending = list(sampler.bars)
        self._stack = stack
        self._current = self._open()

    def step(self) -> None:
        """Count one sampling step; steps beyond the announced number are not shown."""
        if self._left:
            self._left -= 1
            self._current.advance()
        if not self._left and self._pending:
            self._stack.close()
            self._current = self._open()

    def _open(self) -> Bar:
        description, self._left = self._pending.pop(0)
        return self._stack.enter_context(self._bars.bar(description, self._left))


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, format="PNG", compress_level=_COMPRESSION)
