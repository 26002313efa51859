"""Pictures of what is inside a network: filters, feature maps, saliency, and scales layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from toolkit.models.inspect.scales import LayerScale
from toolkit.reporting.figures import BLUE, MUTED, ORANGE, new_figure

MOST_TILES = 64
"""Filters or channels shown; the first ones of more."""

Array = npt.NDArray[np.float32]


def plot_filters(filters: Array, title: str) -> Figure:
    """Filters [F, C, h, w] as tiles: in colour where they have three channels, else the mean over them; each over its own range."""
    tiles = np.moveaxis(filters, 1, -1) if filters.shape[1] == 3 else filters.mean(axis=1)
    return _tiled([_to_unit(tile) for tile in tiles[:MOST_TILES]], _of_all(title, len(tiles), "filters"), cmap="gray")


def plot_feature_maps(maps: Array, title: str) -> Figure:
    """The channels [C, H, W] of one layer for one picture as tiles, all over one range, so that a dead channel is seen as one."""
    low, high = float(maps.min()), float(maps.max())
    tiles = [(tile - low) / (high - low) if high > low else np.zeros_like(tile) for tile in maps[:MOST_TILES]]
    return _tiled(tiles, _of_all(title, len(maps), "channels"), cmap="viridis")


def plot_saliency(picture: Array, saliency: Array, grad_cam: Array | None, answer: str, layer: str) -> Figure:
    """A picture as the network sees it, its saliency, and Grad-CAM laid over it where there is one.

    Args:
        picture: [C, H, W], any range.
        saliency, grad_cam: [H, W] in [0, 1].
        answer: what the model says of it.
        layer: which Grad-CAM is of.
    """
    columns = 2 if grad_cam is None else 3
    figure, axes = new_figure(1, columns, width_in=2.2 * columns, height_in=2.65, grid=False)
    shown = _to_unit(np.moveaxis(picture, 0, -1) if len(picture) == 3 else picture.mean(axis=0))
    titles = (f"predicted: {answer}" if answer else "", "saliency", f"Grad-CAM, {layer}")
    for one, title in zip(axes, titles, strict=False):
        one.set_axis_off()
        one.set_title(title, fontsize=9)
    axes[0].imshow(shown, cmap="gray", vmin=0, vmax=1)
    axes[1].imshow(saliency, cmap="magma", vmin=0, vmax=1)
    if grad_cam is not None:
        axes[2].imshow(shown, cmap="gray", vmin=0, vmax=1)
        axes[2].imshow(grad_cam, cmap="inferno", vmin=0, vmax=1, alpha=0.55)
    return figure


def plot_scales(scales: Sequence[LayerScale], title: str) -> Figure:
    """Signal between pictures and gradient norm of every layer, both on logarithmic axes."""
    figure, (signal, gradient) = new_figure(2, 1, width_in=max(5.2, 0.36 * len(scales) + 1.6), height_in=6.2)
    places = range(len(scales))
    signal.plot(places, [_positive(s.between_pictures) for s in scales], "o-", color=BLUE, label="deviation between pictures")
    signal.plot(places, [_positive(s.output_rms) for s in scales], "o--", color=MUTED, markersize=3, label="root mean square of all")
    gradient.plot(places, [_positive(s.gradient_norm) for s in scales], "o-", color=ORANGE)
    signal.set_title(title)
    signal.set_ylabel("outputs: deviation, size")
    signal.legend(frameon=False, fontsize=8)
    gradient.set_ylabel("norm of the weights' gradient")
    signal.set_xticks(list(places), [""] * len(scales))
    gradient.set_xticks(list(places), [s.name for s in scales], rotation=60, ha="right", fontsize=7)
    for axes in (signal, gradient):
        _logarithmic(axes)
    return figure


def scale_table(scales: Sequence[LayerScale]) -> str:
    """The same as text, one line per layer."""
    width = max([len("layer"), *(len(scale.name) for scale in scales)])
    lines = [f"{'layer':<{width}}  between pictures  of all outputs  gradient norm  gradient / weight"]
    for scale in scales:
        gradient = ("-", "-") if scale.gradient_norm is None else (f"{scale.gradient_norm:.3e}", _ratio(scale))
        numbers = f"{scale.between_pictures:>16.3e}  {scale.output_rms:>14.3e}  {gradient[0]:>13}  {gradient[1]:>17}"
        lines.append(f"{scale.name:<{width}}  {numbers}")
    return "\n".join(lines)


def _ratio(scale: LayerScale) -> str:
    assert scale.gradient_norm is not None
    return f"{scale.gradient_norm / scale.weight_norm:.3e}" if scale.weight_norm else "-"


def _tiled(tiles: Sequence[Array], title: str, *, cmap: str) -> Figure:
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(len(tiles)))))
    rows = -(-len(tiles) // columns)
    figure, grid = new_figure(rows, columns, width_in=max(3.2, 0.62 * columns), height_in=0.62 * rows + 0.5, grid=False)
    for axes, tile in zip(grid, tiles, strict=False):
        axes.imshow(tile, cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
        axes.add_patch(Rectangle((-0.5, -0.5), tile.shape[1], tile.shape[0], fill=False, edgecolor=MUTED, linewidth=0.4, clip_on=False))
    for axes in grid:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure


def _of_all(title: str, count: int, what: str) -> str:
    return f"{title}: {count} {what}" if count <= MOST_TILES else f"{title}: the first {MOST_TILES} of {count} {what}"


def _to_unit(values: Array) -> Array:
    low, high = values.min(), values.max()
    unit: Array = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    return unit


def _positive(value: float | None) -> float:
    """A gap in a logarithmic line where there is nothing above 0."""
    return value if value else math.nan


def _logarithmic(axes: Axes) -> None:
    """A logarithmic y axis, unless there is nothing to draw on it."""
    drawn = [y for line in axes.lines for y in np.asarray(line.get_ydata(), dtype=float) if math.isfinite(y)]
    if drawn:
        axes.set_yscale("log")
