"""What flows through reading a clock: times, what the heads give, and the answer.

A time is the minute of the half day, 0 .. 719: `60 * hour + minute` with hour 0 .. 11 (12 o'clock is hour 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from toolkit.data.sample import DataInfo, Target
from toolkit.errors import DataError

HALF_DAY_MIN = 720
MIRRORED_DIAL = (
    "mirrors the picture, but a mirrored clock face shows another time (9:00 looks like 3:00); "
    "leave flips and transposes out of transforms, turn the dial with Rotate or Affine instead"
)


@dataclass(frozen=True)
class TimeTarget(Target):
    """Which time a dial shows. It has no place in the picture, so turning, shifting and scaling leave it; mirroring is refused.

    Args:
        time_min: [] or [B] int64, minute of the half day, 0 .. 719.
    """

    time_min: Tensor

    moves = True  # so that the engines say when a transform mirrors the picture

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        """The same time. Raises: DataError for a mirrored dial."""
        if bool(mirrored.any()):
            raise DataError(f"a transform {MIRRORED_DIAL}")
        return self


@dataclass(frozen=True)
class HandLogits:
    """Two heads, one for each hand.

    Args:
        hour: [B, 12] logits.
        minute: [B, 60] logits.
    """

    hour: Tensor
    minute: Tensor


@dataclass(frozen=True)
class TimeLogits:
    """One head over all times. time: [B, 720] logits."""

    time: Tensor


@dataclass(frozen=True)
class Fractions:
    """Regression: [B, 2] hour / 12 and minute / 60, or [B, 1] time / 720; the truth lies in [0, 1)."""

    values: Tensor


@dataclass(frozen=True)
class HandVectors:
    """Where both hands point; the truth lies on the unit circle, 12 o'clock at (0, 1), and turns clockwise.

    Args:
        hour: [B, 2] sine and cosine of the hour hand's angle, which moves with the minutes.
        minute: [B, 2] sine and cosine of the minute hand's angle.
    """

    hour: Tensor
    minute: Tensor


ClockOutput = HandLogits | TimeLogits | Fractions | HandVectors


@dataclass(frozen=True)
class TimePrediction:
    """What was read, in two ways.

    Args:
        time_min: [] or [B] int64, the reading that counts (see `ClockTask.readings`).
        independent_min: [] or [B] int64, each hand read by itself.
        error_min_expected: [] or [B] float32, minutes that `time_min` is expected to be off by in the network's own estimate, which is not
            calibrated and was measured too low on pictures it was not trained with (see README). Regression and vectors say nothing of
            their errors: for them it follows from the fixed widths of `decoding`.
        confidence: [] or [B] float32, how probable it is that `joint` decoding is exact, in [0, 1], by the same estimate.
    """

    time_min: Tensor
    independent_min: Tensor
    error_min_expected: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class ClockInfo(DataInfo):
    """A data set of dials as models, metrics and plots see it."""


def clock_text(time_min: int) -> str:
    """The time as a dial shows it.

    >>> clock_text(239), clock_text(5)
    ('3:59', '12:05')
    """
    return f"{time_min // 60 or 12}:{time_min % 60:02d}"


def circular_error_min(predicted: Tensor, truth: Tensor) -> Tensor:
    """The report's common-sense error: minutes between two times on the 12-hour circle, 0 .. 360.

    >>> circular_error_min(torch.tensor([719, 59]), torch.tensor([1, 119]))     # 11:59 for 0:01, 0:59 for 1:59
    tensor([ 2, 60])
    """
    return steps_apart(predicted, truth, HALF_DAY_MIN)


def steps_apart(first: Tensor, second: Tensor, around: int) -> Tensor:
    """How far apart two places are on a circle of `around` steps, the short way round."""
    apart = (first - second).abs() % around
    return torch.minimum(apart, around - apart)
