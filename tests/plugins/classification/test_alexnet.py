"""`alexnet` and `alexnet_cifar`: published parameter counts, shapes layer by layer, options, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit_classification.models import AlexNet, AlexNetCifar
from toolkit_classification.types import ClassificationInfo

TEN = tuple("0123456789")
PHOTOS = ClassificationInfo((3, 32, 32), TEN)
LARGE = ClassificationInfo((3, 224, 224), TEN)
FLOWERS = ClassificationInfo((3, 224, 224), ("daisy", "dandelion", "roses", "sunflowers", "tulips"))
THOUSAND = ClassificationInfo((3, 224, 224), tuple(f"class {n}" for n in range(1000)))


def alexnet(info: ClassificationInfo, **options: Any) -> AlexNet:
    """One without memory: shapes and counts are all that is asked of it."""
    with torch.device("meta"):
        return AlexNet(info, **options)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def shapes(model: nn.Module, side: int) -> list[tuple[int, ...]]:
    """What each convolution, pool and dense layer makes of a picture."""
    found: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: found.append(tuple(output.shape[1:])))
    model.eval()(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    return found


def kinds(model: nn.Module) -> list[str]:
    return [type(module).__name__ for module in model.modules() if not list(module.children())]


def test_alexnet_for_cifar_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert num_parameters(AlexNetCifar(PHOTOS)) == 23_238_474


def test_alexnet_for_cifar_has_these_shapes_layer_by_layer() -> None:
    with torch.device("meta"):
        model = AlexNetCifar(PHOTOS)
    assert shapes(model, 32) == [
        (64, 32, 32), (64, 16, 16), (192, 16, 16), (192, 8, 8), (384, 8, 8), (256, 8, 8), (256, 8, 8), (256, 4, 4),
        (4096,), (1024,), (10,),
    ]  # fmt: skip


def test_alexnet_drops_after_its_two_hidden_dense_layers_only() -> None:
    ends = ["Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    with torch.device("meta"):
        assert kinds(AlexNetCifar(PHOTOS))[-8:] == ends
    assert kinds(alexnet(LARGE))[-8:] == ends
    assert "Dropout" not in kinds(alexnet(LARGE, dropout=0.0))


@pytest.mark.parametrize("first_padding", [2, "same"])
def test_alexnet_has_the_58_322_314_parameters_of_keras_summary(first_padding: Any) -> None:
    assert num_parameters(alexnet(LARGE, first_padding=first_padding)) == 58_322_314


def test_alexnet_with_keras_padding_has_the_shapes_of_its_summary() -> None:
    assert shapes(alexnet(LARGE, first_padding="same"), 224) == [
        (96, 56, 56), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6),
        (4096,), (4096,), (10,),
    ]  # fmt: skip


def test_a_padding_of_2_makes_55_pixels_and_none_54() -> None:
    assert shapes(alexnet(LARGE), 224)[0] == (96, 55, 55)
    assert shapes(alexnet(FLOWERS, first_padding=0), 224) == [
        (96, 54, 54), (96, 26, 26), (256, 26, 26), (256, 12, 12), (384, 12, 12), (384, 12, 12), (256, 12, 12), (256, 5, 5),
        (4096,), (4096,), (5,),
    ]  # fmt: skip


def test_the_two_paths_of_the_paper_have_its_60_965_224_parameters() -> None:
    assert num_parameters(alexnet(THOUSAND)) == 62_378_344
    two = alexnet(THOUSAND, groups=2)
    assert num_parameters(two) == 60_965_224
    assert [module.groups for module in two.modules() if isinstance(module, nn.Conv2d)] == [1, 2, 1, 2, 2]


def test_the_variant_that_over_fits_has_202_839_952_parameters() -> None:
    model = alexnet(LARGE, last_pool=False, extra_dense=1000, spare_outputs=990, dropout=0.0)
    assert num_parameters(model) == 202_839_952
    assert shapes(model, 224)[-5:] == [(256, 13, 13), (4096,), (4096,), (1000,), (1000,)]
    assert kinds(model)[-2:] == ["Linear", "Linear"]  # the extra layer has no activation


def test_normalisation_stands_after_the_first_two_pools() -> None:
    found = [kind for kind in kinds(alexnet(FLOWERS, lrn=True)) if kind in ("Conv2d", "MaxPool2d", "LocalResponseNorm")]
    conv, pool, norm = "Conv2d", "MaxPool2d", "LocalResponseNorm"
    assert found == [conv, pool, norm, conv, pool, norm, conv, conv, conv, pool]
    assert num_parameters(alexnet(FLOWERS, lrn=True)) == num_parameters(alexnet(FLOWERS))


def tensorflow_lrn(images: np.ndarray, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1e-4, beta: float = 0.75) -> np.ndarray:
    """[B, C, H, W]: the formula of tf.nn.local_response_normalization's documentation, channel by channel."""
    result = np.empty_like(images)
    for channel in range(images.shape[1]):
        window = images[:, max(0, channel - depth_radius) : channel + depth_radius + 1]
        result[:, channel] = images[:, channel] / (bias + alpha * (window**2).sum(axis=1)) ** beta
    return result


def test_normalisation_is_tensorflows() -> None:
    norm = next(module for module in alexnet(FLOWERS, lrn=True).modules() if isinstance(module, nn.LocalResponseNorm))
    images = np.random.default_rng(0).normal(0, 50, (2, 32, 3, 3))  # so large that normalisation matters
    expected = tensorflow_lrn(images)
    assert np.abs(expected / images).min() < 0.5
    np.testing.assert_allclose(norm(torch.from_numpy(images)).numpy(), expected, rtol=1e-6)


def test_the_networks_give_one_logit_per_class() -> None:
    torch.manual_seed(0)
    info = ClassificationInfo((1, 63, 70), ("a", "b"))
    logits: Tensor = AlexNet(info, first_padding="same", lrn=True, groups=2)(torch.rand(2, 1, 63, 70))
    assert logits.shape == (2, 2)
    assert logits.isfinite().all()


def test_features_and_classifier_are_all_the_parameters_so_that_phases_can_freeze_them() -> None:
    with torch.device("meta"):
        for model in (AlexNet(LARGE), AlexNetCifar(PHOTOS)):
            assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"features", "classifier"}


def test_alexnet_for_cifar_refuses_pictures_that_its_pools_would_use_up() -> None:
    text = (
        "model alexnet_cifar halves the picture three times and needs at least 8x8 pixels, got 7x32; "
        "enlarge the pictures under transforms, for example {name: Resize, height: 32, width: 32}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        AlexNetCifar(ClassificationInfo((3, 7, 32), TEN))


@pytest.mark.parametrize(("first_padding", "least"), [(0, 67), (2, 63), ("same", 57)])
def test_alexnet_refuses_pictures_that_its_pools_would_use_up(first_padding: Any, least: int) -> None:
    # three pools need 15 pixels (15 -> 7 -> 3 -> 1), for which a stride of 4 needs 11 + 14 * 4 = 67
    shapes(alexnet(ClassificationInfo((3, least, least), TEN), first_padding=first_padding), least)
    text = (
        f"model alexnet strides over the picture and needs at least {least}x{least} pixels, got {least - 1}x224; "
        "enlarge the pictures under transforms, for example {name: Resize, height: 224, width: 224}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        alexnet(ClassificationInfo((3, least - 1, 224), TEN), first_padding=first_padding)


@pytest.mark.parametrize(("model", "name"), [(AlexNet, "alexnet"), (AlexNetCifar, "alexnet_cifar")])
def test_pictures_of_several_sizes_are_refused(model: type[AlexNet | AlexNetCifar], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model {name} needs pictures of one size, but this data set's differ; "):
        model(ClassificationInfo((3, 0, 0), TEN))
