"""Phases: what learns, what keeps still, and what is said about a part that is not there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.training.phases import trained_part


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.backbone2 = nn.Linear(4, 4)  # its name begins with that of the backbone
        self.head = nn.ModuleDict({"norm": nn.BatchNorm1d(4), "last": nn.Linear(4, 2)})
        self.pool = nn.Flatten()

    def forward(self, values: Tensor) -> Tensor:
        features = self.backbone2(self.backbone(values))
        output: Tensor = self.head["last"](self.head["norm"](features))
        return output


BACKBONE = {"backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias"}
HEAD = {"head.norm.weight", "head.norm.bias", "head.last.weight", "head.last.bias"}
EVERYTHING = BACKBONE | HEAD | {"backbone2.weight", "backbone2.bias"}


@pytest.mark.parametrize(
    ("train", "learning"),
    [
        ("all", EVERYTHING),
        (("all",), None),
        ("head", HEAD),
        (("head",), HEAD),
        ("backbone", BACKBONE),
        ("head.last", {"head.last.weight", "head.last.bias"}),
        (("backbone.1", "head.last"), {"backbone.1.weight", "backbone.1.bias", "head.last.weight", "head.last.bias"}),
        (("head", "head.last"), HEAD),
    ],
)
def test_a_phase_trains_what_it_names(train: str | tuple[str, ...], learning: set[str] | None) -> None:
    model = Net()
    if learning is None:
        with pytest.raises(ConfigError, match="the model has no part named 'all'"):
            trained_part(model, train)
        return
    part = trained_part(model, train)
    part.freeze_the_rest()
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == learning
    given = [id(parameter) for parameter in part.parameters()]
    assert len(given) == len(set(given)) == len(learning)
    assert set(given) == {id(parameter) for name, parameter in model.named_parameters() if name in learning}


def test_the_next_phase_thaws_what_the_first_one_froze() -> None:
    model = Net()
    trained_part(model, "head").freeze_the_rest()
    trained_part(model, "all").freeze_the_rest()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_only_what_learns_is_in_train_mode() -> None:
    model = Net()
    trained_part(model, "head").train_mode()
    assert {name for name, module in model.named_modules() if module.training} == {"head", "head.norm", "head.last"}
    trained_part(model, "all").train_mode()
    assert all(module.training for module in model.modules())


def test_training_the_head_leaves_the_rest_as_it_is_to_the_last_byte() -> None:
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    part = trained_part(model, "head")
    part.freeze_the_rest()
    optimizer = torch.optim.SGD(part.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        part.train_mode()
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == HEAD | {"head.norm.running_mean", "head.norm.running_var", "head.norm.num_batches_tracked"}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 3, bias=False)
        self.decoder = nn.Linear(3, 3, bias=False)
        self.decoder.weight = self.encoder.weight


@pytest.mark.parametrize("train", ["encoder", "decoder", "all", ("encoder", "decoder")])
def test_a_weight_that_two_parts_share_learns_with_either(train: str | tuple[str, ...]) -> None:
    model = Tied()
    part = trained_part(model, train)
    part.freeze_the_rest()
    assert [parameter is model.encoder.weight for parameter in part.parameters()] == [True]
    assert model.encoder.weight.requires_grad


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ("haed", "fit.phases: the model has no part named 'haed'; did you mean 'head'?"),
        ("head.lasts", "fit.phases: the model has no part named 'head.lasts'; did you mean 'head.last'?"),
        (("head", "stage1"), "fit.phases: the model has no part named 'stage1'; there are: all, backbone, backbone2, head, pool"),
        ("pool", "fit.phases: pool has nothing to learn"),
        (("pool", "backbone.2"), "fit.phases: pool, backbone.2 has nothing to learn"),
        ((), "fit.phases: an empty list trains nothing; write all, or name the parts that learn"),
    ],
)
def test_a_part_that_cannot_be_trained_is_refused(train: str | tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trained_part(Net(), train)
    assert str(caught.value) == text


def test_a_model_without_weights_has_nothing_to_learn() -> None:
    with pytest.raises(ConfigError, match=r"fit.phases: the model has nothing to learn"):
        trained_part(nn.Sequential(nn.Flatten()), "all")
