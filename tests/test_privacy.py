"""What the bot leaves behind and shows, looked at from outside: files, logs, processes.

One real bot at level debug, started with no umask at all and an environment full of secrets, runs a
whole job; then everything it wrote and every process it started is searched.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from bot.playground.server import Playground
from tests.bot_process import ROOT, environment, grids, log_of
from tests.files import paths_below

pytestmark = [
    pytest.mark.xdist_group("crash"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]

PROMPT = "a quokka with canary feathers"
NEGATIVE = "marmalade umbrellas"
SECRETS = {
    "HF_TOKEN": "hf_canaryCanaryCanary1",
    "HUGGING_FACE_HUB_TOKEN": "hf_canaryCanaryCanary2",
    "DEEPSQUARE_PRIVATE_KEY": "0x" + "c4" * 32,
    "AWS_SECRET_ACCESS_KEY": "canary-aws-secret",
    "AWS_SESSION_TOKEN": "canary-aws-session",
    "NVIDIA_API_KEY": "canary-nvidia-key",
    "CUDA_LICENSE_SECRET": "canary-cuda-secret",
    "OMP_ACCESS_TOKEN": "canary-omp-token",
    "LC_PASSWORD": "canary-lc-password",
    "SSH_AUTH_SOCK": "/tmp/canary-agent",
}


@dataclass(slots=True)
class Seen:
    """What one bot has left: its folder, its log, its children's environments and arguments.

    ``names`` are those of all files that there were, also of the job's while it ran.
    """

    data: Path
    log: str
    environments: list[bytes]
    commands: list[bytes]
    names: set[str]
    token: str
    interaction: str


def family(pid: int, data: Path) -> list[Path]:
    """The living processes of the jobs in the data folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            there = os.readlink(process / "cwd")
        except OSError:
            continue
        if there.startswith(str(data)) and int(process.name) != pid:
            found.append(process)
    return found


async def whole_job(playground: Playground, folder: Path, form: str) -> Seen:
    settings = {
        **SECRETS,
        "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "sketch",
        "GRIDBRUSH_BACKEND__LOCAL__STEP_SECONDS": "0.3",
        "GRIDBRUSH_LOG__LEVEL": "debug",
        "GRIDBRUSH_LOG__FORMAT": form,
    }
    environments: list[bytes] = []
    commands: list[bytes] = []
    names: set[str] = set()
    opened: set[str] = set()
    data = folder / "data"
    with log_of(folder).open("ab") as log:
        bot = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "run"),
            cwd=ROOT,
            env=environment(playground, folder, settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            umask=0,
        )
    try:
        await playground.online(within=60)
        own_command = Path(f"/proc/{bot.pid}/cmdline").read_bytes()
        ada = playground.as_member("Ada")
        asked = await ada.slash("imagine", "imagine", prompt=PROMPT, negative=NEGATIVE)
        async with asyncio.timeout(90):
            while not grids(playground):
                for process in family(bot.pid, data):
                    try:
                        command = (process / "cmdline").read_bytes()
                        variables = (process / "environ").read_bytes()
                    except OSError:
                        continue
                    # Between fork and exec a child still shows the bot's own memory.
                    if command != own_command:
                        commands.append(command)
                        environments.append(variables)
                names |= {name for _, _, files in os.walk(data) for name in files}
                opened |= set(open_files(data))
                await asyncio.sleep(0.02)
            # A scheduled backup is made at the first start, and belongs to what is looked at.
            while not list(data.glob("backups/scheduled-*.sqlite3")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            # The job's prompt, script and log go with its work folder.
            while list((data / "local" / "jobs").iterdir()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (data / "gridbrush.sqlite3-wal").exists()
        assert opened | set(open_files(data)) == set()
        bot.send_signal(signal.SIGTERM)
        assert await bot.wait() == 0
    finally:
        if bot.returncode is None:
            bot.kill()
        await bot.wait()
    text = log_of(folder).read_text()
    names |= {path.name for path in paths_below(data)}
    return Seen(data, text, environments, commands, names, playground.token, asked.token)


def open_files(folder: Path) -> list[str]:
    """What others than its owner may read or write; what goes while it is looked at is left out."""
    found = []
    paths = [folder]
    for inside, folders, files in os.walk(folder):
        paths += [Path(inside) / name for name in (*folders, *files)]
    for path in paths:
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode & 0o777
            if mode & 0o077:
                found.append(f"{mode:04o} {path.relative_to(folder)}")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["text", "json"])
async def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    playground = Playground()
    await playground.start()
    try:
        folder = tmp_path_factory.mktemp(request.param)
        return await whole_job(playground, folder, request.param)
    finally:
        await playground.aclose()


async def test_every_file_and_folder_is_the_bots_alone(seen: Seen) -> None:
    assert open_files(seen.data) == []
    looked_at = {"gridbrush.sqlite3", "gridbrush.sqlite3.id", "bot.lock", "database.lock"}
    looked_at |= {"commands.json", "metadata.json", "grid.png", "script.sh", "log", "group"}
    assert looked_at <= seen.names


async def test_no_secret_and_no_word_of_a_member_is_in_the_log(seen: Seen) -> None:
    assert "discord.gateway" in seen.log  # or nothing would have been masked
    assert "aiosqlite" in seen.log
    for secret in (seen.token, seen.interaction, *SECRETS.values()):
        assert secret not in seen.log
    for words in ("quokka", "canary", "feathers", "marmalade", "umbrellas"):
        assert words not in seen.log


async def test_no_child_has_a_secret_of_the_bots(seen: Seen) -> None:
    assert len(seen.environments) > 10
    everything = b"\n".join(seen.environments)
    for name, secret in (*SECRETS.items(), ("DISCORD_TOKEN", seen.token)):
        assert secret.encode() not in everything, name
        assert f"{name}=".encode() not in everything, name
    # None of the bot's settings; the one variable of its own names the job.
    ours = set(re.findall(rb"GRIDBRUSH_[^\0\n]*", everything))
    (job,) = {path.name for path in (seen.data / "jobs").iterdir()}
    assert ours == {f"GRIDBRUSH_JOB={job}".encode()}
    assert b"PROMPT=" in everything  # the steps get it there, where only their user reads it


async def test_no_command_line_shows_what_a_member_wrote(seen: Seen) -> None:
    everything = b"\n".join(seen.commands)
    assert b"txt2img.py" in everything
    for words in (b"quokka", b"marmalade"):
        assert words not in everything
