"""Models with titles, costs and roles, as members of a server meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.domain.request import RequestLimits
from bot.frontend.commands.models import _format_model
from bot.playground.server import Playground
from bot.playground.state.models import Role
from bot.playground.state.world import World
from bot.settings import Settings
from tests.frontend.application import Bot, running, said
from tests.playground.clock import Clock

ABOUT = "photographs and paintings, large and slow " * 4


@pytest.fixture
def patrons(world: World) -> Role:
    return world.add_role("Patrons", 0)


@pytest.fixture
def settings(tmp_path: Path, patrons: Role) -> Settings:
    large = {"width": 128, "height": 128, "max_steps": 20, "steps": 8}
    models = {
        "quick": {"engine": "sketch", "max_steps": 10},
        "big": {"path": "/big", "title": "Big One", "about": ABOUT.strip(), "cost": 5, **large},
        "flux": {"path": "/flux", "family": "flux", "roles": [patrons.id], "guidance": 3.5},
    }
    return Settings.model_validate(
        {
            "data": {"dir": tmp_path / "data"},
            "imagine": {"width": 64, "height": 64, "rows": 2, "samples": 2, "steps": 4},
            "quota": {"images": 50},
            "backend": {"kind": "scripted", "scripted": {"speed": 0}},
            "models": models,
        }
    )


@pytest.fixture
async def bot(playground: Playground, settings: Settings, clock: Clock) -> AsyncIterator[Bot]:
    async with running(playground, settings, clock) as started:
        yield started


async def choices(bot: Bot, who: str, typed: str = "") -> dict[str, str]:
    found = await bot.member(who).autocomplete("imagine", "imagine", "model", typed, prompt="x")
    return {str(choice["value"]): str(choice["name"]) for choice in found}


async def test_members_see_what_each_model_is_for_and_who_may_use_it(
    bot: Bot, world: World, patrons: Role
) -> None:
    offered = await choices(bot, "Ada")
    assert list(offered) == ["quick", "big"]
    assert offered["big"].startswith("Big One: photographs and paintings")
    assert offered["big"].endswith("… (5 images each)")
    assert max(len(name) for name in offered.values()) <= 100
    assert list(await choices(bot, "Ada", "PAINTINGS")) == ["big"]
    assert list(await choices(bot, "Mo")) == ["quick", "big", "flux"]

    answer = await bot.ask("models")
    assert answer.ephemeral
    assert said(answer).splitlines()[2:] == [
        "Choose one as option `model`, or write `--model NAME` in the prompt.",
        "",
        "**quick**",
        "-# default, 64 × 64 px, 4 steps (at most 10)",
        f"**Big One** `big`: {ABOUT.strip()}",
        "-# 128 × 128 px, 8 steps (at most 20), each image counts as 5",
        "**flux**",
        f"-# only for members with the role <@&{patrons.id}>",
    ]
    theirs = said(await bot.ask("models", who="Mo"))
    assert (
        "**flux**\n-# 64 × 64 px, 4 steps (at most 150), guidance 3.5, no negative prompt, "
        f"for <@&{patrons.id}>"
    ) in theirs


async def test_a_model_of_a_role_is_refused_to_others_whatever_way_it_is_asked_for(
    bot: Bot, world: World, patrons: Role
) -> None:
    refusal = await bot.ask("imagine", prompt="a cat --model flux")
    assert refusal.ephemeral
    words = f"The model flux is for members with the role <@&{patrons.id}>"
    assert words in refusal.content
    assert await bot.engine.queue.jobs.unfinished() == ()

    # A moderator may use it; the others may not repeat it.
    job = await bot.imagine("a cat --model flux", who="Mo")
    bot.dispatch()
    message = await bot.finished(job)
    pressed = await (await bot.member("Ada").press(message, "Re-roll")).answered()
    assert pressed.ephemeral
    assert words in pressed.content

    world.members[bot.member("Ada").id].roles.append(patrons.id)
    again = await bot.imagine("a cat --model flux")
    assert again.request.model == "flux"


async def test_moderators_limit_a_model_of_the_table_to_a_role(
    playground: Playground, tmp_path: Path, clock: Clock, world: World, patrons: Role
) -> None:
    # The backend's own engine has no models to choose; the table has.
    settings = Settings.model_validate(
        {
            "data": {"dir": tmp_path / "data"},
            "imagine": {"width": 64, "height": 64, "rows": 1, "samples": 1, "steps": 4},
            "backend": {"kind": "local", "local": {"engine": "sketch"}},
            "models": {"quick": {"engine": "sketch"}, "big": {"engine": "sketch"}},
        }
    )
    async with running(playground, settings, clock) as bot:
        moderator = bot.member("Mo")
        found = await moderator.autocomplete("imagine", "art-admin models allow", "model", "b")
        assert [choice["value"] for choice in found] == ["big"]
        asked = await moderator.slash(
            "imagine", "art-admin models allow", model="BIG", role=patrons
        )
        assert "`big` is only for" in (await asked.answered()).content
        refusal = await bot.ask("imagine", prompt="a cat --model big")
        assert refusal.ephemeral
        assert f"On this server the model big is only for <@&{patrons.id}>" in refusal.content
        world.members[bot.member("Ada").id].roles.append(patrons.id)
        assert (await bot.imagine("a cat --model big")).request.model == "big"


async def test_what_a_model_does_not_take_is_refused_before_it_is_charged(bot: Bot) -> None:
    for prompt, complaint in (
        ("a cat --steps 11", "--steps must be a whole number from 1 to 10 with quick, not 11"),
        ("a cat --model big --steps 21", "from 1 to 20 with Big One, not 21"),
        ("a cat --model nope", "--model must be one of: quick, big; not nope"),
    ):
        assert complaint in (await bot.ask("imagine", prompt=prompt)).content
    assert (
        "has no effect with the model flux"
        in (await bot.ask("imagine", who="Mo", prompt="a cat --model flux --no fog")).content
    )
    assert "**50 left**" in said(await bot.ask("quota"))


async def test_a_dear_model_is_charged_as_it_says_everywhere(bot: Bot) -> None:
    bot.clock.pass_time(seconds=1)
    asked = await bot.member().slash("imagine", "imagine", prompt="a cat", model="big")
    status = await asked.answered()
    assert (
        "It uses 20 images of your quota, 5 for each picture of this model; you have 30 left."
    ) in said(status)
    job = await bot.job(asked)
    assert (job.request.width, job.request.steps, job.request.cost) == (128, 8, 5)
    assert "4 images (counted as 20)" in said(await bot.ask("queue"))
    assert "**30 left**: 20 of 50" in said(await bot.ask("quota"))
    refusal = await bot.ask("imagine", prompt="a cat --model big --rows 4")
    assert "this needs 40 (each picture of this model counts as 5)" in refusal.content
    stopped = await bot.ask("cancel", what="all")
    assert "20 images refunded" in said(stopped)
    assert "**50 left**" in said(await bot.ask("quota"))
    stored = await bot.engine.queue.jobs.get(job.id)
    assert stored is not None
    assert stored.state is JobState.CANCELLED


async def test_details_of_a_dear_job_count_its_images(bot: Bot) -> None:
    job = await bot.imagine("a cat --model big")
    bot.dispatch()
    message = await bot.finished(job)
    details = said(await (await bot.member().press(message, "Details")).answered())
    assert "Quota: 4 × 5 = 20 images" in details
    assert "--model big" in details
    assert "**30 left**" in said(await bot.ask("quota"))


def test_a_name_without_an_entry_is_listed_with_the_limits_of_the_server() -> None:
    text = _format_model(RequestLimits(), "sd_2_1", default=True)
    assert text == "**sd\\_2\\_1**\n-# default, 768 × 768 px, 50 steps (at most 150)"


async def test_where_there_is_no_choice_models_says_what_makes_the_images(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    local = settings.model_copy(
        update={
            "models": {},
            "backend": settings.backend.model_copy(update={"kind": "local"}),
        }
    )
    async with running(playground, local, clock) as bot:
        answer = said(await bot.ask("models"))
        assert "You cannot choose a model here. Images are made with: sketch, no model" in answer
        assert await choices(bot, "Ada") == {}
