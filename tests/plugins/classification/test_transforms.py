"""`permute_pixels`: one fixed order for all pictures, the same in both engines, done once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.data.device_transforms.draws import Draws
from toolkit.data.device_transforms.plan import DevicePlan, plan_device
from toolkit.data.sample import Sample
from toolkit.data.transforms import TransformList, is_deterministic
from toolkit_classification.transforms import PermutePixels
from toolkit_classification.types import LabelTarget


def numbered(height: int, width: int, channels: int = 1) -> np.ndarray:
    """A picture whose pixels are numbered row by row, the same number in every channel."""
    return np.repeat(np.arange(height * width, dtype=np.uint8).reshape(height, width, 1), channels, axis=2)


def test_every_pixel_comes_once_and_hardly_any_stays() -> None:
    permuted = PermutePixels()(image=numbered(12, 10))["image"]
    assert permuted.shape == (12, 10, 1)
    assert sorted(permuted.flatten().tolist()) == list(range(120))
    assert (permuted == numbered(12, 10)).sum() < 8  # one in expectation


def test_all_pictures_get_the_same_order_and_another_seed_another_one() -> None:
    first, again, other = PermutePixels(order_seed=3), PermutePixels(order_seed=3), PermutePixels(order_seed=4)
    one = first(image=numbered(8, 8))["image"]
    # what moved pixel k of one picture moves pixel k of every other
    inverted = again(image=255 - numbered(8, 8))["image"]
    np.testing.assert_array_equal(inverted, 255 - one)
    assert (other(image=numbered(8, 8))["image"] != one).any()


def test_the_order_is_the_one_of_numpys_generator() -> None:
    order = np.random.default_rng(5).permutation(6)
    assert PermutePixels(order_seed=5)(image=numbered(2, 3))["image"].flatten().tolist() == order.tolist()


def test_the_channels_of_a_pixel_stay_together() -> None:
    permuted = PermutePixels()(image=numbered(5, 5, channels=3))["image"]
    np.testing.assert_array_equal(permuted[..., 0], permuted[..., 1])
    np.testing.assert_array_equal(permuted[..., 0], permuted[..., 2])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_batched_twin_gives_the_same_bytes(channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 9, channels), dtype=np.uint8)
    plan = plan_device([PermutePixels(order_seed=2)], 6, 9, channels)
    assert isinstance(plan, DevicePlan)
    batch = plan(torch.from_numpy(pictures), LabelTarget(torch.arange(4)), Draws((0,), np.arange(4)))
    for found, picture in zip(batch.images.numpy(), pictures, strict=True):
        np.testing.assert_array_equal(found, PermutePixels(order_seed=2)(image=picture)["image"])
    assert torch.equal(batch.to_new, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))


def test_it_is_done_once_where_it_leads_and_lists_with_other_seeds_are_told_apart() -> None:
    assert is_deterministic(PermutePixels())
    one, same, other = (TransformList([PermutePixels(order_seed=seed)]) for seed in (0, 0, 1))
    assert not one.random
    assert one.leading_key == same.leading_key != other.leading_key
    sample = one.prepare(Sample("a", numbered(4, 4), LabelTarget(torch.tensor(1))))
    np.testing.assert_array_equal(sample.image, PermutePixels()(image=numbered(4, 4))["image"])
    np.testing.assert_array_equal(sample.to_original, np.eye(3))


@pytest.mark.parametrize("seed", [-1, "0", True, 0.5])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=rf"^order_seed should be a whole number of at least 0, got {seed!r}$"):
        PermutePixels(order_seed=seed)
