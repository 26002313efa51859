"""Pictures of and out of a network: that they are drawn, with the right tiles, words and lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torchvision
from matplotlib.figure import Figure
from torch import nn

from toolkit.models.inspect import inspect_model
from toolkit.models.inspect.scales import LayerScale
from toolkit.reporting.architecture import MOST_BLOCKS, plot_architecture
from toolkit.reporting.network_pictures import plot_feature_maps, plot_filters, plot_saliency, plot_scales, scale_table


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_architecture_shows_computing_layers_with_their_shapes_and_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 7 * 7, 10))
    figure = plot_architecture(inspect_model(network, (3, 30, 30)), "small")
    assert words(figure) == [
        *("input", "3x30x30"),
        *("conv 3x3/2", "8x14x14", "224"),
        *("pool 2x2/2", "8x7x7"),
        *("dense", "10", "3,930"),
    ]
    assert figure.get_suptitle() == "small: 4,154 parameters, 46,256 MACs"


def test_a_deep_network_is_drawn_by_its_parts() -> None:
    figure = plot_architecture(inspect_model(torchvision.models.resnet50(), (3, 64, 64)), "deep")
    shown = words(figure)
    assert "layer1.0" in shown
    assert len(shown) <= 3 * MOST_BLOCKS


def shown_tiles(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_filters_of_three_channels_are_in_colour_and_each_spans_its_own_range() -> None:
    filters = (
        np.random.default_rng(0).normal(size=(70, 3, 5, 5)).astype(np.float32) * np.arange(1, 71, dtype=np.float32)[:, None, None, None]
    )
    figure = plot_filters(filters, "first layer")
    tiles = shown_tiles(figure)
    assert len(tiles) == 64
    assert all(tile.shape == (5, 5, 3) and tile.min() == 0 and tile.max() == 1 for tile in tiles)
    assert figure.get_suptitle() == "first layer: the first 64 of 70 filters"
    assert shown_tiles(plot_filters(filters[:3, :1], "grey"))[0].shape == (5, 5)


def test_feature_maps_share_one_range_so_that_a_dead_channel_stays_dark() -> None:
    maps = np.stack([np.zeros((4, 4)), np.full((4, 4), 0.5), np.arange(16).reshape(4, 4)]).astype(np.float32)
    dead, _, live = shown_tiles(plot_feature_maps(maps, "conv"))
    assert dead.max() == 0
    assert live.max() == 1


def test_saliency_shows_a_picture_with_its_answer_and_grad_cam_where_there_is_one() -> None:
    picture = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    pixels = np.zeros((8, 8), np.float32)
    figure = plot_saliency(picture, pixels, pixels, "cat", "conv5")
    assert [axes.get_title() for axes in figure.axes] == ["predicted: cat", "saliency", "Grad-CAM, conv5"]
    assert [axes.get_title() for axes in plot_saliency(picture, pixels, None, "cat", "").axes] == ["predicted: cat", "saliency"]


SCALES = (LayerScale("one", "Conv2d", 0.5, 1.0, 2.0, 1e-3), LayerScale("two", "Linear", 0.0, 0.25, 4.0, None))


def test_scales_are_drawn_on_logarithmic_axes_with_a_gap_where_nothing_arrives() -> None:
    figure = plot_scales(SCALES, "net")
    signal, gradient = figure.axes
    assert (signal.get_yscale(), gradient.get_yscale()) == ("log", "log")
    drawn = np.asarray(gradient.lines[0].get_ydata(), dtype=float)
    assert drawn[0] == pytest.approx(1e-3)
    assert math.isnan(drawn[1])
    assert [label.get_text() for label in gradient.get_xticklabels()] == ["one", "two"]


def test_the_scale_table_gives_the_gradient_as_a_share_of_the_weight() -> None:
    _, one, two = scale_table(SCALES).splitlines()
    assert one.split() == ["one", "5.000e-01", "1.000e+00", "1.000e-03", "5.000e-04"]
    assert two.split() == ["two", "0.000e+00", "2.500e-01", "-", "-"]
