"""Load and validate the settings from config.toml and the environment into one frozen value."""

from __future__ import annotations

from bot.settings.settings import BackendOptions, EffectiveSetting, Settings

__all__ = ["BackendOptions", "EffectiveSetting", "Settings"]
