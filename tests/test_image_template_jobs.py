"""The stock template that starts from a picture, really run, on the command line of the script.

The stand-in has every option of Stability's ``scripts/img2img.py`` and no other, imports from its
repository as that does, and makes of the number of steps what its DDIM makes.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.domain.events import Failed, FailureReason, Finished, RowFailed, RowPainted, RowStarted
from bot.domain.image_engine import GenerationInfo
from bot.domain.log_parser import LogOutput
from bot.domain.resources import DEFAULT_RESOURCES
from bot.domain.workflow.template import WorkflowModel
from tests.stock_jobs import KEY, SEED, Done, carry_out, request, ticket, varying

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)

IMG2IMG = """\
import argparse, os
from PIL import Image
from scripts.txt2img import put_watermark

class Model:
    device = "cpu"
    def cuda(self):
        self.device = "cuda"
    def cpu(self):
        self.device = "cpu"
    def get_learned_conditioning(self, texts):
        return texts

def DDIMSampler(model, device="cuda"):
    assert model.device == device, "a sampler on another device"
    return device

parser = argparse.ArgumentParser()
parser.add_argument("--prompt", type=str, nargs="?")
parser.add_argument("--init-img", type=str, nargs="?")
parser.add_argument("--outdir", type=str, nargs="?")
parser.add_argument("--ddim_steps", type=int, default=50)
parser.add_argument("--fixed_code", action="store_true")
parser.add_argument("--ddim_eta", type=float, default=0.0)
for name, value in (("n_iter", 1), ("C", 4), ("f", 8), ("n_samples", 1), ("n_rows", 0)):
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--scale", type=float, default=9.0)
parser.add_argument("--strength", type=float, default=0.8)
parser.add_argument("--from-file", type=str)
parser.add_argument("--config", type=str)
parser.add_argument("--ckpt", type=str)
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--precision", choices=["full", "autocast"], default="autocast")
opt = parser.parse_args()
model = Model()
model.cuda()
device = model.device
sampler = DDIMSampler(model)
assert (device == "cuda") == (opt.precision == "autocast")
batch_size = opt.n_samples
if opt.from_file:
    data = open(opt.from_file).read().splitlines()
    data = [tuple(data[at:at + batch_size]) for at in range(0, len(data), batch_size)]
else:
    data = [batch_size * [opt.prompt]]
assert [len(prompts) for prompts in data] == [batch_size]
image = Image.open(opt.init_img)
moments = [moment + 1 for moment in range(0, 1000, 1000 // opt.ddim_steps)]
assert moments[-1] < 1000, "past the last moment"
t_enc = int(opt.strength * opt.ddim_steps)
moments[:t_enc][-1]
uc = None
if opt.scale != 1.0:
    uc = model.get_learned_conditioning(batch_size * [""])
if opt.seed == 1001:
    raise SystemExit(3)
os.makedirs(opt.outdir)
told = [data[0][0], opt.seed, image.size, opt.strength, opt.ddim_steps, t_enc, uc, opt.scale]
told += [device, open(opt.ckpt).read(), open(opt.config).read()]
with open(os.path.join(opt.outdir, "grid-0000.png"), "w") as picture:
    print(*told, sep="|", file=picture)
"""


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.png"
    Image.new("RGB", (256, 256), "red").save(path)
    return path


def by_stock_script(
    tmp_path: Path,
    start: Path,
    *,
    steps: int = 50,
    strength: float = 0.5,
    device: str = "cpu",
    rows: int = 1,
    negative: str = "",
    prompt: str = "a cat",
    size: int = 256,
    model: WorkflowModel = WorkflowModel(),  # noqa: B008 - frozen
    **where: str,
) -> Done:
    script = tmp_path / "stablediffusion" / "scripts" / "img2img.py"
    hosted = tmp_path / "models" / "no-such-model"
    configs = tmp_path / "stablediffusion" / "configs" / "stable-diffusion"
    for folder in (script.parent, hosted, configs):
        folder.mkdir(parents=True, exist_ok=True)
    (configs / "v2-inference.yaml").write_text("base")
    script.write_text(IMG2IMG)
    (script.parent / "txt2img.py").write_text("put_watermark = None\n")
    (hosted / "model.ckpt").write_text("weights")
    context = replace(
        ticket((tmp_path / "published").as_uri(), **where),
        model=model,
        resources=DEFAULT_RESOURCES.override(gpus_per_task=0 if device == "cpu" else 1),
    )
    asked = replace(request(rows, 2, prompt, negative), steps=steps, width=size, height=size)
    workflow = varying(asked, start, context, strength=strength, image=tmp_path)
    return carry_out(workflow, tmp_path, DEVICE=device)


HOSTILE = """it's "ugly" \\ $(touch owned) `x` & / é 😀 --seed=5"""


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_script_gets_the_picture_and_what_else_it_takes(
    tmp_path: Path, start: Path, device: str
) -> None:
    done = by_stock_script(
        tmp_path, start, device=device, rows=2, negative=HOSTILE, prompt=HOSTILE, strength=0.35
    )
    # Row 2 has the seed with which the stand-in fails: the other one is published all the same.
    assert done.row(1) == [
        *(HOSTILE, str(SEED), "(256, 256)", "0.35", "50", "17", str([HOSTILE] * 2), "9.0"),
        *(device, "weights", "base"),
    ]
    assert done.all(RowFailed) == [RowFailed(2, 3)]
    assert done.all(Finished) == [Finished(1, 1)]
    engine = GenerationInfo("stable-diffusion", "no-such-model", 17, "9", sampler="ddim")
    assert done.all(RowPainted) == [RowPainted(1, engine)]
    assert "ugly" not in done.log
    assert KEY.hex() not in done.log


@pytest.mark.parametrize(
    ("steps", "strength", "asked", "ran"),
    [(37, 1.0, "35", "34"), (3, 0.6, "2", "1")],
)
def test_any_number_of_steps_and_strength_works(
    tmp_path: Path, start: Path, steps: int, strength: float, asked: str, ran: str
) -> None:
    done = by_stock_script(tmp_path, start, steps=steps, strength=strength)
    assert done.row(1)[4:6] == [asked, ran]
    assert done.all(RowPainted)[0].generation.steps == int(ran)  # type: ignore[union-attr]


def test_the_model_s_guidance_is_used_and_its_sampler_is_ddim(tmp_path: Path, start: Path) -> None:
    model = WorkflowModel(guidance=1.0, sampler="dpm")
    done = by_stock_script(tmp_path, start, model=model)
    assert done.row(1)[6:8] == ["None", "1.0"]
    (painted,) = done.all(RowPainted)
    assert painted.generation.sampler == "ddim"  # type: ignore[union-attr]
    assert not painted.generation.negative  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "said", "code"),
    [
        ({"steps": 1, "strength": 0.5}, "a strength of less than one step", 65),
        ({"size": 192}, "a picture under 256 x 256 pixels", 65),
        ({"model": WorkflowModel(sampler="euler")}, "the sampler euler", 65),
    ],
)
def test_what_the_script_would_fail_at_the_very_end_is_said_at_once(
    tmp_path: Path, start: Path, changes: dict[str, object], said: str, code: int
) -> None:
    done = by_stock_script(tmp_path, start, **changes)  # type: ignore[arg-type]
    assert LogOutput(1, f"not supported here: {said}") in done.parsed
    assert done.all(RowFailed) == [RowFailed(1, code)]


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Files, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.mark.parametrize(
    ("way", "arrives", "what"),
    [
        ("http", "it", ""),
        ("platform", "it", ""),
        ("platform", "another", "is not the one that was chosen"),
        ("http", "nothing", "could not be downloaded"),
    ],
)
def test_the_picture_is_checked_before_a_row_starts(
    tmp_path: Path, start: Path, server: str, way: str, arrives: str, what: str
) -> None:
    name = "start.png" if arrives == "it" else f"{arrives}.png"
    Image.new("RGB", (256, 256), "blue").save(tmp_path / "another.png")
    if way == "platform" and arrives != "nothing":
        arrived = tmp_path / "scratch" / "input" / "any.png"
        arrived.parent.mkdir(parents=True)
        arrived.write_bytes((tmp_path / name).read_bytes())
        name = "nothing.png"
    base = tmp_path.as_uri() if way == "file" else server
    own = b"own weights"
    (tmp_path / "mine.ckpt").write_bytes(own)
    model = WorkflowModel(
        url=(tmp_path / "mine.ckpt").as_uri(), sha256=hashlib.sha256(own).hexdigest()
    )
    done = by_stock_script(tmp_path, start, model=model, input_url=f"{base}/{name}")
    if not what:
        # A model with a URL comes another way, even where the platform brings the picture.
        assert done.row(1)[9] == "own weights"
        assert done.all(Finished) == [Finished(1, 0)]
        return
    (failed,) = done.all(Failed)
    assert failed.cause is FailureReason.FILES_MISSING  # type: ignore[union-attr]
    assert f"The picture to start from {what}." in str(failed)
    assert not done.all(RowStarted)
    assert done.code == 1
