"""The changelog knows the version that the package has."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from bot import __version__

TEXT = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
HEADS = re.findall(r"^## \[([^\]]+)\](?: - (\S+))?$", TEXT, re.MULTILINE)


def test_the_version_is_the_newest_release_or_what_comes_next() -> None:
    newest, *_ = (name for name, _ in HEADS)
    assert newest in (__version__, "Unreleased")


def test_every_heading_is_of_the_known_form() -> None:
    assert len(HEADS) == len(re.findall(r"^## ", TEXT, re.MULTILINE))
    kinds = re.findall(r"^### (.*)$", TEXT, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_releases_have_a_date_and_go_back_in_time() -> None:
    releases = [(name, day) for name, day in HEADS if name != "Unreleased"]
    days = [date.fromisoformat(day) for _, day in releases]
    assert days == sorted(days, reverse=True)
    versions = [tuple(map(int, name.split("."))) for name, _ in releases]
    assert versions == sorted(set(versions), reverse=True)
