"""Test the selection of the engine, and the errors for a wrong environment."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

import bot
from bot.txt2img.engines import select_engine
from bot.txt2img.engines.base import Batch
from bot.txt2img.engines.sketch.engine import SketchEngine
from bot.txt2img.plan import UsageError
from tests.unit.txt2img.conftest import Paint

WITHOUT_DIFFUSERS = importlib.util.find_spec("diffusers") is None

BATCH = Batch(
    prompts=("a cat", "a dog"),
    negative="",
    seed=1,
    first=0,
    width=64,
    height=64,
    steps=5,
    scale=9.0,
)


@pytest.mark.parametrize("environment", [{}, {"PAINTER_ENGINE": "sketch"}, {"PAINTER_ENGINE": ""}])
def test_without_a_model_the_sketch_engine_paints(environment: dict[str, str]) -> None:
    assert isinstance(select_engine(environment, "cuda"), SketchEngine)


@pytest.mark.skipif(not WITHOUT_DIFFUSERS, reason="diffusers is installed")
def test_a_model_without_the_library_is_sketched_unless_diffusers_is_demanded() -> None:
    assert isinstance(select_engine({"PAINTER_MODEL": "some/model"}, "cpu"), SketchEngine)
    with pytest.raises(UsageError, match=r"pip install 'gridbrush\[diffusers\]'"):
        select_engine({"PAINTER_MODEL": "some/model", "PAINTER_ENGINE": "diffusers"}, "cpu")


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PAINTER_ENGINE": "dall-e"}, "PAINTER_ENGINE must be auto or one of sketch, diffusers"),
        ({"PAINTER_ENGINE": "diffusers"}, "PAINTER_MODEL must name"),
        ({"PAINTER_STEP_SECONDS": "soon"}, "PAINTER_STEP_SECONDS must be a number"),
        ({"PAINTER_STEP_SECONDS": "-1"}, "PAINTER_STEP_SECONDS must be a number"),
        ({"PAINTER_STEP_SECONDS": "inf"}, "PAINTER_STEP_SECONDS must be a number"),
        (
            {"PAINTER_ENGINE": "diffusers", "PAINTER_MODEL": "m", "PAINTER_THREADS": "1.5"},
            "PAINTER_THREADS must be a whole number",
        ),
        (
            {"PAINTER_ENGINE": "diffusers", "PAINTER_MODEL": "m", "PAINTER_THREADS": "0"},
            "PAINTER_THREADS must be a whole number",
        ),
    ],
)
def test_a_wrong_environment_is_refused_by_name(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        select_engine(environment, "cpu")


def test_a_wrong_environment_ends_the_program_with_status_1(paint: Paint, tmp_path: Path) -> None:
    done = paint(f"--outdir={tmp_path}", PAINTER_ENGINE="dall-e")
    assert done.status == 1
    assert "txt2img: PAINTER_ENGINE must be" in done.err


def test_the_sketch_engine_pauses_and_steps_once_per_step() -> None:
    pauses: list[float] = []
    steps: list[int] = []
    engine = SketchEngine(0.25, pauses.append)
    painted = engine.generate(BATCH, lambda: steps.append(len(pauses)))
    assert len(painted) == 2
    assert pauses == [0.25] * 5
    assert steps == [1, 2, 3, 4, 5]


def test_more_pictures_than_steps_are_all_painted() -> None:
    batch = Batch(("a", "b", "c"), "", 1, 0, 64, 64, 1, 9.0)
    assert len(SketchEngine(0.0, lambda _: None).generate(batch, lambda: None)) == 3


def test_the_sketch_engine_is_self_contained() -> None:
    sketch = "bot.txt2img.engines.sketch"
    folder = Path(bot.__file__).parent
    importers = set()
    for path in folder.rglob("*.py"):
        inside = path.is_relative_to(folder / "txt2img" / "engines" / "sketch")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert not inside or node.level == 0, path
                names = [node.module or ""]
            for name in names:
                assert not inside or not name.startswith("bot") or name.startswith(sketch), path
                if name.startswith(sketch) and not inside:
                    importers.add(path.relative_to(folder).as_posix())
    assert importers == {"txt2img/engines/__init__.py", "txt2img/engines/worker/loading.py"}
