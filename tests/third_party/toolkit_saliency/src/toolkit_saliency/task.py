"""`SaliencyTask`: where is the object that stands out?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt, Lt
from toolkit.data import DataInfo
from toolkit.errors import PluginError
from toolkit.task import Task
from torch import Tensor

from toolkit_saliency.types import MaskTarget, SaliencyMap

_TRUTH, _ANSWER = (0, 158, 115), (213, 94, 0)  # green and orange that colour-blind readers can tell apart


class SaliencyTask(Task[MaskTarget, Tensor, Tensor, SaliencyMap]):
    """Mark the pixels of the object that stands out. A model gives one logit per pixel: [B, 1, H, W].

    Args:
        threshold: a pixel more probable than this is taken for the object, in drawings and descriptions.
    """

    name: ClassVar[str] = "saliency"
    default_loss: ClassVar[str] = "bce_dice"
    default_metrics: ClassVar[tuple[str, ...]] = ("iou", "mean_absolute_error")
    default_plots: ClassVar[tuple[str, ...]] = ("mask_grid",)
    default_select: ClassVar[str] = "val/iou"

    def __init__(self, info: DataInfo, /, *, threshold: Annotated[float, Gt(0), Lt(1)] = 0.5) -> None:
        super().__init__(info)
        self.threshold = threshold

    def encode(self, targets: MaskTarget, size: tuple[int, int]) -> Tensor:
        """[B, 1, H, W] float32, 1 on the object."""
        return targets.salient[:, None].float()

    def decode(self, output: Tensor, to_original: Tensor) -> SaliencyMap:
        """Logits -> probabilities. Raises: PluginError if the model gives more than one map."""
        if output.ndim != 4 or output.shape[1] != 1:
            raise PluginError(f"the model's output has shape {list(output.shape)}; expected [samples, 1, height, width]")
        return SaliencyMap(output[:, 0].float().sigmoid(), to_original)

    def describe(self, prediction: SaliencyMap, size: tuple[int, int]) -> Mapping[str, Any]:
        """{"share": of the picture, "box": [left, top, right, bottom] of the object in file pixels, or null if there is none}."""
        salient = (prediction.probabilities > self.threshold).cpu()  # [h, w]
        y, x = salient.nonzero(as_tuple=True)
        box = None
        if len(x):
            places = torch.stack([x, y, torch.ones_like(x)]).to(prediction.to_original)  # [3, pixels]
            moved = prediction.to_original.cpu() @ places.cpu()
            moved = moved[:2] / moved[2]
            box = [round(edge, 1) for edge in [*moved.amin(dim=1).tolist(), *moved.amax(dim=1).tolist()]]
        return {"share": salient.float().mean().item(), "box": box}

    def draw(self, image: Tensor, prediction: SaliencyMap, truth: MaskTarget | None) -> Tensor:
        """The picture with the answer tinted orange and the true outline in green."""
        salient = prediction.in_file(*image.shape[1:]).cpu() > self.threshold  # [H, W]
        drawn = image.float().cpu()
        drawn[:, salient] = 0.5 * drawn[:, salient] + 0.5 * torch.tensor(_ANSWER)[:, None]
        if truth is not None:
            drawn[:, outline(truth.salient)] = torch.tensor(_TRUTH).float()[:, None]
        return drawn.to(torch.uint8)


def outline(salient: Tensor) -> Tensor:
    """[H, W] bool: pixels of the mask that touch its outside or the edge of the picture.

    >>> outline(torch.ones(3, 3, dtype=torch.uint8)).int().tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    inside = torch.nn.functional.pad(salient.cpu().bool(), (1, 1, 1, 1))
    core = inside[1:-1, :-2] & inside[1:-1, 2:] & inside[:-2, 1:-1] & inside[2:, 1:-1]
    return inside[1:-1, 1:-1] & ~core
