"""Ask ``bot.txt2img`` which image engine and model a backend would use.

``python -m bot.txt2img.describe`` answers with one line of JSON; it reads a model's folder and
loads no library. Members see the answer before they are charged, operators in ``gridbrush check``.
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
    """The image engine, a summary for the operator, and its problems.

    ``problems`` are pairs of problem and hint.
    """

    painter: Painter
    detail: str = ""
    problems: tuple[tuple[str, str], ...] = ()

    def findings(self, where: str) -> tuple[CheckResult, ...]:
        """Return a failed check for each problem, or one passed check.

        ``where`` is the section of the settings.
        """
        if not self.problems:
            return (CheckResult(FINDING, True, self.detail or self.painter.show()),)
        return tuple(
            CheckResult(FINDING, False, f"{where} {problem}", hint)
            for problem, hint in self.problems
        )


HOSTED: Final = Description(Painter(SCRIPT), "Stability's txt2img.py, the model of each request")


def read_description(text: str) -> Description:
    """Parse the JSON that the program prints. Raises ValueError."""
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
    """Return the variables that the program reads in addition to the machine's environment."""
    return {"PAINTER_ENGINE": painting.engine, "PAINTER_MODEL": painting.model}


async def describe(painting: Txt2ImgConfig, environment: Mapping[str, str]) -> Description:
    """Return the image engine of this machine in ``environment``; never raises."""
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
