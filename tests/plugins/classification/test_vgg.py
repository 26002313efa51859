"""`vgg8`, `vgg16`, `vgg16_bn`: parameter counts, shapes, order of layers, how the initialiser decides over a deep network."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from toolkit.errors import ConfigError
from toolkit_classification.models import vgg8, vgg16, vgg16_bn
from toolkit_classification.types import ClassificationInfo

PHOTOS = ClassificationInfo((3, 32, 32), tuple("0123456789"))


def made(factory: Any, info: ClassificationInfo = PHOTOS, **options: Any) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = factory(info, **options)
    return model


def kinds(model: nn.Module) -> list[str]:
    return [type(module).__name__ for module in model.modules() if not list(module.children())]


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """What each convolution, pool and dense layer makes of a picture."""
    found: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: found.append(tuple(output.shape[1:])))
    model.eval()(torch.zeros(1, 3, 32, 32, device="meta"))
    return found


@pytest.mark.parametrize(("factory", "parameters"), [(vgg8, 13_119_050), (vgg16, 33_638_218), (vgg16_bn, 33_646_666)])
def test_the_networks_have_their_published_number_of_parameters(factory: Any, parameters: int) -> None:
    # vgg16_bn: scale and shift for each of the 64*2 + 128*2 + 256*3 + 512*6 = 4,224 filters more
    assert sum(parameter.numel() for parameter in made(factory).parameters()) == parameters


def test_vgg8_has_these_shapes_layer_by_layer() -> None:
    assert shapes(made(vgg8)) == [
        (64, 32, 32), (64, 32, 32), (64, 16, 16), (128, 16, 16), (128, 16, 16), (128, 8, 8), (256, 8, 8), (256, 8, 8), (256, 4, 4),
        (512, 4, 4), (512, 4, 4), (512, 2, 2), (4096,), (10,),
    ]  # fmt: skip


@pytest.mark.parametrize("factory", [vgg16, vgg16_bn])
def test_vgg16_has_these_shapes_layer_by_layer(factory: Any) -> None:
    assert shapes(made(factory)) == [
        *((64, 32, 32), (64, 32, 32), (64, 16, 16)), *((128, 16, 16), (128, 16, 16), (128, 8, 8)),
        *((256, 8, 8), (256, 8, 8), (256, 8, 8), (256, 4, 4)), *((512, 4, 4), (512, 4, 4), (512, 4, 4), (512, 2, 2)),
        *((512, 2, 2), (512, 2, 2), (512, 2, 2), (512, 1, 1)), (4096,), (4096,), (10,),
    ]  # fmt: skip


def test_batch_norm_stands_between_convolution_and_activation() -> None:
    assert kinds(made(vgg16))[:5] == ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert kinds(made(vgg16_bn))[:7] == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds(made(vgg16_bn)).count("BatchNorm2d") == 13


def test_hidden_dense_layers_are_followed_by_dropout() -> None:
    assert kinds(made(vgg8))[-5:] == ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert kinds(made(vgg16))[-8:] == ["Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert "Dropout" not in kinds(made(vgg16, dropout=0.0))


def test_features_and_classifier_are_all_the_parameters_so_that_phases_can_freeze_them() -> None:
    for factory in (vgg8, vgg16, vgg16_bn):
        assert {name.split(".")[0] for name, _ in made(factory).named_parameters()} == {"features", "classifier"}


@pytest.mark.parametrize(("initialiser", "lowest", "highest"), [("he_normal", 0.05, 1.0), ("torch", 0.0, 1e-5)])
def test_he_weights_carry_the_differences_of_pictures_through_sixteen_layers_and_pytorchs_lose_them(
    initialiser: Any, lowest: float, highest: float
) -> None:
    # PyTorch's weights have variance 1 / (3 fan_in) where ReLU needs 2 / fan_in: the deviation falls by sqrt(6) a layer, 2.45 ** 16 in all
    torch.manual_seed(0)
    model = vgg16(PHOTOS, initialiser=initialiser).eval()
    with torch.no_grad():
        logits = model(torch.randn(4, 3, 32, 32))  # [4, 10]
    assert lowest < logits.std(dim=0).mean().item() < highest


def test_the_names_in_messages_are_those_of_the_models() -> None:
    text = (
        "model vgg16_bn halves the picture 5 times and needs at least 32x32 pixels, got 28x28; "
        "enlarge the pictures under transforms, for example {name: Resize, height: 32, width: 32}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        vgg16_bn(ClassificationInfo((1, 28, 28), ("a", "b")))
    with pytest.raises(ConfigError, match=r"^model vgg8 halves the picture 4 times and needs at least 16x16 pixels, got 15x16; "):
        vgg8(ClassificationInfo((1, 15, 16), ("a", "b")))
    with pytest.raises(ConfigError, match=r"^model vgg16 needs pictures of one size, but this data set's differ; "):
        vgg16(ClassificationInfo((3, 0, 0), ("a", "b")))
