"""Test files, sizes, grids and repeatability of whole runs."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from bot.txt2img.arguments import parse
from bot.txt2img.engines.base import Batch, Report
from bot.txt2img.make_grid import BORDER, make_grid
from bot.txt2img.plan import plan
from bot.txt2img.run import Streams, run
from tests.unit.txt2img.conftest import Paint, ticking

FRAME = re.compile(r"DDIM Sampler:\s+(\d+)%\|.*?\|\s*(\d+)/(\d+)\s+\[")


def test_a_run_leaves_samples_a_grid_and_the_lines_of_the_original(
    paint: Paint, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    done = paint("--prompt=a cat", "--n_iter=1", f"--outdir={folder}", "--ckpt=/m/model.ckpt")
    assert done.status == 0
    assert done.out == (
        "Loading model from /m/model.ckpt\n"
        "No model installed: drawing sketches from the words of the prompt.\n"
        "Data shape for DDIM sampling is (3, 4, 8, 8), eta 0.0\n"
        "Running DDIM Sampling with 4 timesteps\n"
        f"Your samples are ready and waiting for you here: \n{folder} \n \nEnjoy.\n"
    )
    assert done.err.startswith("Global seed set to 42\n\rSampling:   0%|")
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    assert names == [
        "grid-0000.png",
        "samples/00000.png",
        "samples/00001.png",
        "samples/00002.png",
    ]
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert image.info == {}


def test_the_grid_holds_every_sample_pixel_for_pixel(paint: Paint, tmp_path: Path) -> None:
    done = paint("--n_iter=2", "--n_samples=2", "--W=128", f"--outdir={tmp_path}")
    assert done.status == 0
    with Image.open(tmp_path / "grid-0000.png") as grid:
        assert grid.size == ((128 + 2) * 2 + 2, (64 + 2) * 2 + 2)
        black = Image.new("RGB", grid.size)
        for number, (row, column) in enumerate(itertools.product(range(2), range(2))):
            left, top = 2 + column * 130, 2 + row * 66
            cell = grid.crop((left, top, left + 128, top + 64))
            with Image.open(tmp_path / "samples" / f"{number:05}.png") as sample:
                assert cell.tobytes() == sample.tobytes()
            grid.paste((0, 0, 0), (left, top, left + 128, top + 64))
        assert grid.tobytes() == black.tobytes()


@pytest.mark.parametrize(
    ("words", "columns", "rows"),
    [(("--n_rows=4",), 4, 1), (("--n_rows=3",), 3, 2), (("--n_rows=9",), 4, 1), ((), 2, 2)],
)
def test_n_rows_counts_the_pictures_of_a_grid_row(
    paint: Paint, tmp_path: Path, words: tuple[str, ...], columns: int, rows: int
) -> None:
    paint("--n_iter=2", "--n_samples=2", f"--outdir={tmp_path}", *words)
    with Image.open(tmp_path / "grid-0000.png") as grid:
        assert grid.size == (66 * columns + BORDER, 66 * rows + BORDER)


def test_a_single_picture_makes_a_grid_without_a_border(paint: Paint, tmp_path: Path) -> None:
    paint("--n_iter=1", "--n_samples=1", f"--outdir={tmp_path}")
    with Image.open(tmp_path / "grid-0000.png") as grid:
        assert grid.size == (64, 64)


def test_numbers_continue_from_the_files_that_are_there(paint: Paint, tmp_path: Path) -> None:
    for _ in range(2):
        paint("--n_iter=1", "--n_samples=2", f"--outdir={tmp_path}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "grid-0000.png",
        "grid-0001.png",
        "samples",
    ]
    assert len(list((tmp_path / "samples").iterdir())) == 4
    # The original counts whatever lies there, not only its own files.
    (tmp_path / "notes.txt").touch()
    (tmp_path / "samples" / "notes.txt").touch()
    paint("--n_iter=1", "--n_samples=1", f"--outdir={tmp_path}")
    assert (tmp_path / "samples" / "00005.png").exists()
    assert (tmp_path / "grid-0003.png").exists()


def pictures(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "samples").iterdir())]


def test_the_same_command_twice_gives_the_same_bytes(paint: Paint, tmp_path: Path) -> None:
    for name in ("first", "second"):
        paint("--prompt=a neon city", "--n_iter=2", f"--outdir={tmp_path / name}")
    first, second = pictures(tmp_path / "first"), pictures(tmp_path / "second")
    assert first == second
    assert len(set(first)) == len(first) == 6
    grids = [(tmp_path / name / "grid-0000.png").read_bytes() for name in ("first", "second")]
    assert grids[0] == grids[1]


def test_fixed_code_starts_every_iteration_from_the_same_picture(
    paint: Paint, tmp_path: Path
) -> None:
    paint("--n_iter=2", "--n_samples=2", "--fixed_code", f"--outdir={tmp_path}")
    found = pictures(tmp_path)
    assert found[:2] == found[2:]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (("--seed=8",), {}),
        (("--prompt=a dog",), {}),
        (("--steps=5",), {}),
        ((), {"NEGATIVE_PROMPT": "trees"}),
    ],
)
def test_whatever_is_asked_differently_looks_different(
    paint: Paint, tmp_path: Path, words: tuple[str, ...], environment: dict[str, str]
) -> None:
    plain = ("--prompt=a cat", "--seed=7", "--n_iter=1", "--n_samples=1")
    paint(*plain, f"--outdir={tmp_path / 'plain'}")
    paint(*plain, f"--outdir={tmp_path / 'other'}", *words, **environment)
    assert pictures(tmp_path / "plain") != pictures(tmp_path / "other")


def test_a_picture_does_not_depend_on_how_many_are_painted_with_it(
    paint: Paint, tmp_path: Path
) -> None:
    paint("--n_iter=1", "--n_samples=1", f"--outdir={tmp_path / 'one'}")
    paint("--n_iter=1", "--n_samples=3", f"--outdir={tmp_path / 'three'}")
    assert pictures(tmp_path / "three")[:1] == pictures(tmp_path / "one")


def test_a_file_of_prompts_is_painted_in_its_order(paint: Paint, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\nthe sea\na forest\na city\n", encoding="utf-8")
    folder = tmp_path / "out"
    done = paint(f"--from-file={file}", "--n_samples=2", "--n_iter=1", f"--outdir={folder}")
    assert done.status == 0
    assert f"reading prompts from {file}\n" in done.out
    assert done.out.count("Running DDIM Sampling") == 2
    assert "data: 100%|██████████| 2/2" in done.err
    paint("--prompt=the sea", "--n_samples=2", "--n_iter=1", f"--outdir={tmp_path / 'sea'}")
    assert pictures(folder)[1] == pictures(tmp_path / "sea")[1]
    assert len(pictures(folder)) == 4


def test_progress_counts_every_step_of_every_iteration(paint: Paint, tmp_path: Path) -> None:
    done = paint("--n_iter=2", "--n_samples=1", f"--outdir={tmp_path}", clock=ticking(0.5))
    counts = [(int(found[2]), int(found[3])) for found in FRAME.finditer(done.err)]
    one = [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (4, 4)]
    assert counts == one * 2


def test_the_dpm_solver_shows_two_bars_one_after_the_other(paint: Paint, tmp_path: Path) -> None:
    done = paint("--dpm", "--n_iter=1", "--n_samples=1", f"--outdir={tmp_path}")
    init, multistep = done.err.index("DPM init order: 100%"), done.err.index("DPM multistep:   0%")
    assert init < multistep
    assert "DPM multistep: 100%|██████████| 3/3" in done.err


class Hasty:
    """An engine that reports more steps than requested."""

    notice = ""

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        for _ in range(batch.steps + 3):
            step()
        return tuple(Image.new("RGB", (batch.width, batch.height)) for _ in batch.prompts)

    @property
    def report(self) -> Report:
        return Report("hasty", "", 7, None, negative=False)


def test_steps_beyond_the_announced_ones_are_not_shown(tmp_path: Path) -> None:
    words = ("--H=64", "--W=64", "--steps=4", "--n_iter=1", f"--outdir={tmp_path}")
    planned, _ = plan(parse(words), draw_seed=lambda: 0)
    streams = Streams(io.StringIO(), io.StringIO(), ticking(1.0))
    run(planned, "", Hasty(), streams)
    written = streams.err.getvalue() if isinstance(streams.err, io.StringIO) else ""
    counts = [(int(found[2]), int(found[3])) for found in FRAME.finditer(written)]
    assert counts == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (4, 4)]


def test_a_refused_run_says_why_and_writes_nothing(paint: Paint, tmp_path: Path) -> None:
    done = paint("--prompt", f"--outdir={tmp_path / 'out'}")
    assert done.status == 1
    assert done.err.startswith("txt2img: There is no prompt")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(paint: Paint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = paint(f"--outdir={tmp_path / 'file' / 'out'}")
    assert done.status == 1
    assert "cannot be written" in done.err


def test_a_seed_beyond_32_bits_is_replaced_and_said(paint: Paint, tmp_path: Path) -> None:
    done = paint("--seed=-1", "--n_iter=1", "--n_samples=1", f"--outdir={tmp_path}")
    assert done.status == 0
    warning, seed = done.err.split("\n")[:2]
    assert warning == "-1 is not in bounds, numpy accepts from 0 to 4294967295"
    assert re.fullmatch(r"Global seed set to \d+", seed)


@pytest.mark.parametrize(
    "prompt",
    [
        "-h",
        "--seed=5",
        "$(touch x) `id`",
        "../../etc",
        "\udcff\udcfe",
        "\x1b[2J\x00",
        "🦊" * 200,
        "",
    ],
)
def test_a_hostile_prompt_is_only_a_prompt(paint: Paint, tmp_path: Path, prompt: str) -> None:
    folder = tmp_path / "out"
    done = paint(f"--prompt={prompt}", "--n_iter=1", "--n_samples=1", f"--outdir={folder}")
    assert done.status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert "seed set to 42" in done.err


def test_a_sheet_is_filled_in_reading_order() -> None:
    colors = [(10 * number, 0, 0) for number in range(1, 6)]
    sheet = make_grid([Image.new("RGB", (4, 3), color) for color in colors], 2)
    assert sheet.size == (14, 17)
    seen = [sheet.getpixel((2 + 6 * (n % 2), 2 + 5 * (n // 2))) for n in range(5)]
    assert seen == colors
    empty = sheet.crop((8, 12, 14, 17))
    assert ImageChops.difference(empty, Image.new("RGB", empty.size)).getbbox() is None
