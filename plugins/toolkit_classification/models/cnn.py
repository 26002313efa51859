"""`cnn`: convolutions, then dense layers, as many and as wide as the config says."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.flatten import Flatten
from toolkit.models.initialisers import Initialiser, initialise
from toolkit_classification.models.parts import Activation, ConvBatchNorm, Share, Width, conv_layer, dense_layer, known_shape, one_per_layer
from toolkit_classification.types import ClassificationInfo


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
        initialiser: of the weights, as Keras has it by that name (`toolkit.models.initialisers`); biases start at 0.
            `torch` leaves both as PyTorch makes them.
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
        channels, height, width = known_shape(info, "cnn")
        last_only = (1,) * (len(filters) - 1) + (pool,) if isinstance(pool, int) else pool
        pools: tuple[int, ...] = one_per_layer("cnn", "pool", last_only, len(filters), "filters")
        after_pools = tuple(dropout if side > 1 else 0.0 for side in pools) if isinstance(dropout, int | float) else dropout
        kernels = one_per_layer("cnn", "kernel_size", kernel_size, len(filters), "filters")
        norms: tuple[ConvBatchNorm, ...] = one_per_layer("cnn", "batch_norm", batch_norm, len(filters), "filters")
        dropouts: tuple[float, ...] = one_per_layer("cnn", "dropout", after_pools, len(filters), "filters")
        dense_dropouts = one_per_layer("cnn", "dense_dropout", dense_dropout, len(dense), "dense")

        self.features = nn.Sequential()
        for number, (count, kernel, side, norm, share) in enumerate(zip(filters, kernels, pools, norms, dropouts, strict=True), start=1):
            self.features.extend(
                conv_layer(channels, count, kernel, padding=padding, pool=side, activation=activation, norm=norm, dropout=share)
            )
            lost = kernel - 1 if padding == "valid" else 0
            channels, height, width = count, (height - lost) // side, (width - lost) // side
            if min(height, width) < 1:
                _, *given = info.input_shape
                raise ConfigError(
                    f"model cnn: nothing is left of a {given[0]}x{given[1]} picture after convolution {number} of {len(filters)}; "
                    "use larger pictures, padding: same, smaller kernels or fewer pools"
                )
        self.classifier = nn.Sequential(Flatten())
        inputs = channels * height * width
        for units, share in zip(dense, dense_dropouts, strict=True):
            self.classifier.extend(dense_layer(inputs, units, activation=activation, dropout=share))
            inputs = units
        self.classifier.append(nn.Linear(inputs, info.num_outputs))
        initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
