"""Run a resident worker: ``python -m bot.txt2img.engines.worker SOCKET [UNTIL]``.

Runs start it: :mod:`bot.txt2img.engines.worker.client`. It ends by itself, at once if another
worker serves the socket. ``UNTIL`` is the ``STORAGE_PATH`` of a job: the worker ends with it, and
removes the folder of its socket.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from bot.txt2img.engines.worker.loading import device_bytes, estimate_bytes, load_engine
from bot.txt2img.engines.worker.model_cache import ModelCache
from bot.txt2img.engines.worker.process import serve
from bot.txt2img.engines.worker.server import WorkerServer, is_over


def _main(arguments: list[str]) -> int:
    path = Path(arguments[0])
    until = Path(arguments[1]) if len(arguments) > 1 else None

    def make() -> WorkerServer:
        hashes = path.with_name("hashes.json")
        cache = ModelCache(lambda spec: load_engine(spec, hashes), estimate_bytes, time.monotonic)
        return WorkerServer(cache, time.monotonic, device_bytes, until)

    status = serve(path, make)
    if until is not None and is_over(until):
        shutil.rmtree(path.parent, ignore_errors=True)
    return status


if __name__ == "__main__":
    status = _main(sys.argv[1:])
    sys.stderr.flush()
    # Not a normal exit: that waits for a model which is being loaded.
    os._exit(status)
