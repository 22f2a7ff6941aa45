"""What is used, and by whom."""

from __future__ import annotations

import json

from tests.cli.terminal import CommandLine


def test_what_is_used_is_shown_by_kind_and_owner(command_line: CommandLine) -> None:
    without = command_line.type("storage")
    assert without.exit_code == 2
    assert "no database yet" in without.stderr
    assert not command_line.data.exists()
    assert command_line.scripted("imagine", "a fox").exit_code == 0

    shown = command_line.type("storage", env={"GRIDBRUSH_DATA__KEEP": "90d"})
    assert shown.exit_code == 0
    for word in ("originals", "renditions", "database", "backups", "work folders", "server"):
        assert word in shown.stdout
    assert "1 result with pictures, 0 of them favourites" in shown.stdout
    assert 'removed beyond keep = "90d"' in shown.stdout
    assert "never removed" in command_line.type("storage").stdout

    told = json.loads(command_line.type("storage", "--json").stdout)
    assert told["total"] == sum(told["bytes"].values())
    assert told["members"] == told["servers"] == {"0": told["bytes"]["originals"]}
    assert told["bytes"]["work folders"] > 0
    assert told["limits"] == {"keep_seconds": None, "keep_gb": None}
