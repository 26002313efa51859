"""`LinearHead` against NumPy."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch

from toolkit.data.sample import DataInfo
from toolkit.models.heads import LinearHead


class FiveOutputs(DataInfo):
    @property
    def num_outputs(self) -> int:
        return 5


INFO = FiveOutputs((3, 8, 8))
FEATURES = torch.randn(2, 4, 3, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("pool", "pooled"),
    [
        ("mean", lambda features: features.mean(axis=(2, 3))),
        ("max", lambda features: features.max(axis=(2, 3))),
        ("none", lambda features: features.reshape(2, 72)),
    ],
)
def test_a_linear_head_pools_and_weighs(pool: Literal["mean", "max", "none"], pooled: Any) -> None:
    head = LinearHead((4, 3, 6), INFO, pool=pool)
    weight, bias = head.linear.weight.detach().numpy(), head.linear.bias.detach().numpy()
    expected = pooled(FEATURES.numpy()) @ weight.T + bias
    assert expected.shape == (2, 5)
    np.testing.assert_allclose(head(FEATURES).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_pooling_head_takes_features_of_any_size() -> None:
    assert LinearHead((4, 3, 6), INFO)(torch.zeros(1, 4, 9, 2)).shape == (1, 5)


def test_dropout_zeroes_pooled_features_while_training_alone() -> None:
    torch.manual_seed(0)
    head = LinearHead((1000, 1, 1), INFO, dropout=0.25)
    head.linear.weight.data.fill_(1.0)
    head.linear.bias.data.zero_()
    ones = torch.ones(1, 1000, 1, 1)
    kept = head.train()(ones)[0, 0].item() * 0.75  # what is kept is scaled up by 1 / 0.75
    assert 700 < kept < 800
    assert head.eval()(ones)[0].tolist() == [1000.0] * 5


def test_data_without_a_number_of_outputs_need_a_head_of_their_own() -> None:
    with pytest.raises(TypeError) as caught:
        LinearHead((4, 3, 6), DataInfo((3, 8, 8)))
    assert str(caught.value) == "DataInfo does not say how many outputs a plain head has; use a head of the task's own"
