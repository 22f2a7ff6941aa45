"""Select the environment variables that a backend's programs may see.

The bot's environment holds its token, its wallet's key and whatever else its host put there; a job
gets only what its steps need.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SECRET: Final = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|AUTH|(^|_)(API_?KEY|ACCESS_KEY|KEY|PAT|JWT)(_|$)",
    re.IGNORECASE,
)
_HUB_VARIABLES: Final = re.compile(r"HF_TOKEN(_PATH)?|HUGGING_?FACE_HUB_TOKEN")
_HUB_MODEL: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def child_environment(
    source: Mapping[str, str], allowed: re.Pattern[str], *, hub: bool
) -> dict[str, str]:
    """Return PATH and the variables whose whole name matches ``allowed`` and names no secret.

    With ``hub`` also those that sign in to the Hugging Face hub.
    """
    variables = {
        name: value
        for name, value in source.items()
        if (allowed.fullmatch(name) and not _SECRET.search(name))
        or (hub and _HUB_VARIABLES.fullmatch(name))
    }
    return {**variables, "PATH": source.get("PATH", os.defpath)}


def needs_hub(engine: str, model: str) -> bool:
    """Return whether the engine may have to download its model: a name, and no local folder."""
    return engine != "sketch" and bool(_HUB_MODEL.fullmatch(model)) and not Path(model).exists()
