"""Anomaly detection: the table of contents."""

from __future__ import annotations

from toolkit.extension import Registrar, hookimpl
from toolkit_anomaly import datasets, losses, metrics, plots
from toolkit_anomaly.diagnosis import toolkit_epoch_ended
from toolkit_anomaly.models.autoencoder import ConvAutoencoder
from toolkit_anomaly.models.padim import Padim
from toolkit_anomaly.models.patchcore import PatchCore
from toolkit_anomaly.synthetic import SyntheticNuts
from toolkit_anomaly.task import AnomalyTask

__all__ = ["toolkit_epoch_ended", "toolkit_register"]

TOOLKIT_API = 1


@hookimpl
def toolkit_register(registry: Registrar) -> None:
    """Register anomaly detection."""
    registry.task("anomaly", AnomalyTask)

    registry.dataset("mvtec", datasets.mvtec, synthetic="synthetic_nuts")
    registry.dataset("anomaly_folder", datasets.anomaly_folder, synthetic="synthetic_nuts")
    registry.dataset("synthetic_nuts", SyntheticNuts)

    registry.model("conv_autoencoder", ConvAutoencoder)
    registry.model("padim", Padim)
    registry.model("patchcore", PatchCore)

    registry.loss("mse", losses.ReconstructionMse)
    registry.loss("l1", losses.ReconstructionL1)
    registry.loss("ssim", losses.Ssim)
    registry.loss("ssim_l1", losses.SsimL1)
    registry.loss("gradient", losses.Gradient)
    registry.loss("mean_score", losses.MeanScore)

    registry.metric("image_scores", metrics.ImageScores)
    registry.metric("pixel_scores", metrics.PixelScores)
    registry.metric("false_alarms", metrics.FalseAlarms)

    registry.plot("defect_rows", plots.DefectRows)
    registry.plot("threshold_sweep", plots.ThresholdSweep)
    registry.plot("score_histograms", plots.ScoreHistograms)
