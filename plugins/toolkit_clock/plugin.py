"""Reading analog clocks: the table of contents."""

from __future__ import annotations

from toolkit.extension import Registrar, hookimpl
from toolkit_clock import datasets, losses, metrics, models, plots, transforms
from toolkit_clock.synthetic import SyntheticClocks
from toolkit_clock.task import ClockTask

TOOLKIT_API = 1


@hookimpl
def toolkit_register(registry: Registrar) -> None:
    """Register the clock task."""
    registry.task("clock", ClockTask)

    registry.dataset("clock_arrays", datasets.ClockArrays, synthetic="synthetic_clocks")
    registry.dataset("clock_folder", datasets.ClockFolder, synthetic="synthetic_clocks")
    registry.dataset("synthetic_clocks", SyntheticClocks)

    registry.model("clock_net", models.ClockNet)
    registry.backbone("clock_trunk", models.ClockTrunk)
    registry.backbone("clock_conv_net", models.ClockConvNet)
    registry.head("two_head", models.TwoHead)
    registry.head("single_720", models.Single720)
    registry.head("regression", models.Regression)
    registry.head("circular", models.Circular)

    registry.loss("cross_entropy", losses.TimeCrossEntropy)
    registry.loss("mse", losses.TimeSquaredError)
    registry.loss("expected_error", losses.ExpectedCircularError)
    registry.loss("mixture", losses.ErrorMixture)

    registry.metric("common_sense_error", metrics.CommonSenseError)
    registry.metric("time_accuracy", metrics.TimeAccuracy)

    registry.transform("StretchDarkStrokes", transforms.StretchDarkStrokes)

    registry.plot("error_histogram", plots.ErrorHistogram)
    registry.plot("hour_confusion", plots.HourConfusion)
    registry.plot("error_by_time", plots.ErrorByTime)
    registry.plot("worst_cases", plots.WorstCases)
    registry.plot("ten_predictions", plots.TenPredictions)
