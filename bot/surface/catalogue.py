"""Finds the commands: every module of ``bot.surface.commands`` is asked to build its own.

Knows no command by name, so adding one edits nothing here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeAlias

import discord
from discord import app_commands

from bot.surface import commands
from bot.surface.desk import BotContext

AnyCommand: TypeAlias = (
    app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu
)
ItemType: TypeAlias = type[discord.ui.DynamicItem[Any]]


def load_commands(desk: BotContext) -> tuple[AnyCommand, ...]:
    """Every command, built for this desk, by module name."""
    found: list[AnyCommand] = []
    for module in _modules():
        built = module.build(desk)
        found.extend(built if isinstance(built, tuple) else (built,))
    return tuple(found)


def load_dynamic_items() -> tuple[ItemType, ...]:
    """The buttons and menus that commands bring along; they answer after a restart too."""
    return tuple(item for module in _modules() for item in getattr(module, "ITEMS", ()))


def _modules() -> Iterator[ModuleType]:
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{commands.__name__}.{module.name}")
