"""Pictures that requests start from: what is taken, how it is stored, and when it is deleted."""

from __future__ import annotations

import asyncio
import io
import stat
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import ArtifactMissing, InvalidRequest, RequestError, Unavailable
from bot.domain.init_image import InitImage
from bot.domain.job import JobState
from bot.services.init_images import MAX_BYTES, MAX_SIDE, InitImageStore
from bot.services.privacy import PrivacyService
from bot.store.database import Database
from tests.unit.services.fakes import GUILD, NOW
from tests.unit.services.harness import a_member, a_request, open_harness


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[InitImageStore]:
    async with await Database.open(tmp_path / "gridbrush.sqlite3", now=lambda: NOW) as database:
        yield InitImageStore(tmp_path / "inputs", database)


def saved(picture: Image.Image, form: str = "PNG", **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **how)
    return out.getvalue()


def photo(width: int = 80, height: int = 40) -> Image.Image:
    """A picture that is red on the left and blue on the right."""
    picture = Image.new("RGB", (width, height), "red")
    picture.paste("blue", (width // 2, 0, width, height))
    return picture


def frames(form: str, count: int) -> bytes:
    pictures = [Image.new("RGB", (64, 64), (number * 80 % 256, 0, 0)) for number in range(count)]
    return saved(pictures[0], form, save_all=True, append_images=pictures[1:], duration=20)


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG whose header is true and whose pixels, all black, take a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(width))
    parts = chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
JPEG = saved(photo(800, 600), "JPEG")

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "30,000 x 30,000 PNG": (bomb, "far too many pixels, and at most 40 million"),
    "9,000 x 9,000 PNG": (lambda: bomb(9_000, 9_000), "9000 × 9000 pixels, and at most 40"),
    "one row of millions": (lambda: bomb(45_000_000, 1), "pixels"),
    "GIF with 500 frames": (lambda: frames("GIF", 500), "is a GIF"),
    "GIF with one frame": (lambda: saved(photo(), "GIF"), "is a GIF"),
    "animated WebP": (lambda: frames("WEBP", 3), "animated"),
    "animated PNG": (lambda: frames("PNG", 3), "animated"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "SVG with a prolog": (lambda: b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "an SVG drawing"),
    "HEIC": (lambda: HEIC, "a HEIC photo"),
    "AVIF": (lambda: b"\0\0\0\x18ftypavif" + bytes(99), "another format"),
    "truncated JPEG": (lambda: JPEG[: len(JPEG) // 2], "damaged"),
    "truncated PNG": (lambda: saved(photo(400, 400))[:-400], "damaged"),
    "JPEG's first bytes": (lambda: JPEG[:20], "damaged"),
    "HTML named .png": (lambda: b"\n <!DOCTYPE html><html></html>", "a web page"),
    "BMP": (lambda: saved(photo(), "BMP"), "a BMP"),
    "TIFF": (lambda: saved(photo(), "TIFF"), "a TIFF"),
    "PDF": (lambda: b"%PDF-1.7 ...", "a PDF"),
    "nothing": (lambda: b"", "no picture"),
    "noise": (lambda: bytes(range(256)) * 20, "no picture"),
    "too many bytes": (lambda: bytes(MAX_BYTES + 1), "20.0 MB, and at most 20 MB"),
    "too small": (lambda: saved(photo(31, 64)), "only 31 × 64 pixels"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_usable_picture_is_refused_in_words_and_nothing_is_stored(
    store: InitImageStore, tmp_path: Path, kind: str
) -> None:
    make, sentence = BAD[kind]
    with pytest.raises(InvalidRequest) as caught:
        async with store.stored(make()):
            pytest.fail("it was taken")
    assert sentence in str(caught.value)
    assert caught.value.field == "image"
    assert not list((tmp_path / "inputs").glob("*"))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010E] = "a secret place"
    return saved(photo(), "JPEG", exif=exif, quality=95, comment=b"a secret place")


def annotated() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret place")
    return saved(photo(), "PNG", pnginfo=info)


GOOD: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "PNG with texts": (annotated, (80, 40)),
    "JPEG on its side": (turned, (40, 80)),
    "WebP": (lambda: saved(photo(), "WEBP", lossless=True), (80, 40)),
    "palette with transparency": (lambda: saved(photo().convert("P"), transparency=0), (80, 40)),
    "CMYK JPEG": (lambda: saved(photo().convert("CMYK"), "JPEG"), (80, 40)),
    "large": (lambda: saved(photo(4100, 2050)), (MAX_SIDE, MAX_SIDE // 2)),
}


@pytest.mark.parametrize("kind", GOOD)
async def test_a_picture_is_stored_upright_in_rgb_without_metadata_and_for_the_owner_only(
    store: InitImageStore, tmp_path: Path, kind: str
) -> None:
    make, size = GOOD[kind]
    async with store.stored(make(), 0.5) as found:
        path = tmp_path / "inputs" / f"{found.sha256}.png"
        assert (found.width, found.height, found.strength) == (*size, 0.5)
        data = path.read_bytes()
        assert b"secret" not in data
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", size)
            assert picture.info == {}
            red, _, blue = picture.getpixel((2, 2))  # type: ignore[misc]
            assert (red > 200, blue < 60) == (True, True) or kind.startswith("palette")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists(), "no request names it"


async def test_the_bot_s_own_picture_is_read_from_its_file(
    store: InitImageStore, tmp_path: Path
) -> None:
    (tmp_path / "own.png").write_bytes(saved(photo()))
    async with store.stored(tmp_path / "own.png") as found:
        assert (found.width, found.height) == (80, 40)
    with pytest.raises(ArtifactMissing):
        async with store.stored(tmp_path / "gone.png"):
            pytest.fail("it was taken")


async def test_a_picture_fits_the_request_and_is_the_same_each_time(store: InitImageStore) -> None:
    async with store.stored(saved(photo(400, 100))) as found:
        digests = set()
        for _ in range(2):
            async with store.fitted(found, 128, 64) as fitted:
                digests.add(fitted.sha256)
                with Image.open(fitted.path) as picture:
                    assert (picture.size, picture.info) == ((128, 64), {})
            assert not fitted.path.exists()
        assert len(digests) == 1
    with pytest.raises(ArtifactMissing, match="deleted"):
        async with store.fitted(found, 128, 64):
            pytest.fail("it was there")


async def test_a_file_that_was_changed_on_the_disk_is_not_used(
    store: InitImageStore, tmp_path: Path
) -> None:
    async with store.stored(saved(photo())) as found:
        (tmp_path / "inputs" / f"{found.sha256}.png").write_bytes(saved(photo(90, 90)))
        with pytest.raises(ArtifactMissing, match="changed"):
            async with store.fitted(found, 64, 64):
                pytest.fail("it was used")


async def test_a_picture_stays_while_anybody_uses_it(store: InitImageStore, tmp_path: Path) -> None:
    data = saved(photo())
    async with store.stored(data) as first:
        path = tmp_path / "inputs" / f"{first.sha256}.png"
        async with store.stored(data) as second, store.held(first):
            assert second == first
            assert await store.delete_unused() == 0
        assert path.exists()
    assert not path.exists()
    with pytest.raises(RequestError, match="was deleted"):
        async with store.held(first):
            pytest.fail("it was there")


async def test_what_a_killed_process_has_left_is_removed_at_the_start(
    store: InitImageStore, tmp_path: Path
) -> None:
    folder = tmp_path / "inputs"
    (folder / ".fitted-x").mkdir(parents=True)
    (folder / ".fitted-x" / "start.png").write_bytes(b"left")
    (folder / ".a.png.1.part").write_bytes(b"left")
    (folder / f"{'ab' * 32}.png").write_bytes(b"left")
    await store.clean()
    assert not list(folder.iterdir())
    await store.clean()


async def test_a_job_gets_its_picture_and_an_erased_request_takes_it_along(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        store = InitImageStore(tmp_path / "inputs", harness.database)

        async def submit(data: bytes, user: int) -> tuple[str, InitImage]:
            async with store.stored(data, 0.5) as start:
                asked = replace(a_request(user), init_image=start, steps=10)
                return (await harness.queue.submit(asked, a_member(user))).job.id, start

        def path(start: InitImage) -> Path:
            return tmp_path / "inputs" / f"{start.sha256}.png"

        shared, own = saved(photo()), saved(photo(60, 60))
        jobs = [await submit(shared, 7), await submit(own, 7), await submit(shared, 8)]
        ended = await harness.ended(*(job_id for job_id, _ in jobs))
        assert {job.state for job in ended} == {JobState.FINISHED}
        for job_id, _ in jobs:
            inputs = list((tmp_path / "scripted" / job_id / "input").iterdir())
            assert [stat.S_IMODE(file.stat().st_mode) for file in inputs] == [0o600]
            with Image.open(inputs[0]) as picture:
                assert picture.size == (64, 64)
        metadata = (harness.fetcher.folder(jobs[0][0]) / "metadata.json").read_text()
        assert jobs[0][1].sha256 in metadata
        assert await store.count(7) == (2, sum(path(start).stat().st_size for _, start in jobs[:2]))

        privacy = PrivacyService(
            harness.database,
            harness.fetcher.folder,
            forget=harness.backend.delete_job_data,
            pictures=store,
            now=harness.clock,
        )
        before = await privacy.report(7)
        await privacy.erase(GUILD, a_member(7))
        assert (await privacy.report(7)).files < before.files
        assert not path(jobs[1][1]).exists()
        assert path(jobs[2][1]).exists(), "another member's request names it, too"
        assert not (tmp_path / "scripted" / jobs[0][0]).exists()
        assert (await harness.stored(jobs[0][0])).request.init_image is None
        await privacy.erase(GUILD, a_member(8))
        assert not list((tmp_path / "inputs").glob("*.png"))


async def test_a_job_whose_picture_is_gone_fails_in_words(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        start = InitImage("ab" * 32, 64, 64, 0.5)
        asked = replace(a_request(), init_image=start)
        job = (await harness.queue.submit(asked, a_member())).job
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FAILED
        assert "image to start from does not exist" in ended.failure_message
        assert await asyncio.to_thread(list, (tmp_path / "inputs").glob(".*")) == []


class BusyHost(ScriptedBackend):
    """A backend that does not take the first two files."""

    refusals = 2

    async def put_input(self, job_id: str, source: Path) -> str:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the file host is busy")
        return await super().put_input(job_id, source)


async def test_a_backend_that_does_not_take_the_picture_now_gets_it_later(tmp_path: Path) -> None:
    backend = BusyHost(tmp_path / "scripted", speed=0)
    async with open_harness(tmp_path, backend=backend) as harness:
        store = InitImageStore(tmp_path / "inputs", harness.database)
        async with store.stored(saved(photo()), 0.5) as start:
            asked = replace(a_request(), init_image=start, steps=10)
            job = (await harness.queue.submit(asked, a_member())).job
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert backend.refusals == 0
