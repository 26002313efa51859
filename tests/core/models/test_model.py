"""Composed models: from the config to logits, and what the dry pass leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.build import Run, build_run
from toolkit.config import load_config
from toolkit.config.run_config import RuntimeConfig
from toolkit.errors import ConfigError
from toolkit.extension.discovery import load_plugins
from toolkit.models.backbones import WrappedBackbone
from toolkit.models.heads import LinearHead
from toolkit.models.model import Backbone, Composed, count_parameters, output_shape
from toolkit.training.runtime import choose_runtime
from toolkit_classification.types import ClassificationInfo


class SmallBackbone(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.dropout(self.norm(self.conv(images)))
        return features


def test_the_output_shape_is_what_a_batch_gives() -> None:
    assert output_shape(SmallBackbone(), (3, 9, 15)) == (4, 4, 7)


@pytest.mark.parametrize("training", [True, False])
def test_the_dry_pass_leaves_mode_statistics_and_random_numbers_alone(training: bool) -> None:
    backbone = SmallBackbone().train(training)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    output_shape(backbone, (3, 9, 9))
    assert torch.equal(torch.rand(3), expected)
    assert all(module.training is training for module in backbone.modules())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_backbone_that_gives_no_map_is_refused() -> None:
    with pytest.raises(TypeError) as caught:
        output_shape(nn.Flatten(), (3, 4, 4))
    assert str(caught.value) == "a backbone must give [B, C, H, W] features, Flatten gives (1, 48)"


def test_a_wrapped_network_that_gives_vectors_has_maps_of_one_pixel() -> None:
    backbone = WrappedBackbone(nn.Flatten(), repeat_channels=False)
    assert output_shape(backbone, (3, 4, 4)) == (48, 1, 1)


def test_a_composed_model_is_its_head_on_its_backbone() -> None:
    info = ClassificationInfo((3, 9, 9), ("cat", "dog"))
    backbone = SmallBackbone().eval()
    head = LinearHead((4, 4, 4), info)
    images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Composed(info, backbone=backbone, head=head)(images), head(backbone(images)))


def test_parameters_are_counted_without_buffers() -> None:
    backbone = SmallBackbone()
    assert count_parameters(backbone) == 3 * 4 * 9 + 4 + 2 * 4
    backbone.conv.requires_grad_(False)
    assert count_parameters(backbone) == 120


def built(model: Any, **options: Any) -> Run:
    plugins = load_plugins()
    source = {
        "task": "classification",
        "data": {"name": "synthetic_shapes", "size": 20, "image_size": 32},
        "model": model,
        "fit": {"batch_size": 8, "phases": [{"epochs": 1, "optimizer": "sgd"}]},
        "runtime": {"device": "cpu", "precision": "float32"},
    }
    config, _ = load_config(source | options, registry=plugins.registry)
    return build_run(config, plugins, choose_runtime(RuntimeConfig(device="cpu", precision="float32")))


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ({"backbone": {"name": "timm/resnet18"}, "head": "linear"}, (512, 1, 1)),
        ({"backbone": "timm/test_resnet", "head": {"name": "linear", "pool": "max", "dropout": 0.5}}, (96, 1, 1)),
        ({"backbone": {"name": "torchvision/mobilenet_v3_small", "output": "vector"}, "head": {"name": "linear"}}, (1024, 1, 1)),
    ],
)
@pytest.mark.slow
def test_a_model_is_composed_from_the_config(model: Any, features: tuple[int, int, int]) -> None:
    run = built(model)
    assert isinstance(run.model, Composed)
    assert isinstance(run.model.head, LinearHead)
    assert run.model.head.linear.weight.shape == (10, features[0])
    batch = next(run.loaders["train"].epoch(0))
    assert run.model(batch.images).shape == (8, 10)
    assert run.config.model.name == "composed"
    assert run.runtime.channels_last


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights() -> None:
    model = {"backbone": "timm/test_resnet", "head": "linear"}
    first, second, other = built(model), built(model), built(model, seed=1)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
    assert not torch.equal(first.model.get_parameter("head.linear.weight"), other.model.get_parameter("head.linear.weight"))


@pytest.mark.slow
def test_a_phase_may_name_the_halves() -> None:
    phases = [{"train": "head", "epochs": 1, "optimizer": "sgd"}, {"train": ["backbone", "head"], "epochs": 1, "optimizer": "sgd"}]
    model = {"backbone": "timm/test_resnet", "head": "linear"}
    assert built(model, fit={"batch_size": 8, "phases": phases}).config.fit.phases[0].train == "head"
    phases[1]["train"] = "backbon"
    with pytest.raises(ConfigError, match=r"fit.phases.1.train: the model has no part named 'backbon'; did you mean 'backbone'\?"):
        built(model, fit={"batch_size": 8, "phases": phases})
