"""Members report, moderators rule: the whole bot, used with the mouse."""

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


def test_moderators_run_the_server_from_the_page(address: str, windows: Windows) -> None:
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

    look_at_a_member(chat)
    follow_the_age_restriction(chat)
    write_word_rules(chat)
    pause_and_hold(chat)
    block_a_member(chat)
    chat.enter("mod-log")
    expect(chat.messages("Member blocked").last).to_be_visible()
    chat.shoot("moderation-9-log")


def look_at_a_member(chat: Chat) -> None:
    """Use the actions on a member."""
    chat.be("Ada")
    chat.command("imagine", prompt="a lighthouse", rows="1", samples="1")
    expect(chat.messages("a lighthouse").filter(has_text="Done")).to_be_visible()
    chat.be("Mo")
    used = chat.messages("Ada used /imagine").get_by_role("button", name="Ada", exact=True)
    mention = chat.messages().get_by_role("button", name="@Ada", exact=True)
    for name, action, words in (
        (used, "Quota", "Quota of Ada"),
        (mention, "Requests", "a lighthouse"),
    ):
        name.first.click()
        chat.page.get_by_test_id(f"menu-command-{action} of this member").click()
        expect(chat.private(words)).to_be_visible()


def follow_the_age_restriction(chat: Chat) -> None:
    """An adult word is refused in one channel and accepted in the age-restricted one."""
    chat.be("Ada")
    chat.command("imagine", prompt="a nude by the sea", rows="1", samples="1")
    expect(chat.private("only in age-restricted channels")).to_be_visible()
    chat.enter("after-dark")
    chat.command("imagine", prompt="a nude by the sea", rows="1", samples="1")
    expect(chat.messages("a nude by the sea").filter(has_text="Done")).to_be_visible()
    chat.be("Mo")
    chat.enter("imagine")


def write_word_rules(chat: Chat) -> None:
    """Add rules, list them, and try a phrase."""
    chat.command("art-admin words add", pattern="fox")
    expect(chat.private("Added. Rule")).to_be_visible()
    chat.command("art-admin words add", pattern="wolf", effect="hold")
    expect(chat.private("Added. Rule").filter(has_text="wolf")).to_be_visible()
    chat.command("art-admin words list")
    expect(chat.private("Adult words")).to_be_visible()
    chat.command("art-admin words test", text="a F0X and a w.o.l.f in the snow")
    expect(chat.private("refuses it for")).to_be_visible()
    chat.shoot("moderation-4-words")


def pause_and_hold(chat: Chat) -> None:
    """Pause the server while requests wait; one of them waits for a moderator."""
    chat.command("art-admin pause", reason="a minute of maintenance", until="2h")
    expect(chat.private("Paused.")).to_be_visible()
    chat.be("Ben")
    chat.enter("imagine")
    chat.command("imagine", prompt="an owl at night", rows="1", samples="1")
    expect(chat.messages("an owl at night").filter(has_text="Paused by")).to_be_visible()
    chat.shoot("moderation-5-pause")
    chat.command("imagine", prompt="a wolf in the snow", rows="1", samples="1")
    expect(chat.messages("A moderator has to approve it first.")).to_be_visible()
    chat.be("Mo")
    chat.enter("mod-log")
    entry = chat.messages("Waits for a moderator")
    expect(entry.get_by_role("button", name="Approve")).to_be_visible()
    chat.shoot("moderation-6-hold")
    chat.press(entry, "Approve")
    expect(entry).to_contain_text("Approved by @Mo")
    chat.enter("imagine")
    chat.command("art-admin status")
    expect(chat.private("a minute of maintenance")).to_be_visible()
    chat.shoot("moderation-7-status")


def block_a_member(chat: Chat) -> None:
    """Block a member, whose waiting requests are cancelled."""
    chat.command("art-admin block", **{"member": "Ben", "for": "7d", "reason": "Asks for wolves"})
    expect(chat.private("2 waiting requests cancelled")).to_be_visible()
    chat.command("art-admin blocks")
    expect(chat.private("Blocked members")).to_be_visible()
    chat.shoot("moderation-8-blocks")
