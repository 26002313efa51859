"""In which order a Keras network's values stand where PyTorch flattens maps in another.

Keras flattens maps [H, W, C] position by position, PyTorch [C, H, W] channel by channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.int64]
_FORGETTING = {"Dense", "GlobalAveragePooling2D", "GlobalMaxPooling2D"}
"""Layers after which a vector's order is that of their own outputs or of channels, which both libraries share."""
_MOVING = {"Reshape", "Permute", "Lambda"}
"""Layers that may put values elsewhere."""
_VALUE_BY_VALUE = {
    *("Abs", "Add", "Divide", "Gelu", "Maximum", "Minimum", "Multiply", "Negative", "Relu", "Sigmoid", "Silu", "Subtract", "Tanh")
}
"""Operations (of keras.ops, also written + and *) that leave every value in its place; of others, such as Flip, nothing is assumed."""


class UnknownOrderError(ValueError):
    """A place in a Keras network after which the order of values is not known; the text says which and what to do."""

    def __init__(self, operation: Any, *, understood: str = "Flatten before dense layers") -> None:
        super().__init__(
            f"behind layer '{operation.name}' ({type(operation).__name__}) the order of values is not known, weights would be mixed up; "
            f"only {understood} is understood: in Keras, build the network so, set_weights(old.get_weights()) and save it"
        )


def keras_order(channels: int, height: int, width: int) -> Order:
    """For each place of a map flattened by Keras, its place in the same map flattened by PyTorch.

    >>> keras_order(2, 1, 3).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    return np.arange(channels * height * width).reshape(channels, height, width).transpose(1, 2, 0).ravel()


def leaves(network: Any) -> Iterator[Any]:
    """The layers and operations of a Keras network, those of networks within it in their places."""
    for layer in getattr(network, "operations", network.layers):  # a Sequential has nothing but layers
        if hasattr(layer, "layers"):
            yield from leaves(layer)
        else:
            yield layer


def outer_values(network: Any) -> Mapping[Any, Any]:
    """What networks within `network` are given, by their input layers."""
    found: dict[Any, Any] = {}
    for layer in network.layers:
        if hasattr(layer, "layers"):
            given = layer._inbound_nodes[-1].input_tensors
            found |= {own._keras_history.operation: outer for own, outer in zip(layer.inputs, given, strict=True)}
            found |= outer_values(layer)
    return found


def check_moves(layer: Any, outer: Mapping[Any, Any]) -> None:
    """Raises: UnknownOrderError where the layer moves values that the two libraries order differently. outer: see `order_of`."""
    if getattr(layer, "data_format", None) == "channels_first":
        raise UnknownOrderError(layer, understood="data_format channels_last")
    is_layer = hasattr(layer, "weights")
    if (type(layer).__name__ not in _MOVING) if is_layer else (type(layer).__name__ in _VALUE_BY_VALUE):
        return
    if not (_flattens_alike(layer.input) and _flattens_alike(layer.output)) or order_of(layer.input, outer) is not None:
        raise UnknownOrderError(layer)


def order_of(values: Any, outer: Mapping[Any, Any]) -> Order | None:
    """The place in PyTorch's order of each of `values` (Keras' symbolic ones); None where both order them alike, as channels of maps.

    Args:
        outer: of the whole network, by `outer_values`.

    Raises: UnknownOrderError where flattened maps went through something other than layers that work value by value.
    """
    if len(values.shape) != 2:
        return None
    made_by, call, place = values._keras_history
    if made_by in outer:
        return order_of(outer[made_by], outer)
    if hasattr(made_by, "layers"):
        return order_of(made_by.outputs[place], outer)
    given = made_by._inbound_nodes[call].input_tensors
    if not given or type(made_by).__name__ in _FORGETTING:
        return None
    if type(made_by).__name__ == "Flatten" and len(given[0].shape) == 4:
        height, width, channels = given[0].shape[1:]
        return keras_order(channels, height, width)
    orders = [order_of(each, outer) for each in given]
    if all(order is None for order in orders) and all(_flattens_alike(each) for each in given):
        return None
    first = orders[0]
    for each, order in zip(given, orders, strict=True):
        if first is None or order is None or each.shape != values.shape or not np.array_equal(order, first):
            raise UnknownOrderError(made_by)
    return first


def _flattens_alike(values: Any) -> bool:
    """Whether both libraries would flatten it alike: no map, or one of a single channel or position."""
    shape = values.shape[1:]
    return len(shape) != 3 or shape[2] == 1 or shape[:2] == (1, 1)
