"""Random numbers that are a pure function of who asks: no state, no order, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Uniforms = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_WORD = 2**64
_GOLDEN = 0x9E3779B97F4A7C15
_TO_UNIT = 2.0**-53


@dataclass(frozen=True)
class Draws:
    """What the samples of one batch are drawn from.

    Args:
        entropy: numbers that all samples share, such as `Order.entropy(epoch, 0)[:-1]` (seed, stream, epoch).
        positions: [B] the position of each sample in the epoch.

    A sample's numbers depend on `entropy` and its own position only, so it looks the same in any batch.

    >>> one, both = Draws((5, 1, 0), np.array([7])), Draws((5, 1, 0), np.array([3, 7]))
    >>> bool((one.uniforms(4)[0] == both.uniforms(4)[1]).all())
    True
    """

    entropy: Sequence[int]
    positions: Indices

    def __len__(self) -> int:
        return len(self.positions)

    def uniforms(self, count: int) -> Uniforms:
        """[B, count] in [0, 1); column k does not depend on `count`.

        Source: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), started from a hash of entropy and position.
        """
        start = _start(tuple(self.entropy))
        own = _mixed(_mixed(self.positions.astype(np.uint64) * np.uint64(_GOLDEN) ^ np.uint64(start)))
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        numbers: Uniforms = (_mixed(own[:, None] + steps) >> np.uint64(11)).astype(np.float64) * _TO_UNIT
        return numbers


@lru_cache(maxsize=64)
def _start(entropy: tuple[int, ...]) -> int:
    start = 0
    for number in entropy:
        start = int(_mixed(np.array([((start ^ (number % _WORD)) + _GOLDEN) % _WORD], np.uint64))[0])
    return start


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def between(uniforms: Uniforms, limits: Sequence[float]) -> Uniforms:
    """As `random.uniform(*limits)`."""
    low, high = limits
    return low + (high - low) * uniforms


def whole(uniforms: Uniforms, low: int | Indices, high: int | Indices) -> Indices:
    """As `random.randint(low, high)`: both ends included."""
    return low + np.floor(uniforms * (np.asarray(high) - low + 1)).astype(np.int64)


def random_bits(keys: Uniforms, count: int, device: torch.device) -> Tensor:
    """[B, count] int32 of 32 random bits each, made on `device`; `keys`: [B] numbers in [0, 1) that choose the sequence.

    Source: the mixer lowbias32 (Wellons, github.com/skeeto/hash-prospector) over a counter, twice, keyed before each round.
    """
    words = np.floor(keys * 2.0**53).astype(np.uint64)
    halves = np.stack([words >> np.uint64(21), words & np.uint64(0xFFFFFFFF)]).astype(np.uint32).view(np.int32)
    first, second = torch.from_numpy(halves).to(device, non_blocking=True)[:, :, None]
    counter = torch.arange(count, dtype=torch.int32, device=device).mul_(_signed(0x9E3779B9))
    bits = _scrambled(counter ^ first)
    return _scrambled(bits.bitwise_xor_(second))


def random_normals(keys: Uniforms, count: int, device: torch.device) -> Tensor:
    """[B, count] float32 from the standard normal distribution, by Box and Muller; none is beyond 5.8."""
    pairs = (count + 1) // 2
    bits = random_bits(keys, 2 * pairs, device).bitwise_right_shift_(8).bitwise_and_(0xFFFFFF)
    units = bits.to(torch.float32).add_(1).mul_(2.0**-24)  # in (0, 1]: the logarithm is finite
    radius = units[:, :pairs].log().mul_(-2).sqrt_()
    angle = units[:, pairs:] * (2 * np.pi)
    return torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], 1)[:, :count]


def _scrambled(bits: Tensor) -> Tensor:
    """In place; torch shifts int32 arithmetically, so the sign's copies are masked away."""
    bits ^= (bits >> 16).bitwise_and_(0xFFFF)
    bits *= 0x7FEB352D
    bits ^= (bits >> 15).bitwise_and_(0x1FFFF)
    bits *= _signed(0x846CA68B)
    bits ^= (bits >> 16).bitwise_and_(0xFFFF)
    return bits


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
