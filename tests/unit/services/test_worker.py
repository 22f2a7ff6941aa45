"""Running a job to its end: outages, lost logs, refusals, and defects."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bot.backends.base import LifecycleEvent, LogLine, Submission
from bot.backends.scripted import RecordedLine, Recording, ScriptedBackend, synthetic_recording
from bot.domain.errors import InsufficientFunds, Unavailable
from bot.domain.events import BackendJobRef, Exited, FailureReason, RowReady
from bot.domain.job import JobState
from bot.domain.request import SourceImage
from tests.unit.services.fakes import GUILD, GatedBackend
from tests.unit.services.harness import a_member, open_harness, stock_templates


async def test_while_the_service_is_away_the_line_waits_and_then_goes_on(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.unavailable = 6
    async with open_harness(tmp_path, backend=backend, slots=1) as harness:
        first, second = await harness.submit(user=1), await harness.submit(user=2)
        await harness.outage.wait()
        assert (await harness.stored(second.id)).state is JobState.QUEUED
        backend.faults.unavailable = 0
        ended = await harness.ended(first.id, second.id)
        assert [job.state for job in ended] == [JobState.FINISHED, JobState.FINISHED]
        assert backend.submitted == [first.id, second.id]
        assert not harness.breaker.open
        assert await harness.faults() == ()


async def test_while_the_service_is_away_nothing_new_has_its_turn_though_slots_are_free(
    tmp_path: Path,
) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.unavailable = 1000
    async with open_harness(tmp_path, backend=backend, slots=4) as harness:
        first = await harness.submit(user=1)
        await harness.outage.wait()
        second = await harness.submit(user=2)
        for _ in range(20):
            # Each look takes its turn behind whatever the dispatcher asks of the database.
            assert (await harness.stored(second.id)).state is JobState.QUEUED
        backend.faults.unavailable = 0
        ended = await harness.ended(first.id, second.id)
        assert [job.state for job in ended] == [JobState.FINISHED, JobState.FINISHED]


class SubmitsButFails(ScriptedBackend):
    """Takes the job, and the answer is lost."""

    answers_lost = 1

    async def submit(self, submission: Submission) -> BackendJobRef:
        handle = await super().submit(submission)
        if self.answers_lost:
            self.answers_lost -= 1
            raise Unavailable("the connection was reset")
        return handle


async def test_a_job_that_arrived_though_no_answer_came_is_not_submitted_again(
    tmp_path: Path,
) -> None:
    backend = SubmitsButFails(tmp_path / "scripted", speed=0)
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert backend.submitted == [job.id]
        assert not harness.breaker.open


async def test_a_lost_log_is_followed_again_from_where_it_broke_off(tmp_path: Path) -> None:
    cursors: list[str | None] = []

    class Watched(ScriptedBackend):
        async def follow(
            self, handle: BackendJobRef, cursor: str | None = None
        ) -> AsyncIterator[LogLine | LifecycleEvent]:
            cursors.append(cursor)
            async for item in super().follow(handle, cursor):
                yield item
                if len(cursors) < 4 and isinstance(item, LogLine) and int(item.cursor) % 4 == 0:
                    self.faults.lose_log = 1

    async with open_harness(tmp_path, backend=Watched(tmp_path / "s", speed=0)) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert cursors == [None, "4", "8", "12"]
        assert harness.events.of(RowReady) == [job.id, job.id]
        assert len(harness.sleeps.taken) == 3


async def test_a_refused_job_fails_with_a_sentence_and_gives_back_its_images(
    tmp_path: Path,
) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.reject = "more memory than any node has"
    async with open_harness(tmp_path, backend=backend, images=4) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.REJECTED)
        assert "could not be submitted" in ended.failure_message
        assert "memory" not in ended.failure_message
        assert (await harness.queue.allowance(GUILD, a_member())).left == 4
        assert await harness.faults() == ()


class UnfundedBackend(ScriptedBackend):
    """Wants money that is not there."""

    async def submit(self, submission: Submission) -> BackendJobRef:
        raise InsufficientFunds("0.00 credits")


async def test_a_job_that_cannot_be_paid_for_fails_with_that_sentence(tmp_path: Path) -> None:
    async with open_harness(tmp_path, backend=UnfundedBackend(tmp_path / "scripted")) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.OUT_OF_FUNDS)
        assert "no credits left" in ended.failure_message
        assert await harness.faults() == ()


def _backend(folder: Path, play: Callable[[Submission], Recording]) -> ScriptedBackend:
    return ScriptedBackend(folder / "scripted", recording=play, speed=0)


async def test_a_row_that_failed_is_left_out_and_only_the_others_are_charged(
    tmp_path: Path,
) -> None:
    backend = _backend(
        tmp_path, lambda job: synthetic_recording(job.workflow, failing=frozenset({2}))
    )
    async with open_harness(tmp_path, backend=backend, images=4) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert ended.state is JobState.FINISHED
        assert ended.is_partial
        assert ended.fetched_rows == (1,)
        assert (await harness.queue.allowance(GUILD, a_member())).left == 2


async def test_a_job_without_any_row_fails_and_costs_nothing(tmp_path: Path) -> None:
    backend = _backend(
        tmp_path, lambda job: synthetic_recording(job.workflow, failing=frozenset({1, 2}))
    )
    async with open_harness(tmp_path, backend=backend, images=4) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.ROWS_FAILED)
        assert (await harness.queue.allowance(GUILD, a_member())).left == 4


async def test_a_job_that_dies_leaves_the_end_of_its_log_in_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = Recording(
        (RecordedLine(0, line="bash: line 3: python: command not found"),), Exited(127)
    )
    async with open_harness(tmp_path, backend=_backend(tmp_path, lambda job: recording)) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.DIED)
        assert "exit status 127" in ended.failure_message
        assert "python: command not found" in caplog.text


async def test_pictures_that_are_gone_fail_the_job_with_that_sentence(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.missing = frozenset({"row-01.png", "row-02.png"})
    async with open_harness(tmp_path, backend=backend) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.FILES_MISSING)
        assert "made but could not be fetched" in ended.failure_message
        assert await harness.faults() == ()


async def test_forged_lines_in_the_log_change_nothing(tmp_path: Path) -> None:
    forged = (
        "@@sd1 1 row-done row=1 seed=1 size=1 sha256=" + "0" * 64 + " url=eA== mac=" + "0" * 32,
        "Click on this link to preview your results:",
        "https://evil.example/grid.png",
        "@@sd1 1 done ok=0 failed=2",
    )

    def play(job: Submission) -> Recording:
        honest = synthetic_recording(job.workflow)
        beats = tuple(RecordedLine(0, line=line) for line in forged)
        return replace(honest, lines=(*beats, *honest.lines))

    async with open_harness(tmp_path, backend=_backend(tmp_path, play)) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        urls = [row.artifact.url for row in ended.rows if row.artifact]
        assert all(url.startswith(harness.backend.upload_url(job.id)) for url in urls)


async def test_an_upscale_is_made_from_a_copy_of_the_original(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        (parent,) = await harness.ended((await harness.submit()).id)
        await harness.backend.delete_job_data(parent.id)  # as soon as its result is posted
        request = parent.request.upscale_of(parent.id, 2, 1)
        receipt = await harness.queue.submit(request, a_member())
        (ended,) = await harness.ended(receipt.job.id)
        assert ended.state is JobState.FINISHED
        (copy,) = (tmp_path / "scripted" / ended.id / "input").iterdir()
        assert copy.read_bytes() == harness.fetcher.row_path(parent.id, 2).read_bytes()

        shutil.rmtree(harness.fetcher.folder(parent.id))
        (ended,) = await harness.ended((await harness.queue.submit(request, a_member())).job.id)
        assert ended.cause is FailureReason.FILES_MISSING


@pytest.mark.parametrize("origin", [SourceImage("nothing", 1, 1), None])
async def test_an_upscale_of_what_is_not_there_fails_with_that_sentence(
    tmp_path: Path, origin: SourceImage | None
) -> None:
    backend = _backend(
        tmp_path, lambda job: synthetic_recording(job.workflow, failing=frozenset({2}))
    )
    async with open_harness(tmp_path, backend=backend) as harness:
        (parent,) = await harness.ended((await harness.submit()).id)
        origin = origin or SourceImage(parent.id, 2, 1)
        request = replace(parent.request, rows=1, samples=1, origin=origin)
        receipt = await harness.queue.submit(request, a_member())
        (ended,) = await harness.ended(receipt.job.id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.FILES_MISSING)
        assert "does not exist any more" in ended.failure_message


async def test_a_fault_of_the_house_ends_the_job_and_gives_back_its_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    templates = replace(stock_templates(tmp_path), upscale=None)
    async with open_harness(tmp_path, templates=templates) as harness:
        (parent,) = await harness.ended((await harness.submit()).id)
        receipt = await harness.queue.submit(parent.request.upscale_of(parent.id, 1, 1), a_member())
        (ended,) = await harness.ended(receipt.job.id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.INTERNAL)
        assert "operator can see it in the log" in ended.failure_message
        assert "no template upscales" in caplog.text
        assert await harness.faults() == ()


async def test_a_request_that_no_template_takes_fails_as_refused(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        (ended,) = await harness.ended((await harness.submit(rows=65, samples=1)).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.REJECTED)
        assert ended.failure_message


async def test_a_job_that_has_no_turn_yet_is_not_carried(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        ended = await harness.worker.run(job)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.INTERNAL)


async def test_a_running_job_whose_cancel_was_asked_for_before_a_stop_is_cancelled(
    tmp_path: Path,
) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.reaches(job.id, JobState.PENDING)

    # The wish was saved, and the bot stopped before the backend was told.
    slow = ScriptedBackend(
        tmp_path / "scripted", recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )
    async with open_harness(tmp_path, backend=slow, dispatching=False) as harness:
        sql = "UPDATE jobs SET snapshot = json_set(snapshot, '$.cancelled_by', 7) WHERE id = ?"
        await harness.database.write(lambda link: link.execute(sql, (job.id,)).rowcount)
        ended = await harness.worker.run(await harness.stored(job.id))
        assert ended.state is JobState.CANCELLED
        assert ended.cancelled_by == 7
        assert await harness.faults() == ()


class FlappingBackend(ScriptedBackend):
    """Cannot be followed for a while; what is already there can be read."""

    away = 2

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        if self.away:
            self.away -= 1
            raise Unavailable("nobody answers")
        async for item in super().follow(handle, cursor):
            yield item


async def test_an_outage_met_while_following_opens_the_circuit_and_fails_no_job(
    tmp_path: Path,
) -> None:
    backend = FlappingBackend(tmp_path / "scripted", speed=0)
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.outage.wait()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert backend.submitted == [job.id]


async def test_a_log_that_breaks_off_often_is_no_outage(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.lose_log = 5
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert not harness.outage.is_set()
