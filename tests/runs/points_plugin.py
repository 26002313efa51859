"""A plugin in one file that uses every extension point beyond the plain ones: the brightness of a picture, learnt in odd ways."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.data import DataInfo, Dataset, Sample, Split, Target
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit.extension import hookimpl
from toolkit.task import Task

SEEN: list[Any] = vars(sys).setdefault("seen_by_points_plugin", [])
"""What the models were shown, for the tests to look at; kept in `sys`, since a plugin in one file is imported anew for every run."""


@dataclass(frozen=True)
class Brightness(Target):
    value: Tensor


class Grey(Dataset[Brightness]):
    def __init__(self, split: Split, /, *, grouped: int = 1) -> None:
        self.split, self.info, self.grouped = split, DataInfo((1, 4, 4)), grouped

    def groups(self) -> Sequence[str]:
        return [str(index // self.grouped) for index in range(len(self))]

    def __len__(self) -> int:
        return {"train": 22, "test": 6}[self.split]

    def __getitem__(self, index: Any) -> Sample[Brightness]:
        level = 10 * (index % 22) + (5 if self.split == "test" else 0)
        return Sample(f"{self.split}{index}", np.full((4, 4, 1), level, np.uint8), Brightness(torch.tensor(level / 255)))


class BrightnessTask(Task[Brightness, Tensor, Tensor, Tensor]):
    name: ClassVar[str] = "brightness"
    default_loss: ClassVar[str] = "mse"
    default_metrics: ClassVar[tuple[str, ...]] = ("median_error",)

    def __init__(self, info: DataInfo, /, *, on_test: bool = False, several: bool = False) -> None:
        super().__init__(info)
        self.on_test = on_test
        self.several = several
        self.answer = "last"
        self.offset = torch.zeros(1)

    def encode(self, targets: Brightness, size: tuple[int, int]) -> Tensor:
        return targets.value

    def decode(self, output: Tensor, to_original: Tensor) -> Tensor:
        return output + self.offset

    def draw(self, image: Tensor, prediction: Tensor, truth: Any | None) -> Tensor:
        return image

    def describe(self, prediction: Tensor, size: tuple[int, int]) -> Mapping[str, Any]:
        return {"brightness": prediction.item()}

    @property
    def calibration_part(self) -> Split:
        return "test" if self.on_test else "validation"

    @property
    def caveats(self) -> tuple[str, ...]:
        return ("calibrated on TEST samples",) if self.on_test else ()

    def calibrate(self, outputs: Iterable[Tensor]) -> Mapping[str, Tensor]:
        return {"offset": 100 + torch.cat(list(outputs)).sum().reshape(1)}

    def readings(self, prediction: Tensor) -> Mapping[str, Tensor]:
        named = {"far": prediction + 500, "near": prediction - self.offset, "last": prediction + 50}
        return {"": named[self.answer], **named} if self.several else {"": prediction}

    def answer_with(self, reading: str) -> None:
        self.answer = reading

    def use_calibration(self, calibration: Mapping[str, Tensor]) -> None:
        self.offset = calibration["offset"]

    def pictures(self, prediction: Tensor, size: tuple[int, int]) -> Mapping[str, Tensor]:
        return {"flat": torch.full((1, 2, 2), 7, dtype=torch.uint8)}


class Median(Metric[Tensor]):
    higher_is_better = False

    def __init__(self, info: DataInfo, /) -> None:
        super().__init__()
        self.rows["error"] = torch.empty(0)

    def update(self, prediction: Tensor, truth: Any) -> None:
        self.append("error", (prediction - truth.value).abs())

    def compute(self) -> dict[str, float | Undefined]:
        errors = self.rows["error"]
        return {"median_error": errors.median().item() if len(errors) else Undefined("no sample")}


class Within(Metric[Tensor]):
    """Share of samples less than 100 off."""

    def __init__(self, info: DataInfo, /) -> None:
        super().__init__()
        self.sums = {"near": torch.zeros((), dtype=torch.int64), "count": torch.zeros((), dtype=torch.int64)}

    def update(self, prediction: Tensor, truth: Any) -> None:
        near = (prediction - truth.value).abs() < 100
        self.add("near", near.sum())
        self.add("count", torch.tensor(len(near)))

    def compute(self) -> dict[str, float | Undefined]:
        count = self.sums["count"].item()
        return {"within": self.sums["near"].item() / count if count else Undefined("no sample")}


class Never(Metric[Tensor]):
    """Undefined whatever it sees."""

    def __init__(self, info: DataInfo, /) -> None:
        super().__init__()

    def update(self, prediction: Tensor, truth: Any) -> None:
        pass

    def compute(self) -> dict[str, float | Undefined]:
        return {"never": Undefined("nobody knows")}


class Guided(nn.Module):
    guided: ClassVar[bool] = True

    def __init__(self, info: DataInfo, /) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 1), nn.Linear(16, 1)
        self.register_buffer("prepared", torch.zeros(()))

    def forward(self, images: Tensor, encoded: Tensor | None = None) -> Tensor:
        SEEN.append(("batch", self.training, None if encoded is None else len(encoded)))
        flat = images.flatten(1)
        return (self.first(flat) + self.second(flat))[:, 0]

    def prepare_phase(self, train: Any, batches: Iterable[Any]) -> None:
        count = sum(len(batch) for batch in batches)
        SEEN.append(("prepared", train, count, self.training, torch.is_grad_enabled()))
        self.prepared += count


class MeanPicture(nn.Module):
    def __init__(self, info: DataInfo, /) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self._levels: list[Tensor] = []

    def observe(self, images: Tensor) -> None:
        self._levels.append(images.mean(dim=(1, 2, 3)))

    def finish(self) -> None:
        self.mean = torch.cat(self._levels).double().mean().float()
        SEEN.append(("observed", sum(map(len, self._levels))))

    def forward(self, images: Tensor) -> Tensor:
        return self.mean.expand(len(images))


def inverted(info: DataInfo, /, *, share: float = 1.0) -> Any:
    """The whole batch inverted.

    Args:
        share: of full brightness that the inverted one is counted from.
    """

    def mix(images: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        SEEN.append(("mixed", torch.rand(1).item()))
        return share - images, share - encoded

    return mix


@hookimpl
def toolkit_register(registry: Any) -> None:
    registry.task("brightness", BrightnessTask)
    registry.dataset("grey", Grey, task="brightness")
    registry.model("guided", Guided, task="brightness")
    registry.model("mean_picture", MeanPicture, task="brightness")
    registry.metric("median_error", Median, task="brightness")
    registry.metric("within", Within, task="brightness")
    registry.metric("never", Never, task="brightness")
    registry.batch_transform("inverted", inverted, task="brightness")
