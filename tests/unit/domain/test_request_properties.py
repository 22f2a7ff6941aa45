"""Whatever is typed, a request is in bounds, can be shown and stored, and comes back."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest
from bot.domain.request import MAX_SEED, Author, ChannelRef, Request, RequestLimits, RequestOptions
from bot.domain.request_parsing import is_flag
from bot.domain.text import has_visible_characters, normalize_text

ADA = Author(7, "Ada")
STUDIO = ChannelRef(11, 12)
STYLES = {"anime": "cel shading", "oil painting": "oil on canvas,\n thick strokes", "plain": ""}
LIMITS = RequestLimits(styles=STYLES)


def parse(
    text: str,
    options: RequestOptions | None = None,
    *,
    limits: RequestLimits = LIMITS,
    seed: int = 5,
) -> Request:
    return Request.parse(
        text, options or RequestOptions(), limits=limits, seed=seed, author=ADA, place=STUDIO
    )


PROSE = st.one_of(st.text(), st.text(st.sampled_from("ab -—–=:🏴\u200d\u0301\n'\"$")))
WORDS = PROSE.map(lambda text: " ".join(w for w in normalize_text(text).split() if not is_flag(w)))
LIMIT_SETS = st.builds(
    RequestLimits,
    rows=st.integers(1, 2),
    samples=st.integers(1, 2),
    width=st.sampled_from((512, 768, 500)),
    height=st.sampled_from((512, 640, 300)),
    max_rows=st.integers(2, 64),
    max_samples=st.integers(2, 9),
    models=st.sampled_from(((), ("sd-2-1",), ("a b", "a", "A"))),
    model=st.sampled_from(("sd-2-1", "a b c", "/srv/a model")),
    styles=st.just(STYLES),
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[RequestLimits, Request]:
    """A request as only ``parse`` makes them, and the limits it was made under."""
    limits = draw(LIMIT_SETS)
    rows = draw(st.none() | st.integers(1, limits.max_rows))
    options = RequestOptions(
        negative=draw(st.none() | WORDS.filter(lambda text: text != "--")),
        aspect=draw(st.none() | st.sampled_from(("1:1", "16:9", "2:3", "1:4", "400:100"))),
        rows=rows,
        samples=draw(st.none() | st.integers(1, limits.max_samples)),
        steps=draw(st.none() | st.integers(1, limits.max_steps)),
        seed=draw(st.none() | st.integers(0, MAX_SEED - 63)),
        model=draw(st.none() | st.sampled_from((*limits.models, limits.model))),
        style=draw(st.none() | st.sampled_from(("", *STYLES))),
    )
    seed = draw(st.integers())
    return limits, parse(f"x {draw(WORDS)}", options, limits=limits, seed=seed)


@settings(deadline=None, max_examples=150)
@given(requests(), st.integers())
def test_what_is_shown_parses_to_the_same_request(
    made: tuple[RequestLimits, Request], seed: int
) -> None:
    limits, request = made
    assert parse(request.to_prompt(), limits=limits, seed=seed) == request


@settings(deadline=None, max_examples=100)
@given(requests(), st.booleans())
def test_what_is_stored_comes_back(made: tuple[RequestLimits, Request], cropped: bool) -> None:
    request = made[1].upscale_of("abcdef", 1, 1) if cropped else made[1]
    assert Request.from_dict(json.loads(json.dumps(request.to_dict()))) == request


FLAGS = (
    "--ar",
    "—ar",
    "--no",
    "--seed",
    "--rows",
    "--steps=",
    "--size",
    "--model",
    "--style",
    "--",
)
VALUES = ("16:9", "7", "99", "-1", "anime", "oil painting", "sd-2-1", "640x512", "a", "--samples=2")


def outcome(text: str, seed: int) -> Request | InvalidRequest:
    try:
        return parse(text, seed=seed)
    except InvalidRequest as refused:
        return refused


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.sampled_from((*FLAGS, *VALUES)), PROSE), max_size=8), st.integers())
def test_any_text_becomes_a_request_in_bounds_or_a_plain_refusal(
    words: list[str], seed: int
) -> None:
    request = outcome(" ".join(words), seed)
    if isinstance(request, InvalidRequest):
        assert request.field
        assert 20 < len(str(request)) < 400
        return
    assert request.prompt == normalize_text(request.prompt) != "--"
    assert has_visible_characters(request.prompt)
    assert len(request.prompt) <= LIMITS.max_prompt
    assert 1 <= request.rows <= LIMITS.max_rows
    assert 1 <= request.samples <= LIMITS.max_samples
    assert 1 <= request.steps <= LIMITS.max_steps
    assert 0 <= request.seed <= request.row_seed(request.rows) <= MAX_SEED
    assert request.width % 64 == request.height % 64 == 0
    assert request.width * request.height <= LIMITS.max_pixels
    assert request.model in LIMITS.models
    assert request.style in {"", *STYLES}
    assert parse(request.to_prompt(), seed=0) == request
