"""`deeppose`: keypoint regression refined by a cascade of crops."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

from toolkit.data.sample import Batch
from toolkit.errors import ConfigError
from toolkit.models.model import Backbone, Composed, output_shape
from toolkit_pose.checks import PEAK_WITHOUT_MAPS, stage_to_train
from toolkit_pose.crops import cut_out, square_boxes, torso_px
from toolkit_pose.heat_maps import Reading
from toolkit_pose.models import HeatmapHead, KeypointHead, Share, Width, averaged
from toolkit_pose.residual_flow import ResidualFlow
from toolkit_pose.stage_errors import LARGEST_SIZE, UNMEASURED_PLACE, UNMEASURED_SIZE, StageErrors
from toolkit_pose.types import EncodedKeypoints, PoseInfo, PoseOutput

_NOT_PREPARED, _PUT_BACK = -1, -2
"""In `DeepPose.starts`: a stage that never learnt, and one whose forerunners learnt anew since it did."""


class DeepPose(nn.Module):
    """Keypoint regression refined by a cascade of crops (DeepPose: Toshev & Szegedy, CVPR 2014, arXiv:1312.4659).

    Stage 1 looks at the whole picture. Each later stage cuts a square box around every keypoint where the stage before it
    sees it, sigma torso diameters wide, and says where in its box the keypoint is; one network serves all keypoints, each
    reading its own two outputs. A later stage is trained on boxes that are moved off the truth by displacements drawn from a normal
    distribution, whose mean and deviation (per keypoint, in torso diameters) `prepare_phase` measures on the VALIDATION
    samples: stages know their training pictures too well to err there as they will err on new ones. `prepare_phase` also scores
    the stages so far on validation, and the new stage refines the best of them.

    Three more deviations from the paper. Only errors of at most half a box, sigma / 2, in x and in y are measured: no later stage can
    repair a larger one, and the few there are (left taken for right) would up to double the deviations. A keypoint that
    a drawn displacement moves out of its box is not learnt in that step. And boxes are by chance larger or smaller than sigma torso
    diameters, as they will be where the torso is an estimate: its size, found over true, is measured beside the displacements and
    drawn once per person.

    Every stage is a phase of the config: `train: stage1`, `train: stage2`, ...; evaluation gives every stage prepared so far.
    Pictures lie on a canvas as large as the transforms make it; stage 1 sees it reduced to `input_size`, boxes are cut from it.

    Args:
        backbone: of every stage; each stage learns its own.
        stages: how many.
        input_size: side in pixels of what a stage sees.
        hidden: width of each hidden dense layer.
        dropout: after each of them.
        heatmap: channels of transposed convolutions; every stage then reads its keypoints from heat maps, as the head `heatmap` does,
            in place of the paper's dense layers.
        reading: of those heat maps: mean or peak, as for the head `heatmap`.
        sigma: side of a box in torso diameters (the paper's: 2 for LSP, 1 for FLIC).
        crops: keypoints refined per picture and training step, drawn anew each time; all by default.
        start_from_previous: a stage's convolutions start from those of the stage before it, not from scratch.
        likelihood: also give the deviation of the errors, and learn their density: for loss `rle`.
        flip_average: evaluate the picture and its mirror image and average the two; twice the work. Points are averaged, not maps, and
            deviations are the picture's own.
    """

    guided: ClassVar[bool] = True

    def __init__(
        self,
        info: PoseInfo,
        /,
        *,
        backbone: Backbone,
        stages: Annotated[int, Ge(1)] = 3,
        input_size: Annotated[int, Ge(16)] = 220,
        hidden: tuple[Width, ...] = (4096, 4096),
        dropout: Share = 0.6,
        heatmap: tuple[Width, ...] | None = None,
        reading: Reading = "mean",
        sigma: Annotated[float, Gt(0)] = 2.0,
        crops: Width | None = None,
        start_from_previous: bool = True,
        likelihood: bool = False,
        flip_average: bool = False,
    ) -> None:
        super().__init__()
        if heatmap is None and reading == "peak":
            raise ConfigError(PEAK_WITHOUT_MAPS, path="model.reading")
        shape = output_shape(backbone, (info.input_shape[0], input_size, input_size))
        for number in range(1, stages + 1):
            head: KeypointHead | HeatmapHead
            if heatmap is None:
                head = KeypointHead(shape, info, hidden=hidden, dropout=dropout, likelihood=likelihood)
            else:
                head = HeatmapHead(shape, info, channels=heatmap, reading=reading, likelihood=likelihood)
            stage = Composed(info, backbone=backbone if number == 1 else copy.deepcopy(backbone), head=head)
            self.add_module(f"stage{number}", stage)
        count = len(info.keypoints)
        self.num_stages, self.input_size, self.sigma = stages, input_size, sigma
        self.crops = min(crops or count, count)
        self.start_from_previous, self.flip_average = start_from_previous, flip_average
        self.torso = info.torso
        self._last_plan = [0]
        self._register_buffers(info.mirror(), stages)

    def _register_buffers(self, mirror: Tensor, stages: int) -> None:
        count = len(mirror)
        self.register_buffer("mirror", mirror, persistent=False)
        self.register_buffer("starts", torch.tensor([0] + [_NOT_PREPARED] * (stages - 1)))
        self.register_buffer("displacement_mean", torch.zeros(stages, count, 2))
        self.register_buffer("displacement_deviation", torch.full((stages, count, 2), UNMEASURED_PLACE))
        self.register_buffer("size_mean", torch.zeros(stages))
        self.register_buffer("size_deviation", torch.full((stages,), UNMEASURED_SIZE))
        self.mirror: Tensor
        self.starts: Tensor
        """[S] for each stage the stage (from 1) whose estimates it refines; 0: the whole picture; below 0: not to be used."""
        self.displacement_mean: Tensor
        self.displacement_deviation: Tensor
        self.size_mean: Tensor
        """[S] of the logarithm of found over true torso diameters, by which boxes are sized."""
        self.size_deviation: Tensor

    def forward(self, images: Tensor, encoded: EncodedKeypoints | None = None) -> PoseOutput:
        """[B, C, H, W] -> every stage prepared so far.

        In training the stages up to the one that learns; with `encoded` a later stage alone, on displaced boxes.
        """
        learning = self._learning()
        if encoded is not None and learning > 1:
            return self._on_displaced(learning, images, encoded)
        return self._cascade(images, list(range(learning)) if learning else self._plan(), self.flip_average and not learning)

    def prepare_phase(self, train: str | tuple[str, ...], batches: Iterable[Batch[Any, EncodedKeypoints]]) -> None:
        """Before stage s learns: choose the best stage so far on these validation batches and measure its displacements and sizes.

        Stages are compared by the share of labelled keypoints within a fifth of a torso diameter. Stages after s, which refined what
        it was, are put back: they keep their weights, and are used again once phases have trained them on what it became.

        Raises: ConfigError if a phase trains several stages of a cascade at once, or none, or skips one.
        """
        stage = self._stage_of(train)
        self.starts[stage:] = torch.where(self.starts[stage:] == _NOT_PREPARED, _NOT_PREPARED, _PUT_BACK)
        if stage == 1:
            return
        is_new = bool(self.starts[stage - 1] == _NOT_PREPARED)
        self.starts[stage - 1] = _PUT_BACK  # a second phase of this stage measures again
        errors = StageErrors(stage - 1, self.displacement_mean.shape[1], self.sigma / 2, self.torso, self.starts.device)
        for batch in batches:
            errors.update(self(batch.images).stages.float(), batch.encoded, (batch.images.shape[2], batch.images.shape[3]))
        best = errors.best()
        self.displacement_mean[stage - 1], self.displacement_deviation[stage - 1] = errors.displacements(best)
        self.size_mean[stage - 1], self.size_deviation[stage - 1] = errors.sizes(best)
        self.starts[stage - 1] = best + 1
        if self.start_from_previous and is_new:
            self._stage(stage).backbone.load_state_dict(self._stage(stage - 1).backbone.state_dict())

    def _plan(self) -> list[int]:
        """Of each stage to be used the one that it refines. Reading it waits for the device: in evaluation alone, once per batch."""
        if not torch.compiler.is_exporting():  # an exporter cannot branch on values: it gets what the evaluation before it read
            self._last_plan = [start for start in self.starts.tolist() if start >= 0]
        return self._last_plan

    def _cascade(self, images: Tensor, plan: list[int], flip_average: bool) -> PoseOutput:
        """Every stage in turn on the model's own estimates; `plan[s - 1]`: the stage that stage s refines."""
        size = (images.shape[2], images.shape[3])
        first = self._look(1, self._whole(images))
        points, boxes, spread, flow = [first.stages[:, 0]], [first.boxes[:, 0]], first.spread, first.flow
        if flip_average:
            mirrored = images.flip(-1)
            points[0] = averaged(points[0], self._look(1, self._whole(mirrored)).stages[:, 0], self.mirror)
        for number, start in enumerate(plan[1:], start=2):
            before = points[start - 1].detach()
            sides = self.sigma * torso_px(before, first.counted, self.torso, size)
            boxes.append(square_boxes(before, sides, size))
            batch = images.shape[0]  # not len(images), which would fix the batch of an export
            places = torch.arange(before.shape[1], device=images.device).expand(batch, -1)
            refined, spread, flow = self._refine(number, images, boxes[-1], places)
            if flip_average:
                mirrored_boxes = torch.cat([-boxes[-1][..., :1], boxes[-1][..., 1:]], dim=-1)[:, self.mirror]
                refined = averaged(refined, self._refine(number, mirrored, mirrored_boxes, places)[0], self.mirror)
            points.append(refined)
        return PoseOutput(torch.stack(points, dim=1), torch.stack(boxes, dim=1), first.counted, spread, flow)

    def _on_displaced(self, stage: int, images: Tensor, encoded: EncodedKeypoints) -> PoseOutput:
        """Of each picture `crops` keypoints in displaced boxes, of those that are labelled and lie in theirs: these alone count.

        Where there are fewer, they are looked at more than once, so that batch norm sees nothing but what is learnt.
        """
        boxes, holds = self._displaced_boxes(stage, encoded, (images.shape[2], images.shape[3]))
        usable = encoded.labelled & holds
        count = usable.shape[1]
        order = torch.rand(usable.shape, device=images.device).masked_fill(~usable, 2.0).argsort(dim=1)
        ranks, enough = torch.arange(self.crops, device=images.device), usable.sum(dim=1, keepdim=True)
        places = order.gather(1, ranks % enough.clamp(min=1))  # [B, crops]
        found, spread, flow = self._refine(stage, images, boxes.gather(1, places[..., None].expand(-1, -1, 4)), places)
        places = places.masked_fill(ranks >= enough, count)  # what is looked at again is put into a column that is cut off
        where = places[..., None].expand(-1, -1, 2)
        points = F.pad(boxes[..., :2], (0, 0, 0, 1)).scatter(1, where, found)[:, :count]
        counted = F.pad(torch.zeros_like(usable), (0, 1)).scatter(1, places, True)[:, :count]
        if spread is not None:
            spread = torch.ones_like(F.pad(points, (0, 0, 0, 1))).scatter(1, where, spread)[:, :count]
        return PoseOutput(points[:, None], boxes[:, None], counted, spread, flow)

    def _displaced_boxes(self, stage: int, encoded: EncodedKeypoints, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Boxes [B, K, 4] off the truth as the stage before errs, and whether each still holds its keypoint [B, K]; `size`: H, W."""
        diameters = torso_px(encoded.points, encoded.known, self.torso, size)  # [B]
        logs = self.size_mean[stage - 1] + self.size_deviation[stage - 1] * torch.randn_like(diameters)
        factors = logs.exp().clamp(1 / LARGEST_SIZE, LARGEST_SIZE)
        boxes = square_boxes(encoded.points, self.sigma * factors * diameters, size)
        drawn = self.displacement_mean[stage - 1] + self.displacement_deviation[stage - 1] * torch.randn_like(encoded.points)
        off = drawn * diameters[:, None, None] / (boxes[..., 2:3] * size[1])  # [B, K, 2] torso diameters -> shares of the box
        displaced = torch.cat([boxes[..., :2] + off * boxes[..., 2:], boxes[..., 2:]], dim=-1)
        return displaced, (off.abs() <= 0.5).all(dim=-1) & (diameters > 0)[:, None]

    def _refine(self, stage: int, images: Tensor, boxes: Tensor, places: Tensor) -> tuple[Tensor, Tensor | None, ResidualFlow | None]:
        """What the stage makes of each box [B, N, 4] that belongs to keypoint `places` [B, N]: points and spreads [B, N, 2], its flow."""
        output = self._look(stage, cut_out(images, boxes, self.input_size))
        index = places.flatten()[:, None, None].expand(-1, 1, 2)  # [B*N, 1, 2]
        own = output.stages[:, 0].gather(1, index).view(*places.shape, 2)
        spread = None if output.spread is None else output.spread.gather(1, index).view(*places.shape, 2)
        return boxes[..., :2] + own * boxes[..., 2:], spread, output.flow

    def _whole(self, images: Tensor) -> Tensor:
        if images.shape[2:] == (self.input_size, self.input_size):
            return images
        return F.interpolate(images, (self.input_size, self.input_size), mode="bilinear", align_corners=False)

    def _look(self, stage: int, pictures: Tensor) -> PoseOutput:
        """[B, C, input_size, input_size] -> keypoints in shares of those pictures."""
        output: PoseOutput = self._stage(stage)(pictures)
        return output

    def _stage(self, number: int) -> Composed:
        stage = self.get_submodule(f"stage{number}")
        assert isinstance(stage, Composed)
        return stage

    def _learning(self) -> int:
        """The last stage that is in training mode, counted from 1; 0 in evaluation."""
        training = [n for n in range(1, self.num_stages + 1) if any(m.training for m in self._stage(n).modules())]
        return max(training, default=0)

    def _stage_of(self, train: str | tuple[str, ...]) -> int:
        if self.num_stages == 1:
            return 1
        prepared = 1 + sum(start > 0 for start in self.starts[1:].tolist())
        return stage_to_train(train, self.num_stages, prepared)
