"""A picture of a network: one block per layer that computes, as high as its map, as deep as its channels, with the shapes written on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from toolkit.models.inspect import Inspection, Layer
from toolkit.reporting.figures import BLUE, GREEN, INK, MUTED, ORANGE, SKY, new_figure

MOST_BLOCKS = 36
"""A deeper network is drawn by its parts (layer1.0, layer1.1, ...): a picture with more blocks cannot be read."""

_PER_ROW = 12
_TILT = 0.35
_LONGEST_TITLE = 16  # characters; what fits above a block
_COLORS = {"convolution": BLUE, "pool": ORANGE, "dense": GREEN, "part": SKY, "other": MUTED}


@dataclass(frozen=True)
class Block:
    """One block of the picture. kind: a key of the colours. shape: of its output."""

    title: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def plot_architecture(inspection: Inspection, title: str) -> Figure:
    """Blocks from left to right, top to bottom, after the picture itself."""
    blocks = [Block("input", "other", inspection.input_shape, 0), *_blocks(inspection)]
    rows = [blocks[start : start + _PER_ROW] for start in range(0, len(blocks), _PER_ROW)]
    width = max(len(row) for row in rows)
    figure, grid = new_figure(len(rows), width_in=max(5.2, 1.05 * width + 0.3), height_in=2.3 * len(rows) + 0.5, grid=False)
    largest = max(max(block.shape[1:], default=1) for block in blocks if len(block.shape) == 3)
    widest = max(block.shape[0] for block in blocks)
    for axes, row in zip(grid, rows, strict=True):
        for place, block in enumerate(row):
            _draw(axes, place, block, largest, widest)
        axes.set(xlim=(-0.6, width - 0.4), ylim=(-0.62, 1.5))
        axes.axis("off")
    figure.suptitle(f"{title}: {inspection.parameters:,} parameters, {inspection.macs:,} MACs", color=INK, size=11, weight="bold")
    return figure


def _blocks(inspection: Inspection) -> list[Block]:
    computing = [layer for layer in inspection.layers if _kind(layer) != "other"]
    if len(computing) <= MOST_BLOCKS:
        return [Block(_title(layer), _kind(layer), layer.output_shape, layer.parameters) for layer in computing]
    depth = max(layer.name.count(".") for layer in inspection.layers) + 1
    while depth > 1 and len(_grouped(inspection.layers, depth)) > MOST_BLOCKS:
        depth -= 1
    return _grouped(inspection.layers, depth)


def _grouped(layers: Sequence[Layer], depth: int) -> list[Block]:
    """Neighbouring layers whose names share their first `depth` words as one block."""
    blocks: list[Block] = []
    for layer in layers:
        name = ".".join(layer.name.split(".")[:depth])
        if blocks and blocks[-1].title == name:
            blocks[-1] = Block(name, "part", layer.output_shape, blocks[-1].parameters + layer.parameters)
        elif layer.parameters or layer.macs:
            blocks.append(Block(name, "part", layer.output_shape, layer.parameters))
    return blocks


def _kind(layer: Layer) -> str:
    if "Pool" in layer.kind:
        return "pool"
    if layer.macs and layer.window:
        return "convolution"
    return "dense" if layer.macs else "other"


def _title(layer: Layer) -> str:
    word = {"pool": "pool", "convolution": "conv", "dense": "dense"}[_kind(layer)]
    return f"{word} {layer.window}".rstrip()


def _short(title: str) -> str:
    """The last words of a part's name that fit above a block."""
    words = title.split(".")
    while len(words) > 1 and len(".".join(words)) > _LONGEST_TITLE:
        words.pop(0)
    return ".".join(words)


def _draw(axes: Axes, place: int, block: Block, largest: int, widest: int) -> None:
    """An oblique cuboid; sizes are on root scales, so that a 2x2 map is still seen beside one of 224x224."""
    side = math.sqrt(block.shape[1] / largest) if len(block.shape) == 3 else 0.12
    depth = 0.06 + 0.4 * math.sqrt(block.shape[0] / widest)
    if len(block.shape) != 3:  # a vector: a thin bar as long as its entries are many
        side, depth = 0.25 + 0.75 * math.sqrt(block.shape[-1] / max(widest, block.shape[-1])), 0.07
    slant = _TILT * side if len(block.shape) == 3 else 0.06
    left, bottom = place - (depth + slant) / 2, 0.5 - side / 2
    front = [(left, bottom), (left + depth, bottom), (left + depth, bottom + side), (left, bottom + side)]
    top = [front[3], front[2], (front[2][0] + slant, front[2][1] + slant * 0.6), (front[3][0] + slant, front[3][1] + slant * 0.6)]
    flank = [front[1], (front[1][0] + slant, front[1][1] + slant * 0.6), top[2], front[2]]
    for corners, alpha in ((front, 0.75), (top, 0.35), (flank, 0.5)):
        axes.add_patch(Polygon(corners, closed=True, facecolor=_COLORS[block.kind], edgecolor="white", alpha=alpha, linewidth=0.8))
    axes.text(place, 1.32, _short(block.title), ha="center", va="bottom", size=7, color=INK)
    axes.text(place, -0.16, "x".join(map(str, block.shape)), ha="center", va="top", size=7, color=INK)
    if block.parameters:
        axes.text(place, -0.36, f"{block.parameters:,}", ha="center", va="top", size=6, color=MUTED)
