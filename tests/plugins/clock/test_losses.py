"""Losses against loops and by hand; that each can be learnt from its gradient alone."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.errors import ConfigError
from toolkit_clock.losses import ErrorMixture, ExpectedCircularError, TimeCrossEntropy, TimeSquaredError, spread_hands
from toolkit_clock.task import ClockTask
from toolkit_clock.types import ClockInfo, ClockOutput, Fractions, HandLogits, HandVectors, TimeLogits

INFO = ClockInfo((1, 8, 8))
TRUTH = torch.tensor([239, 0])  # 3:59 and 0:00


def blank(samples: int = 2) -> HandLogits:
    return HandLogits(torch.zeros(samples, 12), torch.zeros(samples, 60))


def values(loss: Any, output: ClockOutput, truth: torch.Tensor = TRUTH) -> dict[str, list[float]]:
    return {name: term.tolist() for name, term in loss(output, truth).items()}


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes_six_to_four() -> None:
    terms = values(TimeCrossEntropy(INFO), blank())
    assert terms["hour_cross_entropy"] == pytest.approx([0.6 * math.log(12)] * 2)
    assert terms["minute_cross_entropy"] == pytest.approx([0.4 * math.log(60)] * 2)
    assert values(TimeCrossEntropy(INFO), TimeLogits(torch.zeros(2, 720))) == {"time_cross_entropy": pytest.approx([math.log(720)] * 2)}


def test_a_spread_target_is_a_normal_distribution_on_the_circle() -> None:
    logits = torch.randn(1, 60, generator=torch.Generator().manual_seed(0))
    weights = np.array([math.exp(-(min((n - 59) % 60, (59 - n) % 60) ** 2) / (2 * 1.5**2)) for n in range(60)])
    target = 0.9 * weights / weights.sum() + 0.1 / 60
    expected = -(target * logits.log_softmax(1).numpy()[0]).sum()
    loss = TimeCrossEntropy(INFO, minute_weight=1.0, spread_min=1.5, label_smoothing=0.1)
    assert values(loss, HandLogits(torch.zeros(1, 12), logits), TRUTH[:1])["minute_cross_entropy"] == pytest.approx([expected], rel=1e-5)


def test_near_the_full_hour_the_hour_is_spread_as_the_minute_is() -> None:
    weights = [math.exp(-(n**2) / 2) for n in range(-12, 13)]  # of the minutes around 3:59, deviation 1
    past_four = sum(weights[13:]) / sum(weights)  # 0.3005
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(1))
    said = logits.log_softmax(1)[0].tolist()
    expected = -(1 - past_four) * said[3] - past_four * said[4]
    loss = TimeCrossEntropy(INFO, hour_weight=1.0, spread_min=1.0)
    assert values(loss, HandLogits(logits, torch.zeros(1, 60)), TRUTH[:1])["hour_cross_entropy"] == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize(("spread_min", "smoothing"), [(0.0, 0.0), (0.7, 0.0), (1.0, 0.0), (1.5, 0.0), (0.0, 0.2), (1.0, 0.2)])
def test_a_network_that_says_exactly_its_targets_is_read_right_at_every_time(spread_min: float, smoothing: float) -> None:
    every_time = torch.arange(720)
    hours, minutes = ((1 - smoothing) * target + smoothing / target.shape[1] for target in spread_hands(every_time, spread_min))
    output = HandLogits(hours.clamp(min=1e-9).log(), minutes.clamp(min=1e-9).log())
    read = ClockTask(INFO).decode(output, torch.eye(3).expand(720, 3, 3)).time_min
    assert read.tolist() == every_time.tolist()


def test_squared_errors_by_hand() -> None:
    two = Fractions(torch.tensor([[0.5, 0.5], [0.0, 0.0]]))
    terms = values(TimeSquaredError(INFO), two)
    assert terms == {"hour_mse": pytest.approx([0.25**2, 0]), "minute_mse": pytest.approx([(59 / 60 - 0.5) ** 2, 0])}
    assert values(TimeSquaredError(INFO), Fractions(torch.tensor([[0.5], [0.5]]))) == {
        "time_mse": pytest.approx([(239 / 720 - 0.5) ** 2, 0.25])
    }
    opposite = HandVectors(torch.tensor([[0.0, -1.0]]), torch.tensor([[0.0, 1.0]]))
    assert values(TimeSquaredError(INFO), opposite, TRUTH[1:]) == {"hour_mse": pytest.approx([4.0]), "minute_mse": pytest.approx([0.0])}


def test_the_expected_error_of_guessing_is_one_and_of_the_truth_zero() -> None:
    assert values(ExpectedCircularError(INFO, of="time"), blank()) == {"expected_error": pytest.approx([1.0, 1.0])}
    hands = values(ExpectedCircularError(INFO), blank())
    assert hands == {"hour_expected_error": pytest.approx([1.0, 1.0]), "minute_expected_error": pytest.approx([1.0, 1.0])}
    sure = HandLogits(torch.full((1, 12), -99.0), torch.full((1, 60), -99.0))
    sure.hour[0, 4], sure.minute[0, 59] = 99.0, 99.0  # 4:59 for 3:59: 60 minutes, a third of what guessing costs
    assert values(ExpectedCircularError(INFO, of="time"), sure, TRUTH[:1]) == {"expected_error": pytest.approx([60 / 180])}
    assert values(ExpectedCircularError(INFO), sure, TRUTH[:1]) == {
        "hour_expected_error": pytest.approx([1 / 3]),
        "minute_expected_error": pytest.approx([0.0], abs=1e-6),
    }


@pytest.mark.parametrize("of", ["hands", "time"])
def test_descending_the_expected_error_from_guessing_arrives_at_the_truth(of: Any) -> None:
    output = HandLogits(torch.zeros(2, 12, requires_grad=True), torch.zeros(2, 60, requires_grad=True))
    optimizer = torch.optim.Adam([output.hour, output.minute], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(ExpectedCircularError(INFO, of=of)(output, TRUTH).values())).sum())
        optimizer.step()
    assert (output.hour.argmax(1) * 60 + output.minute.argmax(1)).tolist() == TRUTH.tolist()


def test_a_mixture_is_the_weighted_terms_of_both() -> None:
    terms = values(ErrorMixture(INFO, cross_entropy=2.0, expected_error=0.5), blank())
    assert terms["hour_cross_entropy"] == pytest.approx([2 * 0.6 * math.log(12)] * 2)
    assert terms["minute_expected_error"] == pytest.approx([0.5] * 2)
    of_time = values(ErrorMixture(INFO, hour_weight=1.0, label_smoothing=0.1, of="time"), blank())
    assert of_time.keys() == {"hour_cross_entropy", "minute_cross_entropy", "expected_error"}
    assert of_time["hour_cross_entropy"] == pytest.approx([math.log(12)] * 2)


@pytest.mark.parametrize(
    ("loss", "output", "text"),
    [
        (
            TimeCrossEntropy(INFO),
            Fractions(torch.zeros(2, 2)),
            "cross_entropy cannot judge Fractions; it needs two_head or single_720",
        ),
        (TimeSquaredError(INFO), blank(), "mse cannot judge HandLogits; it needs regression or circular"),
        (
            ExpectedCircularError(INFO),
            Fractions(torch.zeros(2, 1)),
            "expected_error cannot judge Fractions; it needs two_head or single_720",
        ),
    ],
)
def test_a_loss_that_does_not_fit_the_head_is_refused(loss: Any, output: ClockOutput, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^loss {re.escape(text).replace('needs', 'needs the head')}, or choose another loss$"):
        loss(output, TRUTH)
