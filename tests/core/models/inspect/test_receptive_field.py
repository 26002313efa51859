"""Receptive fields by hand (Araujo, Norris, Sim, Distill 2019, gives the formulas) and from the gradient of a linear network."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.models.inspect import Axis, Field, inspect_model


def fields(model: nn.Module, side: int = 32, channels: int = 3) -> dict[str, Field]:
    return {layer.name: layer.field for layer in inspect_model(model, (channels, side, side)).layers if layer.field}


def rows(field: Field) -> tuple[object, object, object]:
    return field.rows.size, field.rows.stride, field.rows.padding


def plain(*plan: int | str) -> nn.Sequential:
    """3x3 convolutions of so many filters, "P" a 2x2 pool: the plans of AlexNet's CIFAR form and of VGG."""
    network, channels = nn.Sequential(), 3
    for step in plan:
        if isinstance(step, str):
            network.append(nn.MaxPool2d(2))
        else:
            network.extend([nn.Conv2d(channels, step, 3, padding=1), nn.ReLU()])
            channels = step
    return network


def test_alexnet_for_cifar_sees_what_was_computed_by_hand() -> None:
    network = plain(2, "P", 2, "P", 2, 2, 2, "P")
    computing = [rows(f) for name, f in fields(network).items() if not isinstance(network[int(name)], nn.ReLU)]
    # size: 1+2, +1, +2*2, +2, +2*4, +2*4, +2*4, +4; stride doubles at a pool; padding grows by the stride at a convolution
    assert computing == [(3, 1, 1), (4, 2, 1), (8, 2, 3), (10, 4, 3), (18, 4, 7), (26, 4, 11), (34, 4, 15), (38, 8, 15)]


def test_vgg16_sees_what_was_computed_by_hand() -> None:
    network = plain(2, 2, "P", 2, 2, "P", 2, 2, 2, "P", 2, 2, 2, "P", 2, 2, 2, "P")
    ends = [rows(f) for name, f in fields(network).items() if isinstance(network[int(name)], nn.MaxPool2d)]
    assert ends == [(6, 2, 2), (16, 4, 6), (44, 8, 18), (100, 16, 42), (212, 32, 90)]
    last_of_block = [f.rows.size for name, f in fields(network).items() if isinstance(network[int(name)], nn.Conv2d)]
    assert [last_of_block[index] for index in (1, 3, 6, 9, 12)] == [5, 14, 40, 92, 196]


def test_alexnet_at_227_sees_what_was_computed_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 2, 11, 4), nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 5, padding=2), nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 3, padding=1)
    )
    assert [rows(f) for f in fields(network, 227).values()] == [(11, 4, 0), (19, 8, 0), (51, 8, 16), (67, 16, 16), (99, 16, 32)]


def test_a_network_of_positive_weights_depends_on_exactly_the_pixels_of_the_field() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, (3, 5), stride=(1, 2), padding=(1, 0)),
        nn.AvgPool2d(3, 2, padding=1),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.AdaptiveAvgPool2d((3, 2)),
    )
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.5)
    image = torch.ones(1, 1, 32, 52, requires_grad=True)
    *_, last = inspect_model(network, (1, 32, 52)).layers
    assert last.field is not None
    output = network(image)
    for row, column in ((0, 0), (1, 1), (2, 0)):
        (gradient,) = torch.autograd.grad(output[0, 0, row, column], image, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        for axis, position, (low, high), length in (
            (last.field.rows, row, (int(seen[:, 0].min()), int(seen[:, 0].max())), 32),
            (last.field.columns, column, (int(seen[:, 1].min()), int(seen[:, 1].max())), 52),
        ):
            start = position * axis.stride - axis.padding
            assert (max(0, start), min(length, start + axis.size) - 1) == (low, high)


def test_a_dense_layer_on_the_map_sees_the_union_of_all_fields() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 16 * 16, 5))
    found = fields(network)
    assert rows(found["2"]) == (4, 2, 1)  # flattening mixes nothing
    assert rows(found["3"]) == (34, 0, 1)  # 16 fields of 4 pixels, 2 apart


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        return self.last(first + self.second(first).relu())  # type: ignore[no-any-return]


def test_a_sum_of_paths_spans_them_and_says_so() -> None:
    found = fields(Residual())
    assert (rows(found["second"]), found["second"].several) == ((5, 1, 2), False)
    assert (rows(found["last"]), found["last"].several) == ((7, 1, 3), True)


def test_branches_of_different_sizes_meet_in_the_largest() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large, self.out = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 5, padding=2), nn.Conv2d(4, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.out(torch.cat([self.small(images), self.large(images)], dim=1))  # type: ignore[no-any-return]

    found = fields(Branches())
    assert [rows(found[name]) for name in ("small", "large", "out")] == [(1, 1, 0), (5, 1, 2), (5, 1, 2)]
    assert found["out"].several


def test_padding_on_one_side_shifts_the_field() -> None:
    network = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(3, 2, (4, 2)))
    *_, last = fields(network).values()
    assert (last.rows.padding, last.columns.padding) == (2, 0)


def test_local_response_normalisation_looks_at_channels_only() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(3), nn.BatchNorm2d(4))
    assert [rows(f) for f in fields(network).values()] == [(3, 1, 0)] * 3


def test_a_decoder_behind_a_bottleneck_sees_everything() -> None:
    class AutoEncoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.widen = nn.Linear(3 * 8 * 8, 4), nn.Linear(4, 2 * 4 * 4)
            self.up = nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.up(self.widen(self.squeeze(images.flatten(1))).view(-1, 2, 4, 4))  # type: ignore[no-any-return]

    assert [rows(f) for f in fields(AutoEncoder(), 8).values()] == [(8, 0, 0)] * 3


def test_a_transposed_convolution_halves_the_stride() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 2, stride=2), nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1))
    first, second = fields(network).values()
    assert rows(first) == (2, 2, 0)
    assert rows(second) == (4, 1, 2)  # outputs 0 and 1 lie between inputs -1 and 0, 0 and 1: two inputs each


def test_an_operation_that_is_not_understood_gives_no_field_from_there_on() -> None:
    class Strided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.after(F.interpolate(self.before(images), scale_factor=2.0, mode="bicubic"))  # type: ignore[no-any-return]

    before, after = inspect_model(Strided(), (3, 16, 16)).layers
    assert before.field is not None
    assert after.field is None


@pytest.mark.parametrize(("outputs", "largest", "stride"), [(4, 2, 2), (3, 4, Fraction(8, 3))])
def test_adaptive_pooling_counts_its_largest_cell(outputs: int, largest: int, stride: object) -> None:
    (field,) = fields(nn.Sequential(nn.AdaptiveMaxPool2d(outputs)), 8).values()
    assert field.rows == Axis(largest, stride, 0, outputs)  # type: ignore[arg-type]


def test_positions_moved_into_channels_are_not_taken_for_positions() -> None:
    network = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 2, 3))
    assert inspect_model(network, (3, 8, 8)).layers[-1].field is None
