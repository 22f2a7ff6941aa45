"""Somebody at a terminal: the command in this process, or as a process that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from bot.cli import program

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "workflow_templates"
BORDER = 2


def strip_size(width: int = 64, height: int = 64, samples: int = 2) -> tuple[int, int]:
    """What torchvision's make_grid makes of a row of several pictures."""
    return (width + BORDER) * samples + BORDER, height + 2 * BORDER


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A folder with a config.toml for small, quick pictures, and the command in it."""

    folder: Path

    @classmethod
    def lay(
        cls,
        folder: Path,
        *,
        imagine: str = "",
        local: str = "",
        rest: str = "",
        engine: str = 'engine = "sketch"',
    ) -> CommandLine:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(
            f"""
[imagine]
width = 64
height = 64
steps = 2
rows = 2
samples = 2
{imagine}
[backend.local]
{engine}
tasks = 2
{local}
{rest}
""",
            encoding="utf-8",
        )
        return cls(folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def type(self, *words: str, env: dict[str, str] | None = None) -> Result:
        """Run the command in this process; quick, and counted by coverage."""
        config = str(self.folder / "config.toml")
        return CliRunner().invoke(program, ["--config", config, *words], env=env)

    def scripted(self, *words: str) -> Result:
        """The same with a backend that plays a run instead of painting."""
        return self.type(*words, env={"GRIDBRUSH_BACKEND__KIND": "scripted"})

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "bot", *words],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a process of its own."""
        with self.start(*words) as process:
            said, complained = process.communicate(timeout=60)
            return subprocess.CompletedProcess(words, process.returncode, said, complained)

    def log(self, job: str) -> str:
        return (self.data / "local" / "jobs" / job / "log").read_text(encoding="utf-8")

    def only_job(self) -> str:
        (folder,) = (self.data / "local" / "jobs").iterdir()
        return folder.name

    def template(self, name: str, inserted: str) -> str:
        """The stock template with ``inserted`` run early in each row, as a config line."""
        stock = (TEMPLATES / "stable-diffusion.yaml").read_text(encoding="utf-8")
        place = 'publisher mark row-start "row=$index" "seed=$seed"\n'
        assert stock.count(place) == 1
        (self.folder / "publisher.py").write_bytes((TEMPLATES / "publisher.py").read_bytes())
        changed = stock.replace(place, f"{place}                {inserted}\n")
        (self.folder / f"{name}.yaml").write_text(changed, encoding="utf-8")
        return f'template = "{name}.yaml"'


def _environment() -> dict[str, str]:
    """What the command needs of ours; nothing of a developer's own settings."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}


def told(result: Result) -> dict[str, object]:
    """The one JSON object on stdout."""
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found
