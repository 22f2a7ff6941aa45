"""Test the world without a network: permissions, mentions, ids, modals, waiting, members."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import MemberDriver
from bot.playground.client.waiter import ConditionWaiter
from bot.playground.state import permissions
from bot.playground.state.files import image_size
from bot.playground.state.models import SnowflakeGenerator, iter_components
from bot.playground.state.world import World
from bot.playground.validation.components import number_components
from bot.playground.validation.errors import ApiError, ErrorCollector, Json, parse_snowflake
from bot.playground.validation.mentions import find_mentions
from tests.playground.clock import Clock

BITS = st.integers(0, (1 << 53) - 1)
PAIR = st.tuples(BITS, BITS)
few = settings(max_examples=40, deadline=None)


@few
@given(BITS, PAIR, st.lists(PAIR, max_size=3), PAIR, st.booleans())
def test_nobody_does_anything_in_a_channel_they_cannot_see(
    base: int,
    everyone: tuple[int, int],
    roles: list[tuple[int, int]],
    member: tuple[int, int],
    thread: bool,
) -> None:
    held = permissions.compute(base, everyone, roles, member, thread=thread)
    if base & permissions.ADMINISTRATOR:
        assert held == permissions.ALL
    elif not held & permissions.VIEW_CHANNEL:
        assert held == 0
    else:
        assert held & member[0] & ~_sending() == member[0] & ~_sending()
        sending = permissions.SEND_MESSAGES_IN_THREADS if thread else permissions.SEND_MESSAGES
        if not held & sending:
            assert not held & (permissions.ATTACH_FILES | permissions.EMBED_LINKS)


def _sending() -> int:
    return permissions.ATTACH_FILES | permissions.EMBED_LINKS | permissions.MENTION_EVERYONE


@few
@given(st.lists(st.integers(1, 99), max_size=6), st.lists(st.integers(1, 99), max_size=6))
def test_only_listed_users_are_called(named: list[int], listed: list[int]) -> None:
    text = " ".join(f"<@{one}> <@&{one}>" for one in named) + " @here"
    mentions = find_mentions(text, {"parse": [], "users": [str(one) for one in listed]})
    assert set(mentions.users) == set(named) & set(listed)
    assert mentions.roles == ()
    assert not mentions.everyone
    assert find_mentions(text, {"parse": ["everyone", "roles"]}).everyone


@few
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=30))
def test_ids_grow_whatever_the_clock_does(steps: list[int]) -> None:
    clock = Clock()
    snowflakes = SnowflakeGenerator(clock)
    made = []
    for step in steps:
        made.append(snowflakes.next_id())
        clock.pass_time(milliseconds=step - 1000)
    assert made == sorted(set(made))


TREE: st.SearchStrategy[list[Json]] = st.recursive(
    st.builds(lambda: {"type": 10, "content": "t"}),
    lambda inner: st.builds(
        lambda nodes, ident: {"type": 17, "components": nodes, "id": ident},
        st.lists(inner, max_size=4),
        st.sampled_from([None, 0]),
    ),
    max_leaves=12,
).map(lambda node: [node])


@few
@given(TREE)
def test_every_component_gets_its_own_number(tree: list[Json]) -> None:
    numbers = [node["id"] for node in iter_components(number_components(tree))]
    assert len(numbers) == len(set(numbers)) == len(iter_components(tree))
    assert all(number > 0 for number in numbers)


@few
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=3), min_size=1, max_size=5))
def test_a_form_never_mixes_errors_with_places(paths: list[list[str]]) -> None:
    form = ErrorCollector()
    for path in paths:
        form.at(*path).add_error("CODE", "text")
    with pytest.raises(ApiError) as caught:
        form.raise_errors()

    def check(node: Json) -> None:
        assert "_errors" not in node or len(node) == 1
        for key, inner in node.items():
            if key != "_errors":
                check(inner)

    assert caught.value.errors is not None
    check(caught.value.errors)


def test_ids_are_read_from_strings_and_numbers_only() -> None:
    assert [parse_snowflake(one) for one in ("7", 7, "x", "-7", -7, True, None, "٧", 1.5)] == [
        7,
        7,
        *[None] * 7,
    ]


def test_what_is_no_picture_has_no_size() -> None:
    assert image_size(b"text") == (None, None)


def test_the_scene_has_its_people_and_places(world: World, clock: Clock) -> None:
    assert world.is_moderator(world.user("Mo").id)
    assert world.is_moderator(world.owner_id)
    assert not world.is_moderator(world.user("Ada").id)
    assert not world.is_moderator(1)
    assert world.is_age_restricted(world.channel("#after-dark"))
    thread = world.message_board.open_thread(world.channel("after-dark"), world.bot, "t")
    assert world.is_age_restricted(thread)
    assert world.permissions(world.owner_id, "imagine") == permissions.ALL
    assert world.permissions("Ada", world.direct_channel("Ben")) == 0
    born = (world.guild_id >> 22) + 1_420_070_400_000
    assert born == int(clock.moment.timestamp() * 1000)
    with pytest.raises(KeyError):
        world.command("none")
    world.remove_member("Ben")
    assert world.permissions("Ben", "imagine") == 0
    with pytest.raises(ApiError):
        world.member("Ben")


def test_two_worlds_of_one_seed_are_alike(clock: Clock) -> None:
    first, second = (World(now=clock, rng=random.Random(7)) for _ in range(2))
    assert first.token == second.token
    assert first.url_secret == second.url_secret
    assert World(now=clock).token != World(now=clock).token


async def test_waiting_ends_by_the_event_or_by_its_time(world: World) -> None:
    waiter = ConditionWaiter(world)
    ada = MemberDriver(world, waiter, world.user("Ada"))
    with pytest.raises(TimeoutError):
        await waiter.until(lambda _: None, within=0.01)
    with pytest.raises(ClientError, match="1 to 2000"):
        await ada.say("imagine", "x" * 2001)
    world.overwrite("imagine", world.roles[world.guild_id], deny=permissions.SEND_MESSAGES)
    with pytest.raises(ClientError, match="permission"):
        await ada.say("imagine", "x")
    with pytest.raises(ClientError, match="no command"):
        await ada.slash("imagine", "nothing")
    with pytest.raises(ClientError, match="no such message"):
        await ada.press(1, "x")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda world: world.overwrite("imagine", "Ada", deny=1 << 10), "cannot see"),
        (lambda world: world.overwrite("imagine", "Ada", deny=1 << 31), "may not use"),
    ],
)
def test_commands_need_a_place_one_may_use_them(
    world: World, change: object, complaint: str
) -> None:
    assert callable(change)
    command = world.commands.replace(None, [{"name": "a", "description": "d"}])[0]
    ada, imagine = world.user("Ada"), world.channel("imagine")
    assert world.client.run_command(ada, imagine, command, []).user is ada
    change(world)
    with pytest.raises(ClientError, match=complaint):
        world.client.run_command(ada, imagine, command, [])


def test_commands_keep_to_their_contexts_and_archived_threads_take_none(world: World) -> None:
    private, public = world.commands.replace(
        None,
        [
            {"name": "private", "description": "d", "contexts": [1]},
            {"name": "public", "description": "d", "dm_permission": False},
        ],
    )
    ada, imagine = world.user("Ada"), world.channel("imagine")
    direct = world.direct_channel(ada)
    with pytest.raises(ClientError, match="in a server"):
        world.client.run_command(ada, imagine, private, [])
    with pytest.raises(ClientError, match="servers only"):
        world.client.run_command(ada, direct, public, [])
    assert world.client.run_command(ada, direct, private, []).guild_id is None
    thread = world.message_board.open_thread(imagine, world.bot, "t")
    assert thread.thread is not None
    thread.thread.archived = True
    with pytest.raises(ClientError, match="archived"):
        world.client.run_command(ada, thread, public, [])
    message = world.message_board.say(world.bot, imagine, "x")
    with pytest.raises(ClientError, match="no component"):
        world.client.click(ada, message.id, "x", None)


def test_lives_may_be_shortened(world: World, clock: Clock) -> None:
    world.ack_life = timedelta(seconds=1)
    imagine = world.channel("imagine")
    opened = world.interactions.open(2, world.user("Ada"), imagine, {"name": "x"})
    clock.pass_time(seconds=1.5)
    world.expire_unanswered()
    assert opened.failed


@pytest.mark.parametrize(
    ("name", "who", "sees"),
    [
        ("mod-log", "Ada", False),
        ("mod-log", "Mo", True),
        ("mod-log", "Keeper", True),
        ("mod-log", "Gridbrush", True),
        ("after-dark", "Ada", True),
        ("gallery", "Ben", True),
    ],
)
def test_the_scene_has_what_moderation_needs(name: str, who: str, sees: bool) -> None:
    world = World()
    channel = world.channel(name)
    assert world.client.can_see_channel(world.user(who), channel) == sees
    assert world.is_age_restricted(channel) == (name == "after-dark")
    mo = world.base_permissions(world.member("Mo"))
    assert mo & permissions.MODERATE_MEMBERS
    assert not world.base_permissions(world.member("Ada")) & permissions.MODERATE_MEMBERS
