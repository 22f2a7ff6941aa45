"""Everything that ``gridbrush check`` looks at but Discord: settings, templates, data, backend.

Part of the composition root: it opens what the bot would open, one thing after the other, and
reports each as a Finding instead of stopping at the first.
"""

from __future__ import annotations

import asyncio
import os
import shlex

from bot.backends import open_backend
from bot.backends.base import Backend, SupportsChecks
from bot.bootstrap import (
    DATABASE,
    find_open_files,
    load_templates,
    open_database,
    painter_of,
    utc_now,
)
from bot.domain.checks import CheckResult
from bot.domain.errors import ConfigError
from bot.domain.image_engine import Painter
from bot.domain.job import job_id
from bot.domain.request import Author, ChannelRef, Request, RequestOptions
from bot.domain.workflow.document import Workflow
from bot.domain.workflow.template import RenderContext, render
from bot.services.rendering import WorkflowTemplates
from bot.settings import Settings


async def run_checks(settings: Settings) -> list[CheckResult]:
    """Check everything that can be checked without Discord; never raises for what it finds."""
    findings = [_bad("configuration", error) for error in settings.missing_values(discord=False)]
    menu: WorkflowTemplates | None = None
    try:
        menu = await asyncio.to_thread(load_templates, settings)
        names = [template.name for template in (menu.grid, menu.upscale) if template]
        findings.append(CheckResult("templates", True, ", ".join(names)))
    except ConfigError as error:
        findings.append(_bad("templates", error))
    findings.append(await _database(settings))
    findings.append(await asyncio.to_thread(_privacy, settings))
    what = f"backend {settings.backend.kind}"
    try:
        backend = await open_backend(settings.backend.kind, settings.backend_options())
    except ConfigError as error:
        return [*findings, _bad(what, error)]
    try:
        health = await backend.health()
        findings.append(CheckResult(what, health.ok, health.detail, health.hint))
        if menu is not None:
            painter = await painter_of(backend, menu)
            findings += _sizes(settings, painter)
            if isinstance(backend, SupportsChecks):
                findings += await backend.run_checks(_default_grid(settings, menu, backend))
    finally:
        await backend.aclose()
    return findings


def _bad(what: str, error: ConfigError) -> CheckResult:
    return CheckResult(what, False, f"{error.location}: {error.problem}", error.hint)


async def _database(settings: Settings) -> CheckResult:
    folder = settings.data.dir
    try:
        async with open_database(folder):
            return CheckResult("database", True, str(folder / DATABASE))
    except ConfigError as error:
        return _bad("database", error)


def _privacy(settings: Settings) -> CheckResult:
    """Whether prompts, keys and pictures are closed to other users of this machine. Blocking."""
    what = "private files"
    places = find_open_files(settings)
    found = [entry for _, entries in places for entry in entries]
    if not found:
        return CheckResult(what, True, f"{settings.data.dir} is the bot's alone")
    first = ", ".join(f"{entry.path} ({entry.mode:04o})" for entry in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    if more:
        paths = [place for place, entries in places if entries]
    else:
        paths = [entry.path for entry in found]
    hint = f"Run: chmod -R go= {shlex.join(str(path) for path in paths)}"
    return CheckResult(what, False, f"open to other users: {first}{more}", hint)


def _sizes(settings: Settings, painter: Painter) -> list[CheckResult]:
    """Whether what paints can paint the pictures that the settings lead to."""
    imagine, least = settings.imagine, painter.min_pixels
    if imagine.width * imagine.height >= least:
        return []
    problem = (
        f"[imagine] width and height: {imagine.width} x {imagine.height} is what members get by "
        f"default, and {painter.engine} fails below {least} pixels, after all the work"
    )
    hint = "Raise width and height to 256 or more, 512 or 768 for good pictures, and max_pixels."
    return [CheckResult("picture size", False, problem, hint)]


def _default_grid(settings: Settings, menu: WorkflowTemplates, backend: Backend) -> Workflow:
    """What a member gets who says nothing but a prompt; rendered, never submitted."""
    request = Request.parse(
        "an astronaut in space",
        RequestOptions(),
        limits=settings.limits(negative=menu.grid.supports_negative),
        seed=1,
        author=Author(0, "operator"),
        place=ChannelRef(),
    )
    name = job_id(utc_now(), os.urandom(5))
    ticket = RenderContext(name, os.urandom(32), backend.upload_url(name))
    return render(menu.grid, request, ticket, menu.styles)
