"""Old path of ``task_slots.py``, which scripts of running jobs of the previous release call."""

from __future__ import annotations

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).with_name("task_slots.py")), run_name="__main__")
