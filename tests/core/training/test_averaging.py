"""The moving average of the weights against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.training.averaging import averaged_model


class Counting(nn.Module):
    """A weight, a running number and a choice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.register_buffer("mean", torch.tensor([10.0]))
        self.register_buffer("chosen", torch.tensor(1))


def test_weights_and_running_numbers_follow_with_the_decay_and_choices_are_copied() -> None:
    model = Counting()
    averaged = averaged_model(model, 0.1)
    averaged.update_parameters(model)  # the first one copies
    model.weight.data.fill_(2.0)
    model.mean.fill_(20.0)
    model.chosen.fill_(3)
    averaged.update_parameters(model)
    assert averaged.module.weight.item() == pytest.approx(0.1 * 1 + 0.9 * 2)
    assert averaged.module.mean.item() == pytest.approx(0.1 * 10 + 0.9 * 20)
    assert averaged.module.chosen.item() == 3  # torch's own average gives 1, rounded down


def test_the_decay_grows_with_the_steps_up_to_its_own_value() -> None:
    model = Counting()
    averaged = averaged_model(model, 0.25)
    expected = 1.0
    for step, decay in enumerate([0.0, 2 / 11, 3 / 12, 0.25, 0.25], start=1):  # (1 + n) / (10 + n) after n = 1, 2 steps, by hand
        model.weight.data.fill_(float(step))
        averaged.update_parameters(model)
        expected = expected * decay + step * (1 - decay)
        assert averaged.module.weight.item() == pytest.approx(expected)
