"""The ``gridbrush`` command: one module per group of commands, one typer program for all.

Requests take the same path as those from Discord.
"""

from __future__ import annotations

from bot.cli import backup, check, imagine, jobs, render, run, storage, wallet
from bot.cli.app import program

for module in (run, imagine, jobs, render, check, backup, storage, wallet):
    module.add_to(program)

__all__ = ["program"]
