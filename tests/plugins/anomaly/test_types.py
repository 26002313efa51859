"""Maps are read in the file's pixels where the picture's own pixels lie."""

from __future__ import annotations

import albumentations
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.data.sample import Sample
from toolkit.data.transforms import TransformList
from toolkit_anomaly.types import AnomalyInfo, AnomalyPrediction, KindTarget


def prediction(scores: Tensor, to_original: Tensor | None = None) -> AnomalyPrediction:
    nothing = torch.zeros(())
    matrix = torch.eye(3) if to_original is None else to_original
    return AnomalyPrediction(scores, scores > 0.5, nothing, nothing, nothing, torch.empty(0, *scores.shape), matrix)


def seen_through(*transforms: object) -> tuple[Tensor, Tensor, np.ndarray]:
    """A picture with one bright block, as the network sees it, and the matrix back."""
    file = np.zeros((64, 96, 3), np.uint8)
    file[16:32, 24:40] = 255
    sample = TransformList(list(transforms), evaluation=True).prepare(Sample("a", file, KindTarget(torch.tensor(0))))
    return torch.from_numpy(sample.image[..., 0].copy()).float() / 255, torch.from_numpy(sample.to_original).float(), file[..., 0] > 0


def test_a_map_in_the_files_size_is_read_unchanged() -> None:
    scores = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(prediction(scores).map_in_file(5, 7), scores, atol=1e-6)


@pytest.mark.parametrize(
    "transforms",
    [
        [albumentations.Resize(8, 12, interpolation=cv2.INTER_AREA)],
        [albumentations.Resize(8, 12, interpolation=cv2.INTER_AREA), albumentations.HorizontalFlip(p=1)],
        [albumentations.Resize(8, 12, interpolation=cv2.INTER_AREA), albumentations.Transpose(p=1)],
        [albumentations.Crop(x_min=8, y_min=8, x_max=96, y_max=64), albumentations.Resize(7, 11, interpolation=cv2.INTER_AREA)],
    ],
)
def test_a_block_of_the_file_comes_back_to_its_own_pixels_after_resizing_and_turning(transforms: list[object]) -> None:
    seen, to_original, block = seen_through(*transforms)
    back = prediction(seen, to_original).mask_in_file(64, 96).numpy()
    assert np.array_equal(back, block)  # the block covers whole pixels of the small picture, so nothing may be lost


def test_an_enlarged_map_is_what_opencv_makes_of_it() -> None:
    scores = torch.rand(6, 9, generator=torch.Generator().manual_seed(1))
    expected = cv2.resize(scores.numpy(), (27, 18), interpolation=cv2.INTER_LINEAR)
    found = prediction(scores, torch.diag(torch.tensor([3.0, 3.0, 1.0]))).map_in_file(18, 27)
    assert np.allclose(found.numpy(), expected, atol=1e-4)


def test_pixels_that_were_cropped_away_score_nothing() -> None:
    seen, to_original, _ = seen_through(albumentations.Crop(x_min=0, y_min=0, x_max=48, y_max=64))
    back = prediction(seen + 1, to_original).map_in_file(64, 96)
    assert back[:, 48:].abs().max() == 0
    assert back[:, :48].min() >= 1


def test_a_map_is_read_at_a_stated_size_as_if_the_file_had_that_size() -> None:
    scores = torch.rand(8, 8, generator=torch.Generator().manual_seed(2))
    big = torch.diag(torch.tensor([4.0, 4.0, 1.0]))
    assert torch.allclose(prediction(scores, big).map_in_file(32, 32, (8, 8)), scores, atol=1e-5)


def test_kinds_that_would_split_the_names_of_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kind 'a/b': names must be distinct and without '/'"):
        AnomalyInfo((3, 8, 8), ("good", "a/b"), True)
