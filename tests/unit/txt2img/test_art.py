"""Test the sketches: the meaning of words, and the caption of every picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import from_hex, mix, ramp, tint, to_oklab, turn
from bot.txt2img.engines.sketch.picture import draw, draw_picture
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene, read
from bot.txt2img.engines.sketch.shapes import ellipse
from bot.txt2img.engines.sketch.vocabulary import _WORDS, Meaning, meanings, words

SUBJECTS = [listed.split()[0] for listed in _WORDS["subject"].values()]
PLACES = [listed.split()[0] for listed in _WORDS["place"].values()]
WEATHER = [listed.split()[0] for listed in _WORDS["weather"].values()]
STYLES = [listed.split()[0] for listed in _WORDS["style"].values()]


def scene(prompt: str, negative: str = "", index: int = 0) -> Scene:
    return read(prompt, negative, RandomStreams(prompt, negative, index))


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("place", ["portrait", "sea"])
def test_every_subject_can_stand_anywhere(subject: str, place: str) -> None:
    image = draw_picture(f"a {subject}, {place}", "", 5, 0, 64, 64, 50)
    assert image.size == (64, 64)
    assert len(set(image.crop((0, 0, 64, 48)).get_flattened_data())) > 50


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("hour", ["night", "sunset"])
def test_every_place_has_its_hours_and_weathers(place: str, hour: str) -> None:
    drawn = {
        draw_picture(f"{place} {hour} {sky}", "", 3, 0, 64, 64, 50).tobytes() for sky in WEATHER[:3]
    }
    assert len(drawn) == 3


@pytest.mark.parametrize("sky", [*WEATHER, *STYLES])
@pytest.mark.parametrize("place", ["city", "meadow"])
def test_every_weather_and_style_can_be_painted(sky: str, place: str) -> None:
    assert draw_picture(f"{place}, {sky}", "", 1, 0, 128, 64, 40).size == (128, 64)


@pytest.mark.parametrize("prompt", ["an astronaut in space", "a neon city", "a wave at sea"])
@pytest.mark.parametrize("index", range(6))
def test_no_view_of_a_prompt_fails(prompt: str, index: int) -> None:
    assert draw_picture(prompt, "", 11, index, 64, 64, 50).size == (64, 64)


@pytest.mark.parametrize("index", range(24))
def test_variations_of_one_prompt_are_views_of_their_own(index: int) -> None:
    here = draw_picture("qwe asd", "", 1, index, 64, 64, 50)
    there = draw_picture("qwe asd", "", 1, index + 1, 64, 64, 50)
    first, second = (np.asarray(image, np.int16)[:56] for image in (here, there))
    assert np.abs(first - second).mean() > 4


@given(
    prompt=st.text(max_size=60),
    negative=st.text(max_size=12),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([(64, 64), (192, 64), (64, 128)]),
    steps=st.integers(1, 150),
)
@example("\udcff\ud800", "\udcff", 0, (64, 64), 1)
@settings(deadline=None, max_examples=25)
def test_any_text_becomes_a_picture_and_the_same_one_again(
    prompt: str, negative: str, seed: int, size: tuple[int, int], steps: int
) -> None:
    first = draw_picture(prompt, negative, seed, 0, *size, steps)
    assert first.size == size
    assert first.tobytes() == draw_picture(prompt, negative, seed, 0, *size, steps).tobytes()


def test_every_picture_is_marked_along_its_lower_edge_only() -> None:
    for width, height in ((768, 768), (256, 256), (128, 192)):
        dice = RandomStreams("the sea", "", 1, 0)
        plain = draw(read("the sea", "", dice), dice, width, height, 50)
        marked = draw_picture("the sea", "", 1, 0, width, height, 50)
        first, second = np.asarray(plain, np.int16), np.asarray(marked, np.int16)
        changed = np.flatnonzero(np.abs(first - second).max((1, 2)))
        assert changed.min() >= height * 0.8
        strip = second[changed.min() :]
        # Letters: bright ink on a dark strip, over a good part of its width.
        bright = strip.min(2) > 130
        assert bright.any(0).mean() > 0.2
        assert strip.min() < 80
        assert np.median(strip) < 110


def test_more_steps_sharpen_the_same_composition() -> None:
    def detail(steps: int) -> float:
        dice = RandomStreams("a forest", "", 2, 0)
        image = draw(read("a forest", "", dice), dice, 128, 128, steps)
        grey = np.asarray(image.convert("L"), np.float64)
        return float(np.abs(np.diff(grey, axis=1)).mean())

    assert detail(1) < detail(8) < detail(50)
    assert detail(50) == detail(150)


@pytest.mark.parametrize(
    ("prompt", "place", "subject"),
    [
        ("an astronaut in space", "space", "astronaut"),
        ("a red fox in a snowy forest", "forest", "fox"),
        ("neon city at night in the rain", "city", ""),
        ("portrait of an old wizard", "portrait", "wizard"),
        ("portrait of a fox in the forest", "portrait", "fox"),
        ("ein Schiff auf dem Meer", "sea", "ship"),
        ("🐋", "deep", "whale"),
        ("lighthouses", "sea", "lighthouse"),
        ("hsdkjf qwe", "abstract", ""),
        ("synthwave", "city", ""),
        ("", "abstract", ""),
    ],
)
def test_words_set_the_scene(prompt: str, place: str, subject: str) -> None:
    for index in range(6):
        found = scene(prompt, index=index)
        if prompt == "🐋":
            assert found.place in {"deep", "sea"}
        else:
            assert found.place == place
        assert found.subject == subject


def test_weather_alone_makes_a_landscape() -> None:
    found = scene("fog")
    assert found.place in {"mountains", "meadow", "sea", "forest"}
    assert found.weather == {"fog"}


def test_a_colour_before_a_subject_is_its_own_and_any_other_tints_the_picture() -> None:
    fox = scene("a blue fox in the forest")
    assert fox.fur_color is not None
    assert np.allclose(fox.fur_color, from_hex("2f6fde"))
    forest = scene("a fox in a blue forest")
    assert forest.fur_color is None
    assert np.allclose(forest.palette.accent, from_hex("2f6fde"))
    assert np.allclose(scene("qwe red").palette.accent, from_hex("d9302c"))


def test_what_the_negative_prompt_names_is_left_out() -> None:
    assert scene("a fox in the forest", "fox").subject == ""
    assert scene("a tree in the fog", "fog").weather == frozenset()


def test_unknown_words_keep_their_hue_through_all_variations() -> None:
    def hue(index: int) -> float:
        lab = to_oklab(scene("frobnicate", index=index).palette.sky[1])
        return float(np.arctan2(lab[2], lab[1]))

    first = hue(0)
    for index in range(1, 8):
        away = (hue(index) - first + np.pi) % (2 * np.pi) - np.pi
        assert abs(away) < 1.2


def test_words_are_folded_and_emoji_are_words() -> None:
    assert words("Ein BÄR\u200d im Nebel🦊🌊!") == ["ein", "bar", "im", "nebel", "🦊", "🌊"]
    assert meanings("wolves") == (Meaning("subject", "wolf"),)
    assert meanings("castles") == (Meaning("subject", "castle"),)
    assert meanings("xyzzy") == ()


def test_the_lexicon_knows_enough_words() -> None:
    known = {
        word for names in _WORDS.values() for listed in names.values() for word in listed.split()
    }
    assert len(known) > 500


def test_a_stream_of_chance_does_not_depend_on_the_others() -> None:
    first = RandomStreams("a", 1).stream("sky").random(4)
    dice = RandomStreams("a", 1)
    dice.stream("land").random(9)
    assert np.array_equal(dice.stream("sky").random(4), first)
    assert not np.array_equal(RandomStreams("a", 2).stream("sky").random(4), first)


@given(
    red=st.floats(0, 1, width=32), green=st.floats(0, 1, width=32), blue=st.floats(0, 1, width=32)
)
@settings(deadline=None, max_examples=50)
def test_mixing_keeps_the_ends_and_the_screen_can_show_the_rest(
    red: float, green: float, blue: float
) -> None:
    color, white = np.array([red, green, blue], np.float32), from_hex("ffffff")
    assert np.allclose(mix(color, white, 0.0), color, atol=2e-3)
    assert np.allclose(mix(color, white, 1.0), white, atol=2e-3)
    for derived in (ramp([color, white]), turn(color, 0.3, 1.2), tint(color, white, 0.5)):
        assert derived.min() >= 0
        assert derived.max() <= 1


def test_shapes_are_smooth_at_their_edges_and_clipped_at_the_canvas() -> None:
    canvas = Canvas(40, 20)
    inside = canvas.patch([ellipse(20, 10, 6, 6)])
    assert 0 < ((inside.mask > 0.05) & (inside.mask < 0.95)).mean() < 0.5
    assert inside.mask.sum() == pytest.approx(np.pi * 36, rel=0.05)
    outside = canvas.patch([ellipse(-50, -50, 6, 6)])
    assert outside.mask.sum() == 0
    canvas.apply(outside, from_hex("ff0000"))
    assert canvas.pixels.max() == 0
