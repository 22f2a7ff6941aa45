"""Declare the options of a request once for every command that takes a prompt."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from bot.domain.request import RequestOptions

Prompt = Annotated[
    str,
    typer.Argument(
        help="What to paint. It may contain flags as in Discord: "
        "'a fox --ar 16:9 --no snow'. Options win over flags."
    ),
]
Negative = Annotated[str | None, typer.Option("--negative", "--no", help="What to leave out.")]
Aspect = Annotated[str | None, typer.Option("--aspect", "--ar", help="Shape, such as 16:9.")]
Rows = Annotated[int | None, typer.Option(help="Rows of the grid, made in parallel.")]
Samples = Annotated[int | None, typer.Option(help="Images per row.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps.")]
Seed = Annotated[int | None, typer.Option(help="Seed of row 1; row n has seed + n - 1.")]
Model = Annotated[str | None, typer.Option(help="The model to use.")]
Strength = Annotated[
    float | None,
    typer.Option(help="How far to depart from the picture of --image, above 0 to 1."),
]
StartImage = Annotated[
    Path | None,
    typer.Option(
        "--image", help="Start from this picture: PNG, JPEG or WebP.", exists=True, dir_okay=False
    ),
]
Style = Annotated[str | None, typer.Option(help="A style of \\[imagine.styles].")]
BackendKind = Annotated[
    str | None,
    typer.Option(
        "--backend", help="Instead of the configured one: local, slurm, deepsquare or scripted."
    ),
]

_TYPES = {
    "negative": Negative,
    "aspect": Aspect,
    "rows": Rows,
    "samples": Samples,
    "steps": Steps,
    "seed": Seed,
    "model": Model,
    "style": Style,
    "strength": Strength,
}


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a request in place of its parameter ``chosen``.

    ``command`` gets them as one RequestOptions.
    """

    @wraps(command)
    def wrapper(**values: Any) -> None:
        chosen = RequestOptions(**{name: values.pop(name) for name in _TYPES})
        command(**values, chosen=chosen)

    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for parameter in own.parameters.values():
        if parameter.name == "chosen":
            parameters += [
                inspect.Parameter(name, parameter.kind, default=None, annotation=hint)
                for name, hint in _TYPES.items()
            ]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
    wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper
