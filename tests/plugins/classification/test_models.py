"""Shapes, parameter counts, layer order, initial weights and what is refused."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from toolkit.errors import ConfigError
from toolkit_classification.models import AlexNetCifar, Cnn, Mlp
from toolkit_classification.types import ClassificationInfo

TEN = tuple("0123456789")
DIGITS = ClassificationInfo((1, 28, 28), TEN)
PHOTOS = ClassificationInfo((3, 32, 32), TEN)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def layers(model: nn.Module) -> list[str]:
    """Names of the layers in order, with the widths of those that have weights."""
    words = {nn.Conv2d: "conv", nn.Linear: "dense", nn.MaxPool2d: "pool", nn.Dropout: "drop", nn.Flatten: "flatten", nn.ReLU: "relu"}
    words |= {nn.BatchNorm1d: "norm", nn.BatchNorm2d: "norm", nn.Identity: "linear", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
    found = [module for module in model.modules() if type(module) in words]
    return [words[type(m)] + str(getattr(m, "out_channels", getattr(m, "out_features", ""))) for m in found]


def test_the_default_mlp_is_the_one_of_keras() -> None:
    model = Mlp(DIGITS)
    assert layers(model) == ["flatten", "dense512", "relu", "drop", "dense512", "relu", "drop", "dense10"]
    assert num_parameters(model) == 669_706  # Keras' summary of mnist_mlp.py
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_default_cnn_is_the_one_of_keras() -> None:
    model = Cnn(DIGITS)
    assert layers(model) == ["conv32", "relu", "conv64", "relu", "pool", "drop", "flatten", "dense128", "relu", "drop", "dense10"]
    assert num_parameters(model) == 1_199_882  # Keras' summary of mnist_cnn.py
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_alexnet_for_cifar_has_the_published_number_of_parameters() -> None:
    assert num_parameters(AlexNetCifar(PHOTOS)) == 23_238_474


def test_alexnet_for_cifar_has_these_shapes_layer_by_layer() -> None:
    model = AlexNetCifar(PHOTOS).eval()
    shapes: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [
        (64, 32, 32), (64, 16, 16), (192, 16, 16), (192, 8, 8), (384, 8, 8), (256, 8, 8), (256, 8, 8), (256, 4, 4),
        (4096,), (1024,), (10,),
    ]  # fmt: skip


def test_alexnet_drops_after_its_two_hidden_dense_layers_only() -> None:
    assert layers(AlexNetCifar(PHOTOS))[-8:] == ["flatten", "dense4096", "relu", "drop", "dense1024", "relu", "drop", "dense10"]


def test_alexnet_refuses_pictures_that_its_pools_would_use_up() -> None:
    text = (
        "model alexnet_cifar halves the picture three times and needs at least 8x8 pixels, got 7x32; "
        "enlarge the pictures under transforms, for example {name: Resize, height: 32, width: 32}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        AlexNetCifar(ClassificationInfo((3, 7, 32), TEN))


def test_the_selected_cnn_of_a_study_can_be_written_down() -> None:
    model = Cnn(
        DIGITS,
        filters=(64, 64, 64, 32),
        pool=(1, 1, 1, 2),
        batch_norm=("after_activation", "after_activation", "after_activation", "after_pool"),
        dropout=(0.0, 0.1, 0.0, 0.1),
        dense_dropout=0.1,
    )
    assert layers(model) == [
        *("conv64", "relu", "norm"), *("conv64", "relu", "norm", "drop"), *("conv64", "relu", "norm"),
        *("conv32", "relu", "pool", "norm", "drop"), *("flatten", "dense128", "relu", "drop", "dense10"),
    ]  # fmt: skip


def test_the_selected_mlp_of_a_study_can_be_written_down() -> None:
    model = Mlp(DIGITS, hidden=(1024, 524), batch_norm=("after_activation", "none"), dropout=(0.1, 0.0))
    assert layers(model) == ["flatten", "dense1024", "relu", "norm", "drop", "dense524", "relu", "dense10"]


def test_batch_norm_can_stand_before_the_activation() -> None:
    assert layers(Mlp(DIGITS, hidden=(8,), batch_norm="before_activation"))[1:4] == ["dense8", "norm", "relu"]
    assert layers(Cnn(DIGITS, filters=(8,), batch_norm="before_activation"))[:3] == ["conv8", "norm", "relu"]


def test_one_pool_stands_after_the_last_convolution_and_dropout_after_it() -> None:
    assert layers(Cnn(DIGITS, filters=(10,)))[:4] == ["conv10", "relu", "pool", "drop"]
    assert layers(Cnn(DIGITS, filters=(10, 10), pool=(2, 2)))[:8] == ["conv10", "relu", "pool", "drop"] * 2


def test_an_mlp_without_hidden_layers_is_logistic_regression() -> None:
    assert layers(Mlp(DIGITS, hidden=())) == ["flatten", "dense10"]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
def test_every_activation_is_used_throughout(activation: str) -> None:
    for model in (Mlp(DIGITS, activation=activation), Cnn(DIGITS, activation=activation)):  # type: ignore[arg-type]
        assert {word for word in layers(model) if word in ("relu", "tanh", "sigmoid", "linear")} == {activation}


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
def test_same_padding_keeps_the_size_for_every_kernel(kernel_size: int) -> None:
    model = Cnn(DIGITS, filters=(4, 4), kernel_size=kernel_size, padding="same", pool=1)
    assert model.features(torch.zeros(1, 1, 28, 28)).shape == (1, 4, 28, 28)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("initialiser", "deviation"),
    [
        ("glorot_uniform", math.sqrt(2 / (784 + 512))),
        ("glorot_normal", math.sqrt(2 / (784 + 512))),
        ("lecun_uniform", math.sqrt(1 / 784)),
        ("he_normal", math.sqrt(2 / 784)),
        ("normal", 0.05),
    ],
)
def test_initial_weights_have_the_deviation_of_their_name(initialiser: str, deviation: float) -> None:
    torch.manual_seed(0)
    dense = next(m for m in Mlp(DIGITS, initialiser=initialiser).modules() if isinstance(m, nn.Linear))  # type: ignore[arg-type]
    assert dense.weight.std().item() == pytest.approx(deviation, rel=0.01)  # 400,000 weights: a standard error of about 0.1 %
    assert dense.bias.abs().max() == 0
    if initialiser.endswith("_normal"):
        assert dense.weight.abs().max().item() <= 2 * deviation / 0.8796 + 1e-6


def test_fans_of_a_convolution_count_the_pixels_of_its_kernel() -> None:
    torch.manual_seed(0)
    conv = Cnn(DIGITS, filters=(64, 256), initialiser="glorot_uniform").features[2]
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64 + 9 * 256)), rel=0.01)


def test_torch_initial_weights_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    expected = nn.Linear(784, 512)
    torch.manual_seed(0)
    model = Mlp(DIGITS, initialiser="torch")
    assert torch.equal(model.features[1].weight, expected.weight)
    assert torch.equal(model.features[1].bias, expected.bias)


def test_features_and_classifier_are_all_the_parameters_so_that_phases_can_freeze_them() -> None:
    for model in (Mlp(DIGITS), Cnn(DIGITS), AlexNetCifar(PHOTOS)):
        assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"features", "classifier"}


def test_a_list_of_another_length_is_refused() -> None:
    text = "model cnn: pool has 2 entries, but filters has 1; give pool one for each, or a single one for all"
    with pytest.raises(ConfigError, match=f"^{text}$"):
        Cnn(DIGITS, filters=(10,), pool=(1, 2))
    with pytest.raises(ConfigError, match=r"^model cnn: dense_dropout has 1 entry, but dense has 2; give dense_dropout one for each"):
        Cnn(DIGITS, dense=(10, 10), dense_dropout=(0.5,))
    with pytest.raises(ConfigError, match=r"^model mlp: batch_norm has 1 entry, but hidden has 2; give batch_norm one for each"):
        Mlp(DIGITS, batch_norm=("none",))


def test_a_cnn_that_uses_up_the_picture_is_refused() -> None:
    text = (
        "model cnn: nothing is left of a 4x28 picture after convolution 2 of 2; "
        "use larger pictures, padding: same, smaller kernels or fewer pools"
    )
    with pytest.raises(ConfigError, match=f"^{text}$"):
        Cnn(ClassificationInfo((1, 4, 28), TEN))


@pytest.mark.parametrize(("model", "name"), [(Mlp, "mlp"), (Cnn, "cnn"), (AlexNetCifar, "alexnet_cifar")])
def test_pictures_of_several_sizes_are_refused(model: type[Mlp | Cnn | AlexNetCifar], name: str) -> None:
    text = (
        f"model {name} needs pictures of one size, but this data set's differ; "
        "bring them to one under transforms.train and transforms.eval, for example {name: Resize, height: 128, width: 128}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        model(ClassificationInfo((3, 0, 0), TEN))
