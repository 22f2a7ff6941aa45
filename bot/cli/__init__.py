"""The ``gridbrush`` command: one module for each group of verbs, one typer program for all.

The command line enters the engine by the same door as Discord; it knows neither Discord nor a
concrete backend.
"""

from __future__ import annotations

from bot.cli import backup, check, imagine, jobs, render, run, wallet
from bot.cli.app import program

for module in (run, imagine, jobs, render, check, backup, wallet):
    module.add_to(program)

__all__ = ["program"]
