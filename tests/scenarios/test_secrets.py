"""No secret is ever shown. Every scenario checks its log and messages; here it is provoked."""

from __future__ import annotations

import logging

from bot.domain.job import JobState
from tests.scenarios.harness import Harness
from tests.scenarios.log_capture import Journal, listening


async def test_no_repr_of_what_is_passed_around_shows_a_token(harness: Harness) -> None:
    gate = harness.recorder.hold(JobState.RUNNING)
    asked = await harness.imagine()
    job = await harness.reached(asked, JobState.RUNNING)
    await harness.shows(asked, "Generating")
    post = await harness.service.client.context.messages.status_message(job.id)
    settings = harness.service.application.settings
    assert post is not None
    assert post.interaction is not None
    assert post.interaction.token == asked.token
    for thing in (
        post,
        job,
        settings,
        settings.discord,
        harness.service,
        harness.service.client.context,
    ):
        for shown in (repr(thing), str(thing)):
            assert asked.token not in shown
            assert harness.playground.token not in shown
    gate.set()
    await harness.ended(asked)


async def test_errors_of_discord_carry_no_token_into_the_log(
    harness: Harness, journal: Journal
) -> None:
    gate = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    world = harness.playground.world
    world.faults.answer("PATCH", "@original", 400, code=50035, message="Invalid Form Body")
    world.faults.answer("POST", r"/channels/\d+/messages$", 403, code=50013)
    world.faults.drop("POST", "/users/@me/channels")
    gate.set()
    job = await harness.ended(asked)
    assert job.delivery_method == "direct"
    # Both spellings are in what the libraries say, or nothing would have been masked.
    assert any(asked.token in line for _, line in journal.lines)
    assert asked.token not in journal.text
    assert "********" in journal.text


async def test_a_command_that_breaks_tells_the_member_a_number_and_the_log_no_token(
    harness: Harness, journal: Journal
) -> None:
    harness.playground.world.faults.answer(
        "POST", "/callback", 400, code=50035, message="Invalid Form Body"
    )
    broken = await harness.member().slash("random", "quota")
    journal.expect(f"interaction {broken.id} failed")
    answer = await broken.answered()
    assert f"give a moderator this number: {broken.id}" in answer.text
    assert "Traceback" in journal.text


def test_the_watch_over_the_log_finds_what_it_is_for() -> None:
    journal, handlers = listening("t0p.s3cr3t.t0ken")
    logger = logging.getLogger("bot.test_secrets")
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    logger.warning("the token is %s", "t0p.s3cr3t.t0ken")
    try:
        raise ValueError("aW50ZXJhY3Rpb246abc")
    except ValueError:
        logger.exception("it broke")
    for handler in handlers:
        logger.removeHandler(handler)
    assert len(journal.leaks(["t0p.s3cr3t.t0ken"])) == 1
    assert len(journal.leaks(["aW50ZXJhY3Rpb246abc"])) == 1
    assert "aW50ZXJhY3Rpb246abc" not in journal.text
    assert "s3cr3t" not in journal.text
    assert len(journal.errors()) == 1
