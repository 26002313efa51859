"""The cascade: crops, displacements, what is learnt when, and which stage is refined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from toolkit.data.sample import Batch
from toolkit.errors import ConfigError, ResourceError
from toolkit.models.model import Backbone
from toolkit_pose.cascade import DeepPose
from toolkit_pose.crops import cut_out, square_boxes, torso_px
from toolkit_pose.models import AlexNetForm, HeatmapHead, KeypointHead, PoseNet, Pyramid
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info
from toolkit_pose.types import EncodedKeypoints, Keypoints, PoseOutput

INFO = pose_info(LSP_KEYPOINTS, (3, 32, 32))
SHOULDER, HIP = LSP_KEYPOINTS.index("left_shoulder"), LSP_KEYPOINTS.index("right_hip")


class Tiny(Backbone):
    """Eight channels at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.conv(images)
        return features


def cascade(**options: Any) -> DeepPose:
    torch.manual_seed(0)
    return DeepPose(INFO, backbone=Tiny(), **{"stages": 3, "input_size": 16, "hidden": (8,), "dropout": 0.0, **options})


def people(count: int = 4, seed: int = 0) -> tuple[Tensor, EncodedKeypoints]:
    """Pictures of noise and keypoints, the torso a quarter of the picture long."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 14, 2, generator=generator) * 0.6 - 0.3
    points[:, HIP] = points[:, SHOULDER] + torch.tensor([0.15, 0.2])
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return images, EncodedKeypoints(points, torch.ones(count, 14, dtype=torch.bool))


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


def test_displacements_are_measured_in_torso_diameters_on_the_batches_given() -> None:
    model = cascade(stages=2).eval()
    first, second = people(3, seed=1), people(5, seed=2)
    with torch.no_grad():
        model.prepare_phase("stage1", batches(first, second))
        model.prepare_phase("stage2", batches(first, second))
        stage: Any = model.get_submodule("stage1")
        looked = [stage(nn.functional.interpolate(images, (16, 16), mode="bilinear")) for images, _ in (first, second)]
    off = torch.cat([output.stages[:, 0] - encoded.points for output, (_, encoded) in zip(looked, (first, second), strict=True)])
    relative = off.numpy() * 32 / np.hypot(0.15 * 32, 0.2 * 32)
    np.testing.assert_allclose(model.displacement_mean[1].numpy(), relative.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(model.displacement_deviation[1].numpy(), relative.std(axis=0), atol=1e-4)


def test_training_boxes_lie_off_the_truth_as_the_measured_displacements_do() -> None:
    model = learning(prepared(cascade(sigma=4.0), 2), 2)
    model.displacement_mean[1] = torch.tensor([0.3, -0.1])
    model.displacement_deviation[1] = torch.tensor([0.05, 0.2])
    torch.manual_seed(1)
    images, encoded = people(400)
    output = model(images, encoded)
    assert output.stages.shape == (400, 1, 14, 2)
    torso = np.hypot(0.15 * 32, 0.2 * 32)
    displaced = (output.boxes[:, 0, :, :2] - encoded.points).numpy() * 32 / torso
    np.testing.assert_allclose(displaced.reshape(-1, 2).mean(axis=0), [0.3, -0.1], atol=0.02)
    np.testing.assert_allclose(displaced.reshape(-1, 2).std(axis=0), [0.05, 0.2], atol=0.02)
    assert output.boxes[0, 0, 0, 2].item() * 32 == pytest.approx(4.0 * torso, rel=1e-4)


def test_a_displaced_box_still_holds_its_keypoint() -> None:
    model = learning(prepared(cascade(), 2), 2)
    model.displacement_deviation[1] = 10.0
    images, encoded = people()
    boxes = model(images, encoded).boxes[:, 0]
    assert ((boxes[..., :2] - encoded.points).abs() <= boxes[..., 2:] / 2 + 1e-6).all()


def test_with_fewer_crops_only_labelled_keypoints_are_worked_on() -> None:
    model = learning(prepared(cascade(crops=3), 2), 2)
    images, encoded = people()
    labelled = torch.zeros(4, 14, dtype=torch.bool)
    labelled[:, [1, 5, 8, 9]] = True
    output = model(images, EncodedKeypoints(encoded.points, labelled))
    assert output.counted.sum(dim=1).tolist() == [3, 3, 3, 3]
    assert not (output.counted & ~labelled).any()


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


def test_the_third_stage_refines_the_better_of_the_two_before_it() -> None:
    images, encoded = people()
    model = prepared(cascade(), 2)
    bad: Any = model.get_submodule("stage2.head.points")
    good: Any = model.get_submodule("stage1.head.points")
    with torch.no_grad():
        good.weight.zero_()
        bad.weight.zero_()
        bad.bias.fill_(5.0)  # stage 2 throws every keypoint out of its box
        points = EncodedKeypoints(torch.zeros_like(encoded.points), encoded.labelled)
        points.points[:, HIP] = torch.tensor([0.15, 0.2])  # everything else where stage 1 says: in the middle
        model.prepare_phase("stage3", batches((images, points)))
        assert model.starts.tolist() == [0, 1, 1]
        output = model(images)
        torch.testing.assert_close(output.boxes[:, 2, :, :2], output.stages[:, 0])


def test_stages_may_read_heat_maps() -> None:
    images, encoded = people()
    model = prepared(cascade(heatmap=(4,)), 2)
    assert model(images).stages.shape == (4, 2, 14, 2)
    assert isinstance(model.get_submodule("stage2.head"), HeatmapHead)
    assert learning(model, 2)(images, encoded).stages.shape == (4, 1, 14, 2)


def test_what_was_prepared_is_saved_with_the_weights() -> None:
    model, other = prepared(cascade(), 2), cascade().eval()
    other.load_state_dict(model.state_dict())
    images, _ = people()
    assert torch.equal(other(images).stages, model(images).stages)
    assert other(images).stages.shape[1] == 2


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "all",
            "model deeppose trains its 3 stages one after the other, but a phase trains all; write one phase for each of stage1, ",
        ),
        (("stage1", "stage2"), "but a phase trains stage1, stage2; write one phase for each"),
        ("stage3", "stage3 is trained before stage2, which it refines; put that phase before it"),
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


def mirrored(output: PoseOutput) -> Tensor:
    return output.stages[:, :, INFO.mirror()] * torch.tensor([-1.0, 1.0])


@pytest.mark.parametrize("make", [
    lambda: prepared(cascade(flip_average=True), 2),
    lambda: PoseNet(INFO, backbone=Tiny(), head=KeypointHead((8, 8, 8), INFO, hidden=(8,)), flip_average=True).eval(),
])  # fmt: skip
def test_with_flip_averaging_a_mirrored_picture_has_mirrored_keypoints(make: Any) -> None:
    torch.manual_seed(0)
    model, (images, _) = make(), people()
    with torch.no_grad():
        torch.testing.assert_close(mirrored(model(images.flip(-1))), model(images).stages, atol=1e-5, rtol=0)


def test_with_flip_averaging_boxes_are_cut_where_the_stage_before_answered() -> None:
    model, (images, _) = prepared(cascade(flip_average=True, stages=2), 2), people()
    with torch.no_grad():
        output = model(images)
    torch.testing.assert_close(output.boxes[:, 1, :, :2], output.stages[:, 0])


def test_with_flip_averaging_the_averaged_heat_map_reads_as_the_averaged_answer() -> None:
    torch.manual_seed(0)
    model = PoseNet(INFO, backbone=Tiny(), head=HeatmapHead((8, 8, 8), INFO, channels=()), flip_average=True).eval()
    with torch.no_grad():
        output = model(people()[0])
    shares = output.log_shares.exp()
    assert shares.sum(dim=(2, 3)).numpy() == pytest.approx(1.0, abs=1e-5)
    x = (shares.sum(dim=2) * ((torch.arange(8) + 0.5) / 8 - 0.5)).sum(dim=2)
    torch.testing.assert_close(x, output.stages[:, 0, :, 0])


def test_flip_averaging_waits_for_evaluation_where_only_a_part_is_trained() -> None:
    model = PoseNet(INFO, backbone=Tiny(), head=KeypointHead((8, 8, 8), INFO, hidden=(8,), dropout=0.0), flip_average=True).eval()
    single = PoseNet(INFO, backbone=model.backbone, head=model.head).eval()
    model.head.train()
    with torch.no_grad():
        images = people()[0]
        torch.testing.assert_close(model(images).stages[:, 0, 0], single(images).stages[:, 0, 0])


def test_a_pyramid_joins_the_maps_of_a_network_at_a_quarter_of_the_picture() -> None:
    network = Pyramid((3, 64, 96), network="resnet10t", channels=16)
    features = network(torch.rand(2, 3, 64, 96))
    assert features.shape == (2, 16, 16, 24)
    torch.autograd.backward(features.sum())
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_a_pyramid_reads_the_weights_of_the_whole_network_from_a_file(tmp_path: Path) -> None:
    whole = timm.create_model("resnet10t")
    safetensors.torch.save_file(whole.state_dict(), tmp_path / "resnet10t.safetensors")
    network = Pyramid((3, 64, 64), network="resnet10t", pretrained=str(tmp_path / "resnet10t.safetensors"))
    torch.testing.assert_close(network.body.state_dict()["layer1.0.conv1.weight"], whole.state_dict()["layer1.0.conv1.weight"])


def test_weights_that_cannot_be_fetched_are_told_with_the_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(ResourceError, match=r"pretrained weights of timm/resnet18 could not be fetched \(OSError: no route to host\)"):
        Pyramid((3, 64, 64), pretrained=True)


@pytest.mark.parametrize(("network", "message"), [
    ("resnet1o", r"timm gives no feature maps of 'resnet1o': Unknown model \(resnet1o\)"),
    ("vit_tiny_patch16_224", r"'vit_tiny_patch16_224' has maps at strides \[16, .*16\]; expected maps \[B, C, H, W\] at \[32, 16, 8, 4\]"),
    ("swin_s3_tiny_224", r"expected maps \[B, C, H, W\] at \[32, 16, 8, 4\] among them"),
])  # fmt: skip
def test_a_network_without_the_pyramids_maps_is_refused(network: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pyramid((3, 224, 224), network=network)


def test_a_heat_map_is_read_by_its_centre_of_mass() -> None:
    head = HeatmapHead((14, 4, 8), INFO, channels=())
    maps = torch.zeros(1, 14, 4, 8)
    maps[0, 0, 1, 6] = 50.0  # all mass in one cell: row 1 of 4, column 6 of 8
    maps[0, 1, 3, 0] = maps[0, 1, 3, 1] = 50.0  # half in each of two cells
    with torch.no_grad():
        head.maps.weight.copy_(torch.eye(14)[:, :, None, None])
        points = head(maps).stages[0, 0]
    assert points[0].tolist() == pytest.approx([6.5 / 8 - 0.5, 1.5 / 4 - 0.5])
    assert points[1].tolist() == pytest.approx([1.0 / 8 - 0.5, 3.5 / 4 - 0.5])
    assert points[2].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("head", [HeatmapHead, KeypointHead])
def test_heads_give_deviations_where_likelihood_asks_for_them(head: Any) -> None:
    output = head((8, 4, 4), INFO, likelihood=True)(torch.rand(2, 8, 4, 4))
    assert output.spread.shape == (2, 14, 2)
    assert (output.spread > 0).all()
    assert output.flow is not None
    assert head((8, 4, 4), INFO)(torch.rand(2, 8, 4, 4)).spread is None


def test_the_papers_network_has_the_papers_sizes() -> None:
    """55, 27, 13 and 6 pixels after the convolution and the three pools; Krizhevsky et al.'s numbers of weights in one column."""
    network = AlexNetForm((3, 220, 220))
    sizes = []
    features = torch.zeros(1, 3, 220, 220)
    for layer in network.features:
        features = layer(features)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            sizes.append(tuple(features.shape[1:]))
    assert sizes == [(96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6)]
