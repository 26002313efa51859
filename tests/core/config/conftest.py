"""A registry of small made-up components: a pose task with two data sets, models, losses and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Lt

from toolkit.extension import Origin, Registrar, Registry


class Backbone:
    component_kind: ClassVar[str] = "backbone"


class Head:
    component_kind: ClassVar[str] = "head"


class PoseTask:
    """Keypoints of people."""

    default_loss = "keypoint_l2"
    default_metrics = ("pcp",)
    default_plots = ()

    def __init__(self, info: Any, /, *, flip: bool = False) -> None: ...


class ClockTask:
    """The time on a clock; it names no default loss."""

    def __init__(self, info: Any, /) -> None: ...


class Lsp:
    """Leeds Sports Pose.

    Args:
        root: folder below the data folder.
    """

    def __init__(self, split: str, /, *, root: Path = Path("lsp")) -> None: ...


class SyntheticPeople:
    """Stick figures."""

    def __init__(self, split: str, /, *, size: Annotated[int, Ge(1)] = 1000) -> None: ...


class DeepPose:
    """Keypoint regression refined by a cascade of crops.

    Args:
        backbone: from crops to features.
        stages: how many networks follow each other.
        dropout: share of features that is zeroed.
    """

    def __init__(
        self,
        info: Any,
        /,
        *,
        backbone: Backbone,
        stages: Annotated[int, Ge(1)] = 3,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.6,
        betas: tuple[float, float] = (0.9, 0.999),
        head: Head | None = None,
    ) -> None: ...


class Composed:
    def __init__(self, info: Any, /, *, backbone: Backbone, head: Head) -> None: ...


@dataclass(frozen=True)
class Border:
    """How a picture is continued.

    fill: grey value.
    """

    fill: Annotated[int, Ge(0)] = 0
    mode: Literal["constant", "mirror"] = "constant"

    def __post_init__(self) -> None:
        if self.mode == "mirror" and self.fill:
            raise ValueError("fill is not used with mode mirror")


class Cascade:
    def __init__(
        self, info: Any, /, *, parts: tuple[Backbone, ...] = (), border: Border = Border(fill=7), names: dict[str, float] | None = None
    ) -> None: ...


def vgg(input_shape: Any, /, *, pretrained: bool = False) -> None: ...


def linear(in_shape: Any, info: Any, /, *, width: int | Literal["auto"] = "auto") -> None: ...


def keypoint_l2(info: Any, /, *, weight: Annotated[float, Gt(0)] = 1.0) -> None: ...


def pcp(info: Any, /) -> None: ...


def pdj(info: Any, /, *, thresholds: tuple[float, ...] = (0.2,)) -> None: ...


def adam(params: Any, /, *, lr: Annotated[float, Gt(0)] = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> None: ...


def cosine(steps: int, /, *, warmup: float = 0.0) -> None: ...


class AnyTransform:
    """A factory that checks its own options, as the wrapped albumentations do."""

    def toolkit_check_options(self, options: dict[str, Any]) -> list[tuple[str, str]]:
        problems = [("p", "p must be at most 1")] if options.get("p", 0) > 1 else []
        for index, item in enumerate(options.get("transforms", [])):
            problems += [(f"transforms.{index}.{path}", message) for path, message in self.toolkit_check_options(item)]
        return problems + ([("", "needs max_size or scale")] if options.get("empty") else [])

    def __call__(self, **options: Any) -> None: ...


@pytest.fixture
def registry() -> Registry:
    core = Registrar(Origin("core", "vision-toolkit", "0.1.0"))
    core.model("composed", Composed)
    core.backbone("vgg16_bn", vgg)
    core.head("linear", linear)
    core.optimizer("adam", adam)
    core.schedule("cosine", cosine)
    core.family("transform", "", lambda name: AnyTransform() if name[:1].isupper() else None, lambda: ["HorizontalFlip"])
    pose = Registrar(Origin("pose", "toolkit-pose", "1.0"))
    pose.task("pose", PoseTask)
    pose.dataset("lsp", Lsp, synthetic="synthetic_people")
    pose.dataset("synthetic_people", SyntheticPeople)
    pose.dataset("mpii", Lsp)
    pose.model("deeppose", DeepPose)
    pose.model("cascade", Cascade)
    pose.loss("keypoint_l2", keypoint_l2)
    pose.metric("pcp", pcp)
    pose.metric("pdj", pdj)
    clock = Registrar(Origin("clock", "toolkit-clock", "1.0"))
    clock.task("clock", ClockTask)
    registry = Registry()
    for registrar in (core, pose, clock):
        registry.add(registrar)
    return registry
