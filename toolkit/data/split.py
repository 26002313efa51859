"""Cut validation from the training part of a data set that publishes none."""

from __future__ import annotations

import numpy as np

from toolkit.config.run_config import ValidationConfig
from toolkit.data.order import Indices
from toolkit.errors import DataError


def validation_indices(count: int, config: ValidationConfig) -> tuple[Indices, Indices]:
    """Which of `count` samples train and which validate, each sorted; every sample is in exactly one part.

    The samples are drawn by NumPy's PCG64 with `config.seed`, whatever the seed of the run, so that runs with several
    seeds share one validation part. A share is rounded to the nearest number of samples and leaves at least one in either
    part. The folds of one seed are cut from one permutation: they are disjoint, together they are everything, and their
    sizes differ by at most one.

    Raises: DataError, if there are too few samples to give each part one.

    >>> train, validation = validation_indices(10, ValidationConfig(share=0.2, seed=0))
    >>> len(train), len(validation)
    (8, 2)
    """
    needed = 2 if config.fold is None else config.folds
    if count < needed:
        raise DataError(f"the training part has {count} samples, too few to cut validation from it; expected at least {needed}")
    drawn = np.random.Generator(np.random.PCG64(config.seed)).permutation(count)
    if config.fold is None:
        held_out = drawn[: min(max(round(count * config.share), 1), count - 1)]
    else:
        held_out = np.array_split(drawn, config.folds)[config.fold]
    validates = np.zeros(count, dtype=bool)
    validates[held_out] = True
    return np.flatnonzero(~validates), np.flatnonzero(validates)
