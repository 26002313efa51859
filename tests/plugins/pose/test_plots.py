"""What the figures show; that they look well was judged by eye."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from toolkit.errors import ConfigError
from toolkit.evaluation.evaluation import Evaluation
from toolkit_pose.plots import KeypointBoxes, PcpBars, PdjCurves, Skeletons, WorstCases
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
        predictions=PosePrediction(
            found,
            torch.rand(samples, stages, count, 4, 2) * 40,
            torch.ones(samples, count, dtype=torch.bool),
            torch.full((samples,), stages - 1),
        ),
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
    assert [text.get_text() for text in figure.legends[0].texts] == ["stage 1", "stage 2", "stage 3 (the answer)"]


def test_pdj_curves_of_one_side_show_that_side_alone() -> None:
    given = evaluation(4, 1)
    given.predictions.stages_px[:, 0] = given.truths.points_px
    given.predictions.stages_px[:, 0, INFO.keypoints.index("left_wrist")] += 1000
    figure = PdjCurves(INFO, sides="apart")(given)
    assert shown(figure) == [name.replace("_", " ") for name in INFO.keypoints]
    found = {axes.get_title(): float(np.asarray(axes.lines[0].get_ydata())[-1]) for axes in figure.axes if axes.get_title()}
    assert (found["left wrist"], found["right wrist"]) == (0.0, 1.0)


def test_pdj_curves_tell_the_share_within_each_fraction_of_the_torso() -> None:
    """Sample n's keypoints are n pixels off, so all of them are found from n / torso diameter on."""
    given = evaluation(20, 1)
    true = given.truths.points_px.numpy()
    torsos = np.linalg.norm(true[:, INFO.torso[0]] - true[:, INFO.torso[1]], axis=1)
    curve, marked = PdjCurves(INFO)(given).axes[0].lines
    fractions = np.asarray(curve.get_xdata())
    expected = [sum(n / torso <= fraction for n, torso in enumerate(torsos)) / 20 for fraction in fractions]
    np.testing.assert_allclose(np.asarray(curve.get_ydata()), expected)
    assert np.asarray(marked.get_ydata()).item() == sum(n / torso <= 0.2 for n, torso in enumerate(torsos)) / 20


def test_the_stage_that_answers_is_drawn_strongest_and_its_keypoints_are_drawn() -> None:
    given = evaluation(3, 3)
    answer_1 = replace(given, predictions=replace(given.predictions, answer=torch.zeros(3, dtype=torch.int64)))
    curves = [line.get_linewidth() for line in PdjCurves(INFO)(answer_1).axes[0].lines if len(np.asarray(line.get_xdata())) > 1]
    assert curves[0] > curves[1] == curves[2]
    given.predictions.stages_px[:, 0] += 1000
    assert torch.equal(answer_1.predictions.points_px, given.predictions.stages_px[:, 0])


def test_the_bars_are_the_shares_of_right_limbs() -> None:
    texts = [text.get_text() for text in PcpBars(INFO)(evaluation(1, 1)).axes[0].texts]
    assert texts == ["100.0%"] * 10  # nothing is off in sample 0
    given = evaluation(30, 1)
    true = given.truths.points_px.numpy()
    bars = PcpBars(INFO)(given).axes[0].patches
    for limb, bar in zip(INFO.limbs, bars, strict=True):
        ends = [true[:, list(end)].mean(axis=1) for end in (limb.start, limb.end)]
        lengths = np.linalg.norm(ends[0] - ends[1], axis=1)
        assert bar.get_width() == pytest.approx(sum(n <= length / 2 for n, length in enumerate(lengths)) / 30)  # type: ignore[attr-defined]
    assert [text.get_text() for text in PcpBars(INFO)(evaluation(3, 1, labelled=False)).axes[0].texts] == ["never labelled"] * 10


def test_the_boxes_of_a_cascade_are_drawn_from_its_second_stage_on() -> None:
    given = evaluation(5, 3)
    figure = KeypointBoxes(INFO, count=2)(given)
    assert [len(axes.patches) for axes in figure.axes] == [2, 2]
    wrist = LSP_KEYPOINTS.index("right_wrist")
    for axes, index in zip(figure.axes, (0, 2), strict=True):
        drawn = [np.asarray(patch.get_xy())[:4] for patch in axes.patches]  # type: ignore[attr-defined]
        np.testing.assert_allclose(drawn, given.predictions.boxes_px[index, 1:, wrist])
    single = KeypointBoxes(INFO)(evaluation(5, 1))
    assert single.axes[0].texts[0].get_text() == "one stage looks at the whole picture: there are no boxes"


def test_boxes_of_a_keypoint_that_there_is_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^plots: keypoint_boxes: no keypoint 'wrist'; there are: right_ankle, .*, head_top$"):
        KeypointBoxes(INFO, keypoint="wrist")


def test_stages_keep_their_legend_where_the_first_limb_is_never_labelled() -> None:
    given = evaluation(3, 2)
    given.truths.labelled[:, INFO.limbs[0].end[0]] = False
    (legend,) = PcpBars(INFO)(given).legends
    assert [text.get_text() for text in legend.texts] == ["stage 1: mean undefined", "stage 2 (the answer): mean undefined"]


@pytest.mark.parametrize("plot", [Skeletons, WorstCases, PdjCurves, PcpBars, KeypointBoxes])
@pytest.mark.parametrize(("samples", "stages", "labelled"), [(1, 1, True), (3, 2, True), (3, 1, False)])
def test_every_plot_can_be_saved_whatever_there_is_to_show(plot: Any, samples: int, stages: int, labelled: bool) -> None:
    plot(INFO)(evaluation(samples, stages, labelled)).savefig(file := io.BytesIO(), dpi=20)
    assert file.getvalue()


def test_a_skeleton_without_legs_is_plotted_too() -> None:
    info = pose_info(FLIC_KEYPOINTS, (3, 40, 40))
    for plot in (Skeletons, PdjCurves, PcpBars, KeypointBoxes):
        plot(info)(evaluation(2, 2, info=info)).savefig(io.BytesIO(), dpi=20)
