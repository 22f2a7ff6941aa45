"""What other rooms ask of the settings: limits, quota, a backend's options, files, secrets."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import ConfigError
from bot.domain.quota import Quota
from bot.domain.request import RequestLimits
from bot.settings import Settings

TOKEN = "a-token.for.tests"
KEY = "0x" + "5a" * 32


def load(folder: Path, text: str = "", **environ: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return Settings.load(None, environ, folder)


def key_file(folder: Path, text: str = KEY + "\n", mode: int = 0o600) -> Path:
    path = folder / "wallet.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_limits_are_those_of_the_imagine_section(tmp_path: Path) -> None:
    text = '[imagine]\nrows = 2\nmax_steps = 60\nmodels = ["a", "sd-2-1"]\nstyles.x = "words"\n'
    limits = load(tmp_path, text).limits(negative=False)
    assert limits == RequestLimits(
        rows=2, max_steps=60, models=("a", "sd-2-1"), styles={"x": "words"}, negative=False
    )
    assert load(tmp_path).limits(negative=True).negative


def test_the_default_quota_joins_images_and_the_places_in_the_queue(tmp_path: Path) -> None:
    text = '[quota]\nimages = 5\nwindow = "90m"\n[queue]\nrunning_per_user = 2\n'
    quota = load(tmp_path, text).default_quota()
    assert quota == Quota(images=5, window=timedelta(minutes=90), running=2, waiting=5)


@pytest.mark.parametrize("kind", ["local", "deepsquare", "slurm", "scripted"])
def test_a_backend_gets_its_own_section_and_the_data_folder(kind: str, tmp_path: Path) -> None:
    settings = load(tmp_path, GRIDBRUSH_BACKEND__KIND=kind)
    options = settings.backend_options()
    expected = {*type(getattr(settings.backend, kind)).model_fields, "data_dir"}
    expected -= {"private_key_file", "url", "urls", "username", "password", "graphs"}
    if kind in ("local", "slurm"):
        expected.add("models")
    assert set(options) == expected
    assert options["data_dir"] == tmp_path / "data"
    assert len(options) == len(list(options))


def test_local_tasks_are_the_backends_choice_unless_said(tmp_path: Path) -> None:
    assert load(tmp_path).backend_options()["tasks"] == 0
    text = "[backend.local]\ntasks = 3\n"
    assert load(tmp_path, text).backend_options()["tasks"] == 3


def test_the_backend_gets_the_key_in_clear_but_does_not_show_it(tmp_path: Path) -> None:
    settings = load(tmp_path, "[backend]\nkind = 'deepsquare'", DEEPSQUARE_PRIVATE_KEY=KEY)
    options = settings.backend_options()
    assert options["private_key"] == KEY
    assert KEY not in repr(options) + str(options)
    assert "chain_id" in repr(options)


def test_secrets_are_listed_for_the_log_and_shown_nowhere(tmp_path: Path) -> None:
    settings = load(tmp_path, DISCORD_TOKEN=TOKEN, DEEPSQUARE_PRIVATE_KEY=KEY)
    assert settings.secrets() == (TOKEN, KEY)
    shown = repr(settings) + str(settings) + str(settings.describe()) + settings.model_dump_json()
    assert TOKEN not in shown
    assert KEY not in shown
    assert load(tmp_path).secrets() == ()


def test_describe_tells_every_value_and_where_it_is_from(tmp_path: Path) -> None:
    text = '[queue]\nrunning = 7\n["discord"]\n"gui\\u006cds" = [1, 2]\n'
    text += '[imagine.styles]\nx = "a \\"b\\""\n'
    settings = load(tmp_path, text, DISCORD_TOKEN=TOKEN, GRIDBRUSH_LOG__LEVEL="debug")
    found = {
        (entry.section, entry.key): (entry.value, entry.source) for entry in settings.describe()
    }
    assert found["queue", "running"] == ("7", "config.toml:2")
    assert found["discord", "guilds"] == ("[1, 2]", "config.toml")
    assert found["discord", "token"] == ('"********"', "DISCORD_TOKEN")
    assert found["log", "level"] == ('"debug"', "GRIDBRUSH_LOG__LEVEL")
    assert found["quota", "window"] == ('"24h"', "default")
    assert found["imagine", "styles"] == ('{ x = "a \\"b\\"" }', "config.toml:5")
    assert found["backend.deepsquare", "private_key"] == ('""', "default")
    assert found["backend.deepsquare", "logger_tls"] == ("true", "default")


def test_no_styles_at_all_can_be_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, "[imagine]\nstyles = {}\n")
    assert {entry.value for entry in settings.describe() if entry.key == "styles"} == {"{}"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "[discord] token"),
        ("[backend]\nkind = 'deepsquare'", "[backend.deepsquare] private_key"),
        ("[backend]\nkind = 'slurm'", "[backend.slurm] shared_dir"),
        ("[backend]\nkind = 'scripted'", "[backend.scripted] recording"),
        ("[backend.local]\nengine = 'diffusers'", "[backend.local] model"),
    ],
)
def test_what_is_missing_is_told_with_its_remedy(text: str, key: str, tmp_path: Path) -> None:
    found = load(tmp_path, text).missing_values(discord=True)
    assert [error.location for error in found] == list(dict.fromkeys(["[discord] token", key]))
    assert all(error.problem == "it is required, but not set" and error.hint for error in found)


def test_nothing_is_missing_where_all_is_said(tmp_path: Path) -> None:
    assert load(tmp_path).missing_values(discord=False) == ()
    assert load(tmp_path, DISCORD_TOKEN=TOKEN).missing_values(discord=True) == ()


@pytest.mark.parametrize("name", ["stable-diffusion", "upscale"])
def test_templates_that_come_with_the_bot_are_found_by_name(name: str, tmp_path: Path) -> None:
    assert load(tmp_path).template_path(name).name == f"{name}.yaml"


@pytest.mark.parametrize("name", ["mine.yaml", "./mine.yml", "deeper/mine"])
def test_a_template_may_be_a_path_from_the_file_s_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("gridbrush: 1\n")
    assert load(tmp_path).template_path(name) == tmp_path / name


def test_a_template_that_is_not_there_is_told_with_the_key_that_names_it(tmp_path: Path) -> None:
    settings = load(tmp_path, "[imagine]\nupscale_template = 'upscael'\ntemplate = 'a.yaml'\n")
    with pytest.raises(ConfigError) as caught:
        settings.template_path("upscael")
    assert caught.value.location == "config.toml:2: [imagine] upscale_template"
    assert "one of these names: " in caught.value.hint
    with pytest.raises(
        ConfigError, match=r"config\.toml:3: \[imagine\] template: there is no file"
    ):
        settings.template_path("a.yaml")
    with pytest.raises(ConfigError, match='the template "other"'):
        settings.template_path("other")


def test_the_wallet_s_key_may_lie_in_a_file(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    settings = load(tmp_path, "[backend.deepsquare]\nprivate_key_file = 'wallet.key'\n")
    assert settings.secrets() == (KEY,)
    sources = {entry.key: entry.source for entry in settings.describe()}
    assert sources["private_key"] == str(path)
    assert sources["private_key_file"] == "config.toml:2"
    assert KEY not in repr(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_may_open_is_refused(mode: int, tmp_path: Path) -> None:
    path = key_file(tmp_path, mode=mode)
    with pytest.raises(ConfigError, match=f"open to other users.* Run: chmod 600 {path}"):
        load(tmp_path, "[backend.deepsquare]\nprivate_key_file = 'wallet.key'\n")


def test_a_key_file_without_a_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    key_file(tmp_path, "my dog's name ü")
    with pytest.raises(ConfigError, match="holds no private key") as caught:
        load(tmp_path, "[backend.deepsquare]\nprivate_key_file = 'wallet.key'\n")
    assert "dog" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.key", "."])
def test_a_key_file_that_cannot_be_read_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load(tmp_path, f"[backend.deepsquare]\nprivate_key_file = '{name}'\n")
    assert caught.value.location == "config.toml:2: [backend.deepsquare] private_key_file"


def test_of_a_key_and_a_key_file_the_environment_s_wins(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    other = "0x" + "7b" * 32
    in_file = "[backend.deepsquare]\nprivate_key_file = 'wallet.key'\n"
    assert load(tmp_path, in_file, DEEPSQUARE_PRIVATE_KEY=other).secrets() == (other,)
    in_file = f"[backend.deepsquare]\nprivate_key = '{other}'\n"
    variable = {"GRIDBRUSH_BACKEND__DEEPSQUARE__PRIVATE_KEY_FILE": str(path)}
    assert load(tmp_path, in_file, **variable).secrets() == (KEY,)
    with pytest.raises(ConfigError, match="given a second time by private_key"):
        load(tmp_path, "", **variable, DEEPSQUARE_PRIVATE_KEY=other)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604, 0o660, 0o601])
@pytest.mark.parametrize(
    "text",
    [
        f"[discord]\ntoken = '{TOKEN}'\n",
        f"discord.token = '{TOKEN}'\n",
        f"[backend.deepsquare]\nprivate_key = '{KEY}'\n",
        f"[backend]\ndeepsquare = {{ private_key = '{KEY}' }}\n",
    ],
)
def test_a_file_with_a_secret_must_be_closed_to_others(
    tmp_path: Path, text: str, mode: int
) -> None:
    load(tmp_path, text)
    path = tmp_path / "config.toml"
    path.chmod(mode)
    # Also when a variable wins: the secret in the file can be read all the same.
    for environ in ({}, {"DISCORD_TOKEN": "another.token.here"}):
        with pytest.raises(ConfigError, match=f"mode {mode:04o}") as caught:
            Settings.load(None, environ, tmp_path)
        assert f"chmod 600 {path}" in caught.value.hint
        assert TOKEN not in str(caught.value)


def test_a_file_without_a_secret_may_be_open(tmp_path: Path) -> None:
    load(tmp_path, "[discord]\ntoken = ''\n[queue]\nrunning = 7\n")
    (tmp_path / "config.toml").chmod(0o644)
    assert Settings.load(None, {}, tmp_path).queue.running == 7


def test_settings_survive_a_trip_to_another_process(tmp_path: Path) -> None:
    settings = load(tmp_path, "[queue]\nrunning = 7\n", DISCORD_TOKEN=TOKEN)
    again = pickle.loads(pickle.dumps(settings))
    assert again == settings
    assert again.describe() == settings.describe()
