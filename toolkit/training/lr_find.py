"""The learning-rate range test: one short training whose rate rises exponentially, until the loss diverges.

Source: Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3 (whose rate rises linearly); the
exponential rise and the stop at four times the lowest loss are those of fastai's learning-rate finder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from toolkit.data.repeated import RepeatedLoader
from toolkit.errors import ConfigError, NonFiniteError
from toolkit.evaluation.evaluate import Loss, Scorekeeper, total_loss
from toolkit.training.fit import Job, Trainer
from toolkit.training.listener import Listener

DIVERGED = 4.0
"""The test ends where the running loss is so many times its lowest."""

_MEMORY = 0.9  # of the running loss, per step
_SMOOTHED_SHARE = 1 / 40  # standard deviation of the smoothing, as a share of the planned steps
_LEAST_SMOOTHING = 2.0  # steps
_FEWEST = 10
_MARGIN = 0.01  # a fall by less than this share of the first loss is none,
_NOISE = 2.0  # nor is one by less than so many standard deviations of the batches' losses about the smoothed ones

RULE = "the rate at which the smoothed loss falls most steeply per decade, before its lowest point"


@dataclass(frozen=True)
class RangeTest:
    """Rates tried, the loss of each step's batch before the step, and the losses smoothed by a Gaussian over steps.

    diverged: whether the test ended early.
    suggested: by `RULE`; None where the loss never fell.
    tenth_of_lowest: a tenth of the rate at which the smoothed loss is lowest; None likewise.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged: bool
    suggested: float | None
    tenth_of_lowest: float | None


def range_test(job: Job, listener: Listener, *, low: float, high: float, steps: int) -> RangeTest:
    """Train the job's model for `steps` batches of its first phase while the rate rises from `low` to `high`.

    The weights are spoilt afterwards. Nothing is saved or validated.

    Raises: ConfigError where there are too few steps, the rates do not rise, or the loss is not finite from the start.
    """
    if steps < _FEWEST:
        raise ConfigError(f"{steps} steps are too few for a range test; expected at least {_FEWEST}")
    if not 0 < low < high:
        raise ConfigError(f"the learning rate goes from low {low:g} to high {high:g}; it must rise from above 0")
    losses = _Losses(job.loss, job.config.accumulate)
    batches = RepeatedLoader(job.train, steps, stop=lambda: has_diverged(losses.values()))
    config = replace(job.config, save_minutes=math.inf)
    trainer = Trainer(replace(job, loss=losses, train=batches, config=config, metrics=()), listener)
    phase = trainer.start_phase(job.config.phases[0])
    first = phase.rates[0]
    try:
        trainer.train_batches(replace(phase, schedule=lambda step: rate_at(step, low, high, steps) / first), Scorekeeper(job.task, ()))
        diverged = has_diverged(losses.values())
    except NonFiniteError:  # also an end of the test
        diverged = True
    values = [value for value in losses.values() if math.isfinite(value)]
    return read_range_test([rate_at(step, low, high, steps) for step in range(len(values))], values, steps, diverged)


def rate_at(step: int, low: float, high: float, steps: int) -> float:
    """The rate of a step (from 0).

    >>> [round(rate_at(step, 1e-4, 1.0, 5), 6) for step in range(5)]
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    return float(low * (high / low) ** (step / (steps - 1)))


def read_range_test(rates: list[float], losses: list[float], steps: int, diverged: bool) -> RangeTest:
    """What the losses say.

    Args:
        steps: planned ones, which set the smoothing.

    Raises: ConfigError where there are fewer than ten losses.
    """
    if len(losses) < _FEWEST:
        raise ConfigError(
            f"the loss diverged after {len(losses)} of {steps} steps, too soon for a range test; lower --low, or raise --steps"
        )
    smoothed = smooth(np.array(losses), steps)
    slope = np.gradient(smoothed, np.log10(rates))
    lowest = int(smoothed.argmin())
    noise = float((np.array(losses) - smoothed)[: lowest + 1].std())
    fell = lowest > 0 and smoothed[0] - smoothed[lowest] > max(_MARGIN * abs(smoothed[0]), _NOISE * noise)
    steepest = int(slope[: lowest + 1].argmin())
    return RangeTest(
        tuple(rates),
        tuple(losses),
        tuple(smoothed.tolist()),
        diverged,
        rates[steepest] if fell else None,
        rates[lowest] / 10 if fell else None,
    )


def smooth(losses: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Without lag: a running mean would shift every feature to higher rates."""
    smoothed: NDArray[np.float64] = gaussian_filter1d(losses, max(_LEAST_SMOOTHING, steps * _SMOOTHED_SHARE), mode="nearest")
    return smoothed


class _Losses:
    """A loss that remembers the mean of every batch, which may come in several parts."""

    def __init__(self, loss: Loss, parts: int) -> None:
        self._loss, self._parts = loss, parts
        self._means: list[float] = []

    def __call__(self, output: Any, encoded: Any) -> Mapping[str, Tensor]:
        terms = self._loss(output, encoded)
        self._means.append(float(total_loss(terms).detach().mean()))  # waits for the device: each step is looked at
        return terms

    def values(self) -> list[float]:
        """One loss per batch so far."""
        parts = [self._means[start : start + self._parts] for start in range(0, len(self._means), self._parts)]
        return [sum(part) / len(part) for part in parts]


def has_diverged(losses: list[float]) -> bool:
    """Whether the running mean of the losses has come to `DIVERGED` times its lowest, or a loss is not finite.

    >>> has_diverged([2.0] * 30), has_diverged([2.0] * 30 + [50.0]), has_diverged([2.0, float("nan")])
    (False, False, True)
    >>> has_diverged([2.0] * 30 + [50.0] * 3)
    True
    """
    running, lowest = 0.0, math.inf
    for number, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            return True
        running = _MEMORY * running + (1 - _MEMORY) * loss
        unbiased = running / (1 - _MEMORY**number)
        if number > 1 and unbiased > DIVERGED * abs(lowest):
            return True
        lowest = min(lowest, unbiased)
    return False
