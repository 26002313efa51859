"""What the plugin registers."""

from __future__ import annotations

from toolkit.extension import Component, Origin, Registrar
from toolkit_pose import plugin
from toolkit_pose.task import PoseTask


def registered() -> list[Component]:
    registrar = Registrar(Origin("pose", "vision-toolkit"))
    plugin.toolkit_register(registrar)
    return registrar.components


def names(kind: str) -> set[str]:
    return {component.name for component in registered() if component.kind == kind}


def test_these_names_can_stand_in_a_config() -> None:
    assert names("task") == {"pose"}
    assert names("dataset") == {"lsp", "lspet", "flic", "coco_keypoints", "joined", "synthetic_people"}
    assert names("model") == {"deeppose", "pose_net"}
    assert names("backbone") == {"alexnet_form", "pyramid"}
    assert names("head") == {"keypoints", "heatmap"}
    assert names("loss") == {"keypoint_l2", "keypoint_l1", "smooth_l1", "wing", "heatmap", "rle"}
    assert names("metric") == {"pcp", "pdj", "pck", "mean_error"}
    assert names("plot") == {"skeletons", "worst_cases", "pdj_curves", "pcp_bars", "keypoint_boxes"}


def test_the_defaults_of_the_task_are_registered() -> None:
    assert PoseTask.default_loss in names("loss")
    assert set(PoseTask.default_metrics) <= names("metric")
    assert set(PoseTask.default_plots) <= names("plot")
    assert PoseTask.default_select == "val/pcp"
