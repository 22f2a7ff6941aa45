"""Discover the command modules and build their commands and dynamic items."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeAlias

import discord
from discord import app_commands

from bot.frontend import commands
from bot.frontend.context import BotContext

AnyCommand: TypeAlias = (
    app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu
)
ItemType: TypeAlias = type[discord.ui.DynamicItem[Any]]


def load_commands(context: BotContext) -> tuple[AnyCommand, ...]:
    """Build and return the commands of all modules in ``commands``, by module name."""
    found: list[AnyCommand] = []
    for module in _modules():
        built = module.build(context)
        found.extend(built if isinstance(built, tuple) else (built,))
    return tuple(found)


def load_dynamic_items() -> tuple[ItemType, ...]:
    """Return the dynamic items of all command modules; they work after a restart too."""
    return tuple(item for module in _modules() for item in getattr(module, "ITEMS", ()))


def _modules() -> Iterator[ModuleType]:
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{commands.__name__}.{module.name}")
