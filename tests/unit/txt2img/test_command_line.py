"""Test that the command line accepts and rejects what the original does, with the same status."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.txt2img.arguments import parse
from bot.txt2img.plan import Plan, UsageError, plan


def planned(*words: str) -> Plan:
    found, _ = plan(parse(words), draw_seed=lambda: 7)
    return found


def test_the_defaults_are_those_of_the_original() -> None:
    options = parse([])
    assert options.prompt == "a professional photograph of an astronaut riding a triceratops"
    assert options.outdir == "outputs/txt2img-samples"
    assert (options.steps, options.n_iter, options.n_samples, options.n_rows) == (50, 3, 3, 0)
    assert (options.height, options.width, options.channels, options.factor) == (512, 512, 4, 8)
    assert (options.scale, options.ddim_eta, options.seed, options.repeat) == (None, 0.0, 42, 1)
    assert (options.device, options.precision, options.ckpt) == ("cpu", "autocast", None)
    assert options.config == "configs/stable-diffusion/v2-inference.yaml"
    assert options.from_file is None
    switches = (options.plms, options.dpm, options.fixed_code, options.torchscript)
    assert not any((*switches, options.ipex, options.bf16))


@pytest.mark.parametrize(
    "words",
    [
        ["--prompt", "a cat with spaces"],
        ["--prompt=--seed=5 and more"],
        ["--prompt", ""],
        ["--plms", "--scale", "1.0", "--precision", "full"],
        ["--dpm", "--steps", "2", "--fixed_code"],
        ["--device", "cuda", "--ckpt", "/models/model.ckpt", "--config", "x.yaml"],
        ["--torchscript", "--ipex", "--bf16", "--ddim_eta", "0.5"],
        ["--n_rows", "-1"],
        ["--H", "128", "--f", "16"],
        ["--n_sam", "2"],  # argparse takes any unambiguous beginning
    ],
)
def test_commands_that_the_original_can_do_are_accepted(words: list[str]) -> None:
    assert planned(*words).batches


@pytest.mark.parametrize(
    "words",
    [
        ["--device", "mps"],
        ["--precision", "half"],
        ["--steps", "many"],
        ["--prompt", "-foo"],
        ["--unknown"],
        ["--outdir=a", "stray"],
        ["--n", "3"],  # could be n_iter, n_samples or n_rows
        ["--seed"],
    ],
)
def test_a_command_that_argparse_refuses_ends_with_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert "usage: python -m bot.txt2img" in capsys.readouterr().err


def test_help_ends_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["-h"])
    assert ended.value.code == 0
    assert "--n_samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prompt"], "There is no prompt"),
        (["--prompt=--"], "There is no prompt"),
        (["--outdir"], "--outdir needs a folder"),
        (["--outdir="], "--outdir needs a folder"),
        (["--n_iter=0"], "--n_iter must be 1 or more"),
        (["--n_samples=-2"], "--n_samples must be 1 or more"),
        (["--W=100"], "--W must be a multiple of 64 pixels, not 100"),
        (["--H=0"], "--H must be a multiple of 64"),
        (["--H=96", "--f=16"], "--H must be a multiple of 128"),
        (["--C=8"], "--C must be 4"),
        (["--f=0"], "--f must be 1 or more"),
        (["--steps=0"], "--steps must be from 1 to 1000"),
        (["--steps=1001"], "--steps must be from 1 to 1000"),
        (["--dpm", "--steps=1"], "--steps must be from 2"),
        (["--plms", "--ddim_eta=0.5"], "--ddim_eta must be 0 with --plms"),
        (["--from-file=/no/such/file"], "cannot be read"),
    ],
)
def test_what_no_model_could_paint_is_refused_in_a_sentence(
    words: list[str], sentence: str
) -> None:
    options = parse(["--prompt=x", *words])
    if options.prompt == "--":
        pytest.skip("this Python's argparse takes -- as a value; then it is simply the prompt")
    with pytest.raises(UsageError, match=r"\.$|: ") as refused:
        plan(options, draw_seed=lambda: 7)
    assert sentence in str(refused.value)


def test_another_downsampling_factor_changes_the_size_as_in_the_original() -> None:
    found = planned("--W=512", "--H=256", "--f=16")
    assert (found.width, found.height) == (256, 128)


@given(seed=st.integers(-(2**40), 2**40))
@settings(deadline=None, max_examples=60)
def test_a_seed_out_of_bounds_is_drawn_anew_with_a_warning(seed: int) -> None:
    found, warnings = plan(parse([f"--seed={seed}"]), draw_seed=lambda: 7)
    fits = 0 <= seed < 2**32
    assert found.seed == (seed if fits else 7)
    assert bool(warnings) is not fits


def test_prompts_of_a_file_are_repeated_and_cut_into_batches(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\na dog\n", encoding="utf-8")
    found = planned(f"--from-file={file}", "--repeat=2", "--n_samples=2")
    assert found.batches == (("a cat", "a cat"), ("a dog", "a dog"))


@pytest.mark.parametrize("text", ["", "one\ntwo\n"])
def test_prompts_that_do_not_fill_the_last_batch_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="a multiple of --n_samples, which is 3"):
        planned(f"--from-file={file}")


def test_a_prompt_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.bin"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        planned(f"--from-file={file}")


@pytest.mark.parametrize(
    ("words", "announcements", "bars"),
    [
        (
            (),
            (
                "Data shape for DDIM sampling is (3, 4, 8, 16), eta 0.0",
                "Running DDIM Sampling with 50 timesteps",
            ),
            (("DDIM Sampler", 50),),
        ),
        (
            ("--plms", "--dpm"),
            (
                "Data shape for PLMS sampling is (3, 4, 8, 16)",
                "Running PLMS Sampling with 50 timesteps",
            ),
            (("PLMS Sampler", 50),),
        ),
        (
            ("--dpm",),
            ("Data shape for DPM-Solver sampling is (3, 4, 8, 16), sampling steps 50",),
            (("DPM init order", 1), ("DPM multistep", 49)),
        ),
    ],
)
def test_every_sampler_announces_itself_in_its_own_words(
    words: tuple[str, ...], announcements: tuple[str, ...], bars: tuple[tuple[str, int], ...]
) -> None:
    sampler = planned("--H=64", "--W=128", *words).sampler
    assert sampler.announcements == announcements
    assert sampler.bars == bars
