"""What cards say, and that nothing a job can be makes one that Discord refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.events import Artifact, FailureReason, MessageRef
from bot.domain.image_engine import GenerationInfo
from bot.domain.job import Job, JobState, Row, new_job
from bot.domain.request import Author, ChannelRef, Request, SourceImage
from bot.domain.text import utf16_length
from bot.frontend import message_content as limits
from bot.frontend.commands.queue import format_own_requests
from bot.frontend.custom_ids import ComponentAction, CustomId
from bot.frontend.message_content import ButtonSpec, MessageContent, SelectSpec
from bot.frontend.result_embeds import (
    Link,
    details_message,
    image_selects,
    public_links,
    result_components,
    result_message,
)
from bot.frontend.status_embeds import QueueInfo, job_message, posted_elsewhere_message
from bot.services.queue import QueuePosition

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
JOB_ID = "abcdefghijklmnop"


def a_request(rows: int = 4, samples: int = 3, **changes: object) -> Request:
    request = Request(
        prompt="a lighthouse",
        seed=7,
        steps=50,
        width=768,
        height=768,
        rows=rows,
        samples=samples,
        model="sd-2-1",
        author=Author(5, "Ada"),
        place=ChannelRef(1, 2),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def a_job(state: JobState = JobState.QUEUED, **changes: object) -> Job:
    job = new_job(JOB_ID, a_request(), NOW)
    return replace(job, state=state, **changes)  # type: ignore[arg-type]


def published(job: Job, *numbers: int) -> Job:
    """The job with these rows published and collected."""
    rows = tuple(
        replace(
            row,
            started=True,
            percent=100,
            artifact=Artifact(f"https://files.example/{row.number}", 9, "ab"),
        )
        if row.number in numbers
        else replace(row, started=True, failed_code=1)
        for row in job.rows
    )
    return replace(job, rows=rows, fetched_rows=numbers)


def text(status: MessageContent) -> str:
    fields = [part for field in status.fields for part in (field.name, field.value)]
    return "\n".join([status.title, status.description, *fields, status.footer])


def labels(status: MessageContent) -> list[str]:
    return [
        one.label if isinstance(one, ButtonSpec) else one.placeholder
        for row in status.controls
        for one in row
    ]


def test_a_waiting_status_message_says_place_reason_estimate_and_price() -> None:
    position = QueuePosition(
        2, "2nd in the queue: starts after 1 other member's request", timedelta(minutes=3)
    )

    status = job_message(
        a_job(), NOW, QueueInfo(position, left=108, notice="The machines are away.")
    )

    assert "**2nd in the queue.** Starts after 1 other member's request." in status.description
    assert f"<t:{int(NOW.timestamp()) + 180}:R>" in status.description
    assert "It uses 12 images of your quota; you have 108 left." in status.description
    assert "The machines are away." in status.description
    assert labels(status) == ["Cancel"]


def test_a_waiting_status_message_promises_nothing_that_was_not_measured() -> None:
    unknown = job_message(a_job(), NOW, QueueInfo(QueuePosition(1, "next in the queue", None)))
    soon = job_message(
        a_job(), NOW, QueueInfo(QueuePosition(1, "next in the queue", timedelta(seconds=1)))
    )

    assert "no estimate yet" in unknown.description
    assert "at any moment" in soon.description
    assert "at any moment" in job_message(a_job(), NOW).description


@pytest.mark.parametrize("seconds", [0, 1, 14.9, 15, 60, 4000])
@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_nobody_edits_says_how_long_and_not_when(seconds: float, late: bool) -> None:
    position = QueuePosition(2, "2nd in the queue", timedelta(seconds=seconds), late)
    live = job_message(a_job(), NOW, QueueInfo(position)).description
    still = job_message(a_job(), NOW, QueueInfo(position, live=False)).description
    lines = format_own_requests([a_job()], {a_job().id: position})[0]

    assert "<t:" not in still + lines
    assert ("at any moment" in still) == ("at any moment" in lines) == (seconds < 15)
    assert ("in about" in still) == ("in about" in lines) == (seconds >= 15)
    assert ("<t:" in live) == (seconds >= 15)
    assert ("take longer than usual" in live) == (late and seconds < 15)


def test_who_may_run_nothing_is_promised_nothing() -> None:
    reason = "not in the queue: a moderator has set the number of your running requests to 0"
    barred = QueuePosition(0, reason, None)
    said = job_message(a_job(), NOW, QueueInfo(barred)).description
    assert "**Not in the queue.** A moderator has set the number of your running requests" in said
    assert "start" not in said
    assert "estimate" not in said


@pytest.mark.parametrize(("percent", "spent"), [(50, 60), (99, 100), (90, 20)])
def test_the_end_of_a_running_job_is_never_said_to_be_over(percent: int, spent: int) -> None:
    rows = (Row(1, 7, started=True, percent=percent),)
    job = a_job(JobState.RUNNING, rows=rows, started_at=NOW - timedelta(seconds=spent))
    left = spent * (100 - job.percent) / job.percent
    for live in (True, False):
        said = job_message(job, NOW, QueueInfo(live=live)).description
        ends = [int(at) for at in re.findall(r"<t:(\d+):R>", said)]
        assert all(at >= NOW.timestamp() + 14 for at in ends)
        assert bool(ends) == (live and left >= 15)
        assert ("ready at any moment" in said) == (left < 15)
        assert (" left" in said) == (not live and left >= 15)


def test_a_running_status_message_has_a_bar_for_each_row() -> None:
    rows = (
        Row(1, 7, started=True, percent=50),
        Row(2, 8, started=True, percent=100, artifact=Artifact("https://x", 1, "ab")),
        Row(3, 9),
        Row(4, 10, started=True, failed_code=1),
    )
    job = a_job(JobState.RUNNING, rows=rows, started_at=NOW - timedelta(seconds=60))

    status = job_message(job, NOW, preview=True)

    assert "row 1  ████████░░░░░░░░   50 %" in status.description
    assert "row 2  ████████████████  ready" in status.description
    assert "row 3  ░░░░░░░░░░░░░░░░  waiting" in status.description
    assert "row 4  ················  failed" in status.description
    assert "**62 %** after 1 min, ready <t:" in status.description
    assert status.image == "preview.webp"


def test_a_status_message_with_many_rows_shows_those_that_have_something_to_say() -> None:
    job = new_job(JOB_ID, a_request(rows=40, samples=1), NOW)
    ready = Artifact("https://x", 1, "ab")
    rows = tuple(
        replace(row, started=True, percent=100, artifact=ready)
        if row.number <= 10
        else replace(row, started=True, failed_code=1)
        if row.number == 11
        else row
        for row in job.rows
    )
    running = replace(job, rows=rows, state=JobState.RUNNING, started_at=NOW)

    status = job_message(running, NOW)

    assert "row 12  " in status.description
    assert "10 more ready, 1 more failed, 17 more not ready" in status.description


def test_a_status_message_on_its_way_says_where_it_is() -> None:
    assert "being submitted" in job_message(a_job(JobState.SUBMITTING), NOW).description
    assert "Your request was submitted" in job_message(a_job(JobState.PENDING), NOW).description
    assert "being downloaded" in job_message(a_job(JobState.COLLECTING), NOW).description
    assert labels(job_message(a_job(JobState.DELIVERING), NOW)) == []


def test_a_job_that_is_being_stopped_says_so_and_can_be_stopped_again() -> None:
    for state in (JobState.PENDING, JobState.RUNNING):
        status = job_message(a_job(state, cancelled_by=5), NOW)
        assert "being stopped" in status.description
        assert labels(status) == ["Cancel"]


def test_a_result_offers_everything_and_links_to_its_rows() -> None:
    job = published(a_job(JobState.FINISHED), 1, 2, 3, 4)

    status = result_message(job, image="grid.png", links=public_links(job))

    assert labels(status) == [
        "Re-roll",
        "Edit & run again",
        "⭐ Star",
        "Details",
        "Delete",
        "Open an image …",
        "Upscale an image …",
        "Row 1",
        "Row 2",
        "Row 3",
        "Row 4",
    ]
    assert "seed 7" in status.footer
    assert "for <@5>" in status.description
    assert status.colour != result_message(published(job, 1), image="grid.png").colour


def test_a_partial_result_says_which_rows_are_missing_and_what_came_back() -> None:
    job = published(a_job(JobState.FINISHED), 2, 4)
    one = published(a_job(JobState.FINISHED), 1, 2, 3)

    assert "Rows 1 and 3 could not be generated; 6 images refunded." in text(
        result_message(job, image="g")
    )
    assert "Row 4 could not be generated; 3 images refunded." in text(
        result_message(one, image="g")
    )


def test_a_result_shows_what_was_kept_out_and_a_note() -> None:
    job = published(new_job(JOB_ID, a_request(negative="fog @here"), NOW), 1, 2, 3, 4)

    said = text(result_message(job, image="g", note="Row 4 does not fit."))

    assert "fog \\@here" in said
    assert "Row 4 does not fit." in said


@pytest.mark.parametrize(
    ("negative", "said"),
    [(True, "fog"), (False, "fog\nThis model (diffusers, flux) ignores negative prompts.")],
)
def test_a_result_says_whether_what_was_kept_out_had_an_effect(negative: bool, said: str) -> None:
    job = published(new_job(JOB_ID, a_request(negative="fog"), NOW), 1, 2, 3, 4)
    flux = GenerationInfo("diffusers", "flux", 50, "3.5", negative=negative)
    job = replace(job, rows=tuple(replace(row, generation=flux) for row in job.rows))
    fields = {field.name: field.value for field in result_message(job, image="g").fields}
    assert fields["Negative prompt"] == said
    assert "diffusers, flux" in result_message(job, image="g").footer


def test_a_single_picture_is_opened_and_upscaled_by_buttons() -> None:
    job = published(new_job(JOB_ID, a_request(1, 1), NOW), 1)
    upscaled = published(new_job(JOB_ID, a_request(1, 1, origin=SourceImage(JOB_ID, 1, 2)), NOW), 1)

    status = result_message(job, image="g")

    assert labels(status)[:4] == ["Re-roll", "Edit & run again", "Open full size", "Upscale"]
    assert labels(result_message(upscaled, image="g")) == [
        "Open full size",
        "⭐ Star",
        "Details",
        "Delete",
    ]
    assert result_message(upscaled, image="g").title == "Upscaled"


def test_without_a_workflow_for_it_nothing_is_upscaled() -> None:
    one = published(new_job(JOB_ID, a_request(1, 1), NOW), 1)
    many = published(new_job(JOB_ID, a_request(), NOW), 1, 2)

    for job in (one, many):
        offered = labels(result_message(job, image="g", upscaling=False))
        assert not [label for label in offered if "pscale" in label]


def test_a_failure_says_why_and_that_it_cost_nothing() -> None:
    status = job_message(
        a_job(JobState.FAILED, cause=FailureReason.DIED, failure_message="It broke @everyone"), NOW
    )

    assert "It broke \\@everyone." in status.description
    assert "12 images refunded" in status.description
    assert labels(status) == ["Try again", "Edit & run again"]
    assert "Something went wrong." in job_message(a_job(JobState.FAILED), NOW).description


def test_a_cancelled_status_message_says_by_whom_and_what_came_back() -> None:
    by_author = job_message(a_job(JobState.CANCELLED, cancelled_by=5), NOW)
    by_other = job_message(a_job(JobState.CANCELLED, cancelled_by=9), NOW)
    by_operator = job_message(a_job(JobState.CANCELLED, cancelled_by=0), NOW)
    late = job_message(replace(published(a_job(JobState.CANCELLED), 1), fetched_rows=()), NOW)

    assert "Cancelled by <@5>. 12 images refunded." in by_author.description
    assert "Cancelled by a moderator, <@9>." in by_other.description
    assert "Cancelled by the operator." in by_operator.description
    assert "9 images refunded; 3 images already generated, not refunded." in late.description


def test_an_upscale_that_failed_can_only_be_tried_again() -> None:
    request = a_request(1, 1, origin=SourceImage(JOB_ID, 1, 2))
    job = replace(new_job(JOB_ID, request, NOW), state=JobState.FAILED)

    assert labels(job_message(job, NOW)) == ["Try again"]


def test_a_result_elsewhere_leaves_a_pointer() -> None:
    kept = job_message(a_job(JobState.FINISHED, delivery_method="kept"), NOW)
    direct = job_message(a_job(JobState.FINISHED, delivery_method="direct"), NOW)

    assert "`/show abcdefgh`" in kept.description
    assert "sent in another message" in direct.description
    assert (
        "(https://discord.com/x)"
        in posted_elsewhere_message(a_job(JobState.FINISHED), "https://discord.com/x").description
    )


def test_details_can_be_typed_again_and_say_how_long_it_took() -> None:
    job = published(
        a_job(
            JobState.FINISHED,
            started_at=NOW + timedelta(seconds=30),
            ended_at=NOW + timedelta(seconds=90),
        ),
        1,
        2,
    )

    said = text(details_message(job))

    assert job.request.to_prompt() in said
    assert "waited 30 s, took 1 min" in said
    assert "row 1: 7, row 2: 8" in said
    assert "[row 1](https://files.example/1)" in said


def test_pictures_beyond_one_menu_are_chosen_by_rows_first() -> None:
    job = published(new_job(JOB_ID, a_request(rows=8, samples=4), NOW), *range(1, 9))
    wide = published(new_job(JOB_ID, a_request(rows=64, samples=16), NOW), *range(1, 65))

    for whole, span in ((job, 1), (wide, 3)):
        menu = next(
            one
            for row in result_components(whole, (), upscaling=True)
            for one in row
            if isinstance(one, SelectSpec)
        )
        assert len(menu.options) <= 25
        first = menu.options[0].value
        assert first == f"rows:1:{span}"
        cells = [
            option.value
            for (one,) in image_selects(whole, ComponentAction.OPEN, 1, span)
            if isinstance(one, SelectSpec)
            for option in one.options
        ]
        assert cells == [
            f"cell:{row}:{column}"
            for row in range(1, span + 1)
            for column in range(1, whole.request.samples + 1)
        ]


def test_more_links_than_buttons_are_left_to_the_details() -> None:
    job = published(new_job(JOB_ID, a_request(rows=20, samples=1), NOW), *range(1, 21))
    links = [Link(row, f"https://files.example/{row}") for row in range(1, 21)]

    rows = result_components(job, links, upscaling=True)

    assert len(rows) == 5
    assert sum(isinstance(one, ButtonSpec) and bool(one.url) for row in rows for one in row) == 10


def test_custom_ids_read_back_and_strangers_are_none_of_ours() -> None:
    click = CustomId(ComponentAction.OPEN, JOB_ID, (3, 4))

    assert CustomId.parse(str(click)) == click
    assert CustomId.parse(f"gb:fly:{JOB_ID}") is None
    assert CustomId.parse("something:else") is None


ids = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=16, max_size=16)
words = st.text(max_size=1200) | st.text(st.sampled_from("*`<@[😀"), max_size=3500)


generation = st.builds(
    GenerationInfo,
    st.text("abcXYZ.-09", min_size=1, max_size=40),
    st.text(max_size=100),
    st.integers(0, 100_000),
    negative=st.booleans(),
)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    rows, samples = draw(st.integers(1, 64)), draw(st.integers(1, 16))
    origin = draw(st.none() | st.builds(SourceImage, ids, st.integers(1, 64), st.integers(1, 16)))
    if origin is not None:
        rows = samples = 1
    request = a_request(
        rows,
        samples,
        prompt=draw(words),
        negative=draw(words),
        model=draw(st.text(max_size=200)),
        style=draw(st.text(max_size=40)),
        seed=draw(st.integers(0, 2**32 - 65)),
        origin=origin,
    )
    job = new_job(draw(ids), request, NOW)
    numbers = draw(st.sets(st.integers(1, rows), min_size=1).map(sorted))
    job = published(job, *numbers)
    said = draw(st.lists(st.none() | generation, min_size=1, max_size=4))
    several = zip(job.rows, cycle(said), strict=False)
    job = replace(job, rows=tuple(replace(row, generation=who) for row, who in several))
    state = draw(st.sampled_from(JobState))
    if state not in (JobState.FINISHED, JobState.DELIVERING):
        job = replace(job, fetched_rows=())
    return replace(
        job,
        state=state,
        failure_message=draw(words),
        cancelled_by=draw(st.none() | st.integers(0, 2**63 - 1)),
        started_at=draw(st.none() | st.just(NOW - timedelta(seconds=99))),
        ended_at=draw(st.none() | st.just(NOW)),
        delivery_method=draw(st.sampled_from(["", "interaction", "channel", "kept"])),
        result=MessageRef(2**63, 2**63),
    )


def assert_within_limits(status: MessageContent) -> None:
    assert 1 <= utf16_length(status.title) <= limits.MAX_TITLE
    assert utf16_length(status.description) <= limits.MAX_DESCRIPTION
    assert len(status.fields) <= limits.MAX_FIELDS
    for field in status.fields:
        assert 1 <= utf16_length(field.name) <= limits.MAX_FIELD_NAME
        assert 1 <= utf16_length(field.value) <= limits.MAX_FIELD_VALUE
    assert utf16_length(status.footer) <= limits.MAX_FOOTER
    assert status.length <= limits.MAX_EMBED
    assert len(status.controls) <= limits.MAX_ACTION_ROWS
    seen: list[str] = []
    for row in status.controls:
        assert 1 <= len(row) <= limits.MAX_BUTTONS_PER_ROW
        for control in row:
            if isinstance(control, SelectSpec):
                assert len(row) == 1
                assert 1 <= len(control.options) <= limits.MAX_OPTIONS
                values = [option.value for option in control.options]
                assert len(set(values)) == len(values)
                for option in control.options:
                    assert 1 <= utf16_length(option.label) <= limits.MAX_OPTION_TEXT
                    assert utf16_length(option.value) <= limits.MAX_OPTION_TEXT
                seen.append(control.custom_id)
                assert utf16_length(control.placeholder) <= 150
            elif control.url:
                assert utf16_length(control.url) <= limits.MAX_URL
            else:
                assert 1 <= utf16_length(control.label) <= limits.MAX_LABEL
                seen.append(control.custom_id)
    assert len(set(seen)) == len(seen)
    assert all(1 <= len(one) <= limits.MAX_CUSTOM_ID for one in seen)


@given(jobs(), words)
@settings(deadline=None, max_examples=80)
def test_any_job_gives_status_messages_within_discords_limits(job: Job, said: str) -> None:
    waiting = QueueInfo(
        QueuePosition(3, "3rd in the queue: your 2nd request", timedelta(hours=1)), 4, said
    )
    assert_within_limits(job_message(job, NOW, waiting, preview=True))
    assert_within_limits(details_message(job))
    if job.fetched_rows:
        assert_within_limits(
            result_message(job, image="grid.png", links=public_links(job), note=said[:900] or "x")
        )
        for verb in (ComponentAction.OPEN, ComponentAction.UPSCALE):
            rows = image_selects(job, verb, job.fetched_rows[0], job.fetched_rows[0] + 2)
            assert_within_limits(MessageContent("t", "d", 0, controls=rows))
