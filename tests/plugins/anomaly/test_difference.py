"""Differences of pictures against scikit-image, SciPy and hand counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import Tensor

from toolkit.errors import ConfigError
from toolkit_anomaly.difference import Difference, difference_map, foreground, smoothed
from toolkit_anomaly.losses import Gradient, MeanScore, ReconstructionL1, ReconstructionMse, Ssim, SsimL1
from toolkit_anomaly.ssim import ssim_map
from toolkit_anomaly.types import AnomalyInfo, PatchScores, Reconstruction

INFO = AnomalyInfo((3, 24, 20), ("good",), False)


def two_pictures(height: int = 24, width: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(2, 3, height, width, generator=generator)
    return one, (one + 0.2 * torch.randn(2, 3, height, width, generator=generator)).clamp(0, 1)


def test_ssim_is_scikit_images_everywhere_also_at_the_edge() -> None:
    one, other = two_pictures()
    for index in range(2):
        _, expected = structural_similarity(
            one[index].permute(1, 2, 0).numpy(),
            other[index].permute(1, 2, 0).numpy(),
            channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
        )  # fmt: skip
        found = ssim_map(one, other)[index].permute(1, 2, 0).numpy()
        assert np.allclose(found, expected, atol=1e-4)


def test_ssim_loss_is_half_of_one_less_the_mean_similarity() -> None:
    one, other = two_pictures()
    similarity = np.mean(
        structural_similarity(
            one[1].permute(1, 2, 0).numpy(), other[1].permute(1, 2, 0).numpy(),
            channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
        )[1]
    )  # fmt: skip
    found = Ssim(INFO)(Reconstruction(one, other), None)["ssim"]
    assert found.shape == (2,)
    assert found[1].item() == pytest.approx((1 - similarity) / 2, abs=1e-5)


def test_smoothing_is_scipys_gaussian_filter_also_where_the_map_is_smaller_than_the_window() -> None:
    maps = torch.rand(1, 9, 6, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(maps[0].numpy(), 2.0, mode="reflect", truncate=4.0)
    assert np.allclose(smoothed(maps, 2.0)[0].numpy(), expected, atol=1e-5)
    assert smoothed(maps, 0) is maps


@pytest.mark.parametrize(("kind", "expected"), [("l1", 0.9 / 3), ("l2", 0.81 / 3)])
def test_maps_are_means_over_the_channels(kind: Difference, expected: float) -> None:
    picture = torch.zeros(1, 3, 1, 1)
    other = torch.tensor([0.9, 0.0, 0.0]).view(1, 3, 1, 1)
    assert difference_map(picture, other, kind).item() == pytest.approx(expected)


def test_the_gradient_map_sees_an_edge_and_no_change_of_brightness() -> None:
    picture = torch.full((1, 1, 2, 3), 0.2)
    other = torch.tensor([[0.5, 0.5, 0.9], [0.5, 0.5, 0.9]]).view(1, 1, 2, 3)
    assert torch.allclose(difference_map(picture, other, "gradient")[0], torch.tensor([[0.0, 0.2, 0.0], [0.0, 0.2, 0.0]]))


def test_the_foreground_is_the_object_with_its_holes() -> None:
    picture = torch.full((1, 3, 32, 32), 0.1)
    picture[..., 8:24, 8:24] = 0.8
    picture[..., 15:17, 15:17] = 0.1  # a hole as dark as the background
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[8:24, 8:24] = True
    assert torch.equal(foreground(picture, 0.3)[0], expected)


def test_losses_count_the_foreground_alone_where_asked_to() -> None:
    picture = torch.full((1, 3, 32, 32), 0.1)
    picture[..., 8:24, 8:24] = 0.8
    output = Reconstruction(picture, torch.full_like(picture, 0.1))
    assert ReconstructionL1(INFO)(output, None)["l1"].item() == pytest.approx(0.7 / 4)  # a quarter of the picture is wrong by 0.7
    assert ReconstructionL1(INFO, foreground=0.3)(output, None)["l1"].item() == pytest.approx(0.7)
    assert ReconstructionMse(INFO, foreground=0.3)(output, None)["mse"].item() == pytest.approx(0.49)


def test_mixed_losses_are_the_sum_of_their_weighted_terms() -> None:
    output = Reconstruction(*two_pictures())
    ssim, l1 = Ssim(INFO)(output, None)["ssim"], ReconstructionL1(INFO)(output, None)["l1"]
    mixed = SsimL1(INFO, ssim_weight=0.25)(output, None)
    assert torch.allclose(mixed["ssim"], 0.25 * ssim)
    assert torch.allclose(mixed["l1"], 0.75 * l1)
    assert torch.allclose(Gradient(INFO, weight=2.0)(output, None)["l1"], l1)


def test_the_loss_of_one_pass_methods_is_the_mean_patch_score() -> None:
    output = PatchScores(torch.zeros(1, 3, 4, 4), torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), torch.empty(1, 0))
    assert MeanScore(INFO)(output, None)["mean_score"].tolist() == [3.0]


@pytest.mark.parametrize("loss", [ReconstructionMse, ReconstructionL1, Ssim, SsimL1, Gradient])
def test_losses_of_reconstructions_refuse_patch_scores(loss: type[ReconstructionMse]) -> None:
    output = PatchScores(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 2), torch.empty(1, 0))
    with pytest.raises(ConfigError, match=r"^loss: the model gives PatchScores; this loss needs a Reconstruction; take loss: mean_score$"):
        loss(INFO)(output, None)


def test_the_loss_of_one_pass_methods_refuses_reconstructions() -> None:
    expected = "^loss: the model gives Reconstruction; this loss needs PatchScores; take loss: mse, l1, ssim, ssim_l1 or gradient$"
    with pytest.raises(ConfigError, match=expected) as caught:
        MeanScore(INFO)(Reconstruction(*two_pictures()), None)
    assert caught.value.path == "loss"
