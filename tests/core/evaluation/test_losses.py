"""Losses against NumPy loops and hand counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from toolkit.data.sample import DataInfo
from toolkit.evaluation.losses import L1, CrossEntropy, MeanSquaredError

INFO = DataInfo((1, 8, 8))


def random_logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def expected_cross_entropy(logits: np.ndarray, label: int, smoothing: float) -> float:
    """-sum of target * log softmax, written out."""
    log_probabilities = logits - np.log(np.exp(logits).sum())
    target = np.full(len(logits), smoothing / len(logits))
    target[label] += 1 - smoothing
    return float(-(target * log_probabilities).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_gives_each_sample_its_own_value(smoothing: float) -> None:
    logits, labels = random_logits(6, 4).double(), [0, 3, 2, 2, 1, 0]
    expected = [expected_cross_entropy(row, label, smoothing) for row, label in zip(logits.numpy(), labels, strict=True)]
    found = CrossEntropy(INFO, label_smoothing=smoothing)(logits, torch.tensor(labels))
    assert list(found) == ["cross_entropy"]
    np.testing.assert_allclose(found["cross_entropy"].numpy(), expected, rtol=1e-12)


def test_cross_entropy_of_label_maps_is_averaged_over_the_pixels_of_each_sample() -> None:
    logits, labels = random_logits(2, 3, 4, 5).double(), torch.arange(40).reshape(2, 4, 5) % 3
    expected = [
        np.mean([expected_cross_entropy(logits[b, :, y, x].numpy(), int(labels[b, y, x]), 0.0) for y in range(4) for x in range(5)])
        for b in range(2)
    ]
    np.testing.assert_allclose(CrossEntropy(INFO)(logits, labels)["cross_entropy"].numpy(), expected, rtol=1e-12)


def test_shares_of_fewer_classes_than_logits_give_the_others_nothing() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, -1.0]])
    expected = -(0.25 * logits.log_softmax(1)[0, 0] + 0.75 * logits.log_softmax(1)[0, 1])
    (found,) = CrossEntropy(INFO)(logits, torch.tensor([[0.25, 0.75]]))["cross_entropy"]
    torch.testing.assert_close(found, expected)


def test_mse_averages_the_squares_of_each_sample() -> None:
    output = torch.tensor([[[1.0, 2.0]], [[0.0, -3.0]]])
    assert MeanSquaredError(INFO)(output, torch.zeros(2, 1, 2))["mse"].tolist() == [2.5, 4.5]


def test_l1_averages_the_distances_of_each_sample() -> None:
    output = torch.tensor([[[1.0, 2.0]], [[0.0, -3.0]]])
    assert L1(INFO)(output, torch.zeros(2, 1, 2))["l1"].tolist() == [1.5, 1.5]


@pytest.mark.parametrize(("loss", "term"), [(MeanSquaredError, "mse"), (L1, "l1")])
def test_one_number_per_sample_needs_no_second_axis(loss: type[MeanSquaredError | L1], term: str) -> None:
    assert loss(INFO)(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 0.0]))[term].shape == (2,)


@pytest.mark.parametrize("loss", [MeanSquaredError, L1])
def test_shapes_that_would_broadcast_are_refused(loss: type[MeanSquaredError | L1]) -> None:
    text = r"^the model's output has shape \[4, 1\], the encoded target \[4\]; they must be equal$"
    with pytest.raises(ValueError, match=text):
        loss(INFO)(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_low_precision_outputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    found = CrossEntropy(INFO)(torch.zeros(2, 1000, dtype=dtype), torch.tensor([0, 999]))["cross_entropy"]
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([math.log(1000)] * 2, rel=1e-6)
    values = torch.tensor([[300.0, 0.5]], dtype=dtype)
    assert MeanSquaredError(INFO)(values, torch.zeros(1, 2))["mse"].tolist() == [(300.0**2 + 0.25) / 2]  # 300**2 overflows float16
    assert L1(INFO)(values, torch.zeros(1, 2))["l1"].tolist() == [150.25]


def test_gradients_flow_to_the_output() -> None:
    output = torch.zeros(1, 2, requires_grad=True)
    CrossEntropy(INFO)(output, torch.tensor([1]))["cross_entropy"].sum().backward()
    assert output.grad is not None
    assert output.grad.tolist() == [[0.5, -0.5]]  # softmax less the target
