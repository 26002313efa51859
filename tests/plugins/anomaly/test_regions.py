"""Morphology against scikit-image, regions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.morphology import closing, footprint_rectangle, opening

from toolkit_anomaly.regions import closed, opened, region_list, without_small


@pytest.mark.parametrize("radius", [1, 2])
def test_opening_and_closing_are_scikit_images_away_from_the_edge(radius: int) -> None:
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[:, 10:30, 10:30] = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)) > 0.35
    square = footprint_rectangle((2 * radius + 1, 2 * radius + 1))
    assert np.array_equal(opened(mask, radius)[0].numpy(), opening(mask[0].numpy(), square))
    assert np.array_equal(closed(mask, radius)[0].numpy(), closing(mask[0].numpy(), square))
    assert opened(mask, 0) is mask


def test_a_region_that_touches_the_edge_of_the_picture_survives_opening() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :2, :4] = True
    assert torch.equal(opened(mask, 1), mask)


def test_small_regions_go_and_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask = torch.tensor([[[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 1]]]).bool()
    kept = torch.tensor([[[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 1]]]).bool()
    assert torch.equal(without_small(mask, 2), kept)
    assert not without_small(mask, 3).any()


def test_regions_come_with_area_box_and_mean_score_the_largest_first() -> None:
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[0, 0] = True
    mask[2:4, 3:6] = True
    scores = torch.zeros(6, 8)
    scores[0, 0] = 0.25
    scores[2, 3:6], scores[3, 3:6] = 0.5, 1.0
    assert region_list(mask, scores) == [
        {"area_px": 6, "box": [3, 2, 6, 4], "mean_score": 0.75},
        {"area_px": 1, "box": [0, 0, 1, 1], "mean_score": 0.25},
    ]
    assert region_list(torch.zeros(6, 8, dtype=torch.bool), scores) == []
