"""The loops over pixels. Each is there twice: by OpenCV on the CPU, one native call per picture (several times as fast there, and
the same bytes as albumentations), and in batched torch operations anywhere else."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.data.device_transforms.draws import Indices

Bytes = npt.NDArray[np.uint8]


def is_native(images: Tensor) -> bool:
    """Whether OpenCV does the work."""
    return images.device.type == "cpu"


def to_device(array: npt.NDArray[np.generic], images: Tensor) -> Tensor:
    """The array beside the pictures."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(images.device, non_blocking=True)


def gather(
    images: Tensor,
    rows: Indices,
    columns: Indices,
    transposed: npt.NDArray[np.bool_],
    fill: Sequence[float] | None,
    *,
    in_one_piece: bool = True,
) -> Tensor:
    """Pictures put together from whole pixels of others.

    Args:
        images: [B, H, W, C].
        rows: [B, H'] where each new row comes from (the column, in samples that are transposed); below 0: nowhere.
        columns: [B, W'] the same for columns.
        transposed: [B].
        fill: [C] what stands where a pixel comes from nowhere; None: every pixel comes from somewhere.
        in_one_piece: whether what comes from somewhere is one rectangle, cut out, flipped or turned.

    Returns: [B, H', W', C].
    """
    if in_one_piece and is_native(images):
        return _native_gather(images, rows, columns, transposed, fill)
    batch, height, width, channels = images.shape
    first = np.arange(batch)[:, None] * (height * width)
    rows_at = to_device(np.where(transposed[:, None], rows, rows * width) + first, images)
    columns_at = to_device(np.where(transposed[:, None], columns * width, columns), images)
    places = rows_at[:, :, None] + columns_at[:, None, :]
    if fill is not None:
        nowhere = to_device(rows < 0, images)[:, :, None] | to_device(columns < 0, images)[:, None, :]
        places.masked_fill_(nowhere, 0)
    pixels = images.reshape(-1, channels).index_select(0, places.view(-1)).view(*places.shape, channels)
    if fill is None:
        return pixels
    values = torch.tensor(_as_bytes(fill), device="cpu").to(images.device, non_blocking=True)
    return torch.where(nowhere[..., None], values, pixels)


def _native_gather(
    images: Tensor, rows: Indices, columns: Indices, transposed: npt.NDArray[np.bool_], fill: Sequence[float] | None
) -> Tensor:
    pixels = images.numpy()
    out = np.empty((len(pixels), rows.shape[1], columns.shape[1], pixels.shape[3]), np.uint8)
    if fill is not None:
        values = _as_bytes(fill)
        out[:] = values[0] if (values == values[0]).all() else values  # the latter is ten times as slow
    spans = zip(*_spans(rows), *_spans(columns), transposed.tolist(), strict=True)
    for before, after, (y, y_end, row, row_end, up, x, x_end, column, column_end, left, turned) in zip(pixels, out, spans, strict=True):
        place = after[y:y_end, x:x_end]
        if not place.size:  # a crop that shows nothing of the picture
            continue
        part = cv2.transpose(before[column:column_end, row:row_end]) if turned else before[row:row_end, column:column_end]
        if left or up:
            cv2.flip(part, 1 if not up else -1 if left else 0, place)
        else:
            place[:] = part.reshape(place.shape)
    return torch.from_numpy(out)


def _spans(places: Indices) -> tuple[list[int], list[int], list[int], list[int], list[bool]]:
    """Per sample where the rectangle begins and ends along one axis, in the new picture and in the old, and whether it is reversed."""
    there = places >= 0
    begin, count = there.argmax(1), there.sum(1)
    samples = np.arange(len(places))
    first, last = places[samples, begin], places[samples, np.maximum(begin + count - 1, 0)]
    low, high = np.minimum(first, last), np.maximum(first, last) + 1
    return begin.tolist(), (begin + count).tolist(), low.tolist(), high.tolist(), (last < first).tolist()


def apply_levels(images: Tensor, levels: Bytes | Tensor) -> Tensor:
    """[B, H, W, C] with each value replaced by `levels[b, value]`; levels: [B, 256] uint8."""
    if is_native(images):
        given = images.numpy()
        out = np.empty_like(given)
        for before, after, row in zip(_flat(given), _flat(out), np.asarray(levels), strict=True):
            cv2.LUT(before, row, after)
        return torch.from_numpy(out)
    table = to_device(levels, images) if isinstance(levels, np.ndarray) else levels
    first = torch.arange(len(images), device=images.device)[:, None] * 256
    return table.reshape(-1).take(images.flatten(1).long().add_(first)).view(images.shape)


def warp(
    images: Tensor,
    matrices: npt.NDArray[np.float64],
    size: tuple[int, int],
    *,
    linear: bool,
    border_mode: int,
    fill: Sequence[float],
    windows: Indices | None = None,
    straight: bool = True,
) -> Tensor:
    """Pictures seen through homographies.

    Args:
        images: [B, H, W, C] uint8.
        matrices: [B, 3, 3] from pixels of `images` to pixels of the result, on the host.
        size: H', W' of the result.
        border_mode: of cv2: constant, replicate or reflect_101.
        fill: [C] for the constant one.
        windows: [B, 4] x_min, y_min, x_max, y_max: what lies outside counts as outside of the picture. All of one size
            where the border is constant.
        straight: the last row of every matrix is 0, 0, 1.

    Returns: [B, H', W', C] uint8, rounded.
    """
    if is_native(images):
        return _native_warp(images, matrices, size, linear, border_mode, fill, windows, straight)
    if windows is not None and border_mode == cv2.BORDER_CONSTANT:
        images, matrices, windows = _cut(images, windows), matrices @ _shifts(windows), None
    sources = to_device(np.linalg.inv(matrices).astype(np.float32), images)[:, :, :, None, None]
    x = torch.arange(size[1], device=images.device, dtype=torch.float32)
    y = torch.arange(size[0], device=images.device, dtype=torch.float32)[:, None]
    places = sources[:, :, 0] * x + sources[:, :, 1] * y + sources[:, :, 2]  # [B, 3, H', W']
    at_x, at_y = places[:, 0], places[:, 1]
    if not straight:
        depth = places[:, 2]
        depth = torch.where(depth == 0, torch.ones_like(depth), depth)
        at_x, at_y = at_x / depth, at_y / depth
    height, width = images.shape[1:3]
    if border_mode != cv2.BORDER_CONSTANT:
        spans = np.array([[0, 0, width, height]]) if windows is None else windows
        x_min, y_min, x_max, y_max = to_device(spans.astype(np.float32).T, images)[:, :, None, None]
        at_x, at_y = _kept(at_x, x_min, x_max, border_mode), _kept(at_y, y_min, y_max, border_mode)
    grid = torch.stack([(2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1], -1)
    values = torch.tensor([float(v) for v in _as_bytes(fill)], device="cpu").to(images.device, non_blocking=True)[:, None, None]
    pixels = images.permute(0, 3, 1, 2).to(torch.float32) - values  # what grid_sample sees outside is 0
    seen = F.grid_sample(pixels, grid, mode="bilinear" if linear else "nearest", padding_mode="zeros", align_corners=False)
    return (seen + values).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _native_warp(
    images: Tensor,
    matrices: npt.NDArray[np.float64],
    size: tuple[int, int],
    linear: bool,
    border_mode: int,
    fill: Sequence[float],
    windows: Indices | None,
    straight: bool,
) -> Tensor:
    pixels = images.numpy()
    out = np.empty((len(pixels), *size, pixels.shape[3]), np.uint8)
    flags = cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST
    if windows is not None:
        matrices = matrices @ _shifts(windows)
    still = (matrices == np.eye(3)).all((1, 2)) if size == pixels.shape[1:3] else np.zeros(len(pixels), bool)
    for i, after in enumerate(out):
        before = pixels[i]
        if still[i]:
            after[:] = before
            continue
        if windows is not None:
            x_min, y_min, x_max, y_max = windows[i]
            before = before[y_min:y_max, x_min:x_max]
        if straight:
            cv2.warpAffine(before, matrices[i, :2], size[::-1], after, flags, border_mode, fill)
        else:
            cv2.warpPerspective(before, matrices[i], size[::-1], after, flags, border_mode, fill)
    return torch.from_numpy(out)


def resize(images: Tensor, size: tuple[int, int], windows: Indices, flips: npt.NDArray[np.bool_], *, linear: bool) -> Tensor:
    """A part of each picture scaled to one size, by OpenCV on the CPU only (`warp` does it elsewhere).

    Args:
        windows: [B, 4] x_min, y_min, x_max, y_max of the part.
        flips: [B, 2] whether it is flipped along x, y afterwards.
    """
    pixels = images.numpy()
    out = np.empty((len(pixels), *size, pixels.shape[3]), np.uint8)
    interpolation = cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST
    for before, after, (x_min, y_min, x_max, y_max), (flip_x, flip_y) in zip(pixels, out, windows, flips, strict=True):
        part = before[y_min:y_max, x_min:x_max]
        if not flip_x and not flip_y:
            cv2.resize(part, size[::-1], after, interpolation=interpolation)
            continue
        scaled = cv2.resize(part, size[::-1], interpolation=interpolation)
        cv2.flip(scaled, 0 if not flip_x else -1 if flip_y else 1, after)
    return torch.from_numpy(out)


def _shifts(windows: Indices) -> npt.NDArray[np.float64]:
    """[B, 3, 3] from pixels of the window to pixels of the picture."""
    matrices = np.tile(np.eye(3), (len(windows), 1, 1))
    matrices[:, :2, 2] = windows[:, :2]
    return matrices


def _cut(images: Tensor, windows: Indices) -> Tensor:
    width, height = (windows[0, 2:] - windows[0, :2]).tolist()
    rows, columns = windows[:, 1:2] + np.arange(height), windows[:, 0:1] + np.arange(width)
    return gather(images, rows, columns, np.zeros(len(windows), bool), None)


def _kept(at: Tensor, low: Tensor, high: Tensor, border_mode: int) -> Tensor:
    """Places outside of [low, high - 1] brought back into it."""
    if border_mode == cv2.BORDER_REPLICATE:
        return at.clamp(low, high - 1)
    last = (high - low - 1).clamp(min=0.5)  # a single row or column: everything is folded onto its half, and rounds to it
    folded = last - ((at - low).remainder(2 * last) - last).abs()
    return low + torch.minimum(folded, high - low - 1)


def _flat(pixels: Bytes) -> Bytes:
    """[B, H, W*C]: LUT is faster on one channel."""
    return pixels.reshape(*pixels.shape[:2], -1)


def _as_bytes(fill: Sequence[float]) -> Bytes:
    return np.clip(np.rint(fill), 0, 255).astype(np.uint8)
