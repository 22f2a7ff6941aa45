"""Test details of the member client, mostly without a network: modals, threads, errors."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import Invocation, MemberDriver
from bot.playground.client.waiter import ConditionWaiter
from bot.playground.server import Playground
from bot.playground.state import interactions
from bot.playground.state.files import signed_url
from bot.playground.state.models import COMMAND, Interaction, Message, Upload
from bot.playground.state.world import World
from bot.playground.validation.components import number_components
from bot.playground.validation.message_body import BodyKind, parse_message_body
from tests.playground.bots import png
from tests.playground.clock import Clock
from tests.playground.raw import calling, error

CHOICES = [{"label": one, "value": one} for one in ("a", "b")]


def label(kind: int, name: str, **more: Any) -> dict[str, Any]:
    return {"type": 18, "label": name, "component": {"type": kind, "custom_id": name, **more}}


FORM = {
    "custom_id": "form",
    "title": "All sorts",
    "components": number_components(
        [
            {"type": 10, "content": "Please fill in"},
            label(21, "radio", options=CHOICES),
            label(22, "boxes", options=CHOICES, max_values=2, required=False),
            label(23, "box", default=True),
            label(5, "who"),
            label(4, "text", style=1, value="as it was"),
            label(4, "free", style=2, required=False),
        ]
    ),
}


@pytest.fixture
def ada(world: World) -> MemberDriver:
    return MemberDriver(world, ConditionWaiter(world), world.user("Ada"))


def opened(world: World, modal: dict[str, Any] | None = None) -> Invocation:
    interaction = world.interactions.open(
        COMMAND, world.user("Ada"), world.channel("imagine"), {"name": "x"}
    )
    interaction.modal = FORM if modal is None else modal
    return Invocation(world, ConditionWaiter(world), interaction)


def posted(world: World, where: str | int = "imagine", **body: Any) -> Message:
    return world.message_board.post(
        world.channel(where), world.bot, parse_message_body(body, {}, BodyKind.CHANNEL)
    )


def values_of(interaction: Interaction) -> dict[str, Any]:
    found = {}
    for top in interaction.data["components"]:
        if "component" in top:
            field = top["component"]
            found[field["custom_id"]] = field.get("value", field.get("values"))
    return found


async def test_a_form_of_all_sorts_is_handed_in_as_filled(world: World, ada: MemberDriver) -> None:
    ben = world.member("Ben")
    given = {"radio": "b", "boxes": ["a", "b"], "box": False, "who": [ben], "free": ""}
    sent = await ada.submit_modal(opened(world), given)
    assert values_of(sent.interaction) == {
        "radio": "b",
        "boxes": ["a", "b"],
        "box": False,
        "who": [str(ben.id)],
        "text": "as it was",
        "free": "",
    }
    assert str(ben.id) in sent.interaction.data["resolved"]["users"]
    defaults = await ada.submit_modal(opened(world), {"who": ben})
    assert values_of(defaults.interaction)["box"] is True
    assert values_of(defaults.interaction)["radio"] is None


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"who": []}, "required"),
        ({"who": ["1"]}, "does not exist"),
        ({"who": ["1", "2"]}, "Too many"),
        ({"who": ["1"], "boxes": ["c"]}, "among the choices"),
        ({"who": ["1"], "text": "x" * 4001}, "between"),
    ],
)
async def test_a_form_filled_in_wrongly_stays_open(
    world: World, ada: MemberDriver, values: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        await ada.submit_modal(opened(world), values)


async def test_forms_handed_in_by_strangers_or_broken_are_refused(
    world: World, ada: MemberDriver
) -> None:
    form = opened(world)
    ben, client = world.user("Ben"), world.client
    with pytest.raises(ClientError, match="No such modal"):
        client.submit(ben, form.interaction, "form", [])
    with pytest.raises(ClientError, match="missing"):
        client.submit(ada.user, form.interaction, "form", [])
    with pytest.raises(ClientError, match="submission is invalid"):
        client.submit(ada.user, form.interaction, "form", ["text"])  # type: ignore[list-item]
    small = {"custom_id": "form", "components": number_components([label(4, "t", style=1)])}
    strange = [label(4, "t", value="x"), label(4, "u", value="x")]
    with pytest.raises(ClientError, match="no field"):
        client.submit(ada.user, opened(world, small).interaction, "form", strange)
    with pytest.raises(ClientError, match="Text is needed"):
        client.submit(ada.user, opened(world, small).interaction, "form", [label(4, "t")])
    form.interaction.modal = None
    with pytest.raises(ClientError, match="No modal"):
        await ada.submit_modal(form, {})


async def test_archived_threads_take_no_presses(world: World, ada: MemberDriver) -> None:
    thread = world.message_board.open_thread(world.channel("imagine"), world.bot, "talk")
    row = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]}
    message = posted(world, thread.id, content="x", components=[row])
    pressed = await ada.press(message, "Go")
    assert pressed.token == pressed.interaction.token
    assert thread.thread is not None
    thread.thread.archived = True
    with pytest.raises(ClientError, match="archived"):
        await ada.press(message, "Go")


async def test_selects_take_lists_and_channels_of_their_kind(
    world: World, ada: MemberDriver
) -> None:
    select = {"type": 8, "custom_id": "where", "channel_types": [15]}
    message = posted(world, content="x", components=[{"type": 1, "components": [select]}])
    forum = world.add_channel("forum", kind=15)
    chosen = await ada.select(message, "where", [forum])
    assert str(forum.id) in chosen.interaction.data["resolved"]["channels"]
    with pytest.raises(ClientError, match="does not exist"):
        await ada.select(message, "where", [world.channel("imagine")])
    with pytest.raises(ClientError, match="must be a list"):
        world.client.click(ada.user, message.id, "where", str(forum.id))


async def test_typing_needs_an_option_in_focus_and_targets_must_exist(
    world: World, ada: MemberDriver
) -> None:
    leaf = {"name": "o", "description": "d", "type": 3, "autocomplete": True}
    sub = {"name": "sub", "description": "d", "type": 1, "options": [leaf]}
    command, menu = world.commands.replace(
        None,
        [
            {"name": "paint", "description": "d", "options": [sub]},
            {"name": "Greet", "type": 2},
        ],
    )
    imagine = world.channel("imagine")
    with pytest.raises(ClientError, match="No option is focused"):
        world.client.run_command(
            ada.user, imagine, command, [{"name": "sub", "options": []}], typing=True
        )
    with pytest.raises(ClientError, match="list of objects"):
        world.client.run_command(ada.user, imagine, command, "text")
    with pytest.raises(ClientError, match="no such user"):
        world.client.run_context_menu(ada.user, imagine, menu, 1)
    with pytest.raises(TimeoutError):
        await ada.autocomplete("imagine", "paint sub", "o", "x", within=0.01)
    (asked,) = world.interactions.all()
    assert asked.data["options"][0]["options"][0]["focused"]


def test_what_a_message_says_is_read_from_all_its_parts(world: World) -> None:
    message = posted(
        world,
        content="content",
        embeds=[
            {
                "title": "title",
                "description": "description",
                "fields": [{"name": "name", "value": "value"}],
                "footer": {"text": "footer"},
            }
        ],
    )
    assert message.text == "content\ntitle\ndescription\nname\nvalue\nfooter"


def test_a_reply_calls_the_author_unless_told_not_to(world: World) -> None:
    said = world.say("Ada", "imagine", "hello")
    reference = {"message_id": str(said.id)}
    reply = posted(world, content="re", message_reference=reference)
    assert reply.mentions == [world.user("Ada").id]
    lost = posted(
        world,
        content="re",
        message_reference={"message_id": "1", "fail_if_not_exists": False},
    )
    assert lost.reference_id is None
    quiet = {"parse": [], "replied_user": False}
    silent = posted(world, content="re", message_reference=reference, allowed_mentions=quiet)
    assert silent.mentions == []


def test_deleting_a_channel_takes_its_threads_along(world: World) -> None:
    imagine = world.channel("imagine")
    thread = world.message_board.open_thread(imagine, world.bot, "talk")
    message = posted(world, thread.id, content="x")
    world.delete_channel(imagine)
    assert thread.id not in world.channels
    assert message.id not in world.messages


def test_very_old_interactions_are_forgotten(world: World) -> None:
    first = opened(world).interaction
    ada, imagine = world.user("Ada"), world.channel("imagine")
    for _ in range(interactions.MAX_INTERACTIONS):
        world.interactions.open(COMMAND, ada, imagine, {"name": "x"})
    assert first not in world.interactions.all()
    assert len(world.interactions.all()) == interactions.MAX_INTERACTIONS


async def test_old_messages_are_not_deleted_in_bulk_nor_others_threads_edited(
    playground: Playground, clock: Clock
) -> None:
    world = playground.world
    imagine = world.channel("imagine")
    world.overwrite("imagine", world.bot, allow=1 << 13)
    old = [world.say("Ada", "imagine", text) for text in "ab"]
    clock.pass_time(days=15)
    theirs = world.message_board.open_thread(imagine, world.user("Ada"), "theirs")
    async with calling(playground) as api:
        body = {"messages": [str(one.id) for one in old]}
        path = f"/channels/{imagine.id}/messages/bulk-delete"
        assert error(await api.call("POST", path, body)) == (400, 50035)
        assert error(await api.call("PATCH", f"/channels/{theirs.id}", {"name": "x"})) == (
            403,
            50013,
        )
        forum = world.add_channel("forum", kind=15)
        post = world.say("Mo", forum, "x")
        inside = f"/channels/{forum.id}/messages/{post.id}/threads"
        assert error(await api.call("POST", inside, {"name": "t"})) == (403, 50024)
        direct = world.direct_channel("Ada")
        typing = await api.call("POST", f"/channels/{direct.id}/typing")
        assert typing.status_code == 204


async def test_closing_hangs_up_on_pages_and_timers() -> None:
    playground = Playground()
    await playground.start("0.0.0.0")
    assert playground.page_url.startswith("http://127.0.0.1:")
    world = playground.world
    url = f"{playground.page_url}play/socket?as={world.user('Ada').id}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert (await socket.receive_json())["t"] == "BOT_STATUS"
        opened(world)
        await playground.aclose()
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    await playground.aclose()
    opened(world)


async def test_an_uploaded_file_is_served_until_its_link_expires(
    playground: Playground, clock: Clock
) -> None:
    world = playground.world
    kept = world.client.upload(world.user("Ada"), Upload("page.html", b"<script>", "text/html"))
    drawn = world.client.upload(world.user("Ada"), Upload("a.png", png()))
    async with aiohttp.ClientSession() as session:
        async with session.get(signed_url(world, kept)) as reply:
            assert reply.headers["Content-Type"] == "application/octet-stream"
            assert reply.headers["Content-Disposition"] == "attachment"
        url = signed_url(world, drawn)
        clock.pass_time(hours=23)
        async with session.get(url) as reply:
            assert reply.headers["Content-Disposition"] == "inline"
        clock.pass_time(hours=2)
        async with session.get(url) as reply:
            assert reply.status == 404
