"""Values made of tensors: stacked, cut and moved without knowing what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from toolkit.data.tree import concatenate, leaf_shapes, length, select, stack, to_device


@dataclass(frozen=True)
class Face:
    points: Tensor
    mask: Tensor | tuple[Tensor, ...]
    name: str = "face"


def face(side: int) -> Face:
    return Face(torch.full((2,), float(side)), torch.full((side, side), side))


class Moves(TorchFunctionMode):
    """Notes for every tensor that is moved whether the host waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.non_blocking: list[bool] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.to:
            self.non_blocking.append(kwargs["non_blocking"])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("device", "non_blocking"), [("cpu", False), ("meta", True)])
def test_what_comes_to_the_host_is_waited_for_and_what_leaves_it_is_not(device: str, non_blocking: bool) -> None:
    with Moves() as moves:
        moved = to_device((face(1), torch.zeros(3)), torch.device(device))
    assert moves.non_blocking == [non_blocking] * 3
    assert [moved[0].points.device.type, moved[1].device.type] == [device, device]


def test_tensors_of_one_shape_are_stacked_and_others_stay_apart() -> None:
    batch = stack([face(1), face(2)])
    assert batch.points.tolist() == [[1, 1], [2, 2]]
    assert isinstance(batch.mask, tuple)
    assert [mask.tolist() for mask in batch.mask] == [[[1]], [[2, 2], [2, 2]]]
    assert batch.name == "face"


def test_a_batch_whose_masks_happen_to_agree_is_as_ragged_as_the_others() -> None:
    assert leaf_shapes(face(2)) == ((2,), (2, 2))
    assert isinstance(stack([face(2), face(2)], uniform=(True, False)).mask, tuple)


def test_one_sample_several_and_a_stretch_are_cut_out() -> None:
    batch = stack([face(1), face(2), face(3)])
    assert select(batch, 1).mask.tolist() == [[2, 2], [2, 2]]  # type: ignore[union-attr]
    assert select(batch, torch.tensor([2, 0])).points[:, 0].tolist() == [3, 1]
    assert [len(mask) for mask in select(batch, torch.tensor([2, 0])).mask] == [3, 1]
    assert length(select(batch, slice(0, 2))) == 2


def test_batches_are_joined_in_order() -> None:
    ragged = (True, False)
    joined = concatenate([stack([face(1)], ragged), stack([face(3), face(2)], ragged)])
    assert joined.points[:, 0].tolist() == [1, 3, 2]
    assert [len(mask) for mask in joined.mask] == [1, 3, 2]
