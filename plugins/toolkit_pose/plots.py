"""Pictures of a pose's results: skeletons, worst cases, PDJ curves, PCP bars, and the boxes of a cascade."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon
from torch import Tensor

from toolkit.data.tree import select
from toolkit.errors import ConfigError
from toolkit.evaluation.evaluation import Evaluation
from toolkit.reporting.figures import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, YELLOW, new_figure
from toolkit_pose.metrics import Pcp, keypoint_errors, torso_diameter
from toolkit_pose.overlay import draw_pose
from toolkit_pose.types import PoseInfo, PosePrediction

Count = Annotated[int, Ge(1)]
_STAGE_COLORS = (SKY, ORANGE, GREEN, PURPLE, YELLOW, BLUE)


class Skeletons:
    """Pictures drawn at random with the skeleton that was found; the true one is thin and white.

    Args:
        count: pictures shown.
        seed: which ones.
    """

    def __init__(self, info: PoseInfo, /, *, count: Count = 12, seed: Annotated[int, Ge(0)] = 0) -> None:
        self.info = info
        self.count = count
        self.seed = seed

    def __call__(self, evaluation: Evaluation[PosePrediction]) -> Figure:
        """Each over its id and mean error."""
        order = np.random.default_rng(self.seed).permutation(len(evaluation.ids))[: self.count]
        return _grid(evaluation, self.info, sorted(order.tolist()), "Chosen at random")


class WorstCases:
    """The pictures whose keypoints are farthest off, measured in torso diameters.

    Args:
        count: pictures shown.
    """

    def __init__(self, info: PoseInfo, /, *, count: Count = 12) -> None:
        self.info = info
        self.count = count

    def __call__(self, evaluation: Evaluation[PosePrediction]) -> Figure:
        """The worst first, each over its id and mean error; people whose torso is not labelled are left out."""
        errors, known = _mean_errors(evaluation)
        diameters, has_torso = torso_diameter(evaluation.truths, self.info.torso)
        relative = torch.where(known & has_torso, errors / diameters.clamp(min=1e-6), -1.0)
        order = [index for index in relative.argsort(descending=True, stable=True)[: self.count].tolist() if relative[index] >= 0]
        return _grid(evaluation, self.info, order, "Worst, by error in torso diameters")


class PdjCurves:
    """Share of keypoints found within a fraction of the torso diameter, from 0 to 0.5: one curve per keypoint and stage.

    Args:
        sides: left and right together, as the paper draws them, or apart.
    """

    def __init__(self, info: PoseInfo, /, *, sides: Literal["together", "apart"] = "together") -> None:
        self.info = info
        self.sides = sides

    def __call__(self, evaluation: Evaluation[PosePrediction]) -> Figure:
        """Of a cascade every stage, the one that answers drawn strongest."""
        kinds: dict[str, list[int]] = {}
        for index, name in enumerate(self.info.keypoints):
            kind = name if self.sides == "apart" else name.removeprefix("left_").removeprefix("right_")
            kinds.setdefault(kind, []).append(index)
        columns = min(4, len(kinds))
        rows = math.ceil(len(kinds) / columns)
        figure, all_axes = new_figure(rows, columns, width_in=2.5 * columns, height_in=2.2 * rows + 0.5)
        diameter, has_torso = torso_diameter(evaluation.truths, self.info.torso)
        stages = range(1, evaluation.predictions.num_stages + 1)
        relative = [_relative(evaluation.predictions.up_to(stage), evaluation, diameter, has_torso) for stage in stages]
        for axes, (kind, indices) in zip(all_axes, kinds.items(), strict=False):
            _draw_pdj(axes, [errors[:, indices] for errors in relative], answer=_answer(evaluation.predictions))
            axes.set_title(kind.replace("_", " "), size=9.5)
        for axes in all_axes[len(kinds) :]:
            axes.set_axis_off()
        if len(stages) > 1:
            figure.legend(handles=_legend(evaluation.predictions), loc="outside lower right", ncols=len(stages), fontsize=8, frameon=False)
        figure.suptitle(f"Keypoints found ({evaluation.split}, {int(has_torso.sum()):,} people)", size=11, weight="bold", color=INK)
        place = {"x": 0.01, "ha": "left"} if len(stages) > 1 else {}  # beside the legend
        figure.supxlabel("allowed error in torso diameters; marked: 0.2", size=9, color=MUTED, **place)
        return figure


class PcpBars:
    """Strict PCP of every limb, left and right side by side, and of every stage."""

    def __init__(self, info: PoseInfo, /) -> None:
        self.info = info

    def __call__(self, evaluation: Evaluation[PosePrediction]) -> Figure:
        """Limbs that are never labelled have no bar."""
        stages = evaluation.predictions.num_stages
        names = [limb.name for limb in self.info.limbs]
        means = []
        figure, (axes,) = new_figure(width_in=6.4, height_in=0.9 + 0.32 * len(names) * (0.6 + 0.4 * stages))
        height = 0.8 / stages
        for stage in range(1, stages + 1):
            metric = Pcp(self.info)
            metric.update(evaluation.predictions.up_to(stage), evaluation.truths)
            scores = metric.compute()
            mean = scores["pcp"]
            means.append(f"mean {mean:.1%}" if isinstance(mean, float) else "mean undefined")
            for row, name in enumerate(names):
                value, y = scores[f"pcp/{name}"], row + (stage - 1 - (stages - 1) / 2) * height
                if isinstance(value, float):
                    axes.barh(y, value, height=0.9 * height, color=_stage_color(stage, stages))
                    axes.text(value + 0.008, y, f"{value:.1%}", va="center", size=7.5, color=INK)
                else:
                    axes.text(0.008, y, "never labelled", va="center", size=7.5, color=MUTED)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], size=9)
        axes.set(xlim=(0, 1.08), ylim=(len(names) - 0.45, -0.55), xlabel="both ends within half the limb's length (strict PCP)")
        axes.set_title(f"Parts found ({evaluation.split}, {len(evaluation.ids):,} people)", loc="left", size=11, weight="bold", color=INK)
        handles = _legend(evaluation.predictions, means)
        figure.legend(handles=handles, fontsize=8, frameon=False, loc="outside lower center", ncols=min(stages, 3))
        return figure


class KeypointBoxes:
    """The box that each stage of a cascade looked at for one keypoint, from the first estimate to the last.

    Args:
        count: pictures shown.
        keypoint: whose boxes; by default the right wrist's, or the left one's, or the first keypoint's, as the data set has them.

    Raises: ConfigError if the data set has no such keypoint.
    """

    def __init__(self, info: PoseInfo, /, *, count: Count = 8, keypoint: str | None = None) -> None:
        if keypoint is not None and keypoint not in info.keypoints:
            raise ConfigError(f"keypoint_boxes: no keypoint '{keypoint}'; there are: {', '.join(info.keypoints)}", path="plots")
        preferred = ("right_wrist", "left_wrist", *info.keypoints)
        self.info = info
        self.count = count
        self.keypoint = info.keypoints.index(keypoint or next(name for name in preferred if name in info.keypoints))

    def __call__(self, evaluation: Evaluation[PosePrediction]) -> Figure:
        """A cross marks the truth, dots the estimates. With a single stage there are no boxes, and the figure says so."""
        prediction, truth = evaluation.predictions, evaluation.truths
        name = self.info.keypoints[self.keypoint].replace("_", " ")
        chosen = truth.labelled[:, self.keypoint].nonzero()[:, 0].tolist()
        chosen = chosen[:: max(1, len(chosen) // self.count)][: self.count]
        if prediction.num_stages == 1 or not chosen:
            figure, (axes,) = new_figure(width_in=5.2, height_in=1.2, grid=False)
            axes.set_axis_off()
            reason = "one stage looks at the whole picture: there are no boxes" if chosen else f"no labelled {name}"
            axes.text(0.5, 0.5, reason, ha="center", va="center", color=MUTED)
            return figure
        figure, all_axes = _pictures(len(chosen))
        for axes, index in zip(all_axes, chosen, strict=False):
            axes.imshow(evaluation.image(index))
            height, width = evaluation.image(index).shape[:2]
            for stage in range(prediction.num_stages):
                color = _stage_color(stage + 1, prediction.num_stages)
                x, y = prediction.stages_px[index, stage, self.keypoint].tolist()
                if stage:
                    corners = prediction.boxes_px[index, stage, self.keypoint].numpy()
                    axes.add_patch(Polygon(corners, fill=False, edgecolor=color, linewidth=1.4))
                axes.plot([x], [y], "o", color=color, markersize=4.5, markeredgecolor=INK, markeredgewidth=0.6, label=f"stage {stage + 1}")
            true_x, true_y = truth.points_px[index, self.keypoint].tolist()
            axes.plot([true_x], [true_y], "x", color="white", markersize=6, markeredgewidth=1.6, label="truth")
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            axes.set_title(evaluation.ids[index], size=7, parse_math=False)
        figure.legend(
            *all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=True, facecolor="0.75"
        )
        figure.suptitle(f"Where each stage looks for the {name} ({evaluation.split})", size=11, weight="bold", color=INK)
        return figure


def _draw_pdj(axes: Axes, errors: list[Tensor], answer: int) -> None:
    """One curve for each stage's errors, in torso diameters, NaN where they do not count; `answer`: the strong one, from 1."""
    fractions = np.linspace(0, 0.5, 101)
    for stage, of_stage in enumerate(errors, start=1):
        found = np.sort(of_stage[~torch.isnan(of_stage)].numpy())
        if len(found):
            shares = np.searchsorted(found, fractions, side="right") / len(found)
            color = _stage_color(stage, len(errors))
            axes.plot(fractions, shares, color=color, linewidth=2 if stage == answer else 1.2)
            if stage == answer:
                at = float(np.searchsorted(found, 0.2, side="right") / len(found))
                axes.plot([0.2], [at], "o", color=color, markersize=4)
                axes.annotate(f"{at:.0%}", (0.2, at), (5, -10), textcoords="offset points", size=8, color=INK)
    axes.set(xlim=(0, 0.5), ylim=(0, 1), xticks=(0, 0.1, 0.2, 0.3, 0.4, 0.5), yticks=(0, 0.25, 0.5, 0.75, 1))
    axes.set_yticklabels(["0", "", "50 %", "", "100 %"])


def _answer(prediction: PosePrediction) -> int:
    """The stage that answers, counted from 1."""
    return int(prediction.answer[0]) + 1


def _stage_color(stage: int, stages: int) -> str:
    return BLUE if stages == 1 else _STAGE_COLORS[(stage - 1) % len(_STAGE_COLORS)]


def _legend(prediction: PosePrediction, notes: list[str] | None = None) -> list[Patch]:
    """A patch for each stage, `notes` beside their names."""
    patches = []
    for stage in range(1, prediction.num_stages + 1):
        name = f"stage {stage}" + (" (the answer)" if stage == _answer(prediction) else "") if prediction.num_stages > 1 else ""
        label = ": ".join(part for part in (name, notes[stage - 1] if notes else "") if part)
        patches.append(Patch(color=_stage_color(stage, prediction.num_stages), label=label))
    return patches


def _grid(evaluation: Evaluation[PosePrediction], info: PoseInfo, indices: list[int], heading: str) -> Figure:
    figure, all_axes = _pictures(max(1, len(indices)))
    errors, known = _mean_errors(evaluation)
    for axes, index in zip(all_axes, indices, strict=False):
        image = torch.from_numpy(np.array(evaluation.image(index))).permute(2, 0, 1)
        drawn = draw_pose(image, info, evaluation.predictions.points_px[index], select(evaluation.truths, index))
        axes.imshow(drawn.permute(1, 2, 0).numpy())
        error = f"{errors[index]:.1f} px off" if known[index] else "not labelled"
        axes.set_title(f"{evaluation.ids[index]}\n{error}", size=7, parse_math=False)
    title = f"{heading} ({evaluation.split}): found in colour (warm: the person's right), truth white"
    figure.suptitle(title if len(indices) > 2 else heading, size=9.5, weight="bold", color=INK)
    return figure


def _pictures(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(4, count)
    rows = math.ceil(count / columns)
    figure, all_axes = new_figure(rows, columns, width_in=max(2.1 * columns, 3.2), height_in=2.35 * rows + 0.6, grid=False)
    for axes in all_axes:
        axes.set_axis_off()
    return figure, all_axes


def _mean_errors(evaluation: Evaluation[Any]) -> tuple[Tensor, Tensor]:
    """[N] mean error over labelled keypoints in pixels, and [N] bool whether any is labelled."""
    labelled = evaluation.truths.labelled
    errors = keypoint_errors(evaluation.predictions, evaluation.truths)
    return torch.where(labelled, errors, 0).sum(dim=1) / labelled.sum(dim=1).clamp(min=1), labelled.any(dim=1)


def _relative(prediction: PosePrediction, evaluation: Evaluation[Any], diameter: Tensor, known: Tensor) -> Tensor:
    """[N, K] errors in torso diameters, NaN where a keypoint does not count."""
    counts = evaluation.truths.labelled & known[:, None]
    relative = keypoint_errors(prediction, evaluation.truths) / diameter.clamp(min=1e-6)[:, None]
    return torch.where(counts, relative, torch.nan)
