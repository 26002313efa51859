"""`mask_grid`: answers over their pictures."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from matplotlib.figure import Figure
from toolkit.data import DataInfo
from toolkit.data.tree import select
from toolkit.evaluation.evaluation import Evaluation
from toolkit.reporting.figures import new_figure

from toolkit_saliency.task import SaliencyTask
from toolkit_saliency.types import SaliencyMap


class MaskGrid:
    """The samples of highest loss, the answer in orange, the true outline in green.

    Args:
        count: pictures shown.
    """

    def __init__(self, info: DataInfo, /, *, count: Annotated[int, Ge(1)] = 12) -> None:
        self.task = SaliencyTask(info)
        self.count = count

    def __call__(self, evaluation: Evaluation[SaliencyMap]) -> Figure:
        """Worst first, each below its name and loss."""
        worst = evaluation.losses.argsort(descending=True, stable=True)[: self.count].tolist()
        columns = min(4, len(worst))
        rows = math.ceil(len(worst) / columns)
        figure, axes = new_figure(rows, columns, width_in=1.9 * columns, height_in=2.1 * rows + 0.4, grid=False)
        for place, index in zip(axes, worst, strict=False):
            image = torch.from_numpy(evaluation.image(index)).permute(2, 0, 1)
            drawn = self.task.draw(image, select(evaluation.predictions, index), select(evaluation.truths, index))
            place.imshow(drawn.permute(1, 2, 0).numpy())
            place.set_title(f"{evaluation.ids[index]}\nloss {evaluation.losses[index]:.3f}", size=7, parse_math=False)
        for place in axes:
            place.set_axis_off()
        return figure
