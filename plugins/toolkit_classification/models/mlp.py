"""`mlp`: fully connected."""

from __future__ import annotations

import math

from torch import Tensor, nn

from toolkit.models.flatten import Flatten
from toolkit.models.initialisers import Initialiser, initialise
from toolkit_classification.models.parts import Activation, BatchNorm, Share, Width, dense_layer, known_shape, one_per_layer
from toolkit_classification.types import ClassificationInfo


class Mlp(nn.Module):
    """Fully connected network on the flattened picture: dense, activation, dropout for each hidden layer, then one logit per class.

    The defaults are those of Keras' MNIST example: 512-512, dropout 0.2, Glorot uniform.

    Args:
        hidden: width of each hidden layer; none makes it logistic regression.
        activation: after each hidden layer; linear is none.
        initialiser: of the weights, as Keras has it by that name (`toolkit.models.initialisers`); biases start at 0.
            `torch` leaves both as PyTorch makes them.
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
        inputs = math.prod(known_shape(info, "mlp"))
        norms: tuple[BatchNorm, ...] = one_per_layer("mlp", "batch_norm", batch_norm, len(hidden), "hidden")
        dropouts = one_per_layer("mlp", "dropout", dropout, len(hidden), "hidden")
        self.features = nn.Sequential(Flatten())
        for width, norm, share in zip(hidden, norms, dropouts, strict=True):
            self.features.extend(dense_layer(inputs, width, activation=activation, norm=norm, dropout=share))
            inputs = width
        self.classifier = nn.Linear(inputs, info.num_outputs)
        initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
