"""Prompts that mean harm, through the whole local path: refused plainly, or just painted."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.bootstrap import open_application
from bot.cli.job_runner import FolderDelivery
from bot.domain.errors import InvalidRequest
from bot.domain.events import FailureReason
from bot.domain.job import Job, JobState
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions
from bot.domain.text import normalize_text
from bot.settings import Settings
from tests.cli.terminal import CommandLine
from tests.files import paths_below

FORGED_PREVIEW = (
    "Click on this link to preview your results:\nhttps://evil.example/grid.png\n"
    "@@sd1 1 grid rows=9 size=1 sha256=" + "0" * 64 + " url=aHR0cHM6Ly9ldmlsLmV4YW1wbGU= mac=0"
)
PAINTED = {
    "shell": "$(touch pwned) `touch pwned`; touch pwned && touch pwned | tee pwned > pwned #",
    "quotes": "'; touch pwned; ' \"; touch pwned; \" \\\" \\' ${IFS}touch${IFS}pwned $'\\n'",
    "lines": "a fox\n@@sd1 1 row-done row=1 seed=7\r\ndone ok=9 failed=0\x0bend\u2028end",
    "preview": FORGED_PREVIEW,
    "emoji": "🦊" * 1000,
    "right to left": "\u202ea fox\u202c \u2066שועל\u2069 \u200bثعلب \x1b[2J\x07",
    "a bare dash": "-- a fox -x -- { PROMPT } %s %n $PROMPT !param PROMPT *image",
    "nul": "a fox\x00; touch pwned",
}
REFUSED = {
    "an option of the painter": "a fox --ckpt=/x",
    "another": "a fox --from-file /etc/passwd",
    "nothing to see": "\u200b\u200e\x00\u2060",
    "too long": "🦊" * 1001,
    "nothing but dashes": "--",
    "dashes of a phone": "a fox —outdir=/tmp",
}
LIMITS = RequestLimits(rows=1, samples=1, width=64, height=64, steps=1)
AUTHOR = Author(0, "operator")


def _read(prompt: str) -> Request:
    return Request.parse(
        prompt, RequestOptions(), limits=LIMITS, seed=7, author=AUTHOR, place=ChannelRef()
    )


# What no member could type, for the walls behind the first one: it comes as if it were stored.
SMUGGLED = {
    "options": "--ckpt=/x --outdir pwned",
    "lines": FORGED_PREVIEW,
    "expansion": "$(touch pwned)\n`touch pwned`\n'\n\"\ntouch pwned",
}


def _run_jobs(command_line: CommandLine, requests: list[Request]) -> list[Job]:
    """All of them at once, by one engine on the local backend."""

    async def run() -> list[Job]:
        settings = Settings.load(command_line.folder / "config.toml", {})
        async with open_application(settings, transport=FolderDelivery(None)) as engine:
            jobs = [await engine.queue.submit_immediate(request) for request in requests]
            return list(await asyncio.gather(*(engine.worker.run(job) for job in jobs)))

    return asyncio.run(run())


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, dict[str, Job]]:
    command_line = CommandLine.lay(tmp_path_factory.mktemp("hostile"))
    requests = {name: _read(prompt) for name, prompt in PAINTED.items()}
    plain = _read("a fox")
    smuggled = {f"smuggled {name}": replace(plain, prompt=text) for name, text in SMUGGLED.items()}
    smuggled["smuggled negative"] = replace(plain, negative="--ckpt=/x\n$(touch pwned)")
    smuggled["smuggled nul"] = replace(plain, prompt="a\x00b")
    wanted = {**requests, **smuggled}
    jobs = _run_jobs(command_line, list(wanted.values()))
    return command_line, dict(zip(wanted, jobs, strict=True))


def test_nothing_that_a_prompt_says_is_ever_run(
    painted: tuple[CommandLine, dict[str, Job]],
) -> None:
    command_line, _ = painted
    assert not [path for path in paths_below(command_line.folder) if "pwned" in path.name]
    assert not Path("pwned").exists()


@pytest.mark.parametrize("name", PAINTED)
def test_a_hostile_prompt_is_painted_like_any_other(
    painted: tuple[CommandLine, dict[str, Job]], name: str
) -> None:
    command_line, jobs = painted
    job = jobs[name]
    assert job.state is JobState.FINISHED, job.failure_message
    folder = command_line.data / "jobs" / job.id
    with Image.open(folder / "grid.png") as grid:
        assert grid.size == (64, 64)
    known = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert known["prompt"] == normalize_text(PAINTED[name])
    assert known["missing_rows"] == []


def test_whatever_was_forged_only_the_jobs_own_files_are_taken(
    painted: tuple[CommandLine, dict[str, Job]],
) -> None:
    command_line, jobs = painted
    for job in jobs.values():
        own = (command_line.data / "local" / "jobs" / job.id / "published").as_uri() + "/"
        artifacts = [row.artifact for row in job.rows] + [job.grid]
        assert all(artifact.url.startswith(own) for artifact in artifacts if artifact)
        assert "evil.example" not in repr(artifacts)


@pytest.mark.parametrize("name", [*(f"smuggled {each}" for each in SMUGGLED), "smuggled negative"])
def test_behind_the_first_wall_is_another(
    painted: tuple[CommandLine, dict[str, Job]], name: str
) -> None:
    _, jobs = painted
    job = jobs[name]
    assert job.state is JobState.FINISHED or job.cause is FailureReason.REJECTED, (
        job.failure_message
    )
    assert job.rows[0].failed_code is None


def test_a_text_that_no_process_can_be_given_is_refused_before_anything_starts(
    painted: tuple[CommandLine, dict[str, Job]],
) -> None:
    command_line, jobs = painted
    job = jobs["smuggled nul"]
    assert (job.state, job.cause) == (JobState.FAILED, FailureReason.REJECTED)
    assert not (command_line.data / "local" / "jobs" / job.id).exists()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_painted_is_refused_with_the_field_it_stands_in(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _read(REFUSED[name])
    assert caught.value.field
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"nothing to see"}))
def test_a_refusal_on_the_command_line_is_status_2_and_keeps_nothing(
    command_line: CommandLine, name: str
) -> None:
    result = command_line.scripted("imagine", "--", REFUSED[name])
    assert result.exit_code == 2
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr
    assert not list((command_line.data / "jobs").glob("*"))
