"""``gridbrush run`` and ``gridbrush play``: run the bot in Discord or in the playground."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import webbrowser
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bot import log_config
from bot.cli.app import ExitCode, errors, fail, load_settings, run_async
from bot.domain.errors import ConfigError
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.playground.server import Playground
    from bot.runtime import Runtime

PLAY_STEP_SECONDS = "0.12"
COMFYUI_URL = "GRIDBRUSH_BACKEND__LOCAL__URL"


def run_(
    context: typer.Context,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby",
            help="If another bot uses this data folder, wait and take over when it ends.",
        ),
    ] = False,
) -> None:
    """Run the bot in Discord until SIGTERM or Ctrl-C.

    Set the token first (DISCORD_TOKEN); `gridbrush check` shows what else is missing. When the bot
    stops, running jobs continue at their backend, and the next start resumes them.
    """
    settings = load_settings(context, quiet=False)
    missing = settings.missing_values(discord=True)
    if missing:
        for error in missing[1:]:
            errors.print(f"[red]{escape(error.location)}[/]: {escape(error.problem)}")
            errors.print(f"  {escape(error.hint)}")
        fail(missing[0])
    run_async(_run(settings, standby))


async def _run(settings: Settings, standby: bool) -> ExitCode:
    # discord.py is slow to load, and the other commands do not need it.
    from bot.runtime import run_until_stopped

    with _stopping_on_signals() as stop:
        await run_until_stopped(settings, stop, on_ready=_print_ready, standby=standby)
    return ExitCode.OK


def play(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="The page's port; 0 for any free one.")] = 8788,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    comfyui: Annotated[
        str, typer.Option(metavar="URL", help="Generate with the ComfyUI server at this address.")
    ] = "",
) -> None:
    """Try the whole bot in a browser, without an account: a page emulates Discord.

    Nothing leaves this machine, unless an image server is elsewhere. The bot is the real one; only
    Discord is emulated. Results are kept in the folder `play` of the data folder.
    """
    run_async(_play(context, host, port, browser, comfyui))


async def _play(
    context: typer.Context, host: str, port: int, browser: bool, comfyui: str
) -> ExitCode:
    from bot.playground.server import Playground
    from bot.runtime import run_until_stopped
    from bot.startup import store_holder

    playground = Playground()
    try:
        await playground.start(host, port)
    except OSError as error:
        fail(
            ConfigError(
                f"port {port}", f"cannot listen on it: {error.strerror}", "Try --port 0 for any."
            )
        )
    try:
        settings = _settings_for(playground, context, comfyui)
        playground.offer_store_fault(store_holder(settings))
        with _stopping_on_signals() as stop:

            def ready(service: Runtime) -> None:
                _print_ready(service)
                errors.print(f"\n  Open [bold]{playground.page_url}[/] and type /imagine\n")
                if browser and _has_browser():
                    _open_page(playground.page_url)

            await run_until_stopped(settings, stop, on_ready=ready, guild_ready_timeout=0.2)
    finally:
        await playground.aclose()
    return ExitCode.OK


def _settings_for(playground: Playground, context: typer.Context, comfyui: str) -> Settings:
    """Load the settings with Discord replaced by the playground, and with a folder of its own.

    ``comfyui`` is the address of an image server that generates, or empty for what is configured.
    """
    environ = dict(os.environ) | {
        "DISCORD_TOKEN": playground.token,
        "DISCORD_API_BASE": playground.api_base,
        "DISCORD_GATEWAY_URL": playground.gateway_url,
        "GRIDBRUSH_DISCORD__GUILDS": json.dumps([playground.world.guild_id]),
    }
    if comfyui:
        environ |= {
            "GRIDBRUSH_BACKEND__KIND": "local",
            "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "comfyui",
            COMFYUI_URL: comfyui,
            "GRIDBRUSH_BACKEND__LOCAL__URLS": "[]",
        }
    environ.setdefault("GRIDBRUSH_METRICS__LISTEN", "127.0.0.1:0")
    # Sketches take no time; a short delay per step makes the progress visible.
    environ.setdefault("GRIDBRUSH_BACKEND__LOCAL__STEP_SECONDS", PLAY_STEP_SECONDS)
    try:
        settings = Settings.load(context.obj.config, environ)
    except ConfigError as error:
        if comfyui and error.location == COMFYUI_URL:
            error = ConfigError("--comfyui", error.problem, "Write it like http://127.0.0.1:8188.")
        fail(error)
    log_config.configure_logging(
        settings.log.format, settings.log.level, settings.secrets(), sys.stderr
    )
    data = settings.data.model_copy(update={"dir": settings.data.dir / "play"})
    return settings.model_copy(update={"data": data})


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and Ctrl-C set; a second signal has its default effect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def ask() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, ask)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _open_page(url: str) -> None:
    """Open a browser without the bot's own variables in its environment."""
    ours = ("DISCORD_", "DEEPSQUARE_", "GRIDBRUSH_")
    hidden = {name: value for name, value in os.environ.items() if name.startswith(ours)}
    for name in hidden:
        del os.environ[name]
    try:
        webbrowser.open(url)
    finally:
        os.environ.update(hidden)


def _has_browser() -> bool:
    return sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _print_ready(service: Runtime) -> None:
    user = service.client.user
    errors.print(
        f"[green]ready[/] as {escape(str(user))}, backend {service.application.backend.name}"
    )
    if service.metrics_url:
        errors.print(f"metrics and health on {service.metrics_url}")
    if service.pictures_url:
        errors.print(f"pictures at {service.pictures_url}")


def add_to(target: typer.Typer) -> None:
    """Add the commands to the program."""
    target.command("run")(run_)
    target.command("play")(play)
