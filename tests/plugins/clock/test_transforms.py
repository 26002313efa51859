"""`StretchDarkStrokes` on one picture and on batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.data.device_transforms import DevicePlan, Draws, plan_device
from toolkit.data.sample import Sample
from toolkit.data.transforms import TransformList, is_deterministic
from toolkit.errors import ConfigError
from toolkit_clock.transforms import StretchDarkStrokes
from toolkit_clock.types import TimeTarget


def photo(seed: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(rng.uniform(60, 180), rng.uniform(5, 60), (16, 25, channels)), 0, 255).astype(np.uint8)


def test_levels_between_the_two_shares_are_stretched_by_hand() -> None:
    picture = np.array([[[10], [20], [30], [40], [60], [60], [200], [200], [200], [200]]], np.uint8)
    # 10 % of ten values lie up to 10, 50 % up to 60: 20 -> 255 * 10 / 50 = 51, 30 -> 102, 40 -> 153
    stretched = StretchDarkStrokes(dark=0.1, bright=0.5)(image=picture)["image"]
    assert stretched.ravel().tolist() == [0, 51, 102, 153, 255, 255, 255, 255, 255, 255]


@pytest.mark.parametrize("dark", [0.0, 0.02])
def test_the_levels_are_those_of_numpys_percentiles(dark: float) -> None:
    picture = photo(0) // 2 + 40
    low, high = (int(np.percentile(picture, percent, method="inverted_cdf")) for percent in (100 * dark, 90))
    expected = np.clip(np.floor((picture.astype(int) - low) * 255 / (high - low) + 0.5), 0, 255)
    np.testing.assert_array_equal(StretchDarkStrokes(dark=dark)(image=picture)["image"], expected)


def test_hands_on_a_light_dial_before_a_dark_wall_stay_darker_than_the_dial() -> None:
    picture = np.repeat([5, 10, 40, 200], [10, 50, 4, 36]).astype(np.uint8).reshape(10, 10, 1)  # wall, wall, hands, dial
    # the level below which 50 % lie is the wall's: it would turn hands and dial white; that of 90 % is the dial's own
    # 255 * (10 - 5) / 195 = 6.5, 255 * (40 - 5) / 195 = 45.8
    assert np.unique(StretchDarkStrokes()(image=picture)["image"]).tolist() == [0, 7, 46, 255]


@pytest.mark.parametrize(("channels", "dark"), [(1, 0.05), (3, 0.05), (1, 0.0)])
def test_a_batch_comes_out_as_each_picture_by_itself(channels: int, dark: float) -> None:
    transform = StretchDarkStrokes(dark=dark, bright=0.6)
    exact = np.repeat([10, 60, 200], [20, 220, 160]).astype(np.uint8).reshape(16, 25, 1).repeat(channels, 2)
    pictures = [*(photo(seed, channels) for seed in range(4)), np.full_like(exact, 77), exact]
    plan = plan_device([transform], 16, 25, channels)
    assert isinstance(plan, DevicePlan)
    batch = torch.from_numpy(np.stack(pictures))
    targets = TimeTarget(torch.zeros(6, dtype=torch.int64))
    done = plan(batch, targets, Draws((0,), np.arange(6))).images
    np.testing.assert_array_equal(done, np.stack([transform(image=picture)["image"] for picture in pictures]))


def test_an_even_picture_is_left_alone() -> None:
    even = np.full((4, 4, 1), 130, np.uint8)
    np.testing.assert_array_equal(StretchDarkStrokes()(image=even)["image"], even)


def test_it_is_done_once_where_nothing_random_stands_before_it() -> None:
    assert is_deterministic(StretchDarkStrokes())
    assert not is_deterministic(StretchDarkStrokes(p=0.5))
    assert len(TransformList([StretchDarkStrokes()]).leading) == 1
    assert TransformList([StretchDarkStrokes(dark=0.1)]).leading_key != TransformList([StretchDarkStrokes()]).leading_key


def test_mirrored_samples_are_refused_by_name() -> None:
    import albumentations

    from toolkit.errors import DataError

    sample = Sample("train/00007", photo(0), TimeTarget(torch.tensor(9)))
    with pytest.raises(DataError, match=r"^train/00007: a transform mirrors the picture, but a mirrored clock face"):
        TransformList([albumentations.HorizontalFlip(p=1)]).prepare(sample)


def test_a_quarter_turn_keeps_the_time_in_both_engines() -> None:
    import albumentations

    turn = albumentations.RandomRotate90(p=1)
    pictures = np.stack([photo(seed)[:16, :16] for seed in range(8)])
    targets = TimeTarget(torch.arange(8))
    plan = plan_device([turn], 16, 16, 1)
    assert isinstance(plan, DevicePlan)
    batch = plan(torch.from_numpy(pictures), targets, Draws((0,), np.arange(8)))
    assert torch.equal(batch.targets.time_min, targets.time_min)
    quarter_turns = [[np.rot90(picture, turns) for turns in range(4)] for picture in pictures]
    found = [
        next(turns for turns in range(4) if (done == four[turns]).all())
        for done, four in zip(batch.images.numpy(), quarter_turns, strict=True)
    ]
    assert set(found) - {0}, "none was turned"
    sample = TransformList([turn]).prepare(Sample("train/0", pictures[0], TimeTarget(torch.tensor(9))))
    assert sample.target.time_min.item() == 9


@pytest.mark.parametrize(("dark", "bright"), [(0.5, 0.5), (-0.1, 0.5), (0.1, 1.1)])
def test_shares_out_of_order_are_refused(dark: float, bright: float) -> None:
    with pytest.raises(ConfigError, match=rf"^StretchDarkStrokes has dark {dark} and bright {bright}; expected 0 <= dark < bright <= 1$"):
        StretchDarkStrokes(dark=dark, bright=bright)
