"""`patchcore`: every good patch is remembered; a strange one is far from all of them."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from toolkit.models.model import Backbone
from toolkit_anomaly.models.patch_features import PatchFeatures, feature_shape, joined
from toolkit_anomaly.types import AnomalyInfo, PatchScores

_CHUNK = 4096
"""Patches that are compared with the memory at a time: 4096 x 20,000 distances are 330 MB."""


class PatchCore(nn.Module):
    """PatchCore (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022).

    Fitted in one pass (`fit: {name: one_pass}`). Each layer's features are averaged over 3x3 neighbours in the layer's own
    size, then enlarged to the finest layer and put side by side (3.1); a greedy coreset of them is the memory (3.2). A patch
    scores its distance to the nearest remembered one; a picture the score of its strangest patch, weighted by how lonely the memory is
    there (equation 7). Without pretrained weights the features are those of a random network.

    Args:
        backbone: the network; frozen.
        layers: names of modules within it whose maps are put together; none: its own output. ("body.layer2", "body.layer3") for a
            torchvision ResNet.
        share: of all training patches that is remembered; at least one.
        projection: the coreset is chosen in so many random directions of the features, as in the paper; 0 takes the features themselves.
        neighbours: of the strangest patch's nearest memory, by which its picture's score is weighted; 1 leaves it unweighted.
        seed: of the projection and of the first remembered patch.
    """

    bank: Tensor

    def __init__(
        self,
        info: AnomalyInfo,
        /,
        *,
        backbone: Backbone,
        layers: tuple[str, ...] = (),
        share: Annotated[float, Gt(0), Le(1)] = 0.01,
        projection: Annotated[int, Ge(0)] = 128,
        neighbours: Annotated[int, Ge(1)] = 9,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        self.features = PatchFeatures(backbone, layers)
        self.share = share
        self.projection = projection
        self.neighbours = neighbours
        self.seed = seed
        depth, self.height, self.width = feature_shape(self.features, info.input_shape)
        self.register_buffer("bank", torch.zeros(1, depth))
        self._observed: list[Tensor] = []

    def forward(self, images: Tensor) -> PatchScores:
        """[B, C, H, W] -> the distance of every patch to the memory [B, H', W'], and a score for each picture."""
        patches = self._patches(images)  # [B, places, D]
        with torch.autocast(images.device.type, enabled=False):  # distances are differences of large numbers
            return self._scores(images, patches)

    def _scores(self, images: Tensor, patches: Tensor) -> PatchScores:
        distance, nearest = nearest_in(self.bank, patches.flatten(0, 1))
        distance, nearest = distance.view(len(images), -1), nearest.view(len(images), -1)
        strangest = distance.argmax(dim=1, keepdim=True)  # [B, 1]
        highest = distance.gather(1, strangest)
        weight = self._loneliness(patches, strangest, nearest.gather(1, strangest), highest)
        return PatchScores(images, distance.view(-1, self.height, self.width), highest * weight)

    def observe(self, images: Tensor) -> None:
        """Take in training pictures [B, C, H, W]; their patches wait in the host's memory."""
        self._observed.append(self._patches(images).flatten(0, 1).cpu())

    def finish(self) -> None:
        """Choose the memory. Raises: ValueError if nothing was observed."""
        if not self._observed:
            raise ValueError("patchcore was shown no pictures")
        with torch.autocast(self.bank.device.type, enabled=False):
            self._choose()

    def _choose(self) -> None:
        patches = torch.cat(self._observed).to(self.bank.device)
        generator = torch.Generator().manual_seed(self.seed)
        first = int(torch.randint(len(patches), (1,), generator=generator))
        seen = patches
        if 0 < self.projection < patches.shape[1]:
            seen = patches @ (torch.randn(patches.shape[1], self.projection, generator=generator) / self.projection**0.5).to(patches)
        self.bank = patches[greedy_coreset(seen, max(1, round(self.share * len(patches))), first)]
        self._observed = []

    def _patches(self, images: Tensor) -> Tensor:
        """[B, places, D] float32, each averaged with its neighbours in its layer; those beyond the edge are left out of the mean."""
        averaged = [F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False) for maps in self.features(images)]
        return joined(averaged).flatten(2).mT.contiguous()

    def _loneliness(self, patches: Tensor, strangest: Tensor, nearest: Tensor, highest: Tensor) -> Tensor:
        """[B, 1] 1 - softmax of the distance to the nearest memory among the distances to that memory's neighbours (equation 7)."""
        if self.neighbours == 1 or len(self.bank) < 2:
            return torch.ones_like(highest)
        patch = patches.gather(1, strangest[..., None].expand(-1, -1, patches.shape[2]))  # [B, 1, D]
        memory = self.bank[nearest[:, 0]]  # [B, D]
        beside = distances(memory, self.bank).topk(min(self.neighbours, len(self.bank)), largest=False).indices  # [B, K], itself first
        away = torch.linalg.vector_norm(patch - self.bank[beside], dim=2)  # [B, K]
        return 1 - torch.exp(highest - torch.logsumexp(away, dim=1, keepdim=True))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """The memory is as long as it was when saved."""
        saved = state_dict.get(f"{prefix}bank")
        if saved is not None and saved.shape != self.bank.shape:
            self.bank = self.bank.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def distances(patches: Tensor, bank: Tensor) -> Tensor:
    """[N, M] Euclidean distances of [N, D] to [M, D], exact to float32 rounding also where they are small."""
    return torch.cdist(patches, bank, compute_mode="donot_use_mm_for_euclid_dist")


def nearest_in(bank: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """For [N, D] patches the distance [N] to the nearest of [M, D] and its index [N].

    The nearest is found by matrix products, whose rounding could only confuse two that are equally near; its distance is exact.
    """
    squares = bank.square().sum(dim=1)
    parts = torch.split(patches, _CHUNK)
    found = [(squares - 2 * (part @ bank.T)).argmin(dim=1) for part in parts]
    nearest = torch.cat(found)
    return torch.linalg.vector_norm(patches - bank[nearest], dim=1), nearest


def greedy_coreset(points: Tensor, count: int, first: int) -> Tensor:
    """[count] indices of [N, D] points: after `first` always the one farthest from all chosen so far (k-center, 2-approximate).

    >>> greedy_coreset(torch.tensor([[0.0], [1.0], [5.0], [7.0]]), 3, first=0).tolist()
    [0, 3, 2]
    """
    chosen = torch.empty(count, dtype=torch.int64, device=points.device)
    squares = points.square().sum(dim=1)
    nearest = torch.full((len(points),), torch.inf, device=points.device)
    latest = torch.tensor(first, device=points.device)
    for place in range(count):
        chosen[place] = latest
        point = points[latest]
        nearest = torch.minimum(nearest, squares - 2 * (points @ point) + point.square().sum())
        nearest[latest] = -torch.inf  # a chosen one is never the farthest again, also where several are equal
        latest = nearest.argmax()
    return chosen
