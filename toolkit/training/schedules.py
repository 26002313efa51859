"""Learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from annotated_types import Ge, Gt, Le, Lt

from toolkit.errors import ConfigError

Share = Annotated[float, Ge(0), Lt(1)]
Point = Annotated[float, Gt(0), Lt(1)]
Factor = Annotated[float, Gt(0), Le(1)]
Schedule = Callable[[int], float]
"""Step within the phase (from 0) -> factor on the optimizer's learning rate. Pure, so that a resumed run needs no state of it."""


@runtime_checkable
class WatchingSchedule(Protocol):
    """A schedule that also depends on the scores so far. It is shown all rows each time, so that a resumed run needs no state of it."""

    def __call__(self, step: int, /) -> float:
        """The factor, given what was shown last."""

    def watch(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows (as in metrics.jsonl) of the phase's epochs so far: at its start and after each epoch."""


def constant_rate(step: int) -> float:
    """The learning rate as it is."""
    return 1.0


def constant(steps: int, /, *, warmup: Share = 0.0) -> Schedule:
    """The learning rate as it is.

    Args:
        warmup: share of the steps over which it rises linearly from nothing.
    """
    return _warmed_up(lambda progress: 1.0, steps, warmup)


def cosine(steps: int, /, *, warmup: Share = 0.0, final: Annotated[float, Ge(0), Le(1)] = 0.0) -> Schedule:
    """Half a cosine from 1 to `final` (SGDR, Loshchilov & Hutter, ICLR 2017, without restarts).

    Args:
        warmup: share of the steps over which the rate rises linearly from nothing.
        final: the factor at the end.

    >>> [round(cosine(4)(step), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return _warmed_up(lambda progress: final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2, steps, warmup)


def one_cycle(steps: int, /, *, warmup: Point = 0.3, start: Factor = 0.04) -> Schedule:
    """Up from `start` to 1 and down to nearly 0, both along half a cosine (Smith & Topin, 2018; torch's OneCycleLR).

    Args:
        warmup: share of the steps that go up.
        start: the factor at the first step.
    """
    top, end = max(0.0, warmup * steps - 1), steps - 1

    def factor(step: int) -> float:
        if step < top:
            return start + (1 - start) * (1 - math.cos(math.pi * step / top)) / 2
        progress = (step - top) / (end - top) if end > top else 0.0
        return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def step_decay(steps: int, /, *, at: tuple[Point, ...] = (0.5, 0.75), gamma: Factor = 0.1, warmup: Share = 0.0) -> Schedule:
    """The rate is multiplied by `gamma` at each point.

    Args:
        at: points as shares of the phase's steps.
        gamma: the factor at each of them.
        warmup: share of the steps over which the rate rises linearly from nothing; the points stay where they are.

    >>> [round(step_decay(8)(step), 3) for step in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    """
    turns = [round(point * steps) for point in at]
    ramp = constant(steps, warmup=warmup)
    return lambda step: ramp(step) * gamma ** sum(step >= turn for turn in turns)


def exponential(steps: int, /, *, gamma: Factor = 0.96, every: Annotated[int, Ge(1)] = 10_000, warmup: Share = 0.0) -> Schedule:
    """gamma ** (step / every), smoothly (Keras's ExponentialDecay).

    Args:
        gamma: the factor after `every` steps.
        every: steps of the optimizer.
        warmup: share of the steps over which the rate also rises linearly from nothing.
    """
    ramp = constant(steps, warmup=warmup)
    return lambda step: ramp(step) * float(gamma ** (step / every))


class Plateau:
    """The rate is multiplied by `gamma` where a validation score has not become better for `patience` epochs (Keras's ReduceLROnPlateau).

    Args:
        metric: the score that is watched, such as val/loss.
        mode: min where less is better, max where more is.
        gamma: the factor at each plateau.
        patience: epochs without a better score.
        min_delta: what counts as better.
        lowest: the factor of the plateaus never falls below it.
        decay: besides, the rate falls as 1 / (1 + decay step): the `decay` of Keras's older optimizers, which can be had with its callback.
        warmup: share of the steps over which the rate rises linearly from nothing.
    """

    def __init__(
        self,
        steps: int,
        /,
        *,
        metric: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        gamma: Factor = 0.1,
        patience: Annotated[int, Ge(1)] = 5,
        min_delta: Annotated[float, Ge(0)] = 1e-4,
        lowest: Annotated[float, Ge(0)] = 0.0,
        decay: Annotated[float, Ge(0)] = 0.0,
        warmup: Share = 0.0,
    ) -> None:
        self._metric, self._sign = metric, 1 if mode == "max" else -1
        self._gamma, self._patience, self._min_delta, self._lowest = gamma, patience, min_delta, lowest
        self._factor = 1.0
        self._decayed = inverse_time(steps, decay=decay, warmup=warmup)

    def __call__(self, step: int) -> float:
        return self._factor * self._decayed(step)

    def watch(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Walk through all epochs from the first. Raises: ConfigError where they have no such score."""
        self._factor, best, since = 1.0, -math.inf, 0
        for row in rows:
            if self._metric not in row:
                known = ", ".join(name for name in row if name.startswith("val/"))
                raise ConfigError(f"schedule plateau: no score named '{self._metric}' in epoch {row['epoch']}; there are: {known}")
            value = self._sign * row[self._metric]
            best, since = (value, 0) if value > best + self._min_delta else (best, since + 1)
            if since >= self._patience:
                self._factor, since = max(self._lowest, self._factor * self._gamma), 0


def inverse_time(steps: int, /, *, decay: Annotated[float, Ge(0)] = 5e-4, warmup: Share = 0.0) -> Schedule:
    """1 / (1 + decay step): the `decay` of Keras's older optimizers.

    Args:
        decay: per step of the optimizer.
        warmup: share of the steps over which the rate also rises linearly from nothing.

    >>> round(inverse_time(10, decay=0.5)(2), 3)
    0.5
    """
    ramp = constant(steps, warmup=warmup)
    return lambda step: ramp(step) / (1 + decay * step)


def _warmed_up(main: Callable[[float], float], steps: int, warmup: float) -> Schedule:
    warm_steps = round(warmup * steps)

    def factor(step: int) -> float:
        if step < warm_steps:
            return (step + 1) / (warm_steps + 1)
        return main((step - warm_steps) / max(1, steps - warm_steps))

    return factor
