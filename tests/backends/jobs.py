"""Small jobs for the conformance suite: the stock workflow's shape, with instant commands.

The kind of a job is an environment variable, so that one document serves every case on every
backend, and goes through the same container, loop and markers as the real template. Rows are a line
of text, or pictures of the backend's engine: image servers know what to do by seed.
"""

from __future__ import annotations

from pathlib import Path

from bot.backends.base import Submission
from bot.domain.workflow.document import Workflow

KEY = bytes(range(32))
SEED = 100
FAILING_SEED = 200
"""Seed with which an image server has to fail: row 2 of a failing job."""
HELD_SEEDS = range(301, 309)
"""Seeds at which an image server has to stay at work until it is interrupted: slow jobs."""
PUBLISHER = (Path(__file__).parents[2] / "workflow_templates" / "publisher.py").read_text(
    encoding="utf-8"
)

_ROW = """
set -u
publisher() { python -c "$PUBLISHER" "$@"; }
seed=$((SEED_BASE + index - 1))
publisher mark row-start "row=$index" "seed=$seed"
if [ "$GENERATE" -eq 0 ]; then
  case "$KIND-$index" in
    slow-*) sleep 600 ;;
    failing-2) publisher mark row-failed "row=$index" rc=3; exit 0 ;;
  esac
  printf 'row %s, seed %s\\n' "$index" "$seed" > "$STORAGE_PATH/row-$index"
else
  wanted=$seed
  case "$KIND-$index" in # the sketch engine reads the seconds, image servers know the seeds
    slow-*) wanted=$((HELD_SEED + index - 1)) PAINTER_STEP_SECONDS=60 ;;
    failing-2) wanted=$FAILING_SEED PAINTER_STEP_SECONDS=unreadable ;;
  esac
  python "$TXT2IMG" --prompt='a cat' --outdir "$STORAGE_PATH/out-$index" --n_iter 1 --n_samples 1 \\
    --W 64 --H 64 --steps 2 --seed "$wanted" 2>&1 ||
    { publisher mark row-failed "row=$index" rc=3; exit 0; }
  mv "$STORAGE_PATH/out-$index/grid-0000.png" "$STORAGE_PATH/row-$index"
fi
publisher publish row-done "$STORAGE_PATH/row-$index" "row-0$index.png" "row=$index" "seed=$seed"
"""

_END = """
[ "$KIND" != dying ] || exit 3
case "$KIND" in failing) ok=$((ROWS - 1)) ;; *) ok=$ROWS ;; esac
python -c "$PUBLISHER" mark "done" "ok=$ok" "failed=$((ROWS - ok))"
"""


def submission(
    job_id: str, upload_url: str, kind: str = "quick", rows: int = 3, *, generate: bool = False
) -> Submission:
    """A job of ``kind``: quick, slow (never ends by itself), failing (row 2), dying (status 3).

    With ``generate`` the backend's engine makes the rows; slow jobs have up to 8 of them.
    """
    image = {
        "deepsquareHosted": True,
        "apptainer": True,
        "registry": "registry-1.deepsquare.run",
        "image": "library/stable-diffusion:latest",
    }
    run = {"container": image, "shell": "/bin/bash"}
    row = {"run": {**run, "resources": {"gpusPerTask": 1}, "command": _ROW}}
    loop = {"parallel": True, "range": {"begin": 1, "end": rows}, "steps": [row]}
    env = {
        "KIND": kind,
        "ROWS": str(rows),
        "GENERATE": str(int(generate)),
        "SEED_BASE": str(SEED),
        "FAILING_SEED": str(FAILING_SEED),
        "HELD_SEED": str(HELD_SEEDS.start),
        "MAC_KEY": KEY.hex(),
        "UPLOAD_URL": upload_url,
        "PUBLISHER": PUBLISHER,
    }
    document = {
        "enableLogging": True,
        "resources": {"tasks": rows, "cpusPerTask": 1, "memPerCpu": 100, "gpus": rows},
        "env": [{"key": key, "value": value} for key, value in env.items()],
        "steps": [{"name": "rows", "for": loop}, {"name": "end", "run": {**run, "command": _END}}],
    }
    return Submission(job_id, Workflow.from_dict(document))
