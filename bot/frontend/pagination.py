"""Send lists with pages, and handle the buttons that change the page.

A custom id holds the list's name, its subject and the page, and the list is loaded again, so the
buttons work after a restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import discord

from bot.frontend.listing import Listing, build_page
from bot.frontend.responses import PersistentComponent, send_ephemeral, update_message

Interaction: TypeAlias = discord.Interaction[Any]

_PAGE: Final = r"(?P<page>[0-9]{1,4})"
_SUBJECT: Final = r"(?P<about>[a-z0-9-]{0,40})"

LoadListing: TypeAlias = Callable[[Interaction, str], Awaitable[Listing]]
"""Reads a list for who asks. The text says what it is about; it is empty, or the list's own."""


async def send_listing(
    interaction: Interaction, name: str, listing: Listing, subject: str = ""
) -> None:
    """Send the first page of the list ``name`` privately."""
    await send_ephemeral(interaction, "", embed=build_page(listing, name, subject, 1))


def page_buttons(name: str, load: LoadListing) -> type[discord.ui.DynamicItem[Any]]:
    """Return the dynamic item that changes pages of the list ``name``, for ITEMS."""

    class PageButton(PersistentComponent, template=rf"gb-page:{name}:{_SUBJECT}:{_PAGE}"):
        async def handle(self, interaction: Interaction) -> None:
            subject = self.match["about"]
            listing = await load(interaction, subject)
            page = build_page(listing, name, subject, int(self.match["page"]))
            await update_message(interaction, page)

    return PageButton
