"""Boxes, what is cut out, and how long a torso is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.plugins.pose.networks import HIP, INFO, SHOULDER, people
from toolkit_pose.crops import cut_out, square_boxes, torso_px


def test_a_crop_of_whole_pixels_is_that_part_of_the_picture() -> None:
    images = torch.rand(2, 3, 20, 40, generator=torch.Generator().manual_seed(0))
    # 8 x 8 pixels from (4, 2) of the first picture, from (30, 10) of the second
    middles = torch.tensor([[[8 / 40 - 0.5, 6 / 20 - 0.5]], [[34 / 40 - 0.5, 14 / 20 - 0.5]]])
    boxes = torch.cat([middles, torch.tensor([8 / 40, 8 / 20]).expand(2, 1, 2)], dim=-1)
    crops = cut_out(images, boxes, 8)
    torch.testing.assert_close(crops[0], images[0, :, 2:10, 4:12])
    torch.testing.assert_close(crops[1], images[1, :, 10:18, 30:38])


def test_crops_are_ordered_by_picture_and_then_by_keypoint_and_empty_outside() -> None:
    images = torch.stack([torch.full((1, 8, 8), 1.0), torch.full((1, 8, 8), 2.0)])
    inside, outside = torch.tensor([0.0, 0.0, 0.5, 0.5]), torch.tensor([3.0, 0.0, 0.5, 0.5])
    crops = cut_out(images, torch.stack([torch.stack([inside, outside])] * 2), 4)
    assert crops.amax(dim=(1, 2, 3)).tolist() == [1.0, 0.0, 2.0, 0.0]


def test_boxes_are_square_in_pixels_also_in_oblong_pictures() -> None:
    boxes = square_boxes(torch.zeros(1, 14, 2), torch.tensor([20.0]), (50, 100))
    assert boxes[0, 0].tolist() == pytest.approx([0.0, 0.0, 0.2, 0.4])


def test_the_torso_is_measured_in_pixels_and_estimated_from_the_body_where_it_is_not_labelled() -> None:
    _, encoded = people(1)
    labelled = encoded.labelled.clone()
    assert torso_px(encoded.points, labelled, INFO.torso, (32, 64)).item() == pytest.approx(np.hypot(0.15 * 64, 0.2 * 32), rel=1e-5)
    labelled[0, HIP] = False
    rest = encoded.points[0, labelled[0]].numpy() * (64, 32)
    longer = np.ptp(rest, axis=0).max()
    assert torso_px(encoded.points, labelled, INFO.torso, (32, 64)).item() == pytest.approx(0.4 * longer, rel=1e-5)


def test_a_torso_is_at_least_28_hundredths_of_the_body_long() -> None:
    _, encoded = people(1)
    points, everything = encoded.points.clone(), torch.ones(1, 14, dtype=torch.bool)
    points[0, HIP] = points[0, SHOULDER] + 0.01
    body = np.ptp(points[0].numpy() * (64, 32), axis=0).max()
    assert torso_px(points, everything, INFO.torso, (32, 64)).item() == pytest.approx(0.28 * body, rel=1e-5)
