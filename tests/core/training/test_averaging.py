"""The moving average of the weights against its formula."""

from __future__ import annotations

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
    averaged = averaged_model(model, 0.9)
    averaged.update_parameters(model)  # the first one copies
    model.weight.data.fill_(2.0)
    model.mean.fill_(20.0)
    model.chosen.fill_(3)
    averaged.update_parameters(model)
    assert averaged.module.weight.item() == torch.tensor(0.9 * 1 + 0.1 * 2).item()
    assert averaged.module.mean.item() == torch.tensor(0.9 * 10 + 0.1 * 20).item()
    assert averaged.module.chosen.item() == 3  # torch's own average gives 1, rounded down
