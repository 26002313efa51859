"""What flows through image classification: labels, probabilities and class names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from toolkit.data.sample import DataInfo, Target


@dataclass(frozen=True)
class LabelTarget(Target):
    """Which class a picture shows; target, truth and (as a plain tensor) encoded value are the same number.

    Args:
        label: [] or [B] int64, an index into `ClassificationInfo.classes`.
    """

    label: Tensor


@dataclass(frozen=True)
class ClassPrediction:
    """How probable each class is.

    Args:
        probabilities: [N] or [B, N] float32, in [0, 1], adding up to 1.
    """

    probabilities: Tensor

    @cached_property
    def label(self) -> Tensor:
        """[] or [B] int64: the most probable class; several metrics ask for it."""
        return self.probabilities.argmax(dim=-1)


@dataclass(frozen=True)
class ClassificationInfo(DataInfo):
    """A classification data set as models, metrics and plots see it.

    Args:
        classes: one name per label; distinct and without a slash, because they end the names of scores.

    >>> ClassificationInfo((3, 32, 32), ("cat", "dog")).num_outputs
    2
    """

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.classes:
            if "/" in name or self.classes.count(name) > 1:
                raise ValueError(f"class name {name!r}: names must be distinct and without '/', they end the names of scores")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def num_outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)
