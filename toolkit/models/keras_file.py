"""Weights of a Keras 3 file (.keras) laid out as PyTorch's.

Keras keeps convolution kernels as [h, w, in, out] and dense ones as [in, out], and flattens maps position by position, where
PyTorch flattens them channel by channel: a dense layer behind a flattened map needs its inputs reordered, not only transposed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.optional import quiet, require

Order = npt.NDArray[np.int64]
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_KINDS = {"Conv2D": "convolution", "Dense": "dense", "BatchNormalization": "batch norm"}


@dataclass(frozen=True)
class KerasLayer:
    """A layer with weights as the file has it.

    weights: by Keras' own names (kernel, bias, gamma, beta, moving_mean, moving_variance).
    order: where a flattened map comes in, the place of each of its values in PyTorch's order.
    epsilon: of a batch norm.
    """

    name: str
    kind: str
    weights: Mapping[str, npt.NDArray[np.float32]]
    order: Order | None = None
    epsilon: float = 0.0


def keras_order(channels: int, height: int, width: int) -> Order:
    """For each place of a map flattened by Keras, its place in the same map flattened by PyTorch.

    >>> keras_order(2, 1, 3).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    return np.arange(channels * height * width).reshape(channels, height, width).transpose(1, 2, 0).ravel()


def keras_state(file: Path, model: nn.Module) -> dict[str, Tensor]:
    """The file's weights under the names of `model`'s state dict, its layers taken in the order in which they were made.

    What differs in shape is left to the caller; counters that Keras does not have keep the model's values.
    A batch norm's own epsilon stays: the file's other one is added to the variances, which comes to the same.

    Raises: ConfigError if the file cannot be read or its layers are others than the model's, naming the first that differ.
    """
    theirs = list(_read_layers(file))
    ours = [(name, module) for name, module in model.named_modules() if _kind(module)]
    for place, (layer, own) in enumerate(itertools.zip_longest(theirs, ours), start=1):
        found, expected = layer and layer.kind, own and _kind(own[1])
        if found != expected:
            raise ConfigError(
                f"{file} has {len(theirs)} layers with weights, the model {len(ours)}; they differ first at number {place}: "
                f"found {f'{layer.name} ({found})' if layer else 'no more'}, expected {f'{own[0]} ({expected})' if own else 'no more'}",
                path="pretrained",
            )
    state = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    for layer, (name, module) in zip(theirs, ours, strict=True):
        state |= {f"{name}.{key}": torch.from_numpy(np.ascontiguousarray(v)) for key, v in _as_torch(layer, module).items()}
    return state


def _read_layers(file: Path) -> Iterator[KerasLayer]:
    keras = require("keras", extra="keras", purpose=f"reading {file}")
    try:
        with quiet():
            network = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers' constructors do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"cannot read {file}: {reason}", path="pretrained") from error
    order: Order | None = None
    for layer in network._flatten_layers(include_self=False):
        kind = type(layer).__name__
        if kind == "Flatten":
            order = _flattened(layer)
        if not layer.weights or any(True for _ in layer._flatten_layers(include_self=False)):
            continue
        if kind not in _KINDS:
            raise ConfigError(
                f"{file}: layer '{layer.name}' is a {kind}; expected only {', '.join(_KINDS)} to have weights", path="pretrained"
            )
        weights = {weight.name: np.asarray(keras.ops.convert_to_numpy(weight)) for weight in layer.weights}
        yield KerasLayer(layer.name, _KINDS[kind], weights, order, float(getattr(layer, "epsilon", 0.0)))
        if kind == "Dense":
            order = None


def _flattened(layer: Any) -> Order | None:
    """The order behind a Flatten of a channels-last map; None where both flatten alike."""
    shape = tuple(layer.input.shape[1:])
    if len(shape) != 3 or getattr(layer, "data_format", "channels_last") == "channels_first":
        return None
    height, width, channels = shape
    return keras_order(channels, height, width)


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, nn.Conv2d):
        return "convolution"
    if isinstance(module, nn.Linear):
        return "dense"
    return "batch norm" if isinstance(module, _BATCH_NORMS) and module.state_dict() else None


def _as_torch(layer: KerasLayer, module: nn.Module) -> dict[str, npt.NDArray[np.float32]]:
    """The layer's arrays by PyTorch's names."""
    weights = layer.weights
    if layer.kind == "batch norm":
        assert isinstance(module, _BATCH_NORMS)
        there = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        made = {ours: _reordered(weights[theirs], layer.order) for ours, theirs in there.items() if theirs in weights}
        variance = made["running_var"] + np.float32(layer.epsilon - module.eps)
        return made | {"running_var": variance}
    bias = {"bias": weights["bias"]} if "bias" in weights else {}
    if layer.kind == "convolution":
        return {"weight": weights["kernel"].transpose(3, 2, 0, 1), **bias}
    return {"weight": _reordered(weights["kernel"], layer.order).T, **bias}


def _reordered(values: npt.NDArray[np.float32], order: Order | None) -> npt.NDArray[np.float32]:
    """Rows from Keras' order into PyTorch's."""
    if order is None or len(order) != len(values):
        return values
    result = np.empty_like(values)
    result[order] = values
    return result
