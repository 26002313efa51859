"""`synthetic_clocks`: a pure function of its options, split and index, whose hands stand where the label says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.font_manager import get_font

from toolkit_clock.dials import HANDS, STOCKS, Stock, disc, marks, numerals, turned, words
from toolkit_clock.synthetic import Nuisances, SyntheticClocks, draw_clock
from toolkit_clock.transforms import StretchDarkStrokes

PLAIN = Nuisances(turn_deg=0, tilt_deg=0, light=0, noise=0, clutter=0)


def test_a_picture_depends_on_neither_order_nor_number_of_pictures() -> None:
    forwards = [SyntheticClocks("train", size=6, image_size=48)[n].image for n in range(6)]
    other = SyntheticClocks("train", size=40, image_size=48)
    for index in reversed(range(6)):
        np.testing.assert_array_equal(other[index].image, forwards[index])


def test_parts_seeds_styles_and_indices_give_different_pictures() -> None:
    options: list[dict[str, Any]] = [{}, {"seed": 1}, {"styles": "held_back"}, {"styles": "single"}]
    pictures = [SyntheticClocks("train", size=999, image_size=48, **more)[0] for more in options]
    pictures += [SyntheticClocks("train", size=999, image_size=48)[720], SyntheticClocks("test", size=999, image_size=48)[0]]
    assert {sample.target.time_min.item() for sample in pictures} == {0}
    assert len({sample.image.tobytes() for sample in pictures}) == len(pictures)


def test_every_time_is_equally_frequent_and_the_test_part_has_a_ninth() -> None:
    data = SyntheticClocks("test", size=9 * 720)
    assert len(data) == 720
    assert sorted(n * 277 % 720 for n in range(720)) == list(range(720))
    assert [data[n].target.time_min.item() for n in (0, 1, -1)] == [0, 277, 719 * 277 % 720]
    assert len(SyntheticClocks("test", size=4)) == 1
    with pytest.raises(IndexError):
        data[720]


@pytest.mark.parametrize(("channels", "image_size"), [(1, 75), (3, 64)])
@pytest.mark.parametrize("styles", ["train", "held_back", "single"])
def test_pictures_have_the_size_asked_for(channels: Any, image_size: int, styles: Any) -> None:
    data = SyntheticClocks("train", channels=channels, image_size=image_size, styles=styles)
    assert data[7].image.shape == (image_size, image_size, channels)
    assert data[7].image.dtype == np.uint8
    assert data.info.input_shape == (channels, image_size, image_size)


def test_held_back_styles_share_no_font_hand_or_mark_with_those_to_train_with() -> None:
    train, held_back = STOCKS["train"], STOCKS["held_back"]
    for field in ("fonts", "hands", "marks"):
        assert not set(getattr(train, field)) & set(getattr(held_back, field)), field
    assert "octagon" not in train.outlines
    assert {name for stock in STOCKS.values() for name in stock.hands} == set(HANDS)


def test_held_back_fonts_are_of_other_families_than_those_to_train_with() -> None:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

    def families(fonts: tuple[str, ...]) -> set[str]:
        """As the files name themselves; all of DejaVu's were drawn alike."""
        return {get_font(folder / f"{font}.ttf").family_name.split()[0] for font in fonts}

    assert families(STOCKS["train"].fonts) == {"DejaVu", "STIXGeneral"}
    assert not families(STOCKS["train"].fonts) & families(STOCKS["held_back"].fonts)


@pytest.mark.parametrize("time_min", [3 * 60 + 59, 9 * 60, 30, 7 * 60 + 17])
def test_the_hands_stand_where_a_ruler_finds_them(time_min: int) -> None:
    """The direction of the farthest dark pixels is the minute hand's; without them, the hour hand's."""
    bare = Stock(fonts=("DejaVuSans",), hands=("taper",), outlines=("none",), marks=("none",), numerals=("arabic",))
    picture, empty = (_without_print(bare, time, 400) for time in (time_min, None))
    y, x = np.nonzero(picture != empty)
    middle = np.array([199.5, 199.5])
    offset, radius = np.stack([x, y], 1) - middle, np.hypot(x - middle[0], y - middle[1])
    minute_deg = _direction_deg(offset[radius > 0.93 * radius.max()])
    expected_minute, expected_hour = time_min % 60 * 6.0, time_min * 0.5
    assert _apart_deg(minute_deg, expected_minute) < 1.0  # a sixth of a minute
    angles = np.rad2deg(np.arctan2(offset[:, 0], -offset[:, 1]))
    of_hour = offset[(_apart_deg(angles, expected_minute) > 14) & (_apart_deg(angles, expected_minute + 180) > 14)]
    hour_radius = np.hypot(*of_hour.T)
    assert _apart_deg(_direction_deg(of_hour[hour_radius > 0.93 * hour_radius.max()]), expected_hour) < 2.0


def test_the_hands_of_a_sample_stand_where_its_label_says() -> None:
    data = SyntheticClocks("train", light=0, noise=0, clutter=0, styles="single", image_size=200)
    for index in (3, 50, 77, 140):
        sample = data[index]
        time_min = int(sample.target.time_min)
        dial = _dial_of(data, index)

        def brightness(radius: float, turns: np.ndarray, to_pixels: Any = dial.to_pixels, image: Any = sample.image) -> np.ndarray:
            """Of the picture, `radius` from the dial's middle, at each share of a full turn."""
            x, y, depth = to_pixels @ [radius * np.sin(2 * np.pi * turns), -radius * np.cos(2 * np.pi * turns), np.ones_like(turns)]
            return image[np.rint(y / depth).astype(int), np.rint(x / depth).astype(int), 0].astype(int)

        minutes = np.arange(60) / 60
        assert brightness(0.56, minutes).argmin() == time_min % 60  # the hour hand ends at 0.51, numerals begin at 0.61
        places = np.arange(720) / 720
        beside = np.abs((places - time_min % 60 / 60 + 0.5) % 1 - 0.5) > 0.04
        dark = places[beside & (brightness(0.42, places) < brightness(0.42, places).min() + 30)]
        assert abs(np.median(dark) - time_min / 720) < 0.01, index  # 4 degrees


@pytest.mark.parametrize("styles", ["single", "train", "held_back"])
def test_dials_run_clockwise_however_they_are_turned_and_tilted(styles: Any) -> None:
    data = SyntheticClocks("train", turn_deg=180, tilt_deg=60, styles=styles, image_size=64)
    for index in range(40):
        to_pixels = _dial_of(data, index).to_pixels
        middle, twelve, three = ((to_pixels @ np.array(point))[:2] / (to_pixels @ np.array(point))[2] for point in _MIDDLE_12_3)
        (up_x, up_y), (right_x, right_y) = twelve - middle, three - middle
        assert up_x * right_y - up_y * right_x > 0  # with y downwards: from 12 to 3 with the clock


_MIDDLE_12_3 = ((0.0, 0.0, 1.0), (0.0, -1.0, 1.0), (1.0, 0.0, 1.0))


def _dial_of(data: SyntheticClocks, index: int) -> Any:
    """The dial that a sample is drawn from."""
    from toolkit_clock import synthetic

    channels, size, _ = data.info.input_shape
    rng = np.random.default_rng((data.seed, data._styles_number, data.splits.index(data.split), index))
    return synthetic._Dial(data.stock, data.nuisances, size, channels, rng)


def _without_print(stock: Stock, time_min: int | None, size: int) -> np.ndarray:
    """A white square with nothing but hands, drawn as `_Dial` does in the middle of it."""
    from toolkit_clock import synthetic

    dial = synthetic._Dial(stock, PLAIN, size, 1, np.random.default_rng(3))
    dial.to_pixels = np.array([[180.0, 0, 199.5], [0, 180.0, 199.5], [0, 0, 1]])
    dial.canvas = np.full((size, size, 1), 255, np.uint8)
    dial.ink = np.zeros(3)
    dial.rng = _NoSecondHand(5)  # type: ignore[assignment]
    if time_min is not None:
        dial.hands(time_min)
    return dial.canvas[:, :, 0]


class _NoSecondHand:
    """Draws as NumPy does, but chances come out at 0.5: dark hands without a second hand or shadow."""

    def __init__(self, seed: int) -> None:
        self.uniform = np.random.default_rng(seed).uniform
        self.choice = np.random.default_rng(seed).choice

    def random(self) -> float:
        return 0.5


def _direction_deg(offsets: np.ndarray) -> float:
    x, y = offsets.mean(0)
    return float(np.rad2deg(np.arctan2(x, -y)))


def _apart_deg(first: Any, second: float) -> Any:
    return np.abs((first - second + 180) % 360 - 180)


def test_every_dial_that_may_be_turned_far_says_where_12_is() -> None:
    from toolkit_clock import synthetic

    unnumbered = dataclasses.replace(STOCKS["single"], numerals=("none",))

    def dials(turn_deg: float) -> list[tuple[bool, float]]:
        """Of sixty dials: whether there is a mark at 12, and how far the dial is turned."""
        made = []
        for seed in range(60):
            dial = synthetic._Dial(unnumbered, dataclasses.replace(PLAIN, turn_deg=turn_deg), 64, 1, np.random.default_rng(seed))
            top, middle = (dial.to_pixels @ np.array(point) for point in ((0, -1, 1), (0, 0, 1)))
            made.append((dial.has_pointer, abs(_direction_deg((top - middle)[None, :2]))))
        return made

    assert all(has_pointer for has_pointer, _ in dials(180.0))
    bare = dataclasses.replace(unnumbered, marks=("none",))
    assert {synthetic._Dial(bare, PLAIN, 64, 1, np.random.default_rng(seed)).numerals for seed in range(9)} == {"arabic"}
    assert max(turn for _, turn in dials(180.0)) > 150
    assert {has_pointer for has_pointer, _ in dials(12.0)} == {True, False}
    assert max(turn for _, turn in dials(12.0)) <= 12.001


def test_the_mark_at_12_is_drawn() -> None:
    from toolkit_clock import synthetic

    def face(*, has_pointer: bool) -> np.ndarray:
        dial = synthetic._Dial(dataclasses.replace(STOCKS["single"], numerals=("none",)), PLAIN, 200, 1, np.random.default_rng(0))
        dial.to_pixels = np.array([[90.0, 0, 99.5], [0, 90.0, 99.5], [0, 0, 1]])
        dial.has_pointer = has_pointer
        dial.face()
        return dial.canvas[..., 0]

    y, x = np.nonzero(face(has_pointer=True) != face(has_pointer=False))
    assert len(x) > 50
    assert abs(x.mean() - 99.5) < 1
    assert 99.5 - 95 * 0.9 < y.mean() < 99.5 - 76 * 0.9


def test_no_part_of_a_dial_is_blacked_out_by_the_strongest_light() -> None:
    grey = np.full((60, 60, 1), 200, np.uint8)
    from toolkit_clock import synthetic

    darkest = [int(synthetic._photographed(grey, dataclasses.replace(PLAIN, light=2), np.random.default_rng(n)).min()) for n in range(60)]
    assert 39 <= min(darkest) <= 45  # a fifth of 200, where light 2 would leave nothing


def test_shapes_are_turned_clockwise_and_numerals_stand_at_their_hours() -> None:
    np.testing.assert_allclose(turned(np.array([[0.0, -1.0]]), 0.25), [[1, 0]], atol=1e-12)  # from 12 to 3
    three = numerals("quarters", "DejaVuSans", 0.2, 0.7, radial=False)
    middles = np.array([(polygon.min(0) + polygon.max(0)) / 2 for polygon in three])
    assert np.hypot(*(middles - (0.7, 0)).T).min() < 0.06
    assert len(marks("hour_lines", 1)) == 12
    assert len(marks("lines", 0)) == 60
    assert marks("none", 0) == ()


def test_the_holes_of_letters_are_outlines_of_their_own() -> None:
    assert [len(words(text, "DejaVuSans")) for text in ("1", "0", "8")] == [1, 2, 3]
    eight = np.zeros((100, 100), np.uint8)
    cv2.fillPoly(eight, [np.rint(polygon * 90 + 50).astype(np.int32) for polygon in words("8", "DejaVuSans")], 255)
    assert eight[50 - 22, 50] == 0  # inside the upper loop
    assert eight[50, 50] == 255


def test_strengths_of_zero_leave_flat_colours() -> None:
    picture = draw_clock(100, STOCKS["single"], PLAIN, 150, 1, np.random.default_rng(0))
    values, counts = np.unique(picture, return_counts=True)
    assert np.sort(counts)[-2:].sum() > 0.6 * picture.size  # surroundings and face
    assert len(values) > 4  # edges are smooth
    assert disc(2.0).shape == (48, 2)


@pytest.mark.parametrize(("styles", "at_least", "at_most"), [("single", 0, 0), ("train", 35, 65)])
def test_a_quarter_of_the_faces_is_dark_and_none_of_the_single_style(styles: Any, at_least: int, at_most: int) -> None:
    from toolkit_clock import synthetic

    dials = [synthetic._Dial(STOCKS[styles], PLAIN, 32, 1, np.random.default_rng(seed)) for seed in range(200)]
    assert at_least <= sum(dial.paper.mean() < dial.ink.mean() for dial in dials) <= at_most  # 50 +- 2.5 * sqrt(200 * 0.25 * 0.75)


@pytest.mark.parametrize(("styles", "different"), [("single", 1), ("train", 20)])
def test_all_clocks_of_the_single_style_have_the_same_hands(styles: Any, different: int) -> None:
    from toolkit_clock import synthetic

    def hands(seed: int) -> bytes:
        """Black on white, without the cap over their middle."""
        dial = synthetic._Dial(STOCKS[styles], PLAIN, 96, 1, np.random.default_rng(seed))
        dial.to_pixels = np.array([[45.0, 0, 47.5], [0, 45.0, 47.5], [0, 0, 1]])
        dial.canvas = np.full((96, 96, 1), 255, np.uint8)
        dial.ink = np.zeros(3)
        dial.hands(100)
        dial.canvas[43:53, 43:53] = 255
        return dial.canvas.tobytes()

    assert len({hands(seed) for seed in range(20)}) == different


def _outlines_of_hands(stock: Stock, seed: int) -> list[np.ndarray]:
    """Of perhaps a second hand, the hour hand and the minute hand, in dial units."""
    from toolkit_clock import synthetic

    dial, drawn = synthetic._Dial(stock, PLAIN, 64, 1, np.random.default_rng(seed)), []
    with mock.patch.object(dial, "_fill", lambda polygons, colour: drawn.extend(polygons)):
        dial.hands(100)
    return drawn[:-1]  # without the cap


def _length(polygon: np.ndarray) -> float:
    return float(np.linalg.norm(polygon, axis=1).max())


def test_a_person_can_tell_the_hands_apart() -> None:
    bars = dataclasses.replace(STOCKS["train"], hands=("bar",), tail=(0.0, 0.0))
    clocks = [_outlines_of_hands(bars, seed) for seed in range(60)]
    assert {len(hands) for hands in clocks} == {2, 3}
    for *second, hour, minute in clocks:
        assert 0.49 < _length(hour) / _length(minute) < 0.67
        width = cv2.contourArea(minute.astype(np.float32)) / _length(minute)
        for hand in second:
            assert cv2.contourArea(hand.astype(np.float32)) / _length(hand) < 0.3 * width


@pytest.mark.parametrize("nuisance", ["light", "noise", "clutter"])
def test_each_nuisance_changes_pictures(nuisance: str) -> None:
    none = {"light": 0.0, "noise": 0.0, "clutter": 0.0}
    plain, changed = (SyntheticClocks("train", **strengths, image_size=48) for strengths in (none, none | {nuisance: 1.0}))
    assert sum((plain[i].image != changed[i].image).any() for i in range(20)) > 10


def test_tilted_dials_are_foreshortened() -> None:
    def roundness(tilt_deg: float) -> list[float]:
        data = SyntheticClocks("train", tilt_deg=tilt_deg, image_size=64)
        shapes = [np.linalg.svd(_dial_of(data, index).to_pixels[:2, :2], compute_uv=False) for index in range(20)]
        return [float(short / long) for long, short in shapes]

    assert min(roundness(0)) > 0.999
    assert min(roundness(60)) < 0.7  # cos 60 degrees is 0.5


def test_stretching_keeps_the_hands_of_the_single_style() -> None:
    stock, nuisances = STOCKS["single"], SyntheticClocks("train").nuisances
    for index in range(100):
        shown, other = (draw_clock(time, stock, nuisances, 100, 1, np.random.default_rng(index)) for time in (100, 475))
        levels = _levels(shown)
        brighter = other.astype(int) - shown  # most where there is a hand at 1:40 and none at 7:55
        at_hands = brighter > max(20, 0.5 * brighter.max())
        assert at_hands.sum() > 20, index
        assert (levels[other] - levels[shown])[at_hands].mean() > 20, index


def _levels(picture: np.ndarray) -> np.ndarray:
    """[256] what the picture's own stretch makes of each grey level in it."""
    levels = np.zeros(256, np.int64)
    levels[picture] = StretchDarkStrokes()(image=picture)["image"]
    known = np.unique(picture)
    return np.interp(np.arange(256), known, levels[known])


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^synthetic_clocks has no split 'validation'; it has train, test$"):
        SyntheticClocks("validation")
