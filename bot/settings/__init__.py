"""The operator's settings, read once at the start into one frozen value.

config.toml and the environment go in, checked sections come out. What the bot does with them is
not known here; of the bot only ``bot.domain`` is.
"""

from __future__ import annotations

from bot.settings.settings import BackendOptions, EffectiveSetting, Settings

__all__ = ["BackendOptions", "EffectiveSetting", "Settings"]
