"""What `toolkit check` says of clock configs whose parts do not go together."""

from __future__ import annotations

import pytest
import torch

from toolkit.config import RunConfig, check_config, read_text
from toolkit.errors import ConfigError
from toolkit.extension.discovery import load_plugins
from toolkit_clock.types import ClockInfo, Fractions, HandLogits, HandVectors, TimeLogits

MIRRORED = "mirrors the picture, but a mirrored clock face shows another time (9:00 looks like 3:00); leave flips and transposes out of"


def check(transforms: str = "[]", *, part: str = "train", head: str = "two_head", loss: str = "cross_entropy") -> RunConfig:
    text = f"""task: clock
data: synthetic_clocks
model: {{backbone: clock_conv_net, head: {head}}}
loss: {loss}
transforms:
  {part}: {transforms}
fit: {{phases: [{{epochs: 1, optimizer: adam}}]}}
"""
    return check_config(read_text(text, "clock.yaml"), load_plugins().registry)


@pytest.mark.parametrize("name", ["HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry"])
def test_a_transform_that_mirrors_is_told_with_its_line(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(f"[{{name: Affine, rotate: [-5, 5]}}, {{name: {name}, p: 0.01}}]")
    assert str(caught.value).startswith(f"clock.yaml:6:44: transforms.train.1: {name} {MIRRORED}")


def test_a_mirror_is_found_within_others_and_in_evaluation() -> None:
    with pytest.raises(ConfigError) as caught:
        check("[{name: Sequential, transforms: [Blur, {name: OneOf, transforms: [Blur, HorizontalFlip]}]}]", part="eval")
    assert str(caught.value).startswith(f"clock.yaml:6:81: transforms.eval.0.transforms.1.transforms.1: HorizontalFlip {MIRRORED}")
    with pytest.raises(ConfigError, match=r"^clock\.yaml:6:\d+: transforms\.train\.0\.second: Transpose mirrors"):
        check("[{name: OneOrOther, first: Blur, second: Transpose}]")


def test_turning_is_allowed() -> None:
    check("[{name: Affine, rotate: [-180, 180]}, RandomRotate90, {name: Rotate, limit: 20}]")


@pytest.mark.parametrize(
    ("loss", "head", "remedy"),
    [
        ("mse", "two_head", "choose cross_entropy or expected_error or mixture, or the head regression or circular"),
        ("mixture", "circular", "choose mse, or the head two_head or single_720"),
        ("l1", "circular", "choose mse"),
    ],
)
def test_a_loss_that_cannot_judge_the_head_is_told_with_its_line(loss: str, head: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(loss=loss, head=head)
    assert str(caught.value) == f"clock.yaml:4:1: loss: {loss} cannot judge the head {head}; {remedy}"


OUTPUTS = {
    "two_head": HandLogits(torch.zeros(1, 12), torch.zeros(1, 60)),
    "single_720": TimeLogits(torch.zeros(1, 720)),
    "regression": Fractions(torch.zeros(1, 2)),
    "circular": HandVectors(torch.ones(1, 2), torch.ones(1, 2)),
}


def clocks_own(kind: str) -> set[str]:
    registry = load_plugins().registry
    return {name for name in registry.names(kind, "clock") if registry.find(kind, name, "clock").task == "clock"}


@pytest.mark.parametrize("loss", sorted(clocks_own("loss")))
def test_the_check_passes_just_those_heads_whose_outputs_the_loss_can_judge(loss: str) -> None:
    assert OUTPUTS.keys() == clocks_own("head")
    judge = load_plugins().registry.find("loss", loss, "clock").factory(ClockInfo((1, 32, 32)))
    for head, output in OUTPUTS.items():
        try:
            judge(output, torch.tensor([5]))
        except ConfigError:
            with pytest.raises(ConfigError, match=f"{loss} cannot judge the head {head}"):
                check(loss=loss, head=head)
        else:
            check(loss=loss, head=head)


SMOOTHED = "cross_entropy, label_smoothing: 0.1"


@pytest.mark.parametrize(("loss", "widest"), [("cross_entropy", 1.5), ("mixture", 1.5), (SMOOTHED, 1)])
def test_targets_too_wide_for_two_heads_are_told(loss: str, widest: float) -> None:
    def spread(spread_min: float, head: str = "two_head") -> RunConfig:
        return check(loss=f"{{name: {loss}, spread_min: {spread_min}}}", head=head)

    spread(widest)
    spread(3, "single_720")
    message = rf"loss\.spread_min: {widest + 0.1:g} minutes are too wide for two_head.*; set at most {widest:g}, or the head single_720$"
    with pytest.raises(ConfigError, match=message):
        spread(widest + 0.1)
