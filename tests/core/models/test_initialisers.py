"""Deviations, limits and biases of every initialiser, and that torch's own is left alone."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import nn

from toolkit.models.initialisers import Initialiser, initialise


def drawn(module: nn.Linear | nn.Conv2d, initialiser: Initialiser) -> nn.Linear | nn.Conv2d:
    torch.manual_seed(0)
    initialise(nn.Sequential(nn.ReLU(), module), initialiser)
    return module


@pytest.mark.parametrize(
    ("initialiser", "deviation"),
    [
        ("glorot_uniform", math.sqrt(2 / (784 + 512))),
        ("glorot_normal", math.sqrt(2 / (784 + 512))),
        ("lecun_uniform", math.sqrt(1 / 784)),
        ("he_normal", math.sqrt(2 / 784)),
        ("he_uniform", math.sqrt(2 / 784)),
        ("normal", 0.05),
    ],
)
def test_initial_weights_have_the_deviation_of_their_name(initialiser: Initialiser, deviation: float) -> None:
    dense = drawn(nn.Linear(784, 512), initialiser)
    assert dense.weight.std().item() == pytest.approx(deviation, rel=0.01)  # 400,000 weights: a standard error of about 0.1 %
    assert dense.weight.mean().item() == pytest.approx(0, abs=0.01 * deviation)
    assert dense.bias is not None
    assert dense.bias.abs().max() == 0
    largest = {"uniform": math.sqrt(3), "normal": 2 / 0.8796}[initialiser.rpartition("_")[2]]
    if initialiser != "normal":
        assert dense.weight.abs().max().item() == pytest.approx(largest * deviation, rel=1e-3)


@pytest.mark.parametrize(("initialiser", "fans"), [("glorot_uniform", (64 + 128) / 2), ("he_normal", 64), ("he_uniform", 64)])
def test_fans_of_a_convolution_count_the_pixels_of_its_kernel(initialiser: Initialiser, fans: float) -> None:
    conv = drawn(nn.Conv2d(64, 128, 5), initialiser)
    variance = {"glorot": 1.0, "he": 2.0}[initialiser.partition("_")[0]] / (25 * fans)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.01)


def test_a_convolution_in_groups_counts_the_inputs_of_its_own_group_only() -> None:
    conv = drawn(nn.Conv2d(96, 256, 5, groups=2), "he_normal")
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (25 * 48)), rel=0.01)


def test_a_layer_without_bias_is_drawn_too() -> None:
    conv = drawn(nn.Conv2d(3, 512, 5, bias=False), "normal")
    assert conv.weight.std().item() == pytest.approx(0.05, rel=0.02)


def test_torch_leaves_weights_and_biases_as_pytorch_made_them() -> None:
    dense = nn.Linear(8, 4)
    weight, bias = dense.weight.clone(), dense.bias.clone()
    drawn(dense, "torch")
    assert torch.equal(dense.weight, weight)
    assert torch.equal(dense.bias, bias)


def test_layers_of_other_kinds_keep_their_weights() -> None:
    norm = nn.BatchNorm2d(4)
    initialise(norm, "normal")
    assert norm.weight.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("initialiser", get_args(Initialiser))
def test_every_name_of_the_option_can_be_drawn(initialiser: Initialiser) -> None:
    assert drawn(nn.Linear(3, 2), initialiser).weight.isfinite().all()
