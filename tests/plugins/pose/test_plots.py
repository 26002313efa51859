"""What the figures show; that they look well was judged by eye."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from toolkit.evaluation.evaluation import Evaluation
from toolkit_pose.plots import JointBoxes, PcpBars, PdjCurves, Skeletons, WorstCases
from toolkit_pose.skeletons import FLIC_KEYPOINTS, LSP_KEYPOINTS, pose_info
from toolkit_pose.types import Keypoints, PosePrediction

INFO = pose_info(LSP_KEYPOINTS, (3, 40, 40))


def evaluation(samples: int, stages: int, labelled: bool = True, info: Any = INFO) -> Evaluation[PosePrediction]:
    """Sample n's keypoints are all n pixels too far right in the last stage; pictures are filled with n."""
    generator = torch.Generator().manual_seed(0)
    count = len(info.keypoints)
    true = torch.rand(samples, count, 2, generator=generator) * 30
    found = true[:, None].repeat(1, stages, 1, 1)
    found[..., 0] += torch.arange(float(samples))[:, None, None]
    known = torch.full((samples, count), labelled)
    return Evaluation(
        split="test",
        ids=tuple(f"people/{n}" for n in range(samples)),
        predictions=PosePrediction(found, torch.rand(samples, stages, count, 4, 2) * 40, torch.ones(samples, count, dtype=torch.bool)),
        truths=Keypoints(true, known, known, info.mirror().expand(samples, -1)),
        losses=torch.zeros(samples),
        scores={},
        undefined={},
        image=lambda index: np.full((40, 40, 3), index, dtype=np.uint8),
    )


def shown(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_the_worst_cases_come_first_with_their_error() -> None:
    given = evaluation(6, 1)
    given.truths.points_px[:, INFO.torso[0]] = torch.tensor([5.0, 5.0])
    given.truths.points_px[:, INFO.torso[1]] = torch.tensor([5.0, 25.0])  # equal torsos: the order is that of the errors
    given.predictions.stages_px[:, 0, list(INFO.torso)] = given.truths.points_px[:, list(INFO.torso)]
    titles = shown(WorstCases(INFO, count=3)(given))
    assert titles == [f"people/{n}\n{n * 12 / 14:.1f} px off" for n in (5, 4, 3)]


def test_skeletons_are_drawn_by_the_seed() -> None:
    assert shown(Skeletons(INFO, count=4)(evaluation(50, 1))) == shown(Skeletons(INFO, count=4)(evaluation(50, 1)))
    assert shown(Skeletons(INFO, count=4)(evaluation(50, 1))) != shown(Skeletons(INFO, count=4, seed=1)(evaluation(50, 1)))


def test_pdj_curves_join_left_and_right_and_show_every_stage() -> None:
    figure = PdjCurves(INFO)(evaluation(10, 3))
    assert shown(figure) == ["ankle", "knee", "hip", "wrist", "elbow", "shoulder", "neck", "head top"]
    assert [line.get_label() for line in figure.axes[0].lines if len(line.get_xdata()) > 1] == ["stage 1", "stage 2", "stage 3"]  # type: ignore[arg-type]


def test_the_bars_are_the_shares_of_right_limbs() -> None:
    texts = [text.get_text() for text in PcpBars(INFO)(evaluation(1, 1)).axes[0].texts]
    assert texts == ["100.0%"] * 10  # nothing is off in sample 0
    assert [text.get_text() for text in PcpBars(INFO)(evaluation(3, 1, labelled=False)).axes[0].texts] == ["never labelled"] * 10


def test_the_boxes_of_a_cascade_are_drawn_from_its_second_stage_on() -> None:
    figure = JointBoxes(INFO, count=2)(evaluation(5, 3))
    assert [len(axes.patches) for axes in figure.axes] == [2, 2]
    single = JointBoxes(INFO)(evaluation(5, 1))
    assert single.axes[0].texts[0].get_text() == "one stage looks at the whole picture: there are no boxes"


@pytest.mark.parametrize("plot", [Skeletons, WorstCases, PdjCurves, PcpBars, JointBoxes])
@pytest.mark.parametrize(("samples", "stages", "labelled"), [(1, 1, True), (3, 2, True), (3, 1, False)])
def test_every_plot_can_be_saved_whatever_there_is_to_show(plot: Any, samples: int, stages: int, labelled: bool) -> None:
    plot(INFO)(evaluation(samples, stages, labelled)).savefig(file := io.BytesIO(), dpi=20)
    assert file.getvalue()


def test_a_skeleton_without_legs_is_plotted_too() -> None:
    info = pose_info(FLIC_KEYPOINTS, (3, 40, 40))
    for plot in (Skeletons, PdjCurves, PcpBars, JointBoxes):
        plot(info)(evaluation(2, 2, info=info)).savefig(io.BytesIO(), dpi=20)
