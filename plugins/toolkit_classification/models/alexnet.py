"""`alexnet` for pictures of about 224 pixels, and `alexnet_cifar` for small ones."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from toolkit.models.flatten import Flatten
from toolkit.models.initialisers import Initialiser, initialise
from toolkit_classification.models.parts import Share, Width, conv_layer, dense_layer, known_shape, require_size
from toolkit_classification.types import ClassificationInfo

_STRIDE = 4
_KERNEL = 11


class AlexNet(nn.Module):
    """AlexNet (Krizhevsky, Sutskever, Hinton, NIPS 2012): 58,322,314 parameters on 3x224x224 pictures and 10 classes.

    Convolutions 96 (11x11, stride 4), 256 (5x5), 384, 384, 256 (3x3) with ReLU, 3x3 max-pools of stride 2 after the first, second and
    fifth; dense 4096, 4096, N with dropout. That is one path where the paper has two; `groups: 2` gives its two.

    Args:
        first_padding: of the first convolution in pixels; same pads as Keras and TensorFlow do, so that 224 pixels become 56.
        groups: 2 cuts the second, fourth and fifth convolution in halves, each of which sees half of the channels, as the paper did.
        lrn: local response normalisation after the first two pools, over 11 neighbouring channels (TensorFlow's depth_radius 5, bias 1,
            alpha 1e-4, beta 0.75; the paper's is over 5, with k 2, and stands before the pools).
        last_pool: whether there is a third pool, after the fifth convolution.
        extra_dense: width of a further dense layer before the last, without activation; none where null.
        spare_outputs: logits beyond those of the classes; the task needs the same option.
        dropout: after each of the two hidden dense layers.
        initialiser: of the weights (`toolkit.models.initialisers`); `torch` leaves weights and biases as PyTorch makes them.
    """

    def __init__(
        self,
        info: ClassificationInfo,
        /,
        *,
        first_padding: Annotated[int, Ge(0)] | Literal["same"] = 2,
        groups: Literal[1, 2] = 1,
        lrn: bool = False,
        last_pool: bool = True,
        extra_dense: Width | None = None,
        spare_outputs: Annotated[int, Ge(0)] = 0,
        dropout: Share = 0.5,
        initialiser: Initialiser = "torch",
    ) -> None:
        super().__init__()
        channels, *size = known_shape(info, "alexnet")
        pads = [_first_pads(side, first_padding) for side in size]
        height, width = (_sizes_left(side + sum(pad), last_pool) for side, pad in zip(size, pads, strict=True))
        if min(height, width) < 1:
            least = next(n for n in range(1, 256) if _sizes_left(n + sum(_first_pads(n, first_padding)), last_pool) > 0)
            require_size("alexnet", (size[0], size[1]), least, "strides over the picture", 224)
        (top, bottom), (left, right) = pads
        even = top == bottom == left == right
        self.features = nn.Sequential(
            *([] if even else [nn.ZeroPad2d((left, right, top, bottom))]),
            nn.Conv2d(channels, 96, _KERNEL, stride=_STRIDE, padding=top if even else 0),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            *_normalisation(lrn),
            nn.Conv2d(96, 256, 5, padding=2, groups=groups),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            *_normalisation(lrn),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=groups),
            nn.ReLU(),
            *([nn.MaxPool2d(3, 2)] if last_pool else []),
        )
        self.classifier = nn.Sequential(
            Flatten(),
            *dense_layer(256 * height * width, 4096, dropout=dropout),
            *dense_layer(4096, 4096, dropout=dropout),
            *([] if extra_dense is None else [nn.Linear(4096, extra_dense)]),
            nn.Linear(extra_dense or 4096, info.num_outputs + spare_outputs),
        )
        initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits, and `spare_outputs` more."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


class AlexNetCifar(nn.Module):
    """AlexNet in the form often used for CIFAR-10: 3x3 kernels throughout; 23,238,474 parameters on 3x32x32 pictures and 10 classes.

    Five convolutions (64, 192, 384, 256, 256 filters) with ReLU, 2x2 max-pools after the first, second and fifth;
    fully connected 4096, 1024, N. Pictures may have any size from 8x8 on; the first dense layer grows with them.
    After Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012,
    whose large kernels and strides would leave nothing of a 32x32 picture.

    Args:
        dropout: after each of the two hidden dense layers.
        initialiser: of the weights (`toolkit.models.initialisers`); `torch` leaves weights and biases as PyTorch makes them.
    """

    def __init__(self, info: ClassificationInfo, /, *, dropout: Share = 0.5, initialiser: Initialiser = "torch") -> None:
        super().__init__()
        channels, height, width = known_shape(info, "alexnet_cifar")
        require_size("alexnet_cifar", (height, width), 8, "halves the picture three times", 32)
        self.features = nn.Sequential()
        for filters, pool in ((64, 2), (192, 2), (384, 1), (256, 1), (256, 2)):
            self.features.extend(conv_layer(channels, filters, 3, pool=pool))
            channels = filters
        self.classifier = nn.Sequential(
            Flatten(),
            *dense_layer(256 * (height // 8) * (width // 8), 4096, dropout=dropout),
            *dense_layer(4096, 1024, dropout=dropout),
            nn.Linear(1024, info.num_outputs),
        )
        initialise(self, initialiser)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N] logits."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def _first_pads(side: int, padding: int | Literal["same"]) -> tuple[int, int]:
    """Before and after a side of the picture."""
    if padding != "same":
        return padding, padding
    total = max(0, (-(-side // _STRIDE) - 1) * _STRIDE + _KERNEL - side)  # so many that a stride of 4 gives a quarter, rounded up
    return total // 2, total - total // 2


def _sizes_left(padded: int, last_pool: bool) -> int:
    """A side's length after the convolutions and pools; 0 or less where nothing is left."""
    left = (padded - _KERNEL) // _STRIDE + 1
    for _ in range(3 if last_pool else 2):
        left = (left - 3) // 2 + 1
    return left


def _normalisation(lrn: bool) -> list[nn.Module]:
    """PyTorch divides alpha by the size of the window, TensorFlow does not."""
    return [nn.LocalResponseNorm(11, alpha=11e-4, beta=0.75, k=1.0)] if lrn else []
