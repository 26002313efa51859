"""`Task`: the one class that joins a plugin to the core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from torch import Tensor

from toolkit.data.sample import DataInfo, EncodedT, Split, TargetT

if TYPE_CHECKING:
    from toolkit.config.run_config import RunConfig

OutputT = TypeVar("OutputT")
PredictionT = TypeVar("PredictionT")


class Task(ABC, Generic[TargetT, EncodedT, OutputT, PredictionT]):
    """What a task is: how targets become network units and outputs become answers. `factory(info, /, *, options)`.

    Every method works on a batch and is a pure function of its arguments, the task's options and what was calibrated. The loop calls
    `encode` and `decode` on the device, so they must not copy to the host (no `.item()`, no `.cpu()`).
    """

    name: ClassVar[str]
    output_meaning: ClassVar[str] = ""
    """What the numbers of a model's output are, for programs that use an exported model without the toolkit; '' says nothing."""
    info_type: ClassVar[type[DataInfo]] = DataInfo
    """The class of `info`; run folders keep it as JSON, so that a trained model needs no data set."""
    default_loss: ClassVar[str]
    default_metrics: ClassVar[tuple[str, ...]]
    default_plots: ClassVar[tuple[str, ...]] = ()
    scores_training: ClassVar[bool] = True
    """Whether metrics say anything about training batches; on good pictures alone they do not, so that only losses are kept."""
    default_select: ClassVar[str] = "val/loss"
    """The validation score that chooses the best epoch where the config does not say."""

    def __init__(self, info: DataInfo, /) -> None:
        self.info = info

    @classmethod
    def config_problems(cls, config: RunConfig) -> Iterable[tuple[str, str]]:
        """What does not go together in a config of which each part is right: (path of the option, what is wrong and the remedy).

        `toolkit check` tells each with the option's line. Asked before anything is built or read.
        """
        return ()

    @abstractmethod
    def encode(self, targets: TargetT, size: tuple[int, int]) -> EncodedT:
        """A batch of targets after the transforms -> network units. `size`: H, W of the pictures."""

    @abstractmethod
    def decode(self, output: OutputT, to_original: Tensor) -> PredictionT:
        """A batch of outputs -> what a user would call the answer, in file units. `to_original`: [B, 3, 3]."""

    @abstractmethod
    def draw(self, image: Tensor, prediction: PredictionT, truth: Any | None) -> Tensor:
        """One sample as a picture: `image` [3, H, W] uint8 as in the file, one prediction, its truth if known -> [3, H', W'] uint8."""

    @abstractmethod
    def describe(self, prediction: PredictionT, size: tuple[int, int]) -> Mapping[str, Any]:
        """One prediction as JSON values, for `toolkit predict`. `size`: H, W of the file."""

    def readings(self, prediction: PredictionT) -> Mapping[str, PredictionT]:
        """Every reading of a batch of predictions by name (stages, ways to decode); '' is the default one and always there."""
        return {"": prediction}

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader must know before he believes the scores, such as a choice made on test data.

        Told in the log, in results.json and on top of the report.
        """
        return ()

    @property
    def calibration_part(self) -> Split:
        """The part whose outputs `calibrate` sees; a task may answer "test" only for an option whose name says so."""
        return "validation"

    def calibrate(self, outputs: Iterable[OutputT]) -> Mapping[str, Tensor]:
        """What `decode` needs beyond the weights, such as a threshold, from the chosen weights' outputs (batches, in order).

        Called once, after fitting. The tensors live in the checkpoint; nothing where a task has nothing to calibrate.
        """
        return {}

    def use_calibration(self, calibration: Mapping[str, Tensor]) -> None:
        """Decode with what `calibrate` gave from now on; before, `decode` does without."""

    def answer_with(self, reading: str) -> None:
        """Let '' of `readings` be this reading from now on.

        A task that overrides it has the best of its readings chosen, once, after fitting: by `fit.select.metric` on validation, the
        first of equals in the order of their names. The name lives in the checkpoint. Without choice, as while the model is fitted,
        or where that score is the same for all (a loss), '' is what `decode` says.
        """

    def pictures(self, prediction: PredictionT, size: tuple[int, int]) -> Mapping[str, Tensor]:
        """Further pictures of one prediction for `toolkit predict`, by name: [1 or 3, H, W] uint8. `size`: H, W of the file."""
        return {}
