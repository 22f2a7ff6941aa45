"""The real ``gridbrush play`` in a folder of its own, and a real Chromium in front of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.browser.chat import Chat

Windows = Callable[..., Chat]

START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
TIMEOUTS_MS: Final = 30_000
"""How long anything that must happen may take on a busy machine."""

# Small pictures, and steps slow enough that rows can be seen to arrive one after the other.
SIDE: Final = 384 if os.environ.get("GRIDBRUSH_SCREENSHOTS") else 128
SETTINGS: Final = {
    "GRIDBRUSH_IMAGINE__WIDTH": str(SIDE),
    "GRIDBRUSH_IMAGINE__HEIGHT": str(SIDE),
    "GRIDBRUSH_IMAGINE__STEPS": "10",
    "GRIDBRUSH_BACKEND__LOCAL__STEP_SECONDS": "0.08",
    "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "sketch",
    "GRIDBRUSH_BACKEND__LOCAL__TASKS": "2",
}

_ADDRESS = re.compile(r"Open (http://\S+)")
# The library's word, with its traceback, for a connection that a test has broken on purpose.
_RECONNECT = re.compile(
    r"^\S+ ERROR +discord\.client Attempting a reconnect.*\n(?:(?!\d{4}-\d\d-\d\dT).*\n)*",
    re.MULTILINE,
)
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser; without one the test is skipped, but never where CI counts on it.

    It lives no longer than one module: while it does, nothing asynchronous can run beside it.
    """
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
        program = own if Path(own).exists() else found
        if program is None:
            reason = "no Chromium is installed: `playwright install chromium` brings one"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        expect.set_options(timeout=TIMEOUTS_MS)
        # Only the playground's own page is loaded, and containers often cannot have the sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where ``gridbrush play`` says its page is; afterwards it stops cleanly, with a clean log."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GRIDBRUSH_", "DISCORD_"))
    }
    environ |= SETTINGS | {"GRIDBRUSH_DATA__DIR": str(tmp_path / "data")}
    command = [str(Path(sys.executable).with_name("gridbrush")), "play"]
    with subprocess.Popen(
        [*command, "--port", "0", "--no-browser"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        found = None
        for line in process.stderr:
            said.append(line)
            found = _ADDRESS.search(line)
            if found is not None:
                break
        watchdog.cancel()
        listener = threading.Thread(target=said.extend, args=(process.stderr,))
        listener.start()
        try:
            assert found is not None, "it did not start:\n" + "".join(said)
            yield found[1]
        finally:
            process.terminate()
            try:
                status = process.wait(STOP_SECONDS)
            finally:
                process.kill()
                listener.join()
    assert status == 0, "".join(said)
    log = _RECONNECT.sub("", "".join(said))
    assert "ERROR" not in log, log
    assert "Traceback" not in log, log


@pytest.fixture
def windows(chromium: Browser, tmp_path: Path) -> Iterator[Windows]:
    """Opens windows, ``windows(width, height, **options of a browser context)``.

    Nothing may have gone wrong in any of them: no error in the console, no uncaught exception.
    """
    kept = os.environ.get("GRIDBRUSH_SCREENSHOTS")
    shots = Path(kept) if kept else tmp_path / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def window(width: int, height: int, **options: Any) -> Chat:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, locale="en-GB", **options
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUTS_MS)
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                problems.append(f"{message.text} ({message.location})")
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        return Chat(page, shots)

    yield window
    for context in contexts:
        context.close()
    assert problems == []
