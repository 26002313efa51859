"""Mixup and cutmix: what becomes of pictures and labels, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.data.sample import DataInfo
from toolkit.evaluation.losses import CrossEntropy
from toolkit_classification.mixing import Cutmix, Mixup
from toolkit_classification.types import ClassificationInfo

INFO = ClassificationInfo((1, 8, 8), classes=("a", "b", "c", "d"))
LABELS = torch.tensor([0, 1, 2, 3])
FLAT = LABELS.float().view(4, 1, 1, 1).expand(4, 1, 8, 8).contiguous()
"""Pictures whose every pixel is their label."""


def shares_in(images: Tensor) -> Tensor:
    """[B, N] how much of each label a mixture of FLAT holds, pixel by pixel."""
    return torch.stack([(images == label).float().mean(dim=(1, 2, 3)) for label in range(4)], dim=1)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_pictures_and_labels_by_one_share(seed: int) -> None:
    torch.manual_seed(seed)
    pictures = torch.nn.functional.one_hot(LABELS).float().view(4, 1, 2, 2)
    mixed, shares = Mixup(INFO, alpha=1.0)(pictures, LABELS)
    torch.testing.assert_close(mixed.view(4, 4), shares)  # a picture that is its own one-hot label stays its label
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    assert len({round(value, 5) for value in shares.max(dim=1).values.tolist()} - {1.0}) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_labels_by_the_area_that_was_pasted(seed: int) -> None:
    torch.manual_seed(seed)
    mixed, shares = Cutmix(INFO)(FLAT, LABELS)
    torch.testing.assert_close(shares, shares_in(mixed))


def test_shares_are_drawn_from_the_beta_distribution() -> None:
    torch.manual_seed(0)
    pictures = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    drawn = []
    while len(drawn) < 4000:
        mixed, _ = Mixup(INFO, alpha=0.4)(pictures, LABELS[:2])
        if mixed[0].item() != 0:  # mixed with the other one
            drawn.append(mixed[0].item())
    expected = np.random.default_rng(0).beta(0.4, 0.4, 4000)
    assert np.quantile(drawn, [0.25, 0.5, 0.75]) == pytest.approx(np.quantile(expected, [0.25, 0.5, 0.75]), abs=0.05)


def test_a_second_mixture_takes_the_shares_of_the_first() -> None:
    torch.manual_seed(3)
    mixed, shares = Cutmix(INFO)(*Mixup(INFO, alpha=1.0)(FLAT, LABELS))
    assert mixed.shape == FLAT.shape
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))


@pytest.mark.parametrize("mix", [Mixup, Cutmix])
def test_batches_beyond_the_chance_are_left_as_they_are(mix: type[Mixup | Cutmix]) -> None:
    images, shares = mix(INFO, p=0.0)(FLAT, LABELS)
    assert images is FLAT
    assert torch.equal(shares, torch.eye(4))


def test_the_loss_of_shares_is_their_mean_of_the_losses_of_labels() -> None:
    torch.manual_seed(0)
    logits, shares = torch.randn(1, 4), torch.tensor([[0.0, 0.75, 0.25, 0.0]])
    loss = CrossEntropy(DataInfo((1, 8, 8)))
    alone = [loss(logits, torch.tensor([label]))["cross_entropy"].item() for label in (1, 2)]
    assert loss(logits, shares)["cross_entropy"].item() == pytest.approx(0.75 * alone[0] + 0.25 * alone[1])
