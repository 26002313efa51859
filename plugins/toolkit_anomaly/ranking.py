"""Areas under curves and best F1, from rows of scores or from histograms over ordered bins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def f1_of(true_positives: int, false_positives: int, false_negatives: int) -> float:
    """Harmonic mean of precision and recall; 0 where nothing was found though there was something."""
    return 2 * true_positives / (2 * true_positives + false_positives + false_negatives)


def roc_of_rows(scores: Tensor, positive: Tensor) -> tuple[float | None, float]:
    """Area under the ROC curve (equal scores count half; None without negatives) and the best F1 over all thresholds; exact.

    Args:
        scores: [N] float64.
        positive: [N] bool, at least one true.

    >>> roc_of_rows(torch.tensor([0.1, 0.4, 0.35, 0.8], dtype=torch.float64), torch.tensor([False, False, True, True]))
    (0.75, 0.8)
    """
    levels, inverse = np.unique(scores.numpy(), return_inverse=True)
    bins, groups = len(levels), torch.from_numpy(inverse)
    positives, negatives = (torch.bincount(groups[which], minlength=bins) for which in (positive, ~positive))
    return area_under_roc(positives, negatives) if negatives.sum() else None, best_f1(positives, negatives)


def area_under_roc(positives: Tensor, negatives: Tensor) -> float:
    """Probability that a random positive lies in a higher bin than a random negative; the same bin counts half.

    Args:
        positives, negatives: [bins] counts, at least one of each.
    """
    positives, negatives = positives.double(), negatives.double()
    below = negatives.cumsum(0) - negatives / 2
    return float((positives * below).sum() / (positives.sum() * negatives.sum()))


def best_f1(positives: Tensor, negatives: Tensor) -> float:
    """The highest F1 that a threshold between two bins reaches; [bins] counts, at least one positive."""
    tp, fp = (counts.double().flip(0).cumsum(0) for counts in (positives, negatives))
    return float((2 * tp / (tp + fp + positives.sum())).max())


def area_under_pro(overlap: Tensor, negatives: Tensor, regions: int, limit: float = 0.3) -> float:
    """Area under the mean per-region overlap over the false positive rate, from rate 0 to `limit`, divided by `limit`.

    Args:
        overlap: [bins] float64, for each bin the sum over regions of the region's pixels in it divided by its area.
        negatives: [bins] counts of pixels outside of all regions.
        regions: how many there are.
    """
    zero = torch.zeros(1, dtype=torch.float64)
    rate = torch.cat([zero, negatives.double().flip(0).cumsum(0) / negatives.sum()])
    pro = torch.cat([zero, overlap.flip(0).cumsum(0) / regions])
    inside = rate <= limit
    rates, pros = rate[inside], pro[inside]
    beyond = len(rates)
    if beyond < len(rate) and rates[-1] < limit:  # the curve is straight within a bin
        share = (limit - rates[-1]) / (rate[beyond] - rates[-1])
        pros = torch.cat([pros, (pros[-1] + share * (pro[beyond] - pros[-1]))[None]])
        rates = torch.cat([rates, torch.tensor([limit], dtype=torch.float64)])
    return float(torch.trapezoid(pros, rates) / limit)
