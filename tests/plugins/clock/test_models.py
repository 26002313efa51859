"""The report's network, trunks and heads."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten
from toolkit.models.model import count_parameters, output_shape
from toolkit_clock.models import Circular, ClockConvNet, ClockTrunk, ClockTwoHead, Regression, Single720, TwoHead
from toolkit_clock.types import ClockInfo, HandVectors

INFO = ClockInfo((1, 150, 150))


def test_the_reports_network_has_its_number_of_parameters() -> None:
    assert count_parameters(ClockTwoHead(INFO)) == 624_392  # the report's own count


def test_the_reports_network_has_these_shapes_layer_by_layer() -> None:
    model = ClockTwoHead(INFO).eval()
    shapes: list[tuple[int, ...]] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        shapes.append(tuple(output.shape[1:]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear | Flatten):
            module.register_forward_hook(note)
    model(torch.zeros(1, 1, 150, 150))
    assert shapes == [
        (64, 74, 74), (64, 37, 37), (64, 34, 34), (64, 17, 17), (128, 15, 15), (128, 7, 7), (256, 5, 5), (256, 2, 2),
        (1024,), (128,), (64,), (12,), (256,), (60,),
    ]  # fmt: skip
    assert sum(isinstance(module, Dropout) for module in model.modules()) == 4


def test_trunk_and_head_composed_are_the_reports_network() -> None:
    trunk = ClockTrunk(INFO.input_shape)
    assert output_shape(trunk, INFO.input_shape) == (256, 2, 2)
    assert count_parameters(trunk) + count_parameters(TwoHead((256, 2, 2), INFO)) == 624_392


@pytest.mark.parametrize(
    ("shape", "found"),
    [((1, 75, 75), "pictures are 75x75"), ((1, 93, 150), "pictures are 93x150"), ((1, 0, 0), "the pictures' sizes differ")],
)
def test_pictures_that_the_reports_network_uses_up_are_refused(shape: tuple[int, int, int], found: str) -> None:
    text = (
        "model clock_two_head: nothing would be left of the picture after its four convolutions and pools; "
        f"{found}, expected at least 94x94; "
        "enlarge them under transforms.train and transforms.eval, for example {name: Resize, height: 150, width: 150}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        ClockTwoHead(ClockInfo(shape))
    with pytest.raises(ConfigError, match=r"^backbone clock_trunk: nothing would be left"):
        ClockTrunk(shape)


def test_the_smallest_picture_that_is_promised_works() -> None:
    assert ClockTwoHead(ClockInfo((1, 94, 94))).eval()(torch.zeros(1, 1, 94, 94)).hour.shape == (1, 12)


def test_every_stage_of_the_normed_net_halves_the_picture() -> None:
    net = ClockConvNet((3, 32, 48), filters=(4, 6, 8), depth=2)
    assert output_shape(net, (3, 32, 48)) == (8, 4, 6)
    assert [m.stride for m in net.modules() if isinstance(m, nn.Conv2d)] == [(2, 2)] + 5 * [(1, 1)]
    with pytest.raises(ConfigError, match=r"^backbone clock_conv_net halves the picture 3 times and needs at least 8 pixels, got 7x48"):
        ClockConvNet((3, 7, 48), filters=(4, 6, 8))


def test_heads_give_what_the_task_decodes_on_any_features() -> None:
    features = torch.randn(3, 6, 2, 5)
    two = TwoHead((6, 2, 5), INFO, dense=8)(features)
    assert (two.hour.shape, two.minute.shape) == ((3, 12), (3, 60))
    assert Single720((6, 2, 5), INFO)(features).time.shape == (3, 720)
    for outputs in (1, 2):
        values = Regression((6, 2, 5), INFO, outputs=outputs)(features * 100).values
        assert values.shape == (3, outputs)
        assert ((values >= 0) & (values <= 1)).all()
    circular = Circular((6, 2, 5), INFO, dense=())(features)
    assert isinstance(circular, HandVectors)
    assert circular.hour.shape == circular.minute.shape == (3, 2)
