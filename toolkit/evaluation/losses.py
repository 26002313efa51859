"""Losses that several tasks share: plain tensors in, one value per sample out."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Lt
from torch import Tensor

from toolkit.data.sample import DataInfo


class CrossEntropy:
    """Cross-entropy of logits against class labels, in nats.

    Args:
        label_smoothing: share of the target taken from the true class and spread evenly over all N classes.

    >>> CrossEntropy(DataInfo((1, 8, 8)))(torch.zeros(1, 4), torch.tensor([2]))     # four equal logits: log 4
    {'cross_entropy': tensor([1.3863])}
    """

    def __init__(self, info: DataInfo, /, *, label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        """`output`: [B, N, ...] logits; `encoded`: [B, ...] int64 labels, or [B, n] shares of the first n <= N classes.

        Values of one sample (pixels) are averaged.
        """
        if encoded.is_floating_point():  # mixed labels; as a label says nothing of logits that stand for no class, nor do these
            encoded = F.pad(encoded, (0, max(0, output.shape[1] - encoded.shape[1])))
        loss = F.cross_entropy(_widened(output), encoded, reduction="none", label_smoothing=self.label_smoothing)
        return {"cross_entropy": _per_sample(loss)}


class MeanSquaredError:
    """Squared difference of two tensors of one shape, averaged over the numbers of each sample."""

    def __init__(self, info: DataInfo, /) -> None:
        pass

    def __call__(self, output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        """`output`, `encoded`: [B, ...]. Raises: ValueError where the shapes differ."""
        return {"mse": _per_sample(_difference(output, encoded).square())}


class L1:
    """Absolute difference of two tensors of one shape, averaged over the numbers of each sample."""

    def __init__(self, info: DataInfo, /) -> None:
        pass

    def __call__(self, output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        """`output`, `encoded`: [B, ...]. Raises: ValueError where the shapes differ."""
        return {"l1": _per_sample(_difference(output, encoded).abs())}


def _difference(output: Tensor, encoded: Tensor) -> Tensor:
    if output.shape != encoded.shape:  # [B, 1] - [B] would silently compare every sample with every other
        raise ValueError(f"the model's output has shape {list(output.shape)}, the encoded target {list(encoded.shape)}; they must be equal")
    return _widened(output) - encoded


def _widened(output: Tensor) -> Tensor:
    return output.to(torch.promote_types(output.dtype, torch.float32))  # bfloat16 has too few digits for a sum over classes or pixels


def _per_sample(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(dim=1)
