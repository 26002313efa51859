"""Human pose: the table of contents."""

from __future__ import annotations

from toolkit.extension import Registrar, hookimpl
from toolkit_pose import datasets, leeds, losses, metrics, models, plots
from toolkit_pose.cascade import DeepPose
from toolkit_pose.coco import CocoKeypoints
from toolkit_pose.synthetic import SyntheticPeople
from toolkit_pose.task import PoseTask

TOOLKIT_API = 1


@hookimpl
def toolkit_register(registry: Registrar) -> None:
    """Register human pose."""
    registry.task("pose", PoseTask)

    registry.dataset("lsp", leeds.lsp, synthetic="synthetic_people")
    registry.dataset("lspet", leeds.lspet, synthetic="synthetic_people")
    registry.dataset("flic", datasets.flic, synthetic="synthetic_people")
    registry.dataset("coco_keypoints", CocoKeypoints, synthetic="synthetic_people")
    registry.dataset("joined", datasets.Joined, synthetic="synthetic_people")
    registry.dataset("synthetic_people", SyntheticPeople)

    registry.model("deeppose", DeepPose)
    registry.model("pose_net", models.PoseNet)
    registry.backbone("alexnet_form", models.AlexNetForm)
    registry.backbone("pyramid", models.Pyramid)
    registry.head("keypoints", models.KeypointHead)
    registry.head("heatmap", models.HeatmapHead)

    registry.loss("keypoint_l2", losses.KeypointL2)
    registry.loss("keypoint_l1", losses.KeypointL1)
    registry.loss("smooth_l1", losses.SmoothL1)
    registry.loss("wing", losses.Wing)
    registry.loss("heatmap", losses.HeatmapCrossEntropy)
    registry.loss("rle", losses.Rle)

    registry.metric("pcp", metrics.Pcp)
    registry.metric("pdj", metrics.Pdj)
    registry.metric("pck", metrics.Pck)
    registry.metric("mean_error", metrics.MeanError)

    registry.plot("skeletons", plots.Skeletons)
    registry.plot("worst_cases", plots.WorstCases)
    registry.plot("pdj_curves", plots.PdjCurves)
    registry.plot("pcp_bars", plots.PcpBars)
    registry.plot("keypoint_boxes", plots.KeypointBoxes)
