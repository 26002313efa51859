"""Drawn people: deterministic, wholly in the picture, with the anatomy they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit_pose.skeletons import LSP_KEYPOINTS
from toolkit_pose.synthetic import SyntheticPeople

PLACE = {name: index for index, name in enumerate(LSP_KEYPOINTS)}


def test_a_picture_depends_on_seed_split_and_index_alone() -> None:
    first, again = SyntheticPeople("train", size=8), SyntheticPeople("train", size=3)
    np.testing.assert_array_equal(first[2].image, again[2].image)
    assert torch.equal(first[2].target.points_px, again[2].target.points_px)
    others = [SyntheticPeople("train", size=3, seed=1)[2], SyntheticPeople("test", size=12)[2], first[3]]
    assert all(not np.array_equal(first[2].image, other.image) for other in others)


def test_the_test_part_has_a_quarter_of_the_size() -> None:
    assert (len(SyntheticPeople("train", size=40)), len(SyntheticPeople("test", size=40))) == (40, 10)


@pytest.mark.parametrize("image_size", [48, 96])
def test_all_keypoints_are_labelled_and_lie_in_the_picture_and_a_few_are_hidden(image_size: int) -> None:
    data = SyntheticPeople("train", size=60, image_size=image_size)
    targets = [sample.target for sample in data]
    points = torch.stack([target.points_px for target in targets])
    assert all(target.labelled.all() for target in targets)
    assert points.min() > 0
    assert points.max() < image_size - 1
    hidden = 1 - torch.stack([target.visible for target in targets]).float().mean()
    assert 0.01 < hidden < 0.3


def test_people_are_seen_from_the_front_with_their_right_shoulder_on_the_left() -> None:
    for sample in SyntheticPeople("train", size=40):
        points = sample.target.points_px
        assert points[PLACE["right_shoulder"], 0] < points[PLACE["left_shoulder"], 0]
        assert points[PLACE["neck"], 1] < points[PLACE["right_hip"], 1]


def test_a_visible_wrist_has_the_colour_of_the_same_persons_other_wrist() -> None:
    """Both hands are bare skin: the keypoint lies on the drawn hand, not beside it."""
    differences = []
    for sample in SyntheticPeople("train", size=60, image_size=128):
        wrists = [PLACE["right_wrist"], PLACE["left_wrist"]]
        if sample.target.visible[wrists].all():
            (x0, y0), (x1, y1) = sample.target.points_px[wrists].round().int().tolist()
            differences.append(np.abs(sample.image[y0, x0].astype(int) - sample.image[y1, x1]).mean())
    assert len(differences) > 20
    assert np.median(differences) < 12
