"""Who may import whom, and the other rules of the house; and that each rule finds its breach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import import_rules, style_rules
from tests.source_tree import Module, Rule, modules_of

ROOT = Path(__file__).parents[1]

RULES: tuple[Rule, ...] = (
    import_rules.wrong_directions,
    import_rules.shared_libraries,
    import_rules.backends_that_know_each_other,
    import_rules.cycles,
    style_rules.impure_domain,
    style_rules.bare_excepts,
    style_rules.globals_,
    style_rules.sql_outside_the_store,
    style_rules.empty_names,
    style_rules.long_files,
    style_rules.silent_modules,
    style_rules.effects_of_the_package,
)

BROAD_EXCEPTS = {
    "bot/backups.py::ScheduledBackups.run": "root of its task: the next one is still due",
    "bot/backends/deepsquare/chain_watcher.py::ChainWatcher._run": "root of polling: it goes on",
    "bot/services/lifecycle.py::Fanout.report": "one reporter's failure is not the job's",
    "bot/services/worker.py::Runner._let_go": "the job is given up: its reservation must go back",
    "bot/services/worker.py::Runner.carry": "root of a job's task: the step is done again",
    "bot/services/supervision.py::keep_running": "root of a task: it is begun again",
    "bot/store/writer.py::Writer._commit": "the callers' error goes back to the callers' tasks",
    "bot/store/writer.py::Writer._hold": "the caller's error goes back to the caller's task",
    "bot/store/writer.py::Writer._run_alone": "the caller's error goes back to the caller's task",
    "bot/frontend/responses.py::_apology": "root of an apology: the store may be what went wrong",
    "bot/frontend/component_handlers.py::press_control": "root of a press: the member hears of it",
    "bot/frontend/gateway.py::_sign_in": "root of signing in: it is tried again",
    "bot/frontend/gateway.py::run_client": "root of the gateway: one event must not end the bot",
    "bot/frontend/delivery.py::DiscordCourier._rows": "root of its own task, after the delivery",
    "bot/frontend/messages.py::border": "whatever is no answer of Discord's is not now",
    "bot/services/redelivery.py::KeptResults._try": "root of one attempt; the others go on",
    "bot/frontend/edit_modal.py::handed_in": "root of a form: the member hears of it",
    "bot/frontend/first_response.py::_settle": "root of a card's task: the member is to be told",
    "bot/frontend/first_response.py::answer_accepted.answer": "root of the same task",
    "bot/frontend/responses.py::guarded": "root of a command: the member hears of it",
    "bot/frontend/responses.py::suggesting.safely": "root of a suggestion: nothing to suggest then",
    "bot/frontend/status_updater.py::DiscordReporter._look_at_line": "cards do not depend on the line",
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


def test_importing_the_package_loads_nothing_else() -> None:
    show = "import sys; old = set(sys.modules); import bot; print(*sorted(set(sys.modules) - old))"
    done = subprocess.run(
        [sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"bot", "__future__"}
    assert "bot" in done.stdout.split()


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
        ("wrong_directions", "bot/domain/x.py", "import bot.store.jobs", "import bot.store.jobs"),
        ("wrong_directions", "bot/services/x.py", "from bot.frontend import x", "bot.frontend"),
        (
            "wrong_directions",
            "bot/services/x.py",
            "import bot.backends.local",
            "bot.backends.local",
        ),
        ("wrong_directions", "bot/frontend/x.py", "def f():\n    import bot.store", "bot.store"),
        (
            "wrong_directions",
            "bot/settings/x.py",
            "if TYPE_CHECKING:\n    from bot.services.queue import Queue",
            "bot.services.queue",
        ),
        ("wrong_directions", "bot/txt2img/x.py", "from bot import __version__", "import bot"),
        ("wrong_directions", "bot/playground/x.py", "import bot.domain.job", "bot.domain.job"),
        (
            "wrong_directions",
            "bot/txt2img/engines/sketch/x.py",
            "from ....domain import job",
            "bot.domain",
        ),
        ("wrong_directions", "bot/store/x.py", "from .. import app", "may not import bot"),
        ("wrong_directions", "bot/cli/x.py", "from bot.store import jobs", "bot.store"),
        ("wrong_directions", "bot/metrics.py", "import bot.services.queue", "bot.services.queue"),
        ("wrong_directions", "bot/services/x.py", "import_module('bot.cli')", "bot.cli"),
        (
            "wrong_directions",
            "bot/services/x.py",
            "importlib.import_module('bot.bootstrap')",
            "bot.bootstrap",
        ),
        ("wrong_directions", "bot/attic/x.py", "", "in no room"),
        ("wrong_directions", "bot/enginery.py", "", "in no room"),
        ("shared_libraries", "bot/services/x.py", "from discord.ext import tasks", "discord"),
        ("shared_libraries", "bot/bootstrap.py", "def f():\n    import aiosqlite", "aiosqlite"),
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
        ("empty_names", "bot/services/job_utils.py", "", "job_utils"),
        ("empty_names", "bot/services/helpers/x.py", "", "helpers"),
        ("empty_names", "bot/services/common.py", "", "common"),
        ("empty_names", "bot/services/x.py", "class JobManager: pass", "JobManager"),
        ("long_files", "bot/services/x.py", "x = 1\n" * 501, "501 lines"),
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
    if rule is import_rules.wrong_directions:
        del files["bot/commonplace.py"]
    assert list(rule(plant(tmp_path, files))) == []


def test_a_backend_that_imports_another_is_found(tmp_path: Path) -> None:
    backend = '"""B."""\nfrom bot.backends import shared\nasync def open(options): pass\n'
    files = {
        "bot/backends/one/__init__.py": backend + "from bot.backends.one import wire\n",
        "bot/backends/one/wire.py": "from bot.backends.two import x",
        "bot/backends/two.py": backend,
        "bot/backends/shared.py": "x = 1",
    }
    found = list(import_rules.backends_that_know_each_other(plant(tmp_path, files)))
    assert found == [
        "bot/backends/one/wire.py:1: bot.backends.one.wire may not import "
        "the backend bot.backends.two"
    ]


@pytest.mark.parametrize("last", ["import bot.a", "def f():\n    from bot import a"])
def test_a_cycle_is_found_and_shown(tmp_path: Path, last: str) -> None:
    files = {
        "bot/a.py": "from bot.b import x",
        "bot/b.py": "from bot import c",
        "bot/c.py": last,
        "bot/aside.py": "import bot.a, bot.leaf",
        "bot/leaf.py": "import bot",
    }
    (found,) = import_rules.cycles(plant(tmp_path, files))
    assert "bot.a -> bot.b -> bot.c -> bot.a" in found


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
