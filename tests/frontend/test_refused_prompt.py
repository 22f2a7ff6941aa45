"""A refused request gives its words back, and a button that opens them in a form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.text import normalize_text, utf16_length
from bot.frontend.formatting import parse_code_block
from bot.frontend.message_content import MAX_DESCRIPTION
from bot.frontend.refused_prompt import EDIT_ID, MAX_INPUT_LENGTH, build_prompt_messages
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.settings import Settings
from tests.frontend.application import Bot, running, said
from tests.playground.clock import Clock

LONG = "a very " * 900 + "long prompt"


def form_text(clicked: Invocation) -> str:
    assert clicked.modal is not None
    text: str = clicked.modal["components"][0]["component"]["value"]
    return text


async def opened(bot: Bot, refusal: Message, who: str = "Ada") -> Invocation:
    clicked = await bot.member(who).press(refusal, "Edit & run again")
    await bot.playground.until(lambda _: clicked.modal)
    return clicked


@pytest.mark.parametrize(
    ("prompt", "options", "expected"),
    [
        ("a cat --v 5", {}, "a cat --v 5"),
        ("a cat --v 5 --tile", {"rows": 3, "seed": 7}, "a cat --v 5 --tile --rows 3 --seed 7"),
        ("a cat -ar 16:9", {"negative": "dogs"}, "a cat -ar 16:9 --no dogs"),
        ("a cat--ar 16:9", {"aspect": "2:1"}, "a cat--ar 16:9 --ar 2:1"),
        ("a `cat` ``` --foo\nand *more*", {}, "a `cat` ``` --foo\nand *more*"),
        ("a cat, rows 99 --rows 99", {"style": "ink"}, "a cat, rows 99 --rows 99 --style ink"),
        ("--steps 3", {}, "--steps 3"),
        ("a @everyone <@1> https://evil.example --foo", {}, None),
        ("x" * 1500, {}, None),
        ("ज़ 👩\u200d🚀 " * 300, {}, None),
        ("a huge one", {"rows": 8, "samples": 4, "steps": 4}, "a huge one --rows 8"),
    ],
)
async def test_what_was_typed_is_given_back_and_opens_in_a_form(
    bot: Bot, prompt: str, options: dict[str, object], expected: str | None
) -> None:
    await bot.ask("quota-admin set", who="Mo", images=12, member=bot.member("Ada"))
    asked = await bot.member().slash("imagine", "imagine", prompt=prompt, **options)
    refusal = await asked.answered()
    assert refusal.ephemeral
    assert await bot.engine.queue.jobs.unfinished() == ()

    clicked = await opened(bot, refusal)

    text = form_text(clicked)
    assert text.startswith(expected if expected is not None else normalize_text(prompt))
    assert clicked.modal is not None
    handed = await bot.member().submit_modal(clicked, {"prompt": "a cat --ar 16:9 --seed 3"})
    status = await handed.answered()
    assert not status.ephemeral
    assert (await bot.job(handed)).request.prompt == "a cat"


async def test_a_prompt_longer_than_a_form_is_given_back_in_two_parts(bot: Bot) -> None:
    asked = await bot.member().slash("imagine", "imagine", prompt=LONG[:6000])
    refusal = await asked.answered()

    def rest(_: object) -> Message | None:
        for message in bot.playground.world.messages.values():
            if "Rest of your prompt" in said(message):
                return message
        return None

    second = await bot.playground.until(rest)
    assert second.ephemeral
    first = parse_code_block(refusal.embeds[0]["description"])
    assert first + parse_code_block(second.embeds[0]["description"]) == LONG[:6000]
    assert form_text(await opened(bot, refusal)) == first


async def test_a_form_that_is_refused_gives_its_words_back_too(bot: Bot) -> None:
    refusal = await bot.ask("imagine", prompt="a cat --v 5")
    for typed in ("a cat --q 2", "a cat -seed 5", "a cat --rows 99"):
        clicked = await opened(bot, refusal)
        handed = await bot.member().submit_modal(clicked, {"prompt": typed, "negative": "dogs"})
        refusal = await handed.answered()
        assert refusal.ephemeral
        assert f"{typed} --no dogs" in said(refusal)
    job = await bot.imagine("a fox")
    status = await (await bot.member().slash("imagine", "show", id=job.id)).answered()
    assert EDIT_ID not in str(status.controls())


async def test_the_button_works_after_a_restart(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock) as bot:
        refusal = await bot.ask("imagine", prompt="a cat --v 5")
    async with running(playground, settings, clock) as bot:
        assert form_text(await opened(bot, refusal)) == "a cat --v 5"


@pytest.mark.parametrize("command", ["queue", "history", "show"])
async def test_only_imagine_gives_a_prompt_back(bot: Bot, command: str) -> None:
    options = {"id": "nonsense"} if command == "show" else {}
    answer = await bot.ask(command, **options)
    assert EDIT_ID not in str(answer.controls())


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("a`\n\u200b é🙂*<@!>"), max_size=300))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    typed = "\n".join(normalize_text(line) for line in text.splitlines())
    statuses = build_prompt_messages(typed)
    assert "".join(parse_code_block(status.description) for status in statuses) == typed
    assert all(utf16_length(status.description) <= MAX_DESCRIPTION for status in statuses)


def test_a_form_is_never_filled_with_more_than_it_holds() -> None:
    statuses = build_prompt_messages("🙂" * 3000)
    assert utf16_length(parse_code_block(statuses[0].description)) == MAX_INPUT_LENGTH
    assert "".join(parse_code_block(status.description) for status in statuses) == "🙂" * 3000
