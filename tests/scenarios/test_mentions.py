"""What members type calls nobody and is shown as text: in every state, in every message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.playground.rest.http import RecordedCall
from bot.playground.server import Playground
from bot.playground.state import permissions
from bot.playground.state.models import Json
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play

WORDS = "zebra"
FENCE = "`" * 3


@pytest.fixture
def tricks(playground: Playground) -> str:
    """A prompt with everything that Discord would act on, had the bot written it itself."""
    world = playground.world
    # Without the permission the server would hold it back, and nothing would be tested.
    bots = next(role for role in world.roles.values() if role.name == "Gridbrush")
    bots.permissions |= permissions.MENTION_EVERYONE
    role = next(role for role in world.roles.values() if role.name == "Moderators")
    role.mentionable = True
    ben, channel = world.user("Ben").id, world.channel("gallery").id
    return " ".join(
        (
            f"@everyone @here <@{ben}> <@!{ben}> <@&{role.id}> <#{channel}> {WORDS}",
            "[free nitro](https://evil.example/a) https://evil.example/b <https://evil.example/c>",
            "discord.gg/abc123 https://discord.gg/abc123 </imagine:1> <id:customize> <t:1:R>",
            f"# big **bold** __under__ *it* ~~gone~~ ||spoiler|| `code` {FENCE}py fence{FENCE}",
            "> quote - list \\\\@everyone \\<@1> <:emoji:123> <a:emoji:123>",
        )
    )


# What must not be left in a text once everything that is escaped is taken out of it.
LIVE = {
    "everyone": re.compile(r"@(everyone|here)"),
    "user": re.compile(r"<@!?\d+>"),
    "role": re.compile(r"<@&\d+>"),
    "channel": re.compile(r"<#\d+>"),
    "link": re.compile(r"https?://(?!discord\.com/channels/|127\.0\.0\.1)"),
    "masked": re.compile(r"\]\((?!https://discord\.com/channels/)"),
    "invitation": re.compile(r"discord\.gg/"),
    "spoiler": re.compile(r"\|\|"),
    "struck": re.compile(r"~~"),
    "underlined": re.compile(r"__"),
    "command": re.compile(r"</\w"),
    "guide": re.compile(r"<id:"),
    "emoji": re.compile(r"<a?:\w+:\d+>"),
    "moment": re.compile(r"<t:1:R>"),
}


def live(text: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """What Discord would act on in a text; ``allowed`` are mentions that the bot itself wrote."""
    blocks = text.split(FENCE)
    assert len(blocks) % 2 == 1, f"a code block is open: {text}"
    outside = re.sub(r"`[^`\n]*`", "", "".join(blocks[::2]))
    plain = re.sub(r"\\.", "\0", outside)
    for mention in allowed:
        plain = plain.replace(mention, "")
    return [name for name, pattern in LIVE.items() if pattern.search(plain)]


def bodies(call: RecordedCall) -> Iterator[Json]:
    """The messages in a request of the bot."""
    if isinstance(call.body, dict):
        data = call.body.get("data", call.body)
        if isinstance(data, dict) and ({"content", "embeds", "components"} & data.keys()):
            yield data


def markdown(message: Json) -> Iterator[str]:
    """The texts of a message that Discord renders; footers, labels and alt texts are plain."""
    if message.get("content"):
        yield message["content"]
    for embed in message.get("embeds") or ():
        yield from (embed[key] for key in ("title", "description") if embed.get(key))
        for entry in embed.get("fields") or ():
            yield from (entry["name"], entry["value"])


def expect_tame(harness: Harness) -> None:
    """Check every message and every edit that the bot has ever sent."""
    world = harness.playground.world
    people = frozenset(f"<@{user_id}>" for user_id in world.users)
    ben = f"<@{world.user('Ben').id}>"
    # The place of a picture that came as a direct message is the bot's own word.
    own = people - {ben} | {f"<#{world.channel('imagine').id}>"}
    checked = 0
    for call in harness.playground.requests:
        if call.path.endswith("/commands"):
            continue
        for message in bodies(call):
            checked += 1
            for text in markdown(message):
                assert live(text, own) == [], text
            allowed = message.get("allowed_mentions")
            if message.get("content"):
                assert allowed is not None
                assert allowed.get("parse", []) == []
                assert allowed.get("roles", []) == []
                assert ben[2:-1] not in map(str, allowed.get("users", []))
        if call.path.endswith("/threads"):
            assert WORDS not in json.dumps(call.body)
    assert checked
    for posted in world.messages.values():
        if posted.author is world.bot:
            assert not posted.mention_everyone
            assert posted.mention_roles == []
            assert world.user("Ben").id not in posted.mentions


async def test_the_prompt_is_shown_letter_for_letter_in_line_while_painting_and_when_done(
    harness: Harness, tricks: str
) -> None:
    gate = harness.recorder.hold(JobState.RUNNING)
    first = await harness.imagine(tricks, negative=tricks)
    second = await harness.imagine(tricks)
    await harness.shows(second, "Queued")
    await harness.shows(first, "Generating")
    await harness.ask("queue", "Ada", channel="imagine")
    gate.set()
    for asked in (first, second):
        job = await harness.ended(asked)
        (result,) = harness.results(job)
        # Unescaped it is what was typed; the alternative text is plain and needs no escaping.
        shown = re.sub(r"\\(.)", r"\1", result.embeds[0]["description"])
        assert job.request.prompt in shown
        assert job.request.prompt.split()[0] == "@everyone"
        assert (result.attachments[0].description or "").endswith(job.request.prompt)
    expect_tame(harness)


async def test_buttons_history_details_and_forms_show_it_as_text(
    harness: Harness, tricks: str
) -> None:
    asked = await harness.imagine(tricks)
    job = await harness.ended(asked)
    status = await harness.shows(asked, "Done")
    ada = harness.member()
    await (await ada.press(status, "Details")).answered()
    harness.clock.pass_time(seconds=5)
    again = await ada.press(status, "Re-roll")
    await again.answered()
    await harness.ended(again)
    form = await ada.press(status, "Edit & run again")
    await form.acked()
    edited = await ada.submit_modal(form, {})
    await edited.answered()
    await harness.ended(edited)
    opened = await ada.select(status, "Open an image …", ["cell:1:1"])
    await opened.acked()
    await (await ada.press(status, "Delete")).answered()
    history = await harness.ask("history")
    await harness.ask("show", id=job.id)
    assert await ada.autocomplete("random", "show", "id", job.id[:8])
    chosen = await ada.select(history, "Show one of them here …", [job.id])
    await chosen.answered()
    await harness.ask("cancel", what=job.id)
    jobs = await harness.jobs()
    assert [one.request.prompt for one in jobs] == [job.request.prompt] * 3
    expect_tame(harness)


@pytest.mark.parametrize("ending", ["failed", "cancelled", "partial"])
async def test_so_do_the_status_messages_of_jobs_that_ended_badly(
    open_bot: Opener, tmp_path: Path, tricks: str, journal: Journal, ending: str
) -> None:
    failing = {"failed": [1, 2], "cancelled": [], "partial": [2]}[ending]
    if ending == "failed":
        journal.expect("the job failed")
    at = NEVER if ending == "cancelled" else None
    play = write_play(tmp_path / "play.jsonl", failing=failing, ends_at=at)
    async with open_bot(backend=replaying(play, speed=1)) as harness:
        asked = await harness.imagine(tricks)
        if ending == "cancelled":
            await harness.reached(asked, JobState.RUNNING)
            said = await harness.ask("cancel", what=(await harness.job(asked)).id)
            assert WORDS in said.content or "stopped" in said.content
        await harness.ended(asked)
        wanted = {"failed": "Failed", "cancelled": "Cancelled by", "partial": "Incomplete"}
        await harness.shows(asked, wanted[ending])
        expect_tame(harness)


@pytest.mark.parametrize("method", ["channel", "direct", "kept"])
async def test_so_do_results_by_every_method(harness: Harness, tricks: str, method: str) -> None:
    gate = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine(tricks)
    await harness.reached(asked, JobState.DELIVERING)
    harness.clock.pass_time(minutes=15)
    if method != "channel":
        harness.playground.world.add_deny_overwrite("imagine", "SEND_MESSAGES")
    harness.playground.world.user("Ada").takes_dms = method != "kept"
    gate.set()
    job = await harness.ended(asked)
    assert job.delivery_method == method
    await harness.shows(asked, "Done")
    if method == "channel":
        # The author alone is called, once, by the bot's own words.
        (result,) = harness.results(job)
        assert harness.called(result) == [harness.member().id]
    expect_tame(harness)


@pytest.mark.parametrize(
    "flags",
    ["--rows [x](https://evil.example)", "--style ||@everyone||", "--seed <@&1>", "--ar `@here`"],
)
async def test_refusals_call_nobody(harness: Harness, tricks: str, flags: str) -> None:
    asked = await harness.imagine(f"{tricks} {flags}")
    assert asked.response is not None
    assert asked.response.ephemeral
    assert await harness.jobs() == []
    expect_tame(harness)


async def test_what_moderators_write_down_about_members_is_text_too(
    harness: Harness, tricks: str
) -> None:
    ada = harness.member()
    harness.playground.world.user("Ada").global_name = "[Ada](https://evil.example) ||x||"
    await harness.ask("quota-admin grant", "Mo", member=ada, images=3, reason=tricks[:190])
    for command in ("history", "show"):
        await harness.ask(f"quota-admin {command}", "Mo", member=ada)
    expect_tame(harness)


def test_the_check_itself_finds_what_it_is_for() -> None:
    for text in ("@everyone", "<@12>", "<@&12>", "[a](https://evil.example)", "discord.gg/x"):
        assert live(text) != []
        assert live(f"`{text}`") == []
    assert live(r"\@everyone \<\@12\> discord\.gg\/x") == []
    assert live("<@12> said", frozenset({"<@12>"})) == []
    assert live("[row](https://discord.com/channels/1/2/3)") == []
