"""Layers, parameters, multiplications and memory by hand, and that nothing of the model is changed."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from toolkit.models.inspect import inspect_model


def test_rows_come_in_call_order_with_hand_counted_shapes_parameters_and_macs() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 5))
    found = inspect_model(network, (3, 8, 8))
    assert [(x.name, x.kind, x.window, x.output_shape, x.parameters, x.macs) for x in found.layers] == [
        ("0", "Conv2d", "3x3/2", (8, 4, 4), 8 * 3 * 9 + 8, 8 * 4 * 4 * 3 * 9),
        ("1", "BatchNorm2d", "", (8, 4, 4), 16, 0),
        ("2", "ReLU", "", (8, 4, 4), 0, 0),
        ("3", "Flatten", "", (128,), 0, 0),
        ("4", "Linear", "", (5,), 128 * 5 + 5, 128 * 5),
    ]
    assert found.macs == 8 * 16 * 27 + 640
    assert [x.activation_bytes for x in found.layers] == [512, 512, 512, 0, 20]  # flattening is a view
    assert found.activation_bytes == 3 * 512 + 20


def test_a_layer_that_works_in_place_takes_no_memory() -> None:
    found = inspect_model(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Dropout()), (1, 4, 4))
    assert [x.activation_bytes for x in found.layers] == [128, 0, 0]


def test_groups_divide_the_multiplications() -> None:
    (layer,) = inspect_model(nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5)).layers
    assert (layer.parameters, layer.macs) == (6 * 2 * 9 + 6, 6 * 9 * 2 * 9)


def test_a_transposed_convolution_multiplies_every_input_with_the_kernel() -> None:
    (layer,) = inspect_model(nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5)).layers
    assert layer.macs == 4 * 25 * 6 * 9


@pytest.mark.parametrize(("name", "macs"), [("resnet18", 1_814_073_344), ("squeezenet1_1", 349_151_936)])
def test_networks_of_torchvision_take_the_multiplications_that_its_documentation_states(name: str, macs: int) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    found = inspect_model(torchvision.models.get_model(name, weights=None), (3, 224, 224))
    assert found.parameters == weights.meta["num_params"]
    assert found.macs == macs
    assert found.macs / 1e9 == pytest.approx(weights.meta["_ops"], abs=6e-3)
    assert found.unlisted_parameters == 0


def test_attention_counts_weights_and_products_that_no_module_shows() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=2)
    found = inspect_model(network, (3, 32, 32))
    tokens, width = 5, 192
    patches = 4 * width * 3 * 16 * 16
    block = tokens * (3 + 1 + 4 + 4) * width * width + 2 * tokens * tokens * width
    assert found.macs == patches + block + 2 * width
    assert found.unlisted_parameters == 0


def test_torchs_own_attention_is_seen_through() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            tokens = images.flatten(2).transpose(1, 2)  # [B, 16, 8]
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]  # type: ignore[no-any-return]

    found = inspect_model(Attention(), (8, 4, 4))
    assert found.macs == 16 * 8 * 8 * 4 + 2 * 16 * 16 * 8
    assert found.unlisted_parameters == 0


def test_a_module_called_twice_has_two_rows_and_its_parameters_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.again(self.again(images))  # type: ignore[no-any-return]

    found = inspect_model(Twice(), (3, 4, 4))
    assert [(x.name, x.parameters, x.macs) for x in found.layers] == [("again", 12, 144), ("again", 0, 144)]


def test_parts_that_no_prediction_uses_are_counted_apart() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    network.unused = nn.Linear(4, 5)
    network.forward = lambda images: network[0](images)  # type: ignore[method-assign]
    found = inspect_model(network, (3, 4, 4))
    assert (found.parameters, found.unlisted_parameters) == (8 + 25, 25)


def test_nothing_of_the_model_is_changed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    network[2].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inspect_model(network, (3, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network] == [True, True, False]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network)
    assert torch.backends.mha.get_fastpath_enabled()
