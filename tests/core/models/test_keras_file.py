"""Weights made in Keras: dense layers behind flattened maps are reordered wherever they stand, or the file is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.weights import load_pretrained

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # Keras' own

PICTURES = (6, 4, 3)  # the convolutions below leave 4 x 2 positions of 5 channels


@pytest.fixture
def saved(keras: Any, tmp_path: Path) -> Callable[[Any], Path]:
    """Saves a Keras network with random weights."""

    def save(network: Any) -> Path:
        generator = np.random.default_rng(0)
        network.set_weights([generator.uniform(0.1, 1, weight.shape) for weight in network.get_weights()])
        network.save(tmp_path / "made.keras")
        return tmp_path / "made.keras"

    return save


class TwoHeads(nn.Module):
    """A convolution, flattened, and a dense layer for each of two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3)
        self.hour = nn.Linear(40, 3)
        self.minute = nn.Linear(40, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.convolution(images).flatten(1)
        return self.hour(features), self.minute(features)


def one_head(dense_inputs: int = 40) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(dense_inputs, 3))


def answers(keras: Any, network: Any, images: Tensor) -> list[Any]:
    given = network(images.permute(0, 2, 3, 1).numpy(), training=False)
    return [np.asarray(keras.ops.convert_to_numpy(each)) for each in (given if isinstance(given, list) else [given])]


def test_every_dense_layer_on_one_flattened_map_is_reordered(keras: Any, saved: Callable[[Any], Path]) -> None:
    k = keras.layers
    pictures = k.Input(PICTURES)
    features = k.Dropout(0.5)(k.Flatten()(k.Conv2D(5, 3)(pictures)))
    theirs = keras.Model(pictures, [k.Dense(3)(features), k.Dense(2)(k.Activation("linear")(features))])
    ours = TwoHeads().eval()
    load_pretrained(ours, saved(theirs))
    images = torch.rand(2, 3, 6, 4)
    with torch.no_grad():
        for own, expected in zip(ours(images), answers(keras, theirs, images), strict=True):
            np.testing.assert_allclose(own.numpy(), expected, rtol=1e-4)


def test_networks_within_a_network_are_read_in_their_places(keras: Any, saved: Callable[[Any], Path]) -> None:
    """Two convolutions of one shape in the inner network: exchanged, they would load without a word."""
    k = keras.layers
    inner = keras.Sequential([k.Input(PICTURES), k.Conv2D(3, 1), k.Conv2D(3, 1), k.Conv2D(5, 3), k.Flatten()])
    theirs = keras.Sequential([inner, keras.Sequential([k.Input((40,)), k.BatchNormalization(), k.Dense(3)])])
    theirs.build((None, *PICTURES))
    ours = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), *one_head()[:2], nn.BatchNorm1d(40, eps=1e-3), nn.Linear(40, 3)).eval()
    load_pretrained(ours, saved(theirs))
    images = torch.rand(2, 3, 6, 4)
    with torch.no_grad():
        np.testing.assert_allclose(ours(images).numpy(), answers(keras, theirs, images)[0], rtol=1e-4)


def test_a_reshape_that_moves_nothing_is_read(keras: Any, saved: Callable[[Any], Path]) -> None:
    """Grey pictures given as rows of pixels, and pooled channels between vector and map."""
    k = keras.layers
    theirs = keras.Sequential(
        [
            k.Input((24,)),
            k.Reshape((6, 4, 1)),
            k.Conv2D(5, 3),
            k.GlobalAveragePooling2D(),
            k.Reshape((1, 1, 5)),
            k.Reshape((5,)),
            k.Dense(3),
        ]
    )
    ours = nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    load_pretrained(ours, saved(theirs))
    images = torch.rand(2, 1, 6, 4)
    with torch.no_grad():
        expected = keras.ops.convert_to_numpy(theirs(images.flatten(1).numpy()))
        np.testing.assert_allclose(ours(images).numpy(), expected, rtol=1e-4)


def rearranged(keras: Any, how: str) -> Any:
    """A network whose dense layer sees a map in an order of its own."""
    k = keras.layers
    pictures = k.Input(PICTURES)
    features = k.Conv2D(5, 3)(pictures)
    match how:
        case "reshape":
            features = k.Reshape((40,), name="there")(features)
        case "permute":
            features = k.Flatten()(k.Permute((3, 1, 2), name="there")(features))
        case "operation":
            features = keras.ops.reshape(features, (-1, 40))
        case "turned":
            features = k.Flatten()(keras.ops.transpose(features, (0, 2, 1, 3)))
        case "swapped":
            features = k.Flatten()(keras.ops.swapaxes(features, 1, 2))
        case "flipped":
            features = keras.ops.flip(k.Flatten()(features), axis=1)
        case "joined":
            features = k.Concatenate(name="there")([k.Flatten()(features), k.GlobalAveragePooling2D()(features)])
        case "unfolded":
            features = k.Flatten()(k.Reshape((1, 1, 40), name="there")(k.Flatten()(features)))
    return keras.Model(pictures, k.Dense(3)(features))


@pytest.mark.parametrize(
    ("how", "layer"),
    [
        ("reshape", r"'there' \(Reshape\)"),
        ("permute", r"'there' \(Permute\)"),
        ("operation", r"'reshape\w*' \(Reshape\)"),
        ("turned", r"'transpose\w*' \(Transpose\)"),
        ("swapped", r"'swapaxes\w*' \(Swapaxes\)"),
        ("flipped", r"'flip\w*' \(Flip\)"),
        ("joined", r"'there' \(Concatenate\)"),
        ("unfolded", r"'there' \(Reshape\)"),
    ],
)
def test_a_dense_layer_whose_inputs_order_is_not_known_is_refused(keras: Any, saved: Callable[[Any], Path], how: str, layer: str) -> None:
    file = saved(rearranged(keras, how))
    model = one_head(45 if how == "joined" else 40)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = (
        rf"^pretrained: {re.escape(str(file))}: behind layer {layer} the order of values is not known, weights would be mixed up; "
        r"only Flatten before dense layers is understood: in Keras, build the network so, set_weights\(old\.get_weights\(\)\) and save it$"
    )
    with pytest.raises(ConfigError, match=message):
        load_pretrained(model, file)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_channels_first_are_refused(keras: Any, saved: Callable[[Any], Path]) -> None:
    """Whether Flatten then reorders depends on its own data_format."""
    k = keras.layers
    file = saved(keras.Sequential([k.Input((3, 6, 4)), k.Conv2D(5, 3, data_format="channels_first", name="c"), k.Flatten(), k.Dense(3)]))
    message = r"behind layer 'c' \(Conv2D\) the order of values is not known, .*; only data_format channels_last is understood: in Keras, "
    with pytest.raises(ConfigError, match=message):
        load_pretrained(one_head(), file)


def test_a_layer_with_weights_of_another_kind_is_refused(keras: Any, saved: Callable[[Any], Path]) -> None:
    k = keras.layers
    file = saved(keras.Sequential([k.Input(PICTURES), k.DepthwiseConv2D(3, name="deep"), k.Flatten(), k.Dense(3)]))
    message = r"made\.keras: layer 'deep' is a DepthwiseConv2D; expected only Conv2D, Dense, BatchNormalization to have weights$"
    with pytest.raises(ConfigError, match=message):
        load_pretrained(one_head(24), file)
