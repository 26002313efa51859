"""Optimizers against torch's classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from toolkit.errors import ConfigError
from toolkit.training import optim
from toolkit.training.timm_optimizers import build_timm_optimizer, timm_optimizer, timm_optimizer_names


def after_three_steps(make: Callable[[Any], Optimizer]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = make(model.parameters())
    for step in range(3):
        values = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(values).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (lambda p: optim.sgd(p), lambda p: torch.optim.SGD(p, lr=0.01)),
        (
            lambda p: optim.sgd(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        ),
        (lambda p: optim.adam(p), lambda p: torch.optim.Adam(p)),
        (
            lambda p: optim.adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
            lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
        ),
        (lambda p: optim.adamw(p), lambda p: torch.optim.AdamW(p)),
        (
            lambda p: optim.adamw(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
        ),
        (lambda p: optim.rmsprop(p), lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.9, eps=1e-7)),
        (
            lambda p: optim.rmsprop(p, lr=0.1, alpha=0.5, eps=1e-2, momentum=0.3),
            lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.5, eps=1e-2, momentum=0.3),
        ),
        (lambda p: optim.adadelta(p), lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.95, eps=1e-7)),
        (
            lambda p: build_timm_optimizer("adamw", p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
        ),
    ],
)
def test_an_optimizer_steps_as_torchs(ours: Callable[[Any], Optimizer], expected: Callable[[Any], Optimizer]) -> None:
    for found, wanted in zip(after_three_steps(ours), after_three_steps(expected), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ours", [lambda p: optim.sgd(p, momentum=0.9), optim.adam, optim.adamw, optim.rmsprop])
def test_a_weight_may_get_its_first_gradient_in_a_later_step(ours: Callable[[Any], Optimizer]) -> None:
    early, late = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = ours([early, late])
    for loss in (early.sum(), early.sum() + late.sum()):
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    alone = nn.Parameter(torch.ones(2))
    expected = ours([alone])
    torch.autograd.backward(alone.sum())
    expected.step()
    assert torch.equal(late, alone)
    assert not torch.equal(late, early)


def test_rmsprop_says_that_its_defaults_are_those_of_keras() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(optim.rmsprop).parameters.items()}
    assert (defaults["lr"], defaults["alpha"], defaults["eps"], defaults["momentum"]) == (1e-3, 0.9, 1e-7, 0.0)
    assert "Keras's defaults (alpha 0.9, eps 1e-7), which are not PyTorch's" in (optim.rmsprop.__doc__ or "")


def test_an_option_that_a_timm_optimizer_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"optimizer timm/lion: .*'?momentum'?.*; change or leave out the option it speaks of"):
        build_timm_optimizer("lion", [nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)


def test_timms_optimizers_are_found_by_name() -> None:
    assert {"lamb", "nadamw", "lion"} <= set(timm_optimizer_names())
    assert timm_optimizer("lambda") is None
