"""PCP, PDJ, PCK and the mean error: over every labelled keypoint that the network worked on, in pixels of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Len
from torch import Tensor

from toolkit.evaluation.metrics import Metric, Undefined
from toolkit_pose.types import Keypoints, PoseInfo, PosePrediction, limb_ends, limb_labelled

Thresholds = Annotated[tuple[Annotated[float, Gt(0)], ...], Len(1)]


class Pcp(Metric[PosePrediction]):
    """Percentage of correct parts, as a share: limbs whose ends are found within half the limb's true length.

    `pcp` is strict: both ends must be. `pcp_relaxed`: the mean of both distances must be; Toshev & Szegedy (CVPR 2014) use the strict
    form, many earlier results the relaxed one (Ferrari et al., CVPR 2008; discussed in Pishchulin et al., CVPR 2012).
    A limb counts where both its ends are labelled, visible or not, and its true length is not 0.
    The mean is over the limbs with `in_mean` (upper and lower arms and legs, left and right), each weighing the same; it is
    undefined if one of them never counts. Torso and head stand beside it.

    Args:
        threshold: as a share of the limb's true length; an end exactly that far off is right.
    """

    def __init__(self, info: PoseInfo, /, *, threshold: Annotated[float, Gt(0)] = 0.5) -> None:
        super().__init__()
        self.limbs = info.limbs
        self.threshold = threshold
        self.sums = {name: torch.zeros(len(info.limbs), dtype=torch.int64) for name in ("counted", "strict", "relaxed")}

    def update(self, prediction: PosePrediction, truth: Keypoints) -> None:
        """Take in a batch."""
        counted, strict, relaxed = [], [], []
        for limb in self.limbs:
            start, end = limb_ends(prediction.points_px, limb)
            true_start, true_end = limb_ends(truth.points_px, limb)
            length = (true_end - true_start).norm(dim=-1)  # [B]
            off_start, off_end = (start - true_start).norm(dim=-1), (end - true_end).norm(dim=-1)
            counts = limb_labelled(truth.labelled & prediction.counted, limb) & (length > 0)
            counted.append(counts)
            strict.append(counts & (torch.maximum(off_start, off_end) <= self.threshold * length))
            relaxed.append(counts & ((off_start + off_end) / 2 <= self.threshold * length))
        for name, values in (("counted", counted), ("strict", strict), ("relaxed", relaxed)):
            self.add(name, torch.stack(values, dim=1).sum(dim=0))

    def compute(self) -> Mapping[str, float | Undefined]:
        """`pcp`, `pcp/<limb>`, `pcp_relaxed`, `pcp_relaxed/<limb>`."""
        counted = self.sums["counted"].tolist()
        scores: dict[str, float | Undefined] = {}
        for name, right in (("pcp", self.sums["strict"].tolist()), ("pcp_relaxed", self.sums["relaxed"].tolist())):
            by_limb = {limb.name: r / n if n else None for limb, r, n in zip(self.limbs, right, counted, strict=True)}
            in_mean = {limb.name: by_limb[limb.name] for limb in self.limbs if limb.in_mean}
            never = [limb for limb, value in in_mean.items() if value is None]
            values = [value for value in in_mean.values() if value is not None]
            scores[name] = sum(values) / len(values) if values and not never else Undefined(f"no labelled {', '.join(never) or 'limb'}")
            for limb, value in by_limb.items():
                scores[f"{name}/{limb}"] = Undefined(f"no labelled {limb}") if value is None else value
        return scores


class Pdj(Metric[PosePrediction]):
    """Percentage of detected joints, as a share: keypoints found within a fraction of the torso diameter (left shoulder to right hip).

    `pdj@0.2` is over all labelled keypoints, `pdj@0.2/<keypoint>` over one. People whose torso is not labelled, or whose torso
    diameter is 0, do not count. Source: Sapp & Taskar, MODEC, CVPR 2013; Toshev & Szegedy, CVPR 2014.

    Args:
        thresholds: fractions of the torso diameter; a keypoint exactly that far off is right.
    """

    def __init__(self, info: PoseInfo, /, *, thresholds: Thresholds = (0.1, 0.2, 0.5)) -> None:
        super().__init__()
        self._hits = _Hits(self, "pdj", info, thresholds)
        self.torso = info.torso

    def update(self, prediction: PosePrediction, truth: Keypoints) -> None:
        """Take in a batch."""
        self._hits.update(self, prediction, truth, *torso_diameter(truth, self.torso))

    def compute(self) -> Mapping[str, float | Undefined]:
        """`pdj@<threshold>` and `pdj@<threshold>/<keypoint>`."""
        return self._hits.compute(self)


class Pck(Metric[PosePrediction]):
    """Percentage of correct keypoints, as a share: found within a fraction of the person's size.

    Args:
        size: torso: the torso diameter, as in PDJ, which makes the two the same score; box: the longer side of the box around
            the labelled keypoints (Yang & Ramanan, PAMI 2013).
        thresholds: fractions of the size; a keypoint exactly that far off is right.
    """

    def __init__(self, info: PoseInfo, /, *, size: Literal["torso", "box"] = "torso", thresholds: Thresholds = (0.2,)) -> None:
        super().__init__()
        self._hits = _Hits(self, "pck", info, thresholds)
        self.size = size
        self.torso = info.torso

    def update(self, prediction: PosePrediction, truth: Keypoints) -> None:
        """Take in a batch."""
        sizes = torso_diameter(truth, self.torso) if self.size == "torso" else _box_side(truth)
        self._hits.update(self, prediction, truth, *sizes)

    def compute(self) -> Mapping[str, float | Undefined]:
        """`pck@<threshold>` and `pck@<threshold>/<keypoint>`."""
        return self._hits.compute(self)


class MeanError(Metric[PosePrediction]):
    """Mean distance between found and true keypoints in pixels of the file, over all labelled ones."""

    higher_is_better = False

    def __init__(self, info: PoseInfo, /) -> None:
        super().__init__()
        self.keypoints = info.keypoints
        count = len(info.keypoints)
        self.sums = {"distance": torch.zeros(count, dtype=torch.float64), "counted": torch.zeros(count, dtype=torch.int64)}

    def update(self, prediction: PosePrediction, truth: Keypoints) -> None:
        """Take in a batch."""
        distance = keypoint_errors(prediction, truth).double()
        counts = truth.labelled & prediction.counted
        self.add("distance", torch.where(counts, distance, 0).sum(dim=0))
        self.add("counted", counts.sum(dim=0))

    def compute(self) -> Mapping[str, float | Undefined]:
        """`mean_error_px` and `mean_error_px/<keypoint>`."""
        distance, counted = self.sums["distance"], self.sums["counted"]
        scores: dict[str, float | Undefined] = {"mean_error_px": _ratio(distance.sum(), counted.sum(), "keypoint")}
        for index, name in enumerate(self.keypoints):
            scores[f"mean_error_px/{name}"] = _ratio(distance[index], counted[index], name)
        return scores


def keypoint_errors(prediction: PosePrediction, truth: Keypoints) -> Tensor:
    """[B, K] distance in pixels of the file; meaningless where not labelled."""
    distance: Tensor = torch.linalg.vector_norm(prediction.points_px - truth.points_px, dim=-1)
    return distance


def torso_diameter(truth: Keypoints, torso: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """[B] distance of the torso's two keypoints in pixels, and [B] bool whether it is labelled and not 0."""
    diameter = (truth.points_px[:, torso[0]] - truth.points_px[:, torso[1]]).norm(dim=-1)
    return diameter, truth.labelled[:, torso[0]] & truth.labelled[:, torso[1]] & (diameter > 0)


class _Hits:
    """Counts keypoints within thresholds of a size, in the sums of the metric that owns it."""

    def __init__(self, owner: Metric[PosePrediction], prefix: str, info: PoseInfo, thresholds: tuple[float, ...]) -> None:
        self.prefix, self.keypoints, self.thresholds = prefix, info.keypoints, thresholds
        count = len(info.keypoints)
        owner.sums = {
            "hits": torch.zeros(len(thresholds), count, dtype=torch.int64),
            "counted": torch.zeros(count, dtype=torch.int64),
        }

    def update(self, owner: Metric[PosePrediction], prediction: PosePrediction, truth: Keypoints, size: Tensor, known: Tensor) -> None:
        counts = truth.labelled & prediction.counted & known[:, None]
        errors = keypoint_errors(prediction, truth)
        hits = [(counts & (errors <= threshold * size[:, None])).sum(dim=0) for threshold in self.thresholds]
        owner.add("hits", torch.stack(hits))
        owner.add("counted", counts.sum(dim=0))

    def compute(self, owner: Metric[PosePrediction]) -> dict[str, float | Undefined]:
        hits, counted = owner.sums["hits"], owner.sums["counted"]
        scores: dict[str, float | Undefined] = {}
        for row, threshold in zip(hits, self.thresholds, strict=True):
            name = f"{self.prefix}@{threshold:g}"
            scores[name] = _ratio(row.sum(), counted.sum(), "keypoint of a person whose size is known")
            for index, keypoint in enumerate(self.keypoints):
                scores[f"{name}/{keypoint}"] = _ratio(row[index], counted[index], f"{keypoint} of a person whose size is known")
        return scores


def _box_side(truth: Keypoints) -> tuple[Tensor, Tensor]:
    """[B] longer side of the box around the labelled keypoints, and [B] bool whether it is not 0."""
    unknown = ~truth.labelled[..., None]
    high, low = truth.points_px.masked_fill(unknown, -torch.inf).amax(dim=1), truth.points_px.masked_fill(unknown, torch.inf).amin(dim=1)
    side = (high - low).amax(dim=1)
    return side, side > 0


def _ratio(total: Tensor, count: Tensor, what: str) -> float | Undefined:
    return float(total) / int(count) if int(count) else Undefined(f"no labelled {what}")
