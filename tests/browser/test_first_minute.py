"""A newcomer's first minute: the whole bot, started by its one command and used with the mouse."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chat import Chat
from tests.browser.conftest import SIDE, Windows

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timing("watches a real Chromium, which a busy machine makes late"),
]

PROMPT = "an astronaut in space"
ROWS = 4
SAMPLES = 3
STEPS = "40"
"""So many that the rows of one moment take longer than the pause between two edits."""
PHONE = 390
"""Width of the phone's screen."""
BORDER = 2
STRIP = (SIDE + BORDER) * SAMPLES + BORDER
"""Width of a row in pixels: three pictures with a border around each."""


def ask(chat: Chat, prompt: str, **options: str) -> Locator:
    """Type /imagine; the card that answers."""
    before = chat.messages().count()
    chat.command("imagine", prompt=prompt, **options)
    expect(chat.messages()).to_have_count(before + 1)
    return chat.newest()


def row_links(status: Locator) -> Locator:
    """What leads from a result to its rows."""
    return status.get_by_role("link", name=re.compile("^Row "))


def picture_width(chat: Chat) -> int:
    """How wide the picture is that is open at full size, as the browser decoded it."""
    image = chat.page.get_by_test_id("lightbox").locator("img")
    expect(image).to_be_visible()
    return int(image.evaluate("image => image.decode().then(() => image.naturalWidth)"))


def test_a_newcomers_first_minute(address: str, windows: Windows) -> None:
    chat = windows(1280, 1100, color_scheme="dark")
    chat.open(address)
    chat.shoot("01-open")
    chat.composer.fill("/")
    expect(chat.page.get_by_test_id("command-imagine")).to_be_visible()
    chat.shoot("02-commands")

    status = ask(chat, PROMPT, steps=STEPS)
    watch_rows_arrive(chat, status)
    chat.shoot("04-grid")
    open_row_two(chat, status)
    open_one_image(chat, status)

    again = reroll_and_cancel_another(chat, status)
    read_details(chat, again)
    edited = edit_and_run_again(chat, again)
    delete(chat, edited)

    be_refused_as_a_member(chat, again)
    set_a_quota(chat)
    be_refused_by_the_quota(chat, again)

    chat.page.get_by_test_id("theme-toggle").click()
    expect(chat.page.locator("html")).to_have_attribute("data-theme", "light")
    chat.shoot("13-light")


def watch_rows_arrive(chat: Chat, status: Locator) -> None:
    expect(status).to_contain_text("Generating")
    # Some rows ready and shown, others still to come.
    expect(status).to_contain_text(re.compile(r"█  ready(?s:.*)(waiting|\d %)"))
    expect(status.locator(".embed img")).to_be_visible()
    chat.shoot("03-rows-arrive")
    expect(status).to_contain_text("Done")
    expect(status.get_by_alt_text(f"Grid of {ROWS} × {SAMPLES} pictures: {PROMPT}")).to_be_visible()
    expect(row_links(status)).to_have_text([f"Row {row}" for row in range(1, ROWS + 1)])


def open_row_two(chat: Chat, status: Locator) -> None:
    """By its link, which leads to the message that holds the file."""
    status.get_by_role("link", name="Row 2").click()
    row = chat.messages("Row 2 · seed")
    expect(row).to_be_in_viewport()
    expect(chat.messages("· seed")).to_have_count(ROWS)
    chat.shoot("05-rows")
    row.get_by_role("button", name="Open picture").click()
    assert picture_width(chat) == STRIP
    expect(chat.page.get_by_test_id("lightbox-zoom")).to_have_text("100 %")
    chat.shoot("06-row-at-full-size")
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_test_id("lightbox")).to_have_count(0)
    chat.enter("imagine")
    expect(status).to_be_visible()


def open_one_image(chat: Chat, status: Locator) -> None:
    """By the menu below the grid; nobody else sees the answer."""
    chat.choose(status, "Open an image", "Row 2, image 3")
    answer = chat.private("Row 2, image 3 · seed")
    answer.get_by_role("button", name="Open picture").click()
    assert picture_width(chat) == SIDE
    chat.page.keyboard.press("Escape")
    answer.get_by_test_id("dismiss").click()
    expect(answer).to_have_count(0)


def reroll_and_cancel_another(chat: Chat, status: Locator) -> Locator:
    """The re-rolled card, once it is done: the one behind it was cancelled in line."""
    before = chat.messages().count()
    chat.press(status, "Re-roll")
    expect(chat.messages()).to_have_count(before + 1)
    again = chat.newest()
    expect(again).to_contain_text(PROMPT)
    waiting = ask(chat, "a castle in the clouds")
    expect(waiting).to_contain_text("Queued")
    chat.shoot("07-in-line")
    chat.press(waiting, "Cancel")
    expect(waiting).to_contain_text("12 images refunded")
    expect(waiting.get_by_role("button", name="Try again")).to_be_visible()
    expect(again).to_contain_text("Done")
    expect(row_links(again)).to_have_count(ROWS)
    chat.shoot("08-cancelled")
    return again


def read_details(chat: Chat, status: Locator) -> None:
    chat.press(status, "Details")
    answer = chat.private("Details of")
    expect(answer).to_contain_text(f"{SIDE} × {SIDE} px")
    chat.shoot("09-details")
    answer.get_by_test_id("dismiss").click()


def edit_and_run_again(chat: Chat, status: Locator) -> Locator:
    before = chat.messages().count()
    chat.press(status, "Edit & run again")
    form = chat.page.get_by_test_id("modal")
    expect(form.get_by_test_id("field-prompt")).to_have_value(re.compile(f"^{PROMPT} --"))
    form.get_by_test_id("field-prompt").fill("a lighthouse in a storm --rows 1 --samples 2")
    form.get_by_test_id("field-negative").fill("people")
    chat.shoot("10-edit")
    form.get_by_test_id("modal-submit").click()
    expect(form).to_have_count(0)
    expect(chat.messages()).to_have_count(before + 1)
    edited = chat.newest()
    expect(edited).to_contain_text("Edited by @Ada")
    expect(edited).to_contain_text("Done")
    expect(edited).to_contain_text("people")
    expect(edited.get_by_alt_text("a lighthouse in a storm")).to_be_visible()
    return edited


def delete(chat: Chat, status: Locator) -> None:
    """After being asked once more."""
    chat.press(status, "Delete")
    question = chat.private("Delete this result")
    chat.press(question, "Delete permanently")
    expect(status).to_have_count(0)
    expect(chat.private("Deleted.")).to_be_visible()


def be_refused_as_a_member(chat: Chat, status: Locator) -> None:
    """Somebody else's picture stays, and what is for moderators is not even offered."""
    chat.be("Ben")
    expect(status).to_be_visible()
    chat.press(status, "Delete")
    refusal = "Only the member who requested this, or a moderator, can delete it."
    expect(chat.private(refusal)).to_be_visible()
    chat.composer.fill("/quota-admin set images: 1000")
    chat.page.get_by_test_id("send").click()
    expect(chat.page.get_by_test_id("toast")).to_contain_text("no command /quota-admin here")
    chat.composer.fill("")


def set_a_quota(chat: Chat) -> None:
    chat.be("Mo")
    expect(chat.page.get_by_test_id("toast")).to_have_count(0)
    chat.composer.fill("/quota-admin")
    expect(chat.page.get_by_test_id("command-quota-admin-set")).to_be_visible()
    chat.shoot("11-moderator")
    chat.command("quota-admin set", images="12")
    expect(chat.private("Set.")).to_contain_text("12 images")


def be_refused_by_the_quota(chat: Chat, status: Locator) -> None:
    """Ada has more than 12 behind her in these 24 hours: privately told, and told until when."""
    chat.be("Ada")
    expect(status).to_be_visible()  # or the channel is not there yet, and there is nothing to count
    before = chat.messages().count()
    chat.command("imagine", prompt="one more astronaut")
    refusal = chat.private("You have 0 of 12 images left per 24h, and this needs 12.")
    expect(refusal.locator("time.timestamp").first).to_have_text(re.compile("in 2[34] hours"))
    expect(refusal).to_contain_text(re.compile(r"free again in 2[34] hours \(\d\d:\d\d\)"))
    expect(chat.messages()).to_have_count(before + 1)
    chat.shoot("12-refused")


def test_it_all_fits_on_a_phone(address: str, windows: Windows) -> None:
    chat = windows(
        PHONE, 844, color_scheme="light", has_touch=True, is_mobile=True, device_scale_factor=2
    )
    chat.open(address)
    chat.shoot("phone-1-open")
    chat.page.get_by_test_id("drawer-toggle").tap()
    expect(chat.page.get_by_test_id("channel-gallery")).to_be_in_viewport()
    chat.shoot("phone-2-drawer")
    chat.enter("imagine")

    status = ask(chat, PROMPT)
    expect(status).to_contain_text("Generating")
    expect(status.locator(".embed img")).to_be_visible()
    chat.shoot("phone-3-rows-arrive")
    expect(status).to_contain_text("Done")
    expect(row_links(status)).to_have_count(ROWS)
    assert_nothing_sticks_out(chat)
    chat.shoot("phone-4-grid")

    status.get_by_role("link", name="Row 2").tap()
    chat.messages("Row 2 · seed").get_by_role("button", name="Open picture").tap()
    assert picture_width(chat) == STRIP
    chat.shoot("phone-5-row")
    chat.page.get_by_test_id("lightbox").get_by_role("button", name="Close").tap()

    chat.page.get_by_test_id("drawer-toggle").tap()
    chat.page.get_by_test_id("theme-toggle").tap()
    chat.shoot("phone-6-dark-drawer")
    chat.enter("imagine")
    chat.shoot("phone-7-dark-grid")
    stopped = ask(chat, "a castle in the clouds")
    expect(stopped).to_contain_text("Generating")
    chat.press(stopped, "Cancel")
    expect(stopped).to_contain_text("Cancelled by @Ada")
    chat.shoot("phone-8-dark-cancelled")
    assert_nothing_sticks_out(chat)


def assert_nothing_sticks_out(chat: Chat) -> None:
    """The page is no wider than the phone."""
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= PHONE
