"""config.example.toml names every key that there is, no other, and the true defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bot.settings import Settings
from bot.settings.sources import keys

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def uncommented() -> str:
    return re.sub(r"(?m)^#(?=[a-z_.]+ = )", "", EXAMPLE.read_text("utf-8"))


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return path


def leaves(tree: dict[str, Any]) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value)
        else:
            yield name


def test_the_example_as_it_is_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE.read_text("utf-8"))
    settings = Settings.load(path, {})
    assert {entry.source for entry in settings.describe()} == {"default"}


def test_the_example_uncommented_says_the_defaults(tmp_path: Path) -> None:
    settings = Settings.load(write(tmp_path, uncommented()), {})
    (tmp_path / "config.toml").unlink()
    assert settings.model_dump() == Settings.load(None, {}, tmp_path).model_dump()


def test_the_example_shows_values_as_check_does(tmp_path: Path) -> None:
    text = uncommented()
    for entry in Settings.load(write(tmp_path, text), {}).describe():
        if entry.key not in {"dir", "styles"}:
            assert f"\n{entry.key} = {entry.value}\n" in text


def test_the_example_names_every_key_and_no_other() -> None:
    tree = tomllib.loads(uncommented())
    named = []
    for trail in keys(Settings):
        table = tree
        for name in trail[:-1]:
            table = table[name]
        assert table.pop(trail[-1], None) is not None, f"{trail} is missing"
        named.append(trail)
    assert len(named) > 50
    assert list(leaves(tree)) == []


def test_the_example_s_sections_stand_in_the_model_s_order() -> None:
    order = re.findall(r"(?m)^#?([a-z_]+)(?:\.[a-z]+)? = ", EXAMPLE.read_text("utf-8"))
    assert list(dict.fromkeys(order)) == list(dict.fromkeys(trail[-1] for trail in keys(Settings)))


def test_no_line_of_the_example_is_too_long_to_read() -> None:
    assert max(len(line) for line in EXAMPLE.read_text("utf-8").splitlines()) <= 100
