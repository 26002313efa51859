"""Networks: the report's, and any trunk with a head; trunks of convolutions, and heads that read a time off any features."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt, MinLen
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten
from toolkit.models.model import Backbone, Head, Shape
from toolkit_clock.types import ClockInfo, ClockOutput, Fractions, HandLogits, HandVectors, TimeLogits

Share = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
Dense = tuple[Count, ...]

_REPORT_LAYERS = ((64, 4, 2), (64, 4, 1), (128, 3, 1), (256, 3, 1))  # filters, kernel, stride; 2x2 max-pool after each


class ClockTrunk(Backbone):
    """The four convolutions of the report's network: 64 4x4 with stride 2, 64 4x4, 128 3x3, 256 3x3, each with ReLU, 2x2 max-pool, dropout.

    435,712 parameters on grey pictures; 150x150 pixels become [256, 2, 2]. With the head `two_head` on it, it is the report's selected
    network (K1), 624,392 parameters. Its hidden layers use ReLU here; the report's dropout rates are not known.

    Args:
        dropout: share of whole values zeroed after each pool while training.

    Raises: ConfigError for pictures below 94x94, of which nothing would be left.
    """

    def __init__(self, input_shape: Shape, /, *, dropout: Share = 0.1) -> None:
        super().__init__()
        channels, *sides = input_shape
        for _, kernel, stride in _REPORT_LAYERS:
            sides = [((side - kernel) // stride + 1) // 2 for side in sides]
        if min(sides) < 1:
            height, width = input_shape[1:]
            found = f"pictures are {height}x{width}" if height and width else "the pictures' sizes differ"
            raise ConfigError(
                f"backbone clock_trunk: nothing would be left of the picture after its four convolutions and pools; {found}, expected at "
                "least 94x94; enlarge them under transforms.train and transforms.eval, for example {name: Resize, height: 150, width: 150}"
            )
        self.layers = nn.Sequential()
        for filters, kernel, stride in _REPORT_LAYERS:
            self.layers.extend([nn.Conv2d(channels, filters, kernel, stride), nn.ReLU(), nn.MaxPool2d(2), Dropout(dropout)])
            channels = filters

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 256, H', W']."""
        features: Tensor = self.layers(images)
        return features


class ClockConvNet(Backbone):
    """3x3 convolutions with batch norm and ReLU; from the second stage on each stage begins with a 2x2 max-pool.

    Args:
        filters: of each stage.
        depth: convolutions in each stage.
        stem: side of the first kernel; it has stride 2.
    """

    def __init__(
        self,
        input_shape: Shape,
        /,
        *,
        filters: Annotated[Dense, MinLen(1)] = (32, 64, 96, 128, 192),
        depth: Count = 1,
        stem: Annotated[int, Ge(3)] = 5,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        if min(height, width) < 2 ** len(filters):
            raise ConfigError(
                f"backbone clock_conv_net halves the picture {len(filters)} times and needs at least {2 ** len(filters)} pixels, "
                f"got {height}x{width}; enlarge the pictures under transforms or use fewer filters"
            )
        self.layers = nn.Sequential()
        for stage, width_out in enumerate(filters):
            if stage:
                self.layers.append(nn.MaxPool2d(2))
            for number in range(depth):
                is_stem = stage == number == 0
                self.layers.extend(_normed(channels, width_out, stem if is_stem else 3, 2 if is_stem else 1))
                channels = width_out

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, filters[-1], H / 2**stages, W / 2**stages], rounded."""
        features: Tensor = self.layers(images)
        return features


class TwoHead(Head):
    """Hour and minute as classes from a shared dense layer, a branch for each: the report's head (K1).

    Args:
        dense: units of the shared layer.
        hour_units, minute_units: units of the branches' hidden layers.
        dropout: after the shared layer.
    """

    def __init__(
        self,
        in_shape: Shape,
        info: ClockInfo,
        /,
        *,
        dense: Count = 128,
        hour_units: Count = 64,
        minute_units: Count = 256,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.shared = _shared(in_shape, (dense,), dropout)
        self.hour = nn.Sequential(nn.Linear(dense, hour_units), nn.ReLU(), nn.Linear(hour_units, 12))
        self.minute = nn.Sequential(nn.Linear(dense, minute_units), nn.ReLU(), nn.Linear(minute_units, 60))

    def forward(self, features: Tensor) -> HandLogits:
        """[B, C, H, W] -> hour [B, 12] and minute [B, 60] logits."""
        shared = self.shared(features)
        return HandLogits(self.hour(shared), self.minute(shared))


class Single720(Head):
    """One class for each of the 720 times (K4).

    Args:
        dense: units of the hidden layers.
        dropout: after each of them.
    """

    def __init__(self, in_shape: Shape, info: ClockInfo, /, *, dense: Dense = (128,), dropout: Share = 0.0) -> None:
        super().__init__()
        self.layers = _dense(in_shape, dense, dropout, 720)

    def forward(self, features: Tensor) -> TimeLogits:
        """[B, C, H, W] -> [B, 720] logits."""
        return TimeLogits(self.layers(features))


class Regression(Head):
    """The time as numbers in [0, 1] through a sigmoid (K3).

    Args:
        outputs: 2 gives hour / 12 and minute / 60, 1 gives time / 720.
        dense: units of the hidden layers.
        dropout: after each of them.
    """

    def __init__(
        self, in_shape: Shape, info: ClockInfo, /, *, outputs: Literal[1, 2] = 2, dense: Dense = (128,), dropout: Share = 0.0
    ) -> None:
        super().__init__()
        self.hidden = _shared(in_shape, dense, dropout)
        self.answer = nn.Linear(_width(in_shape, dense), outputs)

    def forward(self, features: Tensor) -> Fractions:
        """[B, C, H, W] -> [B, outputs] in [0, 1]."""
        hidden = self.hidden(features).float()
        # Not nn.Linear's matrix product: autocast would round it to half precision, in which neighbouring times are the same number.
        return Fractions(torch.sigmoid((hidden[:, None] * self.answer.weight).sum(2) + self.answer.bias))


class Circular(Head):
    """Sine and cosine of both hands' angles: no jump anywhere on the dial.

    Args:
        dense: units of the hidden layers.
        dropout: after each of them.
    """

    def __init__(self, in_shape: Shape, info: ClockInfo, /, *, dense: Dense = (128,), dropout: Share = 0.0) -> None:
        super().__init__()
        self.layers = _dense(in_shape, dense, dropout, 4)

    def forward(self, features: Tensor) -> HandVectors:
        """[B, C, H, W] -> [B, 2] for each hand."""
        hour, minute = self.layers(features).float().split(2, dim=1)
        return HandVectors(hour, minute)


class ClockNet(nn.Module):
    """A backbone with a head on it, which may look at each picture in its four quarter turns.

    Args:
        backbone: from pictures to features.
        head: from features to what the task decodes.
        turn_average: evaluate each picture turned by 0, 90, 180 and 270 degrees and average what is read: log-probabilities, vectors, or
            fractions on their circle. Four times the work; for networks that were trained with RandomRotate90.

    Raises: ConfigError where quarter turns are asked for and the pictures are not square.
    """

    def __init__(self, info: ClockInfo, /, *, backbone: Backbone, head: Head, turn_average: bool = False) -> None:
        super().__init__()
        _, height, width = info.input_shape
        if turn_average and height != width:
            raise ConfigError(
                f"model clock_net: turn_average turns pictures by 90 degrees and needs square ones, got {height}x{width}; "
                "make them square under transforms.train and transforms.eval, or set turn_average to false"
            )
        self.backbone = backbone
        self.head = head
        self.turn_average = turn_average

    def forward(self, images: Tensor) -> ClockOutput:
        """[B, C, H, W] -> whatever the head gives."""
        if not self.turn_average or any(module.training for module in self.modules()):
            output: ClockOutput = self.head(self.backbone(images))
            return output
        outputs = [self.head(self.backbone(images.rot90(turns, (2, 3)))) for turns in range(4)]
        kind = type(outputs[0])
        names = [field.name for field in dataclasses.fields(kind)]
        averaged: ClockOutput = kind(*(_mean_of_turns(kind, torch.stack([getattr(output, name) for output in outputs])) for name in names))
        return averaged


def _mean_of_turns(kind: type[ClockOutput], values: Tensor) -> Tensor:
    """[4, B, N] one field of the outputs -> [B, N]."""
    if kind is HandVectors:
        return values.mean(0)
    if kind is Fractions:  # 0.99 and 0.01 are neighbours: their mean is 0, not 0.5
        angles = 2 * torch.pi * values
        mean = torch.atan2(angles.sin().mean(0), angles.cos().mean(0)) / (2 * torch.pi) % 1
        return torch.where(mean < 1, mean, 0.0)  # just below 0 is rounded to 1
    return values.float().log_softmax(2).mean(0)


def _normed(channels: int, filters: int, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]


def _shared(in_shape: Shape, dense: Dense, dropout: float) -> nn.Sequential:
    layers = nn.Sequential(Flatten())
    units = _width(in_shape, ())
    for width in dense:
        layers.extend([nn.Linear(units, width), nn.ReLU()])
        if dropout:
            layers.append(Dropout(dropout))
        units = width
    return layers


def _dense(in_shape: Shape, dense: Dense, dropout: float, outputs: int) -> nn.Sequential:
    """Hidden layers and the one that gives the answer."""
    return _shared(in_shape, dense, dropout).append(nn.Linear(_width(in_shape, dense), outputs))


def _width(in_shape: Shape, dense: Dense) -> int:
    channels, height, width = in_shape
    return dense[-1] if dense else channels * height * width
