"""A command line with a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import CommandLine


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine.lay(tmp_path / "command_line")
