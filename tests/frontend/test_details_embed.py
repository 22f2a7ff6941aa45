"""What Details says about credits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bot.domain.events import Artifact
from bot.domain.image_engine import UNKNOWN, EngineInfo, GenerationInfo
from bot.domain.job import new_job
from bot.domain.request import Author, ChannelRef, Request
from bot.frontend.result_embeds import details_message
from bot.services.budget import JobCost

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REQUEST = Request("a fox", 7, 20, 64, 64, 2, 3, "sd-2-1", Author(1, "Ada"), ChannelRef(2, 3))


@pytest.mark.parametrize(
    ("model", "generation", "engine", "said", "steps"),
    [
        ("sd-2-1", None, UNKNOWN, "`sd-2-1`", "20 steps"),
        ("", None, EngineInfo("sketch"), "`sketch, no model`", "20 steps"),
        ("", None, EngineInfo("diffusers", "sdxl"), "`diffusers, sdxl`", "20 steps"),
        ("", None, UNKNOWN, "`-`", "20 steps"),
        ("", GenerationInfo("sketch", steps=20), UNKNOWN, "`sketch, no model`", "20 steps"),
        (
            "sd-2-1",
            GenerationInfo("stable-diffusion", "sd-2-1", 21),
            EngineInfo("sketch"),
            "`stable-diffusion, sd-2-1`",
            "20 steps (21 run)",
        ),
    ],
)
def test_details_name_what_painted_or_would_paint(
    model: str, generation: GenerationInfo | None, engine: EngineInfo, said: str, steps: str
) -> None:
    job = new_job("abcdefghijklmnop", replace(REQUEST, model=model), NOW)
    done = replace(
        job.rows[0], artifact=Artifact("file:///a.png", 1, "0" * 64), generation=generation
    )
    status = details_message(replace(job, rows=(done, *job.rows[1:])), None, engine)
    fields = {field.name: field.value for field in status.fields}
    assert (fields["Model"], fields["Steps"]) == (said, steps)


@pytest.mark.parametrize(
    ("credits", "said"),
    [
        (None, None),
        (JobCost(), None),
        (JobCost(Decimal(100)), "at most 100 credits"),
        (JobCost(Decimal(100), Decimal("42.44")), "42.44 credits"),
        (
            JobCost(Decimal(100), Decimal("42.44"), Decimal("57.56")),
            "42.44 credits, 57.56 refunded",
        ),
    ],
)
def test_details_tell_what_a_job_cost_where_computing_is_paid_for(
    credits: JobCost | None, said: str | None
) -> None:
    status = details_message(
        new_job("abcdefghijklmnop", REQUEST, datetime(2026, 11, 23, tzinfo=UTC)), credits
    )
    assert next((field.value for field in status.fields if field.name == "Compute"), None) == said


@pytest.mark.parametrize(
    ("generations", "said"),
    [
        ((GenerationInfo("sketch"),), None),
        ((GenerationInfo("own", "m", 7, "9"),) * 2, "guidance 9"),
        (
            (GenerationInfo("own", "m", 7, "5", sampler="Euler_a", model_sha256="ab" * 32),),
            f"guidance 5 · sampler Euler\\_a · file sha256 `{'ab' * 32}`",
        ),
        (
            (GenerationInfo("own", sampler="a"), GenerationInfo("own", sampler="b")),
            "sampler a\nsampler b",
        ),
    ],
)
def test_details_name_guidance_sampler_and_file(
    generations: tuple[GenerationInfo, ...], said: str | None
) -> None:
    job = new_job("abcdefghijklmnop", REQUEST, NOW)
    file = Artifact("file:///a.png", 1, "0" * 64)
    rows = tuple(
        replace(row, artifact=file, generation=generation)
        for row, generation in zip(job.rows, generations, strict=False)
    )
    details = details_message(replace(job, rows=(*rows, *job.rows[len(rows) :])))
    fields = {field.name: field.value for field in details.fields}
    assert fields.get("Generated with") == said
