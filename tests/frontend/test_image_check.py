"""Images that NudeNet marks, on the loopback Discord: held, behind a spoiler, refunded, refused."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from bot.backends import scripted
from bot.domain.errors import NotAllowed, RequestError
from bot.domain.events import Failed, FailureReason, ImagesChecked
from bot.domain.grid import GridGeometry
from bot.domain.image_check import ImageOutcome
from bot.domain.job import Job, JobState
from bot.frontend.delivery import DiscordDelivery
from bot.frontend.delivery_methods import DIRECT
from bot.frontend.result_embeds import details_message, public_links
from bot.frontend.submission import ONLY_AGE_RESTRICTED
from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Json, Message, Upload
from bot.services.image_check import BLOCKED, NO_MODERATORS, START_MARKED, START_UNCHECKED
from bot.services.queue import Actor
from bot.settings import Settings
from bot.store.ledger import LedgerRepository
from tests.frontend.application import Bot, running, said
from tests.frontend.harness import turns
from tests.image_check_component import FOLDER, landscape, portrait, require_component
from tests.playground.clock import Clock
from tests.unit.domain.job_factories import DELIVERING, after

SIDE = 128
FACE = "a portrait"
SCENE = "a lake below mountains"
"""Prompts: the backend publishes a face where a prompt asks for one."""

Start = Callable[..., AbstractAsyncContextManager[Bot]]


@cache
def _cell(face: bool) -> Image.Image:
    return portrait(SIDE) if face else landscape(SIDE)


def paint(env: Mapping[str, str], name: str) -> bytes:
    """Return a row or a grid; of a portrait, the last image of the last row shows the face."""
    rows = int(env["ROWS"])
    shown = range(1, rows + 1) if name == "grid.png" else [int(name[4:6])]
    geometry = GridGeometry(SIDE, SIDE, len(shown), int(env["SAMPLES"]))
    grid = Image.new("RGB", geometry.size)
    for place, row in enumerate(shown, 1):
        for column in range(1, geometry.samples + 1):
            face = "portrait" in env["PROMPT"] and (row, column) == (rows, geometry.samples)
            grid.paste(_cell(face), geometry.cell_box(place, column)[:2])
    out = io.BytesIO()
    grid.save(out, "PNG", compress_level=1)
    return out.getvalue()


def set_up(settings: Settings, engine: str | Path = "nudenet", **more: object) -> Settings:
    check = {"engine": str(engine), "labels": {"FACE_FEMALE": 0.6}, **more}
    return Settings.model_validate(
        settings.model_dump(exclude={"image_check", "imagine"})
        | {
            "image_check": check,
            "imagine": {"width": SIDE, "height": SIDE, "rows": 2, "samples": 2, "steps": 4},
        }
    )


@pytest.fixture
def start(
    playground: Playground, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Start:
    """Start the bot, also again in the same folder."""
    require_component()
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(scripted, "synthetic_image", paint)

    def begin(engine: str | Path = "nudenet", rows: str = "links", **more: object) -> object:
        return running(playground, set_up(settings, engine, **more), clock, rows=rows)

    return begin  # type: ignore[return-value]


async def ask(
    bot: Bot, prompt: str, who: str = "Ada", channel: str | int = "imagine"
) -> Invocation:
    bot.clock.pass_time(seconds=1)
    asked = await bot.member(who).slash(channel, "imagine", prompt=prompt)
    await asked.answered()
    return asked


async def shows(bot: Bot, asked: Invocation, words: str) -> Message:
    """Wait until the status message of a request says this."""

    def found(_: object) -> Message | None:
        message = asked.response
        return message if message is not None and words in said(message) else None

    return await bot.playground.until(found)


def words(entry: Message) -> str:
    """Everything that an entry says, without the backslashes of escaped markdown."""
    return said(entry).replace("\\", "")


async def posted(bot: Bot, text: str, channel: str | int = "mod-log") -> Message:
    """Wait until a channel has a message that says this."""

    def found(_: object) -> Message | None:
        messages = bot.playground.world.messages_in(channel)
        return next((one for one in messages if text in said(one)), None)

    return await bot.playground.until(found)


async def ended(bot: Bot, asked: Invocation, words: str = "Done") -> Job:
    """Wait until a request's status message says this, and its job has ended."""
    await shows(bot, asked, words)
    async for _ in turns():
        if (job := await bot.job(asked)).state.terminal:
            return job
    raise AssertionError(f"the job is {job.state}")


async def admin(bot: Bot, command: str, who: str = "Keeper", **options: object) -> str:
    bot.clock.pass_time(seconds=1)
    asked = await bot.member(who).slash("imagine", f"art-admin {command}", **options)
    answer = await asked.answered()
    assert answer.ephemeral
    return said(answer)


async def press(bot: Bot, message: Message, label: str, who: str = "Mo") -> str:
    bot.clock.pass_time(seconds=2)
    return said(await (await bot.member(who).press(message, label)).answered())


async def set_log_channel(bot: Bot) -> None:
    keeper = Actor(bot.member("Keeper").id, "Keeper", moderator=True, manager=True)
    world = bot.playground.world
    await bot.context.moderation.set_setting(
        world.guild_id, "log_channel", world.channel("mod-log").id, by=keeper
    )


def files(bot: Bot, channel: str | int = "imagine") -> list[str]:
    """Return the names of all files in a channel."""
    messages = bot.playground.world.messages_in(channel)
    return [file.filename for message in messages for file in message.attachments]


def links(bot: Bot, channel: str = "imagine") -> list[str]:
    controls: list[Json] = [
        control
        for message in bot.playground.world.messages_in(channel)
        for control in message.controls()
    ]
    return [str(control["url"]) for control in controls if control.get("url")]


async def faults(bot: Bot) -> tuple[str, ...]:
    return await LedgerRepository(bot.engine.database).check()


async def test_a_face_is_held_until_a_moderator_decides_and_a_landscape_passes(
    start: Start,
) -> None:
    async with start() as bot:
        await set_log_channel(bot)
        bot.dispatch()
        scene = await ended(bot, await ask(bot, SCENE))
        assert (scene.state, scene.image_check) == (JobState.FINISHED, ImageOutcome.PASSED)
        shown = len(files(bot))
        assert shown == 1

        asked = await ask(bot, FACE)
        shown_as = await shows(bot, asked, "Waits for a moderator")
        job = await bot.job(asked)
        assert job.is_held
        assert "4 images will be refunded" in said(shown_as)
        # Nothing of it can be seen anywhere.
        assert shown_as.attachments == []
        assert (len(files(bot)), links(bot)) == (shown, [])
        answer = await bot.ask("show", id=job.id)
        assert "Waits for a moderator" in said(answer)
        assert answer.attachments == []
        with pytest.raises(RequestError, match="it waits for a moderator"):
            await bot.context.queue.cancel(job.id, Actor(bot.member("Ada").id, "Ada"))

        # Another member's requests are not held up.
        await ended(bot, await ask(bot, SCENE, who="Ben"))

        entry = await posted(bot, "Waits for a moderator")
        assert "FACE_FEMALE 0." in words(entry)
        assert "in row 2, image 2" in words(entry)
        assert [file.filename[:8] for file in entry.attachments] == ["SPOILER_"]
        assert not any("image" in embed for embed in entry.embeds)
        assert "1 request" in await admin(bot, "status", who="Mo")
        assert "image check" in await admin(bot, "holds", who="Mo")
        assert "waits for a moderator" in said(await bot.ask("queue"))
        # What only waits for a decision does not keep a server from being drained.
        await admin(bot, "drain")
        await posted(bot, "Server is drained")
        await admin(bot, "resume")
        for guild, by, refusal in (
            (bot.playground.world.guild_id, Actor(1, "Ada"), "Only moderators"),
            (4_000, Actor(1, "Ada", moderator=True), "nothing to decide"),
        ):
            with pytest.raises(RequestError, match=refusal):
                await bot.context.moderation.decide_hold(
                    guild, job.id, "image", approved=True, by=by
                )

        both = [press(bot, entry, "Approve", who=who) for who in ("Mo", "Keeper")]
        assert [text[:16] for text in sorted(await asyncio.gather(*both))] == [
            "Approved.",
            "It was already a",
        ]
        done = await shows(bot, asked, "Done")
        assert len(done.attachments) == 1
        assert "Approved by" in words(await posted(bot, "Approved by"))
        approved = await ended(bot, asked)
        assert (approved.state, approved.image_check) == (JobState.FINISHED, ImageOutcome.APPROVED)
        assert len((await bot.ask("show", id=job.id)).attachments) == 1

        before = len(files(bot))
        again = await ask(bot, FACE, who="Ben")
        await shows(bot, again, "Waits for a moderator")
        told = await admin(
            bot, "decide", who="Mo", request=(await bot.job(again)).id, decision="reject"
        )
        assert "Rejected, and refunded" in told
        shown_as = await shows(bot, again, "Not posted")
        assert "A moderator decided not to post these images." in words(shown_as)
        assert "4 images refunded" in said(shown_as)
        rejected = await ended(bot, again, "Not posted")
        assert (rejected.state, rejected.cause) == (JobState.FAILED, FailureReason.NOT_ALLOWED)
        assert "Not posted" in said(await bot.ask("show", who="Ben", id=rejected.id))
        assert len(files(bot)) == before
        assert await faults(bot) == ()


async def test_a_request_starts_from_no_picture_that_would_not_be_posted(
    start: Start, tmp_path: Path
) -> None:
    def photo(picture: Image.Image) -> Upload:
        out = io.BytesIO()
        picture.save(out, "PNG")
        return Upload("photo.png", out.getvalue(), "image/png")

    async def tried(bot: Bot, picture: Image.Image, channel: str = "imagine") -> str:
        bot.clock.pass_time(seconds=1)
        options = {"prompt": SCENE, "image": photo(picture)}
        asked = await bot.member().slash(channel, "imagine", **options)

        def told(_: object) -> str:
            return " ".join(map(said, filter(None, [asked.response, *asked.followups])))

        return await bot.playground.until(told)

    face, scene = portrait(2 * SIDE), landscape(2 * SIDE)
    async with start() as bot:
        assert START_MARKED in await tried(bot, face)
        assert await bot.engine.queue.jobs.unfinished() == ()
        assert list((bot.engine.settings.data.dir / "inputs").glob("*")) == []
        for picture, channel in ((scene, "imagine"), (face, "after-dark")):
            assert "image check" not in await tried(bot, picture, channel)
        assert len(await bot.engine.queue.jobs.unfinished()) == 2
        for action, allowed in (("block", False), ("spoiler", True), ("allow", True)):
            await admin(bot, "image-check", action=action)
            assert (START_MARKED in await tried(bot, face)) is not allowed
    async with start(tmp_path / "missing.onnx") as bot:
        assert START_UNCHECKED not in await tried(bot, scene)  # this server checks nothing
        await admin(bot, "image-check", action="hold")
        assert START_UNCHECKED in await tried(bot, scene)


async def test_every_server_has_its_own_action_and_discords_flag_counts(start: Start) -> None:
    async with start(rows="attachments") as bot:
        await set_log_channel(bot)
        bot.dispatch()
        world = bot.playground.world
        with pytest.raises(ClientError, match="permission"):
            await admin(bot, "image-check", who="Ada", action="allow")
        moderator = Actor(bot.member("Mo").id, "Mo", moderator=True)
        with pytest.raises(NotAllowed, match="Manage Server"):
            await bot.context.moderation.set_setting(
                world.guild_id, "image_action", "allow", by=moderator
            )
        assert "marked images wait for a moderator, except in" in await admin(bot, "status")

        told = await admin(bot, "image-check", action="spoiler")
        assert told.startswith("Marked images are posted behind a spoiler.")
        asked = await ask(bot, FACE)
        done = await shows(bot, asked, "Done")
        assert [file.filename[:18] for file in done.attachments] == ["SPOILER_gridbrush-"]
        assert not any("image" in embed for embed in done.embeds)
        thread = await bot.playground.until(lambda _: world.channels.get(done.id))
        await bot.playground.until(lambda _: len(files(bot, thread.id)) == 2 or None)
        assert all(name.startswith("SPOILER_") for name in files(bot, thread.id))
        opened = await bot.member("Ada").select(done, "Open an image …", ["cell:1:1"])
        (file,) = (await opened.answered()).attachments
        assert file.filename.startswith("SPOILER_")
        job = await ended(bot, asked)
        (file,) = (await bot.ask("show", id=job.id)).attachments
        assert file.filename.startswith("SPOILER_")

        await admin(bot, "image-check", action="block")
        blocked = await shows(bot, await ask(bot, FACE), "Not posted")
        assert BLOCKED in words(blocked)
        assert blocked.attachments == []
        assert "FACE_FEMALE" in words(await posted(bot, "Images blocked and refunded"))

        # Where Discord says that the channel is age-restricted they may be shown, and only there.
        asked = await ask(bot, FACE, channel="after-dark")
        done = await shows(bot, asked, "Done")
        assert not done.attachments[0].filename.startswith("SPOILER_")
        job = await ended(bot, asked)
        for channel in ("imagine", world.direct_channel("Ada").id):
            refused = await (await bot.member("Ada").slash(channel, "show", id=job.id)).answered()
            assert (refused.content, refused.attachments) == (ONLY_AGE_RESTRICTED, [])
            bot.clock.pass_time(seconds=1)
        assert DIRECT not in await DiscordDelivery(bot.client).methods(job)
        shown = await (await bot.member("Ada").slash("after-dark", "show", id=job.id)).answered()
        assert len(shown.attachments) == 1
        await admin(bot, "image-check", action="allow")
        assert "all images are posted without a check" in await admin(bot, "status")
        pid = bot.engine.detector.pid if bot.engine.detector else None
        job = await ended(bot, await ask(bot, FACE))
        # In direct messages the operator's action holds, and there is no moderator.
        direct = world.direct_channel("Ada").id
        shown = await (await bot.member("Ada").slash(direct, "show", id=job.id)).answered()
        await press(bot, shown, "Re-roll", who="Ada")
        assert NO_MODERATORS in words(await posted(bot, "Not posted", direct))

        assert "wait for a moderator" in await admin(bot, "image-check", action="default")
        assert bot.engine.detector is not None
        assert bot.engine.detector.pid == pid
        assert await faults(bot) == ()


async def test_a_hold_outlives_restarts_and_is_not_checked_again(
    start: Start, tmp_path: Path
) -> None:
    async with start() as bot:
        await set_log_channel(bot)
        bot.dispatch()
        asked = await ask(bot, FACE)
        await shows(bot, asked, "Waits for a moderator")
        entry = await posted(bot, "Waits for a moderator")
        # One that has passed and cannot be posted at the moment.
        bot.playground.world.faults.answer("PATCH", "@original$", 503, times=1000)
        scene = await ask(bot, SCENE, who="Ben")
        async for _ in turns():
            if (await bot.job(scene)).image_check:
                break
    bot.playground.world.faults.clear()
    # A model that is missing, or no check at all, would hold or post what was not decided.
    async with start(tmp_path / "missing.onnx") as bot:
        await bot.engine.scheduler.resume_jobs()
        assert (await bot.job(asked)).is_held
        assert (await ended(bot, scene)).image_check is ImageOutcome.PASSED
        assert await press(bot, entry, "Approve") == "Approved."
        # Stopped before the approval has had its effect.
        bot.clock.pass_time(minutes=30)
    async with start("") as bot:
        await bot.engine.scheduler.resume_jobs()
        await bot.engine.scheduler.idle()
        job = await bot.job(asked)
        assert (job.state, job.image_check) == (JobState.FINISHED, ImageOutcome.APPROVED)
        grids = [name for name in files(bot) if name.startswith("gridbrush-")]
        assert len(grids) == 2
        assert await faults(bot) == ()


async def test_what_cannot_be_checked_is_held_and_status_says_so(
    start: Start, tmp_path: Path
) -> None:
    async with start(tmp_path / "missing.onnx", action="block") as bot:
        await set_log_channel(bot)
        bot.dispatch()
        asked = await ask(bot, SCENE)
        await shows(bot, asked, "Waits for a moderator")
        assert files(bot) == []
        entry = await posted(bot, "Waits for a moderator")
        assert "image check failed: there is no file" in words(entry)
        assert len(entry.attachments) == 1
        status = await admin(bot, "status")
        assert "The image check failed (there is no file missing.onnx)" in status
        for text in (status, words(entry)):
            assert str(tmp_path) not in text  # moderators are not the operator
        assert await press(bot, entry, "Reject") == "Rejected. The member's images are refunded."
        await shows(bot, asked, "Not posted")
        assert await faults(bot) == ()


@pytest.mark.parametrize(
    "job",
    [
        after(*DELIVERING, ImagesChecked(ImageOutcome.HELD)),
        after(
            *DELIVERING,
            ImagesChecked(ImageOutcome.HELD),
            Failed(FailureReason.NOT_ALLOWED, "No."),
        ),
        after(*DELIVERING, Failed(FailureReason.NOT_ALLOWED, "No.")),
    ],
    ids=["held", "rejected", "blocked"],
)
def test_withheld_images_have_no_links(job: Job) -> None:
    assert public_links(job) == ()
    assert "https://host" not in str(details_message(job))
    assert public_links(after(*DELIVERING)) != ()
