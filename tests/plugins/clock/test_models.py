"""The report's network, trunks and heads."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten
from toolkit.models.model import Head, count_parameters, output_shape
from toolkit_clock.models import Circular, ClockConvNet, ClockNet, ClockTrunk, Regression, Single720, TwoHead
from toolkit_clock.types import ClockInfo, Fractions, HandVectors

INFO = ClockInfo((1, 150, 150))


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def reports_network(info: ClockInfo = INFO, *, turn_average: bool = False) -> ClockNet:
    trunk = ClockTrunk(info.input_shape)
    return ClockNet(info, backbone=trunk, head=TwoHead(output_shape(trunk, info.input_shape), info), turn_average=turn_average)


def test_the_reports_network_has_its_number_of_parameters() -> None:
    assert count_parameters(reports_network()) == 624_392  # the report's own count


def test_the_reports_network_has_these_shapes_layer_by_layer() -> None:
    model = reports_network().eval()
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


@pytest.mark.parametrize(
    ("shape", "found"),
    [((1, 75, 75), "pictures are 75x75"), ((1, 93, 150), "pictures are 93x150"), ((1, 0, 0), "the pictures' sizes differ")],
)
def test_pictures_that_the_reports_network_uses_up_are_refused(shape: tuple[int, int, int], found: str) -> None:
    text = (
        "backbone clock_trunk: nothing would be left of the picture after its four convolutions and pools; "
        f"{found}, expected at least 94x94; "
        "enlarge them under transforms.train and transforms.eval, for example {name: Resize, height: 150, width: 150}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        ClockTrunk(shape)


def test_the_smallest_picture_that_is_promised_works() -> None:
    assert reports_network(ClockInfo((1, 94, 94))).eval()(torch.zeros(1, 1, 94, 94)).hour.shape == (1, 12)


def test_every_stage_of_the_normed_net_halves_the_picture() -> None:
    net = ClockConvNet((3, 32, 48), filters=(4, 6, 8), depth=2)
    assert output_shape(net, (3, 32, 48)) == (8, 4, 6)
    assert [m.stride for m in net.modules() if isinstance(m, nn.Conv2d)] == [(2, 2)] + 5 * [(1, 1)]
    with pytest.raises(ConfigError, match=r"^backbone clock_conv_net halves the picture 3 times and needs at least 8 pixels, got 7x48"):
        ClockConvNet((3, 7, 48), filters=(4, 6, 8))


def test_heads_give_what_the_task_decodes_on_any_features() -> None:
    features = drawn(3, 6, 2, 5)
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


def small_net(head: str, turn_average: bool) -> ClockNet:
    heads: dict[str, Any] = {"two_head": TwoHead, "single_720": Single720, "circular": Circular, "regression": Regression}
    torch.manual_seed(0)
    info = ClockInfo((1, 16, 16))
    return ClockNet(
        info, backbone=ClockConvNet(info.input_shape, filters=(4, 8)), head=heads[head]((8, 4, 4), info), turn_average=turn_average
    )


def test_quarter_turns_are_averaged_as_log_probabilities() -> None:
    pictures = drawn(3, 1, 16, 16)
    plain, turning = small_net("two_head", False).eval(), small_net("two_head", True).eval()
    logits = [plain(torch.from_numpy(np.rot90(pictures.numpy(), turns, (2, 3)).copy())) for turns in range(4)]
    for name in ("hour", "minute"):
        shares = [scipy.special.softmax(getattr(each, name).detach().numpy(), 1) for each in logits]
        expected = np.log(shares[0] * shares[1] * shares[2] * shares[3]) / 4
        np.testing.assert_allclose(getattr(turning(pictures), name).detach(), expected, rtol=1e-4)
        assert np.abs(expected - np.log(shares[0])).max() > 1e-3


def test_a_regression_tells_neighbouring_times_apart_under_autocast() -> None:
    head = Regression((4, 1, 1), INFO, outputs=1, dense=()).requires_grad_(False)
    head.answer.weight.copy_(torch.tensor([[1.0, 0, 0, 0]]))
    head.answer.bias.zero_()
    times = torch.arange(300, 400) / 720
    features = torch.logit(times)[:, None].expand(-1, 4)[..., None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(features).values[:, 0]
    torch.testing.assert_close(found, times)  # half precision is wrong by half a minute here


@pytest.mark.parametrize("head", ["two_head", "single_720", "circular", "regression"])
def test_an_averaging_network_says_the_same_of_a_picture_in_every_quarter_turn(head: str) -> None:
    pictures = drawn(2, 1, 16, 16)
    net = small_net(head, True).eval()
    upright, turned = net(pictures), net(pictures.rot90(1, (2, 3)))
    assert type(upright) is type(turned)
    for name, values in vars(upright).items():
        torch.testing.assert_close(getattr(turned, name), values)


def test_fractions_are_averaged_on_their_circle() -> None:
    class AlternatingHead(Head):
        looks = iter([0.98, 0.04, 0.98, 0.04])

        def forward(self, features: Tensor) -> Fractions:
            return Fractions(torch.full((len(features), 1), next(self.looks)))

    info = ClockInfo((1, 16, 16))
    net = ClockNet(info, backbone=ClockConvNet(info.input_shape, filters=(4,)), head=AlternatingHead(), turn_average=True).eval()
    torch.testing.assert_close(net(torch.zeros(1, 1, 16, 16)).values, torch.tensor([[0.01]]))


def test_a_learning_network_looks_once() -> None:
    pictures = drawn(4, 1, 16, 16)
    torch.testing.assert_close(small_net("two_head", True).train()(pictures).hour, small_net("two_head", False).train()(pictures).hour)


def test_quarter_turns_of_oblong_pictures_are_refused() -> None:
    info = ClockInfo((1, 94, 150))
    text = (
        "turn_average turns pictures by 90 degrees and needs square ones, got 94x150; "
        "make them square under transforms.train and transforms.eval, or set turn_average to false"
    )
    with pytest.raises(ConfigError, match=f"^model clock_net: {text}$"):
        reports_network(info, turn_average=True)
