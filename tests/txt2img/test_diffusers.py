"""Test a real diffusers pipeline, tiny and with random weights, by the command line.

Opt-in: needs the extra ``gridbrush[diffusers]``; skipped without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bot.txt2img.engines.diffusers_engine import image_seed
from tests.txt2img.tiny_models import save_lcm, save_sd
from tests.unit.txt2img.conftest import Paint

Painted = Callable[..., tuple[list[bytes], str]]

pytestmark = [
    pytest.mark.diffusers,
    # The libraries warn about each other on import; nothing here can change it.
    pytest.mark.filterwarnings("ignore"),
]


def test_pictures_of_neighbouring_rows_never_start_alike() -> None:
    starts = [image_seed(seed, number) for seed in range(100, 108) for number in range(4)]
    assert len(set(starts)) == len(starts)
    assert [image_seed(seed, 0) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a Stable Diffusion pipeline of less than two million random weights."""
    return save_sd(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def painted(model: Path, paint: Paint, tmp_path: Path) -> Painted:
    """Run the tiny model; return the samples' bytes and the program's output."""

    def run(name: str, *words: str, **environment: str) -> tuple[list[bytes], str]:
        done = paint(
            "--prompt=a red cat",
            "--n_iter=1",
            "--n_samples=1",
            f"--outdir={tmp_path / name}",
            *words,
            PAINTER_MODEL=str(model),
            **environment,
        )
        assert done.status == 0, done.err
        files = sorted((tmp_path / name / "samples").iterdir())
        return [file.read_bytes() for file in files], done.out + done.err

    return run


def test_a_model_paints_samples_with_progress_for_every_step(painted: Painted, model: Path) -> None:
    found, said = painted("two", "--n_samples=2", "--W=128")
    assert len(set(found)) == 2
    assert f"Generating with {model}" in said
    assert "DDIM Sampler: 100%|██████████| 4/4" in said


def test_a_model_paints_the_same_again_and_otherwise_otherwise(painted: Painted) -> None:
    plain, _ = painted("plain")
    again, _ = painted("again")
    assert plain == again
    for name, words, environment in (
        ("seed", ("--seed=43",), {}),
        ("prompt", ("--prompt=a blue dog",), {}),
        ("negative", (), {"NEGATIVE_PROMPT": "trees"}),
        ("scale", ("--scale=2.5",), {}),
    ):
        other, _ = painted(name, *words, **environment)
        assert other != plain, name


def test_a_run_reports_the_model_its_guidance_and_its_steps(
    painted: Painted, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    painted("one", PAINTER_REPORT=str(report))
    said = "engine=diffusers\nmodel=tiny\nsteps=4\nguidance={}\nsampler=DDIM\nnegative=1\n"
    assert report.read_text() == said.format(9)
    painted("two", "--scale=2.5", PAINTER_REPORT=str(report))
    assert report.read_text() == said.format(2.5)


def test_a_negative_prompt_has_no_effect_where_it_is_said_to_have_none(
    paint: Paint, tmp_path: Path
) -> None:
    model = save_lcm(tmp_path / "tiny-lcm")
    pictures = []
    for name, negative in (("plain", ""), ("other", "trees")):
        done = paint(
            *("--n_iter=1", "--n_samples=1", f"--outdir={tmp_path / name}"),
            PAINTER_MODEL=str(model),
            NEGATIVE_PROMPT=negative,
            PAINTER_REPORT=str(tmp_path / "report"),
        )
        assert done.status == 0, done.err
        pictures.append((tmp_path / name / "samples" / "00000.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert (tmp_path / "report").read_text() == (
        "engine=diffusers\nmodel=tiny-lcm\nsteps=4\nguidance=1\nsampler=LCM\nnegative=0\n"
    )


def test_the_last_sample_does_not_depend_on_those_before_it(
    painted: Painted, tmp_path: Path
) -> None:
    painted("one", "--n_iter=2")
    painted("two", "--n_samples=2")
    with (
        Image.open(tmp_path / "one" / "samples" / "00001.png") as alone,
        Image.open(tmp_path / "two" / "samples" / "00001.png") as together,
    ):
        pairs = zip(alone.tobytes(), together.tobytes(), strict=True)
        # Another batch size may round otherwise, but it is the same picture.
        assert max(abs(first - second) for first, second in pairs) <= 2


def test_a_folder_without_a_model_is_refused(paint: Paint, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="needs the extra gridbrush[diffusers]")
    done = paint(
        f"--outdir={tmp_path / 'out'}",
        PAINTER_ENGINE="diffusers",
        PAINTER_MODEL=str(tmp_path / "nothing"),
    )
    assert done.status == 1
    assert "there is no folder or file" in done.err


def test_a_gpu_that_is_not_there_is_said(paint: Paint, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra gridbrush[diffusers]")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = paint(
        "--device=cuda", f"--outdir={tmp_path}", PAINTER_MODEL="any", PAINTER_ENGINE="diffusers"
    )
    assert done.status == 1
    assert "there is no CUDA GPU here" in done.err
