"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.optim import Optimizer

Params = Iterable[nn.Parameter]
Rate = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]


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


def adadelta(params: Params, /, *, lr: Rate = 1.0, rho: Share = 0.95, eps: Rate = 1e-7, weight_decay: NotNegative = 0.0) -> Optimizer:
    """Adadelta (Zeiler, 2012) with Keras's eps; the paper has no learning rate, which is lr 1.

    Args:
        lr: learning rate. Keras's own default is 0.001.
        rho: decay of the running means of squared gradients and steps.
        eps: added to both.
        weight_decay: L2 penalty added to the gradient.
    """
    return torch.optim.Adadelta(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
