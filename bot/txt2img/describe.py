"""``python -m bot.txt2img.describe``: say in one line of JSON what would paint here, and how.

Reads the same environment as the painter and loads no library. Keys: ``engine``, ``model`` (empty
for none), ``family``, ``guidance`` (null for the pipeline's own), ``negative`` (whether a negative
prompt acts), ``note``, and ``problems``, a list of pairs of what is wrong and what helps. The exit
status is 0 whatever is found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from bot.txt2img.engines import DIFFUSERS, INSTALL, SKETCH, installed, wanted
from bot.txt2img.models import Unusable, read_model


def describe(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what would paint; never raises for what it finds."""
    name = environment.get("PAINTER_MODEL", "")
    told: dict[str, object] = {
        "engine": wanted(environment),
        "model": "",
        "family": "",
        "guidance": None,
        "negative": True,
        "note": "",
    }
    problems: list[tuple[str, str]] = []
    asked = environment.get("PAINTER_ENGINE") or "auto"
    if asked == SKETCH or (asked == "auto" and not name):
        return {**told, "problems": problems}
    if not name:
        problems.append(("no model is named", "Set model to a folder or a name on the hub."))
    else:
        try:
            model = read_model(name, environment)
        except Unusable as error:
            problems.append((error.problem, error.hint))
            model = None
        if model is not None and told["engine"] == DIFFUSERS:
            told |= {
                "model": model.name,
                "family": model.family,
                "guidance": model.guidance,
                "negative": model.negative_acts(None),
                "note": model.note,
            }
    if not installed():
        problem = "the library diffusers is not installed"
        problems.append((problem, f'{INSTALL}, or set engine = "sketch".'))
    return {**told, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(describe(os.environ)))
