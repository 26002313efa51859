"""Drawn nuts: the same from the same seed, their masks where the defect changed the picture."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit_anomaly.synthetic import SyntheticNuts


def test_a_picture_depends_on_seed_split_and_index_alone() -> None:
    nuts = SyntheticNuts("test", size=40, image_size=48)
    backwards = [nuts[n].image for n in reversed(range(len(nuts)))]
    assert all(np.array_equal(nuts[n].image, backwards[-1 - n]) for n in range(len(nuts)))
    assert not np.array_equal(nuts[0].image, SyntheticNuts("test", size=40, image_size=48, seed=1)[0].image)
    assert not np.array_equal(nuts[0].image, SyntheticNuts("train", size=40, image_size=48)[0].image)


def test_training_nuts_are_good_and_test_nuts_of_every_kind() -> None:
    train, test = SyntheticNuts("train", size=6, image_size=32), SyntheticNuts("test", size=6, image_size=32)
    assert {int(sample.truth.kind) for sample in train} == {0}
    assert [int(sample.truth.kind) for sample in test] == [0, 1, 2, 3, 4] * 2
    assert train[0].truth.regions.shape == (32, 32, 0)
    assert test.info.kinds == ("good", "crack", "cut", "hole", "print")


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_the_mask_lies_on_the_nut_and_is_small_but_there(kind: int) -> None:
    nuts = SyntheticNuts("test", size=200, image_size=96)
    for index in range(kind, 50, 5):
        sample = nuts[index]
        mask = sample.truth.regions[..., 0].numpy() > 0
        assert 0.001 < mask.mean() < 0.06
        y, x = np.nonzero(mask)
        assert np.hypot(y - 47.5, x - 47.5).max() < 0.5 * 96


def test_good_nuts_have_an_empty_mask_and_other_splits_are_refused() -> None:
    assert int(SyntheticNuts("test", size=6, image_size=32)[0].truth.regions.sum()) == 0
    with pytest.raises(ValueError, match="synthetic_nuts has no split 'validation'; it has train, test"):
        SyntheticNuts("validation")
