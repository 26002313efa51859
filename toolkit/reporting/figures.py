"""One look for every picture of a report: `new_figure`, colours that colour-blind readers can tell apart, `save_figure`.

Figures are made without pyplot: no global state, no display, nothing to close.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toolkit.reporting.files import disk_errors, write_bytes_atomic

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
YELLOW = "#E69F00"
SKY = "#56B4E9"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)
"""Okabe and Ito, Color Universal Design, 2008 (their yellow is too pale for lines on white)."""

INK = "#24292f"
MUTED = "#6e7781"
GRID = "#e4e7eb"
SEQUENTIAL = "Blues"
"""The matplotlib colour map for amounts; its grey value falls evenly."""

_DOTS_PER_INCH = 200


def new_figure(
    rows: int = 1, columns: int = 1, *, width_in: float | None = None, height_in: float | None = None, grid: bool = True
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the house style, and its axes row by row.

    Args:
        width_in, height_in: inches of the whole figure; 5.2 by 3.4 for one axes, 4.4 by 3 for each of several.
        grid: pale lines behind the data; switch them off for pictures and matrices.

    >>> figure, (axes,) = new_figure()
    >>> _ = axes.plot([1, 2, 3], [0.9, 0.5, 0.4])
    """
    one = rows * columns == 1
    size = (width_in or (5.2 if one else 4.4 * columns), height_in or (3.4 if one else 3.0 * rows))
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")
    axes_grid = figure.subplots(rows, columns, squeeze=False)
    axes_list = [axes for axes_row in axes_grid for axes in axes_row]
    for axes in axes_list:
        _dress(axes, grid)
    return figure, axes_list


def whole_number_ticks(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only, for epochs and counts."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG in one step, making its folder; equal figures give equal bytes.

    Raises: ResourceError if it cannot be written.
    """
    png = BytesIO()
    with matplotlib.rc_context({"savefig.bbox": "standard"}):  # a user's matplotlibrc must not crop what constrained layout placed
        figure.savefig(png, format="png", metadata={"Software": None})
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, png.getvalue())


def _dress(axes: Axes, grid: bool) -> None:
    axes.set_prop_cycle(cycler(color=PALETTE))
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=MUTED, labelsize=9, length=0 if grid else 3)
    axes.xaxis.label.set(color=MUTED, size=9.5)
    axes.yaxis.label.set(color=MUTED, size=9.5)
    axes.title.set(color=INK, size=11, weight="bold")
    if grid:
        axes.grid(True, color=GRID, linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(GRID if not grid else MUTED)
