"""Scales of signals and gradients by hand, and that they show why a deep network does not learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.models.inspect.scales import layer_scales


def test_scales_are_those_counted_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 2, bias=True), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [2.0]]))
        model[0].bias.copy_(torch.tensor([10.0, 0.0]))
        model[1].weight.copy_(torch.tensor([[3.0, 0.0]]))
    pictures = torch.tensor([[1.0], [3.0]])
    first, second = layer_scales(model, lambda: model(pictures).mean())
    # outputs [11, 2] and [13, 6]: variances 1 and 4, mean 2.5; squares 121 + 4 + 169 + 36 over 4
    assert (first.name, first.kind) == ("0", "Linear")
    assert first.between_pictures == pytest.approx(2.5**0.5)
    assert first.output_rms == pytest.approx((330 / 4) ** 0.5)
    assert first.weight_norm == pytest.approx(5**0.5)
    assert first.gradient_norm == pytest.approx(6.0)  # 3 * mean(1, 3) by the first weight, 0 by the second
    assert second.gradient_norm == pytest.approx((12**2 + 4**2) ** 0.5)  # the means of what comes in


def deep(initialise: bool) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Dropout())])
    for module in model if initialise else ():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


def test_a_deep_network_loses_signal_and_gradient_unless_it_is_initialised_for_its_activation() -> None:
    pictures = torch.randn(8, 8, 8, 8)
    for initialise in (False, True):
        model = deep(initialise)
        scales = layer_scales(model, lambda model=model: F.mse_loss(model(pictures), pictures))  # type: ignore[misc]
        assert len(scales) == 12
        assert scales[0].gradient_norm is not None
        lost = scales[-1].between_pictures / scales[0].between_pictures
        assert (lost > 0.03 and scales[0].gradient_norm > 1e-2) if initialise else (lost < 1e-3 and scales[0].gradient_norm < 1e-4)


def test_nothing_of_the_model_is_changed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def forward() -> Tensor:
        assert [module.training for module in model] == [True, True, False]
        return model(torch.randn(4, 1, 3, 3)).square().mean()  # type: ignore[no-any-return]

    layer_scales(model, forward)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_layer_that_no_gradient_reaches_has_none() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    pictures = torch.randn(3, 2)
    first, second = layer_scales(model, lambda: model[1](model[0](pictures).detach()).sum())
    assert first.gradient_norm is None
    assert second.gradient_norm is not None
