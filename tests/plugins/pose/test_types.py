"""Targets under warps and mirrors, encoding and decoding."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from toolkit.data.tree import select
from toolkit.errors import PluginError
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info
from toolkit_pose.task import PoseTask
from toolkit_pose.types import Keypoints, Limb, PoseInfo, PoseOutput

INFO = pose_info(LSP_KEYPOINTS, (3, 50, 100))
TASK = PoseTask(INFO)


def keypoints(points: torch.Tensor, labelled: torch.Tensor | None = None) -> Keypoints:
    known = torch.ones(points.shape[:-1], dtype=torch.bool) if labelled is None else labelled
    return Keypoints(points, known, known, INFO.mirror().expand(points.shape[:-1]))


def test_a_mirrored_sample_swaps_left_and_right_and_others_of_its_batch_do_not() -> None:
    points = torch.arange(56.0).view(2, 14, 2)
    labelled = torch.ones(2, 14, dtype=torch.bool)
    labelled[:, LSP_KEYPOINTS.index("left_wrist")] = False
    moved = keypoints(points, labelled).moved(points + 100, None, torch.tensor([False, True]))
    left, right, neck = (LSP_KEYPOINTS.index(name) for name in ("left_wrist", "right_wrist", "neck"))
    torch.testing.assert_close(moved.points_px[0], points[0] + 100)
    torch.testing.assert_close(moved.points_px[1, right], points[1, left] + 100)
    torch.testing.assert_close(moved.points_px[1, neck], points[1, neck] + 100)
    assert not moved.labelled[0, left]
    assert moved.labelled[0, right]
    assert not moved.labelled[1, right]
    assert moved.labelled[1, left]


def test_every_left_keypoint_of_lsp_is_the_right_one_in_a_mirror() -> None:
    for name, other in zip(LSP_KEYPOINTS, INFO.mirror().tolist(), strict=True):
        swapped = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert LSP_KEYPOINTS[other] == swapped


def test_keypoints_are_encoded_as_shares_of_the_picture_from_its_middle() -> None:
    points = torch.zeros(1, 14, 2)
    points[0, 0] = torch.tensor([49.5, 24.5])  # between the two middle pixels of 100 x 50
    points[0, 1] = torch.tensor([-0.5, 49.5])  # the left edge, the lower edge
    points[0, 2] = torch.tensor([100.0, 10.0])  # beyond the right edge
    encoded = TASK.encode(keypoints(points), (50, 100))
    assert encoded.points[0, :2].tolist() == [[0.0, 0.0], [-0.5, 0.5]]
    assert encoded.labelled[0, :3].tolist() == [True, True, False]


def test_what_lies_outside_is_known_and_what_is_not_labelled_is_neither_known_nor_anywhere() -> None:
    points = torch.full((1, 14, 2), 5.0)
    points[0, 2], points[0, 3] = torch.tensor([110.0, 10.0]), torch.tensor([torch.nan, torch.inf])
    labelled = torch.arange(14)[None] != 3
    encoded = TASK.encode(keypoints(points, labelled), (50, 100))
    assert encoded.known.tolist() == labelled.tolist()
    assert encoded.labelled[0, :4].tolist() == [True, True, False, False]
    assert encoded.points[0, 2].tolist() == pytest.approx([110.5 / 100 - 0.5, 10.5 / 50 - 0.5])
    assert encoded.points[0, 3].tolist() == [0.0, 0.0]


def test_the_chosen_stage_answers_and_of_fewer_stages_the_last() -> None:
    task = PoseTask(INFO)
    stages = torch.tensor([0.0, 0.1, 0.2])[None, :, None, None].expand(1, 3, 14, 2)
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 14, 4)
    output = PoseOutput(stages, boxes, torch.ones(1, 14, dtype=torch.bool))

    def x(answer: PoseOutput) -> float:
        described = task.describe(select(task.readings(task.decode(answer, torch.eye(3)[None]))[""], 0), (50, 100))
        return float(described["keypoints"]["neck"][0])

    assert x(output) == pytest.approx(69.5)  # 0.2 of 100 pixels from the middle, whose coordinate is 49.5
    task.answer_with("stage2")
    assert x(output) == pytest.approx(59.5)
    assert x(replace(output, stages=stages[:, :1], boxes=boxes[:, :1])) == pytest.approx(49.5)


def test_what_is_not_labelled_stays_so_when_encoded() -> None:
    labelled = torch.ones(1, 14, dtype=torch.bool)
    labelled[0, 4] = False
    assert TASK.encode(keypoints(torch.full((1, 14, 2), 5.0), labelled), (50, 100)).labelled.tolist() == labelled.tolist()


def test_decoding_goes_back_through_a_mirrored_and_doubled_picture_and_gives_sides_their_names_back() -> None:
    points = torch.rand(1, 14, 2, generator=torch.Generator().manual_seed(0)) * 40
    to_original = torch.tensor([[[-0.5, 0.0, 49.5], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]]])  # x = (99 - x') / 2
    in_picture = torch.stack([99 - 2 * points[..., 0], 2 * points[..., 1]], dim=-1)
    mirrored = keypoints(points).moved(in_picture, None, torch.tensor([True]))
    output = PoseOutput.of_whole_picture(TASK.encode(mirrored, (50, 100)).points)
    torch.testing.assert_close(TASK.decode(output, to_original).points_px, points, atol=1e-4, rtol=0)


def test_what_was_worked_on_is_told_by_the_names_of_the_unmirrored_picture() -> None:
    counted = torch.zeros(2, 14, dtype=torch.bool)
    counted[:, LSP_KEYPOINTS.index("left_wrist")] = True
    whole = PoseOutput.of_whole_picture(torch.zeros(2, 14, 2))
    mirror = torch.tensor([[-1.0, 0.0, 99.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    prediction = TASK.decode(PoseOutput(whole.stages, whole.boxes, counted), torch.stack([torch.eye(3), mirror]))
    assert [[LSP_KEYPOINTS[k] for k in row.nonzero()[:, 0]] for row in prediction.counted] == [["left_wrist"], ["right_wrist"]]
    assert prediction.up_to(1).counted is prediction.counted


def test_boxes_are_decoded_to_their_corners() -> None:
    boxes = torch.tensor([0.0, 0.0, 0.5, 1.0]).expand(1, 1, 14, 4)
    output = PoseOutput(torch.zeros(1, 1, 14, 2), boxes, torch.ones(1, 14, dtype=torch.bool))
    corners = TASK.decode(output, torch.eye(3)[None]).boxes_px[0, 0, 0].tolist()
    assert corners == [[24.5, -0.5], [74.5, -0.5], [74.5, 49.5], [24.5, 49.5]]


def test_a_cascade_is_read_after_every_stage_and_a_single_stage_once() -> None:
    stages = torch.stack([torch.full((1, 14, 2), 0.1 * n) for n in range(3)], dim=1)
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 14, 4)
    prediction = TASK.decode(PoseOutput(stages, whole, torch.ones(1, 14, dtype=torch.bool)), torch.eye(3)[None])
    readings = TASK.readings(prediction)
    assert list(readings) == ["", "stage1", "stage2", "stage3"]
    assert torch.equal(readings["stage3"].points_px, readings[""].points_px)
    assert readings["stage2"].points_px[0, 0, 0].item() == pytest.approx(59.5)  # (0.1 + 0.5) * 100 - 0.5
    assert list(TASK.readings(prediction.up_to(1))) == [""]


def test_a_network_for_another_skeleton_is_refused() -> None:
    expected = r"the model's output is \[1, 1, 5, 2\]; expected a PoseOutput with stages \[samples, stages, 14, 2\]"
    with pytest.raises(PluginError, match=expected):
        TASK.decode(PoseOutput.of_whole_picture(torch.zeros(1, 5, 2)), torch.eye(3)[None])
    with pytest.raises(PluginError, match="the model's output is Tensor; expected a PoseOutput"):
        TASK.decode(torch.zeros(1, 28), torch.eye(3)[None])  # type: ignore[arg-type]


def test_a_prediction_is_described_by_the_names_of_its_keypoints() -> None:
    prediction = TASK.decode(PoseOutput.of_whole_picture(torch.zeros(1, 14, 2)), torch.eye(3)[None])
    described = TASK.describe(select(prediction, 0), (50, 100))
    assert json.loads(json.dumps(described))["keypoints"]["neck"] == [49.5, 24.5]


def test_a_drawing_shows_the_limbs_in_their_colours_and_enlarges_small_pictures() -> None:
    points = torch.full((14, 2), 5.0)
    points[LSP_KEYPOINTS.index("right_elbow")], points[LSP_KEYPOINTS.index("right_wrist")] = (
        torch.tensor([10.0, 25.0]),
        torch.tensor([90.0, 25.0]),
    )
    black = torch.zeros(3, 50, 100, dtype=torch.uint8)
    prediction = TASK.decode(PoseOutput.of_whole_picture(torch.zeros(1, 14, 2)), torch.eye(3)[None])
    drawn = TASK.draw(black, replace(select(prediction, 0), stages_px=points[None]), None)
    assert drawn.shape == (3, 200, 400)
    assert drawn[:, 102, 202].tolist() == [0xE6, 0x9F, 0x00]  # (25 + 0.5) * 4, (50 + 0.5) * 4: the right lower arm


@pytest.mark.parametrize("keypoint", ["neck", "le/ft"])
def test_names_that_could_not_end_a_score_are_refused(keypoint: str) -> None:
    with pytest.raises(ValueError, match="names must be distinct and without '/'"):
        PoseInfo((3, 8, 8), ("neck", keypoint), (), (Limb("torso", (0,), (1,), "#000000"),), (0, 1))
