"""Stars and the intents of galleries, on a real database; Discord is in tests/frontend."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import InvalidRequest, NotAllowed, RequestError
from bot.domain.events import MessageRef
from bot.services.gallery import GalleryService, StarOutcome
from bot.services.moderation_records import ServerSettings, parse_settings
from bot.services.queue import Actor
from bot.store import deliveries, gallery, jobs
from bot.store.audit import AuditRepository
from bot.store.database import Database
from bot.store.gallery import GalleryRepository, StarCount
from bot.store.guilds import GuildRepository
from bot.store.moderation_log import ModerationLogRepository
from tests.unit.store.builders import NOW, a_job, fixed_now
from tests.unit.store.job_factories import keep, live

GUILD, GALLERY, AUTHOR = 1, 30, 7
BOSS = Actor(50, "Keeper", moderator=True, manager=True)
JOB = "a" * 16


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "test.sqlite3", now=fixed_now) as opened:
        yield opened


@pytest.fixture
def service(database: Database) -> GalleryService:
    return GalleryService(database, now=fixed_now)


async def finished(database: Database, job_id: str = JOB, guild: int = GUILD) -> None:
    """Store a finished result of the author's."""
    job = a_job(job_id, user=AUTHOR, guild=guild, images=1)
    await keep(database, [job])
    await live(database, job, range(1, 7))


async def star(service: GalleryService, *users: int, job_id: str = JOB) -> list[StarOutcome]:
    return [await service.toggle_star(job_id, Actor(user, "x")) for user in users]


async def wanted(database: Database) -> list[str]:
    return [post.job_id for post in await GalleryRepository(database).unposted(GUILD)]


@pytest.mark.parametrize(
    ("channel", "threshold", "presses", "goes"),
    [
        (GALLERY, 1, [8], [True]),
        (GALLERY, 2, [8, 9], [False, True]),
        (GALLERY, 2, [AUTHOR, 8], [False, False]),
        (GALLERY, 2, [AUTHOR, 8, 9], [False, False, True]),
        (GALLERY, 2, [8, 8, 9], [False, False, False]),
        (GALLERY, 2, [8, 8, 8, 9], [False, False, False, True]),
        (GALLERY, 1, [AUTHOR, AUTHOR], [False, False]),
        (GALLERY, 1, [8, 8, 8, 9], [True, False, False, False]),
        (GALLERY, 100, [*range(100, 200)], [*[False] * 99, True]),
        (None, None, [8, 9, 10, 11], [False] * 4),
    ],
)
async def test_a_result_goes_to_the_gallery_once_at_so_many_stars_of_others(
    database: Database,
    service: GalleryService,
    channel: int | None,
    threshold: int | None,
    presses: list[int],
    goes: list[bool],
) -> None:
    await finished(database)
    if channel:
        await service.set_gallery(GUILD, channel, threshold, by=BOSS)
    outcomes = await star(service, *presses)
    assert [bool(outcome.goes_to) for outcome in outcomes] == goes
    assert await wanted(database) == [JOB] * any(goes)
    given = {user for user in presses if presses.count(user) % 2}
    assert outcomes[-1].count == StarCount(len(given), len(given - {AUTHOR}))
    assert outcomes[-1].starred == (presses[-1] in given)


async def test_a_star_in_a_direct_message_is_a_favourite_only(
    database: Database, service: GalleryService
) -> None:
    await finished(database, guild=0)
    await service.set_gallery(0, GALLERY, 1, by=BOSS)
    assert await star(service, AUTHOR, 8) == [
        StarOutcome(True, StarCount(1, 0)),
        StarOutcome(True, StarCount(2, 1)),
    ]


Gone = Callable[[sqlite3.Connection], object]


def removed(link: sqlite3.Connection) -> object:
    return deliveries.want_removal(link, JOB, [], at=NOW)


def erased(link: sqlite3.Connection) -> object:
    return jobs.erase_author_data(link, AUTHOR, at=NOW)


@pytest.mark.parametrize(
    ("gone", "why"), [(removed, "A moderator removed"), (erased, "The author erased")]
)
async def test_what_does_not_stand_any_more_gets_no_star(
    database: Database, service: GalleryService, gone: Gone, why: str
) -> None:
    await finished(database)
    await database.write(gone)
    with pytest.raises(RequestError, match=why):
        await star(service, 8)
    await keep(database, [a_job("b" * 16)])
    for job_id in ("b" * 16, "c" * 16):
        with pytest.raises(RequestError, match="Only finished results"):
            await star(service, 8, job_id=job_id)


@pytest.mark.parametrize("gone", ["removed", "withdrawn"])
@pytest.mark.parametrize("state", ["never wanted", "wanted", "attempted", "posted"])
async def test_a_result_that_is_gone_loses_its_stars_and_is_never_posted(
    database: Database, service: GalleryService, state: str, gone: str
) -> None:
    await finished(database)
    await service.set_gallery(GUILD, GALLERY, 1, by=BOSS)
    if state != "never wanted":
        await star(service, 8, AUTHOR)
    if state in ("attempted", "posted"):
        assert await database.write(lambda link: gallery.record_attempt(link, JOB, GALLERY, at=NOW))
    if state == "posted":
        await database.write(
            lambda link: gallery.record_posted(link, JOB, MessageRef(GALLERY, 5), at=NOW)
        )
    for _ in range(2):
        await (database.write(removed) if gone == "removed" else service.withdraw(JOB))
    reading = GalleryRepository(database)
    assert await reading.stars_by(8) == 0
    assert await wanted(database) == []
    # Only what was, or may be, posted has to be deleted in Discord.
    left = await reading.withdrawn(GUILD)
    assert [post.job_id for post in left] == [JOB] * (state in ("attempted", "posted"))
    assert await reading.servers_pending() == (GUILD,) * len(left)
    assert not await database.write(lambda link: gallery.record_attempt(link, JOB, GALLERY, at=NOW))
    if gone == "withdrawn":  # it can be starred where /show brings it out, but stays out
        assert [outcome.goes_to for outcome in await star(service, 8, 9)] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "result", "settings"),
    [
        ([(GALLERY, None)], (GALLERY, 3), (GALLERY, 3)),
        ([(GALLERY, 5)], (GALLERY, 5), (GALLERY, 5)),
        ([(GALLERY, 5), (31, None)], (31, 5), (31, 5)),
        ([(GALLERY, 5), (None, 100)], (GALLERY, 100), (GALLERY, 100)),
        ([(GALLERY, 5), (None, None)], (0, 5), (0, 5)),
    ],
)
async def test_the_gallery_is_set_and_logged(
    database: Database,
    service: GalleryService,
    changes: list[tuple[int | None, int | None]],
    result: tuple[int, int],
    settings: tuple[int, int],
) -> None:
    for channel, threshold in changes:
        told = await service.set_gallery(GUILD, channel, threshold, by=BOSS)
    assert told == result
    stored = parse_settings(await GuildRepository(database).settings(GUILD))
    assert (stored.gallery_channel_id, stored.gallery_threshold) == settings
    entries = await AuditRepository(database).entries(GUILD)
    assert [entry.subject for entry in entries] == ["setting:gallery"] * len(changes)
    assert await ModerationLogRepository(database).pending_count(GUILD) == len(changes)


@pytest.mark.parametrize(
    ("by", "channel", "threshold", "error", "words"),
    [
        (Actor(8, "Ben"), GALLERY, 1, NotAllowed, "Manage Server"),
        (Actor(9, "Mo", moderator=True), GALLERY, 1, NotAllowed, "Manage Server"),
        (BOSS, GALLERY, 0, InvalidRequest, "threshold can be 1 to 100, not 0."),
        (BOSS, GALLERY, 101, InvalidRequest, "threshold can be 1 to 100, not 101."),
        (BOSS, None, -1, InvalidRequest, "threshold can be 1 to 100, not -1."),
        (BOSS, None, 3, InvalidRequest, "channel: name the gallery channel"),
    ],
)
async def test_a_bad_value_or_a_plain_member_changes_nothing(
    database: Database,
    service: GalleryService,
    by: Actor,
    channel: int | None,
    threshold: int,
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        await service.set_gallery(GUILD, channel, threshold, by=by)
    assert parse_settings(await GuildRepository(database).settings(GUILD)) == ServerSettings()
    assert await AuditRepository(database).entries(GUILD) == ()


async def test_favourites_are_listed_latest_star_first(database: Database) -> None:
    moment = NOW
    service = GalleryService(database, now=lambda: moment)
    for number in range(5):
        await finished(database, "abcde"[number] * 16, guild=1 + number % 2)
    for number in (2, 0, 4, 1, 3, 4):  # the last one takes a star back
        moment += timedelta(seconds=1)
        await star(service, 8, job_id="abcde"[number] * 16)

    async def listed(guild: int | None, limit: int, skip: int) -> str:
        found = await service.favourites(8, guild, limit, skip)
        return "".join(job.id[0] for job in found)

    assert await listed(None, 10, 0) == "dbac"
    assert [await listed(None, 2, skip) for skip in (0, 2, 4)] == ["db", "ac", ""]
    assert [await listed(guild, 10, 0) for guild in (1, 2, 3)] == ["ac", "db", ""]
    assert await service.favourites(9, None, 10, 0) == ()
    assert await service.has_star("a" * 16, 8)
    assert not await service.has_star("e" * 16, 8)


async def test_the_latest_posts_are_looked_up_again_and_a_restored_one_is_deleted(
    database: Database, service: GalleryService
) -> None:
    reading = GalleryRepository(database)
    for job_id in ("a" * 16, "b" * 16, "c" * 16):
        await finished(database, job_id)
        await database.write(lambda link, job_id=job_id: gallery.want_post(link, job_id, at=NOW))  # type: ignore[misc]
    for number, job_id in enumerate(("a" * 16, "b" * 16)):
        place, at = MessageRef(GALLERY, 5 + number), NOW + timedelta(seconds=number)
        # Found without an attempt: it was posted after the backup was made.
        await database.write(
            lambda link, job_id=job_id, place=place, at=at: gallery.record_posted(  # type: ignore[misc]
                link, job_id, place, at=at
            )
        )
    assert [post.job_id[0] for post in await reading.latest_posted(1)] == ["b"]
    assert [post.job_id[0] for post in await reading.latest_posted(9)] == ["b", "a"]
    assert await reading.unposted_count(GUILD) == 1
    await service.withdraw("a" * 16)
    (post,) = await reading.withdrawn(GUILD)
    assert post.message == MessageRef(GALLERY, 5)
    await database.write(lambda link: gallery.record_removed(link, "a" * 16, at=NOW))
    assert await reading.withdrawn(GUILD) == ()
    assert [post.job_id[0] for post in await reading.latest_posted(9)] == ["b"]
