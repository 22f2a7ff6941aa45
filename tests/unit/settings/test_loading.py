"""Files, variables and well-known names: which are read, which wins, and where paths start."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot.domain.errors import ConfigError
from bot.settings import Settings
from bot.settings.sources import keys, variable_name


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return path


def test_nothing_at_all_gives_the_defaults(tmp_path: Path) -> None:
    settings = Settings.load(None, {}, tmp_path)
    assert settings.queue.running == 4
    assert settings.backend.kind == "local"
    assert settings.quota.window == timedelta(hours=24)
    assert not settings.discord.token
    assert settings.data.dir == tmp_path / "data"


def test_without_a_base_paths_start_at_the_current_folder() -> None:
    settings = Settings.load(None, {"GRIDBRUSH_DATA__DIR": "somewhere"})
    assert settings.data.dir == Path.cwd() / "somewhere"


def test_config_toml_is_read_if_it_is_there(tmp_path: Path) -> None:
    write(tmp_path, "[queue]\nrunning = 7\n")
    assert Settings.load(None, {}, tmp_path).queue.running == 7


def test_a_file_that_is_named_is_read_instead(tmp_path: Path) -> None:
    write(tmp_path, "[queue]\nrunning = 7\n")
    other = write(tmp_path, "[queue]\nrunning = 8\n", "other.toml")
    assert Settings.load(other, {}, tmp_path).queue.running == 8


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: the file cannot be read \(No such file"):
        Settings.load(tmp_path / "absent.toml", {}, tmp_path)


def test_a_default_file_that_leads_nowhere_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "config.toml").symlink_to(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.load(None, {}, tmp_path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf[queue]\r\nrunning = 7\r\n")
    assert Settings.load(None, {}, tmp_path).queue.running == 7


def test_variables_win_over_the_file_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, "[queue]\nrunning = 7\nwaiting = 9\n[backend.local]\ntasks = 2\n")
    environ = {"GRIDBRUSH_QUEUE__RUNNING": "8", "GRIDBRUSH_BACKEND__LOCAL__TASKS": "3"}
    settings = Settings.load(None, environ, tmp_path)
    assert (settings.queue.running, settings.queue.waiting) == (8, 9)
    assert settings.backend.local.tasks == 3


def test_well_known_names_win_over_everything(tmp_path: Path) -> None:
    write(tmp_path, '[discord]\ntoken = "of.the.file"\n')
    environ = {
        "GRIDBRUSH_DISCORD__TOKEN": "of.the.prefix",
        "DISCORD_TOKEN": "of.its.own",
        "DISCORD_API_BASE": "http://127.0.0.1:8080/api/v10",
        "DISCORD_GATEWAY_URL": "ws://[::1]:8080/gateway",
        "DEEPSQUARE_PRIVATE_KEY": "0x" + "ab" * 32,
    }
    settings = Settings.load(None, environ, tmp_path)
    assert settings.discord.token.get_secret_value() == "of.its.own"
    assert settings.discord.api_base == "http://127.0.0.1:8080/api/v10"
    assert settings.discord.gateway_url == "ws://[::1]:8080/gateway"
    assert settings.backend.deepsquare.private_key.get_secret_value() == "0x" + "ab" * 32


def test_a_well_known_name_without_a_value_is_as_good_as_absent(tmp_path: Path) -> None:
    write(tmp_path, '[discord]\ntoken = "of.the.file"\n')
    settings = Settings.load(None, {"DISCORD_TOKEN": ""}, tmp_path)
    assert settings.discord.token.get_secret_value() == "of.the.file"


def test_lists_and_tables_are_json_in_variables(tmp_path: Path) -> None:
    environ = {
        "GRIDBRUSH_DISCORD__GUILDS": "[1, 2]",
        "GRIDBRUSH_QUEUE": '{"running": 5, "waiting": 6}',
        "GRIDBRUSH_QUEUE__WAITING": "7",
        "GRIDBRUSH_IMAGINE__STYLES": '{"dream": "soft focus"}',
        "GRIDBRUSH_IMAGINE__STYLES__NOIR": "dark",
        "GRIDBRUSH_BACKEND__DEEPSQUARE__LOGGER_TLS": "false",
        "GRIDBRUSH_METRICS__LISTEN": "",
    }
    settings = Settings.load(None, environ, tmp_path)
    assert settings.discord.guilds == (1, 2)
    assert (settings.queue.running, settings.queue.waiting) == (5, 7)
    assert settings.imagine.styles == {"dream": "soft focus", "noir": "dark"}
    assert settings.backend.deepsquare.logger_tls is False
    assert settings.metrics.address is None


def test_variables_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    links = {
        "GRIDBRUSH_SERVICE_HOST": "10.0.0.1",
        "GRIDBRUSH_SERVICE_PORT_METRICS": "9464",
        "GRIDBRUSH_PORT": "tcp://10.0.0.1:9464",
        "GRIDBRUSH_METRICS_PORT_9464_TCP_ADDR": "10.0.0.1",
    }
    settings = Settings.load(None, {**links, "HOME": "/root", "QUEUE__RUNNING": "9"}, tmp_path)
    assert settings == Settings.load(None, {}, tmp_path)


def test_this_process_s_own_environment_is_not_asked(tmp_path: Path) -> None:
    os.environ["GRIDBRUSH_QUEUE__RUNNING"] = "9"
    os.environ["QUEUE"] = '{"running": 9}'
    try:
        assert Settings.load(None, {}, tmp_path).queue.running == 4
    finally:
        del os.environ["GRIDBRUSH_QUEUE__RUNNING"], os.environ["QUEUE"]


def test_relative_paths_start_at_the_file_s_folder(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    text = '[data]\ndir = "d"\n[backend.slurm]\nshared_dir = "/abs"\n'
    text += '[backend.scripted]\nrecording = "~/run.jsonl"\n'
    settings = Settings.load(write(folder, text), {"HOME": "/home/ada"}, tmp_path)
    assert settings.data.dir == folder / "d"
    assert settings.backend.slurm.shared_dir == Path("/abs")
    assert settings.backend.scripted.recording == Path("/home/ada/run.jsonl")
    assert Settings.load(Path("etc/config.toml"), {}, tmp_path).data.dir == folder / "d"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = Settings.load(None, {}, tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.queue.running = 5
    with pytest.raises(ValueError, match="frozen"):
        settings.queue = settings.queue


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(1, 64))
def test_a_section_s_variable_and_a_key_s_say_the_same(rows: int, running: int) -> None:
    base = Path("/nonexistent")
    in_json = {"GRIDBRUSH_QUEUE": json.dumps({"running": running})}
    alone = {"GRIDBRUSH_QUEUE__RUNNING": str(running)}
    assert Settings.load(None, in_json, base).queue == Settings.load(None, alone, base).queue
    environ = {"GRIDBRUSH_IMAGINE__ROWS": str(rows), "GRIDBRUSH_IMAGINE__MAX_ROWS": "64"}
    assert Settings.load(None, environ, base).imagine.rows == rows


@pytest.mark.parametrize("trail", list(keys(Settings)))
def test_every_key_can_be_set_by_its_variable(trail: tuple[str, ...]) -> None:
    environ = {variable_name(trail): "\x07?"}
    settings, problems = Settings.validate_files(None, environ, Path("/nonexistent"))
    if settings is None:
        assert {problem.location for problem in problems} == {variable_name(trail)}
    else:
        entry = next(e for e in settings.describe() if (*e.section.split("."), e.key) == trail)
        assert entry.source == variable_name(trail)
