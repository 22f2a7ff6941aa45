"""One text that asks for several grids: the question, its answers, and what becomes of the set."""

from __future__ import annotations

from tests.frontend.application import Bot, said


async def test_a_set_is_asked_about_and_then_run_as_one(bot: Bot) -> None:
    ada = bot.member()
    asked = await ada.slash("imagine", "imagine", prompt="a {red, blue} fox in {snow, rain}")
    question = await asked.answered()
    print(said(question))
    assert question.ephemeral
    pressed = await ada.press(question, "Run all")
    await pressed.acked()
    print(said(question))
    jobs = await bot.engine.queue.jobs.unfinished_of(ada.id)
    print([job.request.prompt for job in jobs])
    bot.dispatch()
    for job in jobs:
        await bot.finished(job)
    for m in bot.playground.world.messages_in("imagine"):
        print("-----", said(m))
