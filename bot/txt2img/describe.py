"""Print the engine and model in effect as one line of JSON: ``python -m bot.txt2img.describe``.

Reads the same environment as ``python -m bot.txt2img`` and loads no library. Keys: ``engine``,
``model`` (empty for none), ``family``, ``guidance`` (null for the pipeline's default), ``negative``
(whether a negative prompt has an effect), ``note``, and ``problems``, a list of pairs of problem
and hint. The exit status is always 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from bot.txt2img.engines import DIFFUSERS, INSTALL, SKETCH, is_installed, requested_engine
from bot.txt2img.models import UnusableModel, read_model


def describe(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the description. Problems are listed, not raised."""
    name = environment.get("PAINTER_MODEL", "")
    result: dict[str, object] = {
        "engine": requested_engine(environment),
        "model": "",
        "family": "",
        "guidance": None,
        "negative": True,
        "note": "",
    }
    problems: list[tuple[str, str]] = []
    requested = environment.get("PAINTER_ENGINE") or "auto"
    if requested == SKETCH or (requested == "auto" and not name):
        return {**result, "problems": problems}
    if not name:
        problems.append(("no model is named", "Set model to a folder or a name on the hub."))
    else:
        try:
            model = read_model(name, environment)
        except UnusableModel as error:
            problems.append((error.problem, error.hint))
            model = None
        if model is not None and result["engine"] == DIFFUSERS:
            result |= {
                "model": model.name,
                "family": model.family,
                "guidance": model.guidance,
                "negative": model.negative_acts(None),
                "note": model.note,
            }
    if not is_installed():
        problem = "the library diffusers is not installed"
        problems.append((problem, f'{INSTALL}, or set engine = "sketch".'))
    return {**result, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(describe(os.environ)))
