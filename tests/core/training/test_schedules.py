"""Schedules against hand counts and torch's schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from toolkit.errors import ConfigError
from toolkit.training import schedules

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


def factors(schedule: schedules.Schedule, steps: int) -> list[float]:
    return [schedule(step) for step in range(steps)]


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_torchs_cosine_annealing(steps: int, final: float) -> None:
    expected = torch_factors(steps, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=steps, eta_min=final * BASE))
    assert factors(schedules.cosine(steps, final=final), steps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("steps", [10, 100, 333])
@pytest.mark.parametrize(("warmup", "start"), [(0.3, 0.04), (0.25, 0.1)])
def test_one_cycle_is_torchs(steps: int, warmup: float, start: float) -> None:
    def make(optimizer: Optimizer) -> lr_scheduler.LRScheduler:
        down = start * 1e4  # torch's final rate is the first one divided by this, ours is 1e-4 of the highest
        return lr_scheduler.OneCycleLR(
            optimizer, BASE, total_steps=steps, pct_start=warmup, div_factor=1 / start, final_div_factor=down, cycle_momentum=False
        )

    found = factors(schedules.one_cycle(steps, warmup=warmup, start=start), steps)
    assert found == pytest.approx(torch_factors(steps, make), abs=1e-12)


def test_one_cycle_rises_to_one_and_falls_to_nearly_nothing() -> None:
    assert [round(f, 4) for f in factors(schedules.one_cycle(9, warmup=1 / 3, start=0.2), 9)] == [
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
    assert all(1e-5 < factor <= 1 for factor in factors(schedules.one_cycle(steps, warmup=warmup), steps))


@pytest.mark.parametrize("steps", [8, 100])
def test_step_is_torchs_multi_step(steps: int) -> None:
    milestones = [steps // 2, steps * 3 // 4]
    expected = torch_factors(steps, lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma=0.1))
    assert factors(schedules.step_decay(steps), steps) == pytest.approx(expected, rel=1e-12)


def test_step_falls_at_each_of_its_points() -> None:
    assert factors(schedules.step_decay(10, at=(0.2, 0.5, 0.9), gamma=0.5), 10) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125]


def test_a_step_at_regular_points_is_torchs_step() -> None:
    expected = torch_factors(12, lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5))
    assert factors(schedules.step_decay(12, at=(0.25, 0.5, 0.75), gamma=0.5), 12) == pytest.approx(expected, rel=1e-12)


def test_exponential_falls_by_gamma_every_so_many_steps() -> None:
    expected = torch_factors(20, lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9 ** (1 / 4)))
    schedule = schedules.exponential(20, gamma=0.9, every=4)
    assert factors(schedule, 20) == pytest.approx(expected, rel=1e-12)
    assert schedule(8) == pytest.approx(0.81, rel=1e-12)


def test_constant_stays() -> None:
    assert factors(schedules.constant(5), 5) == [1, 1, 1, 1, 1]


def test_a_warm_up_rises_linearly_without_ever_standing_still() -> None:
    found = factors(schedules.constant(10, warmup=0.4), 10)
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1], abs=1e-12)
    assert found == pytest.approx(torch_factors(10, lambda o: lr_scheduler.LinearLR(o, start_factor=0.2, total_iters=4)), abs=1e-12)


def test_after_its_warm_up_a_cosine_has_the_rest_of_the_steps() -> None:
    found = factors(schedules.cosine(10, warmup=0.2), 10)
    assert found[:2] == pytest.approx([1 / 3, 2 / 3])
    assert found[2:] == pytest.approx(factors(schedules.cosine(8), 8))


@pytest.mark.parametrize("make", [schedules.step_decay, schedules.exponential, schedules.inverse_time, schedules.Plateau])
def test_a_warm_up_goes_before_a_schedule_without_moving_it(make: Callable[..., schedules.Schedule]) -> None:
    plain, warm = factors(make(20), 20), factors(make(20, warmup=0.1), 20)
    assert warm == pytest.approx([plain[0] / 3, plain[1] * 2 / 3, *plain[2:]], rel=1e-12)


def test_a_schedule_without_a_memory_gives_the_same_in_any_order() -> None:
    schedule = schedules.one_cycle(50)
    forwards = factors(schedule, 50)
    assert [schedule(step) for step in reversed(range(50))] == forwards[::-1]


def test_a_plateau_lowers_the_rate_where_torchs_does() -> None:
    losses = [1.0, 0.9, 0.95, 0.95, 0.91, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=BASE)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=1e-3, threshold_mode="abs")
    ours = schedules.Plateau(100, gamma=0.5, patience=3, min_delta=1e-3)  # torch waits for one epoch more than it is told, Keras does not
    rows: list[dict[str, float]] = []
    for epoch, loss in enumerate(losses, start=1):
        rows.append({"epoch": epoch, "val/loss": loss})
        theirs.step(loss)
        ours.watch(rows)
        assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"] / BASE), epoch
    assert ours(0) == 0.125


def test_a_plateau_that_is_shown_all_rows_at_once_knows_what_one_that_saw_each_knows() -> None:
    rows = [{"epoch": epoch, "val/accuracy": 0.5} for epoch in range(1, 9)]
    resumed = schedules.Plateau(10, metric="val/accuracy", mode="max", gamma=0.1, patience=2)
    resumed.watch(rows)
    assert resumed(3) == pytest.approx(1e-3)


def test_a_plateau_never_goes_below_its_lowest_factor() -> None:
    schedule = schedules.Plateau(10, gamma=0.1, patience=1, lowest=0.05)
    schedule.watch([{"epoch": epoch, "val/loss": 1.0} for epoch in range(1, 9)])
    assert schedule(0) == 0.05


def test_a_plateau_and_kerass_decay_can_be_had_together() -> None:
    plateau = schedules.Plateau(100, patience=1, gamma=0.1, decay=0.5)
    plateau.watch([{"epoch": 1, "val/loss": 1.0}, {"epoch": 2, "val/loss": 1.0}])
    assert plateau(6) == pytest.approx(0.1 / (1 + 0.5 * 6))


def test_a_plateau_names_the_scores_there_are() -> None:
    with pytest.raises(ConfigError, match=r"schedule plateau: no score named 'val/los' in epoch 1; there are: val/loss, val/accuracy"):
        schedules.Plateau(10, metric="val/los").watch([{"epoch": 1, "train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 0.5}])


def test_inverse_time_is_the_decay_of_kerass_older_optimizers() -> None:
    assert factors(schedules.inverse_time(5, decay=0.25), 5) == pytest.approx([1, 0.8, 1 / 1.5, 1 / 1.75, 0.5])
