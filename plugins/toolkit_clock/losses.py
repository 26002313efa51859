"""What a wrong time costs: cross-entropy, squared error, expected circular error, and their mixture."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn import functional as F

from toolkit.errors import ConfigError
from toolkit_clock.decoding import circular_distances, hand_vectors, time_log_probabilities
from toolkit_clock.types import HALF_DAY_MIN, ClockInfo, ClockOutput, Fractions, HandLogits, HandVectors, TimeLogits, steps_apart

Weight = Annotated[float, Gt(0)]
Terms = dict[str, Tensor]


class TimeCrossEntropy:
    """Cross-entropy of the true hour and minute, or of the true one of 720 times; in nats.

    Args:
        hour_weight, minute_weight: of the two heads; the report's 6 : 4.
        label_smoothing: share of the target taken from the true class and spread evenly over all classes.
        spread_min: the target is a normal distribution of this deviation around the truth on the circle of 720 times, instead of one
            class. The hour head is given its share of each hour, the minute head its share of each minute: at 3:00 the minutes before
            belong to hour 2, as joint decoding expects. Neighbouring minutes then teach each other; 0 for the report's one class. With two
            heads at most 1.5, with `label_smoothing` at most 1: wider, some times near the full hour are misread even from outputs
            that equal the targets.
    """

    def __init__(
        self,
        info: ClockInfo,
        /,
        *,
        hour_weight: Weight = 0.6,
        minute_weight: Weight = 0.4,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        spread_min: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        self.hour_weight = hour_weight
        self.minute_weight = minute_weight
        self.label_smoothing = label_smoothing
        self.spread_min = spread_min

    def __call__(self, output: ClockOutput, encoded: Tensor) -> Terms:
        """`encoded`: [B] int64 minute of the half day. Raises: ConfigError for a head without classes."""
        match output:
            case HandLogits(hour, minute):
                hours, minutes = spread_hands(encoded, self.spread_min)
                return {
                    "hour_cross_entropy": self.hour_weight * self._cross_entropy(hour, hours),
                    "minute_cross_entropy": self.minute_weight * self._cross_entropy(minute, minutes),
                }
            case TimeLogits(time):
                return {"time_cross_entropy": self._cross_entropy(time, spread_times(encoded, self.spread_min))}
            case _:
                raise _unfit("cross_entropy", output, "two_head or single_720")

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), target, reduction="none", label_smoothing=self.label_smoothing)


class TimeSquaredError:
    """Squared difference from the truth: of hour / 12 and minute / 60, of time / 720, or of the hands' vectors; a term for each hand."""

    def __init__(self, info: ClockInfo, /) -> None:
        pass

    def __call__(self, output: ClockOutput, encoded: Tensor) -> Terms:
        """`encoded`: [B] int64 minute of the half day. Raises: ConfigError for a head of classes."""
        match output:
            case Fractions(values) if values.shape[1] == 1:
                return {"time_mse": (values[:, 0] - encoded / HALF_DAY_MIN).square()}
            case Fractions(values):
                hour, minute = (encoded // 60) / 12, (encoded % 60) / 60
                return {"hour_mse": (values[:, 0] - hour).square(), "minute_mse": (values[:, 1] - minute).square()}
            case HandVectors():
                hour, minute = hand_vectors(encoded)
                return {
                    "hour_mse": (output.hour - hour).square().sum(1),
                    "minute_mse": (output.minute - minute).square().sum(1),
                }
            case _:
                raise _unfit("mse", output, "regression or circular")


class ExpectedCircularError:
    """The common-sense error that is to be expected, differentiable: every answer's circular error times its probability (K5).

    The report built its loss on the error of the answer itself, which does not change with the weights until the answer does. The
    expectation does. In units of the error of guessing, so that it starts near 1.

    Args:
        of: `hands` adds the expected error of the hour on its circle of 12 and of the minute on its circle of 60, so both hands
            learn from the first step; `time` takes the error of the whole time on the circle of 720, where the minute counts
            little until the hour is known.
    """

    def __init__(self, info: ClockInfo, /, *, of: Literal["hands", "time"] = "hands") -> None:
        self.of = of

    def __call__(self, output: ClockOutput, encoded: Tensor) -> Terms:
        """`encoded`: [B] int64 minute of the half day. Raises: ConfigError for a head without classes."""
        match output:
            case HandLogits() | TimeLogits():
                probabilities = time_log_probabilities(output, 0.0).exp()  # [B, 720]
            case _:
                raise _unfit("expected_error", output, "two_head or single_720")
        if self.of == "time":
            apart_min = circular_distances(encoded.device)[encoded]
            return {"expected_error": (probabilities * apart_min).sum(1) / (HALF_DAY_MIN / 4)}
        joint = probabilities.view(-1, 12, 60)
        every_hour, every_minute = (torch.arange(count, device=encoded.device) for count in (12, 60))
        hours = steps_apart(every_hour, encoded[:, None] // 60, 12)  # [B, 12]
        minutes = steps_apart(every_minute, encoded[:, None] % 60, 60)  # [B, 60]
        return {
            "hour_expected_error": (joint.sum(2) * hours).sum(1) / 3,
            "minute_expected_error": (joint.sum(1) * minutes).sum(1) / 15,
        }


class ErrorMixture:
    """Cross-entropy plus the expected circular error.

    Args:
        cross_entropy, expected_error: weights of the two.
        hour_weight, minute_weight, label_smoothing, spread_min: as in `cross_entropy`.
        of: as in `expected_error`.
    """

    def __init__(
        self,
        info: ClockInfo,
        /,
        *,
        cross_entropy: Weight = 1.0,
        expected_error: Weight = 1.0,
        hour_weight: Weight = 0.6,
        minute_weight: Weight = 0.4,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        spread_min: Annotated[float, Ge(0)] = 0.0,
        of: Literal["hands", "time"] = "hands",
    ) -> None:
        classes = TimeCrossEntropy(
            info, hour_weight=hour_weight, minute_weight=minute_weight, label_smoothing=label_smoothing, spread_min=spread_min
        )
        self._parts = ((cross_entropy, classes), (expected_error, ExpectedCircularError(info, of=of)))

    def __call__(self, output: ClockOutput, encoded: Tensor) -> Terms:
        """The terms of both, weighted."""
        return {name: weight * values for weight, part in self._parts for name, values in part(output, encoded).items()}


def spread_times(time_min: Tensor, spread_min: float) -> Tensor:
    """[B, 720] a normal distribution of deviation `spread_min` around each time on the 12-hour circle; with 0 the time alone."""
    if not spread_min:
        return F.one_hot(time_min, HALF_DAY_MIN).float()
    apart_min = circular_distances(time_min.device)[time_min]
    return torch.softmax(-apart_min.square() / (2 * spread_min**2), dim=1)


def spread_hands(time_min: Tensor, spread_min: float) -> tuple[Tensor, Tensor]:
    """[B, 12] and [B, 60]: what of `spread_times` falls on each hour, and on each minute."""
    times = spread_times(time_min, spread_min).view(-1, 12, 60)
    return times.sum(2), times.sum(1)


def _unfit(loss: str, output: object, heads: str) -> ConfigError:
    return ConfigError(f"loss {loss} cannot judge {type(output).__name__}; it needs the head {heads}, or choose another loss")
