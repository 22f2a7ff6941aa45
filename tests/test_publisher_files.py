"""The workflow's files: uploaded, fetched, cut and combined by ``publisher.py``."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from bot.domain.events import Artifact, Finished, GridReady, RowReady
from bot.domain.log_markers import parse_marker
from tests.publisher_program import KEY, Said, publisher


def meanings(said: Said, rows: int = 4) -> list[object]:
    markers = [parse_marker(KEY, line, rows) for line in said.lines]
    return [marker and marker.meaning for marker in markers]


class Store(ThreadingHTTPServer):
    """Takes uploads as transfer.sh does: PUT, answered with the address to read the file at.

    ``answers`` are (status, text) for the next uploads; without any, they succeed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.answers: list[tuple[int, str]] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.server.asked += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, text = 200, f"{self.server.url}/AbCdEf{self.path}\n"
        if self.server.answers:
            status, text = self.server.answers.pop(0)
        if status == 200:
            self.server.files[f"/AbCdEf{self.path}"] = body
        self._answer(status, text.encode())

    def do_GET(self) -> None:
        self._answer(200, self.server.files[self.path])

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "row.png"
    path.write_bytes(b"a picture" * 1000)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def publish(file: Path, url: str) -> Said:
    words = ("row-done", str(file), "row-01.png", "row=1", "seed=9")
    return publisher("publish", *words, UPLOAD_URL=url)


def test_a_file_address_is_a_folder_that_the_file_appears_in(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's published" / "here"
    said = publish(file, folder.as_uri() + "/")
    address = f"{folder.as_uri()}/row-01.png"
    assert said.errors == ""
    assert (folder / "row-01.png").read_bytes() == file.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["row-01.png"]
    assert meanings(said) == [RowReady(1, 9, Artifact(address, 9000, digest(file)))]


@pytest.mark.needs("curl")
def test_an_upload_is_announced_with_the_address_that_it_was_answered_with(
    file: Path, store: Store
) -> None:
    said = publish(file, store.url + "/")
    address = f"{store.url}/AbCdEf/row-01.png"
    assert meanings(said) == [RowReady(1, 9, Artifact(address, 9000, digest(file)))]
    assert store.files == {"/AbCdEf/row-01.png": file.read_bytes()}
    assert (said.code, said.errors) == (0, "")


@pytest.mark.needs("curl")
def test_an_upload_that_a_busy_server_turned_away_is_tried_again(file: Path, store: Store) -> None:
    store.answers = [(500, "busy")]
    said = publish(file, store.url)
    assert (said.code, store.asked, len(said.lines)) == (0, 2, 1)


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    ("status", "text"),
    [
        # 501 is a failure of the server that curl does not wait for to pass.
        (501, "https://example.org/not-this"),
        (403, "no"),
        (200, ""),
        (200, "stored, thank you"),
        (200, "https://example.org/a b"),
        (200, "https://example.org/a\nhttps://example.org/b"),
    ],
)
def test_a_failed_upload_is_not_announced(file: Path, store: Store, status: int, text: str) -> None:
    store.answers = [(status, text)]
    said = publish(file, store.url)
    assert (said.code, said.lines) == (1, ())
    assert "publisher: " in said.errors


def test_a_file_that_is_not_there_is_not_announced(tmp_path: Path) -> None:
    said = publish(tmp_path / "missing.png", tmp_path.as_uri())
    assert (said.code, said.lines) == (1, ())
    assert said.errors.startswith("publisher: FileNotFoundError: ")


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_only_the_file_that_was_published_is_fetched(
    file: Path, tmp_path: Path, store: Store, scheme: str
) -> None:
    store.files["/x.png"] = file.read_bytes()
    url = file.as_uri() if scheme == "file" else f"{store.url}/x.png"
    target = tmp_path / "fetched.png"
    assert publisher("fetch", url, digest(file), str(target)).code == 0
    assert target.read_bytes() == file.read_bytes()
    refused = publisher("fetch", url, "0" * 64, str(target))
    assert refused.code == 1
    assert "was downloaded instead of 0000" in refused.errors


# Pictures, with Pillow and with ImageMagick in its place.


WITH = pytest.mark.parametrize(
    "pillow", [True, pytest.param(False, marks=pytest.mark.needs("convert"))]
)


def without_pillow(folder: Path) -> str:
    """A folder for PYTHONPATH in which Pillow cannot be imported."""
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "PIL.py").write_text("raise ImportError('hidden')\n")
    return str(hidden)


def strip(path: Path, color: tuple[int, int, int], width: int = 6, height: int = 2) -> None:
    picture = Image.new("RGB", (width, height), color)
    picture.putpixel((0, 0), (255, 255, 255))
    picture.save(path)


def pixels(path: Path) -> list[list[object]]:
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
    return [[shown.getpixel((x, y)) for x in range(shown.width)] for y in range(shown.height)]


@WITH
def test_a_crop_is_exact(tmp_path: Path, pillow: bool) -> None:
    path = tmp_path / "picture.png"
    picture = Image.new("RGB", (7, 5))
    for x in range(7):
        for y in range(5):
            picture.putpixel((x, y), (x, y, 0))
    picture.save(path)
    hidden = None if pillow else without_pillow(tmp_path)
    said = publisher("crop", str(path), "2,1,5,3", PYTHONPATH=hidden)
    assert (said.code, said.lines, said.errors) == (0, (), "")
    assert pixels(path) == [[(x, y, 0) for x in (2, 3, 4)] for y in (1, 2)]


@WITH
def test_rows_are_combined_from_top_to_bottom(tmp_path: Path, pillow: bool) -> None:
    strips = [tmp_path / f"row-{row:02d}.png" for row in range(1, 12)]
    for number, path in enumerate(strips):
        strip(path, (number, 0, 0))
    hidden = None if pillow else without_pillow(tmp_path)
    url = (tmp_path / "out").as_uri()
    said = publisher("combine", str(tmp_path), "11", UPLOAD_URL=url, PYTHONPATH=hidden)
    grid = tmp_path / "out" / "grid.png"
    artifact = Artifact(f"{url}/grid.png", grid.stat().st_size, digest(grid))
    assert meanings(said, 11) == [GridReady(artifact, 11), Finished(11, 0)]
    assert pixels(grid) == [line for path in strips for line in pixels(path)]
    assert (said.code, said.errors) == (0, "")


@pytest.mark.parametrize(
    ("mode", "colour", "how"),
    [
        ("I;16", 128 * 257, {}),
        ("RGBA", (1, 2, 3, 128), {}),
        ("L", 3, {"transparency": 3}),
        ("RGB", (1, 2, 3), {"icc_profile": b"some profile"}),
    ],
)
def test_rows_whose_colours_need_care_are_left_to_the_bot(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], how: dict[str, Any]
) -> None:
    Image.new(mode, (6, 2), colour).save(tmp_path / "row-01.png", **how)
    said = publisher("combine", str(tmp_path), "1", UPLOAD_URL=(tmp_path / "out").as_uri())
    assert meanings(said) == [Finished(1, 0)]
    assert "is left to the bot" in said.errors


def test_long_texts_in_a_picture_do_not_keep_it_from_being_cut(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "x" * 3_000_000, zip=True)
    Image.new("RGB", (6, 2), (1, 2, 3)).save(tmp_path / "a.png", pnginfo=texts)
    assert publisher("crop", str(tmp_path / "a.png"), "1,0,3,2").code == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.size, picture.info) == ((2, 2), {})


def test_missing_rows_are_counted_and_the_others_combined(tmp_path: Path) -> None:
    for row in (1, 3):
        strip(tmp_path / f"row-{row:02d}.png", (row, 0, 0), width=row)
    strip(tmp_path / ".row-02.png", (2, 0, 0))
    said = publisher("combine", str(tmp_path), "4", UPLOAD_URL=(tmp_path / "out").as_uri())
    (ready, over) = meanings(said)
    assert isinstance(ready, GridReady)
    assert (ready.rows, over, said.code) == (2, Finished(2, 2), 0)
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.size == (3, 4)


def test_without_any_row_the_job_has_failed(tmp_path: Path) -> None:
    said = publisher("combine", str(tmp_path), "2", UPLOAD_URL=(tmp_path / "out").as_uri())
    assert (meanings(said), said.code) == ([Finished(0, 2)], 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trouble", ["broken row", "no upload", "no program"])
def test_rows_that_cannot_be_combined_still_count(tmp_path: Path, trouble: str) -> None:
    strip(tmp_path / "row-01.png", (1, 0, 0))
    url, hidden, path = (tmp_path / "out").as_uri(), None, os.environ["PATH"]
    if trouble == "broken row":
        (tmp_path / "row-01.png").write_bytes(b"no picture")
    elif trouble == "no upload":
        url = "file:///dev/null/out"
    else:
        hidden, path = without_pillow(tmp_path), "/nowhere"
    words = ("combine", str(tmp_path), "1")
    said = publisher(*words, UPLOAD_URL=url, PYTHONPATH=hidden, PATH=path)
    assert (meanings(said), said.code) == ([Finished(1, 0)], 0)
    assert said.errors.startswith("publisher: no grid: ")
