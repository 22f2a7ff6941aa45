"""Listen on a configured address with aiohttp: the metrics server and the picture server."""

from __future__ import annotations

from aiohttp import web

from bot.domain.errors import ConfigError


async def listen(
    runner: web.BaseRunner, address: tuple[str, int], setting: str, switches_off: str
) -> str:
    """Listen on ``address`` (port 0: any free one); return the URL, without a slash at its end.

    ``runner`` is set up; its owner cleans it up. ``setting`` is the one with the address, and
    ``switches_off`` what an empty address switches off. Raises ConfigError if the address cannot be
    used.
    """
    host, port = address
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ConfigError(
            setting,
            f"cannot listen on {host}:{port}: {error.strerror}",
            f'Choose another port, 0 for any free one, or "" to switch {switches_off} off.',
        ) from error
    bound = runner.addresses[0]
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"http://{shown}:{bound[1]}"
