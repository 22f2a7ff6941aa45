"""The import contracts of pyproject.toml: each finds a breach that is planted for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = "Upper layers import lower ones, never the other way round"

BREACHES: tuple[tuple[str, str, str, str], ...] = (
    (LAYERS, "bot/domain/x1.py", "import bot.store.jobs", "bot.domain.x1 -> bot.store.jobs"),
    (LAYERS, "bot/services/x2.py", "from bot.frontend import x2", "bot.frontend"),
    (
        LAYERS,
        "bot/settings/x3.py",
        "if TYPE_CHECKING:\n    from bot.services.queue import JobQueue",
        "bot.settings.x3 -> bot.services.queue",
    ),
    (
        LAYERS,
        "bot/txt2img/engines/sketch/x4.py",
        "def f():\n    from ....domain import job",
        "bot.txt2img.engines.sketch.x4 -> bot.domain.job",
    ),
    (LAYERS, "bot/playground/x5.py", "import bot.domain.job", "bot.playground.x5"),
    (LAYERS, "bot/attic.py", "", "attic"),
    (
        "Only bot.frontend knows discord.py",
        "bot/services/x6.py",
        "from discord.ext import tasks",
        "bot.services.x6 -> discord",
    ),
    (
        "Only bot.store knows aiosqlite",
        "bot/runtime.py",
        "def f():\n    import aiosqlite",
        "bot.runtime -> aiosqlite",
    ),
    (
        "The store is for services and the composition root",
        "bot/frontend/x7.py",
        "def f():\n    import bot.store.jobs",
        "bot.frontend.x7 -> bot.store.jobs",
    ),
    (
        "The settings are for the command line and the composition root",
        "bot/services/x8.py",
        "from bot import settings",
        "bot.services.x8 -> bot.settings",
    ),
    (
        "Discord is for the composition root",
        "bot/cli/x9.py",
        "from bot.frontend import client",
        "bot.cli.x9 -> bot.frontend.client",
    ),
    (
        "Of the backends, services and the command line see the protocol alone",
        "bot/services/x10.py",
        "import bot.backends.local",
        "bot.services.x10 -> bot.backends.local",
    ),
    (
        "Backends are independent of each other",
        "bot/backends/local.py",
        "from bot.backends.slurm import squeue",
        "bot.backends.local -> bot.backends.slurm",
    ),
    (
        "The metrics see tasks and events, not the queue",
        "bot/metrics.py",
        "import bot.services.queue",
        "bot.metrics -> bot.services.queue",
    ),
    (
        "The program imports the command line alone",
        "bot/__main__.py",
        "import bot.domain.job",
        "bot.__main__ -> bot.domain.job",
    ),
    (
        "The command line starts the playground's server, nothing else of it",
        "bot/cli/x11.py",
        "import bot.playground.state.models",
        "bot.cli.x11 -> bot.playground.state.models",
    ),
    (
        "Programs that run alone do not import the package",
        "bot/txt2img/x12.py",
        "from bot import __version__",
        "bot.txt2img.x12 -> bot",
    ),
    (
        "No circles, between modules or between packages",
        "bot/domain/x13.py",
        "import bot.domain.x14",
        "No cycles are allowed in bot.domain.",
    ),
)
"""Contract, file, what is added to it, and what the report then says below the contract."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What import-linter says of a copy of the tree with every breach in it, by contract."""
    root = tmp_path_factory.mktemp("breached")
    shutil.copytree(
        ROOT / "bot", root / "bot", ignore=shutil.ignore_patterns("__pycache__", "page", "data")
    )
    shutil.copy(ROOT / "pyproject.toml", root)
    planted = [(path, text) for _, path, text, _ in BREACHES]
    for path, text in (*planted, ("bot/domain/x14.py", "def f():\n    from bot.domain import x13")):
        with (root / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        check=False,
        cwd=root,
        env={"PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    broken = done.stdout.partition("Broken contracts\n")[2]
    titles = {breach[0] for breach in BREACHES}
    found, title = dict.fromkeys(titles, ""), ""
    for line in broken.splitlines():
        if line in titles:
            title = line
        elif title:
            found[title] += f"{line}\n"
    return found


@pytest.mark.parametrize(
    ("contract", "path", "text", "found"), BREACHES, ids=[path for _, path, _, _ in BREACHES]
)
def test_the_contracts_find_a_planted_breach(
    reports: dict[str, str], contract: str, path: str, text: str, found: str
) -> None:
    assert found in reports[contract]


def test_every_contract_has_a_planted_breach() -> None:
    names = re.findall(r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert set(names) == {"gridbrush", *(contract for contract, *_ in BREACHES)}


def test_importing_the_package_loads_nothing_else() -> None:
    show = "import sys; old = set(sys.modules); import bot; print(*sorted(set(sys.modules) - old))"
    done = subprocess.run(
        [sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"bot", "__future__"}
    assert "bot" in done.stdout.split()
