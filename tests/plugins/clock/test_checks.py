"""What `toolkit check` says of clock configs whose parts do not go together."""

from __future__ import annotations

import pytest

from toolkit.config import RunConfig, check_config, read_text
from toolkit.errors import ConfigError
from toolkit.extension.discovery import load_plugins

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
    ],
)
def test_a_loss_that_cannot_judge_the_head_is_told_with_its_line(loss: str, head: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(loss=loss, head=head)
    assert str(caught.value) == f"clock.yaml:4:1: loss: {loss} cannot judge the head {head}; {remedy}"


@pytest.mark.parametrize(
    ("loss", "head"),
    [(loss, head) for loss in ("cross_entropy", "expected_error", "mixture") for head in ("two_head", "single_720")]
    + [("mse", "regression"), ("mse", "circular")],
)
def test_losses_that_can_judge_their_heads_pass(loss: str, head: str) -> None:
    assert check(loss=loss, head=head).loss.name == loss
