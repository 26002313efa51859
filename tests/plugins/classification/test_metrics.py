"""Scores against scikit-learn and hand counts."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch

from toolkit.evaluation.metrics import Metric, Undefined
from toolkit_classification.metrics import Accuracy, AccuracyTop5, F1Macro
from toolkit_classification.types import ClassificationInfo, ClassPrediction, LabelTarget

Answers = tuple[torch.Tensor, torch.Tensor]


def info(num_classes: int) -> ClassificationInfo:
    return ClassificationInfo((1, 8, 8), tuple(f"c{n}" for n in range(num_classes)))


def random_answers(num_classes: int, samples: int = 200, seed: int = 0) -> Answers:
    """Probabilities that are right about half of the time, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, (samples,), generator=generator)
    logits = torch.randn(samples, num_classes, generator=generator)
    logits[torch.arange(samples), labels] += 1.2
    return logits.softmax(dim=1), labels


def sure_answers(predicted: list[int], true: list[int], num_classes: int) -> Answers:
    return torch.eye(num_classes)[predicted], torch.tensor(true)


def scores(metric: Metric[ClassPrediction], answers: Answers, batch_size: int = 1000) -> dict[str, float | Undefined]:
    for probabilities, labels in zip(answers[0].split(batch_size), answers[1].split(batch_size), strict=True):
        metric.update(ClassPrediction(probabilities), LabelTarget(labels))
    return dict(metric.compute())


def test_accuracy_is_that_of_scikit_learn() -> None:
    probabilities, labels = random_answers(7)
    expected = sklearn.metrics.accuracy_score(labels, probabilities.argmax(dim=1))
    assert scores(Accuracy(info(7)), (probabilities, labels))["accuracy"] == expected


def test_accuracy_of_a_class_is_its_recall() -> None:
    probabilities, labels = random_answers(4)
    expected = sklearn.metrics.recall_score(labels, probabilities.argmax(dim=1), average=None)
    found = scores(Accuracy(info(4)), (probabilities, labels))
    assert [found[f"accuracy/c{n}"] for n in range(4)] == pytest.approx(list(expected), abs=1e-12)


def test_accuracy_of_an_absent_class_is_undefined() -> None:
    found = scores(Accuracy(info(3)), sure_answers([0, 2, 0], [0, 0, 0], 3))
    assert found == {
        "accuracy": 2 / 3,
        "accuracy/c0": 2 / 3,
        "accuracy/c1": Undefined("no sample is of class 'c1'"),
        "accuracy/c2": Undefined("no sample is of class 'c2'"),
    }


def test_top5_accuracy_is_that_of_scikit_learn() -> None:
    probabilities, labels = random_answers(20)
    expected = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(20))
    assert scores(AccuracyTop5(info(20)), (probabilities, labels)) == {"accuracy_top5": expected}


def test_top5_takes_the_lower_label_of_equal_probabilities() -> None:
    equal = torch.full((8, 8), 1 / 8)
    assert scores(AccuracyTop5(info(8)), (equal, torch.arange(8))) == {"accuracy_top5": 5 / 8}


def test_top5_of_undefined_probabilities_is_never_right() -> None:
    assert scores(AccuracyTop5(info(8)), (torch.full((8, 8), torch.nan), torch.arange(8))) == {"accuracy_top5": 0.0}


def test_top5_says_nothing_about_five_classes() -> None:
    expected = {"accuracy_top5": Undefined("with 5 classes top-5 is always right")}
    assert scores(AccuracyTop5(info(5)), random_answers(5)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_f1_macro_is_that_of_scikit_learn(seed: int) -> None:
    probabilities, labels = random_answers(30, samples=40, seed=seed)  # so few that some classes are never true, some never predicted
    expected = sklearn.metrics.f1_score(labels, probabilities.argmax(dim=1), average="macro")
    assert scores(F1Macro(info(30)), (probabilities, labels))["f1_macro"] == pytest.approx(expected, abs=1e-12)


def test_f1_macro_counts_a_class_that_is_predicted_but_never_true_as_zero() -> None:
    # c0: 2 right, 3 true, 2 predicted: F1 4/5; c1: never true, predicted once: 0; c2: neither, left out
    assert scores(F1Macro(info(3)), sure_answers([0, 0, 1], [0, 0, 0], 3))["f1_macro"] == pytest.approx((4 / 5 + 0) / 2)


@pytest.mark.parametrize("metric", [Accuracy, AccuracyTop5, F1Macro])
def test_scores_do_not_depend_on_batches_or_order(metric: type[Accuracy | AccuracyTop5 | F1Macro]) -> None:
    probabilities, labels = random_answers(9)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    whole = scores(metric(info(9)), (probabilities, labels))
    assert scores(metric(info(9)), (probabilities[order], labels[order]), batch_size=7) == whole


@pytest.mark.parametrize("metric", [Accuracy, AccuracyTop5, F1Macro])
def test_without_samples_every_score_is_there_and_undefined(metric: type[Accuracy | AccuracyTop5 | F1Macro]) -> None:
    seen, unseen = metric(info(6)), metric(info(6))
    assert unseen.compute().keys() == scores(seen, random_answers(6)).keys()
    assert unseen.compute()[next(iter(unseen.compute()))] == Undefined("there are no samples")
