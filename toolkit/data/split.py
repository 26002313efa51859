"""Cut validation from the training part of a data set that publishes none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.config.run_config import ValidationConfig
from toolkit.data.order import Indices
from toolkit.errors import DataError, PluginError


def validation_indices(count: int, config: ValidationConfig, groups: Sequence[str] | None = None) -> tuple[Indices, Indices]:
    """Which of `count` samples train and which validate, each sorted; every sample is in exactly one part.

    The samples are drawn by NumPy's PCG64 with `config.seed`, whatever the seed of the run, so that runs with several
    seeds share one validation part. A share is rounded to the nearest number of samples and leaves at least one in either
    part. The folds of one seed are cut from one permutation: they are disjoint, together they are everything, and their
    sizes differ by at most one.

    Samples of one group stay together: groups are drawn, and shares and sizes are counted in groups, in place of samples.

    Args:
        groups: the group of each sample (`Dataset.groups`); without them each sample is its own.

    Raises: DataError, if there are too few samples or groups to give each part one; PluginError if groups are not one for each sample.

    >>> train, validation = validation_indices(10, ValidationConfig(share=0.2, seed=0))
    >>> len(train), len(validation)
    (8, 2)
    """
    needed = 2 if config.fold is None else config.folds
    if groups is not None and len(groups) != count:
        raise PluginError(f"groups() of the data set gives {len(groups)} groups for {count} samples; expected one for each")
    numbers: dict[str, int] = {}  # in order of appearance, so that groups of one sample each are cut as no groups are
    group_of = np.arange(count) if groups is None else np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    drawable = count if groups is None else len(numbers)
    if drawable < needed:
        what = f"{count} samples" if groups is None else f"{count} samples in {drawable} groups"
        raise DataError(f"the training part has {what}, too few to cut validation from it; expected at least {needed}")
    drawn = np.random.Generator(np.random.PCG64(config.seed)).permutation(drawable)
    if config.fold is None:
        held_out = drawn[: min(max(round(drawable * config.share), 1), drawable - 1)]
    else:
        held_out = np.array_split(drawn, config.folds)[config.fold]
    validates = np.isin(group_of, held_out)
    return np.flatnonzero(~validates), np.flatnonzero(validates)
