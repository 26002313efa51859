"""From any head's output to a distribution over the 720 times, and from that to the time of least expected error.

The hour hand's place tells the minute and the minute hand tells how far the hour hand is on its way: both must fit. Read apart,
they disagree near the full hour, where a hair's breadth of the hour hand is a whole hour: 3:59 becomes 4:59 or 4:00 becomes 3:00.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from toolkit_clock.types import HALF_DAY_MIN, ClockOutput, Fractions, HandLogits, HandVectors, TimeLogits, circular_error_min

_VECTOR_DEVIATIONS = 0.15, 0.1  # of hour and minute hand, in radians; half an hour is 0.26 on the one, a minute 0.105 on the other
_FRACTION_DEVIATIONS = 1 / 24, 1 / 60  # of hour / 12 and minute / 60: half an hour, a minute
_MISTAKEN = 0.01  # share of an hour head's probability that is taken to be anywhere
_SINGLE_DEVIATION = 1 / 720  # of time / 720: a minute


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # or what evaluation made first could not be used in training
def circular_distances(device: torch.device) -> Tensor:
    """[720, 720] float32 minutes between any two times on the 12-hour circle."""
    times = torch.arange(HALF_DAY_MIN, device=device)
    return circular_error_min(times[:, None], times).float()


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def hour_as_seen(coupling_hours: float, device: torch.device) -> Tensor:
    """[720, 12] float32: how probable it is at each time that the hour hand seems to be within each hour.

    The hand stands at time / 60 hours and is misjudged by a normal error of `coupling_hours`: at 3:59 it seems past 4 nearly half
    of the time, at 3:30 never. `coupling_hours` > 0.
    """
    times = torch.arange(HALF_DAY_MIN, dtype=torch.float64)
    hours = torch.arange(12, dtype=torch.float64)
    begins = (hours - times[:, None] / 60 + 6) % 12 - 6  # [720, 12] from the hand to the hour's beginning, the short way round
    seen: Tensor = torch.special.ndtr((begins + 1) / coupling_hours) - torch.special.ndtr(begins / coupling_hours)
    return (seen / seen.sum(1, keepdim=True)).float().to(device)


def time_log_probabilities(output: ClockOutput, coupling_hours: float) -> Tensor:
    """[B, 720] log-probabilities of every time, differentiable.

    Two heads: the minute head's probability, times the hour's given the minute. That is the hour head's own probability, times the
    likelihood that a head which sees the hand there divides its probability among the hours as this one does (`hour_as_seen`): one that
    wavers between 3 and 4 has seen a hand near 4 o'clock, which at 59 minutes means 3:59 and not 4:59. A head that is sure is believed:
    hour hands that stand still within the hour, as on cheap dials, are read as they are. With `coupling_hours` 0 the heads are just
    multiplied. Vectors and regression are taken as normal errors of fixed width; the hour of a regression is a whole number that holds no
    trace of where the hand is, so it cannot be coupled.
    """
    match output:
        case HandLogits(hour, minute):
            said = hour.log_softmax(1)  # [B, 12]
            given_minute = said[:, :, None]
            if coupling_hours:
                expected = (1 - _MISTAKEN) * hour_as_seen(coupling_hours, hour.device) + _MISTAKEN / 12  # [720, 12]
                agreement = said.exp() @ expected.log().T  # [B, 720]
                given_minute = (agreement.view(-1, 12, 60) + given_minute).log_softmax(1)
            return (given_minute + minute.log_softmax(1)[:, None]).flatten(1)
        case TimeLogits(time):
            return time.log_softmax(1)
        case HandVectors():
            hour, minute = hand_vectors(torch.arange(HALF_DAY_MIN, device=output.hour.device))
            return _normal([(output.hour, hour), (output.minute, minute)], _VECTOR_DEVIATIONS)
        case Fractions(values) if values.shape[1] == 1:
            times = torch.arange(HALF_DAY_MIN, device=values.device)[:, None] / HALF_DAY_MIN
            return _normal([(values, times)], (_SINGLE_DEVIATION,))
        case Fractions(values):
            times = torch.arange(HALF_DAY_MIN, device=values.device)[:, None]
            return _normal([(values[:, :1], times // 60 / 12), (values[:, 1:], times % 60 / 60)], _FRACTION_DEVIATIONS)


def independent_reading(output: ClockOutput) -> Tensor:
    """[B] int64 time with each hand read by itself, as the report does: the most probable class, or the nearest whole number."""
    match output:
        case HandLogits(hour, minute):
            return hour.argmax(1) * 60 + minute.argmax(1)
        case TimeLogits(time):
            return time.argmax(1)
        case HandVectors(hour, minute):
            whole_hour = (_turned(hour) * 12).floor().long() % 12
            return whole_hour * 60 + (_turned(minute) * 60).round().long() % 60
        case Fractions(values) if values.shape[1] == 1:
            return (values[:, 0] * HALF_DAY_MIN).round().long().clamp(0, HALF_DAY_MIN - 1)
        case Fractions(values):
            hour, minute = (values[:, 0] * 12).round().long().clamp(0, 11), (values[:, 1] * 60).round().long().clamp(0, 59)
            return hour * 60 + minute


def hand_vectors(time_min: Tensor) -> tuple[Tensor, Tensor]:
    """[B] times -> [B, 2] sine and cosine of the hour hand's angle, and of the minute hand's."""
    hour, minute = time_min * (2 * torch.pi / HALF_DAY_MIN), time_min % 60 * (2 * torch.pi / 60)
    return torch.stack([hour.sin(), hour.cos()], 1), torch.stack([minute.sin(), minute.cos()], 1)


def _normal(pairs: list[tuple[Tensor, Tensor]], deviations: tuple[float, ...]) -> Tensor:
    """pairs: [B, D] output and [720, D] what it is at each time."""
    squares = [
        (output[:, None] - place).square().sum(2) / (2 * deviation**2) for (output, place), deviation in zip(pairs, deviations, strict=True)
    ]
    return torch.stack(squares).sum(0).neg().log_softmax(1)


def _turned(vector: Tensor) -> Tensor:
    """[B, 2] sine and cosine -> [B] share of a full turn, in [0, 1]."""
    return torch.atan2(vector[:, 0], vector[:, 1]) / (2 * torch.pi) % 1
