"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import nn
from torch.optim import Optimizer

Params = Iterable[nn.Parameter]
Rate = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
Point = Annotated[float, Gt(0), Lt(1)]
Factor = Annotated[float, Gt(0), Le(1)]
Schedule = Callable[[int], float]
"""Step within the phase (from 0) -> factor on the optimizer's learning rate. Pure, so that a resumed run needs no state of it."""


def sgd(
    params: Params,
    /,
    *,
    lr: Rate = 0.01,
    momentum: Share = 0.0,
    weight_decay: NotNegative = 0.0,
    nesterov: bool = False,
) -> Optimizer:
    """Stochastic gradient descent.

    Args:
        lr: learning rate.
        momentum: of the running mean of gradients.
        weight_decay: L2 penalty added to the gradient.
        nesterov: look ahead along the momentum.
    """
    optimizer = torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)
    if momentum:  # torch makes these at the first step, and its fused kernel fails on a weight that first has a gradient in a later one
        for group in optimizer.param_groups:
            optimizer.state.update({parameter: {"momentum_buffer": torch.zeros_like(parameter)} for parameter in group["params"]})
    return optimizer


def adam(
    params: Params, /, *, lr: Rate = 1e-3, betas: tuple[Share, Share] = (0.9, 0.999), eps: Rate = 1e-8, weight_decay: NotNegative = 0.0
) -> Optimizer:
    """Adam (Kingma & Ba, ICLR 2015).

    Args:
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the denominator.
        weight_decay: L2 penalty added to the gradient.
    """
    return torch.optim.Adam(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def adamw(
    params: Params, /, *, lr: Rate = 1e-3, betas: tuple[Share, Share] = (0.9, 0.999), eps: Rate = 1e-8, weight_decay: NotNegative = 0.01
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019).

    Args:
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the denominator.
        weight_decay: share of each weight taken off per step, times the learning rate.
    """
    return torch.optim.AdamW(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def rmsprop(params: Params, /, *, lr: Rate = 1e-3, alpha: Share = 0.9, eps: Rate = 1e-7, momentum: Share = 0.0) -> Optimizer:
    """RMSprop (Tieleman & Hinton, 2012) with Keras's defaults (alpha 0.9, eps 1e-7), which are not PyTorch's.

    Args:
        lr: learning rate.
        alpha: decay of the running mean of squared gradients.
        eps: added to the denominator.
        momentum: of the running mean of steps.
    """
    return torch.optim.RMSprop(params, lr=lr, alpha=alpha, eps=eps, momentum=momentum)


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


def step_decay(steps: int, /, *, at: tuple[Point, ...] = (0.5, 0.75), gamma: Factor = 0.1) -> Schedule:
    """The rate is multiplied by `gamma` at each point.

    Args:
        at: points as shares of the phase's steps.
        gamma: the factor at each of them.

    >>> [round(step_decay(8)(step), 3) for step in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    """
    turns = [round(point * steps) for point in at]
    return lambda step: gamma ** sum(step >= turn for turn in turns)


def exponential(steps: int, /, *, gamma: Factor = 0.96, every: Annotated[int, Ge(1)] = 10_000) -> Schedule:
    """gamma ** (step / every), smoothly (Keras's ExponentialDecay).

    Args:
        gamma: the factor after `every` steps.
        every: steps of the optimizer.
    """
    return lambda step: float(gamma ** (step / every))


def _warmed_up(main: Callable[[float], float], steps: int, warmup: float) -> Schedule:
    warm_steps = round(warmup * steps)

    def factor(step: int) -> float:
        if step < warm_steps:
            return (step + 1) / (warm_steps + 1)
        return main((step - warm_steps) / max(1, steps - warm_steps))

    return factor
