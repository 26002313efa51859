"""Scores against scikit-learn, an independent AUPRO and whole counts by NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import label as scipy_label
from sklearn.metrics import f1_score, precision_recall_curve, roc_auc_score

from toolkit.data.tree import select
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit_anomaly.datasets import regions_of
from toolkit_anomaly.metrics import FalseAlarms, ImageScores, PixelScores
from toolkit_anomaly.types import AnomalyInfo, AnomalyPrediction, AnomalyTruth

FIELDS = ("image_score", "threshold", "image_threshold", "reconstruction", "to_original")
INFO = AnomalyInfo((3, 16, 16), ("good", "crack", "hole"), True)


def some_results(count: int = 7, side: int = 16) -> tuple[AnomalyPrediction, AnomalyTruth]:
    """Maps that find their defects now and then; two kinds of defect and good pictures."""
    rng = np.random.default_rng(0)
    kinds = np.arange(count) % 3
    masks = np.zeros((count, side, side), bool)
    for index in np.flatnonzero(kinds):
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(0, side - 4, 2)
            masks[index, y : y + rng.integers(2, 5), x : x + rng.integers(2, 5)] = True
    scores = torch.from_numpy((rng.gamma(2, 0.06, masks.shape) + 0.15 * masks * rng.random(masks.shape)).astype(np.float32))
    image_score = torch.from_numpy((rng.integers(0, 4, count) / 4 + 0.25 * (kinds > 0)).astype(np.float32))  # with ties
    matrices = torch.eye(3).repeat(count, 1, 1)
    full = torch.full((count,), 0.3)
    prediction = AnomalyPrediction(scores, scores > 0.25, image_score, full - 0.05, full, torch.empty(count, 0, side, side), matrices)
    return prediction, AnomalyTruth(torch.from_numpy(kinds), torch.stack([regions_of(mask) for mask in masks]))


def numbers(metric: Metric[AnomalyPrediction]) -> dict[str, float]:
    return {name: score for name, score in metric.compute().items() if not isinstance(score, Undefined)}


def scored(metric: Metric[AnomalyPrediction], batches: int = 1) -> dict[str, float]:
    prediction, truth = some_results()
    for part in torch.arange(len(truth.kind)).chunk(batches):
        metric.update(select(prediction, part), select(truth, part))
    return numbers(metric)


def test_image_scores_are_scikit_learns_also_with_equal_scores() -> None:
    prediction, truth = some_results()
    positive, score = truth.kind.numpy() > 0, prediction.image_score.numpy()
    precision, recall, _ = precision_recall_curve(positive, score)
    expected = {
        "image_auroc": roc_auc_score(positive, score),
        "image_f1": f1_score(positive, score > 0.3),
        "image_f1_best": (2 * precision * recall / (precision + recall)).max(),
    }
    assert scored(ImageScores(INFO)) == pytest.approx(expected, abs=1e-12)
    assert scored(ImageScores(INFO), batches=3) == pytest.approx(expected, abs=1e-12)


def test_false_alarms_are_the_share_of_good_pictures_called_defective() -> None:
    prediction, truth = some_results()
    good = truth.kind.numpy() == 0
    expected = (prediction.image_score.numpy()[good] > 0.3).mean()
    assert scored(FalseAlarms(INFO)) == {"false_alarms": pytest.approx(expected)}


@pytest.mark.parametrize(("metric_type", "name"), [(ImageScores, "image_f1"), (PixelScores, "pixel_f1"), (FalseAlarms, "false_alarms")])
def test_without_a_threshold_what_would_be_at_it_is_undefined(metric_type: type[Metric[AnomalyPrediction]], name: str) -> None:
    prediction, truth = some_results()
    unknown = torch.full_like(prediction.threshold, torch.inf)
    metric = metric_type(INFO)  # type: ignore[call-arg]
    metric.update(replace(prediction, threshold=unknown, image_threshold=unknown), truth)
    assert [score for score, value in metric.compute().items() if value == Undefined("the threshold is calibrated after fitting")] == [name]


def test_pixel_measures_are_whole_counts_over_all_pictures_of_a_kind() -> None:
    prediction, truth = some_results()
    found = scored(PixelScores(INFO, thresholds=(0.1, 0.25)))
    masks = truth.regions[..., 0].numpy() > 0  # type: ignore[call-overload]
    for threshold in (0.1, 0.25):
        marked = prediction.scores.numpy() > threshold
        for kind, name in ((1, "/crack"), (2, "/hole"), ((1, 2), "")):
            rows = np.isin(truth.kind.numpy(), kind)
            both = (marked & masks)[rows].sum()
            assert found[f"recall@{threshold}{name}"] == both / masks[rows].sum()
            assert found[f"precision@{threshold}{name}"] == both / marked[rows].sum()
            assert found[f"pixel_accuracy@{threshold}{name}"] == (marked == masks)[rows].mean()
    assert "recall@0.1/good" not in found
    assert found["pixel_accuracy@0.1/good"] == (prediction.scores.numpy()[truth.kind.numpy() == 0] <= 0.1).mean()


def test_a_pixel_exactly_at_the_threshold_is_not_marked() -> None:
    prediction, truth = some_results(count=2, side=16)
    scores = torch.full_like(prediction.scores, 0.5)
    metric = PixelScores(INFO, thresholds=(0.5,))
    metric.update(AnomalyPrediction(scores, scores > 0.5, *[getattr(prediction, n) for n in FIELDS]), truth)
    assert numbers(metric)["recall@0.5/crack"] == 0.0


def test_ranked_pixel_scores_are_scikit_learns_within_the_stated_bound() -> None:
    prediction, truth = some_results()
    positive, score = (truth.regions[..., 0] > 0).numpy().ravel(), prediction.scores.numpy().ravel()  # type: ignore[call-overload]
    metric = PixelScores(INFO)
    found = scored(metric)
    assert abs(found["pixel_auroc"] - roc_auc_score(positive, score)) <= metric.auroc_error() + 1e-12
    assert metric.auroc_error() < 2e-3
    precision, recall, _ = precision_recall_curve(positive, score)
    assert found["pixel_f1_best"] == pytest.approx((2 * precision * recall / (precision + recall + 1e-12)).max(), abs=5e-3)
    assert found["pixel_f1"] == pytest.approx(f1_score(positive, score > 0.25), abs=1e-12)


def test_the_bound_holds_where_many_scores_share_a_bin() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, truth = some_results(count=3)
    scores = 0.5 + 1e-4 * torch.rand(prediction.scores.shape, generator=generator) + 5e-5 * (truth.regions[..., 0] > 0)  # type: ignore[call-overload]
    metric = PixelScores(INFO)
    metric.update(AnomalyPrediction(scores, scores > 1, *[getattr(prediction, n) for n in FIELDS]), truth)
    exact = roc_auc_score((truth.regions[..., 0] > 0).numpy().ravel(), scores.numpy().ravel())  # type: ignore[call-overload]
    error = abs(numbers(metric)["pixel_auroc"] - exact)
    assert 1e-3 < error <= metric.auroc_error()


def test_aupro_is_that_of_a_sweep_over_all_thresholds_and_regions() -> None:
    prediction, truth = some_results()
    masks = (truth.regions[..., 0] > 0).numpy()  # type: ignore[call-overload]
    assert scored(PixelScores(INFO))["aupro"] == pytest.approx(slow_aupro(prediction.scores.numpy(), masks), abs=3e-3)


def slow_aupro(scores: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """Every threshold, every region of every picture, as the definition reads."""
    points = [(0.0, 0.0)]
    for threshold in np.sort(np.unique(scores))[::-1]:
        marked = scores >= threshold
        overlaps = []
        for mask, found in zip(masks, marked, strict=True):
            regions, count = scipy_label(mask, structure=np.ones((3, 3)))
            overlaps += [found[regions == n].mean() for n in range(1, count + 1)]
        points.append((marked[~masks].mean(), float(np.mean(overlaps))))
    rates, overlap = np.array(points).T
    grid = np.concatenate([rates[rates < limit], [limit]])
    return float(np.trapezoid(np.interp(grid, rates, overlap), grid) / limit) if len(grid) > 1 else 0.0


def test_masks_of_several_sizes_count_together_in_their_own_pixels() -> None:
    prediction, truth = some_results(count=2)
    doubled = torch.diag(torch.tensor([2.0, 2.0, 1.0]))
    large = regions_of(np.kron(truth.regions[1, :, :, 0].numpy() > 0, np.ones((2, 2), bool)))  # type: ignore[call-overload]
    ragged = AnomalyTruth(truth.kind, (truth.regions[0], large))
    matrices = torch.stack([torch.eye(3), doubled])
    several = AnomalyPrediction(**{n: getattr(prediction, n) for n in ("scores", "marked", *FIELDS[:-1])}, to_original=matrices)
    whole, one_size = PixelScores(INFO), PixelScores(INFO, size=(16, 16))
    whole.update(several, ragged)
    one_size.update(several, ragged)
    assert whole.sums["pixels"].sum() == (16 * 16 + 32 * 32) * 4  # four thresholds
    assert one_size.sums["pixels"].sum() == 2 * 16 * 16 * 4
    expected = PixelScores(INFO)
    expected.update(prediction, truth)
    assert numbers(one_size)["pixel_auroc"] == pytest.approx(numbers(expected)["pixel_auroc"], abs=1e-6)


@pytest.mark.parametrize("metric_type", [ImageScores, PixelScores, FalseAlarms])
def test_no_split_into_batches_changes_a_score(metric_type: type[Metric[AnomalyPrediction]]) -> None:
    assert scored(metric_type(INFO), batches=4) == pytest.approx(scored(metric_type(INFO)), rel=1e-12)  # type: ignore[call-arg]


def test_without_masks_pixel_scores_are_undefined_and_image_scores_are_not() -> None:
    info = AnomalyInfo((3, 16, 16), ("good", "crack", "hole"), False)
    prediction, truth = some_results()
    unknown = AnomalyTruth(truth.kind, torch.empty(len(truth.kind), 16, 16, 0, dtype=torch.int16))
    metric, images = PixelScores(info), ImageScores(info)
    metric.update(prediction, unknown)
    images.update(prediction, unknown)
    good = {f"pixel_accuracy@{t:g}/good" for t in (0.1, 0.15, 0.2, 0.3)}
    assert {score for name, score in metric.compute().items() if name not in good} == {
        Undefined("the defects of this data set have no masks")
    }
    assert numbers(images).keys() == {"image_auroc", "image_f1", "image_f1_best"}


def test_without_defects_all_but_false_alarms_and_good_pixels_are_undefined() -> None:
    prediction, truth = some_results()
    good = (truth.kind == 0).nonzero().flatten()
    pixels, images = PixelScores(INFO), ImageScores(INFO)
    pixels.update(select(prediction, good), select(truth, good))
    images.update(select(prediction, good), select(truth, good))
    assert set(images.compute().values()) == {Undefined("there are no defective pictures")}
    assert numbers(pixels).keys() == {f"pixel_accuracy@{t:g}/good" for t in (0.1, 0.15, 0.2, 0.3)}
    assert pixels.compute()["recall@0.1/hole"] == Undefined("there are no defective pictures")
    assert pixels.compute()["pixel_auroc"] == Undefined("there are no defective pictures")


@pytest.mark.parametrize("has_masks", [True, False])
def test_validation_whose_good_pictures_keep_no_masks_does_not_blame_the_masks(has_masks: bool) -> None:
    info = AnomalyInfo((3, 16, 16), ("good", "crack", "hole"), has_masks)
    prediction, truth = some_results()
    good = (truth.kind == 0).nonzero().flatten()
    pixels = PixelScores(info)
    pixels.update(select(prediction, good), AnomalyTruth(truth.kind[good], torch.empty(len(good), 16, 16, 0)))
    reasons = {name: score.reason for name, score in pixels.compute().items() if isinstance(score, Undefined)}
    assert reasons.keys() == pixels.compute().keys()
    of_good = [reasons.pop(f"pixel_accuracy@{t:g}/good") for t in (0.1, 0.15, 0.2, 0.3)]
    assert set(of_good) == {"good pictures are compared pixel by pixel only in a test part with masks"}
    assert set(reasons.values()) == {"there are no defective pictures"}


def test_a_kind_without_pictures_and_one_without_masks_are_told_apart() -> None:
    info = AnomalyInfo((3, 16, 16), ("good", "crack", "hole", "cut"), True)
    prediction, truth = some_results(count=3)
    ragged = (truth.regions[0], truth.regions[1], torch.empty(16, 16, 0))
    pixels = PixelScores(info)
    pixels.update(prediction, AnomalyTruth(truth.kind, ragged))
    assert pixels.compute()["recall@0.1/hole"] == Undefined("no picture of 'hole' has a known mask")
    assert pixels.compute()["recall@0.1/cut"] == Undefined("there is no picture of 'cut'")
    assert "recall@0.1/crack" in numbers(pixels)


def test_without_samples_every_reason_says_so() -> None:
    assert set(PixelScores(INFO).compute().values()) == {Undefined("there are no samples")}
    assert set(ImageScores(INFO).compute().values()) == {Undefined("there are no samples")}


def test_the_overlap_counts_every_one_of_more_regions_than_16_bits_can_number() -> None:
    mask = np.zeros((400, 400), bool)
    mask[::2, ::2] = True
    scores = torch.from_numpy(np.where(mask, 0.5, 0.1).astype(np.float32))[None]
    prediction, _ = some_results(count=1)
    one = AnomalyPrediction(scores, scores > 0.3, *[getattr(prediction, n) for n in FIELDS])
    pixels = PixelScores(INFO)
    pixels.update(one, AnomalyTruth(torch.tensor([1]), regions_of(mask)[None]))
    assert pixels.sums["regions"] == 40_000
    assert pixels.sums["overlap"].sum() == pytest.approx(40_000)
    assert numbers(pixels)["aupro"] == pytest.approx(1.0)


def test_without_good_pictures_the_image_auroc_is_undefined() -> None:
    prediction, truth = some_results()
    bad = (truth.kind > 0).nonzero().flatten()
    metric = ImageScores(INFO)
    metric.update(select(prediction, bad), select(truth, bad))
    assert metric.compute()["image_auroc"] == Undefined("there are no good pictures")


def test_precision_is_undefined_where_nothing_is_above_the_threshold() -> None:
    prediction, truth = some_results()
    metric = PixelScores(INFO, thresholds=(100.0,))
    metric.update(prediction, truth)
    assert metric.compute()["precision@100/crack"] == Undefined("no pixel is above the threshold")
    assert metric.compute()["recall@100/crack"] == 0.0


def test_score_names_are_those_of_the_report() -> None:
    names = PixelScores(INFO).compute().keys()
    assert {"recall@0.1/crack", "precision@0.15/hole", "pixel_accuracy@0.2/crack", "recall@0.3/hole"} <= names
    assert {"pixel_auroc", "aupro", "pixel_f1", "pixel_f1_best"} <= names
