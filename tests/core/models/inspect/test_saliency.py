"""Saliency and Grad-CAM where the answer is known, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.inspect.saliency import answer_score, feature_maps, saliency, saliency_and_grad_cam


class Corner(nn.Module):
    """Its first logit is ten times the brightness of the left upper quarter, its second is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dense = nn.Linear(2 * 8 * 8, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))  # channel 1 is bright where the picture is dark
            self.conv.bias.copy_(torch.tensor([0.0, 1.0]))  # type: ignore[union-attr]
            self.dense.bias.zero_()
            weight = torch.zeros(2, 2, 8, 8)
            weight[0, 0, :4, :4] = 10.0
            self.dense.weight.copy_(weight.flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.dense(self.relu(self.conv(images)).flatten(1))  # type: ignore[no-any-return]


def test_saliency_marks_exactly_the_pixels_the_answer_rests_on() -> None:
    beside, _ = saliency_and_grad_cam(Corner(), torch.ones(2, 1, 8, 8), "conv")
    expected = torch.zeros(8, 8)
    expected[:4, :4] = 1
    assert torch.equal(beside, expected.expand(2, 8, 8))
    assert torch.equal(saliency(Corner(), torch.ones(2, 1, 8, 8)), beside)


def test_an_answer_without_a_gradient_cannot_be_explained() -> None:
    class Rounded(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.detach().flatten(1)

    with pytest.raises(ConfigError, match=r"^the model's answer has no gradient, so there is nothing to explain it by$"):
        saliency(Rounded(), torch.ones(1, 1, 8, 8))


def test_grad_cam_weights_channels_by_their_mean_gradient() -> None:
    picture = torch.zeros(1, 1, 8, 8)
    picture[0, 0, 2, 3], picture[0, 0, 6, 6] = 1.0, 0.5  # channel 0 speaks for the answer, wherever it is bright; channel 1 does not
    _, cam = saliency_and_grad_cam(Corner(), picture, "conv")
    assert torch.allclose(cam[0], picture[0, 0])


def test_grad_cam_is_enlarged_to_the_picture() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(4, 2))
    pixels, cam = saliency_and_grad_cam(model, torch.rand(3, 1, 8, 8), "1")
    assert pixels.shape == cam.shape == (3, 8, 8)


def test_feature_maps_are_those_before_a_layer_that_works_in_place() -> None:
    model = Corner()
    with torch.no_grad():
        model.conv.weight.neg_()
    assert feature_maps(model, torch.ones(1, 1, 8, 8), "conv").amin() == -1


def test_a_vector_and_an_unused_layer_cannot_be_explained() -> None:
    model = Corner()
    with pytest.raises(ConfigError, match=r"^layer dense gives \[1, 2\]; Grad-CAM needs a map \[pictures, channels, height, width\]$"):
        saliency_and_grad_cam(model, torch.ones(1, 1, 8, 8), "dense")
    with pytest.raises(ConfigError, match=r"^layer dense gives \[1, 2\]; expected a map"):
        feature_maps(model, torch.ones(1, 1, 8, 8), "dense")
    model.spare = nn.Conv2d(1, 1, 1)
    with pytest.raises(ConfigError, match=r"^layer spare gives no tensor"):
        saliency_and_grad_cam(model, torch.ones(1, 1, 8, 8), "spare")


def test_other_answers_are_explained_by_the_size_of_what_they_hold() -> None:
    @dataclass
    class Output:
        boxes: Tensor
        count: Tensor

    assert answer_score(torch.tensor([[1.0, 3.0], [-2.0, -5.0]])).tolist() == [3.0, -2.0]
    assert answer_score(torch.tensor([[[1.0, -3.0]]])).tolist() == [4.0]
    assert answer_score(Output(torch.tensor([[1.0, -3.0]]), torch.tensor([7]))).tolist() == [4.0]
