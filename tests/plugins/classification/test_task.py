"""`ClassificationTask`: labels in, probabilities and captions out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.data.tree import select, stack
from toolkit.errors import PluginError
from toolkit_classification.task import ClassificationTask
from toolkit_classification.types import ClassificationInfo, ClassPrediction, LabelTarget

ANIMALS = ClassificationTask(ClassificationInfo((3, 8, 8), ("cat", "dog", "eel")))
EYES = torch.eye(3).expand(2, 3, 3)


def drawn(truth: int | None, size: int = 28) -> torch.Tensor:
    """A grey picture that the task takes for a dog with 90 %."""
    answer = ClassPrediction(torch.tensor([0.05, 0.9, 0.05]))
    return ANIMALS.draw(
        torch.full((3, size, size), 128, dtype=torch.uint8), answer, None if truth is None else LabelTarget(torch.tensor(truth))
    )


def caption_color(picture: torch.Tensor) -> str:
    """Whether the darkest strokes below the picture are red, green or grey."""
    red, green, blue = picture[:, 170:].float().reshape(3, -1).T[picture[:, 170:].sum(dim=0).flatten().argmin()].tolist()
    return "red" if red > green + 50 else "green" if green > red + 50 else "grey" if abs(red - green) + abs(red - blue) < 20 else "?"


def test_stacked_labels_are_their_own_encoding() -> None:
    batch = stack([LabelTarget(torch.tensor(2)), LabelTarget(torch.tensor(0))])
    encoded = ANIMALS.encode(batch, (8, 8))
    assert encoded.tolist() == [2, 0]
    assert encoded.dtype == torch.int64


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    powers = np.exp([0.0, 1.0, 2.0])
    probabilities = ANIMALS.decode(logits, EYES).probabilities.numpy()
    np.testing.assert_allclose(probabilities, [powers / powers.sum(), [1 / 3] * 3], rtol=1e-6)


def test_probabilities_of_low_precision_logits_are_float32() -> None:
    assert ANIMALS.decode(torch.zeros(2, 3, dtype=torch.bfloat16), EYES).probabilities.dtype == torch.float32


def test_another_number_of_logits_than_classes_is_refused() -> None:
    text = r"^the model's output has shape \[2, 5\]; expected \[samples, 3\], one logit for each of the 3 classes$"
    with pytest.raises(PluginError, match=text):
        ANIMALS.decode(torch.zeros(2, 5), EYES)


def test_spare_logits_have_no_part_in_the_answer() -> None:
    task = ClassificationTask(ANIMALS.info, spare_outputs=2)
    found = task.decode(torch.tensor([[0.0, 1.0, 2.0, 50.0, -3.0]]), EYES).probabilities
    assert torch.equal(found, ANIMALS.decode(torch.tensor([[0.0, 1.0, 2.0]]), EYES).probabilities)
    text = r"^the model's output has shape \[2, 3\]; expected \[samples, 5\], one logit for each of the 3 classes and 2 spare ones$"
    with pytest.raises(PluginError, match=text):
        task.decode(torch.zeros(2, 3), EYES)


def test_an_answer_is_described_with_its_five_best_classes() -> None:
    batch = ClassPrediction(torch.tensor([[0.25, 0.5, 0.25], [0.75, 0.0, 0.25]]))
    top5 = [["cat", 0.75], ["eel", 0.25], ["dog", 0.0]]
    assert ANIMALS.describe(select(batch, 1), (8, 8)) == {"class": "cat", "probability": 0.75, "top5": top5}
    seven = ClassificationTask(ClassificationInfo((3, 8, 8), tuple("abcdefg")))
    names = [name for name, _ in seven.describe(ClassPrediction(torch.tensor([1, 2, 3, 7, 6, 5, 4]) / 28), (8, 8))["top5"]]
    assert names == ["d", "e", "f", "g", "c"]


@pytest.mark.parametrize(("truth", "color"), [(1, "green"), (0, "red"), (None, "grey")])
def test_a_caption_is_green_where_right_red_where_wrong_and_grey_where_unknown(truth: int | None, color: str) -> None:
    assert caption_color(drawn(truth)) == color


def test_a_wrong_answer_has_a_second_line_with_the_truth() -> None:
    second_line = slice(168 + 23, None)
    assert drawn(1)[:, second_line].min() == 255  # nothing but white
    assert drawn(0)[:, second_line].min() < 255


def test_a_small_picture_is_enlarged_by_a_whole_number() -> None:
    picture = drawn(None, size=28)  # 6 x 28 = 168
    assert picture.dtype == torch.uint8
    assert picture.shape == (3, 168 + 46, 168)
    assert (picture[:, :168] == 128).all()


def test_a_large_picture_keeps_its_size() -> None:
    assert drawn(None, size=300).shape == (3, 300 + 46, 300)


def test_a_long_class_name_is_shortened_to_the_width_of_the_picture() -> None:
    task = ClassificationTask(ClassificationInfo((3, 8, 8), ("a very long name of a class " * 5, "dog")))
    picture = task.draw(torch.zeros(3, 32, 32, dtype=torch.uint8), ClassPrediction(torch.tensor([1.0, 0.0])), None)
    assert picture.shape == (3, 160 + 46, 160)
    assert (picture[:, 160:, :3] == 255).all()  # the margin stays free


def test_class_names_that_would_spoil_the_names_of_scores_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^class name 'top/bottom': names must be distinct and without '/', they end the names of scores$"
    ):
        ClassificationInfo((3, 8, 8), ("cat", "top/bottom"))
    with pytest.raises(ValueError, match=r"^class name 'cat': names must be distinct"):
        ClassificationInfo((3, 8, 8), ("cat", "dog", "cat"))
