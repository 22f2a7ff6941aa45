"""What a run will paint, worked out from its options before the first stroke.

Refuses, in one sentence, everything ``scripts/txt2img.py`` would only trip over half way: a
missing prompt, sizes its network cannot hold, prompts that do not fill the last batch. It reads
the prompt file and nothing else, and knows neither engines nor pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bot.txt2img.arguments import Arguments

_LATENT_STEP = 8
"""The network halves its input three times, so both latent sides must be multiples of this."""

_PIXELS_PER_LATENT = 8
"""The decoder's own factor; ``--f`` changes only the size of the latent, as in the original."""

_TIMESTEPS = 1000
_SEEDS = 2**32


class UsageError(Exception):
    """The run cannot be done as asked; the text says what is allowed. Ends in exit status 1."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampling method as the log shows it.

    ``announcements`` are the lines written before a batch; ``bars`` are the descriptions and
    totals of the progress bars that follow one another; the totals add up to ``steps``.
    """

    announcements: tuple[str, ...]
    bars: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can be done. ``width`` and ``height`` are the pixels of one picture.

    ``batches`` holds the prompts of each batch; all of them are painted ``iterations`` times.
    ``columns`` is the number of pictures per row of the grid. ``seed`` is in 0 .. 2**32-1.
    """

    batches: tuple[tuple[str, ...], ...]
    iterations: int
    width: int
    height: int
    columns: int
    steps: int
    sampler: Sampler
    scale: float | None
    seed: int
    fixed_code: bool
    outdir: Path


def plan(options: Arguments, draw_seed: Callable[[], int]) -> tuple[Plan, tuple[str, ...]]:
    """The plan and the warnings to print; raises Refusal.

    ``draw_seed`` gives the seed to use when the one asked for does not fit into 32 bits: the
    original warns and draws one too.
    """
    for name, value in (("--n_samples", options.n_samples), ("--n_iter", options.n_iter)):
        if value < 1:
            raise UsageError(f"{name} must be 1 or more, not {value}.")
    if not options.outdir:
        raise UsageError("--outdir needs a folder to write the pictures to.")
    batches = _batches(options)
    width, height = _size(options)
    seed = options.seed
    warnings: tuple[str, ...] = ()
    if not 0 <= seed < _SEEDS:
        warnings = (f"{seed} is not in bounds, numpy accepts from 0 to {_SEEDS - 1}",)
        seed = draw_seed()
    painted = Plan(
        batches=batches,
        iterations=options.n_iter,
        width=width,
        height=height,
        columns=options.n_rows if options.n_rows > 0 else options.n_samples,
        steps=options.steps,
        sampler=_sampler(options, width, height),
        scale=options.scale,
        seed=seed,
        fixed_code=options.fixed_code,
        outdir=Path(options.outdir),
    )
    return painted, warnings


def _batches(options: Arguments) -> tuple[tuple[str, ...], ...]:
    if not options.from_file:
        if options.prompt is None:
            raise UsageError(
                "There is no prompt: give one as --prompt=TEXT, in one word of the command line."
            )
        return ((options.prompt,) * options.n_samples,)
    try:
        lines = Path(options.from_file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"The prompts in {options.from_file!r} cannot be read: {error}") from error
    prompts = [line for line in lines for _ in range(options.repeat)]
    size = options.n_samples
    if not prompts or len(prompts) % size:
        raise UsageError(
            f"{options.from_file!r} gives {len(prompts)} prompts with --repeat {options.repeat}; "
            f"it takes a multiple of --n_samples, which is {size}."
        )
    return tuple(tuple(prompts[at : at + size]) for at in range(0, len(prompts), size))


def _size(options: Arguments) -> tuple[int, int]:
    if options.channels != 4:
        raise UsageError(
            f"--C must be 4, the latent channels of the model, not {options.channels}."
        )
    if options.factor < 1:
        raise UsageError(f"--f must be 1 or more, not {options.factor}.")
    unit = options.factor * _LATENT_STEP
    sides = []
    for name, pixels in (("--W", options.width), ("--H", options.height)):
        if pixels < unit or pixels % unit:
            raise UsageError(f"{name} must be a multiple of {unit} pixels, not {pixels}.")
        sides.append(pixels // options.factor * _PIXELS_PER_LATENT)
    return sides[0], sides[1]


def _sampler(options: Arguments, width: int, height: int) -> Sampler:
    steps = options.steps
    least = 2 if options.dpm and not options.plms else 1
    if not least <= steps <= _TIMESTEPS:
        raise UsageError(f"--steps must be from {least} to {_TIMESTEPS}, not {steps}.")
    shape = (
        options.n_samples,
        options.channels,
        height // _PIXELS_PER_LATENT,
        width // _PIXELS_PER_LATENT,
    )
    if options.plms:
        if options.ddim_eta != 0:
            raise UsageError(f"--ddim_eta must be 0 with --plms, not {options.ddim_eta}.")
        running = f"Running PLMS Sampling with {steps} timesteps"
        return Sampler(
            (f"Data shape for PLMS sampling is {shape}", running), (("PLMS Sampler", steps),)
        )
    if options.dpm:
        return Sampler(
            (f"Data shape for DPM-Solver sampling is {shape}, sampling steps {steps}",),
            (("DPM init order", 1), ("DPM multistep", steps - 1)),
        )
    running = f"Running DDIM Sampling with {steps} timesteps"
    return Sampler(
        (f"Data shape for DDIM sampling is {shape}, eta {options.ddim_eta}", running),
        (("DDIM Sampler", steps),),
    )
