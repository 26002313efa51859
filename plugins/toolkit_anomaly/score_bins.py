"""Histograms of scores so fine that rank statistics over billions of pixels can be read from them."""

from __future__ import annotations

import torch
from torch import Tensor

_MANTISSA_BITS = 11
_LOWEST, _OCTAVES = -20, 32
_DROPPED = 23 - _MANTISSA_BITS
_FIRST = (127 + _LOWEST) << _MANTISSA_BITS
NUM_BINS = _OCTAVES << _MANTISSA_BITS
"""65,536: every octave from 2**-20 to 2**12 is cut into 2048 bins; what lies below or above falls into the first or last one.

A bin spans a factor of at most 1 + 2**-11, so that two scores which differ by more than 0.05 % are told apart.
"""


def bin_of(scores: Tensor) -> Tensor:
    """[...] float32 scores, 0 or more -> [...] int64 bins in their order. NaN of either sign falls into the last one.

    >>> bin_of(torch.tensor([0.0, 0.5, 0.5001, 0.501])).diff().tolist()
    [38912, 0, 4]
    """
    known = scores.float().nan_to_num(nan=torch.inf, posinf=torch.inf)  # the bits of a NaN with a sign are those of a negative number
    bits = known.contiguous().view(torch.int32)  # positive floats are ordered as their bits are
    return ((bits >> _DROPPED) - _FIRST).clamp(0, NUM_BINS - 1).long()


def upper_edges() -> Tensor:
    """[NUM_BINS] float32: the lowest score of the next bin."""
    bits = (torch.arange(1, NUM_BINS + 1, dtype=torch.int32) + _FIRST) << _DROPPED
    return bits.view(torch.float32)


def threshold_leaving(counts: Tensor, share: float) -> float:
    """The lowest bin edge that at most `share` of the counted scores reach.

    It lies between 2**-20 and 2**12, the ends of the bins: lower scores count as if they were just below the lower end, and where more
    than `share` of them are 2**12 or higher, it is 2**12 although more reach it.

    Args:
        counts: [NUM_BINS] int64.
        share: in [0, 1).

    Raises: ValueError if nothing was counted.
    """
    total = int(counts.sum())
    if total == 0:
        raise ValueError("no scores were counted; a threshold needs at least one")
    above = counts.flip(0).cumsum(0).flip(0)  # in this bin or a higher one
    allowed = int((above <= share * total).long().argmax())  # the first bin that few enough reach
    if above[allowed] > share * total:
        return float(upper_edges()[-1])
    return float(upper_edges()[max(allowed - 1, 0)])
