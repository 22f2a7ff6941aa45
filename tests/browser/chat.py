"""The page as a person uses it: typing, pressing, choosing. Knows the page's test ids and words.

Whatever is looked for in a conversation is looked for in its messages: the page says new ones to
screen readers as well, for a moment, in another place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect


@dataclass(frozen=True, slots=True)
class Chat:
    """One window on the playground; ``shots`` is the folder for what it looks like."""

    page: Page
    shots: Path

    @property
    def composer(self) -> Locator:
        """Where one types."""
        return self.page.get_by_test_id("composer-input")

    def open(self, address: str) -> None:
        """Load the page and wait until it can be used."""
        self.page.goto(address)
        expect(self.composer).to_be_visible()
        expect(self.page.locator(".dot.online")).to_be_visible()

    def be(self, name: str) -> None:
        """Go on as another member, in the same channel."""
        self.page.get_by_test_id("member-switcher").click()
        self.page.get_by_test_id(f"member-{name}").click()
        label = f"You are {name}. Switch member"
        expect(self.page.get_by_role("button", name=label)).to_be_attached()

    def command(self, name: str, **options: str) -> None:
        """Choose a command from the list that "/" opens, fill in its options, and send it."""
        self.composer.fill(f"/{name}")
        self.page.get_by_test_id(f"command-{name.replace(' ', '-')}").click()
        fields = {name: self.page.get_by_test_id(f"option-{name}") for name in options}
        for option, field in fields.items():
            # All at first: what is suggested for one field lies above these buttons.
            if not field.is_visible():
                self.page.get_by_test_id(f"add-option-{option}").click()
        for option, value in options.items():
            fields[option].fill(value)
        self.page.get_by_test_id("send").click()
        expect(self.page.get_by_test_id("command-form")).to_have_count(0)

    def messages(self, text: str | re.Pattern[str] = "") -> Locator:
        """Every message of the open channel that holds ``text``."""
        return self.page.get_by_test_id("message").filter(has_text=text)

    def private(self, text: str | re.Pattern[str]) -> Locator:
        """The last message that holds ``text`` and that only this member sees."""
        return self.messages(text).filter(has_text="Only you can see this").last

    def newest(self) -> Locator:
        """The last message, by its id: other messages that come leave it what it is."""
        last = self.page.get_by_test_id("message").last
        return self.page.locator(f'[data-message-id="{last.get_attribute("data-message-id")}"]')

    def press(self, where: Locator, label: str) -> None:
        """Press a button of a message."""
        where.get_by_role("button", name=label, exact=True).click()

    def choose(self, where: Locator, menu: str, option: str) -> None:
        """Choose from a menu of a message; an option's own line may follow its name."""
        where.get_by_role("combobox", name=menu).click()
        self.page.get_by_role("option", name=re.compile(f"^{re.escape(option)}")).click()

    def enter(self, channel: str) -> None:
        """Go to another channel of the list."""
        self.page.get_by_test_id(f"channel-{channel}").click()
        expect(self.page.get_by_role("heading", level=2, name=channel).first).to_be_visible()

    def shoot(self, name: str) -> None:
        """Keep what the window shows, once its pictures are there and nothing moves."""
        self.page.evaluate(
            "() => Promise.all([...document.images].filter((image) => {"
            "  const { top, bottom } = image.getBoundingClientRect();"
            "  return bottom > 0 && top < innerHeight;"
            "}).map((image) => image.decode().catch(() => {})))"
        )
        self.page.screenshot(path=self.shots / f"{name}.png", animations="disabled")
