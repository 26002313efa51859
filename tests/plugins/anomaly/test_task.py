"""From outputs to masks, thresholds and regions."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.data.tree import select
from toolkit.errors import PluginError
from toolkit_anomaly.task import AnomalyTask, as_colours
from toolkit_anomaly.types import AnomalyInfo, AnomalyPrediction, AnomalyTruth, PatchScores, Reconstruction

INFO = AnomalyInfo((3, 16, 16), ("good", "crack"), True)
SAME = torch.eye(3)[None]


def with_block(value: float = 0.5) -> Reconstruction:
    """Wrong by `value` in 4 x 3 pixels and by 0.1 in one."""
    pictures = torch.zeros(1, 3, 16, 16)
    pictures[..., 4:8, 5:8] = value
    pictures[..., 12, 12] = 0.1
    return Reconstruction(pictures, torch.zeros_like(pictures))


def decoded(output: Any, **options: Any) -> AnomalyPrediction:
    return AnomalyTask(INFO, **options).decode(output, SAME)


def test_pixels_above_the_threshold_are_marked() -> None:
    marked = decoded(with_block(), threshold=0.1).marked[0]
    assert marked.sum() == 12
    assert marked[4:8, 5:8].all()
    assert decoded(with_block(), threshold=0.05).marked.sum() == 13


def test_opening_closing_and_small_regions_change_the_mask_in_this_order() -> None:
    assert decoded(with_block(), threshold=0.05, least_region=2).marked.sum() == 12
    assert decoded(with_block(), threshold=0.05, opening=1).marked.sum() == 12
    assert decoded(with_block(), threshold=0.05, opening=2).marked.sum() == 0
    pictures = with_block().pictures.clone()
    pictures[..., 5, 6] = 0.0  # a hole in the block
    output = Reconstruction(pictures, torch.zeros_like(pictures))
    assert decoded(output, threshold=0.2).marked.sum() == 11
    assert decoded(output, threshold=0.2, closing=1).marked.sum() == 12


def test_a_picture_scores_the_highest_pixel_or_the_mean_of_the_highest_percent() -> None:
    assert decoded(with_block()).image_score.item() == pytest.approx(0.5)
    assert decoded(with_block(), image_score="top_percent").image_score.item() == pytest.approx(0.5)  # 2 of 256 pixels
    spike = with_block(0.0)
    assert decoded(spike, image_score="top_percent").image_score.item() == pytest.approx(0.05)


def test_the_background_scores_nothing_where_a_foreground_is_asked_for() -> None:
    pictures = torch.full((1, 3, 16, 16), 0.2)
    pictures[..., 4:12, 4:12] = 0.8
    output = Reconstruction(pictures, torch.zeros_like(pictures))
    scores = decoded(output, foreground=0.3).scores[0]
    assert scores[0, 0] == 0
    assert scores[6, 6].item() == pytest.approx(0.8)


def test_patch_scores_are_enlarged_to_the_picture_and_may_bring_their_own_picture_score() -> None:
    patches = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    own = decoded(PatchScores(torch.zeros(1, 3, 16, 16), patches, torch.tensor([[7.0]])))
    assert own.scores.shape == (1, 16, 16)
    assert own.scores[0, -1, -1] == 4.0
    assert own.image_score.tolist() == [7.0]
    assert own.reconstruction.shape == (1, 0, 16, 16)
    assert decoded(PatchScores(torch.zeros(1, 3, 16, 16), patches, torch.empty(1, 0))).image_score.tolist() == [4.0]


def outputs(count: int = 6) -> list[Reconstruction]:
    generator = torch.Generator().manual_seed(0)
    return [Reconstruction(torch.rand(4, 3, 16, 16, generator=generator), torch.zeros(4, 3, 16, 16)) for _ in range(count)]


def test_calibrated_thresholds_let_the_stated_shares_of_pixels_and_pictures_through() -> None:
    task = AnomalyTask(INFO, pixel_false_alarms=0.05, image_false_alarms=0.25)
    task.use_calibration(task.calibrate(iter(outputs())))
    found = [task.decode(output, SAME.repeat(4, 1, 1)) for output in outputs()]
    marked = torch.cat([one.marked for one in found]).double().mean()
    called = torch.cat([one.defective for one in found]).double().mean()
    assert 0.045 < marked <= 0.05
    assert 0.2 < called <= 0.25


def test_before_calibration_nothing_is_marked_and_fixed_thresholds_are_kept_after_it() -> None:
    task = AnomalyTask(INFO)
    assert not task.decode(with_block(), SAME).marked.any()
    assert not task.decode(with_block(), SAME).defective.any()
    fixed = AnomalyTask(INFO, threshold=0.4, image_threshold=0.6)
    fixed.use_calibration(fixed.calibrate(outputs()))
    prediction = fixed.decode(with_block(), SAME)
    assert prediction.threshold.item() == pytest.approx(0.4)
    assert prediction.image_threshold.item() == pytest.approx(0.6)


def test_test_pictures_calibrate_only_by_the_option_that_says_so() -> None:
    assert AnomalyTask(INFO).calibration_part == "validation"
    assert AnomalyTask(INFO, threshold_from_test=True).calibration_part == "test"


def test_a_description_lists_regions_in_pixels_of_the_file() -> None:
    doubled = torch.diag(torch.tensor([2.0, 2.0, 1.0]))[None]
    task = AnomalyTask(INFO, threshold=0.2, image_threshold=0.3)
    answer = dict(task.describe(select(task.decode(with_block(), doubled), 0), (32, 32)))
    json.dumps(answer, allow_nan=False)
    assert answer["defective"] is True
    assert answer["score"] == pytest.approx(0.5)
    assert [(region["area_px"], region["box"]) for region in answer["regions"]] == [(48, [10, 8, 16, 16])]
    assert answer["marked_share"] == pytest.approx(48 / 1024)


def test_an_uncalibrated_description_has_no_thresholds_and_is_json() -> None:
    task = AnomalyTask(INFO)
    answer = dict(task.describe(select(task.decode(with_block(), SAME), 0), (16, 16)))
    assert json.loads(json.dumps(answer, allow_nan=False))["threshold"] is None
    assert answer["regions"] == []


def test_what_lies_in_the_padding_around_a_file_is_no_region_of_it() -> None:
    """A file of 4 x 16 pixels, padded above and below to 16 x 16: the block's rows 4 .. 6 are its rows -2 .. 0."""
    shifted = torch.tensor([[[1.0, 0, 0], [0, 1, -6], [0, 0, 1]]])
    task = AnomalyTask(INFO, threshold=0.2, image_threshold=0.3)
    found = select(task.decode(with_block(), shifted), 0)
    answer = dict(task.describe(found, (4, 16)))
    assert [(region["area_px"], region["box"]) for region in answer["regions"]] == [(6, [5, 0, 8, 2])]
    assert task.pictures(found, (4, 16))["mask"].shape == (1, 4, 16)


def test_what_was_looked_up_in_test_data_is_told() -> None:
    assert AnomalyTask(INFO).caveats == ()
    (told,) = AnomalyTask(INFO, threshold_from_test=True).caveats
    assert told == "task.threshold_from_test: thresholds were chosen on TEST pictures; scores at these thresholds flatter"
    assert len(AnomalyTask(INFO, threshold_from_test=True, diagnose_on_test=True).caveats) == 2


def test_map_and_mask_are_pictures_of_the_files_size() -> None:
    doubled = torch.diag(torch.tensor([2.0, 2.0, 1.0]))[None]
    task = AnomalyTask(INFO, threshold=0.2)
    pictures = task.pictures(select(task.decode(with_block(), doubled), 0), (32, 32))
    assert pictures["map"].shape == (3, 32, 32)
    assert pictures["mask"].shape == (1, 32, 32)
    assert pictures["map"].dtype == pictures["mask"].dtype == torch.uint8
    assert set(pictures["mask"].flatten().tolist()) == {0, 255}
    assert int((pictures["mask"] == 255).sum()) == 48


def test_colours_get_brighter_with_the_score() -> None:
    drawn = as_colours(torch.tensor([[0.0, 0.25, 0.5, 9.0]]), torch.tensor(0.5)).int().sum(dim=0)[0]
    assert drawn[0] < drawn[1] < drawn[2] == drawn[3]


def test_drawing_tints_what_is_marked_and_outlines_the_truth() -> None:
    task = AnomalyTask(INFO, threshold=0.2)
    prediction = select(task.decode(with_block(), SAME), 0)
    regions = torch.zeros(16, 16, 1, dtype=torch.int16)
    regions[10:14, 2:6] = 1
    image = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    drawn = task.draw(image, prediction, AnomalyTruth(torch.tensor(1), regions))
    changed: Tensor = (drawn != image).any(dim=0)
    assert changed[4:8, 5:8].all()
    assert changed[10, 2]
    assert not changed[11, 3]  # inside the outline of the truth
    assert int(changed.sum()) == 12 + 12
    unknown = AnomalyTruth(torch.tensor(1), torch.empty(16, 16, 0, dtype=torch.int16))
    assert torch.equal(task.draw(image, prediction, unknown), task.draw(image, prediction, None))


def test_an_output_of_another_kind_is_refused() -> None:
    with pytest.raises(PluginError, match=r"the model gives Tensor; expected toolkit_anomaly.types.Reconstruction or PatchScores"):
        AnomalyTask(INFO).decode(torch.zeros(1, 3, 4, 4), SAME)  # type: ignore[arg-type]
