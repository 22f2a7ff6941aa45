"""What the operator reads when a setting is wrong: place, problem, mend, and never a secret."""

from __future__ import annotations

import json
import re
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot.domain.errors import ConfigError
from bot.settings import Settings

SECRET = "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE.s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3c"


def problems(text: str, folder: Path, environ: dict[str, str] | None = None) -> list[ConfigError]:
    (folder / "config.toml").write_text(text, "utf-8")
    settings, found = Settings.validate_files(None, environ or {}, folder)
    assert (settings is None) == bool(found)
    return list(found)


def problem(text: str, folder: Path, environ: dict[str, str] | None = None) -> ConfigError:
    [found] = problems(text, folder, environ)
    with pytest.raises(ConfigError) as caught:
        Settings.load(None, environ or {}, folder)
    assert str(caught.value) == str(found)
    return found


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(tmp_path: Path) -> None:
    found = problem("[queue]\nrunning = 3\nwaitng = 4\n", tmp_path)
    assert found.location == "config.toml:3: [queue] waitng"
    assert found.problem == "there is no such key"
    assert found.hint == "Did you mean [queue] waiting?"


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(tmp_path: Path) -> None:
    found = problem("[discord]\nwindow = '1h'\n", tmp_path)
    assert found.hint == "Did you mean [quota] window?"


def test_a_key_like_no_other_gets_the_list(tmp_path: Path) -> None:
    found = problem("[data]\nxyzzy = 1\n", tmp_path)
    assert found.hint == "There are dir, backup_every, backup_keep, keep_evidence, keep, keep_gb."


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    found = problem("[backend.slrm]\n", tmp_path)
    assert found.location == "config.toml:1: [backend] slrm"
    assert found.hint == "Did you mean [backend.slurm]?"
    assert problem("qeue = 3\n", tmp_path).hint == "Did you mean [queue]?"


def test_an_unknown_variable_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    found = problem("", tmp_path, {"GRIDBRUSH_QUEUE_RUNNING": "3"})
    assert found.location == "GRIDBRUSH_QUEUE_RUNNING"
    assert found.hint == "Did you mean GRIDBRUSH_QUEUE__RUNNING?"
    found = problem("", tmp_path, {"GRIDBRUSH_QUEUE__RUNING": "3"})
    assert found.hint == "Did you mean GRIDBRUSH_QUEUE__RUNNING?"
    found = problem("", tmp_path, {"GRIDBRUSH_": "3"})
    assert found.hint.startswith("Names are like GRIDBRUSH_")


def test_an_unknown_key_inside_json_is_named_with_its_variable(tmp_path: Path) -> None:
    found = problem("", tmp_path, {"GRIDBRUSH_QUEUE": '{"runing": 1}'})
    assert found.location == "GRIDBRUSH_QUEUE: [queue] runing"
    assert found.hint == "Did you mean [queue] running?"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GRIDBRUSH_DISCORD__GUILDS", "1,2"),
        ("GRIDBRUSH_QUEUE", "many"),
        ("GRIDBRUSH_QUEUE", "5"),
        ("GRIDBRUSH_QUEUE", "[]"),
        ("GRIDBRUSH_IMAGINE__STYLES", "noir"),
    ],
)
def test_a_variable_that_should_be_json_says_so(name: str, text: str, tmp_path: Path) -> None:
    found = problem("", tmp_path, {name: text})
    assert found.location == name
    assert "JSON" in found.hint


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[queue]\nrunning = \n", ":2:11"),
        ("[queue]\nrunning = 1\nrunning = 2\n", ":3:12"),
        ("[queue]\nx = [1,\n", ":3"),
        ("a = '\x00'", ":1:"),
        ("x = " + "[" * 5000, ":"),
    ],
)
def test_what_is_not_toml_is_told_with_line_and_column(
    text: str, place: str, tmp_path: Path
) -> None:
    found = problem(text, tmp_path)
    assert found.location.startswith(f"config.toml{place}")
    assert found.problem.startswith("this is not TOML: ")


def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"[queue]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"config\.toml:2: this is not UTF-8"):
        Settings.load(None, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("[queue]\nrunning = 0", "config.toml:2: [queue] running", "is 0, but must be a whole"),
        ("[queue]\nrunning = true", "config.toml:2: [queue] running", "is true or false, where a"),
        ("[queue]\nrunning = 1.5", "config.toml:2: [queue] running", "from 1 to 1000"),
        ("queue.running = 0", "config.toml:1: [queue] running", "is 0, but"),
        ("queue = {waiting = 1, running = 0}", "config.toml:1: [queue] running", "is 0, but"),
        ('"queue"."runni\\u006eg" = 0', "config.toml: [queue] running", "is 0, but"),
        ("queue = 3", "config.toml:1: [queue]", "must be a table of keys and values"),
        ("[[queue]]", "config.toml:1: [queue]", "must be a table of keys and values"),
        ("[imagine]\nwidth = 100", "config.toml:2: [imagine] width", "64 to 4096 in steps of 64"),
        ("[imagine]\ntemplate = ''", "config.toml:2: [imagine] template", "that is not empty"),
        ("[imagine]\nmodel = 5", "config.toml:2: [imagine] model", "is 5, but must be a text"),
        ("[imagine]\nstyles = 5", "config.toml:2: [imagine] styles", "must be a table"),
        ("[imagine.styles]\nnoir = 5", "config.toml:2: [imagine.styles] noir", "must be a text"),
        ("[discord]\nguilds = 7", "config.toml:2: [discord] guilds", "a list in [brackets]"),
        ("[discord]\nguilds=[1,\n'x']", "config.toml:2: [discord] guilds", 'entry 2 is "x", but'),
        ("[discord]\nguilds = [-1]", "config.toml:2: [discord] guilds", "no server's id"),
        ("[log]\nlevel = 'loud'", "config.toml:2: [log] level", '"warning" or "error"'),
        ("[log]\nlevel = 3", "config.toml:2: [log] level", '"warning" or "error"'),
        ("[quota]\nwindow = 24", "config.toml:2: [quota] window", "is not a length of time"),
        ("[quota]\nwindow = 'x'", "config.toml:2: [quota] window", "is not a length of time"),
        ("[data]\ndir = 2020-01-01", "config.toml:2: [data] dir", "must be a text in quotes"),
        (
            "[backend.deepsquare]\nlogger_tls = 'perhaps'",
            "config.toml:2: [backend.deepsquare] logger_tls",
            "true or false",
        ),
        (
            "[backend.deepsquare]\nlock_credits = 0",
            "config.toml:2: [backend.deepsquare] lock_credits",
            "above 0 and at most 1000000000",
        ),
        (
            "[backend.local]\nstep_seconds = nan",
            "config.toml:2: [backend.local] step_seconds",
            "a number from 0 to 86400",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    text: str, where: str, words: str, tmp_path: Path
) -> None:
    found = problem(text, tmp_path)
    assert found.location == where
    assert words in found.problem
    assert found.hint.endswith((".", '"'))


def test_a_line_inside_another_text_is_not_mistaken_for_the_key(tmp_path: Path) -> None:
    text = 'discord.token = """\nqueue.running = 0\n"""\n# running\nqueue.running = 0\n'
    found = [str(error) for error in problems(text, tmp_path)]
    assert any(error.startswith("config.toml:5: [queue] running") for error in found)


def test_a_short_default_is_told_and_a_long_one_is_not(tmp_path: Path) -> None:
    assert problem("[queue]\nrunning = 0", tmp_path).hint.endswith("for the default, 4.")
    assert problem("[imagine]\nstyles = 0", tmp_path).hint.endswith("for the default.")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = "[queue]\nrunning = 0\nwaitng = 1\n[log]\nlevel = 'x'\n"
    found = problems(text, tmp_path, {"GRIDBRUSH_X": "1"})
    assert {error.location for error in found} == {
        "GRIDBRUSH_X",
        "config.toml:2: [queue] running",
        "config.toml:3: [queue] waitng",
        "config.toml:5: [log] level",
    }


@pytest.mark.parametrize(
    "text",
    [
        f'[discord]\ntoken = "Bot {SECRET}"',
        f'[discord]\ntoken = "{SECRET} x"',
        f'[discord]\ntoken = ["{SECRET}"]',
        f'[discord]\ntokn = "{SECRET}"',
        f'[discord]\nguilds = "{SECRET}"',
        f'[discord]\nguilds = ["{SECRET}"]',
        f'[discord]\napi_base = "{SECRET}"',
        f'[discord]\napi_base = "https://bot:{SECRET}@example.org/"',
        f'[metrics]\nlisten = "{SECRET}"',
        f'[quota]\nwindow = "{SECRET}"',
        f'[log]\nformat = "{SECRET}"',
        f'[queue]\nrunning = "{SECRET}"',
        f'[backend.deepsquare]\nprivate_key = "{SECRET}"',
        f"[backend.deepsquare]\nprivate_key = 0x{'ab' * 32}",
        f"[backend.deepsquare]\nchain_id = 0x{'ab' * 32}",
        f"[backend.deepsquare]\nchain_id = 0x{'ab' * 3200}",
        f'[backend.deepsquare]\nprivate_key = "0x{"ab" * 31}"',
        f'[discord]\ntoken = "{SECRET}\n',
        f"[discord]\ntoken = {SECRET}\n",
    ],
)
def test_no_error_repeats_a_secret(text: str, tmp_path: Path) -> None:
    found = problems(text, tmp_path)
    assert found
    for error in found:
        shown = str(error) + repr(error)
        assert SECRET not in shown
        assert SECRET[:20] not in shown
        assert "abab" not in shown
        assert str(int("ab" * 32, 16))[:20] not in shown
    with pytest.raises(ConfigError) as caught:
        Settings.load(None, {}, tmp_path)
    whole = "".join(traceback.format_exception(caught.value))
    assert SECRET not in whole
    assert "abab" not in whole


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["token", "running", "styles", "local", "rows", "dir", "tasks", "y"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
SECTIONS = st.sampled_from(["discord", "queue", "imagine", "backend", "data", "_env_file", "x y"])


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.dictionaries(SECTIONS, TREES, max_size=3))
def test_whatever_is_written_gives_settings_or_problems_with_a_place(
    tree: dict[str, object],
) -> None:
    environ = {f"GRIDBRUSH_{name}": json.dumps(value) for name, value in tree.items()}
    settings, found = Settings.validate_files(None, environ, Path("/nonexistent"))
    assert (settings is None) == bool(found)
    for error in found:
        assert error.location
        assert error.problem
        assert error.hint


LINES = st.sampled_from(
    ["[queue]", "[imagine.styles]", "running = 0", "running = [", "]", '"""', "noir = '", "#x", "="]
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=6))
def test_whatever_stands_in_a_file_never_breaks_the_search_for_lines(lines: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")
        path.write_text("\n".join(lines), "utf-8")
        settings, found = Settings.validate_files(path, {})
    assert (settings is None) == bool(found)
    for error in found:
        line = re.search(r"config\.toml:(\d+)", error.location)
        assert line is not None
        assert 1 <= int(line[1]) <= max(1, len(lines))
