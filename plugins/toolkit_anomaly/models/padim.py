"""`padim`: how each place of a good picture looks, as a Gaussian."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from toolkit.errors import DataError
from toolkit.models.model import Backbone
from toolkit_anomaly.models.patch_features import PatchFeatures, feature_shape, joined
from toolkit_anomaly.types import AnomalyInfo, PatchScores


class Padim(nn.Module):
    """PaDiM (Defard, Setkov, Loesch, Audigier, ICPR Workshops 2020): one Gaussian per place, scores are Mahalanobis distances.

    Fitted in one pass (`fit: {name: one_pass}`). Mean and covariance are exact over all training pictures: sums in float64. The paper takes
    layer 1 to 3 of an ImageNet ResNet; without pretrained weights the features are those of a random network.

    Args:
        backbone: the network; frozen.
        layers: names of modules within it whose maps are put together; none: its own output. ("body.layer1", "body.layer2", "body.layer3")
            for a torchvision ResNet.
        dimensions: so many of the features are kept, drawn once; more than there are keeps all.
        seed: of that draw.
        ridge: added to the diagonal of every covariance (0.01 in the paper).
    """

    index: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(
        self,
        info: AnomalyInfo,
        /,
        *,
        backbone: Backbone,
        layers: tuple[str, ...] = (),
        dimensions: Annotated[int, Ge(1)] = 100,
        seed: Annotated[int, Ge(0)] = 0,
        ridge: Annotated[float, Gt(0)] = 0.01,
    ) -> None:
        super().__init__()
        self.features = PatchFeatures(backbone, layers)
        self.ridge = ridge
        depth, self.height, self.width = feature_shape(self.features, info.input_shape)
        kept = min(dimensions, depth)
        drawn = torch.randperm(depth, generator=torch.Generator().manual_seed(seed))[:kept].sort().values
        places = self.height * self.width
        self.register_buffer("index", drawn)
        self.register_buffer("mean", torch.zeros(places, kept))
        self.register_buffer("factor", torch.eye(kept).repeat(places, 1, 1))
        self._count = 0
        self._sum: Tensor | None = None
        self._outer: Tensor | None = None

    def forward(self, images: Tensor) -> PatchScores:
        """[B, C, H, W] -> the Mahalanobis distance of every place [B, H', W']."""
        away = self._patches(images) - self.mean[:, None]  # [places, B, D]
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has too few digits for inverse covariances
            scores = torch.linalg.vector_norm(away @ self.factor.mT, dim=2)  # [places, B]
        return PatchScores(images, scores.T.reshape(-1, self.height, self.width), images.new_empty(len(images), 0, dtype=torch.float32))

    def observe(self, images: Tensor) -> None:
        """Take in training pictures [B, C, H, W]."""
        patches = self._patches(images).double()  # [places, B, D]
        total, outer = patches.sum(dim=1), patches.mT @ patches
        self._sum = total if self._sum is None else self._sum + total
        self._outer = outer if self._outer is None else self._outer + outer
        self._count += len(images)

    def finish(self) -> None:
        """Means and covariances (divided by count - 1) of what was observed. Raises: DataError for fewer than two pictures."""
        if self._sum is None or self._outer is None or self._count < 2:
            raise DataError(f"padim was shown {self._count} pictures; a covariance needs at least 2")
        mean = self._sum / self._count
        covariance = (self._outer - self._count * mean[:, :, None] * mean[:, None, :]) / (self._count - 1)
        covariance += self.ridge * torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
        inverse = torch.linalg.inv(covariance)
        self.mean.copy_(mean)
        self.factor.copy_(torch.linalg.cholesky((inverse + inverse.mT) / 2).mT)  # |factor x| is the distance of x
        self._sum = self._outer = None
        self._count = 0

    def _patches(self, images: Tensor) -> Tensor:
        """[places, B, D] float32: for each place of the map its features in every picture."""
        maps: Tensor = joined(self.features(images)).index_select(1, self.index)
        return maps.flatten(2).permute(2, 0, 1)
