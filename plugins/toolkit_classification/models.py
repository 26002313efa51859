"""Whole networks for small pictures: `mlp`, `cnn` and `alexnet_cifar`. Each maps [B, C, H, W] to logits [B, N]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Len, Lt
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit_classification.types import ClassificationInfo

T = TypeVar("T")
Width = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Lt(1)]
Activation = Literal["relu", "tanh", "sigmoid", "linear"]
Initialiser = Literal["torch", "glorot_uniform", "glorot_normal", "lecun_uniform", "he_normal", "normal"]
BatchNorm = Literal["none", "before_activation", "after_activation"]
ConvBatchNorm = Literal["none", "before_activation", "after_activation", "after_pool"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "linear": nn.Identity}


class Mlp(nn.Module):
    """Fully connected network on the flattened picture: dense, activation, dropout for each hidden layer, then one logit per class.

    The defaults are those of Keras' MNIST example: 512-512, dropout 0.2, Glorot uniform.

    Args:
        hidden: width of each hidden layer; none makes it logistic regression.
        activation: after each hidden layer; linear is none.
        initialiser: of the weights; biases start at 0. `torch` leaves both as PyTorch makes them;
            the others are Keras' by name: glorot_normal and he_normal are cut at two deviations, normal has deviation 0.05.
        batch_norm: where it stands in a hidden layer: one word for all layers, or one per layer.
        dropout: share of a hidden layer's outputs dropped: one number for all layers, or one per layer.
    """

    def __init__(
        self,
        info: ClassificationInfo,
        /,
        *,
        hidden: tuple[Width, ...] = (512, 512),
        activation: Activation = "relu",
        initialiser: Initialiser = "glorot_uniform",
        batch_norm: BatchNorm | tuple[BatchNorm, ...] = "none",
        dropout: Share | tuple[Share, ...] = 0.2,
    ) -> None:
        super().__init__()
        inputs = math.prod(_known_shape(info, "mlp"))
        norms = _one_per_layer("mlp", "batch_norm", batch_norm, len(hidden), "hidden")
        dropouts = _one_per_layer("mlp", "dropout", dropout, len(hidden), "hidden")
        self.features = nn.Sequential(nn.Flatten())
        for width, norm, share in zip(hidden, norms, dropouts, strict=True):
            self.features.extend(_dense_layer(inputs, width, activation, norm, share))
            inputs = width
        self.classifier = nn.Linear(inputs, info.num_outputs)
        _initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        return self.classifier(self.features(images))  # type: ignore[no-any-return]


class Cnn(nn.Module):
    """Convolutional network: convolutions (each with activation, pooling, dropout), hidden dense layers, then one logit per class.

    The defaults are those of Keras' MNIST example: 32-64 filters of 3x3, one 2x2 pool, dropout 0.25, dense 128, dropout 0.5.

    Args:
        filters: of each convolution.
        kernel_size: side of the (square) kernels in pixels: one number for all convolutions, or one per convolution.
        padding: valid adds none, so that a 3x3 kernel takes 2 pixels off each side's length; same keeps the size.
        pool: side of the max-pool after a convolution, 1 for none: one number pools after the last convolution only;
            several are one per convolution.
        activation: after each convolution and hidden dense layer; linear is none.
        initialiser: of the weights; biases start at 0. `torch` leaves both as PyTorch makes them;
            the others are Keras' by name: glorot_normal and he_normal are cut at two deviations, normal has deviation 0.05.
        batch_norm: where it stands after a convolution: one word for all convolutions, or one per convolution.
        dropout: share of a convolution's (pooled) outputs dropped: one number drops after every pool; several are one per convolution.
        dense: width of each hidden dense layer.
        dense_dropout: share of a hidden dense layer's outputs dropped: one number for all layers, or one per layer.
    """

    def __init__(
        self,
        info: ClassificationInfo,
        /,
        *,
        filters: Annotated[tuple[Width, ...], Len(1)] = (32, 64),
        kernel_size: Width | tuple[Width, ...] = 3,
        padding: Literal["valid", "same"] = "valid",
        pool: Width | tuple[Width, ...] = 2,
        activation: Activation = "relu",
        initialiser: Initialiser = "glorot_uniform",
        batch_norm: ConvBatchNorm | tuple[ConvBatchNorm, ...] = "none",
        dropout: Share | tuple[Share, ...] = 0.25,
        dense: tuple[Width, ...] = (128,),
        dense_dropout: Share | tuple[Share, ...] = 0.5,
    ) -> None:
        super().__init__()
        channels, height, width = _known_shape(info, "cnn")
        last_only = (1,) * (len(filters) - 1) + (pool,) if isinstance(pool, int) else pool
        pools: tuple[int, ...] = _one_per_layer("cnn", "pool", last_only, len(filters), "filters")
        after_pools = tuple(dropout if side > 1 else 0.0 for side in pools) if isinstance(dropout, int | float) else dropout
        kernels = _one_per_layer("cnn", "kernel_size", kernel_size, len(filters), "filters")
        norms = _one_per_layer("cnn", "batch_norm", batch_norm, len(filters), "filters")
        dropouts: tuple[float, ...] = _one_per_layer("cnn", "dropout", after_pools, len(filters), "filters")
        dense_dropouts = _one_per_layer("cnn", "dense_dropout", dense_dropout, len(dense), "dense")

        self.features = nn.Sequential()
        for number, (count, kernel, side, norm, share) in enumerate(zip(filters, kernels, pools, norms, dropouts, strict=True), start=1):
            self.features.extend(_conv_layer(channels, count, kernel, padding, side, activation, norm, share))
            lost = kernel - 1 if padding == "valid" else 0
            channels, height, width = count, (height - lost) // side, (width - lost) // side
            if min(height, width) < 1:
                _, *given = info.input_shape
                raise ConfigError(
                    f"model cnn: nothing is left of a {given[0]}x{given[1]} picture after convolution {number} of {len(filters)}; "
                    "use larger pictures, padding: same, smaller kernels or fewer pools"
                )
        self.classifier = nn.Sequential(nn.Flatten())
        inputs = channels * height * width
        for units, share in zip(dense, dense_dropouts, strict=True):
            self.classifier.extend(_dense_layer(inputs, units, activation, "none", share))
            inputs = units
        self.classifier.append(nn.Linear(inputs, info.num_outputs))
        _initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        return self.classifier(self.features(images))  # type: ignore[no-any-return]


class AlexNetCifar(nn.Module):
    """AlexNet in the form often used for CIFAR-10: 3x3 kernels throughout; 23,238,474 parameters on 3x32x32 pictures and 10 classes.

    Five convolutions (64, 192, 384, 256, 256 filters) with ReLU, 2x2 max-pools after the first, second and fifth;
    fully connected 4096, 1024, N. Pictures may have any size from 8x8 on; the first dense layer grows with them.
    After Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012,
    whose large kernels and strides would leave nothing of a 32x32 picture.

    Args:
        dropout: after each of the two hidden dense layers.
        initialiser: of the weights, as for `cnn`; `torch` leaves weights and biases as PyTorch makes them.
    """

    def __init__(self, info: ClassificationInfo, /, *, dropout: Share = 0.5, initialiser: Initialiser = "torch") -> None:
        super().__init__()
        channels, height, width = _known_shape(info, "alexnet_cifar")
        if min(height, width) < 8:
            raise ConfigError(
                f"model alexnet_cifar halves the picture three times and needs at least 8x8 pixels, got {height}x{width}; "
                "enlarge the pictures under transforms, for example {name: Resize, height: 32, width: 32}"
            )
        self.features = nn.Sequential()
        for filters, pool in ((64, 2), (192, 2), (384, 1), (256, 1), (256, 2)):
            self.features.extend(_conv_layer(channels, filters, 3, "same", pool, "relu", "none", 0.0))
            channels = filters
        self.classifier = nn.Sequential(
            nn.Flatten(),
            *_dense_layer(256 * (height // 8) * (width // 8), 4096, "relu", "none", dropout),
            *_dense_layer(4096, 1024, "relu", "none", dropout),
            nn.Linear(1024, info.num_outputs),
        )
        _initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        return self.classifier(self.features(images))  # type: ignore[no-any-return]


def _conv_layer(
    channels: int, filters: int, kernel: int, padding: str, pool: int, activation: str, norm: str, dropout: float
) -> list[nn.Module]:
    before, after = ((kernel - 1) // 2, kernel // 2) if padding == "same" else (0, 0)
    modules: list[nn.Module] = [] if before == after else [nn.ZeroPad2d((before, after, before, after))]  # even kernels, as TensorFlow pads
    modules += [nn.Conv2d(channels, filters, kernel, padding=before if before == after else 0)]
    modules += [nn.BatchNorm2d(filters)] if norm == "before_activation" else []
    modules += [_ACTIVATIONS[activation]()]  # not in place: hooks that look at a convolution's output must find it
    modules += [nn.BatchNorm2d(filters)] if norm == "after_activation" else []
    modules += [nn.MaxPool2d(pool)] if pool > 1 else []
    modules += [nn.BatchNorm2d(filters)] if norm == "after_pool" else []
    modules += [nn.Dropout(dropout)] if dropout else []
    return modules


def _dense_layer(inputs: int, width: int, activation: str, norm: str, dropout: float) -> list[nn.Module]:
    modules: list[nn.Module] = [nn.Linear(inputs, width)]
    modules += [nn.BatchNorm1d(width)] if norm == "before_activation" else []
    modules += [_ACTIVATIONS[activation]()]
    modules += [nn.BatchNorm1d(width)] if norm == "after_activation" else []
    modules += [nn.Dropout(dropout)] if dropout else []
    return modules


def _one_per_layer(model: str, option: str, value: T | tuple[T, ...], layers: int, of: str) -> tuple[T, ...]:
    values = value if isinstance(value, tuple) else (value,) * layers
    if len(values) != layers:
        raise ConfigError(
            f"model {model}: {option} has {len(values)} {'entry' if len(values) == 1 else 'entries'}, but {of} has {layers}; "
            f"give {option} one for each, or a single one for all"
        )
    return values


def _known_shape(info: ClassificationInfo, model: str) -> tuple[int, int, int]:
    if 0 in info.input_shape:
        raise ConfigError(
            f"model {model} needs pictures of one size, but this data set's differ; "
            "bring them to one under transforms.train and transforms.eval, for example {name: Resize, height: 128, width: 128}"
        )
    return info.input_shape


def _initialise(model: nn.Module, initialiser: str) -> None:
    if initialiser == "torch":
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _INITIALISERS[initialiser](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _cut_normal(weight: Tensor, deviation: float) -> None:
    """A normal distribution cut at two of its deviations and widened so that `deviation` is what remains, as Keras draws it."""
    wide = deviation / 0.87962566
    nn.init.trunc_normal_(weight, std=wide, a=-2 * wide, b=2 * wide)


def _fans(weight: Tensor) -> tuple[int, int]:
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def _lecun_uniform(weight: Tensor) -> None:
    bound = math.sqrt(3 / _fans(weight)[0])
    nn.init.uniform_(weight, -bound, bound)


_INITIALISERS: dict[str, Callable[[Tensor], object]] = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": lambda weight: _cut_normal(weight, math.sqrt(2 / sum(_fans(weight)))),
    "lecun_uniform": _lecun_uniform,
    "he_normal": lambda weight: _cut_normal(weight, math.sqrt(2 / _fans(weight)[0])),
    "normal": lambda weight: nn.init.normal_(weight, std=0.05),
}
