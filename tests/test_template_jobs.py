"""The stock templates, really run, with painters of a few lines."""

from __future__ import annotations

import hashlib
import io
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.domain.events import (
    Failed,
    FailureReason,
    Finished,
    GridReady,
    RowFailed,
    RowPainted,
    RowReady,
    RowStarted,
)
from bot.domain.image_engine import GenerationInfo, script_steps
from bot.domain.log_parser import LogOutput
from bot.domain.request import Request
from bot.domain.resources import DEFAULT_RESOURCES
from bot.domain.workflow.template import WorkflowModel, render
from tests.stock_jobs import (
    FOLDER,
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


# What Stability's DDIM does with the number of steps before it paints.
SAMPLER = """
parser.add_argument("--ckpt")
parser.add_argument("--config")
parser.add_argument("--scale", type=float, default=9.0)
parser.add_argument("--plms", action="store_true")
parser.add_argument("--dpm", action="store_true")
opt = parser.parse_args()
moments = [moment + 1 for moment in range(0, 1000, 1000 // opt.steps)]
if opt.dpm:
    moments = range(opt.steps)
else:
    [0.5 for _ in range(1000)][moments[-1]]
assert os.path.exists(opt.ckpt) and os.path.exists(opt.config)
# Its default on a processor is bfloat16, and its watermark needs so many pixels.
assert opt.device != "cpu" or opt.precision == "full"
assert opt.W * opt.H >= 256 * 256, "image too small, should be larger than 256x256"
print("really ran", len(moments), "steps")
print("sampler", "plms" * opt.plms + "dpm" * opt.dpm, "scale", opt.scale)
print("loaded", open(opt.ckpt).read(), "with", open(opt.config).read())
"""


@pytest.mark.parametrize(
    ("device", "steps", "done", "ran"),
    [
        *(("cpu", 1, 1, 1), ("cpu", 3, 2, 2), ("cpu", 27, 26, 27), ("cuda", 28, 28, 29)),
        *(("cpu", 37, 35, 36), ("cuda", 50, 50, 50), ("cpu", 60, 60, 63), ("cpu", 110, 100, 100)),
        *(("cuda", 150, 150, 167), ("cpu", 334, 334, 500), ("cuda", 1000, 500, 500)),
    ],
)
def test_the_stock_script_gets_what_it_can_do_and_its_steps_are_counted(
    tmp_path: Path, device: str, steps: int, done: int, ran: int
) -> None:
    job = by_stock_script(tmp_path, (256, 256), steps, device)
    assert job.row(1)[3] == str(done)
    assert LogOutput(1, f"really ran {ran} steps") in job.parsed
    generation = GenerationInfo("stable-diffusion", "no-such-model", ran, "9", True, "ddim")
    assert job.all(RowPainted) == [RowPainted(1, generation)]
    assert script_steps(steps) == ran
    assert job.code == 0


@pytest.mark.parametrize(
    ("size", "succeeds"),
    [((256, 256), True), ((128, 512), True), ((192, 320), False), ((64, 64), False)],
)
def test_a_picture_that_is_too_small_for_the_stock_script_is_not_begun(
    tmp_path: Path, size: tuple[int, int], succeeds: bool
) -> None:
    job = by_stock_script(tmp_path, size, 5, "cpu")
    said = LogOutput(1, "not supported here: a picture under 256 x 256 pixels")
    assert (said in job.parsed) is not succeeds
    assert (job.all(RowFailed) == [RowFailed(1, 65)]) is not succeeds
    assert (len(job.all(RowReady)) == 1) is succeeds


@pytest.mark.parametrize(
    ("model", "steps", "ran", "said", "painted"),
    [
        (WorkflowModel(guidance=7.5, sampler="ddim"), 27, 27, "sampler  scale 7.5", ("7.5", True)),
        # The script does not use the negative prompt then.
        (
            WorkflowModel(guidance=1.0, sampler="plms"),
            27,
            27,
            "sampler plms scale 1.0",
            ("1", False),
        ),
        (WorkflowModel(sampler="dpm"), 27, 27, "sampler dpm scale 9.0", ("9", True)),
        (WorkflowModel(name="no-such-model"), 30, 31, "loaded weights with v", ("9", True)),
    ],
)
def test_the_models_own_settings_reach_the_stock_script(
    tmp_path: Path,
    model: WorkflowModel,
    steps: int,
    ran: int,
    said: str,
    painted: tuple[str, bool],
) -> None:
    job = by_stock_script(tmp_path, (256, 256), steps, "cpu", model=model)
    assert LogOutput(1, said) in job.parsed
    sampler = model.sampler or "ddim"
    info = GenerationInfo("stable-diffusion", "no-such-model", ran, *painted, sampler)
    assert job.all(RowPainted) == [RowPainted(1, info)]


def test_a_sampler_that_the_stock_script_does_not_have_is_named(tmp_path: Path) -> None:
    model = WorkflowModel(sampler="euler_a")
    job = by_stock_script(tmp_path, (256, 256), 30, "cpu", model=model)
    assert LogOutput(1, "not supported here: the sampler euler_a") in job.parsed
    assert job.all(RowFailed) == [RowFailed(1, 65)]


def test_without_a_gpu_the_stock_script_runs_on_the_processor(tmp_path: Path) -> None:
    job = by_stock_script(tmp_path, (256, 256), 5, "cuda", gpus=0)
    assert job.row(1)[6] == "cpu"
    assert job.code == 0


OWN_URL = "https://example.org/mine.ckpt?token=secret"


def own_model(content: bytes, url: str = OWN_URL) -> WorkflowModel:
    return WorkflowModel(url=url, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("files", "config"),
    [
        # A single file, under the name that wget gives it.
        ({"mine.ckpt?token=secret": "own weights"}, "base"),
        # An archive, which the platform unpacks and leaves there.
        ({"mine.tar": "…", "mine/m.ckpt": "own weights", "mine/config.yaml": "own"}, "own"),
        # A checkpoint is a ZIP file: its parts lie beside it.
        ({"mine.ckpt": "own weights", "archive/data/0": "0", "archive/data/1": "1"}, "base"),
    ],
)
def test_an_own_model_is_found_in_what_the_platform_downloaded(
    tmp_path: Path, files: dict[str, str], config: str
) -> None:
    for name, text in files.items():
        place = tmp_path / "scratch" / "input" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    job = by_stock_script(tmp_path, (256, 256), 5, "cpu", model=own_model(b"own weights"))
    assert LogOutput(1, f"loaded own weights with {config}") in job.parsed
    assert job.all(Finished) == [Finished(1, 0)]
    (made,) = (item for item in job.parsed if isinstance(item, RowPainted))
    assert made.generation.model_sha256 == hashlib.sha256(b"own weights").hexdigest()
    assert not (tmp_path / "caches" / "models").exists()


_HEADER = b'{"lora_unet.alpha":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'
LORA = len(_HEADER).to_bytes(8, "little") + _HEADER + bytes(4)
BROKEN = bytes([2, *bytes(7)]) + b"{{"


@pytest.mark.parametrize(
    ("arrived", "chosen", "what", "why"),
    [
        (b"other weights", b"own weights", "is not the one that was chosen", "downloaded instead"),
        (None, b"own weights", "could not be downloaded", "FileNotFoundError"),
        (LORA, LORA, "is not a whole model", "a LoRA is none"),
        (BROKEN, BROKEN, "cannot be read", "JSONDecodeError"),
    ],
)
@pytest.mark.parametrize("by_platform", [True, False])
def test_a_model_that_is_not_the_chosen_one_fails_the_job_before_a_row_starts(
    tmp_path: Path, by_platform: bool, arrived: bytes | None, chosen: bytes, what: str, why: str
) -> None:
    source = tmp_path / ("scratch/input/mine" if by_platform else "mine")
    source.parent.mkdir(parents=True, exist_ok=True)
    if arrived is not None:
        source.write_bytes(arrived)
    model = own_model(chosen, (tmp_path / "mine").as_uri())
    job = by_stock_script(tmp_path, (256, 256), 5, "cpu", model=model)
    (failed,) = (item for item in job.parsed if isinstance(item, Failed))
    assert failed.cause is FailureReason.MODEL_MISSING
    assert f"The model no-such-model cannot be used: its file {what}." in failed.message
    assert job.code == 1
    assert not any(isinstance(item, RowStarted) for item in job.parsed)
    assert why in job.log
    cached = list((tmp_path / "caches").glob("models/*[!k]"))
    assert [path.read_bytes() for path in cached] == (
        [] if by_platform or arrived != chosen else [chosen]
    )


def test_elsewhere_an_own_model_is_downloaded_once_for_all_jobs_and_rows(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_text("own weights")
    url = (tmp_path / "mine.safetensors").as_uri()
    model = own_model(b"own weights", url)
    job = by_stock_script(tmp_path, (256, 256), 5, "cpu", model=model, rows=3)
    assert job.all(Finished) == [Finished(3, 0)]
    assert job.log.count("downloading the model, once") == 1
    (tmp_path / "mine.safetensors").unlink()
    job = by_stock_script(tmp_path, (256, 256), 5, "cpu", model=model)
    assert LogOutput(1, "loaded own weights with base") in job.parsed
    assert "downloading" not in job.log
    assert (tmp_path / "caches" / "models" / model.file).read_text() == "own weights"


def test_a_safetensors_file_is_converted_for_the_stock_script(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    publisher = runpy.run_path(str(FOLDER / "publisher.py"))
    weights = {
        "model.diffusion_model.a": torch.arange(6, dtype=torch.float16).reshape(2, 3),
        "first_stage_model.b": torch.tensor(7, dtype=torch.int64),
        "cond_stage_model.c": torch.ones(3, dtype=torch.bfloat16),
    }
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(weights, tmp_path / "mine.safetensors", metadata={"format": "pt"})
    publisher["convert"](str(tmp_path / "mine.safetensors"), str(tmp_path / "model.ckpt"))
    loaded = torch.load(tmp_path / "model.ckpt", map_location="cpu")["state_dict"]
    assert loaded.keys() == weights.keys()
    for name, tensor in weights.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def by_stock_script(
    tmp_path: Path,
    size: tuple[int, int],
    steps: int,
    device: str,
    *,
    model: WorkflowModel = WorkflowModel(),  # noqa: B008 - frozen
    gpus: int = 1,
    rows: int = 1,
) -> Done:
    script = tmp_path / "stablediffusion" / "scripts" / "txt2img.py"
    hosted = tmp_path / "models" / "no-such-model"
    configs = tmp_path / "stablediffusion" / "configs" / "stable-diffusion"
    for folder in (script.parent, hosted, configs):
        folder.mkdir(parents=True, exist_ok=True)
    (configs / "v2-inference.yaml").write_text("base")
    script_text = TXT2IMG.replace("opt = parser.parse_args()", SAMPLER).replace(
        "CONDITIONING", STOCK
    )
    script.write_text(script_text.replace("FAILING", "()").replace("EMPTY", "()"))
    (hosted / "model.ckpt").write_text("weights")
    (hosted / "config.yaml").write_text("v")
    where = replace(
        ticket((tmp_path / "published").as_uri()),
        model=model,
        resources=DEFAULT_RESOURCES.override(gpus_per_task=gpus),
    )
    asked = replace(request(rows=rows), steps=steps, width=size[0], height=size[1])
    workflow = render(load("stable-diffusion.yaml", tmp_path), asked, where)
    return carry_out(workflow, tmp_path, DEVICE=device)


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
