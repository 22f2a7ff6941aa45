"""A member reports a result, a moderator removes it: the whole bot, used with the mouse."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chat import Chat
from tests.browser.conftest import Windows

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timing("watches a real Chromium, which a busy machine makes late"),
]


def act_on(chat: Chat, message: Locator, action: str) -> None:
    """Choose one of the bot's actions on a message."""
    message.hover()
    message.get_by_test_id("message-menu").click()
    chat.page.get_by_test_id(f"menu-command-{action}").click()


def test_a_report_reaches_the_moderators(address: str, windows: Windows) -> None:
    chat = windows(1280, 1100, color_scheme="dark")
    chat.open(address)
    expect(chat.page.get_by_test_id("channel-mod-log")).to_have_count(0)
    chat.be("Mo")
    chat.enter("imagine")
    chat.command("art-admin log", channel="mod-log")
    expect(chat.private("mod-log")).to_be_visible()

    chat.be("Ada")
    chat.enter("imagine")
    chat.command("imagine", prompt="an astronaut in space", rows="2", samples="2")
    result = chat.messages("an astronaut in space").filter(has_text="Done")
    expect(result).to_be_visible()

    chat.be("Ben")
    act_on(chat, result, "Report to moderators")
    form = chat.page.get_by_test_id("modal")
    form.get_by_test_id("field-reason").fill("It shows a real person")
    chat.shoot("moderation-1-report")
    form.get_by_test_id("modal-submit").click()
    expect(chat.private("Thank you.")).to_be_visible()

    chat.be("Mo")
    chat.enter("mod-log")
    entry = chat.messages("Report: 1 member")
    expect(entry).to_contain_text("It shows a real person")
    expect(entry.locator("img").first).to_be_visible()
    chat.shoot("moderation-2-entry")
    chat.press(entry, "Remove and refund")
    expect(chat.private("Removed.")).to_be_visible()
    expect(entry).to_contain_text("Removed and refunded by @Mo")
    expect(entry.get_by_role("button", name="Dismiss")).to_have_count(0)
    chat.shoot("moderation-3-done")
    chat.enter("imagine")
    expect(result).to_have_count(0)

    chat.page.get_by_test_id("message").get_by_role("button", name="Gridbrush").first.click()
    expect(chat.page.get_by_test_id("menu-command-Quota of this member")).to_be_visible()
