"""Test a real diffusers pipeline, tiny and with random weights, by the command line.

Opt-in: needs the extra ``gridbrush[diffusers]``; skipped without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.txt2img.engines.diffusers_engine import image_seed
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
    return _save(tmp_path_factory.mktemp("model"), "tiny")


def _save(folder: Path, name: str, *, distilled: bool = False) -> Path:
    """Save a tiny pipeline; ``distilled``: a latent consistency model, guided by an embedding."""
    torch = pytest.importorskip("torch", reason="needs the extra gridbrush[diffusers]")
    diffusers = pytest.importorskip("diffusers", reason="needs the extra gridbrush[diffusers]")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
        time_cond_proj_dim=32 if distilled else None,
    )
    autoencoder = diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=8,
    )
    tokenizer = _tokenizer(folder, transformers.CLIPTokenizer)
    text_encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=2,
            max_position_embeddings=77,
            projection_dim=32,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )
    kind = diffusers.StableDiffusionPipeline
    scheduler = diffusers.DDIMScheduler
    if distilled:
        kind, scheduler = diffusers.LatentConsistencyModelPipeline, diffusers.LCMScheduler
    kind(
        unet=unet,
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / name, safe_serialization=True)
    return folder / name


def _tokenizer(folder: Path, kind: type) -> Any:
    """Return CLIP's tokenizer with an alphabet of single bytes and no merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = (byte for byte in range(256) if byte not in printable)
    letters = [*map(chr, printable), *(chr(256 + number) for number, _ in enumerate(hidden))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return kind(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


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
    model = _save(tmp_path, "tiny-lcm", distilled=True)
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
    assert "there is no folder" in done.err


def test_a_gpu_that_is_not_there_is_said(paint: Paint, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra gridbrush[diffusers]")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = paint(
        "--device=cuda", f"--outdir={tmp_path}", PAINTER_MODEL="any", PAINTER_ENGINE="diffusers"
    )
    assert done.status == 1
    assert "there is no CUDA GPU here" in done.err
