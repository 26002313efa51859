"""What a pose config may not combine, told before anything is trained: a cascade's second phase begins hours after its first."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.config.run_config import ComponentConfig, RunConfig
from toolkit.errors import ConfigError

PEAK_WITHOUT_MAPS = "is peak, but the stages have no heat maps; set model.heatmap, or leave it out"


def config_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """(path, message) of what a cascade's phases, average, choice and reading may not be; of a loss without what it needs.

    Models and heads of other plugins are not known here; what is wrong with them is told when they run.
    """
    model, head = config.model, config.model.options.get("head")
    if model.name == "deeppose":
        if model.options["heatmap"] is None and model.options["reading"] == "peak":
            yield "model.reading", PEAK_WITHOUT_MAPS
        if model.options["stages"] > 1:
            yield from _phase_problems(config, model.options["stages"])
            yield from _cascade_problems(config)
    head = head if isinstance(head, ComponentConfig) and head.name in ("keypoints", "heatmap") else None
    if model.name != "deeppose" and head is None:
        return
    gives = model.options if head is None else head.options
    if config.loss.name == "heatmap" and (head is None or head.name != "heatmap"):
        yield "loss", "heatmap needs heat maps of the whole picture; use model pose_net with the head heatmap, or loss keypoint_l1"
    if config.loss.name == "rle" and not gives["likelihood"]:
        owner = "model" if head is None else "model.head"
        yield "loss", f"rle needs a network that gives deviations; set {owner}.likelihood to true, or choose loss keypoint_l1"


def stage_to_train(train: str | tuple[str, ...], count: int, prepared: int) -> int:
    """Which of a cascade's `count` stages a phase trains, counted from 1; `prepared`: how many can be used when it begins.

    Raises: ConfigError if it trains none, several, or one whose forerunner is not prepared.
    """
    names = {train} if isinstance(train, str) else set(train)
    stages = {name.partition(".")[0] for name in names}
    known = [f"stage{number}" for number in range(1, count + 1)]
    if len(stages) != 1 or not stages <= set(known):
        raise ConfigError(f"a phase of deeppose trains one of {', '.join(known)}, not {', '.join(sorted(names))}; write a phase for each")
    stage = known.index(stages.pop()) + 1
    if stage > prepared + 1:
        missing = f"stage{prepared + 1}"
        raise ConfigError(f"stage{stage} refines the stages before it, but {missing} is not trained then; put a phase for it first")
    return stage


def _phase_problems(config: RunConfig, count: int) -> Iterator[tuple[str, str]]:
    prepared = count if config.pretrained else 0  # a whole cascade's weights may go on anywhere
    for number, phase in enumerate(config.fit.phases):
        try:
            stage = stage_to_train(phase.train, count, prepared)
        except ConfigError as error:
            yield f"fit.phases.{number}.train", str(error)
        else:
            prepared = stage  # those after it refined what it was


def _cascade_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.fit.ema is not None:
        yield "fit.ema", "would move stages on while a later one learns what they were; leave it out, or take one stage"
    first, _, rest = config.fit.select.metric.removeprefix("val/").partition("/")
    if re.fullmatch(r"stage\d+", first):
        yield "fit.select.metric", f"stages are scored apart from the second phase on; choose val/{rest}, which then also chooses the stage"
    if first == "loss":
        yield "fit.select.metric", "of a loss each phase has its own, so that it chooses no stage; choose val/pcp or another score"
