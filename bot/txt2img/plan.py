"""Validate the options of a run and turn them into a plan.

Rejects with one sentence what would make ``scripts/txt2img.py`` fail half way: a missing prompt,
sizes its network cannot process, prompts that do not fill the last batch. The prompt file is the
only file that is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bot.txt2img.arguments import Arguments

_LATENT_STEP = 8
"""The network halves its input three times: both latent sides must be multiples of this."""

_PIXELS_PER_LATENT = 8
"""The decoder's factor; ``--f`` changes only the size of the latent, as in the original."""

_MAX_TIMESTEPS = 1000
_MAX_STRENGTH = 0.99
_SEED_COUNT = 2**32


class UsageError(Exception):
    """Invalid options; the text says what is allowed. The program exits with status 1."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampling method, as the log shows it.

    ``announcements`` are the lines printed before a batch. ``bars`` are descriptions and totals of
    the successive progress bars; the totals add up to the number of steps.
    """

    announcements: tuple[str, ...]
    bars: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A valid run. ``width`` and ``height`` are the size of one picture in pixels.

    ``batches`` holds the prompts of each batch; all batches run ``iterations`` times.
    With ``init_image`` pictures start from that file; ``strength`` says how far they depart.
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
    init_image: Path | None = None
    strength: float = 0.0


def plan(options: Arguments, draw_seed: Callable[[], int]) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan and the warnings to print. Raises UsageError.

    ``draw_seed`` gives the seed if the requested one does not fit into 32 bits: the original warns
    and draws one, too.
    """
    for name, value in (("--n_samples", options.n_samples), ("--n_iter", options.n_iter)):
        if value < 1:
            raise UsageError(f"{name} must be 1 or more, not {value}.")
    if not options.outdir:
        raise UsageError("--outdir needs a folder to write the pictures to.")
    batches = _parse_batches(options)
    width, height = _picture_size(options)
    seed = options.seed
    warnings: tuple[str, ...] = ()
    if not 0 <= seed < _SEED_COUNT:
        warnings = (f"{seed} is not in bounds, numpy accepts from 0 to {_SEED_COUNT - 1}",)
        seed = draw_seed()
    validated = Plan(
        batches=batches,
        iterations=options.n_iter,
        width=width,
        height=height,
        columns=options.n_rows if options.n_rows > 0 else options.n_samples,
        steps=options.steps,
        sampler=_select_sampler(options, width, height),
        scale=options.scale,
        seed=seed,
        fixed_code=options.fixed_code,
        outdir=Path(options.outdir),
        init_image=Path(options.init_img) if options.init_img else None,
        strength=_check_strength(options) if options.init_img else 0.0,
    )
    return validated, warnings


def _check_strength(options: Arguments) -> float:
    """Return the strength. The original fails at 1 and generates nothing below one step."""
    strength = options.strength
    if not 0 < strength <= _MAX_STRENGTH:
        raise UsageError(f"--strength must be above 0 and at most 0.99, not {strength:g}.")
    if int(strength * options.steps) < 1:
        raise UsageError(
            f"--strength {strength:g} of {options.steps} steps is less than one step: raise either."
        )
    return strength


def _parse_batches(options: Arguments) -> tuple[tuple[str, ...], ...]:
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


def _picture_size(options: Arguments) -> tuple[int, int]:
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


def _select_sampler(options: Arguments, width: int, height: int) -> Sampler:
    steps = options.steps
    min_steps = 2 if options.dpm and not options.plms else 1
    if not min_steps <= steps <= _MAX_TIMESTEPS:
        raise UsageError(f"--steps must be from {min_steps} to {_MAX_TIMESTEPS}, not {steps}.")
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
