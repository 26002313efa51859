"""Which stage of a cascade is the best so far."""

from __future__ import annotations

import pytest
import torch

from tests.plugins.pose.networks import INFO, people
from toolkit_pose.stage_errors import StageErrors

TORSO = 0.25
"""Of everybody in `people`, as a share of the picture: (0.15, 0.2) from end to end."""


def best(*torsos_off: float, below: int = 14) -> int:
    """The best of stages that find every keypoint so many torso diameters too far right, those from number `below` on in their place."""
    _, encoded = people()
    found = torch.stack([encoded.points] * len(torsos_off), dim=1)
    for stage, off in enumerate(torsos_off):
        found[:, stage, :below, 0] += off * TORSO
    errors = StageErrors(len(torsos_off), 14, 1.0, INFO.torso, torch.device("cpu"))
    errors.update(found, encoded, (32, 32))
    return errors.best()


@pytest.mark.parametrize(("torsos_off", "expected"), [((0.19, 0.21), 0), ((0.21, 0.19), 1), ((0.21, 0.19, 0.0), 1), ((0.21, 5.0), 0)])
def test_the_best_stage_finds_most_within_a_fifth_of_a_torso_and_is_the_first_of_equals(
    torsos_off: tuple[float, ...], expected: int
) -> None:
    assert best(*torsos_off) == expected
    assert best(*torsos_off, below=1) == expected  # one keypoint decides
