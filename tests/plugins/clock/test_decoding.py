"""Joint decoding: both heads and the hands' coupling against each hand read by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from toolkit_clock.decoding import circular_distances, hand_vectors, hour_as_seen, independent_reading, time_log_probabilities
from toolkit_clock.task import ClockTask
from toolkit_clock.types import ClockInfo, ClockOutput, Fractions, HandLogits, HandVectors, TimeLogits

TASK = ClockTask(ClockInfo((1, 8, 8)))
CPU = torch.device("cpu")
EVERY_TIME = torch.arange(720)


def heads(hours: dict[int, float], minutes: dict[int, float]) -> HandLogits:
    """One sample's logits from probabilities; classes that are not named share what is left."""

    def logits(given: dict[int, float], classes: int) -> torch.Tensor:
        rest = max(1e-5, (1 - sum(given.values())) / (classes - len(given)))
        return torch.tensor([[math.log(given.get(n, rest)) for n in range(classes)]])

    return HandLogits(logits(hours, 12), logits(minutes, 60))


def drawn_logits(samples: int) -> HandLogits:
    generator = torch.Generator().manual_seed(0)
    return HandLogits(torch.randn(samples, 12, generator=generator), torch.randn(samples, 60, generator=generator))


def joint(output: ClockOutput) -> int:
    return int(TASK.decode(output, torch.eye(3)[None]).time_min)


def test_the_coupling_is_the_tasks_option() -> None:
    wavering = heads({3: 0.45, 4: 0.55}, {59: 0.95})
    assert joint(wavering) == 239  # a hand that seems to be near 4 o'clock, with 59 minutes
    alone = ClockTask(ClockInfo((1, 8, 8)), coupling_hours=0).decode(wavering, torch.eye(3)[None])
    assert alone.time_min.tolist() == [299]


def test_what_evaluation_made_first_can_be_used_in_training() -> None:
    for made_once in (circular_distances, hour_as_seen):
        made_once.cache_clear()
    with torch.inference_mode():
        joint(heads({3: 0.5}, {59: 0.5}))
    output = HandLogits(torch.zeros(1, 12, requires_grad=True), torch.zeros(1, 60, requires_grad=True))
    TASK.decode(output, torch.eye(3)[None]).error_min_expected.sum().backward()
    assert output.hour.grad is not None


def test_distances_go_the_short_way_round_the_12_hour_circle() -> None:
    distances = circular_distances(CPU)
    assert distances[719, 1] == 2  # 11:59 and 0:01
    assert distances[0, 360] == distances.max() == 360
    for first, second in [(5, 715), (100, 461), (700, 20)]:
        assert distances[first, second] == min((first - second) % 720, (second - first) % 720)


def test_an_hour_is_seen_as_often_as_a_normal_error_of_the_hand_lets_it() -> None:
    seen = hour_as_seen(0.1, CPU)
    drawn = np.random.default_rng(0).normal(239 / 60, 0.1, 200_000)  # 3:59, a sixtieth of an hour before 4
    np.testing.assert_allclose(seen[239, [3, 4]], [np.mean(drawn < 4), np.mean(drawn >= 4)], atol=0.005)
    np.testing.assert_allclose(seen[0, [11, 0]], [0.5, 0.5], atol=1e-6)
    assert seen[210, 3] > 0.9999  # half past three
    np.testing.assert_allclose(seen.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("hours", "minutes", "read_apart", "read"),
    [
        ({3: 0.45, 4: 0.55}, {59: 0.9, 0: 0.1}, 4 * 60 + 59, 3 * 60 + 59),  # K6: an hour off, apart
        ({3: 0.55, 4: 0.45}, {0: 0.9, 59: 0.1}, 3 * 60, 4 * 60),
        ({0: 0.48, 1: 0.52}, {59: 1.0}, 60 + 59, 59),  # the report's 0:59 read as 1:59
        ({11: 0.6, 0: 0.4}, {1: 0.8, 2: 0.2}, 11 * 60 + 1, 1),  # over the twelve
        ({3: 0.98, 4: 0.012, 2: 1e-4}, {0: 0.95}, 3 * 60, 3 * 60),  # a sure head is believed, whichever neighbour has what is left
        ({3: 0.98, 2: 0.012, 4: 1e-4}, {59: 0.95}, 3 * 60 + 59, 3 * 60 + 59),
        ({7: 0.98}, {30: 0.9}, 7 * 60 + 30, 7 * 60 + 30),
    ],
)
def test_neighbouring_hours_are_weighed_by_where_the_minute_hand_is(
    hours: dict[int, float], minutes: dict[int, float], read_apart: int, read: int
) -> None:
    output = heads(hours, minutes)
    assert int(independent_reading(output)) == read_apart
    assert joint(output) == read


def test_without_coupling_both_heads_are_multiplied() -> None:
    output = drawn_logits(4)
    probabilities = time_log_probabilities(output, 0.0).exp()
    hour, minute = output.hour.softmax(1).numpy(), output.minute.softmax(1).numpy()
    np.testing.assert_allclose(probabilities, np.stack([np.outer(h, m).ravel() for h, m in zip(hour, minute, strict=True)]), rtol=1e-4)


def test_coupling_leaves_the_minute_head_at_its_word() -> None:
    output = drawn_logits(3)
    by_minute = time_log_probabilities(output, 0.1).exp().view(3, 12, 60).sum(1)
    np.testing.assert_allclose(by_minute, output.minute.softmax(1), rtol=1e-4)


def test_the_time_of_least_expected_error_is_a_median_not_the_most_probable_one() -> None:
    logits = torch.full((1, 720), -50.0)
    logits[0, [99, 110, 112]] = torch.tensor([0.4, 0.3, 0.3]).log()
    prediction = TASK.decode(TimeLogits(logits), torch.eye(3)[None])
    assert prediction.time_min.item() == 110  # 99 would cost 0.3 * 11 + 0.3 * 13 = 7.2 minutes
    assert prediction.error_min_expected.item() == pytest.approx(0.4 * 11 + 0.3 * 2, rel=1e-4)
    assert prediction.confidence.item() == pytest.approx(0.3, rel=1e-4)
    assert prediction.independent_min.item() == 99


def test_true_vectors_and_fractions_give_every_time_in_both_readings() -> None:
    hour, minute = hand_vectors(EVERY_TIME)
    outputs: list[ClockOutput] = [
        HandVectors(hour, minute),
        Fractions(EVERY_TIME[:, None] / 720),
        Fractions(torch.stack([EVERY_TIME // 60 / 12, EVERY_TIME % 60 / 60], 1)),
        TimeLogits(100 * torch.eye(720)),
    ]
    for output in outputs:
        prediction = TASK.decode(output, torch.eye(3).expand(720, 3, 3))
        assert torch.equal(prediction.time_min, EVERY_TIME), type(output).__name__
    off_the_hour = EVERY_TIME % 60 != 0  # exactly on the hour, rounding decides on which side a lone hour hand stands
    assert torch.equal(independent_reading(outputs[0])[off_the_hour], EVERY_TIME[off_the_hour])
    for output in outputs[1:]:
        assert torch.equal(independent_reading(output), EVERY_TIME)


def test_hands_turn_clockwise_from_twelve() -> None:
    hour, minute = hand_vectors(torch.tensor([3 * 60 + 30]))
    np.testing.assert_allclose(minute[0], [0, -1], atol=1e-6)  # at 6
    angle = np.deg2rad(105)  # half way from 3 (90 degrees) to 4 (120 degrees)
    np.testing.assert_allclose(hour[0], [np.sin(angle), np.cos(angle)], atol=1e-6)
