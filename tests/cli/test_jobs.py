"""Listing jobs, finding one, and going on with what was left behind."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from bot.bootstrap import open_application
from bot.cli.job_runner import FolderDelivery
from bot.domain.job import Job
from bot.domain.request import Author, ChannelRef, Request
from bot.services.queue import Actor
from bot.settings import Settings
from tests.cli.terminal import CommandLine, told

SCRIPTED = {"GRIDBRUSH_BACKEND__KIND": "scripted"}


def _left_behind(
    command_line: CommandLine, *prompts: str, channel: int = 0, rows: int = 2
) -> list[Job]:
    """Jobs that a command accepted before it was killed."""

    async def take() -> list[Job]:
        settings = Settings.load(command_line.folder / "config.toml", SCRIPTED)
        async with open_application(settings, transport=FolderDelivery(None)) as engine:
            plain = Request(
                prompt="",
                seed=7,
                steps=2,
                width=64,
                height=64,
                rows=rows,
                samples=1,
                model="sd-2-1",
                author=Author(0, "operator"),
                place=ChannelRef(0, channel),
            )
            requests = [replace(plain, prompt=prompt) for prompt in prompts]
            if channel:
                member = Actor(5, "Ada")
                receipts = [
                    await engine.queue.submit(replace(request, author=Author(5, "Ada")), member)
                    for request in requests
                ]
                return [receipt.job for receipt in receipts]
            return [await engine.queue.submit_immediate(request) for request in requests]

    return asyncio.run(take())


def test_where_nothing_was_made_it_says_how_to_begin(command_line: CommandLine) -> None:
    result = command_line.scripted("jobs")
    assert result.exit_code == 0
    assert "gridbrush imagine" in result.stdout


def test_the_list_shows_id_state_rows_and_prompt(command_line: CommandLine) -> None:
    made = told(command_line.scripted("imagine", "a [bold]fox[/]", "--json"))
    result = command_line.scripted("jobs", "--list")
    assert result.exit_code == 0
    assert str(made["job"]) in result.stdout
    assert "finished" in result.stdout
    assert "2/2" in result.stdout
    assert "[bold]fox" in result.stdout


def test_what_was_left_behind_is_followed_to_its_end_however_much_it_is(
    command_line: CommandLine,
) -> None:
    small, *_ = _left_behind(command_line, "a fox", rows=1)
    large, *_ = _left_behind(command_line, "a herd of foxes", rows=4)
    result = command_line.scripted("jobs")
    assert result.exit_code == 0, result.stderr
    for job in (small, large):
        assert f"{job.id}: fetching the results" in result.stderr
        assert str(command_line.data / "jobs" / job.id / "grid.png") in result.stdout
    assert "an observer failed" not in result.stderr
    assert "row 4 ready" in result.stderr
    listed = command_line.scripted("jobs", "--json")
    states = [json.loads(line)["state"] for line in listed.stdout.splitlines()]
    assert states == ["finished", "finished"]


def test_listing_follows_nothing(command_line: CommandLine) -> None:
    (job,) = _left_behind(command_line, "a fox")
    result = command_line.scripted("jobs", "--list")
    assert result.exit_code == 0
    assert "submitting" in result.stdout
    assert not (command_line.data / "scripted" / job.id).exists()


def test_the_beginning_of_an_id_is_enough_if_only_one_begins_so(command_line: CommandLine) -> None:
    first, second = _left_behind(command_line, "a fox", "a hare")
    beginning = next(
        first.id[:length] for length in range(1, 17) if not second.id.startswith(first.id[:length])
    )
    result = command_line.scripted("jobs", beginning, "--json")
    assert result.exit_code == 0
    assert told(result)["job"] == first.id
    assert not (command_line.data / "scripted" / second.id).exists()
    ambiguous = command_line.scripted("jobs", first.id[:1])
    assert ambiguous.exit_code == 2
    assert "More than one job starts like this" in ambiguous.stderr
    unknown = command_line.scripted("jobs", "zz' OR 1=1 --")
    assert unknown.exit_code == 2
    assert "There is no such job" in unknown.stderr


def test_results_of_a_job_that_was_left_behind_are_copied_too(
    command_line: CommandLine, tmp_path: Path
) -> None:
    (job,) = _left_behind(command_line, "a fox")
    out = tmp_path / "out"
    result = command_line.scripted("jobs", job.id, "--out", str(out))
    assert result.exit_code == 0
    assert (out / "grid.png").is_file()
    assert str(out / "grid.png") in result.stdout


def test_jobs_from_discord_are_left_to_the_bot(command_line: CommandLine) -> None:
    (job,) = _left_behind(command_line, "a fox", channel=9)
    result = command_line.scripted("jobs")
    assert result.exit_code == 0
    assert job.id in result.stdout
    assert "queued" in result.stdout
    assert not (command_line.data / "scripted" / job.id).exists()


def test_a_failed_job_is_status_1_only_when_it_is_asked_for(tmp_path: Path) -> None:
    recording = tmp_path / "dies.jsonl"
    recording.write_text('{"at": 0, "line": "no space left on device"}\n{"exit": 1}\n')
    command_line = CommandLine.lay(tmp_path, rest=f'[backend.scripted]\nrecording = "{recording}"')
    failed = command_line.scripted("imagine", "a fox", "--json")
    assert failed.exit_code == 1
    assert "no space left on device" in failed.stderr
    assert told(failed)["grid"] is None
    assert command_line.scripted("jobs").exit_code == 0
    asked = command_line.scripted("jobs", str(told(failed)["job"]))
    assert asked.exit_code == 1
    assert "ended too early (exit status 1)" in asked.stderr
