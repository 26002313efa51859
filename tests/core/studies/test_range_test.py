"""The learning-rate range test: what is read from its losses."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.errors import ConfigError
from toolkit.training.lr_find import has_diverged, rate_at, read_range_test

STEPS = 200
RATES = [rate_at(step, 1e-5, 1.0, STEPS) for step in range(STEPS)]
LOGS = np.log10(RATES)


def test_the_rates_rise_by_one_factor_from_low_to_high() -> None:
    assert (RATES[0], RATES[-1]) == pytest.approx((1e-5, 1.0))
    assert np.diff(LOGS) == pytest.approx(5 / 199)


def test_the_suggestion_is_where_the_loss_falls_most_steeply_before_its_lowest_point() -> None:
    # falls most at 1e-3, rises from 10**-1.5
    losses = 2.3 - 2 / (1 + np.exp(-6 * (LOGS + 3))) + np.where(LOGS > -1.5, 4 * (LOGS + 1.5) ** 2, 0)
    test = read_range_test(RATES, losses.tolist(), STEPS, diverged=False)
    assert test.suggested == pytest.approx(1e-3, rel=0.1)


def test_the_second_rule_is_a_tenth_of_the_rate_with_the_lowest_loss() -> None:
    test = read_range_test(RATES, (1 + (LOGS + 2) ** 2).tolist(), STEPS, diverged=False)  # lowest at 1e-2
    assert test.tenth_of_lowest == pytest.approx(1e-3, rel=0.05)


def test_a_steeper_fall_after_the_lowest_point_is_not_suggested() -> None:
    losses = np.interp(LOGS, [-5, -4, -3, -2, -1.9, -1.8, 0], [2.0, 2.0, 1.0, 1.0, 9.0, 1.5, 1.5])
    test = read_range_test(RATES, losses.tolist(), STEPS, diverged=False)
    assert test.suggested is not None
    assert 1e-4 < test.suggested < 1e-3


def test_noise_of_single_batches_does_not_move_the_suggestion() -> None:
    clean = 2.3 - 2 / (1 + np.exp(-6 * (LOGS + 3)))
    noisy = clean + np.random.default_rng(0).normal(0, 0.05, STEPS)
    suggested = read_range_test(RATES, noisy.tolist(), STEPS, diverged=False).suggested
    assert suggested == pytest.approx(1e-3, rel=0.5)


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    noise = (2.3 + np.random.default_rng(0).normal(0, 0.3, STEPS)).tolist()
    for losses in ([2.3] * STEPS, np.linspace(2.3, 5.0, STEPS).tolist(), noise):
        test = read_range_test(RATES, losses, STEPS, diverged=False)
        assert (test.suggested, test.tenth_of_lowest) == (None, None)


def test_a_test_that_diverged_within_ten_steps_is_refused() -> None:
    told = r"^the loss diverged after 4 of 200 steps, too soon for a range test; lower --low, or raise --steps$"
    with pytest.raises(ConfigError, match=told):
        read_range_test(RATES[:4], [2.0, 2.0, 9.0, 50.0], STEPS, diverged=True)


def test_the_test_ends_at_four_times_the_lowest_running_loss_or_at_infinity() -> None:
    assert not has_diverged([2.0] * 20 + [1.0] * 20)
    assert not has_diverged([1.0] * 40 + [20.0])  # the running loss weighs the last one by about a tenth: 2.9
    assert has_diverged([1.0] * 40 + [40.0])
    assert has_diverged([1.0, float("inf")])
