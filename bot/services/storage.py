"""Measure what the bot's files take up: by kind, by server, and by member."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bot.services.renditions import RENDITIONS
from bot.store.database import Database
from bot.store.pictures import PictureOwner, owners

CHUNK: Final = 200
"""So many jobs are measured, and looked up, in one step."""


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Bytes of one job's files: pictures as they were made, and copies made from them."""

    originals: int = 0
    renditions: int = 0

    @property
    def size(self) -> int:
        """Return the bytes in all."""
        return self.originals + self.renditions


@dataclass(slots=True)
class StorageReport:
    """Bytes by ``kind``, and bytes of results by server and member id.

    ``unknown`` are bytes of results that the database does not know, such as after a restore.
    ``results`` counts those with pictures.
    """

    kinds: dict[str, int] = field(default_factory=dict)
    servers: Counter[int] = field(default_factory=Counter)
    members: Counter[int] = field(default_factory=Counter)
    results: int = 0
    favourites: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """Return the bytes of all kinds."""
        return sum(self.kinds.values())


async def measure_results(
    database: Database, root: Path
) -> AsyncIterator[tuple[JobFiles, PictureOwner | None]]:
    """Yield the size of each folder in ``root`` with its job; None for one without a job."""
    names = await asyncio.to_thread(_folders, root)
    for start in range(0, len(names), CHUNK):
        chunk = names[start : start + CHUNK]
        sizes = await asyncio.to_thread(_measure, root, chunk)
        known = {owner.job_id: owner for owner in await database.read(owners(chunk))}
        for name, files in sizes.items():
            yield files, known.get(name)


async def measure_storage(
    database: Database, data: Path, results: Path, places: Mapping[str, Sequence[Path]]
) -> StorageReport:
    """Return what is used below the folder ``data`` and in ``places``, folders by kind.

    ``results`` holds a folder for each job. What is of no kind is counted as "other".
    """
    report = StorageReport({"originals": 0, "renditions": 0})
    async for files, owner in measure_results(database, results):
        report.kinds["originals"] += files.originals
        report.kinds["renditions"] += files.renditions
        if owner is None:
            report.unknown += files.size
        else:
            report.servers[owner.guild_id] += files.size
            report.members[owner.author_id] += files.size
            report.results += bool(files.originals)
            report.favourites += owner.starred
    for kind, paths in places.items():
        sizes = [await asyncio.to_thread(tree_size, path) for path in paths]
        report.kinds[kind] = sum(sizes)
    inside = await asyncio.to_thread(tree_size, data)
    counted = [results, *(path for paths in places.values() for path in paths)]
    known = await asyncio.to_thread(
        lambda: sum(tree_size(path) for path in counted if path.is_relative_to(data))
    )
    report.kinds["other"] = max(0, inside - known)
    return report


def _folders(root: Path) -> list[str]:
    """Return the names of the folders in ``root``, in order. Blocking."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _measure(root: Path, names: Sequence[str]) -> dict[str, JobFiles]:
    """Return the sizes of jobs' folders. Blocking."""
    sizes = {}
    for name in names:
        folder = root / name
        renditions = tree_size(folder / RENDITIONS)
        sizes[name] = JobFiles(tree_size(folder) - renditions, renditions)
    return sizes


def tree_size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 for nothing. Blocking."""
    return sum(_sizes(path))


def _sizes(path: Path) -> Iterator[int]:
    """Yield the sizes of files. What vanishes meanwhile, beside a running bot, is left out."""
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            yield status.st_size
        elif stat.S_ISDIR(status.st_mode):
            for entry in path.iterdir():
                yield from _sizes(entry)
    except OSError:
        return
