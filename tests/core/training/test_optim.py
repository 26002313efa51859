"""Optimizers against torch's classes; schedules against hand counts and torch's schedulers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from toolkit.training import optim

BASE = 0.5


def torch_factors(steps: int, make: Callable[[Optimizer], lr_scheduler.LRScheduler]) -> list[float]:
    """What one of torch's schedulers makes of the learning rate at each step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    factors = [optimizer.param_groups[0]["lr"] / BASE]
    for _ in range(steps - 1):
        optimizer.step()
        scheduler.step()
        factors.append(optimizer.param_groups[0]["lr"] / BASE)
    return factors


def factors(schedule: optim.Schedule, steps: int) -> list[float]:
    return [schedule(step) for step in range(steps)]


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_torchs_cosine_annealing(steps: int, final: float) -> None:
    expected = torch_factors(steps, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=steps, eta_min=final * BASE))
    assert factors(optim.cosine(steps, final=final), steps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("steps", [10, 100, 333])
@pytest.mark.parametrize(("warmup", "start"), [(0.3, 0.04), (0.25, 0.1)])
def test_one_cycle_is_torchs(steps: int, warmup: float, start: float) -> None:
    def make(optimizer: Optimizer) -> lr_scheduler.LRScheduler:
        down = start * 1e4  # torch's final rate is the first one divided by this, ours is 1e-4 of the highest
        return lr_scheduler.OneCycleLR(
            optimizer, BASE, total_steps=steps, pct_start=warmup, div_factor=1 / start, final_div_factor=down, cycle_momentum=False
        )

    found = factors(optim.one_cycle(steps, warmup=warmup, start=start), steps)
    assert found == pytest.approx(torch_factors(steps, make), abs=1e-12)


def test_one_cycle_rises_to_one_and_falls_to_nearly_nothing() -> None:
    assert [round(f, 4) for f in factors(optim.one_cycle(9, warmup=1 / 3, start=0.2), 9)] == [
        0.2,
        0.6,  # halfway up
        1.0,
        round(1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi / 6)) / 2, 4),
        round(1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi / 3)) / 2, 4),
        round(1e-4 + (1 - 1e-4) / 2, 4),  # halfway down
        round(1e-4 + (1 - 1e-4) * (1 - math.cos(math.pi / 3)) / 2, 4),
        round(1e-4 + (1 - 1e-4) * (1 - math.cos(math.pi / 6)) / 2, 4),
        0.0001,
    ]


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.01, 0.5, 0.99])
def test_one_cycle_of_hardly_any_steps_stays_within_its_bounds(steps: int, warmup: float) -> None:
    assert all(1e-5 < factor <= 1 for factor in factors(optim.one_cycle(steps, warmup=warmup), steps))


@pytest.mark.parametrize("steps", [8, 100])
def test_step_is_torchs_multi_step(steps: int) -> None:
    milestones = [steps // 2, steps * 3 // 4]
    expected = torch_factors(steps, lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma=0.1))
    assert factors(optim.step_decay(steps), steps) == pytest.approx(expected, rel=1e-12)


def test_step_falls_at_each_of_its_points() -> None:
    assert factors(optim.step_decay(10, at=(0.2, 0.5, 0.9), gamma=0.5), 10) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125]


def test_a_step_at_regular_points_is_torchs_step() -> None:
    expected = torch_factors(12, lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5))
    assert factors(optim.step_decay(12, at=(0.25, 0.5, 0.75), gamma=0.5), 12) == pytest.approx(expected, rel=1e-12)


def test_exponential_falls_by_gamma_every_so_many_steps() -> None:
    expected = torch_factors(20, lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9 ** (1 / 4)))
    schedule = optim.exponential(20, gamma=0.9, every=4)
    assert factors(schedule, 20) == pytest.approx(expected, rel=1e-12)
    assert schedule(8) == pytest.approx(0.81, rel=1e-12)


def test_constant_stays() -> None:
    assert factors(optim.constant(5), 5) == [1, 1, 1, 1, 1]


def test_a_warm_up_rises_linearly_without_ever_standing_still() -> None:
    found = factors(optim.constant(10, warmup=0.4), 10)
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1], abs=1e-12)
    assert found == pytest.approx(torch_factors(10, lambda o: lr_scheduler.LinearLR(o, start_factor=0.2, total_iters=4)), abs=1e-12)


def test_after_its_warm_up_a_cosine_has_the_rest_of_the_steps() -> None:
    found = factors(optim.cosine(10, warmup=0.2), 10)
    assert found[:2] == pytest.approx([1 / 3, 2 / 3])
    assert found[2:] == pytest.approx(factors(optim.cosine(8), 8))


def test_a_schedule_without_a_memory_gives_the_same_in_any_order() -> None:
    schedule = optim.one_cycle(50)
    forwards = factors(schedule, 50)
    assert [schedule(step) for step in reversed(range(50))] == forwards[::-1]


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
