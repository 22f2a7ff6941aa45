"""Breaking things by hand: the panel of faults, with the mouse and with the keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.conftest import Windows

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timing("watches a real Chromium, which a busy machine makes late"),
]


def open_panel(chat: Chat) -> None:
    chat.page.get_by_test_id("faults-open").click()
    expect(chat.page.get_by_test_id("fault-away")).to_be_visible()


def test_faults_are_started_and_stopped(address: str, windows: Windows) -> None:
    chat = windows(1280, 1000, color_scheme="dark")
    chat.open(address)
    open_panel(chat)
    chat.shoot("20-faults")
    page = chat.page
    page.get_by_test_id("fault-away-60").click()
    away = page.get_by_test_id("fault-away")
    expect(away).to_contain_text(re.compile(r"\d+ s left"))
    expect(page.locator(".dot.online")).to_have_count(0)
    page.get_by_test_id("fault-size-0").click()
    expect(page.get_by_test_id("fault-size")).to_contain_text("Active")
    page.get_by_test_id("fault-store-5").click()
    expect(page.get_by_test_id("fault-store")).to_contain_text(re.compile(r"\d s left"))
    expect(page.get_by_test_id("faults-open")).to_have_attribute("aria-label", "Faults: 3 active")
    chat.shoot("21-faults-active")

    page.get_by_test_id("fault-away-stop").click()
    expect(page.get_by_test_id("fault-away-1")).to_be_focused()
    page.get_by_test_id("faults-clear").click()
    expect(page.get_by_test_id("faults-open")).to_have_attribute("aria-label", "Faults")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("faults")).to_have_count(0)
    expect(page.get_by_test_id("faults-open")).to_be_focused()
    expect(page.locator(".dot.online")).to_be_visible()


def test_the_keyboard_is_enough_and_a_phone_is_wide_enough(address: str, windows: Windows) -> None:
    chat = windows(390, 844, color_scheme="light")
    chat.open(address)
    page = chat.page
    page.get_by_test_id("faults-open").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("fault-kicked-0")).to_be_attached()
    page.get_by_test_id("fault-kicked-0").focus()
    page.keyboard.press("Space")
    expect(page.get_by_test_id("fault-kicked-stop")).to_be_focused()
    chat.shoot("22-faults-on-a-phone")
    assert page.evaluate("document.querySelector('.modal-body').scrollWidth") <= 390
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("fault-kicked-0")).to_be_focused()
