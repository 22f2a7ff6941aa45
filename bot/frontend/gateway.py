"""Sign in to Discord, connect to the gateway, and reconnect.

The library gives up on an event that it cannot parse and on an outage while signing in; this
retries. What only the operator can fix raises ConfigError: Discord allows 1000 sign-ins a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.concurrency import Backoff
from bot.domain.errors import ConfigError

log = logging.getLogger(__name__)

RECONNECT_DELAYS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds before each next attempt. The last one repeats, which makes 288 sign-ins a day."""

STABLE_AFTER_S: Final = 600.0
"""After a connection of this length, reconnecting starts with the shortest delay."""

_LOGIN_HINT: Final = (
    "Get a new token at https://discord.com/developers/applications, Bot, Reset Token, and "
    "put it into the environment variable DISCORD_TOKEN."
)
_FATAL_CLOSE_CODES: Final = {
    4004: ("[discord] token", "Discord does not accept it", _LOGIN_HINT),
    4010: ("[discord] gateway_url", "Discord refused the shard", "Point it at Discord itself."),
    4011: (
        "[discord]",
        "the bot is on too many servers for one connection",
        "Run several bots, or leave servers: one connection serves at most 2500.",
    ),
    4012: (
        "[discord] gateway_url",
        "Discord does not support this gateway version",
        "Update the bot.",
    ),
    4013: ("[discord]", "Discord does not know the intents", "Update the bot."),
}


@contextmanager
def discord_endpoints(api_base: str, gateway_url: str) -> Iterator[None]:
    """Use another REST and gateway URL while this is open; they are global in discord.py."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    if api_base != Route.BASE:
        Route.BASE = api_base
    if yarl.URL(gateway_url) != DiscordWebSocket.DEFAULT_GATEWAY:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


async def run_client(
    client: discord.Client,
    token: str,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] | None = None,
) -> None:
    """Keep ``client`` connected until it is closed or this is cancelled; close it at the end.

    Raises ConfigError for what a retry cannot fix.
    """
    get_time = clock or asyncio.get_running_loop().time
    try:
        await _sign_in(client, token, sleep)
        backoff = Backoff(RECONNECT_DELAYS_S)
        while not client.is_closed():
            started_at = get_time()
            try:
                await client.connect()
            except discord.PrivilegedIntentsRequired as error:
                raise ConfigError(
                    "[discord] token",
                    "Discord says that the bot asks for privileged intents",
                    "Gridbrush asks for none: check that the token is this bot's own.",
                ) from error
            except discord.ConnectionClosed as error:
                raise _to_config_error(error) from error
            except Exception:
                # The root of everything that comes from Discord: one event must not end the bot.
                if get_time() - started_at >= STABLE_AFTER_S:
                    backoff.reset()
                pause = backoff.next()
                log.exception("the connection to Discord broke; reconnecting in %g s", pause)
                await _close_gateway(client.ws)
                await sleep(pause)
    finally:
        await client.close()


async def _sign_in(
    client: discord.Client, token: str, sleep: Callable[[float], Awaitable[None]]
) -> None:
    backoff = Backoff(RECONNECT_DELAYS_S)
    while True:
        try:
            await client.login(token)
        except discord.LoginFailure as error:
            where, problem, hint = _FATAL_CLOSE_CODES[4004]
            raise ConfigError(where, problem, hint) from error
        except ConfigError:
            raise
        except Exception as error:
            if isinstance(error, discord.HTTPException) and 400 <= error.status < 429:
                raise ConfigError(
                    "[discord]",
                    f"Discord refuses to set the bot up ({error})",
                    "Check that the token and api_base belong together; the log says more.",
                ) from error
            pause = backoff.next()
            foreseen = isinstance(
                error, discord.HTTPException | aiohttp.ClientError | TimeoutError | OSError
            )
            # An error with a file name is this machine's, not Discord's.
            own = isinstance(error, OSError) and error.filename is not None
            what = "cannot set the bot up" if own else "cannot sign in to Discord"
            log.warning(
                "%s (%s); next attempt in %g s",
                what,
                error,
                pause,
                exc_info=None if foreseen else error,
            )
            # The library opens a new session each time, on the same connector unless it is gone.
            await client.http.close()
            client.http.connector = discord.utils.MISSING
            await sleep(pause)
        else:
            return


async def _close_gateway(gateway: DiscordWebSocket | None) -> None:
    """Close the gateway, with a code other than 1000, or the bot would stay online."""
    if gateway is not None and gateway.open:
        await gateway.close(code=4000)


def _to_config_error(error: discord.ConnectionClosed) -> ConfigError:
    unknown = (
        "[discord]",
        f"Discord closed the connection for good (code {error.code})",
        "Look the code up in Discord's documentation of gateway close codes.",
    )
    return ConfigError(*_FATAL_CLOSE_CODES.get(error.code, unknown))
