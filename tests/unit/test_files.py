"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from bot.files import PRIVATE_FILE, atomic_write, atomic_write_async, remove_temporary_files


def write(path: Path, text: str, mode: int = PRIVATE_FILE) -> None:
    with atomic_write(path, mode=mode) as part:
        part.write_text(text)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o700, 0o666], ids=oct)
@pytest.mark.parametrize("known", [True, False])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int, known: bool) -> None:
    target = tmp_path / "file"
    if known:
        target.touch(0o640)

    write(target, "new", mode)

    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_is_private_while_it_is_written_and_unless_told(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file") as part:
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert part.parent == tmp_path
        assert part.match(".file.*.part")
        assert not (tmp_path / "file").exists()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_what_breaks_off_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file"
    write(target, "old")

    def break_off() -> None:
        with atomic_write(target) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        break_off()

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


async def test_what_breaks_off_in_a_coroutine_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    async with atomic_write_async(target) as part:
        part.write_text("old")

    async def break_off() -> None:
        async with atomic_write_async(target) as part:
            part.write_text("half")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        await break_off()

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_put_in_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()

    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "file") as part:
        part.write_text("new")

    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "file"):
        pytest.fail("there is nowhere to write")


def test_the_file_and_then_its_name_are_kept_by_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noting(step: Callable[[int], str], act: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: int) -> object:
            steps.append(step(args[0]))
            return act(*args)

        return noted

    def synced(descriptor: int) -> str:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        return f"{'folder' if is_folder else 'file'} with {(tmp_path / 'file').exists()}"

    monkeypatch.setattr(os, "fsync", noting(synced, os.fsync))
    write(tmp_path / "file", "new")

    assert steps == ["file with False", "folder with True"]


def test_writers_of_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    target, writers = tmp_path / "file", 8
    together = Barrier(writers)

    def one(number: int) -> None:
        with atomic_write(target) as part:
            together.wait(10)
            part.write_text(str(number) * 1000)
            together.wait(10)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(one, range(writers)))

    assert target.read_text() in {str(number) * 1000 for number in range(writers)}
    assert os.listdir(tmp_path) == ["file"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".file.abc.part", ".file.part", "file", "my.part", ".hidden"):
        (tmp_path / name).touch()

    remove_temporary_files(tmp_path)

    assert sorted(os.listdir(tmp_path)) == [".hidden", "file", "my.part"]
