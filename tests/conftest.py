"""What holds for all tests: signals, reruns, programs that are needed, processes that are not."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from bot import log_config

MAX_RERUNS = 2
REAL_CLIENT = "drives a real Discord client over loopback, which a busy machine makes late"
"""Why whatever uses the ``playground`` fixture counts as marked ``timing``."""
_PROCESS_EVENTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and every process they
# start would inherit that. Tests of interruption need what a terminal gives.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


RECURSION_LIMIT = sys.getrecursionlimit()


def is_installed(program: str) -> bool:
    """Whether a program can be started; ``convert`` counts if it is ImageMagick's."""
    path = shutil.which(program)
    if path is None or program != "convert":
        return path is not None
    done = subprocess.run([path, "-version"], capture_output=True, check=False)
    return done.stdout.startswith(b"Version: ImageMagick")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if not is_installed(program):
                # `scripts/components` installs them: where CI counts on it, that has failed.
                stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
                stop(f"{program} is not installed")
    # py_ecc, which web3 loads, raises the limit so far that deep JSON ends the process instead of
    # raising RecursionError. Programs that do not load it have Python's own.
    sys.setrecursionlimit(RECURSION_LIMIT)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-processes", action="store_true", help="fail each test that starts a process"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "timing(reason): watches what a busy machine makes late; "
        f"run again, at most {MAX_RERUNS} times, when it fails",
    )
    config.addinivalue_line(
        "markers",
        "needs(program, ...): skipped where one of the programs is missing; with CI=true it fails",
    )
    if config.getoption("no_processes"):
        config.pluginmanager.register(ProcessGuard())


class ProcessGuard:
    """Refuse new processes while a test runs. ``uname`` may run: Python's ``platform`` asks it."""

    def __init__(self) -> None:
        self._active = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._active and event in _PROCESS_EVENTS and arguments[:1] != ("uname",):
            raise RuntimeError(f"--no-processes: {event} {arguments[:2]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._active = True
        try:
            return (yield)
        finally:
            self._active = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests marked ``timing`` run again, and send the reason along with their reports."""
    for item in items:
        mark = item.get_closest_marker("timing")
        if mark is None and "playground" in getattr(item, "fixturenames", ()):
            mark = pytest.mark.timing(REAL_CLIENT).mark
        if mark is None:
            continue
        if len(mark.args) != 1 or not isinstance(mark.args[0], str):
            raise pytest.UsageError(f"{item.nodeid}: timing takes the reason, one text")
        item.add_marker(pytest.mark.flaky(reruns=MAX_RERUNS))
        item.user_properties.append(("timing", mark.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each rerun: the test, the reason at its mark, and what failed before."""
    reruns = terminalreporter.stats.get("rerun", [])
    if not reruns:
        return
    terminalreporter.section(f"run again: {len(reruns)}")
    for report in reruns:
        terminalreporter.line(f"{report.nodeid} ({report.when})")
        terminalreporter.line(f"    marked: {dict(report.user_properties).get('timing')}")
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            terminalreporter.line(f"    failed: {crash.message.splitlines()[0]}")


@pytest.fixture(autouse=True)
def the_log_is_left_as_it_was() -> Iterator[None]:
    """Leave the process's log, which a command sets up, as it was found."""
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
