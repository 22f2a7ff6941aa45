"""Say what the servers have of a model, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from bot.txt2img.config import ModelConfig, ServerConfig
from bot.txt2img.engines.a1111.catalog import Selection, select
from bot.txt2img.engines.a1111.client import Server, ServerError, Unreachable
from bot.txt2img.engines.a1111.engine import NAME
from bot.txt2img.plan import UsageError

_SECONDS = 5.0


def describe(config: ServerConfig, model: ModelConfig | None) -> dict[str, Any]:
    """Return the keys of ``bot.txt2img.describe``; asks every server. Problems are listed."""
    problems: list[tuple[str, str]] = []
    selections: list[tuple[str, Selection]] = []
    if not config.urls:
        problems.append(("the engine a1111 has no url", "Set url to the image server's address."))
    for url in config.urls:
        try:
            server = Server(url, config)
            selections.append((server.name, select(server, model, seconds=_SECONDS)))
            server.close()
        except Unreachable as error:
            problems.append((str(error), "Start it, and its API: --api, or --listen elsewhere."))
        except ServerError as error:
            problems.append((str(error), "Correct url, username or password."))
        except UsageError as error:
            problems.append((str(error), "Correct the name, or put the file on the server."))
    flux = model is not None and model.family.startswith("flux")
    guidance = model.guidance if model else None
    names = {selection.checkpoint.name for _, selection in selections} - {""}
    return {
        "engine": NAME,
        "model": min(names, default=model.location if model else ""),
        "family": model.family if model else "",
        "guidance": guidance,
        "negative": not flux and (guidance is None or guidance > 1),
        "note": "; ".join(_note(name, selection) for name, selection in selections),
        "problems": problems,
    }


def _note(name: str, selection: Selection) -> str:
    parts = [name]
    if not selection.has_progress:
        parts.append("tells no progress and cannot be interrupted")
    return ", ".join(parts)
