"""Initial weights by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

Initialiser = Literal["torch", "glorot_uniform", "glorot_normal", "lecun_uniform", "he_normal", "he_uniform", "normal"]
"""The option's type; a model hands it on to `initialise`."""

_KERAS_NORMAL_DEVIATION = 0.05


def initialise(model: nn.Module, initialiser: Initialiser) -> None:
    """Draw the weights of every dense layer and convolution within `model` anew; their biases become 0.

    `torch` changes nothing: PyTorch's own weights are uniform with deviation sqrt(1 / (3 fan_in)), too small for ReLU by a factor of
    sqrt(6) a layer, which a deep network without normalisation does not survive. The others are Keras' by name: glorot (Glorot & Bengio,
    AISTATS 2010) has variance 2 / (fan_in + fan_out), lecun (LeCun et al., Efficient BackProp, 1998) 1 / fan_in, he (He et al., ICCV 2015)
    2 / fan_in; glorot_normal and he_normal are cut at two deviations; normal has deviation 0.05.
    """
    if initialiser == "torch":
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _DRAW[initialiser](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _fans(weight: Tensor) -> tuple[int, int]:
    """Of a weight [out, in, ...]: numbers that an output is made from, and outputs that a number goes into."""
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def _uniform(weight: Tensor, variance: float) -> None:
    bound = math.sqrt(3 * variance)
    nn.init.uniform_(weight, -bound, bound)


def _cut_normal(weight: Tensor, variance: float) -> None:
    """A normal distribution cut at two of its deviations and widened so that `variance` is what remains, as Keras draws it."""
    wide = math.sqrt(variance) / 0.87962566
    nn.init.trunc_normal_(weight, std=wide, a=-2 * wide, b=2 * wide)


_DRAW: dict[str, Callable[[Tensor], object]] = {
    "glorot_uniform": lambda weight: _uniform(weight, 2 / sum(_fans(weight))),
    "glorot_normal": lambda weight: _cut_normal(weight, 2 / sum(_fans(weight))),
    "lecun_uniform": lambda weight: _uniform(weight, 1 / _fans(weight)[0]),
    "he_normal": lambda weight: _cut_normal(weight, 2 / _fans(weight)[0]),
    "he_uniform": lambda weight: _uniform(weight, 2 / _fans(weight)[0]),
    "normal": lambda weight: nn.init.normal_(weight, std=_KERAS_NORMAL_DEVIATION),
}
