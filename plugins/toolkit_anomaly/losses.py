"""How badly a picture was reconstructed: one value per sample. The pictures stand in the output; `encoded` is not read.

Every loss takes the difference that the map of the same name shows (`difference.py`), and averages it over the pixels.
"""

from __future__ import annotations

from abc import ABC
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from toolkit.errors import ConfigError
from toolkit_anomaly.difference import Difference, difference_map, foreground
from toolkit_anomaly.types import AnomalyInfo, AnomalyOutput, PatchScores, Reconstruction

Foreground = Annotated[float, Gt(0), Lt(1)] | None


class _Averaged(ABC):
    """One difference map, averaged."""

    difference: ClassVar[Difference]
    term: ClassVar[str]

    def __init__(self, info: AnomalyInfo, /, *, foreground: Foreground = None) -> None:
        self.foreground = foreground

    def __call__(self, output: AnomalyOutput, encoded: object) -> dict[str, Tensor]:
        """The one term."""
        return {self.term: _mean(output, self.difference, self.foreground)}


class ReconstructionMse(_Averaged):
    """Mean squared difference of picture and reconstruction.

    Args:
        foreground: only pixels count that differ by more than this from the colour of the picture's own edge.
    """

    difference = "l2"
    term = "mse"


class ReconstructionL1(_Averaged):
    """Mean absolute difference of picture and reconstruction.

    Args:
        foreground: only pixels count that differ by more than this from the colour of the picture's own edge.
    """

    difference = "l1"
    term = "l1"


class Ssim(_Averaged):
    """Structural dissimilarity, the mean of (1 - SSIM) / 2 (Bergmann et al., VISAPP 2019, train with SSIM in this role).

    Args:
        foreground: only pixels count that differ by more than this from the colour of the picture's own edge.
    """

    difference = "ssim"
    term = "ssim"


class SsimL1:
    """Structural dissimilarity and absolute difference together (Zhao, Gallo, Frosio, Kautz, IEEE TCI 2017, weight them 0.84 : 0.16).

    Args:
        ssim_weight: of the structural part; the absolute difference has the rest.
        foreground: only pixels count that differ by more than this from the colour of the picture's own edge.
    """

    def __init__(self, info: AnomalyInfo, /, *, ssim_weight: Annotated[float, Ge(0), Le(1)] = 0.84, foreground: Foreground = None) -> None:
        self.ssim_weight = ssim_weight
        self.foreground = foreground

    def __call__(self, output: AnomalyOutput, encoded: object) -> dict[str, Tensor]:
        """Two terms, `ssim` and `l1`, each with its weight."""
        return {
            "ssim": self.ssim_weight * _mean(output, "ssim", self.foreground),
            "l1": (1 - self.ssim_weight) * _mean(output, "l1", self.foreground),
        }


class Gradient:
    """Mean absolute difference of the slopes of picture and reconstruction, with the absolute difference itself beside it.

    Slopes alone leave the brightness of a picture open.

    Args:
        weight: of the slopes; the absolute difference has weight 1.
        foreground: only pixels count that differ by more than this from the colour of the picture's own edge.
    """

    def __init__(self, info: AnomalyInfo, /, *, weight: Annotated[float, Gt(0)] = 1.0, foreground: Foreground = None) -> None:
        self.weight = weight
        self.foreground = foreground

    def __call__(self, output: AnomalyOutput, encoded: object) -> dict[str, Tensor]:
        """Two terms, `gradient` and `l1`."""
        return {
            "gradient": self.weight * _mean(output, "gradient", self.foreground),
            "l1": _mean(output, "l1", self.foreground),
        }


class MeanScore:
    """Mean score of a picture's patches: what `val/loss` is for methods that are fitted in one pass and minimise nothing."""

    def __init__(self, info: AnomalyInfo, /) -> None:
        pass

    def __call__(self, output: AnomalyOutput, encoded: object) -> dict[str, Tensor]:
        """One term, `mean_score`. Raises: ConfigError for models that give no scores of patches."""
        if not isinstance(output, PatchScores):
            raise _unfit(output, "PatchScores; take loss: mse, l1, ssim, ssim_l1 or gradient")
        return {"mean_score": output.patches.float().mean(dim=(1, 2))}


def _mean(output: AnomalyOutput, kind: Difference, distance: float | None) -> Tensor:
    """[B] the difference averaged over all pixels or those of the foreground. Raises: ConfigError for models without reconstruction."""
    if not isinstance(output, Reconstruction):
        raise _unfit(output, "a Reconstruction; take loss: mean_score")
    difference = difference_map(output.pictures, output.reconstruction, kind)
    if distance is None:
        return difference.mean(dim=(1, 2))
    with torch.no_grad():
        counted = foreground(output.pictures, distance).float()
    return (difference * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp_min(1)


def _unfit(output: object, needs: str) -> ConfigError:
    return ConfigError(f"the model gives {type(output).__name__}; this loss needs {needs}", path="loss")
