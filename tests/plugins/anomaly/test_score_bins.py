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
    extremes = torch.tensor([0.0, 1e-30, -torch.inf, 1e30, torch.inf, torch.nan])
    assert bin_of(extremes).tolist() == [0, 0, 0, NUM_BINS - 1, NUM_BINS - 1, NUM_BINS - 1]


def test_nan_with_a_sign_falls_into_the_last_bin_too() -> None:
    negative = torch.tensor([-4194304], dtype=torch.int32).view(torch.float32)  # bits 0xFFC00000: what 0 / 0 gives on x86
    assert negative.isnan().all()
    assert bin_of(negative).item() == NUM_BINS - 1


def test_without_scores_there_is_no_threshold() -> None:
    with pytest.raises(ValueError, match="no scores were counted; a threshold needs at least one"):
        threshold_leaving(torch.zeros(NUM_BINS, dtype=torch.int64), 0.1)


def test_thresholds_end_where_the_bins_end() -> None:
    low, high = (torch.bincount(bin_of(torch.full((10,), score)), minlength=NUM_BINS) for score in (1e-30, 1e30))
    assert threshold_leaving(low, 0.0) == pytest.approx(2**-20, rel=1e-3)
    assert threshold_leaving(high, 0.0) == 2**12


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
def test_the_threshold_is_the_quantile_and_never_lets_more_through(share: float) -> None:
    scores = torch.rand(4000, generator=torch.Generator().manual_seed(1))
    threshold = threshold_leaving(torch.bincount(bin_of(scores), minlength=NUM_BINS), share)
    assert (scores > threshold).double().mean() <= share
    assert threshold == pytest.approx(np.quantile(scores.numpy(), 1 - share), rel=2e-3)
