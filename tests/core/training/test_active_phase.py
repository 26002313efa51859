"""Penalties against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.config.run_config import PenaltyConfig
from toolkit.training.active_phase import ActivePhase
from toolkit.training.phases import trained_part
from toolkit.training.schedules import constant_rate


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.1), (0.01, 0.1), (0.0, 0.0)])
def test_a_penalty_adds_its_gradient_to_weights_but_not_to_biases(l1: float, l2: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    values = torch.randn(5, 3)
    part = trained_part(model, "all")
    phase = ActivePhase("all", part, model, torch.optim.SGD(part.parameters(), lr=0.1), [0.1], constant_rate)
    torch.autograd.backward(model(values).square().sum())
    phase.penalise(PenaltyConfig(l1=l1, l2=l2))
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    model.zero_grad()
    weights = [layer.weight for layer in model if isinstance(layer, nn.Linear)]
    penalty = l1 * sum(w.abs().sum() for w in weights) + l2 * sum(w.square().sum() for w in weights)
    torch.autograd.backward(model(values).square().sum() + penalty)
    for gradient, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)
