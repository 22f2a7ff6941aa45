"""Old module path of bot.txt2img: rendered scripts of the release before call it. Goes with the next release."""

from __future__ import annotations

import runpy

runpy.run_module("bot.txt2img", run_name="__main__", alter_sys=True)
