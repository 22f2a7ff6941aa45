"""A member types /imagine; the real client, the real engine and a scripted backend answer."""

from __future__ import annotations

import pytest

from bot.domain.job import JobState
from bot.playground.client.command_options import ClientError
from bot.store.audit import AuditRepository
from tests.frontend.application import Bot, said


async def test_an_accepted_request_has_a_status_message_at_once_and_then_its_pictures(
    bot: Bot,
) -> None:
    ada = bot.member()
    used = await ada.slash("imagine", "imagine", prompt="a red heron --seed 7", rows=3)
    status = await used.answered()
    assert not status.ephemeral
    assert "a red heron" in said(status)
    assert "It uses 6 images" in said(status)
    job = await bot.job(used)
    assert (job.request.seed, job.request.rows, job.state) == (7, 3, JobState.QUEUED)

    bot.dispatch()
    assert (await bot.finished(job)).id == status.id
    assert status.embeds[0]["title"] == "Done"
    assert len(bot.observe_ack) == 1
    assert 0 < bot.observe_ack[0] < 3


async def test_every_option_arrives_in_the_request(bot: Bot) -> None:
    used = await bot.member().slash(
        "imagine",
        "imagine",
        prompt="an oak --steps 2",
        negative="people",
        aspect="2:1",
        rows=1,
        samples=3,
        steps=9,
        seed=2**32 - 1,
        model="wd-1-4",
        style="ink",
    )
    await used.answered()
    request = (await bot.job(used)).request
    assert (request.prompt, request.negative, request.style) == ("an oak", "people", "ink")
    assert (request.rows, request.samples, request.steps) == (1, 3, 9)
    assert (request.seed, request.model) == (2**32 - 1, "wd-1-4")
    assert request.width > request.height
    assert request.author.name == "Ada"
    assert request.place.guild_id == bot.playground.world.guild_id


async def test_tags_are_removed_and_the_member_alone_is_told(bot: Bot) -> None:
    used = await bot.member().slash(
        "imagine", "imagine", prompt="a heron <lora:x:1>", negative="__bad__ hands", rows=1
    )
    message = await used.answered()
    assert not message.ephemeral
    job = await bot.job(used)
    assert (job.request.prompt, job.request.negative) == ("a heron", "hands")
    (notice,) = await used.followed_up()
    assert notice.ephemeral
    assert notice.content.startswith("Removed from your text: ")
    assert "lora:x:1" in notice.content
    assert "bad" in notice.content


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("a cat --colour red", "There is no flag --colour"),
        ("a cat --rows 99", "--rows must be a whole number from 1 to 8, not 99"),
        ("--steps 3", "The prompt is empty"),
        ("a cat --style pixle", "Did you mean pixel"),
    ],
)
async def test_what_is_not_allowed_is_refused_privately_and_nothing_is_stored(
    bot: Bot, prompt: str, complaint: str
) -> None:
    answer = await bot.ask("imagine", prompt=prompt)
    assert answer.ephemeral
    assert complaint in answer.content
    assert await bot.engine.queue.jobs.unfinished() == ()


async def test_discord_itself_keeps_numbers_within_the_bounds(bot: Bot) -> None:
    for option, value in (("rows", 9), ("samples", 0), ("steps", 151), ("seed", 2**32)):
        with pytest.raises(ClientError):
            await bot.member().slash("imagine", "imagine", prompt="x", **{option: value})


async def test_models_and_styles_are_suggested_while_typing(bot: Bot) -> None:
    ada = bot.member()
    models = await ada.autocomplete("imagine", "imagine", "model", "WD", prompt="x")
    assert [choice["value"] for choice in models] == ["wd-1-4"]
    styles = await ada.autocomplete("imagine", "imagine", "style", "black and white")
    assert [choice["value"] for choice in styles] == ["ink", "noir"]
    assert "cross-hatching" in styles[0]["name"]


async def test_the_same_click_delivered_twice_makes_one_job(bot: Bot) -> None:
    used = await bot.member().slash("imagine", "imagine", prompt="a heron")
    await used.answered()
    first = await bot.job(used)
    calls = len(bot.playground.requests)
    bot.playground.gateway.replay_last_interaction()
    again = await bot.member().slash("imagine", "imagine", prompt="another")
    await again.answered()
    jobs = await bot.engine.queue.jobs.unfinished_of(bot.member().id)
    assert [job.id for job in jobs] == sorted([first.id, (await bot.job(again)).id])
    assert len(bot.playground.requests) == calls + 1


async def test_an_exhausted_quota_is_refused_with_the_moment_it_comes_back(bot: Bot) -> None:
    mo = await bot.ask("quota-admin set", who="Mo", images=12, member=bot.member("Ada"))
    assert "12 images" in mo.content
    await bot.imagine("a heron", who="Ada")
    refusal = await bot.ask("imagine", prompt="a swan", rows=5)
    assert refusal.ephemeral
    assert "You have 8 of 12 images left per 24h, and this needs 10" in refusal.content
    assert "<t:" in refusal.content
    entries = await AuditRepository(bot.engine.database).entries(bot.playground.world.guild_id)
    assert [entry.action for entry in entries] == ["refused", "quota-set"]
