"""/history, /show and /privacy: one's own past, brought out again or forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.events import Failed, FailureReason, Scheduled
from bot.domain.job import Job
from bot.frontend.job_lines import format_job
from bot.playground.state.models import Message
from bot.store import jobs
from bot.store.audit import AuditRepository
from bot.store.jobs import ERASED_PROMPT
from tests.frontend.application import Bot, said


async def painted(bot: Bot, prompt: str, who: str = "Ada", channel: str = "imagine") -> Job:
    job = await bot.imagine(prompt, who, channel)
    await bot.finished(job)
    ended = await bot.engine.queue.jobs.get(job.id)
    assert ended is not None
    return ended


def pictures(bot: Bot, channel: str) -> list[Message]:
    return [one for one in bot.playground.world.messages_in(channel) if one.attachments]


async def test_history_leads_to_each_result(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a *red* heron")
    failed = await bot.imagine("a swan", who="Ada", channel="random")
    answer = await bot.ask("history", who="Ada", channel="random")
    assert answer.ephemeral
    text = said(answer)
    assert job.result is not None
    place = f"{bot.playground.world.guild_id}/{job.result.channel_id}/{job.result.message_id}"
    assert rf"a \*red\* heron: [4 images](https://discord.com/channels/{place})" in text
    assert text.index("a swan") < text.index("heron")
    assert failed.id in str(answer.controls())
    assert "no requests on this server yet" in said(await bot.ask("history", who="Ben"))


async def test_history_turns_pages_after_a_restart_too(bot: Bot) -> None:
    for number in range(1, 11):
        await bot.imagine(f"bird {number}", who="Ada" if number > 1 else "Ben")
        if number == 5:
            await bot.ask("cancel", what="all")
    await bot.ask("cancel", what="all")
    first = await bot.ask("history")
    assert "bird 10" in said(first)
    assert "bird 2:" not in said(first)
    bot.clock.pass_time(seconds=1)
    older = await (await bot.member().press(first, "Older")).answered()
    assert said(older).count("bird") == 1
    assert "bird 2: cancelled" in said(older)
    newest = await (await bot.member().press(older, "Newest")).answered()
    assert "bird 10" in said(newest)
    assert newest.id == first.id


async def test_a_result_is_shown_again_in_another_channel_with_working_buttons(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a heron")
    shown = await bot.ask("show", channel="gallery", id=job.id)
    assert not shown.ephemeral
    assert shown.embeds[0]["title"] == "Done"
    assert shown.attachments[0].description == "Grid of 2 × 2 pictures: a heron"
    again = await (await bot.member("Ben").press(shown, "Re-roll")).answered()
    assert "a heron" in said(again)


async def test_show_says_what_a_job_has_cost(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a heron")
    free = await bot.ask("show", id=job.id)
    assert "Compute" not in said(free)
    cost, refund = Decimal("42.44"), Decimal("57.56")
    await bot.engine.database.write(
        lambda link: jobs.set_credits(link, job.id, price=Decimal(100), cost=cost, refund=refund)
    )
    shown = await bot.ask("show", id=job.id)
    assert "42.44 credits, 57.56 refunded" in said(shown)


async def test_a_result_is_chosen_from_history(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a heron")
    listed = await bot.ask("history", channel="gallery")
    await (await bot.member().select(listed, "gb-history:show", [job.id])).answered()
    (shown,) = pictures(bot, "gallery")
    assert "a heron" in said(shown)


async def test_a_job_without_a_result_is_described_privately(bot: Bot) -> None:
    waiting = await bot.imagine("a heron")
    answer = await bot.ask("show", channel="gallery", id=waiting.id)
    assert answer.ephemeral
    assert "Queued" in said(answer)
    job = await bot.engine.lifecycle.apply_event(waiting, Scheduled())
    await bot.engine.lifecycle.apply_event(
        job, Failed(FailureReason.DIED, "The machine went away.")
    )
    assert "The machine went away" in said(await bot.ask("show", id=waiting.id))
    assert "heron: failed" in said(await bot.ask("history"))


async def test_only_the_author_and_moderators_may_show_it(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a heron")
    refused = await bot.ask("show", who="Ben", channel="gallery", id=job.id)
    assert refused.ephemeral
    assert "belongs to another member" in refused.content
    assert pictures(bot, "gallery") == []
    shown = await bot.ask("show", who="Mo", channel="gallery", id=f"`{job.id}`")
    assert shown.attachments


async def test_an_ambiguous_id_wants_more_letters(bot: Bot) -> None:
    """Up to version 0.1, jobs that were accepted in one moment shared the start of their ids."""
    heron = await bot.imagine("a heron")
    others = {"a swan": "7" * 8, "a crane": "7" * 7 + "a", "a gull": "a" * 8}
    for prompt, end in others.items():
        request = replace(heron.request, prompt=prompt)
        job = replace(heron, id=heron.id[:8] + end, request=request)
        await bot.engine.database.write(
            lambda link, job=job: jobs.insert(link, job, interaction=None, mac_key=bytes(16))  # type: ignore[misc]
        )
    refusal = (await bot.ask("show", id=heron.id[:8])).content
    assert "Several jobs start" in refusal
    longer = [heron.id[:8] + end for end in ("7" * 8, "7" * 7 + "a", "a")]
    assert all(one in refusal for one in longer)
    for one, prompt in zip(longer, others, strict=True):
        (found,) = await bot.member().autocomplete("imagine", "show", "id", prompt)
        assert found["name"].startswith(f"{one} · ")
        assert prompt in said(await bot.ask("show", id=one))


async def test_jobs_that_are_accepted_in_one_moment_have_short_ids_of_their_own(bot: Bot) -> None:
    asked = await asyncio.gather(
        *(bot.member(who).slash("imagine", "imagine", prompt="x") for who in ("Ada", "Ben") * 2)
    )
    for one in asked:
        await one.answered()
    jobs_made = [await bot.job(one) for one in asked]
    assert len({job.id[:8] for job in jobs_made}) == len(asked)
    for job in jobs_made:
        assert "Queued" in said(await bot.ask("show", who="Mo", id=job.id[:8]))


async def test_lost_pictures_are_said_to_be_lost(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a heron")
    bot.engine.results.result(job).grid.write_bytes(b"no picture")
    used = await bot.member().slash("gallery", "show", id=job.id)
    (broken,) = await used.followed_up()
    assert broken.ephemeral
    assert "no longer stored" in broken.content
    bot.engine.results.result(job).grid.unlink()
    gone = await bot.ask("show", channel="gallery", id=job.id)
    assert gone.ephemeral
    assert "no longer stored" in said(gone)
    assert pictures(bot, "gallery") == []


async def test_a_result_that_could_not_be_posted_is_said_to_be_kept(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a heron")
    assert "stored for you" not in format_job(job)
    stored = await bot.engine.queue.jobs.get(job.id)
    assert stored is not None
    assert "4 images, stored for you" in format_job(
        replace(stored, delivery_method="kept", result=None)
    )
    assert "channels/@me/" in format_job(replace(stored, delivery_method="direct"))


async def test_privacy_counts_asks_twice_and_erases(bot: Bot) -> None:
    bot.dispatch()
    job = await painted(bot, "a secret heron")
    folder = bot.engine.results.folder(job.id)
    assert folder.exists()
    answer = await bot.ask("privacy")
    assert answer.ephemeral
    assert "**1 request** with prompt" in said(answer)
    ada = bot.member()
    asked = await (await ada.press(answer, "Erase my data")).answered()
    assert "Erase your data?" in said(asked)
    kept = await (await ada.press(asked, "Keep it")).answered()
    assert "Your data" in said(kept)
    assert folder.exists()
    asked = await (await ada.press(kept, "Erase my data")).answered()
    clicked = await ada.press(asked, "Yes, erase it")
    await clicked.acked()
    await bot.playground.until(lambda _: "Erased" in said(asked))
    assert "1 request erased" in said(asked)
    assert not folder.exists()
    erased = await bot.engine.queue.jobs.get(job.id)
    assert erased is not None
    assert erased.request.prompt == ERASED_PROMPT
    (entry,) = await AuditRepository(bot.engine.database).entries(bot.playground.world.guild_id)
    assert entry.action == "erase"
    again = await bot.ask("privacy")
    assert "1 request already erased" in said(again)


async def test_there_may_be_nothing_to_erase(bot: Bot) -> None:
    await bot.imagine("a heron")
    answer = await bot.ask("privacy")
    assert "1 request not finished yet" in said(answer)
    refused = await (await bot.member().press(answer, "Erase my data")).answered()
    assert "nothing to erase" in refused.content


@pytest.mark.parametrize("command", ["history", "favourites", "privacy", "help", "styles"])
async def test_what_concerns_nobodys_server_works_in_a_direct_message(
    bot: Bot, command: str
) -> None:
    channel = bot.playground.world.direct_channel("Ada")
    answer = await (await bot.member().slash(channel, command)).answered()
    assert answer.embeds
