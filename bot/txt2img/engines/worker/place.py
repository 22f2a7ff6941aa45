"""Find the worker of a device: its socket, and the files beside that.

    NAME         the socket           NAME.lock   held by the worker while it lives
    NAME.start   held while a run starts the worker
    NAME.log     what the worker prints            hashes.json   sha256 of model files

The folder is the owner's alone (0700): whoever can write to it could answer in the worker's place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from bot.txt2img.engines.worker.protocol import VERSION
from bot.txt2img.plan import UsageError

PER_JOB = "job"
"""As the configured socket: a folder on the node for each Slurm job."""

_MAX_PATH_BYTES = 100  # of 108, with the terminating zero; macOS has 104
_GPU_VARIABLES = (
    # Slurm's own number of the GPU: with cgroups each step calls its first GPU 0.
    *("SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
)


def socket_path(configured: str, environment: Mapping[str, str], device: str) -> Path:
    """Return the path of the worker's socket for the device that this process may use."""
    if configured == PER_JOB:
        job = re.sub(r"\W", "-", environment.get("SLURM_JOB_ID") or "none")
        folder = Path(environment.get("TMPDIR") or "/tmp") / f"gridbrush-{os.getuid()}-{job}"  # noqa: S108
        base = folder / "worker.sock"
    else:
        base = Path(configured)
    name = "cpu"
    if device == "cuda":
        gpus = next(filter(None, (environment.get(key) for key in _GPU_VARIABLES)), "all")
        name = "gpu-" + re.sub(r"[^\w]", "-", gpus)
        if len(name) > 20:
            # GPUs may be named by long identifiers.
            name = "gpu-" + hashlib.sha256(gpus.encode()).hexdigest()[:8]
    return base.with_name(f"{base.stem}-{name}-{VERSION}{base.suffix}")


def prepare_folder(folder: Path) -> None:
    """Create the folder for its owner alone, or check that it is. Raises UsageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UsageError(f"the worker's folder {folder} cannot be made: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(
            f"the worker's folder {folder} must be a folder that only its owner may use (0700)."
        )


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a name of the path that is short enough for a socket. Raises UsageError, OSError."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir() or len(os.fsencode(path.name)) > _MAX_PATH_BYTES // 2:
        raise UsageError(f"the path of the worker's socket is too long: {path}")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
