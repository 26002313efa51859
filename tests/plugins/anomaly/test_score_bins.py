"""Bins keep the order of scores and tell apart what differs by 0.05 %."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit_anomaly.score_bins import NUM_BINS, bin_of, threshold_leaving, upper_edges


def test_bins_rise_with_the_score_and_tell_apart_what_differs_by_a_2048th() -> None:
    scores = torch.exp(torch.linspace(-13.0, 8.0, 5000))
    bins = bin_of(scores)
    assert (bins.diff() >= 0).all()
    assert (bin_of(scores * (1 + 2**-10.9)) > bins).all()


def test_every_score_lies_below_the_upper_edge_of_its_bin_and_not_below_the_one_before() -> None:
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(0)) + 1e-4
    bins, edges = bin_of(scores), upper_edges()
    assert (scores < edges[bins]).all()
    assert (scores >= edges[bins - 1]).all()


def test_nothing_falls_outside_of_the_bins() -> None:
    extremes = torch.tensor([0.0, 1e-30, 1e30, torch.inf, torch.nan])
    assert bin_of(extremes).tolist() == [0, 0, NUM_BINS - 1, NUM_BINS - 1, NUM_BINS - 1]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
def test_the_threshold_is_the_quantile_and_never_lets_more_through(share: float) -> None:
    scores = torch.rand(4000, generator=torch.Generator().manual_seed(1))
    threshold = threshold_leaving(torch.bincount(bin_of(scores), minlength=NUM_BINS), share)
    assert (scores > threshold).double().mean() <= share
    assert threshold == pytest.approx(np.quantile(scores.numpy(), 1 - share), rel=2e-3)
