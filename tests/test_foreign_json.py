"""Every place that reads JSON of others, with texts that no one would write but an attacker.

What each does with a text that is no JSON, it must do with these as well.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from bot.backends.deepsquare.rpc import RpcClient
from bot.backends.deepsquare.sbatch_client import SbatchClient
from bot.backends.deepsquare.state_store import StateStore
from bot.backends.engine_info import parse_description
from bot.backends.scripted import Recording
from bot.backends.slurm.squeue import parse_json_records
from bot.domain.errors import BackendError, ConfigError, Unavailable
from bot.frontend.client import CommandSync
from bot.restore import _load_rows
from bot.store import lock
from bot.txt2img.models import UnusableModel, read_model
from bot.txt2img.single_files import is_lora
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT
from tests.deepsquare.testnet.service import Service
from tests.unit.domain.job_factories import after

DEEP = 100_000
TEXTS = {
    "no JSON": "<html>",
    "lists": "[" * DEEP,
    "closed lists": "[" * DEEP + "]" * DEEP,
    "objects": '{"a":' * DEEP,
    "a lone surrogate": '{"errors": [{"message": "\\ud800"}], "jobs": ["\\ud800"]}',
    "too large a number": '{"jobs": [{"job_id": 1e999}], "errors": 1e999}',
    "another shape": '{"jobs": [1, "x", null], "engine": [], "errors": []}',
    "errors of another shape": '{"jobs": [], "errors": ["text", 1]}',
    "an array": "[1, [2], {}]",
    "a word": '"word"',
}


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    """Recurse as far as the bot does, whatever the libraries of other tests have set."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


def written(name: str, read: Callable[[Path], object]) -> Callable[[Path, str], object]:
    """Return a reader of the file ``name``, which holds the text."""

    def read_text(folder: Path, text: str) -> object:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return read(folder)

    return read_text


def read_tensors(folder: Path, text: str) -> object:
    file = folder / "weights.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text.encode())
    return is_lora(file)


READERS: dict[str, tuple[Callable[[Path, str], object], object]] = {
    "squeue": (lambda _, text: parse_json_records(text), (ValueError, Unavailable)),
    "the engine's description": (lambda _, text: parse_description(text), ValueError),
    "a recording": (
        written("recording", lambda folder: Recording.load(folder / "recording")),
        ConfigError,
    ),
    "a record of the DeepSquare backend": (
        written("jobs/abc.json", lambda folder: StateStore(folder).job("abc")),
        ConfigError,
    ),
    "a nonce of the DeepSquare backend": (
        written(
            "transactions/000000000007.json",
            lambda folder: StateStore(folder).pending_transaction(7),
        ),
        ConfigError,
    ),
    "digests of commands": (
        written("commands.json", lambda folder: CommandSync(folder / "commands.json")._read()),
        {},
    ),
    "metadata of a result": (
        written("metadata.json", lambda folder: _load_rows(folder, after())),
        None,
    ),
    "a lock file": (written(lock.BOT, lock.holder), None),
    "a model": (
        written("model_index.json", lambda folder: read_model(str(folder), {})),
        UnusableModel,
    ),
    "weights": (read_tensors, False),
}
"""What reads JSON of others: with the error that it raises, or what it returns instead."""


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("reader", READERS)
def test_a_text_of_any_shape_is_what_a_text_without_json_is(
    tmp_path: Path, reader: str, text: str
) -> None:
    read, expected = READERS[reader]
    if isinstance(expected, type | tuple):
        with pytest.raises(expected):
            read(tmp_path, TEXTS[text])
    else:
        assert read(tmp_path, TEXTS[text]) == expected


async def test_a_note_of_the_deepsquare_backend_is_a_loss_of_time_alone(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    for name, text in TEXTS.items():
        (tmp_path / "note.json").write_text(text)
        found = await asyncio.to_thread(store.read_note, "note")
        assert found is None or isinstance(found, dict), name


async def test_what_the_deepsquare_services_answer_is_an_outage_or_a_refusal() -> None:
    said = [""]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=said[0], content_type="application/json")

    site = Service(web.post("/", answer))
    await site.start()
    url = f"http://{site.host}/"
    rpc = RpcClient(url, IMPATIENT)
    async with httpx.AsyncClient() as http:
        scripts = SbatchClient(url, url, IMPATIENT, http=http)
        for name, text in TEXTS.items():
            said[0] = text
            with pytest.raises(BackendError):
                print(name, await scripts.submit(submission("job", url).workflow))
            with pytest.raises(BackendError):
                print(name, await rpc.head())
    await rpc.aclose()
    await site.stop()


def test_a_backend_does_not_let_python_recurse_until_the_stack_overflows() -> None:
    """In a process of its own: the libraries may be loaded here already."""
    program = (
        "import asyncio, sys\n"
        "from bot.backends import open_backend\n"
        "from bot.domain.errors import ConfigError\n"
        "before = sys.getrecursionlimit()\n"
        "try:\n    asyncio.run(open_backend('deepsquare', {}))\n"
        "except ConfigError:\n    pass\n"
        "assert 'py_ecc' in sys.modules\n"
        "print(sys.getrecursionlimit() - before)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (ended.stdout, ended.returncode) == (b"0\n", 0), ended.stderr
