"""What paints, what follows from it for a request, and what is said about it afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.errors import InvalidRequest
from bot.domain.events import (
    Accepted,
    BackendJobRef,
    JobEvent,
    RowPainted,
    RowReady,
    RowStarted,
    Scheduled,
)
from bot.domain.grid import caption, format_generation, format_steps
from bot.domain.image_engine import (
    SCRIPT,
    SKETCH,
    UNKNOWN,
    EngineInfo,
    GenerationInfo,
    script_steps,
)
from bot.domain.job import Job
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions
from tests.unit.domain.job_factories import after, artifact

HOSTED, SKETCHED = EngineInfo(SCRIPT), EngineInfo(SKETCH)
FOLDER = EngineInfo("diffusers", "wd-1-4")
HUB = EngineInfo("diffusers", "stabilityai/sdxl-turbo", negative=False)


PLAIN = RequestOptions()


def parse(text: str, engine: EngineInfo, options: RequestOptions = PLAIN, **limits: int) -> Request:
    return Request.parse(
        text,
        options,
        limits=RequestLimits(engine=engine, **limits),  # type: ignore[arg-type]  # numbers all
        seed=7,
        author=Author(1, "Ada"),
        place=ChannelRef(),
    )


@pytest.mark.parametrize(
    ("asked", "ran"),
    [
        *((1, 1), (2, 2), (3, 2), (9, 8), (10, 10), (20, 20), (27, 27), (28, 29), (30, 31)),
        *((36, 36), (37, 36), (40, 40), (50, 50), (60, 63), (100, 100), (110, 100), (150, 167)),
        *((333, 250), (334, 500), (499, 500), (500, 500), (501, 500), (1000, 500)),
    ],
)
def test_stability_s_script_runs_its_own_number_of_steps(asked: int, ran: int) -> None:
    assert script_steps(asked) == ran
    assert HOSTED.steps_run(asked) == ran
    assert SKETCHED.steps_run(asked) == asked


@pytest.mark.parametrize("asked", range(1, 1001))
def test_the_script_s_steps_are_those_that_its_sampler_takes(asked: int) -> None:
    """Every (1000 // steps)th moment, one late; one behind the last of 1000 is an error."""
    steps = asked
    while (moments := [m + 1 for m in range(0, 1000, 1000 // steps)])[-1] > 999:
        steps -= 1
    assert script_steps(asked) == len(moments)


@pytest.mark.parametrize(
    ("engine", "shown"),
    [
        (UNKNOWN, "asked"),
        (HOSTED, "stable-diffusion, asked"),
        (SKETCHED, "sketch, no model"),
        (FOLDER, "diffusers, wd-1-4"),
        (HUB, "diffusers, stabilityai/sdxl-turbo"),
    ],
)
def test_engine_and_model_are_named(engine: EngineInfo, shown: str) -> None:
    assert engine.show("asked") == shown


@pytest.mark.parametrize(
    ("engine", "size", "allowed"),
    [
        (HOSTED, "256x256", True),
        (HOSTED, "128x512", True),
        (HOSTED, "64x64", False),
        (HOSTED, "192x320", False),
        (SKETCHED, "64x64", True),
        (FOLDER, "64x64", True),
        (UNKNOWN, "64x64", True),
    ],
)
def test_a_picture_is_as_large_as_what_paints_it_needs(
    engine: EngineInfo, size: str, allowed: bool
) -> None:
    if allowed:
        request = parse(f"a cat --size {size}", engine)
        assert f"{request.width}x{request.height}" == size
    else:
        with pytest.raises(InvalidRequest, match="at least 65536"):
            parse(f"a cat --size {size}", engine)


@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize("ratio", ["1:1", "16:9", "4:1", "1:4", "2:3"])
def test_a_shape_is_never_fitted_below_the_minimum(width: int, ratio: str) -> None:
    request = parse(f"a cat --ar {ratio}", HOSTED, width=width, height=64)
    assert request.width * request.height >= 256 * 256
    least = parse(f"a cat --ar {ratio}", HOSTED, width=width, height=64, max_pixels=1 << 18)
    assert 1 << 16 <= least.width * least.height <= 1 << 18


@pytest.mark.parametrize(
    ("text", "limits", "said"),
    [
        ("a cat", {"width": 128, "height": 128}, "This server's picture size is too small"),
        ("a cat", {"width": 128, "height": 128}, "for example --size 512x512"),
        ("a cat --size 128x128", {"width": 128, "height": 128}, "--size is too small"),
        ("a cat --ar 1:1", {"width": 64, "height": 64, "max_pixels": 4096}, "No larger size"),
        ("a cat", {"width": 64, "height": 64, "max_pixels": 4096}, "No larger size is allowed"),
        ("a cat", {"width": 64, "height": 64, "max_pixels": 70_000}, "65536 pixels or more."),
    ],
)
def test_a_default_that_is_too_small_is_refused_before_anything_is_charged(
    text: str, limits: dict[str, int], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse(text, HOSTED, PLAIN, **limits)


def test_a_default_above_the_limit_is_no_reason_to_refuse() -> None:
    assert parse("a cat", HOSTED, width=512, height=512, max_pixels=4096).width == 512


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        *((engine, None) for engine in (SKETCHED, FOLDER, HUB)),
        # What older messages say, and what the one model is called.
        *((engine, "sd-2-1") for engine in (SKETCHED, FOLDER, HUB)),
        *((SKETCHED, "sketch"), (FOLDER, "WD-1-4"), (FOLDER, "diffusers")),
        *((HUB, "stabilityai/sdxl-turbo"), (HUB, "sdxl-turbo")),
    ],
)
def test_where_there_is_one_engine_the_request_names_no_model(
    engine: EngineInfo, named: str | None
) -> None:
    for request in (
        parse("a cat", engine, RequestOptions(model=named)),
        parse(f"a cat --model {named}" if named else "a cat", engine),
    ):
        assert request.model == ""
        assert "--model" not in request.to_prompt()
        assert parse(request.to_prompt(), engine) == request


@pytest.mark.parametrize(
    ("engine", "named", "said"),
    [
        (SKETCHED, "wd-1-4", "this server draws without a model, not wd-1-4"),
        (FOLDER, "sd-1-5", "this server uses only wd-1-4, not sd-1-5"),
        (HUB, "wd-1-4", "this server uses only stabilityai/sdxl-turbo, not wd-1-4"),
    ],
)
def test_a_model_that_would_not_be_used_is_refused(
    engine: EngineInfo, named: str, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse("a cat", engine, RequestOptions(model=named))


def test_an_older_request_is_repeated_without_the_model_that_made_no_difference() -> None:
    asked = parse("a cat --model wd-1-4", HOSTED)
    assert asked.within(RequestLimits(engine=HOSTED)) == asked
    assert parse(asked.within(RequestLimits(engine=SKETCHED)).to_prompt(), SKETCHED).model == ""


@pytest.mark.parametrize("text", ["a cat --no trees", "a cat --rows 1 --no trees"])
def test_a_negative_prompt_without_effect_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"has no effect with this server's model \(diff"):
        parse(text, HUB)
    assert parse(text, FOLDER).negative == "trees"
    with pytest.raises(InvalidRequest, match="negative has no effect"):
        parse("a cat", HUB, RequestOptions(negative="trees"))


def run(*generation: GenerationInfo | None) -> Job:
    job = after(Scheduled(), Accepted(BackendJobRef("local", "x")))
    events: list[JobEvent] = []
    for number, said in enumerate(generation, 1):
        events += [RowStarted(number, 7)]
        events += [RowPainted(number, said)] if said else []
        events += [RowReady(number, 7, artifact())]
    return after(Scheduled(), Accepted(BackendJobRef("local", "x")), *events) if events else job


MODEL = GenerationInfo("diffusers", "sd-1-5", 51, "9")
WHOLE = GenerationInfo("comfyui", "sdxl", 20, "5", sampler="Euler a", model_sha256="ab" * 32)


@pytest.mark.parametrize(
    ("generation", "said", "steps"),
    [
        ((), "sd-2-1", "50 steps"),
        ((None, None), "sd-2-1", "50 steps"),
        ((GenerationInfo("sketch", steps=50),) * 2, "sketch, no model", "50 steps"),
        ((MODEL, MODEL), "diffusers, sd-1-5", "50 steps (51 run)"),
        ((MODEL, None), "diffusers, sd-1-5", "50 steps (51 run)"),
        ((WHOLE,), "comfyui, sdxl", "50 steps (20 run)"),
        ((WHOLE, replace(WHOLE, sampler="ddim")), "comfyui, sdxl", "50 steps (20 run)"),
        (
            (GenerationInfo("sketch", steps=50), MODEL),
            "sketch, no model and diffusers, sd-1-5",
            "50 steps (51 run)",
        ),
    ],
)
def test_a_caption_names_what_really_painted(
    generation: tuple[GenerationInfo | None, ...], said: str, steps: str
) -> None:
    job = run(*generation)
    assert (job.made_with, format_steps(job)) == (said, steps)
    assert " · ".join(("", steps, said, *format_generation(job))) in caption(job)


@pytest.mark.parametrize(
    ("generation", "details"),
    [
        ((), ()),
        ((GenerationInfo("sketch", steps=50),), ()),
        ((MODEL, MODEL), ("guidance 9",)),
        ((WHOLE, WHOLE), ("Euler a", "guidance 5", "file ababababab")),
        # What the rows do not agree on is left out.
        ((WHOLE, replace(WHOLE, sampler="ddim")), ("guidance 5", "file ababababab")),
        ((WHOLE, MODEL), ()),
    ],
)
def test_a_caption_names_sampler_guidance_and_file(
    generation: tuple[GenerationInfo, ...], details: tuple[str, ...]
) -> None:
    assert format_generation(run(*generation)) == details


def test_of_many_engines_two_are_named() -> None:
    rows = tuple(
        replace(row, generation=replace(MODEL, model=f"m{row.number}"))
        for number in (1, 2, 3, 4)
        for row in [replace(run(MODEL).rows[0], number=number)]
    )
    job = replace(run(MODEL), rows=rows)
    assert job.made_with == "diffusers, m1 and diffusers, m2 and others"


def test_a_row_that_is_painted_again_is_told_anew() -> None:
    events = (
        RowPainted(1, GenerationInfo("sketch")),
        RowReady(1, 7, artifact()),
        RowPainted(1, MODEL),
    )
    job = after(Scheduled(), Accepted(BackendJobRef("local", "x")), *events)
    assert job.generation == (MODEL,)


def test_where_nothing_is_known_the_caption_names_nothing() -> None:
    job = run(None)
    assert caption(replace(job, request=replace(job.request, model=""))).endswith(" · 50 steps")
