"""Ask ``bot.txt2img`` which image engine and model a backend would use.

``python -m bot.txt2img.describe`` answers with one line of JSON; it reads a model's folder and
loads no library. Members see the answer before they are charged, operators in ``gridbrush check``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bot.backends.container_stubs import PACKAGE_ROOT, Txt2ImgConfig
from bot.domain.checks import CheckResult
from bot.domain.image_engine import SCRIPT, SKETCH, EngineInfo
from bot.domain.json_parser import parse_json

MODULE: Final = "bot.txt2img.describe"
CHECK_NAME: Final = "image engine"
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Description:
    """The image engine, a summary for the operator, and its problems.

    ``problems`` are pairs of problem and hint. ``models`` describes the models of the table by id.
    ``devices`` are the GPUs that a model would run on.
    """

    engine: EngineInfo
    detail: str = ""
    problems: tuple[tuple[str, str], ...] = ()
    models: Mapping[str, Description] = field(default_factory=dict)
    devices: tuple[str, ...] = ()

    @property
    def model_engines(self) -> Mapping[str, EngineInfo]:
        """Return the image engine of each model of the table."""
        return {id: description.engine for id, description in self.models.items()}

    def check_results(self, section: str) -> tuple[CheckResult, ...]:
        """Return a failed check for each problem, or one passed check; of each model, if any.

        ``section`` is the section of the settings.
        """
        devices = (CheckResult("GPUs", True, ", ".join(self.devices)),) if self.devices else ()
        if self.models:
            return devices + tuple(
                result
                for id, description in self.models.items()
                for result in description._results(f"model {id}", f"[models.{id}]")
            )
        return devices + self._results(CHECK_NAME, section)

    def with_pending(self, ids: Collection[str]) -> Description:
        """Return the description in which the models ``ids`` are still to be downloaded."""
        note = f"{self.engine.show()}, downloaded with the first request for it"
        pending = {
            id: replace(description, problems=(), detail=note)
            for id, description in self.models.items()
            if id in ids
        }
        return replace(self, models={**self.models, **pending})

    def _results(self, name: str, section: str) -> tuple[CheckResult, ...]:
        if not self.problems:
            return (CheckResult(name, True, self.detail or self.engine.show()),)
        return tuple(
            CheckResult(name, False, f"{section} {problem}", hint)
            for problem, hint in self.problems
        )


HOSTED: Final = Description(EngineInfo(SCRIPT), "Stability's txt2img.py, the model of each request")


def parse_description(text: str) -> Description:
    """Parse the JSON that the program prints. Raises ValueError."""
    try:
        answer = parse_json(text)
        models = {str(id): _parse_entry(entry) for id, entry in answer.get("models", {}).items()}
        devices = tuple(
            f"{device['name']} ({int(device['memory_mb'])} MiB)"
            for device in answer.get("devices", ())
        )
        return replace(_parse_entry(answer), models=models, devices=devices)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{error!r} in the answer of {MODULE}") from error


def _parse_entry(answer: Mapping[str, Any]) -> Description:
    engine = EngineInfo(str(answer["engine"]), str(answer["model"]), bool(answer["negative"]))
    problems = tuple((str(problem), str(hint)) for problem, hint in answer["problems"])
    details = [engine.show()]
    if answer["family"]:
        details.append(f"family {answer['family']}")
    if answer["guidance"] is not None:
        details.append(f"guidance {answer['guidance']:g}")
    if not engine.negative:
        details.append("negative prompts have no effect and are refused")
    if answer["note"]:
        details.append(str(answer["note"]))
    return Description(engine, ", ".join(details), problems)


def engine_variables(config: Txt2ImgConfig) -> Mapping[str, str]:
    """Return the variables that the program reads in addition to the machine's environment."""
    file = {"TXT2IMG_CONFIG": config.config_file} if config.config_file else {}
    return {"PAINTER_ENGINE": config.engine, "PAINTER_MODEL": config.model, **file}


async def describe(
    config: Txt2ImgConfig, environment: Mapping[str, str], *, table: bool = False
) -> Description:
    """Return the image engine of this machine in ``environment``; never raises.

    With ``table``, the models of the configuration file are described, too.
    """
    draws = config.engine == SKETCH or (config.engine == "auto" and not config.model)
    if draws and not table:
        return Description(EngineInfo(SKETCH))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",  # as in a job, a relative path does not resolve
            env={**environment, "PYTHONPATH": PACKAGE_ROOT, **engine_variables(config)},
        )
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return parse_description(out.decode())
    except (OSError, ValueError) as error:
        problem = f"model cannot be read: {str(error) or type(error).__name__}"
        # Only the name is certain; what the model supports shows when it runs.
        unknown = EngineInfo("diffusers", config.model.rstrip("/").rpartition("/")[2])
        return Description(unknown, "", ((problem, "Run gridbrush check again."),))
