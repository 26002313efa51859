"""What flows through pose: keypoints, a network's output, a skeleton. Shapes and units are defined here, nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from toolkit.data.sample import DataInfo, Target
from toolkit_pose.residual_flow import ResidualFlow


@dataclass(frozen=True)
class Keypoints(Target):
    """The keypoints of one person; target and truth. Left and right are the person's own.

    A keypoint is *labelled* or not: losses and metrics count every labelled one, whether it can be seen or not.

    Args:
        points_px: [K, 2] or [B, K, 2] float32 x, y in pixels of the picture, pixel centres at whole numbers; finite,
            meaningless where not labelled.
        labelled: [K] or [B, K] bool.
        visible: [K] or [B, K] bool, False where something hides the keypoint or nobody knows.
        mirror: [K] or [B, K] int64, the keypoint that each one becomes in a mirror (left wrist: right wrist).
    """

    moves: ClassVar[bool] = True
    points_px: Tensor
    labelled: Tensor
    visible: Tensor
    mirror: Tensor

    def points(self) -> Tensor:
        """They travel with the picture."""
        return self.points_px

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        """The warped keypoints; in a mirrored picture left and right change their names."""
        points = self.points_px if points is None else points
        order = torch.where(mirrored[..., None], self.mirror, torch.arange(self.mirror.shape[-1], device=self.mirror.device))
        points = points.gather(-2, order[..., None].expand_as(points))
        return type(self)(points, self.labelled.gather(-1, order), self.visible.gather(-1, order), self.mirror)


@dataclass(frozen=True)
class EncodedKeypoints:
    """What losses see.

    Args:
        points: [B, K, 2] x, y as shares of the picture's width and height from its middle: -0.5 is the left (upper) edge,
            0.5 the right (lower) one. This is N(y; b) of the paper with the whole picture as box b.
        labelled: [B, K] bool, labelled and within the picture: what losses count.
        known: [B, K] bool, labelled, within the picture or not: whose points mean something.
    """

    points: Tensor
    labelled: Tensor
    known: Tensor


@dataclass(frozen=True)
class PoseOutput:
    """What a network gives.

    Args:
        stages: [B, S, K, 2] where each stage puts the keypoints, in the units of `EncodedKeypoints.points`; losses see the last.
        boxes: [B, S, K, 4] the box that each stage looked at: x, y of its middle, width, height in the same units
            (0, 0, 1, 1 is the whole picture). Losses measure errors in units of the last stage's boxes.
        counted: [B, K] bool, which keypoints the network worked on; the others enter neither loss nor scores.
        spread: [B, K, 2] deviation of the error that the network expects, in units of the last box; None where it does not say.
        flow: density of errors divided by `spread` (loss `rle` learns it); None where the network has none.
        log_shares: [B, K, h, w] logarithm of each keypoint's heat map over the whole picture, whose cells add up to 1; None where
            there are no heat maps, and from `deeppose`, also with one stage.
    """

    stages: Tensor
    boxes: Tensor
    counted: Tensor
    spread: Tensor | None = None
    flow: ResidualFlow | None = None
    log_shares: Tensor | None = None

    @classmethod
    def of_whole_picture(cls, points: Tensor, spread: Tensor | None = None, flow: ResidualFlow | None = None) -> PoseOutput:
        """One stage that looked at the whole picture; `points`: [B, K, 2]."""
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0], device="cpu")  # made on the device, it would be waited for
        boxes = whole.to(points.device, non_blocking=True).expand(*points.shape[:2], 4)
        return cls(points[:, None], boxes[:, None], torch.ones_like(points[..., 0], dtype=torch.bool), spread, flow)


@dataclass(frozen=True)
class PosePrediction:
    """Where the keypoints are, in pixels of the file.

    Args:
        stages_px: [S, K, 2] or [B, S, K, 2] x, y of every stage.
        boxes_px: [S, K, 4, 2] or [B, S, K, 4, 2] corners of the box that each stage looked at for each keypoint.
        counted: [K] or [B, K] bool, which keypoints the network worked on; metrics leave out the others. All of them but in
            training, where a later stage of a cascade refines some.
        answer: [] or [B] int64, the stage that answers, counted from 0.
    """

    stages_px: Tensor
    boxes_px: Tensor
    counted: Tensor
    answer: Tensor

    @property
    def points_px(self) -> Tensor:
        """[K, 2] or [B, K, 2]: what the stage that answers says."""
        return self.stages_px.take_along_dim(self.answer[..., None, None, None], dim=-3)[..., 0, :, :]

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return self.stages_px.shape[-3]

    def up_to(self, stage: int) -> PosePrediction:
        """The stages up to `stage`, counted from 1, which answers."""
        answer = torch.full_like(self.answer, stage - 1)
        return PosePrediction(self.stages_px[..., :stage, :, :], self.boxes_px[..., :stage, :, :, :], self.counted, answer)


@dataclass(frozen=True)
class Limb:
    """A body part that PCP scores and drawings show.

    Args:
        name: without a slash, since it ends the names of scores.
        start, end: indices of keypoints; an end given by several lies in their middle.
        color: as "#rrggbb".
        in_mean: whether it belongs to the mean PCP (in the paper's table: upper and lower arms and legs).
    """

    name: str
    start: tuple[int, ...]
    end: tuple[int, ...]
    color: str
    in_mean: bool = True


@dataclass(frozen=True)
class PoseInfo(DataInfo):
    """A data set's skeleton.

    Args:
        keypoints: their names; distinct, without a slash.
        flip_pairs: (left, right) indices that change places in a mirror.
        limbs: what PCP scores.
        torso: the two keypoints whose distance is the torso's diameter: left shoulder and right hip.

    Raises: ValueError if names are not distinct or hold a slash.
    """

    keypoints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[Limb, ...]
    torso: tuple[int, int]

    def __post_init__(self) -> None:
        names = [*self.keypoints, *(limb.name for limb in self.limbs)]
        for name in names:
            if "/" in name or names.count(name) > 1:
                raise ValueError(f"keypoint or limb name {name!r}: names must be distinct and without '/', they end the names of scores")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The keypoints."""
        return self.keypoints

    @property
    def num_outputs(self) -> int:
        """x and y of each keypoint."""
        return 2 * len(self.keypoints)

    def mirror(self) -> Tensor:
        """[K] int64: what each keypoint becomes in a mirror."""
        order = list(range(len(self.keypoints)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return torch.tensor(order)


def limb_ends(points: Tensor, limb: Limb) -> tuple[Tensor, Tensor]:
    """[..., 2] each: where the limb starts and ends; `points`: [..., K, 2]."""
    # Plain numbers as indices: a tuple would be copied to the device, and waited for.
    start, end = (torch.stack([points[..., index, :] for index in keypoints]).mean(dim=0) for keypoints in (limb.start, limb.end))
    return start, end


def limb_labelled(labelled: Tensor, limb: Limb) -> Tensor:
    """[...] bool: whether every keypoint of the limb is labelled; `labelled`: [..., K]."""
    return torch.stack([labelled[..., index] for index in limb.start + limb.end]).all(dim=0)
