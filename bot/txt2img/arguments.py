"""Parse the command line of ``scripts/txt2img.py`` as that script does.

Option names, defaults, ``nargs`` and choices are those of Stability's Stable Diffusion repository
(main branch of March 2023), so a command is accepted or rejected here exactly as there: argparse
exits with status 2 and a usage line. Only ``--scale`` has no default, because it depends on the
model. ``--init-img`` and ``--strength`` are those of its ``scripts/img2img.py``.
:mod:`bot.txt2img.plan` validates the values. No file is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parsed options; names are those of the command line with ``-`` as ``_``.

    ``prompt`` and ``outdir`` are None if the option was given without a value. ``height`` and
    ``width`` are ``--H`` and ``--W`` in pixels; ``channels`` and ``factor``, ``--C`` and ``--f``.
    """

    prompt: str | None
    outdir: str | None
    steps: int
    plms: bool
    dpm: bool
    fixed_code: bool
    ddim_eta: float
    n_iter: int
    height: int
    width: int
    channels: int
    factor: int
    n_samples: int
    n_rows: int
    scale: float | None
    from_file: str | None
    config: str
    ckpt: str | None
    seed: int
    precision: str
    repeat: int
    device: str
    torchscript: bool
    ipex: bool
    bf16: bool
    init_img: str | None
    strength: float


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bot.txt2img",
        description="Generate pictures from a prompt, with the command line of scripts/txt2img.py.",
    )
    add = parser.add_argument
    add(
        "--prompt",
        nargs="?",
        default="a professional photograph of an astronaut riding a triceratops",
        help="what the pictures show",
    )
    add("--outdir", nargs="?", default="outputs/txt2img-samples", help="folder for the pictures")
    add("--steps", type=int, default=50, help="sampling steps")
    add("--plms", action="store_true", help="use the PLMS sampler")
    add("--dpm", action="store_true", help="use the DPM solver")
    add("--fixed_code", action="store_true", help="start every iteration from the same noise")
    add("--ddim_eta", type=float, default=0.0, help="noise added by DDIM; 0 is deterministic")
    add("--n_iter", type=int, default=3, help="number of batches")
    add("--H", dest="height", metavar="H", type=int, default=512, help="height in pixels")
    add("--W", dest="width", metavar="W", type=int, default=512, help="width in pixels")
    add("--C", dest="channels", metavar="C", type=int, default=4, help="latent channels")
    add("--f", dest="factor", metavar="F", type=int, default=8, help="downsampling factor")
    add("--n_samples", type=int, default=3, help="pictures per batch")
    add("--n_rows", type=int, default=0, help="pictures per row of the grid; 0: one batch")
    add("--scale", type=float, help="guidance scale; default: depends on the model")
    add("--from-file", help="read the prompts from this file, one per line")
    add(
        "--config",
        default="configs/stable-diffusion/v2-inference.yaml",
        help="accepted and ignored: the engine has its own configuration",
    )
    add("--ckpt", help="printed in the log and not loaded: the engine has its own model")
    add("--seed", type=int, default=42, help="0 to 4294967295; outside that, a random one")
    add("--precision", choices=["full", "autocast"], default="autocast", help="arithmetic")
    add("--repeat", type=int, default=1, help="how many times each prompt of --from-file is used")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where a model runs")
    add("--torchscript", action="store_true", help="accepted and ignored")
    add("--ipex", action="store_true", help="accepted and ignored")
    add("--bf16", action="store_true", help="accepted and ignored")
    # Of scripts/img2img.py, with its default; there the size is the picture's.
    add("--init-img", metavar="FILE", help="start from this picture, cropped to --W and --H")
    add("--strength", type=float, default=0.8, help="how far to depart from it: above 0, to 0.99")
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """Parse ``argv``. Raises SystemExit: 2 for an invalid command line, 0 for ``-h``."""
    parsed = _parser().parse_args(argv)
    return Arguments(**{field.name: getattr(parsed, field.name) for field in fields(Arguments)})
