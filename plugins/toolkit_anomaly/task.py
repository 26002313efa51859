"""`AnomalyTask`: what is wrong in a picture, learnt from good ones alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from toolkit.data.sample import Split
from toolkit.errors import PluginError
from toolkit.task import Task
from toolkit_anomaly.difference import Difference, difference_map, foreground, smoothed
from toolkit_anomaly.regions import closed, opened, region_list, without_small
from toolkit_anomaly.score_bins import NUM_BINS, bin_of, threshold_leaving
from toolkit_anomaly.types import (
    AnomalyInfo,
    AnomalyOutput,
    AnomalyPrediction,
    AnomalyTruth,
    KindTarget,
    PatchScores,
    Reconstruction,
)

_ANSWER, _TRUTH = (213, 94, 0), (0, 158, 115)  # orange and green that colour-blind readers can tell apart


@dataclass(frozen=True)
class EncodedKind:
    """All a loss is told beyond the model's output, which holds the pictures themselves.

    Args:
        kind: [B] int64, an index into `AnomalyInfo.kinds`.
    """

    kind: Tensor


class AnomalyTask(Task[KindTarget, EncodedKind, AnomalyOutput, AnomalyPrediction]):
    """Mark what good pictures do not have. A model gives a `Reconstruction` or `PatchScores`.

    The map of scores is the difference of picture and reconstruction, or the distances of the patches, enlarged. Pixels above a
    threshold are marked; opening, closing and removal of small regions follow in this order, in pixels of the picture that the model sees.
    Thresholds are fixed numbers or, by default, quantiles over the good pictures of the validation part, taken once after fitting.

    Args:
        difference: of picture and reconstruction; not read for models without one.
        smoothing: sigma of the Gaussian that maps are blurred with, in pixels of the map; 0 for none.
        foreground: pixels that differ by at most this much from the colour of the picture's own edge score 0 (holes within the object do
            not count as edge); for objects on a plain background. In units of the pictures that the model sees: 0 to 1, or what
            `Normalize` makes of them. None: all pixels count.
        threshold: a pixel whose score is above it is marked; calibrated: so that of the pixels of good validation pictures at most the
            share `pixel_false_alarms` is marked.
        pixel_false_alarms: that share.
        image_score: the highest score of a picture's map, or the mean of its highest percent. PatchCore brings its own score.
        image_threshold: a picture whose score is above it is called defective; calibrated: so that of the good validation pictures at most
            the share `image_false_alarms` is.
        image_false_alarms: that share.
        opening: marked regions that a square of twice this many pixels and one does not fit into are removed.
        closing: gaps that such a square does not fit into are filled.
        least_region: marked regions of fewer pixels are removed.
        threshold_from_test: calibrate on all test pictures, defects included, instead of good validation pictures. Scores at the chosen
            thresholds are then no longer honest: they were chosen on the pictures they are reported for.
        diagnose_on_test: after every epoch also measure recall, precision and share of right pixels on the test part's defects, and plot
            them. Nothing is chosen by them, but whoever looks at them has looked at test data.
    """

    name: ClassVar[str] = "anomaly"
    output_meaning: ClassVar[str] = "pictures 0..1 and their reconstructions, or distances of patches to good ones"
    info_type: ClassVar[type[AnomalyInfo]] = AnomalyInfo
    default_loss: ClassVar[str] = "mse"
    default_metrics: ClassVar[tuple[str, ...]] = ("image_scores", "pixel_scores", "false_alarms")
    default_plots: ClassVar[tuple[str, ...]] = ("defect_rows", "threshold_sweep", "score_histograms")
    scores_training: ClassVar[bool] = False
    default_select: ClassVar[str] = "val/loss"
    info: AnomalyInfo

    def __init__(
        self,
        info: AnomalyInfo,
        /,
        *,
        difference: Difference = "l1",
        smoothing: Annotated[float, Ge(0), Le(32)] = 0.0,
        foreground: Annotated[float, Gt(0), Lt(1)] | None = None,
        threshold: Annotated[float, Gt(0)] | Literal["calibrated"] = "calibrated",
        pixel_false_alarms: Annotated[float, Ge(0), Lt(1)] = 0.002,
        image_score: Literal["max", "top_percent"] = "max",
        image_threshold: Annotated[float, Gt(0)] | Literal["calibrated"] = "calibrated",
        image_false_alarms: Annotated[float, Ge(0), Lt(1)] = 0.05,
        opening: Annotated[int, Ge(0), Le(32)] = 0,
        closing: Annotated[int, Ge(0), Le(32)] = 0,
        least_region: Annotated[int, Ge(0)] = 0,
        threshold_from_test: bool = False,
        diagnose_on_test: bool = False,
    ) -> None:
        super().__init__(info)
        self.difference: Difference = difference
        self.smoothing = smoothing
        self.foreground = foreground
        self.threshold = threshold
        self.pixel_false_alarms = pixel_false_alarms
        self.image_score = image_score
        self.image_threshold = image_threshold
        self.image_false_alarms = image_false_alarms
        self.opening = opening
        self.closing = closing
        self.least_region = least_region
        self.threshold_from_test = threshold_from_test
        self.diagnose_on_test = diagnose_on_test
        self._calibration: Mapping[str, Tensor] = {}

    def encode(self, targets: KindTarget, size: tuple[int, int]) -> EncodedKind:
        """The kinds as they are: what the output is compared with stands in the output."""
        return EncodedKind(targets.kind)

    def decode(self, output: AnomalyOutput, to_original: Tensor) -> AnomalyPrediction:
        """Output -> map, mask and scores. Before calibration nothing is marked and no picture is called defective."""
        scores, image_score, reconstruction = self._maps(output)
        count = len(scores)
        threshold = self._threshold("threshold", self.threshold, scores.device).expand(count)
        image_threshold = self._threshold("image_threshold", self.image_threshold, scores.device).expand(count)
        marked = closed(opened(scores > threshold[:, None, None], self.opening), self.closing)
        if self.least_region > 1:
            marked = without_small(marked, self.least_region)
        return AnomalyPrediction(scores, marked, image_score, threshold, image_threshold, reconstruction, to_original)

    def describe(self, prediction: AnomalyPrediction, size: tuple[int, int]) -> Mapping[str, Any]:
        """{"defective", "score", "threshold", "pixel_threshold", "marked_share", "regions": [{"area_px", "box", "mean_score"}, ...]}.

        Boxes are [left, top, right, bottom]; boxes and areas in pixels of the file. Thresholds are null before calibration.
        """
        scores, mask = prediction.map_in_file(*size), prediction.mask_in_file(*size)
        answer = {"defective": bool(prediction.defective), "score": float(prediction.image_score)}
        limits = {"threshold": prediction.image_threshold, "pixel_threshold": prediction.threshold}
        known = {name: float(limit) if torch.isfinite(limit) else None for name, limit in limits.items()}
        return {**answer, **known, "marked_share": float(mask.float().mean()), "regions": region_list(mask, scores)}

    def draw(self, image: Tensor, prediction: AnomalyPrediction, truth: AnomalyTruth | None) -> Tensor:
        """The picture with marked pixels tinted and outlined orange, and the outline of the true defect green."""
        height, width = image.shape[1:]
        marked = prediction.mask_in_file(height, width).cpu()
        drawn = image.float().cpu()
        drawn[:, marked] = 0.65 * drawn[:, marked] + 0.35 * torch.tensor(_ANSWER)[:, None]
        drawn[:, outline(marked)] = torch.tensor(_ANSWER).float()[:, None]
        if truth is not None and isinstance(truth.regions, Tensor) and truth.regions.shape[-1]:
            drawn[:, outline(truth.regions[..., 0].cpu() > 0)] = torch.tensor(_TRUTH).float()[:, None]
        return drawn.to(torch.uint8)

    def pictures(self, prediction: AnomalyPrediction, size: tuple[int, int]) -> Mapping[str, Tensor]:
        """map: the scores as colours, dark to bright, white at four times the pixel threshold; mask: 255 where marked.

        Both in the file's size. Without a threshold the brightest colour is the picture's highest score.
        """
        scores, mask = prediction.map_in_file(*size).cpu(), prediction.mask_in_file(*size).cpu()
        limit = prediction.threshold.cpu()
        return {"map": as_colours(scores, 4 * limit if torch.isfinite(limit) else scores.max()), "mask": mask[None].to(torch.uint8) * 255}

    @property
    def caveats(self) -> tuple[str, ...]:
        """What was looked up in test data."""
        told = []
        if self.threshold_from_test:
            told.append("task.threshold_from_test: thresholds were chosen on TEST pictures; scores at these thresholds flatter")
        if self.diagnose_on_test:
            told.append("task.diagnose_on_test: defects of the TEST part were measured after every epoch; nothing was chosen by them")
        return tuple(told)

    @property
    def calibration_part(self) -> Split:
        """Validation, which holds good pictures only; test only by the option that says so."""
        return "test" if self.threshold_from_test else "validation"

    def calibrate(self, outputs: Iterable[AnomalyOutput]) -> Mapping[str, Tensor]:
        """The two thresholds as quantiles of the pixels' and the pictures' scores; a histogram's bin (0.05 %) above the exact ones."""
        pixels, pictures = (torch.zeros(NUM_BINS, dtype=torch.int64) for _ in range(2))
        for output in outputs:
            scores, image_score, _ = self._maps(output)
            pixels += torch.bincount(bin_of(scores).reshape(-1).cpu(), minlength=NUM_BINS)
            pictures += torch.bincount(bin_of(image_score).cpu(), minlength=NUM_BINS)
        return {
            "threshold": torch.tensor(threshold_leaving(pixels, self.pixel_false_alarms)),
            "image_threshold": torch.tensor(threshold_leaving(pictures, self.image_false_alarms)),
        }

    def use_calibration(self, calibration: Mapping[str, Tensor]) -> None:
        """Mark by these thresholds from now on; fixed ones stay."""
        self._calibration = dict(calibration)

    def _threshold(self, name: str, fixed: float | Literal["calibrated"], device: torch.device) -> Tensor:
        if fixed != "calibrated":
            return torch.tensor(fixed, device=device)
        return self._calibration[name].to(device) if name in self._calibration else torch.tensor(torch.inf, device=device)

    def _maps(self, output: AnomalyOutput) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [B, H, W], image scores [B] and reconstruction [B, C or 0, H, W] uint8."""
        given = torch.empty(0)
        if isinstance(output, Reconstruction):
            scores = difference_map(output.pictures, output.reconstruction, self.difference)
            reconstruction = (output.reconstruction.float().clamp(0, 1) * 255).round().to(torch.uint8)
        elif isinstance(output, PatchScores):
            size = output.pictures.shape[-2:]
            scores = F.interpolate(output.patches[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
            reconstruction = torch.empty(len(scores), 0, *size, dtype=torch.uint8, device=scores.device)
            given = output.image_score.flatten().float()
        else:
            raise PluginError(f"the model gives {type(output).__name__}; expected toolkit_anomaly.types.Reconstruction or PatchScores")
        scores = smoothed(scores, self.smoothing)
        if self.foreground is not None:
            scores = scores * foreground(output.pictures, self.foreground)
        return scores, given if len(given) else self._image_score(scores), reconstruction

    def _image_score(self, scores: Tensor) -> Tensor:
        pixels = scores.flatten(1)
        if self.image_score == "max":
            return pixels.amax(dim=1)
        return pixels.topk(max(1, pixels.shape[1] // 100), dim=1).values.mean(dim=1)


def outline(mask: Tensor) -> Tensor:
    """[H, W] bool: pixels of the mask that touch its outside or the edge of the picture.

    >>> outline(torch.ones(3, 3, dtype=torch.bool)).int().tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    inside = F.pad(mask, (1, 1, 1, 1))
    core = inside[1:-1, :-2] & inside[1:-1, 2:] & inside[:-2, 1:-1] & inside[2:, 1:-1]
    return mask & ~core


def as_colours(scores: Tensor, white: Tensor) -> Tensor:
    """[H, W] scores -> [3, H, W] uint8 in matplotlib's "inferno", its brightest colour from `white` on."""
    shares = (scores.cpu() / white.cpu().clamp_min(1e-12)).clamp(0, 1).numpy()
    colours = np.asarray(matplotlib.colormaps["inferno"](shares))[..., :3]
    return torch.from_numpy((colours * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()
