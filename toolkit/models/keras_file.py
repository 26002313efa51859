"""Weights of a Keras 3 file (.keras) laid out as PyTorch's.

Keras keeps convolution kernels as [h, w, in, out] and dense ones as [in, out]. A dense layer behind a flattened map needs its
inputs reordered too, not only transposed: see `keras_order`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.keras_order import Order, check_moves, leaves, order_of, outer_values
from toolkit.models.optional import quiet, require

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


def keras_state(file: Path, model: nn.Module) -> dict[str, Tensor]:
    """The file's weights under the names of `model`'s state dict, its layers taken in the order in which they were made.

    What differs in shape is left to the caller; counters that Keras does not have keep the model's values.
    A batch norm's own epsilon stays: the file's other one is added to the variances, which comes to the same.

    Raises: ConfigError if the file cannot be read, if its layers are others than the model's, naming the first that differ, or
    if a layer moves values so that their order is lost (Reshape in Flatten's place).
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
    outer = outer_values(network)
    for layer in leaves(network):
        kind = type(layer).__name__
        weighted = getattr(layer, "weights", ())
        if weighted and kind not in _KINDS:
            raise ConfigError(
                f"{file}: layer '{layer.name}' is a {kind}; expected only {', '.join(_KINDS)} to have weights", path="pretrained"
            )
        try:
            check_moves(layer, outer)
            order = order_of(layer.input, outer) if weighted else None
        except ValueError as error:
            raise ConfigError(f"{file}: {error}", path="pretrained") from error
        if weighted:
            weights = {weight.name: np.asarray(keras.ops.convert_to_numpy(weight)) for weight in weighted}
            yield KerasLayer(layer.name, _KINDS[kind], weights, order, float(getattr(layer, "epsilon", 0.0)))


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
    if order is None:
        return values
    assert len(order) == len(values), f"{len(values)} values, {len(order)} places"  # both are the length of the layer's input
    result = np.empty_like(values)
    result[order] = values
    return result
