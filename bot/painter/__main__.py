"""Run bot.txt2img by its old name, which scripts of running jobs call."""

from __future__ import annotations

import runpy

runpy.run_module("bot.txt2img", run_name="__main__", alter_sys=True)
