"""Noise, blur and holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.data.device_transforms.contract import CannotMatchError, PixelTransform, Shape, channel_values
from toolkit.data.device_transforms.draws import Indices, Uniforms, between, random_bits, random_normals, whole
from toolkit.data.device_transforms.kernels import is_native, to_device


@dataclass(frozen=True)
class Noise:
    """Gaussian noise in shares of the full range.

    Args:
        mean, std: [B].
        keys: [B] what the noise of each pixel is drawn from.
    """

    mean: Uniforms
    std: Uniforms
    keys: Uniforms


class GaussianNoise(PixelTransform):
    """Of albumentations' GaussNoise."""

    num_uniforms = 3

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        share = transform.noise_scale_factor
        self._std, self._mean = transform.std_range, transform.mean_range
        self._size = (max(1, int(shape.height * share)), max(1, int(shape.width * share)), shape.channels if transform.per_channel else 1)

    def draw(self, uniforms: Uniforms) -> Noise:
        return Noise(between(uniforms[:, 1], self._mean), between(uniforms[:, 0], self._std), uniforms[:, 2])

    def apply(self, images: Tensor, params: Noise) -> Tensor:
        return add_noise(images, self.noise(params, images.device))

    def noise(self, params: Noise, device: torch.device) -> Tensor:
        """[B, H, W, C or 1] float32 in levels."""
        height, width, channels = self._size
        noise = random_normals(params.keys, height * width * channels, device)
        scales = torch.from_numpy(np.stack([params.std, params.mean]).astype(np.float32) * 255).to(device, non_blocking=True)
        noise = noise.mul(scales[0][:, None]).add_(scales[1][:, None]).view(-1, height, width, channels)
        if self._size[:2] == self.shape[:2]:
            return noise
        noise = F.interpolate(noise.permute(0, 3, 1, 2), self.shape[:2], mode="bilinear", align_corners=False)
        return noise.permute(0, 2, 3, 1).contiguous()


def add_noise(images: Tensor, noise: Tensor) -> Tensor:
    """Noise cut off to whole levels and added, the sum clipped; noise: [B, H, W, C or 1] float32 in levels."""
    return (images + noise.trunc()).clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Kernels:
    """weights: [B, K] of a symmetric filter, K odd, 0 beyond its own size; sizes: [B] odd."""

    weights: Uniforms
    sizes: Indices


class Blur(PixelTransform):
    """Of albumentations' GaussianBlur."""

    num_uniforms = 2

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        self._sigma, self._size = transform.sigma_limit, transform.blur_limit
        if self._sigma[0] <= 0:
            raise CannotMatchError(f"sigma_limit begins at {self._sigma[0]}; expected more than 0")
        self._most = max(int(self._sigma[1] * 3.5) if self._size[0] == 0 else 0, self._size[1] // 2)  # the largest radius

    def draw(self, uniforms: Uniforms) -> Kernels:
        sigma, size = between(uniforms[:, 0], self._sigma), whole(uniforms[:, 1], *self._size)
        radius = np.where(size == 0, (sigma * 3.5).astype(np.int64), size // 2)
        steps = np.arange(-self._most, self._most + 1)
        weights = np.exp(-0.5 * (steps / sigma[:, None]) ** 2) * (np.abs(steps) <= radius[:, None])
        return Kernels(weights / weights.sum(1, keepdims=True), 2 * radius + 1)

    def apply(self, images: Tensor, params: Kernels) -> Tensor:
        return convolve(images, params)


def convolve(images: Tensor, kernels: Kernels) -> Tensor:
    """[B, H, W, C] uint8 filtered along both axes, one kernel per sample, the picture mirrored at its edges (reflect_101)."""
    most = kernels.weights.shape[1] // 2
    if is_native(images):
        given = images.numpy()
        out = np.empty_like(given)
        for before, after, weights, size in zip(given, out, kernels.weights, kernels.sizes.tolist(), strict=True):
            own = weights[most - size // 2 : most + size // 2 + 1]
            cv2.sepFilter2D(before, -1, own, own, after)
        return torch.from_numpy(out)
    batch, height, width, channels = images.shape
    filters = to_device(kernels.weights.astype(np.float32), images).repeat_interleave(channels, 0)[:, None, None]  # [B*C, 1, 1, K]
    pixels = images.permute(0, 3, 1, 2).to(torch.float32)
    pixels = pixels.index_select(2, to_device(_mirrored(height, most), images)).index_select(3, to_device(_mirrored(width, most), images))
    pixels = pixels.reshape(1, batch * channels, height + 2 * most, width + 2 * most)
    pixels = F.conv2d(F.conv2d(pixels, filters, groups=batch * channels), filters.transpose(2, 3), groups=batch * channels)
    return pixels.round_().clamp_(0, 255).to(torch.uint8).view(batch, channels, height, width).permute(0, 2, 3, 1).contiguous()


def _mirrored(size: int, margin: int) -> Indices:
    """Which row each row of a picture with mirrored margins is."""
    period = max(2 * size - 2, 1)
    places = np.arange(-margin, size + margin) % period
    return np.minimum(places, period - places) if size > 1 else np.zeros_like(places)


@dataclass(frozen=True)
class Holes:
    """Rectangles.

    Args:
        corners: [B, n, 4] x_min, y_min, x_max, y_max; empty ones change nothing.
        keys: [B] what random fills are drawn from.
    """

    corners: Indices
    keys: Uniforms


class Dropout(PixelTransform):
    """Of albumentations' CoarseDropout."""

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        self._fill = transform.fill
        if isinstance(self._fill, str) and self._fill.startswith("inpaint"):
            raise CannotMatchError(f"fill is {self._fill}; expected numbers, random or random_uniform")
        if not isinstance(self._fill, str):
            if not isinstance(self._fill, int | float) and len(self._fill) != shape.channels:
                raise CannotMatchError(f"fill has {len(self._fill)} values for {shape.channels} channels")
            self._fill = [int(value) for value in channel_values(self._fill, shape.channels)]
        self._fill_mask = None if transform.fill_mask is None else int(channel_values(transform.fill_mask, 1, "fill_mask")[0])
        self._count = transform.num_holes_range
        self._heights, self._widths = transform.hole_height_range, transform.hole_width_range
        self._in_pixels = self._heights[1] >= 1
        self.num_uniforms = 2 + 4 * self._count[1]

    def draw(self, uniforms: Uniforms) -> Holes:
        height, width = self.shape[:2]
        most = self._count[1]
        for_height, for_width, for_y, for_x = uniforms[:, 2:].reshape(-1, 4, most).swapaxes(0, 1)
        h, w = self._sizes(for_height, self._heights, height), self._sizes(for_width, self._widths, width)
        y, x = whole(for_y, 0, height - h), whole(for_x, 0, width - w)
        exists = np.arange(most) < whole(uniforms[:, 0], *self._count)[:, None]
        return Holes(np.stack([x, y, x + w, y + h], -1) * exists[..., None], uniforms[:, 1])

    def apply(self, images: Tensor, params: Holes) -> Tensor:
        if isinstance(self._fill, str):
            return self._fill_randomly(images, params)
        if is_native(images):
            return torch.from_numpy(_with_holes(images.numpy(), params, self._fill))
        values = torch.tensor(self._fill, dtype=torch.uint8, device="cpu").to(images.device, non_blocking=True)
        return torch.where(covered(params, images).any(1)[..., None], values, images)

    def apply_to_mask(self, masks: Tensor, params: Holes) -> Tensor:
        return (
            masks if self._fill_mask is None else masks.masked_fill(covered(params, masks.movedim(1, -1)).any(1)[:, None], self._fill_mask)
        )

    def _sizes(self, uniforms: Uniforms, limits: tuple[float, float], most: int) -> Indices:
        if self._in_pixels:
            return whole(uniforms, int(limits[0]), int(min(limits[1], most)))
        return (most * between(uniforms, limits)).astype(np.int64)

    def _fill_randomly(self, images: Tensor, params: Holes) -> Tensor:
        batch, height, width, channels = images.shape
        holes = covered(params, images)
        if self._fill == "random":
            fill = random_bits(params.keys, height * width * channels, images.device).to(torch.uint8).view(images.shape)
            return torch.where(holes.any(1)[..., None], fill, images)
        fills = random_bits(params.keys, holes.shape[1] * channels, images.device).to(torch.uint8).view(batch, -1, 1, 1, channels)
        for hole, fill in zip(holes.unbind(1), fills.unbind(1), strict=True):  # a later hole covers an earlier one
            images = torch.where(hole[..., None], fill, images)
        return images


def _with_holes(pixels: npt.NDArray[np.uint8], holes: Holes, fill: Sequence[int]) -> npt.NDArray[np.uint8]:
    out = pixels.copy()
    for picture, corners in zip(out, holes.corners.tolist(), strict=True):
        for x_min, y_min, x_max, y_max in corners:
            picture[y_min:y_max, x_min:x_max] = fill
    return out


def covered(holes: Holes, images: Tensor) -> Tensor:
    """[B, n, H, W] bool: the pixels of each hole, in pictures [B, H, W, C]."""
    height, width = images.shape[1:3]
    rows, columns = np.arange(height), np.arange(width)
    x_min, y_min, x_max, y_max = holes.corners[..., None].transpose(2, 0, 1, 3)
    in_row, in_column = to_device((rows >= y_min) & (rows < y_max), images), to_device((columns >= x_min) & (columns < x_max), images)
    return in_row[:, :, :, None] & in_column[:, :, None, :]
