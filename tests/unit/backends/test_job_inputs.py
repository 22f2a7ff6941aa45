"""The input of a job in its folder, and what its containers are given."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend
from bot.backends.job_folders import put_input, shared_folders


def test_an_input_is_copied_for_its_owner_and_given_to_the_containers(tmp_path: Path) -> None:
    source, folder, caches = tmp_path / "start.png", tmp_path / "a job", tmp_path / "caches"
    assert shared_folders(folder, caches) == (str(folder / "published"), str(caches))
    for content in (b"one", b"two"):  # again, as after a crash
        source.write_bytes(content)
        url = put_input(folder, source)
        copy = Path(unquote(url.removeprefix("file://")))
        assert copy.read_bytes() == content
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert list(copy.parent.iterdir()) == [copy]
    assert shared_folders(folder, caches)[2:] == (str(folder / "input"),)


@pytest.fixture(params=["local", "slurm", "scripted"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    options = {"data_dir": tmp_path, "shared_dir": tmp_path / "shared"}
    return await open_backend(request.param, options)


async def test_the_input_of_a_job_that_was_never_submitted_is_deleted_with_it(
    backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "start.png").write_bytes(b"a picture")
    url = await backend.put_input("abcd", tmp_path / "start.png")
    copy = Path(unquote(url.removeprefix("file://")))
    assert copy.is_file()
    await backend.delete_job_data("abcd")
    assert not copy.parent.parent.exists()
    await backend.aclose()
