"""The autoencoder's layers by hand; PaDiM and PatchCore against NumPy and brute force."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError, DataError
from toolkit.models.model import Backbone, count_parameters
from toolkit_anomaly.models.autoencoder import ConvAutoencoder
from toolkit_anomaly.models.corruption import corrupted
from toolkit_anomaly.models.padim import Padim
from toolkit_anomaly.models.patchcore import PatchCore, greedy_coreset, nearest_in
from toolkit_anomaly.types import AnomalyInfo

SMALL: dict[str, Any] = {"bottleneck": 4, "channels": (4, 8), "strides": (2, 2)}


def info(side: int = 128) -> AnomalyInfo:
    return AnomalyInfo((3, side, side), ("good",), False)


class TwoMaps(Backbone):
    """A backbone of two convolutions, for tests: 3 -> 4 channels at half the size, -> 6 at a quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 1)
        self.second = nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images).relu())  # type: ignore[no-any-return]


@pytest.fixture
def backbone() -> TwoMaps:
    torch.manual_seed(0)
    return TwoMaps()


def test_the_reports_autoencoder_has_the_papers_layers() -> None:
    # Bergmann et al., VISAPP 2019, Table 1 with three colours and 100 numbers: kernel area x in x out of each convolution
    encoder = 16 * 3 * 32 + 16 * 32 * 32 + 9 * 32 * 32 + 16 * 32 * 64 + 9 * 64 * 64 + 16 * 64 * 128 + 9 * 128 * 64 + 9 * 64 * 32
    weights = 2 * (encoder + 64 * 32 * 100)
    biases = (32 + 32 + 32 + 64 + 64 + 128 + 64 + 32 + 100) + (32 + 64 + 128 + 64 + 64 + 32 + 32 + 32 + 3)
    assert count_parameters(ConvAutoencoder(info())) == weights + biases


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"bottleneck": 0}, {"skips": True, "corruption": 0.5}])
def test_the_autoencoder_gives_its_picture_back_in_size_and_range(options: dict[str, Any]) -> None:
    model = ConvAutoencoder(info(16), **(SMALL | options)).eval()
    images = torch.rand(2, 3, 16, 16)
    output = model(images)
    assert output.pictures is images
    assert output.reconstruction.shape == images.shape
    assert 0 <= output.reconstruction.min() <= output.reconstruction.max() <= 1


def test_a_picture_passes_through_the_bottleneck_alone() -> None:
    model = ConvAutoencoder(info(16), **SMALL).eval()
    seen: list[tuple[int, ...]] = []
    model.narrow.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    model(torch.rand(2, 3, 16, 16))
    assert seen == [(2, 4, 1, 1)]


def test_with_skips_the_untrained_network_gives_the_picture_itself() -> None:
    images = torch.rand(2, 3, 16, 16)
    model = ConvAutoencoder(info(16), **SMALL, skips=True, corruption=0.5).eval()
    assert torch.equal(model(images).reconstruction, images)


def test_pictures_are_corrupted_in_training_only_and_the_clean_ones_are_what_the_loss_sees() -> None:
    torch.manual_seed(0)
    model = ConvAutoencoder(info(16), **SMALL, skips=True, corruption=1.0)
    nn.init.normal_(model.decoder[-1].weight)  # type: ignore[arg-type]
    images = torch.rand(4, 3, 16, 16)
    first, second = model.train()(images), model(images)
    assert first.pictures is images
    assert not torch.equal(first.reconstruction, second.reconstruction)
    assert torch.equal(model.eval()(images).reconstruction, model(images).reconstruction)


def test_corruption_changes_some_pixels_of_about_the_stated_share_of_pictures() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 3, 24, 24)
    before = images.clone()
    changed = (corrupted(images, 0.5) != images).any(dim=1)  # [B, H, W]
    assert torch.equal(images, before)
    assert 0.3 < changed.flatten(1).any(dim=1).float().mean() < 0.6
    assert 0.005 < changed.float().mean() < 0.15
    assert torch.equal(corrupted(images, 0.0), images)


@pytest.mark.parametrize(
    ("side", "options", "message"),
    [
        (18, {}, r"model.strides: pictures are 18 x 18, but 2 strides of 2 need multiples of 4; add a Resize"),
        (16, {"strides": (2,)}, r"model.strides: channels has 2 numbers, strides 1; expected one of each per convolution"),
        (16, {"skips": True}, r"model.skips: skips without corruption let the picture pass around the bottleneck"),
    ],
)
def test_options_that_do_not_go_together_are_refused(side: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConvAutoencoder(info(side), **(SMALL | options))


def fitted(model: Any, images: Tensor) -> Any:
    model.eval()
    with torch.no_grad():
        for part in torch.split(images, 3):
            model.observe(part)
        model.finish()
    return model


def test_padim_gives_numpys_mahalanobis_distances(backbone: TwoMaps) -> None:
    generator = torch.Generator().manual_seed(1)
    images, new = torch.rand(10, 3, 16, 16, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)
    model = fitted(Padim(info(16), backbone=backbone, dimensions=3, ridge=0.05), images)
    with torch.no_grad():
        known, asked = (backbone(pictures)[:, model.index].double().numpy() for pictures in (images, new))  # [N, 3, 4, 4]
        found = model(new).patches
    for y in range(4):
        for x in range(4):
            covariance = np.cov(known[:, :, y, x].T) + 0.05 * np.eye(3)
            away = asked[:, :, y, x] - known[:, :, y, x].mean(axis=0)
            expected = np.sqrt(np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away))
            assert np.allclose(found[:, y, x].numpy(), expected, rtol=1e-4)


def test_padim_needs_two_pictures(backbone: TwoMaps) -> None:
    with pytest.raises(DataError, match="padim was shown 1 pictures; a covariance needs at least 2"):
        fitted(Padim(info(16), backbone=backbone), torch.rand(1, 3, 16, 16))


def test_patchcore_with_the_whole_memory_is_brute_force_nearest_neighbour(backbone: TwoMaps) -> None:
    generator = torch.Generator().manual_seed(2)
    images, new = torch.rand(5, 3, 16, 16, generator=generator), torch.rand(3, 3, 16, 16, generator=generator)
    model = fitted(PatchCore(info(16), backbone=backbone, share=1.0, neighbours=4), images)
    with torch.no_grad():
        known, asked = (neighbour_means(backbone(pictures)) for pictures in (images, new))
        output = model(new)
    every = np.linalg.norm(asked[:, :, None] - known.reshape(1, 1, -1, 6), axis=-1)  # [3, 16, 80]
    assert len(model.bank) == 80
    assert np.allclose(output.patches.flatten(1).numpy(), every.min(axis=2), atol=1e-5)
    for index in range(3):
        assert output.image_score[index].item() == pytest.approx(equation_7(every[index], known.reshape(-1, 6), asked[index], 4), rel=1e-4)


def test_patchcore_averages_each_layer_in_its_own_size_before_enlarging_it(backbone: TwoMaps) -> None:
    generator = torch.Generator().manual_seed(5)
    images, new = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(1, 3, 16, 16, generator=generator)
    model = fitted(PatchCore(info(16), backbone=backbone, layers=("first", "second"), share=1.0, neighbours=1), images)
    known, asked = (layer_by_layer(backbone, pictures) for pictures in (images, new))
    every = np.linalg.norm(asked[0][:, None] - known.reshape(1, -1, 10), axis=-1)  # [64, 128]
    assert np.allclose(model(new).patches.flatten().numpy(), every.min(axis=1), atol=1e-5)


def layer_by_layer(backbone: TwoMaps, images: Tensor) -> np.ndarray:
    """[B, 64, 10] by loops and OpenCV: 4 averaged features at 8 x 8, and 6 averaged at 4 x 4, then enlarged to 8 x 8."""
    with torch.no_grad():
        fine, coarse = backbone.first(images), backbone.second(backbone.first(images).relu())
    averaged = neighbour_means(coarse).reshape(-1, 4, 4, 6).astype(np.float32)
    enlarged = np.stack([cv2.resize(one, (8, 8), interpolation=cv2.INTER_LINEAR) for one in averaged]).reshape(-1, 64, 6)
    return np.concatenate([neighbour_means(fine), enlarged], axis=2)


def neighbour_means(features: Tensor) -> np.ndarray:
    """[B, D, H, W] -> [B, H W, D], each the mean over those of its 3x3 neighbours that exist, by loops."""
    values = features.numpy()
    count, depth, height, width = values.shape
    means = np.empty((count, height, width, depth))
    for y in range(height):
        for x in range(width):
            means[:, y, x] = values[:, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean(axis=(2, 3))
    return means.reshape(count, -1, depth)


def equation_7(every: np.ndarray, known: np.ndarray, asked: np.ndarray, neighbours: int) -> float:
    strangest = every.min(axis=1).argmax()
    memory = every[strangest].argmin()
    beside = np.argsort(np.linalg.norm(known - known[memory], axis=1))[:neighbours]
    away = np.linalg.norm(known[beside] - asked[strangest], axis=1)
    highest = every[strangest].min()
    return float((1 - np.exp(highest) / np.exp(away).sum()) * highest)


def test_the_coreset_always_takes_the_farthest_point() -> None:
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(3))
    chosen = [7]
    for _ in range(11):
        away = np.linalg.norm(points.numpy()[:, None] - points.numpy()[chosen], axis=2).min(axis=1)
        chosen.append(int(away.argmax()))
    assert greedy_coreset(points, 12, first=7).tolist() == chosen


def test_the_coreset_takes_each_point_once_also_where_points_are_equal() -> None:
    assert sorted(greedy_coreset(torch.ones(5, 2), 5, first=2).tolist()) == [0, 1, 2, 3, 4]


def test_nearest_neighbours_are_found_chunk_by_chunk() -> None:
    generator = torch.Generator().manual_seed(4)
    bank, patches = torch.rand(7, 3, generator=generator), torch.rand(5000, 3, generator=generator)
    every = torch.linalg.vector_norm(patches[:, None] - bank, dim=2)
    distance, nearest = nearest_in(bank, patches)
    assert torch.allclose(distance, every.amin(dim=1), atol=1e-6)
    assert torch.equal(nearest, every.argmin(dim=1))


@pytest.mark.parametrize("model_type", [Padim, PatchCore])
@pytest.mark.parametrize("layers", [("first", "second"), ("second", "first")])
def test_several_layers_are_put_together_at_the_size_of_the_finest(model_type: Any, layers: tuple[str, str], backbone: TwoMaps) -> None:
    model = fitted(model_type(info(16), backbone=backbone, layers=layers), torch.rand(4, 3, 16, 16))
    assert (model.height, model.width) == (8, 8)
    assert model(torch.rand(2, 3, 16, 16)).patches.shape == (2, 8, 8)


@pytest.mark.parametrize("model_type", [Padim, PatchCore])
def test_what_was_fitted_comes_back_from_its_weights(model_type: Any, backbone: TwoMaps) -> None:
    model = fitted(model_type(info(16), backbone=backbone), torch.rand(4, 3, 16, 16))
    other = model_type(info(16), backbone=TwoMaps())
    other.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(other.eval()(images).patches, model(images).patches)


def test_a_layer_that_the_backbone_does_not_have_is_named_with_the_nearest(backbone: TwoMaps) -> None:
    with pytest.raises(ConfigError, match=r"^model.layers: the backbone has no module 'frist'; nearest: first$"):
        PatchCore(info(16), backbone=backbone, layers=("frist",))


def test_a_layer_that_gives_no_maps_is_named(backbone: TwoMaps) -> None:
    backbone.pooled = nn.Flatten()
    backbone.forward = lambda images: backbone.pooled(backbone.first(images))  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"^model.layers: 'pooled' gives \[1, 256\]; expected maps \[B, C, H, W\]$"):
        Padim(info(16), backbone=backbone, layers=("pooled",))


def test_backbones_of_memories_neither_learn_nor_change_their_statistics(backbone: TwoMaps) -> None:
    model = PatchCore(info(16), backbone=backbone).train()
    assert not model.features.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_patchcore_without_pictures_says_so(backbone: TwoMaps) -> None:
    with pytest.raises(ValueError, match="patchcore was shown no pictures"):
        PatchCore(info(16), backbone=backbone).finish()
