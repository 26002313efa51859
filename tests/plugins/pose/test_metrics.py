"""PCP, PDJ, PCK and mean error against hand counts and a NumPy loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from toolkit.evaluation.metrics import Undefined
from toolkit_pose.metrics import MeanError, Pck, Pcp, Pdj
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info
from toolkit_pose.types import Keypoints, PosePrediction

INFO = pose_info(LSP_KEYPOINTS)
PLACE = {name: index for index, name in enumerate(LSP_KEYPOINTS)}
PAPER_LIMBS = {
    "right_lower_leg": (0, 1), "right_upper_leg": (1, 2), "left_upper_leg": (3, 4), "left_lower_leg": (4, 5),
    "right_lower_arm": (6, 7), "right_upper_arm": (7, 8), "left_upper_arm": (9, 10), "left_lower_arm": (10, 11),
}  # fmt: skip
Floats = npt.NDArray[np.float64]


def truth(points: Any, labelled: Any = None) -> Keypoints:
    places = torch.as_tensor(points, dtype=torch.float32)
    known = torch.ones(places.shape[:2], dtype=torch.bool) if labelled is None else torch.as_tensor(labelled)
    return Keypoints(places, known, torch.zeros_like(known), INFO.mirror().expand(len(places), -1))


def found(points: Any, counted: Any = None) -> PosePrediction:
    places = torch.as_tensor(points, dtype=torch.float32)[:, None]
    known = torch.ones(len(places), 14, dtype=torch.bool) if counted is None else torch.as_tensor(counted)
    return PosePrediction(places, torch.zeros(*places.shape[:3], 4, 2), known, torch.full((len(places),), places.shape[1] - 1))


def scores(metric: Any, predicted: Any, true: Keypoints) -> dict[str, Any]:
    metric.update(found(predicted), true)
    return dict(metric.compute())


def standing() -> Tensor:
    """One person, limbs 10 px long, torso from (60, 20) to (40, 50): sqrt(20^2 + 30^2) px."""
    points = torch.zeros(14, 2)
    for side, x in (("right", 40.0), ("left", 60.0)):
        for name, y in (("shoulder", 20.0), ("elbow", 30.0), ("wrist", 40.0), ("hip", 50.0), ("knee", 60.0), ("ankle", 70.0)):
            points[PLACE[f"{side}_{name}"]] = torch.tensor([x, y])
    points[PLACE["neck"]], points[PLACE["head_top"]] = torch.tensor([50.0, 18.0]), torch.tensor([50.0, 4.0])
    return points


def random_people(count: int = 40) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Truth, prediction and labels; errors from far too small to far too large for every threshold."""
    rng = np.random.default_rng(3)
    true = rng.uniform(0, 100, (count, 14, 2)).astype(np.float32).astype(np.float64)
    off = rng.normal(0, 1, (count, 14, 2)) * rng.uniform(0, 40, (count, 14, 1))
    return true, (true + off).astype(np.float32).astype(np.float64), rng.random((count, 14)) < 0.8


def pcp_by_loop(true: Floats, predicted: Floats, labelled: Any, relaxed: bool) -> dict[str, float]:
    result = {}
    for limb, (a, b) in PAPER_LIMBS.items():
        right = counted = 0
        for t, p, known in zip(true, predicted, labelled, strict=True):
            if known[a] and known[b]:
                length = np.hypot(*(t[a] - t[b]))
                start, end = np.hypot(*(t[a] - p[a])), np.hypot(*(t[b] - p[b]))
                right += (start + end) / 2 <= length / 2 if relaxed else start <= length / 2 and end <= length / 2
                counted += 1
        result[limb] = right / counted
    return result


@pytest.mark.parametrize("relaxed", [False, True])
def test_pcp_is_what_a_loop_over_people_and_the_papers_eight_limbs_counts(relaxed: bool) -> None:
    true, predicted, labelled = random_people()
    expected = pcp_by_loop(true, predicted, labelled, relaxed)
    name = "pcp_relaxed" if relaxed else "pcp"
    computed = scores(Pcp(INFO), predicted, truth(true, labelled))
    assert {limb: computed[f"{name}/{limb}"] for limb in PAPER_LIMBS} == pytest.approx(expected)
    assert computed[name] == pytest.approx(sum(expected.values()) / 8)
    assert 0.1 < computed[name] < 0.9


def test_a_limb_counts_whose_end_is_exactly_half_its_length_off_and_not_beyond() -> None:
    true = standing()
    for off, right in ((5.0, 1.0), (5.1, 0.0)):
        predicted = true.clone()
        predicted[PLACE["right_wrist"], 0] += off  # the lower arm is 10 px long
        computed = scores(Pcp(INFO), predicted[None], truth(true[None]))
        assert computed["pcp/right_lower_arm"] == right
        assert computed["pcp"] == (7 + right) / 8
        assert computed["pcp_relaxed/right_lower_arm"] == 1.0  # (5.1 + 0) / 2 is below 5


def test_the_torso_reaches_from_the_neck_to_the_middle_of_the_hips_and_does_not_enter_the_mean() -> None:
    true = standing()
    predicted = true.clone()
    predicted[PLACE["right_hip"], 0] += 31.0  # moves the middle of the hips by 15.5 of the torso's 32 px
    computed = scores(Pcp(INFO), predicted[None], truth(true[None]))
    assert computed["pcp/torso"] == 1.0
    predicted[PLACE["right_hip"], 0] += 4.0
    computed = scores(Pcp(INFO), predicted[None], truth(true[None]))
    assert computed["pcp/torso"] == 0.0
    assert computed["pcp"] == 7 / 8  # the right upper leg


def test_limbs_that_are_never_labelled_or_without_length_are_undefined_and_so_is_their_mean() -> None:
    true, labelled = standing(), torch.ones(1, 14, dtype=torch.bool)
    labelled[0, PLACE["left_knee"]] = False
    computed = scores(Pcp(INFO), true[None], truth(true[None], labelled))
    assert computed["pcp/left_upper_leg"] == Undefined("no labelled left_upper_leg")
    assert computed["pcp"] == Undefined("no labelled left_upper_leg, left_lower_leg")
    assert computed["pcp/right_upper_leg"] == 1.0
    true[PLACE["left_wrist"]] = true[PLACE["left_elbow"]]
    assert scores(Pcp(INFO), true[None], truth(true[None]))["pcp/left_lower_arm"] == Undefined("no labelled left_lower_arm")


@pytest.mark.parametrize(("metric", "name"), [(Pdj(INFO, thresholds=(0.2, 0.5)), "pdj"), (Pck(INFO, thresholds=(0.2, 0.5)), "pck")])
def test_pdj_and_pck_by_torso_are_what_a_loop_over_people_and_keypoints_counts(metric: Any, name: str) -> None:
    true, predicted, labelled = random_people()
    computed = scores(metric, predicted, truth(true, labelled))
    for threshold in (0.2, 0.5):
        hits, counted = np.zeros(14), np.zeros(14)
        for t, p, known in zip(true, predicted, labelled, strict=True):
            if known[9] and known[2]:  # left shoulder, right hip
                torso = np.hypot(*(t[9] - t[2]))
                for k in range(14):
                    counted[k] += known[k]
                    hits[k] += known[k] and np.hypot(*(t[k] - p[k])) <= threshold * torso
        assert computed[f"{name}@{threshold:g}"] == pytest.approx(hits.sum() / counted.sum())
        for k, keypoint in enumerate(LSP_KEYPOINTS):
            assert computed[f"{name}@{threshold:g}/{keypoint}"] == pytest.approx(hits[k] / counted[k])


def test_a_keypoint_exactly_at_the_threshold_is_found() -> None:
    true = standing()
    true[PLACE["left_shoulder"]], true[PLACE["right_hip"]] = torch.tensor([60.0, 20.0]), torch.tensor([60.0, 45.0])  # torso: 25 px
    predicted = true.clone()
    predicted[PLACE["head_top"]] += torch.tensor([3.0, 4.0])  # 5 px = 0.2 * 25
    computed = scores(Pdj(INFO, thresholds=(0.2, 0.19)), predicted[None], truth(true[None]))
    assert computed["pdj@0.2/head_top"] == 1.0
    assert computed["pdj@0.19/head_top"] == 0.0
    assert computed["pdj@0.19"] == 13 / 14


def test_people_whose_torso_is_not_labelled_do_not_count_for_pdj() -> None:
    true, labelled = standing(), torch.ones(1, 14, dtype=torch.bool)
    labelled[0, PLACE["right_hip"]] = False
    computed = scores(Pdj(INFO, thresholds=(0.5,)), true[None], truth(true[None], labelled))
    assert computed["pdj@0.5"] == Undefined("no labelled keypoint of a person whose size is known")


def test_pck_by_box_measures_in_the_longer_side_of_the_labelled_keypoints_box() -> None:
    true, labelled = standing(), torch.ones(1, 14, dtype=torch.bool)
    labelled[0, PLACE["head_top"]] = False  # the box is then from y 18 to 70: 52 px
    predicted = true.clone()
    predicted[PLACE["neck"], 0] += 5.1
    predicted[PLACE["left_wrist"], 0] += 5.3
    computed = scores(Pck(INFO, size="box", thresholds=(0.1,)), predicted[None], truth(true[None], labelled))
    assert computed["pck@0.1"] == 12 / 13


def test_the_mean_error_is_over_labelled_keypoints_of_all_people() -> None:
    true = torch.stack([standing(), standing()])
    predicted, labelled = true.clone(), torch.zeros(2, 14, dtype=torch.bool)
    labelled[0, :3] = labelled[1, 0] = True
    predicted[0, 0] += torch.tensor([3.0, 4.0])  # 5 px
    predicted[1, 0, 0] += 7.0
    predicted[1, 5] += 1000.0  # not labelled
    computed = scores(MeanError(INFO), predicted, truth(true, labelled))
    assert computed["mean_error_px"] == pytest.approx(12 / 4)
    assert computed["mean_error_px/right_ankle"] == pytest.approx(6.0)
    assert computed["mean_error_px/neck"] == Undefined("no labelled neck")
    assert not MeanError.higher_is_better


@pytest.mark.parametrize(("metric", "name", "worst"), [
    (Pcp(INFO), "pcp/right_lower_arm", 0.0), (Pdj(INFO, thresholds=(0.2,)), "pdj@0.2/right_wrist", 0.0),
    (Pck(INFO, thresholds=(0.2,)), "pck@0.2/right_wrist", 0.0), (MeanError(INFO), "mean_error_px/right_wrist", 100.0),
])  # fmt: skip
def test_keypoints_that_a_stage_did_not_work_on_are_not_scored(metric: Any, name: str, worst: float) -> None:
    """Of three people one wrist is found, one was not worked on, one is 100 px off."""
    true = standing().expand(3, -1, -1)
    predicted, counted = true.clone(), torch.ones(3, 14, dtype=torch.bool)
    predicted[1:, PLACE["right_wrist"], 0] += 100.0
    counted[1, PLACE["right_wrist"]] = False
    metric.update(found(predicted, counted), truth(true))
    assert metric.compute()[name] == pytest.approx((worst + (0.0 if worst else 1.0)) / 2)
