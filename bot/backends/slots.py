"""Old path of ``task_slots.py``: rendered scripts of the release before run this file."""

from __future__ import annotations

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).with_name("task_slots.py")), run_name="__main__")
