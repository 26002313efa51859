"""`mlp` and `cnn`: shapes, parameter counts, layer order, initial weights and what is refused."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from toolkit.errors import ConfigError
from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten
from toolkit_classification.models import Cnn, Mlp
from toolkit_classification.types import ClassificationInfo

TEN = tuple("0123456789")
DIGITS = ClassificationInfo((1, 28, 28), TEN)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """What each convolution, pool and dense layer makes of one digit."""
    found: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: found.append(tuple(output.shape[1:])))
    model.eval()(torch.zeros(1, 1, 28, 28))
    return found


def layers(model: nn.Module) -> list[str]:
    """Names of the layers in order, with the widths of those that have weights."""
    words = {nn.Conv2d: "conv", nn.Linear: "dense", nn.MaxPool2d: "pool", Dropout: "drop", Flatten: "flatten", nn.ReLU: "relu"}
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


def test_convolutions_pools_and_dense_layers_have_these_shapes() -> None:
    assert shapes(Mlp(DIGITS)) == [(512,), (512,), (10,)]
    assert shapes(Cnn(DIGITS)) == [(32, 26, 26), (64, 24, 24), (64, 12, 12), (128,), (10,)]  # Keras' summary


@pytest.mark.parametrize("filters", [(10,), (100,), (500,), (10, 10), (100, 100), (500, 500)])
def test_the_model_sizes_of_a_study_can_be_written_down(filters: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = Cnn(DIGITS, filters=filters)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == list(filters)
    side = (28 - 2 * len(filters)) // 2
    first = 10 * filters[0]  # nine weights and a bias
    second = (9 * filters[0] + 1) * filters[0] if len(filters) == 2 else 0
    assert num_parameters(model) == first + second + (filters[0] * side * side + 1) * 128 + 129 * 10


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


def test_the_initialiser_is_drawn_for_every_layer_with_weights() -> None:
    torch.manual_seed(0)
    for model in (Mlp(DIGITS, initialiser="normal"), Cnn(DIGITS, initialiser="normal")):
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                assert module.weight.std().item() == pytest.approx(0.05, rel=0.1)  # 288 weights in the smallest: 4 %
                assert module.bias is not None
                assert module.bias.abs().max() == 0


def test_torch_initial_weights_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    expected = nn.Linear(784, 512)
    torch.manual_seed(0)
    model = Mlp(DIGITS, initialiser="torch")
    assert torch.equal(model.features[1].weight, expected.weight)
    assert torch.equal(model.features[1].bias, expected.bias)


def test_features_and_classifier_are_all_the_parameters_so_that_phases_can_freeze_them() -> None:
    for model in (Mlp(DIGITS), Cnn(DIGITS)):
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


@pytest.mark.parametrize(("model", "name"), [(Mlp, "mlp"), (Cnn, "cnn")])
def test_pictures_of_several_sizes_are_refused(model: type[Mlp | Cnn], name: str) -> None:
    text = (
        f"model {name} needs pictures of one size, but this data set's differ; "
        "bring them to one under transforms.train and transforms.eval, for example {name: Resize, height: 128, width: 128}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        model(ClassificationInfo((3, 0, 0), TEN))
