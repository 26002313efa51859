"""What `toolkit check` says of pose configs whose parts do not go together."""

from __future__ import annotations

import pytest

from toolkit.config import RunConfig, check_config, read_text
from toolkit.errors import ConfigError
from toolkit.extension.discovery import load_plugins

CASCADE = "{name: deeppose, backbone: alexnet_form, stages: 3}"
OLD = "pretrained: cascade.safetensors\n"


def check(*trained: str, model: str = CASCADE, loss: str = "keypoint_l2", more: str = "") -> RunConfig:
    phases = "".join(f"\n  - {{epochs: 1, optimizer: adam{', train: ' + train if train else ''}}}" for train in trained)
    text = f"task: pose\ndata: synthetic_people\nmodel: {model}\nloss: {loss}\nfit:\n  phases:{phases}\n{more}"
    return check_config(read_text(text, "pose.yaml"), load_plugins().registry)


@pytest.mark.parametrize(
    "trained",
    [
        ["stage1"],
        ["stage1", "stage2", "stage3"],
        ["stage1", "stage1", "stage2.head", "stage1", "stage2", "stage3"],
        ["stage1", "stage2", "stage3", "stage2", "stage3"],
    ],
)
def test_stages_one_after_the_other_pass(trained: list[str]) -> None:
    check(*trained)


TOO_EARLY = "refines the stages before it, but {} is not trained then; put a phase for it first"
NO_STAGE = "a phase of deeppose trains one of stage1, stage2, stage3, not {}; write a phase for each"


@pytest.mark.parametrize(
    ("trained", "line", "message"),
    [
        (["stage1", "stage3"], 8, "fit.phases.1.train: stage3 " + TOO_EARLY.format("stage2")),
        (["stage3"], 7, "fit.phases.0.train: stage3 " + TOO_EARLY.format("stage1")),
        (["stage1", "stage2", "stage1", "stage3"], 10, "fit.phases.3.train: stage3 " + TOO_EARLY.format("stage2")),
        (["[stage1, stage2]"], 7, "fit.phases.0.train: " + NO_STAGE.format("stage1, stage2")),
        (["stage1", "all"], 8, "fit.phases.1.train: " + NO_STAGE.format("all")),
        (["stage1", "stage2", "stage3", "stage4"], 10, "fit.phases.3.train: " + NO_STAGE.format("stage4")),
    ],
)
def test_a_phase_that_trains_no_stage_several_or_one_too_early_is_told_with_its_line(trained: list[str], line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(*trained)
    assert str(caught.value) == f"pose.yaml:{line}:34: {message}"


def test_a_stage_that_is_trained_again_puts_those_after_it_back() -> None:
    four = CASCADE.replace("stages: 3", "stages: 4")
    check("stage1", "stage2", "stage3", "stage4", model=four)
    message = r"pose\.yaml:11:34: fit\.phases\.4\.train: stage4 refines the stages before it, but stage3 is not trained then"
    with pytest.raises(ConfigError, match=message):
        check("stage1", "stage2", "stage3", "stage2", "stage4", model=four)


def test_a_phase_that_names_no_part_trains_all_stages_and_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^pose\.yaml:7:5: fit\.phases\.0\.train: a phase of deeppose trains one of .*, not all;"):
        check("")


def test_a_trained_cascade_may_go_on_with_any_stage_and_one_stage_with_all_of_it() -> None:
    check("stage3", more=OLD)
    check("all", model="{name: deeppose, backbone: alexnet_form, stages: 1}")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "  ema: 0.99\n",
            "pose.yaml:10:3: fit.ema: would move stages on while a later one learns what they were; leave it out, or take one stage",
        ),
        (
            "  select: {metric: val/stage1/pdj@0.2}\n",
            "pose.yaml:10:12: fit.select.metric: stages are scored apart from the second phase on; "
            "choose val/pdj@0.2, which then also chooses the stage",
        ),
        (
            "  select: {metric: val/loss}\n",
            "pose.yaml:10:12: fit.select.metric: of a loss each phase has its own, so that it chooses no stage; "
            "choose val/pcp or another score",
        ),
    ],
)
def test_an_average_and_a_choice_that_do_not_go_with_a_cascade_are_told(more: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check("stage1", "stage2", "stage3", more=more)
    assert str(caught.value) == message
    check("stage1", model=CASCADE.replace("stages: 3", "stages: 1"), more="  ema: 0.99\n")


def test_peaks_without_heat_maps_are_told() -> None:
    with pytest.raises(ConfigError) as caught:
        check("stage1", model=CASCADE.replace("stages: 3", "stages: 1, reading: peak"))
    message = "model.reading: is peak, but the stages have no heat maps; set model.heatmap, or leave it out"
    assert str(caught.value) == f"pose.yaml:3:60: {message}"
    check("stage1", model=CASCADE.replace("stages: 3", "stages: 1, heatmap: [8], reading: peak"))


HEATMAP = "heatmap needs heat maps of the whole picture; use model pose_net with the head heatmap, or loss keypoint_l1"


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        ("{backbone: pyramid, head: keypoints}", "heatmap", HEATMAP),
        ("{name: deeppose, backbone: pyramid, stages: 1, heatmap: [64]}", "heatmap", HEATMAP),
        (
            "{backbone: pyramid, head: heatmap}",
            "rle",
            "rle needs a network that gives deviations; set model.head.likelihood to true, or choose loss keypoint_l1",
        ),
        (
            "{name: deeppose, backbone: pyramid, stages: 1}",
            "rle",
            "rle needs a network that gives deviations; set model.likelihood to true, or choose loss keypoint_l1",
        ),
    ],
)
def test_a_loss_without_what_it_needs_is_told_with_its_line(model: str, loss: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check("all", model=model, loss=loss)
    assert str(caught.value) == f"pose.yaml:4:1: loss: {message}"


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("{backbone: pyramid, head: heatmap}", "heatmap"),
        ("{name: pose_net, backbone: pyramid, head: {name: keypoints, likelihood: true}}", "rle"),
        ("{name: deeppose, backbone: pyramid, stages: 1, likelihood: true}", "rle"),
        ("{backbone: pyramid, head: {name: linear}}", "rle"),
    ],
)
def test_losses_with_what_they_need_and_heads_that_are_not_known_pass(model: str, loss: str) -> None:
    assert check("all", model=model, loss=loss).loss.name == loss
