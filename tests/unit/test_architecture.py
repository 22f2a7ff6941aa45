"""The rules of the source tree, and that each finds its breach.

Who may import whom is said by the contracts in pyproject.toml, which scripts/lint checks and
tests/test_import_contracts.py breaches.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import import_rules, style_rules
from tests.unit.source_tree import Module, Rule, modules_of

ROOT = Path(__file__).parents[2]

RULES: tuple[Rule, ...] = (
    import_rules.dynamic_imports,
    import_rules.imports_of_the_own_package,
    import_rules.too_many_floors,
    style_rules.impure_domain,
    style_rules.bare_excepts,
    style_rules.globals_,
    style_rules.sql_outside_the_store,
    style_rules.empty_names,
    style_rules.unbounded_json,
    style_rules.long_files,
    style_rules.silent_modules,
    style_rules.effects_of_the_package,
)

BROAD_EXCEPTS = {
    "bot/backups.py::ScheduledBackups.run": "root of its task: the next one is still due",
    "bot/backends/deepsquare/chain_watcher.py::ChainWatcher._run": "root of its task: look again",
    "bot/services/lifecycle.py::CompositeObserver.on_event": "other observers go on",
    "bot/services/image_classifier.py::serve": "answer what the library raises",
    "bot/services/worker.py::JobWorker._cancel_at_backend": "the job is given up: refund it",
    "bot/services/worker.py::JobWorker.run": "root of a job's task: the step is done again",
    "bot/services/redelivery.py::KeptResults._redeliver": "root of one attempt; the others go on",
    "bot/services/supervision.py::keep_running": "root of a task: it is started again",
    "bot/txt2img/engines/worker/server.py::WorkerServer._generate": "answer what libraries raise",
    "bot/txt2img/engines/a1111/engine.py::A1111Engine._call.run": "root of its thread",
    "bot/store/writer.py::Writer._commit": "the callers' error is raised in the callers' tasks",
    "bot/store/writer.py::Writer._run_alone": "the caller's error is raised in the caller's task",
    "bot/frontend/delivery.py::DiscordDelivery._post_rows": "root of its own task",
    "bot/frontend/commands/imagine.py::_accept": "the member reads what was accepted",
    "bot/frontend/commands/imagine.py::handle_prompt_form": "root of an interaction: answer it",
    "bot/frontend/first_response.py::_find_or_post": "root of its task: tell the member",
    "bot/frontend/first_response.py::answer_accepted.answer": "root of the same task",
    "bot/frontend/gateway.py::_sign_in": "root of signing in: it is tried again",
    "bot/frontend/gateway.py::run_client": "root of the gateway: one event must not end the bot",
    "bot/frontend/discord_errors.py::map_discord_errors": "no answer of Discord's: try later",
    "bot/frontend/responses.py::safe_autocomplete.safely": "root of a suggestion: suggest nothing",
    "bot/frontend/responses.py::with_error_response": "root of a command: answer the member",
    "bot/frontend/status_updater.py::StatusUpdater._check_queue": "a status message can wait",
    "bot/frontend/submission.py::_find_accepted": "the member reads that it is unknown",
}
"""Where a broad except may stand, and why: at the roots of tasks."""


@pytest.fixture(scope="module")
def house() -> tuple[Module, ...]:
    modules = modules_of(ROOT)
    assert len(modules) > 50
    return modules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(house: tuple[Module, ...], rule: Rule) -> None:
    assert list(rule(house)) == []


def test_broad_excepts_stand_only_where_there_is_a_reason(house: tuple[Module, ...]) -> None:
    found = dict(style_rules.broad_excepts(house))
    assert [problem for where, problem in found.items() if where not in BROAD_EXCEPTS] == []
    assert set(BROAD_EXCEPTS) - set(found) == set()


# Every rule finds what it is for.


def plant(root: Path, files: dict[str, str]) -> tuple[Module, ...]:
    for name, text in {"bot/__init__.py": '"""A package."""\n', **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return modules_of(root)


def _rule(name: str) -> Rule:
    return next(rule for rule in RULES if rule.__name__ == name)


@pytest.mark.parametrize(
    ("rule", "path", "text", "found"),
    [
        ("dynamic_imports", "bot/services/x.py", "import_module('bot.cli')", "import_module"),
        ("dynamic_imports", "bot/store/x.py", "importlib.import_module(name)", "import_module"),
        ("dynamic_imports", "bot/cli/x.py", "runpy.run_module('bot.txt2img')", "run_module"),
        ("dynamic_imports", "bot/checks.py", "def f():\n    __import__('bot')", "__import__"),
        ("imports_of_the_own_package", "bot/store/jobs.py", "from bot.store import X", "lies in"),
        ("imports_of_the_own_package", "bot/a/b/c.py", "from .. import X", "lies in"),
        ("impure_domain", "bot/domain/x.py", "import os", "import os"),
        ("impure_domain", "bot/domain/x.py", "from random import random", "import random"),
        ("impure_domain", "bot/domain/x.py", "import urllib.request", "import urllib.request"),
        ("impure_domain", "bot/domain/x.py", "def f():\n    import httpx", "import httpx"),
        ("impure_domain", "bot/domain/x.py", "x = open('y')", "call open"),
        ("impure_domain", "bot/domain/x.py", "x = datetime.now(UTC)", "no clock"),
        ("impure_domain", "bot/domain/x.py", "async def f(): pass", "does not wait"),
        ("bare_excepts", "bot/bootstrap.py", "try:\n    x()\nexcept:\n    pass", "bare except"),
        ("globals_", "bot/bootstrap.py", "def f():\n    global x, y", "global x, y"),
        ("sql_outside_the_store", "bot/services/x.py", "c.execute('select 1')", "SQL"),
        ("sql_outside_the_store", "bot/services/x.py", "c.executemany(f'\\nINSERT {x}')", "SQL"),
        ("unbounded_json", "bot/backends/x.py", "x = json.loads(y)", "json.loads"),
        ("unbounded_json", "bot/services/x.py", "def f():\n    json.load(y)", "json.loads"),
        ("unbounded_json", "bot/backends/x.py", "x = answer.json()", "without a bound"),
        ("empty_names", "bot/services/job_utils.py", "", "job_utils"),
        ("empty_names", "bot/services/helpers/x.py", "", "helpers"),
        ("empty_names", "bot/services/common.py", "", "common"),
        ("empty_names", "bot/services/x.py", "class JobManager: pass", "JobManager"),
        ("long_files", "bot/services/x.py", "x = 1\n" * 501, "501 lines"),
        ("long_files", "bot/services/x.py", "# Over 500 lines:\n" + "x = 1\n" * 501, "502 lines"),
        ("silent_modules", "bot/services/x.py", "x = 1", "no docstring"),
        ("effects_of_the_package", "bot/__init__.py", "print('hello')", "effect"),
        ("effects_of_the_package", "bot/__init__.py", "from bot import app", "effect"),
    ],
)
def test_a_planted_breach_is_found(
    tmp_path: Path, rule: str, path: str, text: str, found: str
) -> None:
    problems = list(_rule(rule)(plant(tmp_path, {path: text})))
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}:")
    assert found in problems[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_allowed_is_not_found(tmp_path: Path, rule: Rule) -> None:
    files = {
        "bot/domain/x.py": '"""X."""\nimport hashlib\nfrom urllib.parse import quote\nimport yaml',
        "bot/domain/y.py": '"""Y."""\nfrom bot.domain import x\nfrom . import x as again',
        "bot/store/x.py": '"""X."""\nimport sqlite3\nc.execute("SELECT 1")',
        "bot/backends/base.py": '"""B."""\nimport bot.domain.x',
        "bot/backends/one.py": '"""O."""\nimport bot.backends.base\nasync def open(): pass',
        "bot/services/x.py": '"""X."""\nimport bot.store.x, bot.backends.base, bot.domain.y',
        "bot/frontend/x.py": '"""X."""\nimport discord\nimport bot.services.x\nc.execute(call)',
        "bot/cli/x.py": '"""X."""\nfrom bot import __version__\nimport bot.bootstrap, bot.settings',
        "bot/bootstrap.py": '"""A."""\nimport bot.frontend.x, bot.backends.one, bot.store.x',
        "bot/commonplace.py": '"""C."""',
    }
    assert list(rule(plant(tmp_path, files))) == []


@pytest.mark.parametrize(
    "how",
    ["import bot.frontend.{0}", "def f():\n    from bot.frontend import {0}", "from . import {0}"],
)
def test_a_sixth_floor_of_the_frontend_is_found(tmp_path: Path, how: str) -> None:
    files = {f"bot/frontend/m{n}.py": how.format(f"m{n - 1}") for n in range(2, 7)}
    modules = plant(tmp_path, {"bot/frontend/m1.py": "import bot.domain.job", **files})
    assert import_rules.floors(modules, "bot.frontend") == {
        f"bot.frontend.m{n}": n for n in range(1, 7)
    }
    assert list(import_rules.too_many_floors(modules)) == [
        "bot/frontend/m6.py:1: bot.frontend.m6 is on floor 6 of 5"
    ]


def test_commands_that_are_loaded_by_name_count_as_imported(tmp_path: Path) -> None:
    files = {
        "bot/frontend/commands/__init__.py": "",
        "bot/frontend/commands/help.py": "import bot.frontend.responses",
        "bot/frontend/responses.py": "",
        "bot/frontend/client.py": "from bot.frontend import commands",
    }
    floors = import_rules.floors(plant(tmp_path, files), "bot.frontend")
    assert floors["bot.frontend.client"] == 3


def test_a_circle_in_the_frontend_is_found(tmp_path: Path) -> None:
    late = "def f():\n    import bot.frontend.m1"
    files = {"bot/frontend/m1.py": "import bot.frontend.m2", "bot/frontend/m2.py": late}
    (problem,) = import_rules.too_many_floors(plant(tmp_path, files))
    assert problem.startswith("bot.frontend has a circle")


# What the contracts of pyproject.toml have to know.


def test_every_backend_is_kept_independent_of_the_others(house: tuple[Module, ...]) -> None:
    independent = import_rules.independent_backends(ROOT / "pyproject.toml")
    assert import_rules.backends_of(house) == independent


def test_a_backend_is_known_by_how_it_is_opened(tmp_path: Path) -> None:
    files = {
        "bot/backends/one/__init__.py": "async def open(options): pass",
        "bot/backends/one/wire.py": "async def open(url): pass",
        "bot/backends/two.py": "async def open(options): pass",
        "bot/backends/shared.py": "def open(): pass",
    }
    assert import_rules.backends_of(plant(tmp_path, files)) == {
        "bot.backends.one",
        "bot.backends.two",
    }


def test_a_long_file_may_say_why_at_its_top(tmp_path: Path) -> None:
    text = "# Over 500 lines: one table, which readers search.\n" + "x = 1\n" * 501
    assert not list(style_rules.long_files(plant(tmp_path, {"bot/services/x.py": text})))


def test_a_broad_except_is_found_unless_it_raises_on(tmp_path: Path) -> None:
    text = """
class Runner:
    async def run(self):
        try: x()
        except ValueError: pass
        except (OSError, Exception): pass
        try: x()
        except BaseException:
            clean()
            raise
def outer():
    def inner():
        try: x()
        except Exception as error:
            raise Other from error
"""
    found = dict(style_rules.broad_excepts(plant(tmp_path, {"bot/bootstrap.py": text})))
    assert list(found) == ["bot/bootstrap.py::Runner.run", "bot/bootstrap.py::outer.inner"]
    assert found["bot/bootstrap.py::Runner.run"].startswith("bot/bootstrap.py:6: except Exception")
