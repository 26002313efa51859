"""Dropout against its definition, flattening against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_the_share_that_was_asked_for_is_dropped_and_the_rest_grows(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(200_001))
    assert set(dropped.unique().tolist()) <= {0.0, torch.tensor(1 / (1 - round(p * 65536) / 65536)).item()}
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / 200_001) ** 0.5)


def test_neighbouring_values_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) > 0).view(-1, 4).long()
    patterns = torch.bincount((kept * torch.tensor([1, 2, 4, 8])).sum(dim=1), minlength=16)  # four values share one 64-bit draw
    chi_squared = ((patterns - 6250).double().square() / 6250).sum().item()
    assert chi_squared < 37.7  # 0.1 % of 15 degrees of freedom


def test_gradients_flow_where_values_were_kept() -> None:
    torch.manual_seed(0)
    values = torch.ones(1000, requires_grad=True)
    dropped = Dropout(0.25)(values)
    torch.autograd.backward(dropped.sum())
    assert torch.equal(values.grad, dropped.detach())


def test_the_same_seed_drops_the_same_values_in_either_memory_layout() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        values = torch.ones(3, 4, 5, 6).contiguous(memory_format=layout)
        draws = [(torch.manual_seed(1), Dropout(0.5)(values))[1] for _ in range(2)]
        assert torch.equal(*draws)
        assert draws[0].is_contiguous(memory_format=layout)


def test_nothing_is_dropped_in_evaluation() -> None:
    values = torch.randn(10)
    assert Dropout(0.5).eval()(values) is values


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"p must be at least 0 and less than 1, got 1"):
        Dropout(1.0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_flattening_is_torchs_and_keeps_the_layout_of_the_gradient(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    mine, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    weights = torch.randn(2, 60)
    flat, expected = Flatten()(mine * 1), nn.Flatten()(theirs * 1)
    assert torch.equal(flat, expected)
    gradients = []
    mine.register_hook(gradients.append)
    torch.autograd.backward([(flat * weights).sum(), (expected * weights).sum()])
    assert torch.equal(mine.grad, theirs.grad)
    assert gradients[0].is_contiguous(memory_format=layout)
