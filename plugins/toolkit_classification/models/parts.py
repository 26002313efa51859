"""What the networks are built from: convolutional and dense layers, and the checks that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Lt
from torch import nn

from toolkit.errors import ConfigError
from toolkit.models.dropout import Dropout
from toolkit_classification.types import ClassificationInfo

T = TypeVar("T")
Width = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Lt(1)]
Activation = Literal["relu", "tanh", "sigmoid", "linear"]
BatchNorm = Literal["none", "before_activation", "after_activation"]
ConvBatchNorm = Literal["none", "before_activation", "after_activation", "after_pool"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "linear": nn.Identity}


def conv_layer(
    channels: int,
    filters: int,
    kernel: int,
    *,
    padding: str = "same",
    pool: int = 1,
    activation: Activation = "relu",
    norm: ConvBatchNorm = "none",
    dropout: float = 0.0,
) -> list[nn.Module]:
    """Convolution, activation, max-pool (of side `pool`, none where 1), with batch norm where `norm` says, then dropout.

    padding: same keeps the size, valid takes kernel - 1 off each side's length.
    """
    before, after = ((kernel - 1) // 2, kernel // 2) if padding == "same" else (0, 0)
    modules: list[nn.Module] = [] if before == after else [nn.ZeroPad2d((before, after, before, after))]  # even kernels, as TensorFlow pads
    modules += [nn.Conv2d(channels, filters, kernel, padding=before if before == after else 0)]
    modules += [nn.BatchNorm2d(filters)] if norm == "before_activation" else []
    modules += [_ACTIVATIONS[activation]()]  # not in place: hooks that look at a convolution's output must find it
    modules += [nn.BatchNorm2d(filters)] if norm == "after_activation" else []
    modules += [nn.MaxPool2d(pool)] if pool > 1 else []
    modules += [nn.BatchNorm2d(filters)] if norm == "after_pool" else []
    modules += [Dropout(dropout)] if dropout else []
    return modules


def dense_layer(
    inputs: int, width: int, *, activation: Activation = "relu", norm: BatchNorm = "none", dropout: float = 0.0
) -> list[nn.Module]:
    """Linear layer and activation, with batch norm where `norm` says, then dropout."""
    modules: list[nn.Module] = [nn.Linear(inputs, width)]
    modules += [nn.BatchNorm1d(width)] if norm == "before_activation" else []
    modules += [_ACTIVATIONS[activation]()]
    modules += [nn.BatchNorm1d(width)] if norm == "after_activation" else []
    modules += [Dropout(dropout)] if dropout else []
    return modules


def one_per_layer(model: str, option: str, value: T | tuple[T, ...], layers: int, of: str) -> tuple[T, ...]:
    """A single value once per layer; several as they are. Raises: ConfigError if their number is not `layers`, that of option `of`."""
    values = value if isinstance(value, tuple) else (value,) * layers
    if len(values) != layers:
        raise ConfigError(
            f"model {model}: {option} has {len(values)} {'entry' if len(values) == 1 else 'entries'}, but {of} has {layers}; "
            f"give {option} one for each, or a single one for all"
        )
    return values


def known_shape(info: ClassificationInfo, model: str) -> tuple[int, int, int]:
    """C, H, W of every picture. Raises: ConfigError where they differ."""
    if 0 in info.input_shape:
        raise ConfigError(
            f"model {model} needs pictures of one size, but this data set's differ; "
            "bring them to one under transforms.train and transforms.eval, for example {name: Resize, height: 128, width: 128}"
        )
    return info.input_shape


def require_size(model: str, size: tuple[int, int], least: int, why: str, enlarged: int) -> None:
    """Raises: ConfigError if a side of `size` (H, W) is below `least` pixels, with `why` and `enlarged` as a size to scale to."""
    if min(size) < least:
        raise ConfigError(
            f"model {model} {why} and needs at least {least}x{least} pixels, got {size[0]}x{size[1]}; "
            f"enlarge the pictures under transforms, for example {{name: Resize, height: {enlarged}, width: {enlarged}}}"
        )
