"""The cascade: displacements, what is learnt when, and which stage is refined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.plugins.pose.networks import HIP, INFO, SHOULDER, Tiny, mirrored, people
from toolkit.data.sample import Batch
from toolkit.errors import ConfigError
from toolkit_pose.cascade import DeepPose
from toolkit_pose.models import HeatmapHead
from toolkit_pose.skeletons import LSP_KEYPOINTS
from toolkit_pose.stage_errors import StageErrors
from toolkit_pose.types import EncodedKeypoints, Keypoints, PoseOutput

TORSO_PX = np.hypot(0.15 * 32, 0.2 * 32)
"""Of everybody in `people`."""


def cascade(**options: Any) -> DeepPose:
    torch.manual_seed(0)
    return DeepPose(INFO, backbone=Tiny(), **{"stages": 3, "input_size": 16, "hidden": (8,), "dropout": 0.0, **options})


def batches(*given: tuple[Tensor, EncodedKeypoints]) -> Iterator[Batch[Keypoints, EncodedKeypoints]]:
    for images, encoded in given:
        unused: Any = None
        yield Batch(tuple(str(n) for n in range(len(images))), images, unused, encoded, unused, torch.eye(3).expand(len(images), 3, 3))


def learning(model: DeepPose, stage: int) -> DeepPose:
    model.eval()
    model.get_submodule(f"stage{stage}").train()
    return model


def prepared(model: DeepPose, up_to: int) -> DeepPose:
    model.eval()
    with torch.no_grad():
        for stage in range(1, up_to + 1):
            model.prepare_phase(f"stage{stage}", batches(people()))
    return model


def test_evaluation_gives_the_stages_that_were_prepared() -> None:
    images, _ = people()
    model = cascade().eval()
    assert model(images).stages.shape == (4, 1, 14, 2)
    assert prepared(model, 2)(images).stages.shape == (4, 2, 14, 2)
    assert prepared(cascade(), 3)(images).stages.shape == (4, 3, 14, 2)


def test_a_later_stage_says_where_in_its_box_each_keypoint_is() -> None:
    """A stage whose head always answers (0.25, -0.5) for the neck moves it so far within its own box."""
    images, _ = people()
    model = prepared(cascade(stages=2), 2)
    neck = LSP_KEYPOINTS.index("neck")
    head: Any = model.get_submodule("stage2.head")
    with torch.no_grad():
        head.points.weight.zero_()
        head.points.bias.zero_()
        head.points.bias[2 * neck : 2 * neck + 2] = torch.tensor([0.25, -0.5])
        output = model(images)
    moved = output.stages[:, 1] - output.stages[:, 0]
    torch.testing.assert_close(moved[:, neck], torch.tensor([0.25, -0.5]) * output.boxes[:, 1, neck, 2:])
    assert moved[:, :neck].abs().max() == 0
    torch.testing.assert_close(output.boxes[:, 1, :, :2], output.stages[:, 0])


def test_displacements_are_measured_in_torso_diameters_on_those_within_half_a_box_of_the_truth() -> None:
    model = cascade(stages=2).eval()
    first, second = people(15, seed=1), people(25, seed=2)
    with torch.no_grad():
        model.prepare_phase("stage1", batches(first, second))
        model.prepare_phase("stage2", batches(first, second))
        stage: Any = model.get_submodule("stage1")
        looked = [stage(nn.functional.interpolate(images, (16, 16), mode="bilinear")) for images, _ in (first, second)]
    off = torch.cat([output.stages[:, 0] - encoded.points for output, (_, encoded) in zip(looked, (first, second), strict=True)])
    relative = off.numpy() * 32 / TORSO_PX  # [40, 14, 2]
    near = (np.abs(relative) <= 1).all(axis=2)  # half of sigma
    assert 0.05 < (~near).mean() < 0.5
    for keypoint in range(14):
        measured = relative[near[:, keypoint], keypoint]
        np.testing.assert_allclose(model.displacement_mean[1, keypoint].numpy(), measured.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(model.displacement_deviation[1, keypoint].numpy(), measured.std(axis=0), atol=1e-4)


def test_where_no_error_lies_in_its_box_displacements_are_those_of_an_unmeasured_stage() -> None:
    model, (images, encoded) = cascade(stages=2).eval(), people()
    encoded.points[:, :2] = 3.0
    with torch.no_grad():
        model.prepare_phase("stage2", batches((images, encoded)))
    assert model.displacement_mean[1, :2].tolist() == [[0.0, 0.0]] * 2
    assert model.displacement_deviation[1, :2].tolist() == [[0.25, 0.25]] * 2


def test_training_boxes_lie_off_the_truth_as_the_measured_displacements_do() -> None:
    model = learning(prepared(cascade(sigma=4.0), 2), 2)
    model.displacement_mean[1] = torch.tensor([0.3, -0.1])
    model.displacement_deviation[1] = torch.tensor([0.05, 0.2])
    torch.manual_seed(1)
    images, encoded = people(400)
    output = model(images, encoded)
    assert output.stages.shape == (400, 1, 14, 2)
    displaced = (output.boxes[:, 0, :, :2] - encoded.points).numpy() * 32 / TORSO_PX
    np.testing.assert_allclose(displaced.reshape(-1, 2).mean(axis=0), [0.3, -0.1], atol=0.02)
    np.testing.assert_allclose(displaced.reshape(-1, 2).std(axis=0), [0.05, 0.2], atol=0.02)


def test_sizes_are_measured_as_found_over_true_torsos_of_those_whose_torso_is_labelled() -> None:
    model = cascade(stages=2).eval()
    images, encoded = people(40)
    encoded.known[:10, SHOULDER] = False
    stage: Any = model.get_submodule("stage1")
    with torch.no_grad():
        last = [module for module in stage.head.modules() if isinstance(module, nn.Linear)][-1]
        last.weight.mul_(100)  # or all would be found alike
        last.bias[2 * HIP : 2 * HIP + 2] += torch.tensor([0.15, 0.2])  # and as small as they may be
        model.prepare_phase("stage2", batches((images, encoded)))
        found = stage(nn.functional.interpolate(images, (16, 16), mode="bilinear")).stages[10:, 0].numpy() * 32  # pixels
    torso = np.linalg.norm(found[:, SHOULDER] - found[:, HIP], axis=1)
    longer_side = (found.max(axis=1) - found.min(axis=1)).max(axis=1)
    logs = np.log(np.clip(np.maximum(torso, 0.28 * longer_side) / TORSO_PX, 0.5, 2.0))
    assert logs.std() > 0.02
    assert float(model.size_mean[1]) == pytest.approx(logs.mean(), abs=1e-4)
    assert float(model.size_deviation[1]) == pytest.approx(logs.std(), abs=1e-4)


def test_training_boxes_of_a_person_have_one_size_that_is_drawn_as_found_torsos_are() -> None:
    model = learning(prepared(cascade(sigma=4.0), 2), 2)
    model.size_mean[1], model.size_deviation[1] = -0.1, 0.2
    torch.manual_seed(1)
    sizes = model(*people(2000)).boxes[:, 0, :, 2].numpy() * 32 / (4.0 * TORSO_PX)  # [2000, 14]
    assert np.ptp(sizes, axis=1).max() < 1e-6
    quartiles = np.percentile(sizes[:, 0], [25, 50, 75])
    assert quartiles == pytest.approx(np.exp([-0.1 - 0.2 * 0.6745, -0.1, -0.1 + 0.2 * 0.6745]), abs=0.02)
    model.size_deviation[1] = 2.0
    sizes = model(*people(200)).boxes[:, 0, 0, 2].numpy() * 32 / (4.0 * TORSO_PX)
    assert (sizes.min(), sizes.max()) == pytest.approx((0.5, 2.0), abs=1e-5)


def holding(output: PoseOutput, encoded: EncodedKeypoints) -> Tensor:
    """[B, K] bool: which boxes hold their keypoints."""
    boxes = output.boxes[:, 0]
    return ((boxes[..., :2] - encoded.points).abs() <= boxes[..., 2:] / 2).all(dim=-1)


def test_keypoints_that_are_moved_out_of_their_boxes_are_not_learnt() -> None:
    model = learning(prepared(cascade(), 2), 2)
    model.displacement_deviation[1], model.size_mean[1] = 1.0, 0.0
    images, encoded = people(50)
    output = model(images, encoded)
    assert torch.equal(output.counted, holding(output, encoded))
    assert 0.2 < output.counted.float().mean() < 0.8


def test_with_fewer_crops_labelled_keypoints_that_lie_in_their_boxes_are_worked_on() -> None:
    model = learning(prepared(cascade(crops=3), 2), 2)
    model.displacement_deviation[1], model.size_mean[1], model.size_deviation[1] = 0.6, 0.0, 0.0
    images, encoded = people(50)
    labelled = torch.zeros(50, 14, dtype=torch.bool)
    labelled[:, [1, 5, 8, 9]] = True
    output = model(images, EncodedKeypoints(encoded.points, labelled, labelled))
    usable = holding(output, encoded) & labelled
    assert output.counted.sum(dim=1).tolist() == usable.sum(dim=1).clamp(max=3).tolist()
    assert not (output.counted & ~usable).any()
    assert set(usable.sum(dim=1).tolist()) >= {1, 2, 3, 4}


def test_a_stage_sees_no_crop_but_of_keypoints_that_count() -> None:
    """The second person has one usable keypoint, which is therefore looked at three times."""
    model = learning(prepared(cascade(crops=3, sigma=8.0), 2), 2)
    images, encoded = people(2)
    encoded.labelled[0, 3:], encoded.labelled[1, 1:] = False, False
    model.displacement_mean[1], model.displacement_deviation[1], model.size_deviation[1] = 0.0, 0.0, 0.0
    seen: list[Tensor] = []
    model.get_submodule("stage2").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    output = model(images, encoded)
    assert output.counted.sum(dim=1).tolist() == [3, 1]
    (crops,) = seen
    assert crops.shape[0] == 6
    assert torch.equal(crops[3], crops[4])
    assert torch.equal(crops[3], crops[5])
    assert not torch.equal(crops[0], crops[1])


def test_nothing_is_learnt_from_a_person_whose_size_cannot_be_told() -> None:
    model = learning(prepared(cascade(), 2), 2)
    images, encoded = people(2)
    encoded.labelled[0, 1:], encoded.known[0, 1:] = False, False
    model.displacement_deviation[1] = 0.0
    assert model(images, encoded).counted.any(dim=1).tolist() == [False, True]


def test_boxes_are_sized_by_keypoints_outside_the_picture_too() -> None:
    model = learning(prepared(cascade(), 2), 2)
    model.size_mean[1], model.size_deviation[1] = 0.0, 0.0
    images, encoded = people(3)
    encoded.labelled[:, SHOULDER] = False  # a transform moved it out
    sizes = model(images, encoded).boxes[:, 0, 0, 2].numpy() * 32 / (2.0 * TORSO_PX)
    assert sizes == pytest.approx(1.0, abs=1e-5)


def test_a_later_stage_learns_deviations_of_the_keypoints_it_looked_at() -> None:
    model = learning(prepared(cascade(crops=3, likelihood=True), 2), 2)
    output = model(*people(20))
    assert output.spread is not None
    assert output.spread.shape == (20, 14, 2)
    assert (output.spread[~output.counted] == 1).all()
    assert (output.spread[output.counted] < 1).all()
    assert prepared(cascade(likelihood=True), 2)(people()[0]).spread.shape == (4, 14, 2)


def test_errors_and_boxes_are_square_in_pixels_on_an_oblong_canvas() -> None:
    """On 32 x 64 pixels the torso measures 0.15 * 64 by 0.2 * 32; a stage that is 0.1 of the width off errs by 6.4 pixels."""
    torso = np.hypot(0.15 * 64, 0.2 * 32)
    _, encoded = people(5)
    encoded.points.mul_(0.5)  # or the torso would be taken to be longer
    encoded.points[:, HIP] = encoded.points[:, SHOULDER] + torch.tensor([0.15, 0.2])
    found = torch.stack([encoded.points + torch.tensor([0.1, 0.0]), encoded.points + torch.tensor([0.0, 0.1])], dim=1)
    errors = StageErrors(2, 14, 1.0, INFO.torso, torch.device("cpu"))
    errors.update(found, encoded, (32, 64))
    np.testing.assert_allclose(errors.displacements(0)[0], np.tile([6.4 / torso, 0], (14, 1)), atol=1e-6)
    np.testing.assert_allclose(errors.displacements(1)[0], np.tile([0, 3.2 / torso], (14, 1)), atol=1e-6)
    model = learning(prepared(cascade(), 2), 2)
    model.displacement_mean[1], model.displacement_deviation[1] = torch.tensor([0.25, 0.5]), 0.0
    model.size_mean[1], model.size_deviation[1] = 0.0, 0.0
    boxes = model(torch.rand(5, 3, 32, 64), encoded).boxes[:, 0]
    expected = torch.tensor([0.25 * torso / 64, 0.5 * torso / 32, 2 * torso / 64, 2 * torso / 32], dtype=torch.float32)
    off = torch.cat([boxes[..., :2] - encoded.points, boxes[..., 2:]], dim=-1)
    torch.testing.assert_close(off, expected.expand(5, 14, 4))


def test_a_stage_in_training_alone_gets_gradients() -> None:
    model = learning(prepared(cascade(), 3), 3)
    images, encoded = people()
    torch.autograd.backward(model(images, encoded).stages.sum())
    touched = {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched == {"stage3"}


def test_a_new_stage_starts_from_the_convolutions_before_it_and_a_second_phase_keeps_what_it_learnt() -> None:
    model = cascade(stages=2).eval()
    first: Any = model.get_submodule("stage1.backbone.conv")
    second: Any = model.get_submodule("stage2.backbone.conv")
    with torch.no_grad():
        first.weight.fill_(0.5)
        prepared(model, 2)
        assert (second.weight == 0.5).all()
        second.weight.fill_(0.25)
        model.prepare_phase("stage2", batches(people()))
        assert (second.weight == 0.25).all()
    fresh = cascade(stages=2, start_from_previous=False)
    first, second = fresh.get_submodule("stage1.backbone.conv"), fresh.get_submodule("stage2.backbone.conv")
    before = second.weight.clone()
    with torch.no_grad():
        first.weight.fill_(0.5)
    prepared(fresh, 2)
    assert torch.equal(second.weight, before)


def test_a_stage_whose_forerunner_learns_anew_is_put_back_and_keeps_what_it_learnt() -> None:
    model = prepared(cascade(), 3)
    third: Any = model.get_submodule("stage3.backbone.conv")
    with torch.no_grad():
        third.weight.fill_(0.25)
        model.prepare_phase("stage1", batches(people()))
        assert model(people()[0]).stages.shape[1] == 1
        with pytest.raises(ConfigError, match=r"^stage3 refines the stages before it, but stage2 is not trained then"):
            model.prepare_phase("stage3", batches(people()))
        model.prepare_phase("stage2", batches(people()))
        assert model(people()[0]).stages.shape[1] == 2
        model.prepare_phase("stage3", batches(people()))
    assert model(people()[0]).stages.shape[1] == 3
    assert (third.weight == 0.25).all()


@pytest.mark.parametrize(("first", "second", "better"), [(0.0, 5.0, 1), (0.3, -5.0, 2)])
def test_the_third_stage_refines_the_better_of_the_two_before_it(first: float, second: float, better: int) -> None:
    """Boxes around keypoints that are all found in one place are as small as may be, 0.06 of the picture: five of them are 0.3."""
    images, encoded = people()
    model = prepared(cascade(), 2)
    with torch.no_grad():
        for stage, answer in ((1, first), (2, second)):
            head: Any = model.get_submodule(f"stage{stage}.head.points")
            head.weight.zero_()
            head.bias.fill_(answer)
        points = EncodedKeypoints(torch.zeros_like(encoded.points), encoded.labelled, encoded.known)
        points.points[:, HIP] = torch.tensor([0.15, 0.2])  # everything else in the middle
        model.prepare_phase("stage3", batches((images, points)))
        assert model.starts.tolist() == [0, 1, better]
        output = model(images)
        torch.testing.assert_close(output.boxes[:, 2, :, :2], output.stages[:, better - 1])


def test_stages_may_read_heat_maps() -> None:
    images, encoded = people()
    model = prepared(cascade(heatmap=(4,)), 2)
    assert model(images).stages.shape == (4, 2, 14, 2)
    assert isinstance(model.get_submodule("stage2.head"), HeatmapHead)
    assert learning(model, 2)(images, encoded).stages.shape == (4, 1, 14, 2)


def test_stages_may_read_the_peaks_of_heat_maps() -> None:
    """At first maps are nearly flat: their means lie in the middle, their peaks anywhere."""
    images, _ = people()
    means, peaks = (prepared(cascade(heatmap=(4,), reading=reading), 2)(images).stages for reading in ("mean", "peak"))
    assert means.shape == peaks.shape == (4, 2, 14, 2)
    assert means[:, 0].abs().max() < 0.05 < 0.3 < peaks[:, 0].abs().max()


def test_peaks_of_stages_without_heat_maps_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^model.reading: is peak, but the stages have no heat maps; set model.heatmap, or leave it out$"
    ):
        cascade(reading="peak")


def test_what_was_prepared_is_saved_with_the_weights() -> None:
    model, other = prepared(cascade(), 2), cascade().eval()
    other.load_state_dict(model.state_dict())
    images, _ = people()
    assert torch.equal(other(images).stages, model(images).stages)
    assert other(images).stages.shape[1] == 2


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("all", "^a phase of deeppose trains one of stage1, stage2, stage3, not all; write a phase for each"),
        (("stage1", "stage2"), "trains one of stage1, stage2, stage3, not stage1, stage2;"),
        ("stage3", "^stage3 refines the stages before it, but stage2 is not trained then; put a phase for it first"),
    ],
)
def test_phases_that_cannot_train_a_cascade_are_refused(train: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cascade().prepare_phase(train, batches(people()))


def test_one_stage_may_be_trained_as_a_whole() -> None:
    model = cascade(stages=1)
    model.prepare_phase("all", batches(people()))
    images, encoded = people()
    assert model.train()(images, encoded).stages.shape == (4, 1, 14, 2)


def test_with_flip_averaging_a_mirrored_picture_has_mirrored_keypoints_after_every_stage() -> None:
    model, (images, _) = prepared(cascade(flip_average=True), 2), people()
    with torch.no_grad():
        torch.testing.assert_close(mirrored(model(images.flip(-1))), model(images).stages, atol=1e-5, rtol=0)


def test_with_flip_averaging_boxes_are_cut_where_the_stage_before_answered() -> None:
    model, (images, _) = prepared(cascade(flip_average=True, stages=2), 2), people()
    with torch.no_grad():
        output = model(images)
    torch.testing.assert_close(output.boxes[:, 1, :, :2], output.stages[:, 0])
