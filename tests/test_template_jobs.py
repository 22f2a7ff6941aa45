"""The stock templates, really run, with painters of a few lines."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from bot.domain.events import (
    Failed,
    Finished,
    GridReady,
    RowFailed,
    RowPainted,
    RowReady,
    RowStarted,
)
from bot.domain.image_engine import GenerationInfo
from bot.domain.log_parser import LogOutput
from bot.domain.request import Request
from bot.domain.workflow.template import render
from tests.stock_jobs import (
    KEY,
    SEED,
    Done,
    carry_out,
    load,
    request,
    ticket,
    upscaling,
)

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)

# The one relevant line is that of Stability's own script.
TXT2IMG = """
import argparse, os, sys

class Model:
    def get_learned_conditioning(self, texts):
        return texts

parser = argparse.ArgumentParser()
parser.add_argument("--prompt", nargs="?")
parser.add_argument("--outdir")
for name in ("n_iter", "n_samples", "steps", "W", "H", "seed"):
    parser.add_argument("--" + name, type=int, required=True)
parser.add_argument("--device")
parser.add_argument("--precision", choices=["full", "autocast"], default="autocast")
opt = parser.parse_args()
model = Model()
batch_size = opt.n_samples
CONDITIONING
if opt.seed in FAILING:
    sys.exit(3)
os.makedirs(opt.outdir)
if opt.seed not in EMPTY:
    with open(os.path.join(opt.outdir, "grid-0000.png"), "w") as picture:
        print(opt.prompt, opt.seed, uc, opt.steps, opt.W, opt.H, opt.device, sep="|", file=picture)
"""
STOCK = 'uc = model.get_learned_conditioning(batch_size * [""])'


def paint(
    folder: Path,
    asked: Request,
    *,
    conditioning: str = STOCK,
    failing: tuple[int, ...] = (),
    empty: tuple[int, ...] = (),
    upload: str = "",
) -> Done:
    script_text = TXT2IMG.replace("CONDITIONING", conditioning)
    script_text = script_text.replace("FAILING", repr(failing)).replace("EMPTY", repr(empty))
    (folder / "painter.py").write_text(script_text)
    where = ticket(upload or (folder / "published").as_uri())
    workflow = render(load("stable-diffusion.yaml"), asked, where)
    return carry_out(workflow, folder, TXT2IMG=str(folder / "painter.py"))


def test_each_row_is_painted_with_its_own_seed_and_published(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=3, prompt="--seed=5"))
    starts = {item.row: item.seed for item in done.parsed if isinstance(item, RowStarted)}
    ready = {item.row: item for item in done.parsed if isinstance(item, RowReady)}
    assert starts == {1: SEED, 2: SEED + 1, 3: SEED + 2}
    assert {row: item.seed for row, item in ready.items()} == starts
    for row, seed in starts.items():
        assert done.row(row) == ["--seed=5", str(seed), "['', '']", "5", "64", "128", "cpu"]
        file = (done.published / f"row-{row:02d}.png").read_bytes()
        artifact = ready[row].artifact
        assert artifact.url == (done.published / f"row-{row:02d}.png").as_uri()
        assert (artifact.size, artifact.sha256) == (len(file), hashlib.sha256(file).hexdigest())
    assert done.parsed[-2] == Finished(3, 0)
    assert done.code == 0


def test_the_log_never_holds_the_prompt_or_the_key(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=1, prompt="a secret cat", negative="a secret dog"))
    assert "secret" not in done.log
    assert KEY.hex() not in done.log
    assert done.code == 0


def test_a_failed_row_and_one_without_a_picture_leave_the_others_alone(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=3), failing=(SEED,), empty=(SEED + 2,))
    failed = sorted((item.row, item.code) for item in done.parsed if isinstance(item, RowFailed))
    assert failed == [(1, 3), (3, 74)]
    assert [item.row for item in done.parsed if isinstance(item, RowReady)] == [2]
    assert done.all(Finished) == [Finished(1, 2)]
    assert done.code == 0


def test_rows_that_cannot_be_published_have_failed(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=2), upload="file:///dev/null/published")
    assert done.all(RowReady) == []
    assert sorted(str(item) for item in done.all(RowFailed)) == [
        "RowFailed(row=1, code=75)",
        "RowFailed(row=2, code=75)",
    ]
    assert done.all(Finished) == [Finished(0, 2)]
    assert done.code == 1


HOSTILE = """it's "ugly" \\ $(touch owned) `x` & | / é 😀"""


def test_a_copy_of_the_stock_script_guides_away_from_the_negative_prompt(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=1, negative=HOSTILE))
    assert done.code == 0
    assert (done.published / "row-01.png").read_text().strip() == "|".join(
        ("a cat", str(SEED), str([HOSTILE, HOSTILE]), "5", "64", "128", "cpu")
    )
    assert STOCK in (tmp_path / "painter.py").read_text()


def test_a_script_that_reads_the_negative_prompt_itself_is_left_as_it_is(tmp_path: Path) -> None:
    own = f'{STOCK} + ["own: " + os.environ["NEGATIVE_PROMPT"]]'
    done = paint(tmp_path, request(rows=1, negative="trees"), conditioning=own)
    assert done.row(1)[2] == str(["", "", "own: trees"])


def test_without_a_negative_prompt_any_script_will_do(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=1), conditioning="uc = None")
    assert (done.code, done.row(1)[2]) == (0, "None")


def test_a_script_that_cannot_take_a_negative_prompt_fails_its_rows(tmp_path: Path) -> None:
    done = paint(tmp_path, request(rows=1, negative="trees"), conditioning="uc = None")
    assert LogOutput(1, "not supported here: negative prompt") in done.parsed
    assert done.all(RowFailed) == [RowFailed(1, 65)]
    assert done.all(Finished) == [Finished(0, 1)]
    assert done.code == 1


@pytest.mark.parametrize(
    ("report", "generation"),
    [
        ("", None),
        ("engine=own\nsteps=7\nnegative=0\n", GenerationInfo("own", "", 7, "", negative=False)),
        (
            "engine=own\nmodel=a \\ 'model' $(x)\nsteps=7\nguidance=3.5\nnegative=1\n",
            GenerationInfo("own", "a \\ 'model' $(x)", 7, "3.5", negative=True),
        ),
        (
            f"engine=own\nmodel=m\nsteps=7\nsampler=DPM++ 2M\nsha256={'ab' * 32}\nnegative=1\n",
            GenerationInfo("own", "m", 7, sampler="DPM++ 2M", model_sha256="ab" * 32),
        ),
        ("rubbish\n", None),
        ("engine=own\n", None),
    ],
)
def test_a_program_in_the_script_s_stead_says_what_painted_or_nothing(
    tmp_path: Path, report: str, generation: GenerationInfo | None
) -> None:
    own = f'uc = [""]\nopen(os.environ["PAINTER_REPORT"], "w").write({report!r})'
    done = paint(tmp_path, request(rows=1), conditioning=own)
    assert done.all(RowPainted) == ([] if generation is None else [RowPainted(1, generation)])
    assert len(done.all(RowReady)) == 1


@pytest.mark.skipif(Path("/models").exists(), reason="this machine has the platform's models")
def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    where = ticket((tmp_path / "published").as_uri())
    workflow = render(load("stable-diffusion.yaml"), request(rows=2), where)
    done = carry_out(workflow, tmp_path)
    failures = [item for item in done.parsed if isinstance(item, Failed)]
    assert len(failures) == 1
    assert "no-such-model" in failures[0].message
    assert sorted(str(item) for item in done.all(RowFailed)) == [
        "RowFailed(row=1, code=66)",
        "RowFailed(row=2, code=66)",
    ]
    assert done.code == 1


def test_a_real_pictures_rows_come_back_as_one_grid(tmp_path: Path) -> None:
    (tmp_path / "painter.py").write_text(
        "import os, sys\n"
        "from PIL import Image\n"
        "given = dict(zip(sys.argv[1:], sys.argv[2:]))\n"
        "os.makedirs(given['--outdir'])\n"
        "size = (int(given['--W']) * int(given['--n_samples']), int(given['--H']))\n"
        "color = (int(given['--seed']) - 1000, 0, 0)\n"
        "Image.new('RGB', size, color).save(given['--outdir'] + '/grid-0000.png')\n"
    )
    where = ticket((tmp_path / "published").as_uri())
    workflow = render(load("stable-diffusion.yaml"), request(rows=3), where)
    done = carry_out(workflow, tmp_path, TXT2IMG=str(tmp_path / "painter.py"))
    (grid,) = (item for item in done.parsed if isinstance(item, GridReady))
    assert grid.rows == 3
    with Image.open(done.published / "grid.png") as picture:
        assert picture.size == (128, 3 * 128)
        assert [picture.getpixel((5, 128 * row + 5)) for row in range(3)] == [
            (row, 0, 0) for row in range(3)
        ]
    assert done.code == 0


# One picture, four times larger.

UPSCALER = """#!/bin/sh
echo 'Testing 0 picture'
[ -z "$BROKEN" ] || exit 9
cp "$1/picture.png" output_frames/picture_out.png
"""


def enlarge(folder: Path, sha256: str = "", box: str = "", **variables: str) -> Done:
    upscaler = folder / "upscaler"
    upscaler.write_text(UPSCALER)
    upscaler.chmod(0o755)
    source = io.BytesIO()
    Image.new("RGB", (8, 4), (1, 2, 3)).save(source, "PNG")
    (folder / "input.png").write_bytes(source.getvalue())
    workflow = upscaling(
        (folder / "published").as_uri(),
        input_url=(folder / "input.png").as_uri(),
        input_sha256=sha256 or hashlib.sha256(source.getvalue()).hexdigest(),
        input_box=box,
    )
    return carry_out(workflow, folder, UPSCALE=str(upscaler), **variables)


def test_the_cut_out_picture_is_upscaled_and_published(tmp_path: Path) -> None:
    done = enlarge(tmp_path, box="4,0,8,4")
    (ready,) = (item for item in done.parsed if isinstance(item, RowReady))
    assert (ready.row, ready.seed) == (1, SEED)
    with Image.open(done.published / "upscaled.png") as picture:
        assert picture.size == (4, 4)
    assert LogOutput(1, "Testing 0 picture") in done.parsed
    assert done.all(Finished) == [Finished(1, 0)]
    assert done.code == 0


def test_without_a_box_the_whole_file_is_upscaled(tmp_path: Path) -> None:
    done = enlarge(tmp_path)
    with Image.open(done.published / "upscaled.png") as picture:
        assert picture.size == (8, 4)
    assert done.code == 0


@pytest.mark.parametrize(
    ("sha256", "box", "broken", "code"),
    [("0" * 64, "", "", 66), ("", "not,a,box", "", 65), ("", "", "yes", 9)],
)
def test_a_failed_upscaling_says_where_it_failed(
    tmp_path: Path, sha256: str, box: str, broken: str, code: int
) -> None:
    done = enlarge(tmp_path, sha256, box, BROKEN=broken)
    assert done.all(RowFailed) == [RowFailed(1, code)]
    assert done.all(Finished) == [Finished(0, 1)]
    assert done.code == 1
