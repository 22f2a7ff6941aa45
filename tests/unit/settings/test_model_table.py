"""The table of models: what an entry may say, what contradicts, and who can use which entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.domain.errors import ConfigError
from bot.domain.image_engine import SCRIPT, EngineInfo
from bot.settings import Settings

SHA = "ab" * 32


def validate(folder: Path, text: str, **environ: str) -> tuple[ConfigError, ...]:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return Settings.validate_files(None, environ, folder)[1]


def load(folder: Path, text: str, **environ: str) -> Settings:
    assert validate(folder, text, **environ) == ()
    return Settings.load(None, environ, folder)


PROBLEMS = [
    # what the entry says, the key that is named, and words of the problem or hint
    ("title = 'x'", "[models.m]", "does not say where it lies"),
    ("path = 'x'\nhub = 'a/b'", "[models.m]", "2 times (path and hub)"),
    ("engine = 'sketch'\npath = 'x'", "engine", "has no model"),
    ("engine = 'flux'\npath = 'x'", "engine", '"comfyui" or "a1111"'),
    ("input = 'https://example.org/m.ckpt'", "sha256", "is missing"),
    ("input = 'ftp://example.org/m'\nsha256 = '{sha}'", "input", "not a URL"),
    ("hub = 'a/b'\nsha256 = '{sha}'", "sha256", "cannot be checked there"),
    ("path = 'x'\nsha256 = 'abc'", "sha256", "sha256sum"),
    ("hosted = '../x'", "hosted", "folder"),
    ("hub = 'a/b/c'", "hub", "owner/name"),
    ("checkpoint = '-x'", "checkpoint", "no name of a model"),
    ("engine = 'comfyui'\npath = 'x'", "engine", "Write checkpoint"),
    ("engine = 'diffusers'\ncheckpoint = 'x'", "engine", "loads files"),
    ("engine = 'diffusers'\nhosted = 'x'", "engine", "loads files"),
    ("hosted = 'x'\nloras.a = { name = 'b' }", "loras", "no effect"),
    ("path = 'x'\nloras.a = {}", "loras", "one of file and name"),
    ("path = 'x'\nloras.a = { file = 'f', name = 'n' }", "loras", "one of file and name"),
    ("path = 'x'\nloras.a = { file = 'f', weight = 9 }", "loras", "a number from -4 to 4"),
    ("path = 'x'\nloras.'<a>' = { file = 'f' }", "loras", "name that cannot be written"),
    ("path = 'x'\nfamily = 'sd9'", "family", "sdxl"),
    ("path = 'x'\ncost = 0", "cost", "a whole number from 1 to 1000"),
    ("path = 'x'\ncost = true", "cost", "Write a number"),
    ("path = 'x'\nroles = [0]", "roles", "Copy Role ID"),
    ("path = 'x'\nroles = ['1x']", "roles", "a whole number"),
    ("path = 'x'\nsteps = 9\nmax_steps = 8", "steps", "max_steps is 8"),
    ("path = 'x'\nmax_steps = 8", "steps", "is 50, but max_steps is 8"),
    ("path = 'x'\nsteps = 200", "steps", "[imagine] max_steps is 150"),
    ("path = 'x'\nwidth = 512", "height", "Write both"),
    ("path = 'x'\nwidth = 500\nheight = 512", "width", "in steps of 64"),
    ("path = 'x'\nwidth = 512\nheight = 512\nmax_pixels = 5", "width", "max_pixels is 5"),
    ("path = 'x'\nwidth = 512\nheight = 512\nmin_pixels = 262145", "width", "min_pixels is 262145"),
    ("path = 'x'\nwidth = 2048\nheight = 2048", "width", "[imagine] max_pixels is 1048576"),
    ("path = 'x'\nmin_pixels = 600000", "width", "min_pixels is 600000"),
    ("path = 'x'\nmin_pixels = 6\nmax_pixels = 5", "min_pixels", "max_pixels is 5"),
    ("path = 'x'\nguidance = -1", "guidance", "a number from 0 to 100"),
    ("path = 'x'\nnegative = 'maybe'", "negative", "true or false"),
    ("path = 'x'\ntitel = 'y'", "titel", "[models.m] title"),
    ("path = 'x'\nresources.cpu = 1", "cpu", "no such key"),
    ("path = 'x'\nresources.cpus_per_task = 0", "cpus_per_task", "a whole number from 1 to 1024"),
    ("path = 'x'\nloras.a = { file = 'f', wieght = 1 }", "wieght", "no such key"),
]


@pytest.mark.parametrize(("entry", "key", "words"), PROBLEMS)
def test_a_wrong_entry_is_told_by_key_line_and_remedy(
    tmp_path: Path, entry: str, key: str, words: str
) -> None:
    problems = validate(tmp_path, "[models.m]\n" + entry.replace("{sha}", SHA) + "\n")
    assert len(problems) == 1
    (problem,) = problems
    assert key in problem.location
    assert words in f"{problem.problem} {problem.hint}"
    assert problem.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[models.'a b']\npath = 'x'", "name that cannot be typed"),
        ("[models.a]\npath = 'x'\n[models.A]\npath = 'x'", "calls a and A by the same name"),
        ("[models.a]\npath = 'x'\ntitle = 'B'\n[models.b]\npath = 'x'", "by the same name"),
        ("models = 3", "a table of keys and values"),
        ("[models]\nm = 3", "a table of keys and values"),
        (
            "[backend.local]\nengine = 'comfyui'\nurl = 'http://gpu:8188'\n"
            "[models.a]\nengine = 'a1111'\ncheckpoint = 'x'",
            "a1111 and comfyui are both in use",
        ),
        ("[imagine]\nmodel = 'b'\n[models.a]\npath = 'x'", "is not one of models, which are a"),
        ("[imagine]\nmodel = 'b'", "is not one of models, which are sd-2-1, wd-1-4"),
        ("[imagine]\nmodels = ['a', 'b']\n[models.a]\npath = 'x'", ""),
    ],
)
def test_what_contradicts_in_the_table_is_told(tmp_path: Path, text: str, words: str) -> None:
    problems = validate(tmp_path, text)
    assert [words in f"{problem.problem}{problem.hint}" for problem in problems] == [True] * bool(
        words
    )


@pytest.mark.parametrize(
    ("url", "ok"),
    [
        ("http://127.0.0.1:8188", True),
        ("http://192.168.1.20:8188/", True),
        ("http://[fd00::1]:8188", True),
        ("http://gaming-pc:8188", True),
        ("http://pc.local:8188", True),
        ("http://pc.fritz.box:8188", False),
        ("http://8.8.8.8:8188", False),
        ("http://example.org", False),
        ("https://example.org/comfy", True),
        ("http://me:pw@127.0.0.1:8188", False),
        ("http://127.0.0.1:8188/?a=b", False),
        ("127.0.0.1:8188", False),
        ("http://127.0.0.1:99999", False),
    ],
)
def test_which_addresses_an_image_server_may_have(tmp_path: Path, url: str, ok: bool) -> None:
    text = f"[backend.local]\nengine = 'comfyui'\nurls = ['{url}']"
    problems = validate(tmp_path, text)
    assert not problems if ok else len(problems) == 1


TABLE = """
[models.folder]
path = "models/sdxl.safetensors"
loras.film = { file = "~/film.safetensors", weight = 0.5 }
sha256 = "{sha}"
guidance = 5
sampler = "Euler a"
[models.server]
engine = "comfyui"
checkpoint = "sub/sdxl.safetensors"
loras.grain = { name = "grain" }
[models.hosted]
hosted = "sd-2-1"
cost = 3
roles = [5]
[models.own]
input = "https://example.org/m.safetensors"
sha256 = "{sha}"
[models.sketch]
engine = "sketch"
resources.gpus_per_task = 0
""".replace("{sha}", SHA)


@pytest.mark.parametrize(
    ("environ", "usable"),
    [
        ({}, ["folder", "server", "own", "sketch"]),
        ({"KIND": "slurm"}, ["folder", "server", "own", "sketch"]),
        ({"KIND": "deepsquare"}, ["hosted", "own"]),
        ({"KIND": "scripted"}, ["folder", "server", "hosted", "own", "sketch"]),
        ({"LOCAL__CONTAINER": "podman"}, ["hosted", "own"]),
        ({"LOCAL__ENGINE": "comfyui"}, ["server", "own", "sketch"]),
        ({"LOCAL__ENGINE": "sketch"}, ["server", "own", "sketch"]),
    ],
)
def test_a_backend_offers_the_models_that_it_can_use(
    tmp_path: Path, environ: dict[str, str], usable: list[str]
) -> None:
    variables = {f"GRIDBRUSH_BACKEND__{name}": value for name, value in environ.items()}
    settings = load(tmp_path, TABLE, **variables)
    limits = settings.limits(negative=True)
    assert list(limits.table) == list(limits.names) == usable
    assert list(settings.unusable_models()) == [id for id in settings.models if id not in usable]
    assert all(settings.unusable_models().values())


def test_names_beside_the_table_are_folders_for_the_script_alone(tmp_path: Path) -> None:
    text = '[imagine]\nmodels = ["wd-1-4", "hosted"]\nmodel = "hosted"\n' + TABLE
    script = load(tmp_path, text, GRIDBRUSH_BACKEND__KIND="deepsquare")
    limits = script.limits(negative=True, engine=EngineInfo(SCRIPT))
    assert limits.names == ("hosted", "wd-1-4")
    assert limits.engine_for("hosted") == EngineInfo(SCRIPT)
    # Nothing of the chosen ones can be used here: what can be used is offered.
    assert load(tmp_path, text).limits(negative=True).names == (
        *("folder", "server", "own", "sketch"),
    )
    # A table for another backend changes nothing here.
    alone = load(tmp_path, '[models.m]\nhosted = "x"').limits(negative=True)
    assert (alone.table, alone.models, alone.model) == ({}, ("sd-2-1", "wd-1-4"), "sd-2-1")


def test_the_backend_gets_the_table_for_its_program(tmp_path: Path) -> None:
    text = TABLE + '[backend.local]\nurl = "http://gpu:1/"\nurls = ["http://gpu:1"]\n'
    text += 'graphs.txt2img = "g.json"\nusername = "me"\npassword = "pass-word-1"\n'
    settings = load(tmp_path, text)
    options = settings.backend_options()
    models = options["models"]
    assert isinstance(models, dict)
    assert models["folder"] == {
        "title": "",
        "engine": "",
        "kind": "path",
        "location": str(tmp_path / "models/sdxl.safetensors"),
        "family": "",
        "guidance": 5.0,
        "sampler": "Euler a",
        "sha256": SHA,
        "loras": {"film": {"location": str(tmp_path / "~/film.safetensors"), "weight": 0.5}},
    }
    assert models["server"]["loras"] == {"grain": {"location": "grain", "weight": 1.0}}
    assert (models["server"]["kind"], models["sketch"]["location"]) == ("checkpoint", "")
    assert options["comfyui"] == {
        "urls": ("http://gpu:1",),
        "username": "me",
        "password": "pass-word-1",
        "graphs": {"txt2img": str(tmp_path / "g.json")},
    }
    assert "a1111" not in options
    shown = f"{options!r}{settings.describe()}{settings!r}"
    assert "pass-word-1" not in shown
    assert settings.secrets() == ("pass-word-1",)


def test_a_server_needs_an_address_and_a_password_its_name(tmp_path: Path) -> None:
    for text in (
        "[backend.local]\nengine = 'a1111'",
        "[models.m]\nengine = 'a1111'\ncheckpoint = 'x'",
    ):
        (missing,) = load(tmp_path, text).missing_values(discord=False)
        assert missing.location == "[backend.local] url"
    (problem,) = validate(tmp_path, "[backend.local]\npassword = 'x'")
    assert "is given without username" in problem.problem
    (problem,) = validate(tmp_path, "[backend.local]\ngraphs.txt = 'x'")
    assert "img2img, txt2img, upscale" in problem.hint


def test_a_model_s_keys_are_shown_and_set_like_all_others(tmp_path: Path) -> None:
    table = json.dumps({"m": {"hub": "a/b", "cost": 2}})
    settings = load(tmp_path, "", GRIDBRUSH_MODELS=table)
    shown = {(entry.section, entry.key): entry for entry in settings.describe()}
    assert shown["models.m", "cost"].value == "2"
    assert shown["models.m", "cost"].source == "GRIDBRUSH_MODELS"
    assert shown["models.m.resources", "gpus_per_task"].value == '""'
    spec = settings.limits(negative=True).table["m"]
    assert (spec.cost, spec.negative, spec.guidance) == (2, None, None)
    written = load(tmp_path, '[models.m]\nhub = "a/b"\nguidance = ""\nnegative = false\n')
    assert written.models["m"].guidance is None
    assert not written.limits(negative=True).table["m"].takes_negative
    single = load(tmp_path, '[models.m]\nhub = "a/b"', GRIDBRUSH_MODELS__M__COST="5")
    assert single.models["m"].cost == 5
