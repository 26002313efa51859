"""Backbones, heads and the network that joins them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from tests.plugins.pose.networks import INFO, Tiny, mirrored, people
from toolkit.errors import ConfigError, ResourceError
from toolkit.models.model import Backbone
from toolkit_pose.models import AlexNetForm, HeatmapHead, KeypointHead, PoseNet, Pyramid
from toolkit_pose.skeletons import LSP_KEYPOINTS


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


@pytest.mark.parametrize("head", [HeatmapHead, KeypointHead])
def test_heads_give_deviations_where_likelihood_asks_for_them(head: Any) -> None:
    output = head((8, 4, 4), INFO, likelihood=True)(torch.rand(2, 8, 4, 4))
    assert output.spread.shape == (2, 14, 2)
    assert (output.spread > 0).all()
    assert output.flow is not None
    assert head((8, 4, 4), INFO)(torch.rand(2, 8, 4, 4)).spread is None


def reading_maps(**options: Any) -> HeatmapHead:
    """A head whose heat maps are its features: one channel for each keypoint."""
    head = HeatmapHead((14, 4, 8), INFO, channels=(), **options)
    with torch.no_grad():
        head.maps.weight.copy_(torch.eye(14)[:, :, None, None])
    return head


def test_a_heat_map_is_read_by_its_centre_of_mass() -> None:
    maps = torch.zeros(1, 14, 4, 8)
    maps[0, 0, 1, 6] = 50.0  # all mass in one cell: row 1 of 4, column 6 of 8
    maps[0, 1, 3, 0] = maps[0, 1, 3, 1] = 50.0  # half in each of two cells
    points = reading_maps()(maps).stages[0, 0]
    assert points[0].tolist() == pytest.approx([6.5 / 8 - 0.5, 1.5 / 4 - 0.5])
    assert points[1].tolist() == pytest.approx([1.0 / 8 - 0.5, 3.5 / 4 - 0.5])
    assert points[2].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def two_peaks(left: float, right: float) -> Tensor:
    """[4, 8] shares `left` in row 1, column 0 and `right` in row 1, column 7, nearly nothing elsewhere."""
    logits = torch.full((4, 8), -50.0)
    logits[1, 0], logits[1, 7] = torch.tensor([left, right]).log()
    return logits


def test_the_peak_is_read_in_evaluation_and_the_mean_in_training_while_spread_and_map_stay() -> None:
    maps = two_peaks(0.6, 0.4).expand(1, 14, 4, 8)
    mean, peak = reading_maps(likelihood=True), reading_maps(likelihood=True, reading="peak")
    assert torch.equal(peak.train()(maps).stages, mean.train()(maps).stages)
    expected, found = mean.eval()(maps), peak.eval()(maps)
    torch.testing.assert_close(expected.stages[0, 0, 0], torch.tensor([0.4 * 7 / 8 + 0.5 / 8 - 0.5, 1.5 / 4 - 0.5]))
    torch.testing.assert_close(found.stages[0, 0, 0], torch.tensor([0.5 / 8 - 0.5, 1.5 / 4 - 0.5]))
    assert found.spread[0, 0].tolist() == pytest.approx([(0.6 * 0.4) ** 0.5 * 7 / 8, 0.001], rel=1e-3)  # of two cells seven apart
    assert torch.equal(found.spread, expected.spread)
    assert torch.equal(found.log_shares, expected.log_shares)


class Unchanged(Backbone):
    def forward(self, images: Tensor) -> Tensor:
        return images


def test_with_flip_averaging_the_peak_is_that_of_the_averaged_map() -> None:
    """The picture itself says left, its mirror image right, and both together right: nothing says the middle."""
    wrist, other = LSP_KEYPOINTS.index("left_wrist"), LSP_KEYPOINTS.index("right_wrist")
    pictures = torch.zeros(1, 14, 4, 8)
    pictures[0, wrist], pictures[0, other] = two_peaks(0.6, 0.4), two_peaks(0.1, 0.9)  # the mirror turns this one into the left wrist's
    model = PoseNet(INFO, backbone=Unchanged(), head=reading_maps(reading="peak"), flip_average=True).eval()
    torch.testing.assert_close(model(pictures).stages[0, 0, wrist], torch.tensor([7.5 / 8 - 0.5, 1.5 / 4 - 0.5]))


@pytest.mark.parametrize("head", [
    KeypointHead((8, 8, 8), INFO, hidden=(8,)), HeatmapHead((8, 8, 8), INFO, channels=()),
    HeatmapHead((8, 8, 8), INFO, channels=(), reading="peak"),
])  # fmt: skip
def test_with_flip_averaging_a_mirrored_picture_has_mirrored_keypoints(head: Any) -> None:
    torch.manual_seed(0)
    model = PoseNet(INFO, backbone=Tiny(), head=head, flip_average=True).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()  # maps that are not flat, whose peaks are no matter of rounding
        images, _ = people()
        torch.testing.assert_close(mirrored(model(images.flip(-1))), model(images).stages, atol=1e-5, rtol=0)


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


def test_regressed_coordinates_are_not_rounded_to_bfloat16() -> None:
    head = KeypointHead((8, 4, 4), INFO, hidden=(8,), dropout=0.0).eval()
    torch.nn.init.constant_(head.points.bias, 0.3001)  # bfloat16 knows 0.2988 and 0.3008
    torch.nn.init.zeros_(head.points.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        points = head(torch.rand(2, 8, 4, 4)).stages
    assert points.dtype == torch.float32
    assert (points == torch.tensor(0.3001)).all()
