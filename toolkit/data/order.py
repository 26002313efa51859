"""Which samples make which batch: a pure function of (seed, epoch, position), the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConfigError

Indices = npt.NDArray[np.int64]

_ORDER, _AUGMENTATION = 0, 1
"""Keep the random streams of one seed apart."""


@dataclass(frozen=True)
class Order:
    """The batches of a part of `count` samples, as one process of `world` sees them.

    Args:
        batch_size: over all processes together.
        train: shuffle each epoch anew and leave out the last batch if it is not full; otherwise the data set's order, whole.
    """

    count: int
    batch_size: int
    train: bool
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank is {self.rank}; expected 0 to {self.world - 1}")
        if self.train and self.batch_size > self.count:
            raise ConfigError(
                f"an epoch has no batch of {self.batch_size}, since the training part has {self.count} samples; use at most {self.count}",
                path="fit.batch_size",
            )
        if self.train and self.batch_size < self.world:
            raise ConfigError(f"{self.batch_size} for {self.world} processes; use at least one sample for each", path="fit.batch_size")

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full + (rest > 0 and not self.train)

    def positions(self, epoch: int, batch: int) -> tuple[Indices, Indices]:
        """This process's share of a batch: the samples' places in the part, and their positions in the epoch."""
        stop = min((batch + 1) * self.batch_size, self.count)
        in_epoch = np.arange(batch * self.batch_size + self.rank, stop, self.world)
        return (_permutation(self.count, self.seed, epoch)[in_epoch] if self.train else in_epoch), in_epoch

    def entropy(self, epoch: int, position: int) -> tuple[int, ...]:
        """What the random transforms of the sample at `position` in the epoch are drawn from; evaluation repeats its draws each epoch."""
        return self.seed, _AUGMENTATION, epoch if self.train else 0, position


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> Indices:
    entropy = np.random.SeedSequence((seed, _ORDER, epoch))
    order: Indices = np.random.Generator(np.random.PCG64(entropy)).permutation(count)
    order.setflags(write=False)  # shared by all who ask
    return order
