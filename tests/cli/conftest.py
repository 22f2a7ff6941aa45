"""The command sets up the process's log; each test leaves it as it found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import log_config
from tests.cli.terminal import CommandLine


@pytest.fixture(autouse=True)
def the_log_is_left_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    chatty = {name: logging.getLogger(name).level for name in log_config._VERBOSE_LIBRARIES}
    yield
    logging.captureWarnings(False)
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        if isinstance(handler, log_config.RedactingStreamHandler):
            root.removeHandler(handler)
    root.setLevel(level)
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine.lay(tmp_path / "command_line")
