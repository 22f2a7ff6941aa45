"""Everything that ``gridbrush check`` looks at but Discord: settings, templates, data, backend.

Part of the composition root: it opens what the bot would open, one thing after the other, and
reports each as a Finding instead of stopping at the first.
"""

from __future__ import annotations

import asyncio
import os

from bot.app import DATABASE, load_menu, make_folder, utc_now
from bot.backends import open_backend
from bot.backends.base import Backend, Inspectable
from bot.domain.errors import ConfigError
from bot.domain.findings import Finding
from bot.domain.job import job_id
from bot.domain.request import Author, Options, Place, Request
from bot.domain.template import Ticket, render
from bot.domain.workflow import Workflow
from bot.engine.kitchen import Menu
from bot.settings import Settings
from bot.store.database import Database


async def examine(settings: Settings) -> list[Finding]:
    """Check everything that can be checked without Discord; never raises for what it finds."""
    findings = [_bad("configuration", error) for error in settings.missing(discord=False)]
    menu: Menu | None = None
    try:
        menu = await asyncio.to_thread(load_menu, settings)
        names = [template.name for template in (menu.grid, menu.upscale) if template]
        findings.append(Finding("templates", True, ", ".join(names)))
    except ConfigError as error:
        findings.append(_bad("templates", error))
    findings.append(await _database(settings))
    what = f"backend {settings.backend.kind}"
    try:
        backend = await open_backend(settings.backend.kind, settings.backend_options())
    except ConfigError as error:
        return [*findings, _bad(what, error)]
    try:
        health = await backend.health()
        findings.append(Finding(what, health.ok, health.detail, health.mend))
        if menu is not None and isinstance(backend, Inspectable):
            findings += await backend.inspect(_default_grid(settings, menu, backend))
    finally:
        await backend.aclose()
    return findings


def _bad(what: str, error: ConfigError) -> Finding:
    return Finding(what, False, f"{error.where}: {error.problem}", error.mend)


async def _database(settings: Settings) -> Finding:
    folder = settings.data.dir
    try:
        await asyncio.to_thread(make_folder, folder)
        async with await Database.open(folder / DATABASE, now=utc_now):
            return Finding("database", True, str(folder / DATABASE))
    except ConfigError as error:
        return _bad("database", error)


def _default_grid(settings: Settings, menu: Menu, backend: Backend) -> Workflow:
    """What a member gets who says nothing but a prompt; rendered, never submitted."""
    request = Request.parse(
        "an astronaut in space",
        Options(),
        limits=settings.limits(negative=menu.grid.negative),
        seed=1,
        author=Author(0, "operator"),
        place=Place(),
    )
    name = job_id(utc_now(), os.urandom(5))
    ticket = Ticket(name, os.urandom(32), backend.upload_url(name))
    return render(menu.grid, request, ticket, menu.styles)
