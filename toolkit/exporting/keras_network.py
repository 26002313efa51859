"""A network of layers one after another as a Keras 3 model with the same answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from toolkit.errors import ConfigError
from toolkit.exporting.contract import INPUT
from toolkit.models.inspect import Layer, inspect_model
from toolkit.models.keras_order import Order, keras_order
from toolkit.models.model import Shape
from toolkit.models.optional import quiet, require


class KerasWriter:
    """Puts one Keras layer after the other.

    order: while a flattened map has not met its dense layer, the place in PyTorch's order of each of Keras' values.
    """

    def __init__(self, input_shape: Shape) -> None:
        self.layers: Any = require("keras", extra="keras", purpose="exporting to Keras").layers
        channels, height, width = input_shape
        self.input = self.layers.Input((height, width, channels), name=INPUT)
        self.output = self.input
        self.order: Order | None = None

    def add(self, layer: Any, weights: tuple[Any, ...] = ()) -> None:
        """One more layer, with its weights as Keras orders them."""
        with quiet():
            self.output = layer(self.output)
            if weights:
                layer.set_weights([np.ascontiguousarray(weight) for weight in weights])

    def flatten(self, name: str) -> None:
        """From a map to a vector, in Keras' order; a vector stays one."""
        if len(self.output.shape) == 4:
            height, width, channels = self.output.shape[1:]
            self.add(self.layers.Flatten(name=name))
            self.order = keras_order(channels, height, width)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output so far, as PyTorch orders it."""
        *sides, channels = self.output.shape[1:]
        return (channels, *sides)

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether the output is what PyTorch has as `shape`; a vector also stands for its map of one position."""
        return shape in (self.shape, (*self.shape, 1, 1))


def as_keras(model: nn.Module, input_shape: Shape) -> Any:
    """The Keras model, channels last.

    Raises: ConfigError naming the layer that Keras has no like of, or that does not simply follow the one before.
    """
    writer = KerasWriter(input_shape)
    calls = Counter[str]()
    for layer in inspect_model(model, input_shape).layers:
        calls[layer.name] += 1
        _write(writer, layer, model.get_submodule(layer.name), _keras_name(layer, calls[layer.name]))
        if not writer.holds(layer.output_shape):
            raise _refusal(layer, f"gives {list(layer.output_shape)} where Keras' gives {list(writer.shape)}")
    keras = require("keras", extra="keras", purpose="exporting to Keras")
    return keras.Model(writer.input, writer.output, name=type(model).__name__.lower())


def _keras_name(layer: Layer, call: int) -> str:
    """One that no other layer has; a module called again (a shared ReLU) is a layer of its own in Keras."""
    name = layer.name.replace(".", "_") or "network"
    return name if call == 1 else f"{name}_call{call}"


def _write(writer: KerasWriter, layer: Layer, module: nn.Module, name: str) -> None:
    if layer.kind not in _WRITERS:
        raise _refusal(layer, "has no like in Keras")
    try:
        if len(layer.output_shape) == 1:  # AlexNet, VGG and LinearHead flatten by a function, which is no layer of theirs
            writer.flatten(f"{name}_flatten")
        _WRITERS[layer.kind](writer, module, name)
    except (ValueError, TypeError) as error:
        raise _refusal(layer, f"does not follow the layer before it: {str(error).splitlines()[0]}") from error


def _convolution(writer: KerasWriter, module: Any, name: str) -> None:
    if module.padding_mode != "zeros":
        raise ValueError(f"padding_mode {module.padding_mode}")
    if module.padding == "same":
        padding = "same"
    else:
        padding = "valid"
        vertical, horizontal = (0, 0) if module.padding == "valid" else module.padding
        if vertical or horizontal:
            writer.add(writer.layers.ZeroPadding2D((vertical, horizontal), name=f"{name}_pad"))
    made = writer.layers.Conv2D(
        module.out_channels,
        module.kernel_size,
        strides=module.stride,
        padding=padding,
        dilation_rate=module.dilation,
        groups=module.groups,
        use_bias=module.bias is not None,
        name=name,
    )
    writer.add(made, (module.weight.detach().permute(2, 3, 1, 0).numpy(), *_bias(module)))


def _dense(writer: KerasWriter, module: Any, name: str) -> None:
    kernel = module.weight.detach().numpy().T
    if writer.order is not None:
        kernel = kernel[writer.order]
        writer.order = None
    made = writer.layers.Dense(module.out_features, use_bias=module.bias is not None, name=name)
    writer.add(made, (kernel, *_bias(module)))


def _batch_norm(writer: KerasWriter, module: Any, name: str) -> None:
    given = (module.weight, module.bias, module.running_mean, module.running_var)
    arrays = [value.detach().numpy() for value in given if value is not None]
    if writer.order is not None:
        arrays = [array[writer.order] for array in arrays]
    affine = module.weight is not None
    momentum = 1 - (0.1 if module.momentum is None else module.momentum)
    made = writer.layers.BatchNormalization(epsilon=module.eps, momentum=momentum, center=affine, scale=affine, name=name)
    writer.add(made, tuple(arrays))


def _pool(layer: str) -> Callable[[KerasWriter, Any, str], None]:
    def write(writer: KerasWriter, module: Any, name: str) -> None:
        if module.padding not in (0, (0, 0)) or getattr(module, "dilation", 1) not in (1, (1, 1)):
            raise ValueError("Keras pools without padding or dilation")
        writer.add(getattr(writer.layers, layer)(module.kernel_size, strides=module.stride or module.kernel_size, name=name))

    return write


def _pool_to_size(layer: str) -> Callable[[KerasWriter, Any, str], None]:
    def write(writer: KerasWriter, module: Any, name: str) -> None:
        size = module.output_size
        wanted = (size, size) if isinstance(size, int) else tuple(size)
        sides = (*writer.shape, 1, 1)[1:3]  # a vector is a map of one position
        window = tuple(max(1, side // cells) for side, cells in zip(sides, wanted, strict=True))
        repeats = tuple(max(1, cells // side) for side, cells in zip(sides, wanted, strict=True))
        if any(side * r != cells * w for side, cells, r, w in zip(sides, wanted, repeats, window, strict=True)):
            raise ValueError(f"{list(sides)} positions cannot be pooled evenly to {list(wanted)}")
        if window != (1, 1):
            writer.add(getattr(writer.layers, layer)(window, strides=window, name=name))
        if repeats != (1, 1):  # small pictures: torch pools one position to several, as AlexNet's 1 x 1 to 6 x 6
            writer.add(writer.layers.UpSampling2D(repeats, interpolation="nearest", name=f"{name}_repeat"))

    return write


def _pad(writer: KerasWriter, module: Any, name: str) -> None:
    left, right, top, bottom = module.padding
    writer.add(writer.layers.ZeroPadding2D(((top, bottom), (left, right)), name=name))


def _simple(layer: str, **options: Callable[[Any], Any]) -> Callable[[KerasWriter, Any, str], None]:
    """A layer without weights. options: Keras' name -> its value from the module."""

    def write(writer: KerasWriter, module: Any, name: str) -> None:
        writer.add(getattr(writer.layers, layer)(name=name, **{key: value(module) for key, value in options.items()}))

    return write


def _activation(function: str) -> Callable[[KerasWriter, Any, str], None]:
    return _simple("Activation", activation=lambda module: function)


_WRITERS: Mapping[str, Callable[[KerasWriter, Any, str], None]] = {  # Flatten and Dropout: torch's and the toolkit's own
    "Conv2d": _convolution,
    "Linear": _dense,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "MaxPool2d": _pool("MaxPooling2D"),
    "AvgPool2d": _pool("AveragePooling2D"),
    "AdaptiveAvgPool2d": _pool_to_size("AveragePooling2D"),
    "AdaptiveMaxPool2d": _pool_to_size("MaxPooling2D"),
    "ZeroPad2d": _pad,
    "Flatten": lambda writer, module, name: None,  # done before every layer that gives vectors
    "Identity": lambda writer, module, name: None,
    "Dropout": _simple("Dropout", rate=lambda module: module.p),
    "Dropout2d": _simple("SpatialDropout2D", rate=lambda module: module.p),
    "ReLU": _activation("relu"),
    "ReLU6": _activation("relu6"),
    "Tanh": _activation("tanh"),
    "Sigmoid": _activation("sigmoid"),
    "SiLU": _activation("silu"),
    "LeakyReLU": _simple("LeakyReLU", negative_slope=lambda module: module.negative_slope),
    "ELU": _simple("ELU", alpha=lambda module: module.alpha),
}


def _bias(module: Any) -> tuple[Any, ...]:
    return () if module.bias is None else (module.bias.detach().numpy(),)


def _refusal(layer: Layer, reason: str) -> ConfigError:
    return ConfigError(
        f"export --format keras: layer {layer.name or '(network)'} ({layer.kind}) {reason}; "
        "only networks of plain layers one after another can be written; use --format onnx"
    )
