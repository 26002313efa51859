"""`Evaluation`: everything known after one pass over a split, as plots and reports see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from toolkit.data.sample import Pixels

PredictionT = TypeVar("PredictionT")


@dataclass(frozen=True)
class Evaluation(Generic[PredictionT]):
    """One split, evaluated. All tensors are on the CPU and in the order of the data set.

    Args:
        split: "train", "val" or "test": the first part of every score's name.
        ids: one per sample (N).
        predictions: batched, N samples.
        truths: batched, N samples (a tuple where ragged).
        losses: [N] the loss of each sample.
        scores: name without the split -> number, such as {"accuracy": 0.9, "loss": 0.3}.
        undefined: name without the split -> why there is no number.
        image: index -> [H, W, C] uint8 picture as in the file.
    """

    split: str
    ids: tuple[str, ...]
    predictions: PredictionT
    truths: Any
    losses: Tensor
    scores: Mapping[str, float]
    undefined: Mapping[str, str]
    image: Callable[[int], Pixels]
