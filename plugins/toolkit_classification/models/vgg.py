"""`vgg8`, `vgg16` and `vgg16_bn` in the form often used for CIFAR-10."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from toolkit.models.flatten import Flatten
from toolkit.models.initialisers import Initialiser, initialise
from toolkit_classification.models.parts import ConvBatchNorm, Share, conv_layer, dense_layer, known_shape, require_size
from toolkit_classification.types import ClassificationInfo

_VGG8 = ((64, 64), (128, 128), (256, 256), (512, 512))
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg(nn.Module):
    """Blocks of 3x3 convolutions with ReLU, a 2x2 max-pool after each block, then dense layers with ReLU and dropout.

    Args:
        name: the model's, for messages.
        blocks: filters of each convolution of each block.
        hidden: width of each hidden dense layer.
        batch_norm: between each convolution and its ReLU.
    """

    def __init__(
        self,
        info: ClassificationInfo,
        name: str,
        *,
        blocks: Sequence[Sequence[int]],
        hidden: Sequence[int],
        batch_norm: bool,
        dropout: float,
        initialiser: Initialiser,
    ) -> None:
        super().__init__()
        channels, height, width = known_shape(info, name)
        reduction = 2 ** len(blocks)
        require_size(name, (height, width), reduction, f"halves the picture {len(blocks)} times", 32)
        self.features = nn.Sequential()
        for block in blocks:
            for number, filters in enumerate(block, start=1):
                pool = 2 if number == len(block) else 1
                norm: ConvBatchNorm = "before_activation" if batch_norm else "none"
                self.features.extend(conv_layer(channels, filters, 3, pool=pool, norm=norm))
                channels = filters
        self.classifier = nn.Sequential(Flatten())
        inputs = channels * (height // reduction) * (width // reduction)
        for units in hidden:
            self.classifier.extend(dense_layer(inputs, units, dropout=dropout))
            inputs = units
        self.classifier.append(nn.Linear(inputs, info.num_outputs))
        initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def vgg8(info: ClassificationInfo, /, *, dropout: Share = 0.5, initialiser: Initialiser = "he_normal") -> Vgg:
    """VGG cut down to eight convolutions: 2x64, 2x128, 2x256, 2x512 filters, dense 4096; 13,119,050 parameters at 3x32x32, 10 classes.

    After Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.

    Args:
        dropout: after the hidden dense layer.
        initialiser: of the weights (`toolkit.models.initialisers`); `torch` leaves weights and biases as PyTorch makes them.
    """
    return Vgg(info, "vgg8", blocks=_VGG8, hidden=(4096,), batch_norm=False, dropout=dropout, initialiser=initialiser)


def vgg16(info: ClassificationInfo, /, *, dropout: Share = 0.5, initialiser: Initialiser = "he_normal") -> Vgg:
    """VGG-16 (configuration D), dense 4096-4096; 33,638,218 parameters at 3x32x32, 10 classes.

    Simonyan & Zisserman, ICLR 2015. Thirteen convolutions without normalisation do not learn from PyTorch's own initial weights, which let
    the activations shrink from layer to layer; from He's they do.

    Args:
        dropout: after each of the two hidden dense layers.
        initialiser: of the weights (`toolkit.models.initialisers`); `torch` leaves weights and biases as PyTorch makes them.
    """
    return Vgg(info, "vgg16", blocks=_VGG16, hidden=(4096, 4096), batch_norm=False, dropout=dropout, initialiser=initialiser)


def vgg16_bn(info: ClassificationInfo, /, *, dropout: Share = 0.5, initialiser: Initialiser = "he_normal") -> Vgg:
    """VGG-16 (configuration D) with batch norm between convolution and ReLU; 33,646,666 parameters at 3x32x32, 10 classes.

    Simonyan & Zisserman, ICLR 2015; Ioffe & Szegedy, "Batch Normalization", ICML 2015.

    Args:
        dropout: after each of the two hidden dense layers.
        initialiser: of the weights (`toolkit.models.initialisers`); `torch` leaves weights and biases as PyTorch makes them.
    """
    return Vgg(info, "vgg16_bn", blocks=_VGG16, hidden=(4096, 4096), batch_norm=True, dropout=dropout, initialiser=initialiser)
