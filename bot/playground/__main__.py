"""Run the playground without a bot: ``python -m bot.playground``.

It prints its addresses and token, for a bot that is started separately, and runs until interrupted.
"""

from __future__ import annotations

import argparse
import asyncio

from bot.playground.server import Playground


async def serve(host: str, port: int) -> None:
    """Serve until cancelled."""
    playground = Playground()
    await playground.start(host, port)
    print(f"page                 {playground.page_url}")
    print(f"DISCORD_API_BASE     {playground.api_base}")
    print(f"DISCORD_GATEWAY_URL  {playground.gateway_url}")
    print(f"DISCORD_TOKEN        {playground.token}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await playground.aclose()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m bot.playground", description="Run a Discord emulator."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0 selects a free one"
    )
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments.host, arguments.port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
