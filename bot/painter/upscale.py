"""Old module path of bot.txt2img.upscale: rendered scripts of the release before call it."""

from __future__ import annotations

import runpy

runpy.run_module("bot.txt2img.upscale", run_name="__main__", alter_sys=True)
