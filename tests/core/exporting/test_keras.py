"""Keras both ways: equal answers to 1e-4, with maps flattened in either order; and what cannot be carried is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.data.sample import DataInfo
from toolkit.errors import ConfigError
from toolkit.exporting.keras_network import as_keras
from toolkit.models.backbones import build_torchvision
from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten
from toolkit.models.heads import LinearHead
from toolkit.models.keras_order import keras_order
from toolkit.models.model import Composed, Shape, output_shape
from toolkit.models.weights import load_pretrained

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # Keras' own


def network(seed: int = 0, *, classes: int = 5) -> nn.Sequential:
    """Every kind of layer that is carried; the map is flattened while it is 3 x 2 positions of 6 channels."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ZeroPad2d((0, 1, 1, 0)),
        nn.Conv2d(4, 6, (2, 3), stride=(2, 1), bias=False, groups=2),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(1),
        Dropout(0.5),
        Flatten(),
        nn.BatchNorm1d(36),
        nn.Linear(36, 8),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Linear(8, classes),
    )
    for module in model:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return model.eval()


SHAPE = (3, 12, 6)  # not square: rows and columns must not be confused


def answers(keras: Any, network: Any, images: Tensor) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(network(images.permute(0, 2, 3, 1).numpy(), training=False)))


def test_a_network_written_for_keras_answers_the_same_and_comes_back_the_same(keras: Any, tmp_path: Path) -> None:
    source, target = network(0), network(1)
    images = torch.randn(3, *SHAPE)
    as_keras(source, SHAPE).save(tmp_path / "w.keras")
    again = keras.saving.load_model(tmp_path / "w.keras", compile=False)
    with torch.no_grad():
        expected = source(images)
        np.testing.assert_allclose(answers(keras, again, images), expected.numpy(), atol=1e-4)
        told = load_pretrained(target, tmp_path / "w.keras")
        np.testing.assert_allclose(target(images).numpy(), expected.numpy(), atol=1e-4)
    assert told == f"17 of 17 tensors from {tmp_path / 'w.keras'}"
    other = network(2, classes=7)
    assert load_pretrained(other, tmp_path / "w.keras").endswith("; 14 keeps its own weights, since it has 7 outputs and the file 5")


class ThreeOutputs(DataInfo):
    @property
    def num_outputs(self) -> int:
        return 3


def composed(name: str, output: Literal["map", "vector"], shape: Shape, pool: Literal["mean", "max", "none"], *, seed: int) -> nn.Module:
    """torchvision's network with a linear head, its layers of 4096 values narrowed to 12 and 9; drawn so that logits are about 1."""
    with torch.device("meta"):  # torchvision's own initialisation takes seconds
        backbone: Any = build_torchvision(name, shape, output=output)
        if output == "vector":
            first, second = (place for place, module in enumerate(backbone.body.classifier) if isinstance(module, nn.Linear))
            backbone.body.classifier[first] = nn.Linear(backbone.body.classifier[first].in_features, 12)
            backbone.body.classifier[second] = nn.Linear(12, 9)
        info = ThreeOutputs(shape)
        model = Composed(info, backbone=backbone, head=LinearHead(output_shape(backbone, shape), info, pool=pool, dropout=0.5))
    model.to_empty(device="cpu")
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return model.eval()


@pytest.mark.parametrize(
    ("name", "output", "shape", "pool"),
    [
        ("alexnet", "vector", (3, 224, 224), "mean"),  # a map of 6 x 6 is flattened by a function, then comes a dropout
        ("alexnet", "vector", (3, 64, 64), "none"),  # its one position is pooled to 6 x 6
        ("alexnet", "map", (3, 64, 96), "max"),
        ("vgg11", "map", (3, 96, 64), "none"),  # 3 x 2 positions are flattened by the head
    ],
)
def test_torchvisions_networks_with_a_linear_head_go_to_keras_and_back(
    keras: Any, tmp_path: Path, name: str, output: Literal["map", "vector"], shape: Shape, pool: Literal["mean", "max", "none"]
) -> None:
    source, target = (composed(name, output, shape, pool, seed=seed) for seed in (0, 1))
    images = torch.randn(2, *shape)
    as_keras(source, shape).save(tmp_path / "w.keras")
    again = keras.saving.load_model(tmp_path / "w.keras", compile=False)
    with torch.no_grad():
        expected = source(images).numpy()
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(answers(keras, again, images), expected, atol=1e-4)
        load_pretrained(target, tmp_path / "w.keras")
        np.testing.assert_allclose(target(images).numpy(), expected, atol=1e-4)


class Shared(nn.Module):
    """One ReLU called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.second(self.relu(self.first(images)))))


def test_a_module_called_twice_is_two_layers_in_keras(keras: Any) -> None:
    source, images = Shared().eval(), torch.randn(2, *SHAPE)
    written = as_keras(source, SHAPE)
    assert [layer.name for layer in written.layers] == ["images", "first", "relu", "second", "relu_call2"]
    with torch.no_grad():
        np.testing.assert_allclose(answers(keras, written, images).transpose(0, 3, 1, 2), source(images).numpy(), atol=1e-4)


def test_pooling_to_a_size_is_exact_or_refused(keras: Any) -> None:
    images = torch.randn(2, 3, 6, 2)
    for kind in (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d):
        pool = nn.Sequential(kind((2, 6)))  # fewer rows, more columns
        found = answers(keras, as_keras(pool, (3, 6, 2)), images)
        np.testing.assert_allclose(found.transpose(0, 3, 1, 2), pool(images).numpy(), atol=1e-6)
    message = r"layer 0 \(AdaptiveAvgPool2d\) does not follow the layer before it: \[6, 2\] positions cannot be pooled evenly to \[4, 2\]; "
    with pytest.raises(ConfigError, match=message):
        as_keras(nn.Sequential(nn.AdaptiveAvgPool2d((4, 2))), (3, 6, 2))


def test_a_map_averaged_by_a_function_is_refused(keras: Any) -> None:
    class Averaged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout()

        def forward(self, images: Tensor) -> Tensor:
            return cast(Tensor, self.dropout(images.mean(dim=(2, 3))))

    with pytest.raises(
        ConfigError, match=r"layer dropout \(Dropout\) gives \[3\] where Keras' gives \[216\]; only networks of plain layers"
    ):
        as_keras(Averaged(), SHAPE)


def test_weights_made_in_keras_give_its_answers_whatever_its_batch_norms_epsilon(keras: Any, tmp_path: Path) -> None:
    k = keras.layers
    theirs = keras.Sequential(
        [
            k.Input((6, 4, 3)),
            k.Conv2D(5, 3, padding="same", activation="relu"),
            k.BatchNormalization(epsilon=1e-2),
            k.MaxPooling2D(2),
            k.Flatten(),
            k.Dense(7, activation="tanh"),
            k.Dropout(0.5),
            k.Dense(4),
        ]
    )
    generator = np.random.default_rng(0)
    for layer in theirs.layers:
        layer.set_weights([generator.uniform(0.1, 1, weight.shape) for weight in layer.get_weights()])
    theirs.save(tmp_path / "made.keras")
    ours = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(30, 7),
        nn.Tanh(),
        nn.Linear(7, 4),
    ).eval()
    load_pretrained(ours, tmp_path / "made.keras")
    images = torch.rand(2, 3, 6, 4)
    with torch.no_grad():
        np.testing.assert_allclose(ours(images).numpy(), answers(keras, theirs, images), atol=1e-4)


def test_layers_that_differ_are_named(keras: Any, tmp_path: Path) -> None:
    as_keras(network(), SHAPE).save(tmp_path / "w.keras")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(2, 2))
    message = (
        r"w\.keras has 6 layers with weights, the model 2; they differ first at number 2: found 1 \(batch norm\), expected 1 \(dense\)$"
    )
    with pytest.raises(ConfigError, match=message):
        load_pretrained(model, tmp_path / "w.keras")
    narrow = network()
    narrow[0] = nn.Conv2d(3, 4, 5)
    with pytest.raises(ConfigError, match=r"does not fit the model: '0\.weight' is \[4, 3, 3, 3\], expected \[4, 3, 5, 5\]$"):
        load_pretrained(narrow, tmp_path / "w.keras")
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"^pretrained: cannot read .*broken\.keras: "):
        load_pretrained(model, tmp_path / "broken.keras")


def test_a_layer_without_its_like_and_a_network_that_branches_are_refused(keras: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^export --format keras: layer 0 \(LocalResponseNorm\) has no like in Keras; .*use --format onnx$"
    ):
        as_keras(nn.Sequential(nn.LocalResponseNorm(3)), (4, 5, 5))
    with pytest.raises(ConfigError, match=r"layer 0 \(MaxPool2d\) does not follow the layer before it: Keras pools without padding"):
        as_keras(nn.Sequential(nn.MaxPool2d(3, 2, padding=1)), (4, 5, 5))
    with pytest.raises(ConfigError, match=r"layer 0 \(MaxPool2d\) gives \[4, 3, 3\] where Keras' gives \[4, 2, 2\]"):
        as_keras(nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), (4, 5, 5))


def test_a_flattened_map_is_reordered_as_counted_by_hand() -> None:
    torch_order = torch.arange(2 * 2 * 3).reshape(1, 2, 2, 3)  # value = its place when PyTorch flattens
    assert keras_order(2, 2, 3).tolist() == torch_order.permute(0, 2, 3, 1).flatten().tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
