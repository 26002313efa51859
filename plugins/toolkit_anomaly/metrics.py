"""Scores of whole pictures and of pixels, exact over any split of the samples into batches and processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, MinLen
from torch import Tensor

from toolkit.data.tree import select
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit_anomaly.ranking import area_under_pro, area_under_roc, best_f1, f1_of, roc_of_rows
from toolkit_anomaly.score_bins import NUM_BINS, bin_of
from toolkit_anomaly.types import GOOD, AnomalyInfo, AnomalyPrediction, AnomalyTruth

REPORT_THRESHOLDS = (0.1, 0.15, 0.2, 0.3)

Scores = Mapping[str, float | Undefined]
_NO_THRESHOLD = Undefined("the threshold is calibrated after fitting")


class ImageScores(Metric[AnomalyPrediction]):
    """`image_auroc`, `image_f1` and `image_f1_best`: is the picture defective? A defective picture is a positive.

    `image_auroc` is exact, as scikit-learn's `roc_auc_score`. `image_f1` is at the task's image threshold; `image_f1_best` at the threshold
    that would have been best for these very pictures: an upper limit, not a result.
    """

    def __init__(self, info: AnomalyInfo, /) -> None:
        super().__init__()
        self.rows = {"score": torch.empty(0), "positive": torch.empty(0, dtype=torch.bool), "called": torch.empty(0, dtype=torch.bool)}
        self.sums = {"without_threshold": torch.zeros((), dtype=torch.int64)}

    def update(self, prediction: AnomalyPrediction, truth: AnomalyTruth) -> None:
        """Take in a batch."""
        self.append("score", prediction.image_score)
        self.append("positive", truth.kind != GOOD)
        self.append("called", prediction.defective)
        self.add("without_threshold", prediction.image_threshold.isinf().sum())

    def compute(self) -> Scores:
        """The three scores; undefined without defective pictures, AUROC also without good ones."""
        score, positive, called = (self.rows[name].cpu() for name in ("score", "positive", "called"))
        if not positive.any():
            reason = Undefined("there are no defective pictures" if len(positive) else "there are no samples")
            return dict.fromkeys(("image_auroc", "image_f1", "image_f1_best"), reason)
        auroc, f1_best = roc_of_rows(score.double(), positive)
        f1: float | Undefined = _NO_THRESHOLD
        if not self.sums["without_threshold"]:
            f1 = f1_of(int((called & positive).sum()), int((called & ~positive).sum()), int((~called & positive).sum()))
        no_good = Undefined("there are no good pictures")
        return {"image_auroc": no_good if auroc is None else auroc, "image_f1": f1, "image_f1_best": f1_best}


class FalseAlarms(Metric[AnomalyPrediction]):
    """`false_alarms`: share of the good pictures that are called defective at the task's image threshold.

    Undefined until there is one: while the model is fitted, a threshold that will be calibrated is not known.
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, info: AnomalyInfo, /) -> None:
        super().__init__()
        self.sums = {name: torch.zeros((), dtype=torch.int64) for name in ("good", "called", "without_threshold")}

    def update(self, prediction: AnomalyPrediction, truth: AnomalyTruth) -> None:
        """Take in a batch."""
        good = truth.kind == GOOD
        self.add("good", good.sum())
        self.add("called", (good & prediction.defective).sum())
        self.add("without_threshold", prediction.image_threshold.isinf().sum())

    def compute(self) -> Scores:
        """The share."""
        if self.sums["without_threshold"]:
            return {"false_alarms": _NO_THRESHOLD}
        good = int(self.sums["good"])
        return {"false_alarms": int(self.sums["called"]) / good if good else Undefined("there are no good pictures")}


class PixelScores(Metric[AnomalyPrediction]):
    """Scores of pixels, over all pictures whose mask is known; a pixel of a defect is a positive.

    For each kind of defect and each threshold t: `recall@t/<defect>`, `precision@t/<defect>` and `pixel_accuracy@t/<defect>` (share of
    pixels that are right), each over the pixels of all pictures of that kind together, from whole counts; without a kind, over all
    defective pictures. `pixel_accuracy@t/good` is over the good pictures of the test part, where it has masks: validation keeps none,
    or every map would be read in its file's size after each epoch. A pixel is positive when its score is above t;
    morphology has no part in it.

    `pixel_f1` judges the task's own masks. `pixel_f1_best` is the F1 at the best threshold for these very pixels: an upper limit, not a
    result. `pixel_auroc`, `aupro` (area under the per-region overlap up to a false positive rate of 0.3, divided by 0.3; Bergmann et al.,
    CVPR 2019) and `pixel_f1_best` are read from histograms of 65,536 bins: two scores closer than 0.05 % may count as equal. Of pixel_auroc
    that changes at most half the probability that a random pair of a good and a defective pixel shares a bin; `auroc_error` gives that
    bound.

    Args:
        thresholds: those of the report by default.
        size: height and width at which masks and maps are compared; none: each mask's own size.
    """

    def __init__(
        self,
        info: AnomalyInfo,
        /,
        *,
        thresholds: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = REPORT_THRESHOLDS,
        size: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] | None = None,
    ) -> None:
        super().__init__()
        self.kinds = info.kinds
        self.has_masks = info.has_masks
        self.thresholds = thresholds
        self.size = size
        self.sums = {name: torch.zeros(NUM_BINS, dtype=torch.int64) for name in ("negatives", "positives")}
        self.sums |= {
            "overlap": torch.zeros(NUM_BINS, dtype=torch.float64),  # each pixel of a region counts 1 / its area
            "regions": torch.zeros((), dtype=torch.int64),
            "pixels": torch.zeros(len(info.kinds), len(thresholds), 4, dtype=torch.int64),
            "pictures": torch.zeros(len(info.kinds), dtype=torch.int64),
            "marked": torch.zeros(4, dtype=torch.int64),
            "without_threshold": torch.zeros((), dtype=torch.int64),
        }

    def update(self, prediction: AnomalyPrediction, truth: AnomalyTruth) -> None:
        """Take in a batch."""
        self.add_at("pictures", truth.kind, torch.ones_like(truth.kind))
        self.add("without_threshold", prediction.threshold.isinf().sum())
        for kind, one, regions in _with_mask(prediction, truth):
            height, width = regions.shape
            labels = regions if self.size is None else _nearest(regions, self.size)
            scores, marked = one.map_in_file(height, width, self.size), one.mask_in_file(height, width, self.size)
            self._add_pixels(kind, scores, marked, labels > 0)
            most = -(-height // 2) * -(-width // 2)  # regions that do not touch, each a single pixel
            self._add_bins(bin_of(scores).reshape(-1), labels.reshape(-1).long(), most)

    def _add_pixels(self, kind: Tensor, scores: Tensor, marked: Tensor, positive: Tensor) -> None:
        thresholds = torch.tensor(self.thresholds, device=scores.device)
        self.add_at("pixels", kind, _counts(scores > thresholds[:, None, None], positive)[None])
        self.add("marked", _counts(marked[None], positive)[0])

    def _add_bins(self, bins: Tensor, labels: Tensor, most: int) -> None:
        """`labels`: 0 on good pixels, then 1 to at most `most`."""
        positive = labels > 0
        self.add_at("positives", bins, positive)
        self.add_at("negatives", bins, ~positive)
        area = torch.zeros(most + 1, dtype=torch.float64, device=bins.device).index_add_(0, labels, positive.double())
        self.add_at("overlap", bins, torch.where(positive, 1 / area[labels].clamp_min(1), 0.0))
        self.add("regions", (area > 0).sum())

    def compute(self) -> Scores:
        """All scores by name."""
        scores: dict[str, float | Undefined] = {}
        reasons, no_defect = [self._why_absent(kind) for kind in range(len(self.kinds))], self._why_no_defect()
        for number, threshold in enumerate(self.thresholds):
            for kind, name in enumerate(self.kinds):
                measures = _measures(self.sums["pixels"][kind, number].tolist(), reasons[kind])
                for measure, value in measures.items():
                    if kind != GOOD or measure == "pixel_accuracy":
                        scores[f"{measure}@{threshold:g}/{name}"] = value
            over_all = self.sums["pixels"][GOOD + 1 :, number].sum(dim=0).tolist()
            scores |= {f"{measure}@{threshold:g}": value for measure, value in _measures(over_all, no_defect).items()}
        return scores | self._ranked()

    def auroc_error(self) -> float:
        """How far `pixel_auroc` may be from the exact one, at most."""
        positives, negatives = (self.sums[name].cpu().double() for name in ("positives", "negatives"))
        return float((positives * negatives).sum() / (2 * positives.sum() * negatives.sum()))

    def _why_absent(self, kind: int) -> str:
        """Why there may be no pixels to compare in pictures of a kind."""
        seen = self.sums["pictures"]
        if not seen[kind] and (kind == GOOD or seen[GOOD + 1 :].any()):
            return f"there is no picture of '{self.kinds[kind]}'" if seen.any() else "there are no samples"
        if kind == GOOD:
            return "good pictures are compared pixel by pixel only in a test part with masks"
        return f"no picture of '{self.kinds[kind]}' has a known mask" if seen[kind] and self.has_masks else self._why_no_defect()

    def _why_no_defect(self) -> str:
        """Why there may be no pixels of a defect."""
        seen, compared = self.sums["pictures"], self.sums["pixels"]
        if not seen[GOOD + 1 :].any():
            return "there are no defective pictures" if seen.any() else "there are no samples"
        if not self.has_masks:
            return "the defects of this data set have no masks"
        return "there are no defective pixels" if compared[GOOD + 1 :].any() else "no defective picture has a known mask"

    def _ranked(self) -> dict[str, float | Undefined]:
        names = ("pixel_auroc", "aupro", "pixel_f1", "pixel_f1_best")
        positives, negatives, overlap = (self.sums[name].cpu() for name in ("positives", "negatives", "overlap"))
        if not positives.sum():
            return dict.fromkeys(names, Undefined(self._why_no_defect()))
        if not negatives.sum():
            return dict.fromkeys(names, Undefined("there are no good pixels"))
        tp, fp, fn, _ = self.sums["marked"].tolist()
        return {
            "pixel_auroc": area_under_roc(positives, negatives),
            "aupro": area_under_pro(overlap, negatives, int(self.sums["regions"])),
            "pixel_f1": _NO_THRESHOLD if self.sums["without_threshold"] else f1_of(tp, fp, fn),
            "pixel_f1_best": best_f1(positives, negatives),
        }


def _measures(counts: list[int], absent: str) -> dict[str, float | Undefined]:
    """The three measures of true and false positives, false and true negatives; `absent` says why there may be none."""
    tp, fp, fn, tn = counts
    if not sum(counts):
        return dict.fromkeys(("recall", "precision", "pixel_accuracy"), Undefined(absent))
    return {
        "recall": tp / (tp + fn) if tp + fn else Undefined("no pixel belongs to a defect"),
        "precision": tp / (tp + fp) if tp + fp else Undefined("no pixel is above the threshold"),
        "pixel_accuracy": (tp + tn) / sum(counts),
    }


def with_known_mask(prediction: AnomalyPrediction, truth: AnomalyTruth) -> Iterator[tuple[int, AnomalyPrediction, Tensor]]:
    """Index, prediction and [H, W] regions of every sample whose mask is known."""
    for index, regions in enumerate(truth.regions):
        if regions.shape[-1]:
            yield index, select(prediction, index), regions[..., 0]


def _with_mask(prediction: AnomalyPrediction, truth: AnomalyTruth) -> Iterator[tuple[Tensor, AnomalyPrediction, Tensor]]:
    for index, one, regions in with_known_mask(prediction, truth):
        yield truth.kind[index : index + 1], one, regions


def _counts(predicted: Tensor, positive: Tensor) -> Tensor:
    """[T, H, W] and [H, W] bool -> [T, 4] int64: true and false positives, false and true negatives."""
    tp = (predicted & positive).sum(dim=(1, 2))
    fp = (predicted & ~positive).sum(dim=(1, 2))
    actual = positive.sum()
    return torch.stack([tp, fp, actual - tp, positive.numel() - actual - fp], dim=1)


def _nearest(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """[H, W] int32 -> [*size]: each cell takes the pixel at its centre."""
    resized: Any = F.interpolate(regions[None, None].float(), size, mode="nearest-exact")
    labels: Tensor = resized[0, 0].to(regions.dtype)
    return labels
