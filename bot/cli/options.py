"""The options of a request, as typer declares them; the same for every verb that takes a prompt."""

from __future__ import annotations

from typing import Annotated

import typer

Prompt = Annotated[
    str,
    typer.Argument(
        help="What to paint. Flags may stand in it as in Discord: "
        "'a fox --ar 16:9 --no snow'. Options win over flags."
    ),
]
Negative = Annotated[str | None, typer.Option("--negative", "--no", help="What to leave out.")]
Aspect = Annotated[str | None, typer.Option("--aspect", "--ar", help="Shape, such as 16:9.")]
Rows = Annotated[int | None, typer.Option(help="Rows of the grid, painted side by side.")]
Samples = Annotated[int | None, typer.Option(help="Pictures in a row.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps.")]
Seed = Annotated[int | None, typer.Option(help="Seed of row 1; row n has seed + n - 1.")]
Model = Annotated[str | None, typer.Option(help="Which model paints.")]
Style = Annotated[str | None, typer.Option(help="A style of \\[imagine.styles].")]
BackendKind = Annotated[
    str | None,
    typer.Option(
        "--backend", help="Instead of the configured one: local, slurm, deepsquare or scripted."
    ),
]
