"""Losses: values by hand, labelled keypoints alone, units of the box."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.errors import ConfigError
from toolkit_pose.losses import HeatmapCrossEntropy, KeypointL1, KeypointL2, Rle, SmoothL1, Wing
from toolkit_pose.residual_flow import ResidualFlow
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info
from toolkit_pose.types import EncodedKeypoints, PoseOutput

INFO = pose_info(LSP_KEYPOINTS)
LOSSES: list[Any] = [KeypointL2(INFO), KeypointL1(INFO), SmoothL1(INFO), Wing(INFO), Rle(INFO)]


def seen(*errors: tuple[float, float], labelled: tuple[bool, ...] | None = None, box: float = 1.0) -> tuple[PoseOutput, EncodedKeypoints]:
    """One sample with these errors of its keypoints."""
    points = torch.tensor([errors])
    whole = PoseOutput.of_whole_picture(points, torch.full_like(points, 0.5), ResidualFlow())
    boxes = torch.tensor([0.0, 0.0, box, box]).expand(1, 1, len(errors), 4)
    output = PoseOutput(whole.stages, boxes, whole.counted, whole.spread, whole.flow)
    known = torch.tensor([labelled or (True,) * len(errors)])
    return output, EncodedKeypoints(torch.zeros_like(points), known, known)


def value(loss: Any, pair: tuple[PoseOutput, EncodedKeypoints]) -> float:
    (values,) = loss(*pair).values()
    assert values.shape == (1,)
    return float(values.item())


def test_l2_is_the_mean_squared_distance_of_the_labelled_keypoints() -> None:
    pair = seen((0.3, 0.4), (0.0, 0.1), (9.0, 9.0), labelled=(True, True, False))
    assert value(KeypointL2(INFO), pair) == pytest.approx((0.25 + 0.01) / 2)


def test_l1_adds_the_errors_in_x_and_y() -> None:
    assert value(KeypointL1(INFO), seen((0.3, -0.4), (0.0, 0.1))) == pytest.approx((0.7 + 0.1) / 2)


def test_smooth_l1_is_torchs() -> None:
    errors = ((0.3, -0.01), (0.019, 0.021))
    expected = torch.nn.functional.smooth_l1_loss(torch.tensor(errors), torch.zeros(2, 2), beta=0.02, reduction="sum") / 2
    assert value(SmoothL1(INFO, beta=0.02), seen(*errors)) == pytest.approx(float(expected))


def test_wing_is_logarithmic_within_its_width_and_linear_beyond_and_both_meet() -> None:
    wing = Wing(INFO, width=0.1, epsilon=0.02)
    assert value(wing, seen((0.05, 0.0))) == pytest.approx(0.1 * math.log(1 + 0.05 / 0.02))
    assert value(wing, seen((0.5, 0.0))) == pytest.approx(0.5 - (0.1 - 0.1 * math.log(6)))
    assert value(wing, seen((0.1 - 1e-6, 0.0))) == pytest.approx(value(wing, seen((0.1 + 1e-6, 0.0))), abs=1e-5)


def test_rle_with_a_fresh_flow_is_laplace_times_normal() -> None:
    """Written out for errors of 0.3 and -0.4 with deviation 0.5: z = 0.6, -0.8."""
    laplace = [0.5 * math.exp(-0.6), 0.5 * math.exp(-0.8)]
    normal = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (0.6, 0.8)]
    expected = -math.log(math.prod(laplace) * math.prod(normal) / 0.5**2)
    assert value(Rle(INFO), seen((0.3, -0.4))) == pytest.approx(expected, rel=1e-5)


def test_a_trained_flow_is_still_a_density() -> None:
    torch.manual_seed(0)
    flow = ResidualFlow()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    axis = torch.linspace(-12, 12, 241)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    with torch.no_grad():
        assert float(flow.log_density(grid).exp().sum()) * 0.1**2 == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("loss", LOSSES)
def test_unlabelled_keypoints_and_those_not_worked_on_change_no_loss_and_get_no_gradient(loss: Any) -> None:
    output, encoded = seen((0.1, 0.2), (7.0, 7.0), (8.0, 8.0), labelled=(True, False, True))
    stages = output.stages.clone().requires_grad_()
    counted = torch.tensor([[True, True, False]])
    masked = PoseOutput(stages, output.boxes, counted, output.spread, output.flow)
    (values,) = loss(masked, encoded).values()
    assert values.item() == pytest.approx(value(loss, seen((0.1, 0.2))), rel=1e-5)
    torch.autograd.backward(values.sum())
    assert stages.grad is not None
    np.testing.assert_array_equal(stages.grad[0, 0, 1:].numpy(), 0)
    assert (stages.grad[0, 0, 0] != 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_errors_are_measured_in_the_box_that_was_looked_at(loss: Any) -> None:
    assert value(loss, seen((0.02, 0.04), box=0.2)) == pytest.approx(value(loss, seen((0.1, 0.2))), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_without_labelled_keypoints_costs_nothing(loss: Any) -> None:
    assert value(loss, seen((0.5, 0.5), labelled=(False,))) == 0.0


def test_heatmap_is_the_cross_entropy_with_a_normal_distribution_around_the_truth() -> None:
    """By loops: one keypoint, a map of 3 x 5 cells, the truth off the middle of any cell."""
    log_shares = torch.randn(1, 1, 3, 5, generator=torch.Generator().manual_seed(0)).flatten(2).log_softmax(dim=2).view(1, 1, 3, 5)
    truth, deviation = (0.07, -0.21), 0.15
    normal = np.zeros((3, 5))
    for row in range(3):
        for column in range(5):
            x, y = (column + 0.5) / 5 - 0.5 - truth[0], (row + 0.5) / 3 - 0.5 - truth[1]
            normal[row, column] = math.exp(-(x * x + y * y) / (2 * deviation**2))
    expected = -(normal / normal.sum() * log_shares[0, 0].numpy()).sum()
    output, _ = seen((0.17, 0.0))
    encoded = EncodedKeypoints(torch.tensor([[truth]]), torch.tensor([[True]]), torch.tensor([[True]]))
    terms = HeatmapCrossEntropy(INFO, deviation=deviation, l1_weight=2.0)(replace(output, log_shares=log_shares), encoded)
    assert terms["heatmap"].item() == pytest.approx(expected, rel=1e-5)
    assert terms["l1"].item() == pytest.approx(2 * (0.1 + 0.21), rel=1e-5)


def test_heatmap_counts_labelled_keypoints_alone() -> None:
    output, encoded = seen((0.1, 0.1), (0.2, 0.3), labelled=(True, False))
    maps = torch.randn(1, 2, 4, 4).flatten(2).log_softmax(dim=2).view(1, 2, 4, 4).requires_grad_()
    torch.autograd.backward(HeatmapCrossEntropy(INFO)(replace(output, log_shares=maps), encoded)["heatmap"].sum())
    assert maps.grad is not None
    assert (maps.grad[0, 0] != 0).any()
    assert not maps.grad[0, 1].any()


def test_heatmap_asks_for_a_network_with_heat_maps() -> None:
    with pytest.raises(ConfigError, match="loss heatmap needs heat maps of the whole picture; use model pose_net with the head heatmap"):
        HeatmapCrossEntropy(INFO)(*seen((0.1, 0.1)))


def test_rle_asks_for_a_network_with_deviations() -> None:
    output, encoded = seen((0.1, 0.1))
    bare = PoseOutput(output.stages, output.boxes, output.counted)
    with pytest.raises(ConfigError, match="loss rle needs a network that gives deviations; set likelihood: true"):
        Rle(INFO)(bare, encoded)
