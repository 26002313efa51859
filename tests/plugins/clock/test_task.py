"""`ClockTask`: times in, two readings, JSON and a caption out."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from toolkit.data.tree import select, stack
from toolkit.errors import DataError, PluginError
from toolkit_clock.task import ClockTask
from toolkit_clock.types import ClockInfo, Fractions, HandLogits, TimeLogits, TimePrediction, TimeTarget

TASK = ClockTask(ClockInfo((1, 8, 8)))


def prediction(time_min: int, independent_min: int) -> TimePrediction:
    return TimePrediction(torch.tensor(time_min), torch.tensor(independent_min), torch.tensor(0.51234), torch.tensor(0.87654))


def test_stacked_times_are_their_own_encoding() -> None:
    assert TASK.encode(stack([TimeTarget(torch.tensor(239)), TimeTarget(torch.tensor(0))]), (8, 8)).tolist() == [239, 0]


def test_an_answer_is_described_as_a_dial_shows_it() -> None:
    assert TASK.describe(prediction(239, 299), (9, 9)) == {
        "time": "3:59", "error_min_expected": 0.512, "confidence": 0.8765, "time_independent": "4:59",
    }  # fmt: skip
    assert TASK.describe(prediction(5, 719), (9, 9))["time"] == "12:05"


def test_both_readings_of_a_batch_can_be_scored() -> None:
    batch = stack([prediction(239, 299), prediction(10, 10)])
    readings = TASK.readings(batch)
    assert {name: read.time_min.tolist() for name, read in readings.items()} == {"": [239, 10], "independent": [299, 10]}


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (torch.zeros(2, 72), " is a Tensor; expected one of HandLogits, TimeLogits, Fractions, HandVectors, as the clock's heads give"),
        (HandLogits(torch.zeros(2, 12), torch.zeros(2, 12)), " HandLogits.minute has shape [2, 12]; expected [samples, 60]"),
        (TimeLogits(torch.zeros(2, 700)), " TimeLogits.time has shape [2, 700]; expected [samples, 720]"),
        (Fractions(torch.zeros(2, 3)), " Fractions.values has shape [2, 3]; expected [samples, 1] or [samples, 2]"),
    ],
)
def test_an_output_of_another_shape_is_refused(output: Any, text: str) -> None:
    with pytest.raises(PluginError, match=f"^the model's output{re.escape(text)}$"):
        TASK.decode(output, torch.eye(3).expand(2, 3, 3))


def test_a_mirrored_dial_is_refused_with_the_reason_and_a_turned_one_keeps_its_time() -> None:
    target = TimeTarget(torch.tensor([5, 6]))
    assert target.moved(None, None, torch.tensor([False, False])) is target
    with pytest.raises(
        DataError, match=r"^a transform mirrors the picture, but a mirrored clock face shows another time \(9:00 looks like 3:00\)"
    ):
        target.moved(None, None, torch.tensor([False, True]))


def test_the_caption_grows_with_the_picture() -> None:
    drawn = TASK.draw(torch.zeros(3, 600, 1000, dtype=torch.uint8), prediction(239, 239), None)
    assert drawn.shape == (3, 600 + 120, 1000)


@pytest.mark.parametrize(("truth", "color"), [(239, "green"), (241, "amber"), (299, "red"), (None, "grey")])
def test_the_caption_is_green_where_exact_amber_within_five_minutes_else_red(truth: int | None, color: str) -> None:
    image = torch.full((3, 28, 28), 128, dtype=torch.uint8)
    drawn = TASK.draw(image, prediction(239, 239), None if truth is None else TimeTarget(torch.tensor(truth)))
    assert drawn.shape == (3, 224 + 64, 224)  # 8 x 28
    assert (drawn[:, :224] == 128).all()
    caption = drawn[:, 224:, 70:].float().reshape(3, -1)
    red, green, blue = caption[:, caption.sum(0).argmin()].tolist()
    expected = {"green": green > red + 50, "amber": red > green > blue + 50, "red": red > 2 * green, "grey": red == green == blue}
    assert expected[color]


def test_a_sample_of_a_batch_decodes_as_it_does_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    output = HandLogits(torch.randn(5, 12, generator=generator), torch.randn(5, 60, generator=generator))
    batch, alone = TASK.decode(output, torch.eye(3).expand(5, 3, 3)), TASK.decode(select(output, slice(3, 4)), torch.eye(3)[None])
    assert batch.time_min[3] == alone.time_min[0]
