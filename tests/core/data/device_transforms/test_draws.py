from __future__ import annotations

import numpy as np
from scipy.stats import kstest

from toolkit.data.device_transforms import Draws
from toolkit.data.device_transforms.draws import between, whole


def test_a_samples_numbers_do_not_depend_on_its_batch_nor_on_how_many_are_asked_for() -> None:
    alone = Draws((5, 1, 2), np.array([7])).uniforms(3)
    among = Draws((5, 1, 2), np.array([9, 7, 0])).uniforms(40)
    assert np.array_equal(alone[0], among[1, :3])


def test_seed_stream_epoch_and_position_each_give_other_numbers() -> None:
    kinds = [((5, 1, 2), 7), ((6, 1, 2), 7), ((5, 0, 2), 7), ((5, 1, 3), 7), ((5, 1, 2), 8), ((1, 5, 2), 7), ((5, 1), 7), ((5, 1, 2, 0), 7)]
    numbers = [Draws(entropy, np.array([position])).uniforms(1).item() for entropy, position in kinds]
    assert len(set(numbers)) == len(kinds)


def test_negative_and_huge_seeds_are_taken() -> None:
    numbers = [Draws((seed,), np.array([0])).uniforms(1).item() for seed in (-1, 0, 1, 2**64 - 2, 2**200 + 3)]
    assert len(set(numbers)) == 5


def test_numbers_are_uniform_over_positions_epochs_and_columns() -> None:
    """Counters that follow each other are what a weak hash would betray."""
    over_positions = Draws((0, 1, 0), np.arange(5000)).uniforms(3)
    over_epochs = np.array([Draws((0, 1, epoch), np.array([0])).uniforms(1).item() for epoch in range(2000)])
    over_columns = Draws((0, 1, 0), np.array([0])).uniforms(5000)[0]
    for numbers in (*over_positions.T, over_epochs, over_columns):
        assert kstest(numbers, "uniform").pvalue > 0.001
    assert np.abs(np.corrcoef(over_positions.T) - np.eye(3)).max() < 4 / np.sqrt(5000)  # four standard deviations
    assert abs(np.corrcoef(over_positions[:-1, 0], over_positions[1:, 0])[0, 1]) < 4 / np.sqrt(5000)


def test_whole_numbers_reach_both_ends_and_no_further() -> None:
    assert whole(np.array([0.0, 0.3, 0.5, 1 - 2.0**-53]), 2, 4).tolist() == [2, 2, 3, 4]
    assert between(np.array([0.0, 0.5]), (-1, 3)).tolist() == [-1, 1]


def test_known_numbers_stay_what_they_are() -> None:
    """A change here changes every run that is resumed. From our own first release."""
    assert Draws((0, 1, 0), np.array([0, 1])).uniforms(2).round(6).tolist() == [[0.816648, 0.872848], [0.002772, 0.284228]]
