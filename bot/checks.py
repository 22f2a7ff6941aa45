"""Run the checks of ``gridbrush check`` except Discord's: settings, templates, data, backend.

Opens what the bot would open, one thing after the other, and reports each as a CheckResult instead
of stopping at the first problem.
"""

from __future__ import annotations

import asyncio
import os
import shlex

from bot.backends import open_backend
from bot.backends.base import Backend, SupportsChecks
from bot.bootstrap import (
    DATABASE,
    build_detector,
    find_open_files,
    load_templates,
    open_database,
    read_limits,
)
from bot.clock import utc_now
from bot.domain.checks import CheckResult
from bot.domain.errors import ConfigError, ImageCheckFailed
from bot.domain.job import job_id
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions
from bot.domain.workflow.document import Workflow
from bot.domain.workflow.template import RenderContext
from bot.pictures.checks import check_server
from bot.services.image_detector import NO_RUNTIME, NOT_INSTALLED
from bot.services.rendering import WorkflowTemplates
from bot.settings import Settings


async def run_checks(settings: Settings) -> list[CheckResult]:
    """Run every check that needs no Discord. Problems are returned, not raised."""
    results = [_failed("configuration", error) for error in settings.missing_values(discord=False)]
    templates: WorkflowTemplates | None = None
    try:
        templates = await asyncio.to_thread(load_templates, settings)
        names = [
            template.name
            for template in (templates.grid, templates.image, templates.upscale)
            if template
        ]
        results.append(CheckResult("templates", True, ", ".join(names)))
    except ConfigError as error:
        results.append(_failed("templates", error))
    results.append(await _database(settings))
    results.append(await asyncio.to_thread(_privacy, settings))
    results += await check_image_model(settings)
    results += await check_server(settings.pictures.address, settings.pictures.public_url)
    what = f"backend {settings.backend.kind}"
    try:
        backend = await open_backend(settings.backend.kind, settings.backend_options())
    except ConfigError as error:
        return [*results, _failed(what, error)]
    try:
        health = await backend.health()
        results.append(CheckResult(what, health.ok, health.detail, health.hint))
        if templates is not None:
            limits = await read_limits(settings, backend, templates)
            results += _sizes(limits) + _unusable_models(settings)
            if isinstance(backend, SupportsChecks):
                results += await backend.run_checks(_default_grid(settings, templates, backend))
    finally:
        await backend.aclose()
    return results


def _failed(what: str, error: ConfigError) -> CheckResult:
    return CheckResult(what, False, f"{error.location}: {error.problem}", error.hint)


async def _database(settings: Settings) -> CheckResult:
    folder = settings.data.dir
    try:
        async with open_database(folder):
            return CheckResult("database", True, str(folder / DATABASE))
    except ConfigError as error:
        return _failed("database", error)


def _privacy(settings: Settings) -> CheckResult:
    """Check that other users of this machine cannot access the bot's files. Blocking."""
    what = "private files"
    places = find_open_files(settings)
    found = [entry for _, entries in places for entry in entries]
    if not found:
        return CheckResult(what, True, f"{settings.data.dir} is private")
    first = ", ".join(f"{entry.path} ({entry.mode:04o})" for entry in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    if more:
        paths = [place for place, entries in places if entries]
    else:
        paths = [entry.path for entry in found]
    hint = f"Run: chmod -R go= {shlex.join(str(path) for path in paths)}"
    return CheckResult(what, False, f"open to other users: {first}{more}", hint)


async def check_image_model(settings: Settings) -> list[CheckResult]:
    """Check that the image check's model loads; empty if there is no image check."""
    detector = build_detector(settings)
    if detector is None:
        return []
    what = "image check"
    try:
        labels = await detector.start()
    except ImageCheckFailed as error:
        hint = 'Until then every result is held for a moderator. Or set [image_check] engine to "".'
        if str(error) in (NOT_INSTALLED, NO_RUNTIME):
            hint = f"Run: pip install 'gridbrush[image-check]'. {hint}"
        return [CheckResult(what, False, f"[image_check] {error}", hint)]
    finally:
        await detector.aclose()
    return [CheckResult(what, True, f"{settings.image_check.engine} looks for {', '.join(labels)}")]


def _sizes(limits: RequestLimits) -> list[CheckResult]:
    """Check that the image engines can make images of the default sizes."""
    found = []
    for model in limits.names or ("",):
        own = limits.for_model(model)
        min_pixels = own.engine.min_pixels
        if own.width * own.height >= min_pixels:
            continue
        section = f"models.{model}" if model in limits.table else "imagine"
        problem = (
            f"[{section}] width and height: the default is {own.width} x {own.height}, but "
            f"{own.engine.engine} fails at the end of the job below {min_pixels} pixels"
        )
        hint = "Raise width and height to 256 or more (512 or 768 for good images), and max_pixels."
        found.append(CheckResult("picture size", False, problem, hint))
    return list(dict.fromkeys(found))


def _unusable_models(settings: Settings) -> list[CheckResult]:
    """Return a failed check for each model that the backend cannot use."""
    hint = "Change it, or use another backend; the bot starts without this model."
    return [
        CheckResult(f"model {id}", False, f"[models.{id}] {reason}", hint)
        for id, reason in settings.unusable_models().items()
    ]


def _default_grid(settings: Settings, templates: WorkflowTemplates, backend: Backend) -> Workflow:
    """Render the workflow of a request with a prompt and no options, without submitting it."""
    request = Request.parse(
        "an astronaut in space",
        RequestOptions(),
        # Without what would refuse it: the other checks say so.
        limits=settings.limits(negative=templates.grid.supports_negative),
        seed=1,
        author=Author(0, "operator"),
        place=ChannelRef(),
    )
    name = job_id(utc_now(), os.urandom(5))
    context = RenderContext(name, os.urandom(32), backend.upload_url(name))
    return templates.render_grid(request, context)
