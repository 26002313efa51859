"""Saliency: the table of contents."""

from __future__ import annotations

from toolkit.extension import Registrar, hookimpl

from toolkit_saliency import datasets, losses, metrics, models, plots, synthetic, transforms
from toolkit_saliency.task import SaliencyTask

TOOLKIT_API = 1


@hookimpl
def toolkit_register(registry: Registrar) -> None:
    """Register saliency. What follows the task belongs to it; the toolkit's own losses, optimizers, ... are there as well."""
    registry.task("saliency", SaliencyTask)

    registry.dataset("saliency_folder", datasets.SaliencyFolder, synthetic="synthetic_blobs")
    registry.dataset("synthetic_blobs", synthetic.SyntheticBlobs)

    registry.model("fcn", models.Fcn)
    registry.backbone("dilated", models.Dilated)
    registry.loss("bce_dice", losses.BceDice)

    registry.metric("iou", metrics.Iou)
    registry.metric("mean_absolute_error", metrics.MeanAbsoluteError)

    registry.plot("mask_grid", plots.MaskGrid)
    registry.transform("Vignette", transforms.Vignette)
