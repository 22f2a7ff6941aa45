"""Pictures to start from: as an option of /imagine, from a result's panel, and in repeated jobs."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from PIL import Image

from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.domain.models import ModelSpec
from bot.frontend.context import PickedPictures
from bot.frontend.image_prompts import download
from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import Invocation
from bot.playground.state.models import Message, Upload
from bot.services.init_images import MAX_BYTES
from tests.frontend.application import Bot, said


def png(width: int = 96, height: int = 48, colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def stored(bot: Bot) -> list[str]:
    return [path.stem for path in (bot.engine.settings.data.dir / "inputs").glob("*.png")]


async def imagine_from(bot: Bot, content: bytes, **options: object) -> Invocation:
    picture = Upload("my photo.png", content, "image/png")
    options = {"prompt": "a heron", "image": picture, **options}
    return await bot.member().slash("imagine", "imagine", **options)


def public(bot: Bot, job: Job) -> list[Message]:
    messages = bot.playground.world.messages_in(job.request.place.channel_id)
    return [one for one in messages if job.id in str(one.controls()) and not one.ephemeral]


async def test_a_request_starts_from_an_attachment(bot: Bot) -> None:
    asked = await imagine_from(bot, png(), strength=0.4)
    status = await asked.answered()
    assert not status.ephemeral
    assert "a heron" in said(status)
    job = await bot.job(asked)
    start = job.request.init_image
    assert start is not None
    assert (start.width, start.height, start.strength) == (96, 48, 0.4)
    assert job.request.width == 2 * job.request.height
    assert stored(bot) == [start.sha256]

    bot.dispatch()
    result = await bot.finished(job)
    assert result.id == status.id, "the status message becomes the result"
    assert public(bot, job) == [result]
    details = await (await bot.member().press(result, "Details")).answered()
    assert "a picture of 96 × 48 px, strength 0.4" in str(details.embeds)
    assert start.sha256 not in str(details.embeds)


async def refusal(asked: Invocation) -> Message:
    """What the member alone reads; nobody sees that the bot has thought about it."""
    (answer, *_) = await asked.followed_up()
    assert answer.ephemeral
    assert asked.response is None
    return answer


REFUSED: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "no picture": (b"<html><body>not a picture</body></html>", {}, "is a web page"),
    "no step": (png(), {"strength": 0.1}, "0.1 of 4 steps is less than one step"),
    "quota": (png(), {"prompt": "a heron --rows 8 --samples 4 --seed 1"}, "images left"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_refusal_is_private_and_leaves_nothing(bot: Bot, kind: str) -> None:
    content, options, sentence = REFUSED[kind]
    if kind == "quota":
        await bot.ask("quota-admin set", who="Mo", images=12, member=bot.member("Ada"))
    before = len(bot.playground.world.messages_in("imagine"))
    answer = await refusal(await imagine_from(bot, content, **options))
    assert sentence in answer.content
    assert await bot.engine.queue.jobs.unfinished() == ()
    assert stored(bot) == []
    later = bot.playground.world.messages_in("imagine")[before:]
    assert [message for message in later if not message.ephemeral] == []


async def test_discord_itself_keeps_the_strength_within_its_bounds(bot: Bot) -> None:
    for value in (-0.1, 1.1):
        with pytest.raises(ClientError):
            await imagine_from(bot, png(), strength=value)


async def test_a_model_that_cannot_start_from_a_picture_refuses_before_it_charges(
    bot: Bot,
) -> None:
    spec = ModelSpec("flux", title="Flux", img2img=False)
    limits = replace(bot.context.limits, table={"flux": spec}, models=("flux",), model="flux")
    bot.client.context = replace(bot.context, limits=limits)
    answer = await refusal(await imagine_from(bot, png()))
    assert "The model Flux cannot start from a picture" in answer.content
    assert stored(bot) == []


async def varied(bot: Bot, result: Message, label: str, who: str = "Ben") -> tuple[Job, Message]:
    """Open image 2 of row 1 and press a button below it; the job and its status message."""
    clicked = await bot.member(who).select(result, "Open an image …", ["cell:1:2"])
    panel = await clicked.answered()
    bot.clock.pass_time(seconds=5)
    pressed = await bot.member(who).press(panel, label)
    status = await pressed.answered()
    return await bot.job(pressed), status


@pytest.mark.parametrize(("label", "strength"), [("Vary (subtle)", 0.35), ("Vary (strong)", 0.7)])
async def test_an_image_is_varied_from_its_panel_with_a_new_seed(
    bot: Bot, label: str, strength: float
) -> None:
    first = await bot.imagine("a heron --seed 7 --no fog")
    bot.dispatch()
    result = await bot.finished(first)

    job, status = await varied(bot, result, label)
    request, start = job.request, job.request.init_image
    assert start is not None
    assert (start.width, start.height, start.strength) == (64, 64, strength)
    assert (request.prompt, request.negative, request.rows) == ("a heron", "fog", 2)
    assert request.seed != 7
    assert request.author.name == "Ben"
    assert "Row 1, image 2, varied by <@" in status.content
    strip = Image.open(bot.engine.results.row_path(first.id, 1))
    folder = bot.engine.settings.data.dir / "inputs"
    with strip, Image.open(folder / f"{start.sha256}.png") as kept:
        assert kept.getpixel((9, 9)) == strip.getpixel((64 + 3 * 2 + 9, 11))
    again = await bot.finished(job)
    assert again.id == status.id

    # A variation is repeated from the same picture, and varied again from its own.
    rerolled = await bot.member().press(again, "Re-roll")
    await rerolled.answered()
    repeated = (await bot.job(rerolled)).request
    assert (repeated.init_image, repeated.seed == request.seed) == (start, False)
    other, _ = await varied(bot, again, label, who="Mo")
    assert other.request.init_image is not None
    assert other.request.init_image.sha256 != start.sha256


async def test_an_edited_request_keeps_its_picture_as_long_as_its_strength_is_there(
    bot: Bot,
) -> None:
    asked = await imagine_from(bot, png())
    await asked.answered()
    job = await bot.job(asked)
    bot.dispatch()
    result = await bot.finished(job)
    for text, strength in (
        ("a swan --strength 0.5", 0.5),
        ("a swan --steps 8", None),
    ):
        opened = await bot.member().press(result, "Edit & run again")
        await opened.acked()
        assert opened.modal is not None
        form = str(opened.modal)
        assert "--strength 0.75" in form
        assert "Remove --strength to leave the picture out" in form
        handed = await bot.member().submit_modal(opened, {"prompt": text})
        assert not (await handed.answered()).ephemeral
        start = (await bot.job(handed)).request.init_image
        assert (start and start.strength) == strength
        assert start is None or start.sha256 == job.request.init_image.sha256  # type: ignore[union-attr]


async def test_a_request_whose_picture_was_erased_is_not_repeated(bot: Bot) -> None:
    asked = await imagine_from(bot, png())
    await asked.answered()
    job = await bot.job(asked)
    bot.dispatch()
    result = await bot.finished(job)
    assert job.request.init_image is not None
    folder = bot.engine.settings.data.dir / "inputs"
    (folder / f"{job.request.init_image.sha256}.png").unlink()
    answer = await (await bot.member().press(result, "Re-roll")).answered()
    assert answer.ephemeral
    assert "picture that this started from was deleted" in answer.content


USE = "Use as image prompt"


async def test_a_picture_in_the_channel_is_used_by_whoever_likes_it(bot: Bot) -> None:
    first = await bot.imagine("a heron")
    bot.dispatch()
    result = await bot.finished(first)
    opened = await (await bot.member("Ben").message_command(USE, result)).acked()
    assert opened.modal is not None, opened.response
    assert "0.75" in str(opened.modal)
    handed = await bot.member("Ben").submit_modal(opened, {"prompt": "a swan", "strength": "0,5"})
    status = await handed.answered()
    assert f"/{result.id})" in status.content
    job = await bot.job(handed)
    start = job.request.init_image
    assert start is not None
    assert (job.request.prompt, job.request.author.name, start.strength) == ("a swan", "Ben", 0.5)
    assert stored(bot) == [start.sha256]
    await bot.finished(job)


async def test_a_form_with_a_mistake_says_so_privately_and_keeps_the_words(bot: Bot) -> None:
    first = await bot.imagine("a heron")
    bot.dispatch()
    result = await bot.finished(first)
    opened = await (await bot.member().message_command(USE, result)).acked()
    handed = await bot.member().submit_modal(opened, {"prompt": "a swan", "strength": "9"})
    answer = await refusal(handed)
    assert "strength must be a number above 0 and at most 1, for example 0.5, not 9" in said(answer)
    assert "a swan --strength 9" in said(answer)
    assert stored(bot) == []


async def test_a_member_s_picture_is_used_and_forgotten_with_a_restart(bot: Bot) -> None:
    ada = bot.member()
    message = await ada.say("imagine", "look")
    world = bot.playground.world
    message.attachments.append(world.client.upload(ada.user, Upload("look.png", png())))
    opened = await (await bot.member("Ben").message_command(USE, message)).acked()
    handed = await bot.member("Ben").submit_modal(opened, {"prompt": "a swan", "strength": ""})
    assert not (await handed.answered()).ephemeral
    start = (await bot.job(handed)).request.init_image
    assert start is not None
    assert (start.width, start.strength) == (96, 0.75)

    bot.client.context = replace(bot.context, picked_pictures=PickedPictures())
    handed = await bot.member("Ben").submit_modal(opened, {"prompt": "a swan", "strength": ""})
    answer = await handed.answered()
    assert answer.ephemeral
    assert "does not know the picture any more" in answer.content
    assert "a swan --strength 0.75" in said(answer)


async def test_a_message_without_a_picture_is_none_to_use(bot: Bot) -> None:
    message = await bot.member().say("imagine", "https://example.org/picture.png")
    answer = await (await bot.member().message_command(USE, message)).answered()
    assert answer.ephemeral
    assert "no picture that was uploaded" in answer.content


async def test_a_receipt_that_got_lost_makes_no_second_message(bot: Bot) -> None:
    for method, path in (("POST", "/callback"), ("PATCH", "@original")):
        bot.playground.world.faults.drop(method, path, carried_out=True)
    asked = await imagine_from(bot, png())
    status = await asked.answered()
    job = await bot.job(asked)
    bot.dispatch()
    assert await bot.finished(job) is status
    assert public(bot, job) == [status]


def attachment(url: str, size: int = 100) -> discord.Attachment:
    data: Any = {"id": "1", "filename": "x.png", "size": size, "url": url, "proxy_url": url}
    nobody: Any = SimpleNamespace(http=None)
    return discord.Attachment(data=data, state=nobody)


@pytest.mark.parametrize(
    ("url", "size", "sentence"),
    [
        ("https://cdn.discordapp.com/attachments/1/2/x.png", MAX_BYTES + 1, "at most 20 MB"),
        ("https://example.org/x.png", 100, "Only pictures that were uploaded to Discord"),
        ("http://cdn.discordapp.com/x.png", 100, "Only pictures"),
        ("https://cdn.discordapp.com.example.org/x.png", 100, "Only pictures"),
        ("https://user@example.org/cdn.discordapp.com", 100, "Only pictures"),
        ("http://169.254.169.254/latest", 100, "Only pictures"),
        ("file:///etc/passwd", 100, "Only pictures"),
    ],
)
async def test_nothing_is_downloaded_from_elsewhere_and_nothing_too_large(
    url: str, size: int, sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        await download(attachment(url, size))


async def test_a_picture_that_was_deleted_meanwhile_is_said_to_be_gone(bot: Bot) -> None:
    ada = bot.member()
    forgotten = bot.playground.world.uploads
    picture = bot.playground.world.client.upload(ada.user, Upload("x.png", png()))
    asked = await ada.slash("imagine", "imagine", prompt="a heron", image=str(picture.id))
    forgotten.clear()
    answer = await refusal(asked)
    assert "does not exist any more" in answer.content
    assert await bot.engine.queue.jobs.unfinished() == ()
