"""The stock workflow with a model's settings and files: what Stability's script is started with."""

from __future__ import annotations

import hashlib
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.events import (
    Failed,
    FailureReason,
    Finished,
    RowFailed,
    RowPainted,
    RowReady,
    RowStarted,
)
from bot.domain.image_engine import GenerationInfo, script_steps
from bot.domain.log_parser import LogOutput
from bot.domain.resources import DEFAULT_RESOURCES
from bot.domain.workflow.template import WorkflowModel, render
from tests.stock_jobs import FOLDER, Done, carry_out, load, request, ticket
from tests.test_template_jobs import STOCK, TXT2IMG

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)

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
