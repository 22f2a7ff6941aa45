"""What would paint, asked of ``bot.txt2img`` itself: it knows models, and the bot does not.

The answer is the line of JSON of ``python -m bot.txt2img.describe``, which reads a model's folder
and loads no library. It says what members are told before they are charged, and what ``gridbrush
check`` finds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.backends.container_stubs import PACKAGE_ROOT, Txt2ImgConfig
from bot.domain.checks import CheckResult
from bot.domain.image_engine import SCRIPT, SKETCH, Painter

MODULE: Final = "bot.txt2img.describe"
FINDING: Final = "what paints"
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Description:
    """What would paint, in words for the operator, and what is wrong with it.

    ``problems`` are pairs of what is wrong and what helps; ``where`` names the section of the
    settings.
    """

    painter: Painter
    detail: str = ""
    problems: tuple[tuple[str, str], ...] = ()

    def findings(self, where: str) -> tuple[CheckResult, ...]:
        """Return one finding for each problem; where there is none, what paints."""
        if not self.problems:
            return (CheckResult(FINDING, True, self.detail or self.painter.show()),)
        return tuple(
            CheckResult(FINDING, False, f"{where} {problem}", hint)
            for problem, hint in self.problems
        )


HOSTED: Final = Description(Painter(SCRIPT), "Stability's txt2img.py, the model of each request")


def read_description(text: str) -> Description:
    """Return what the program's answer says. Raises ValueError for anything else."""
    try:
        said = json.loads(text)
        painter = Painter(str(said["engine"]), str(said["model"]), bool(said["negative"]))
        problems = tuple((str(problem), str(hint)) for problem, hint in said["problems"])
        facts = [painter.show()]
        if said["family"]:
            facts.append(f"family {said['family']}")
        if said["guidance"] is not None:
            facts.append(f"guidance {said['guidance']:g}")
        if not painter.negative:
            facts.append("negative prompts have no effect and are refused")
        if said["note"]:
            facts.append(str(said["note"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{error!r} in what {MODULE} said") from error
    return Description(painter, ", ".join(facts), problems)


def variables(painting: Txt2ImgConfig) -> Mapping[str, str]:
    """Return the environment that the program reads beside that of the machine."""
    return {"PAINTER_ENGINE": painting.engine, "PAINTER_MODEL": painting.model}


async def describe(painting: Txt2ImgConfig, environment: Mapping[str, str]) -> Description:
    """Return what would paint on this machine, in ``environment``; never raises."""
    if painting.engine == SKETCH or (painting.engine == "auto" and not painting.model):
        return Description(Painter(SKETCH))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",  # as in a job, a relative path leads nowhere
            env={**environment, "PYTHONPATH": PACKAGE_ROOT, **variables(painting)},
        )
        try:
            async with asyncio.timeout(_SECONDS):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return read_description(out.decode())
    except (OSError, ValueError) as error:
        problem = f"model cannot be looked at: {str(error) or type(error).__name__}"
        # Only the name is certain; what the model can do shows when it paints.
        guess = Painter("diffusers", painting.model.rstrip("/").rpartition("/")[2])
        return Description(guess, "", ((problem, "Run gridbrush check again."),))
