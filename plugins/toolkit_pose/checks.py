"""What a pose config may not combine, told before anything is trained: a cascade's second phase begins hours after its first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.config.run_config import ComponentConfig, RunConfig


def config_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """(path, message) of each phase that trains no stage of the cascade, several, or one too early; of a loss without what it needs.

    Models and heads of other plugins are not known here; what is wrong with them is told when they run.
    """
    model, head = config.model, config.model.options.get("head")
    if model.name == "deeppose" and model.options["stages"] > 1:
        yield from _phase_problems(config, model.options["stages"])
    head = head if isinstance(head, ComponentConfig) and head.name in ("keypoints", "heatmap") else None
    if model.name != "deeppose" and head is None:
        return
    gives: dict[str, Any] = model.options if head is None else head.options
    if config.loss.name == "heatmap" and (head is None or head.name != "heatmap"):
        yield "loss", "heatmap needs heat maps of the whole picture; use model pose_net with the head heatmap, or loss keypoint_l1"
    if config.loss.name == "rle" and not gives["likelihood"]:
        owner = "model" if head is None else "model.head"
        yield "loss", f"rle needs a network that gives deviations; set {owner}.likelihood to true, or choose loss keypoint_l1"


def _phase_problems(config: RunConfig, count: int) -> Iterator[tuple[str, str]]:
    """Stages are trained one after the other; a run that begins with a whole cascade's weights (`pretrained`) may begin anywhere."""
    known = [f"stage{number}" for number in range(1, count + 1)]
    latest = count if config.pretrained else 0
    for number, phase in enumerate(config.fit.phases):
        names = {phase.train} if isinstance(phase.train, str) else set(phase.train)
        stages = {name.partition(".")[0] for name in names}
        path = f"fit.phases.{number}.train"
        if len(stages) != 1 or not stages <= set(known):
            trained = ", ".join(sorted(names))
            yield path, f"is {trained}, but the {count} stages of deeppose are trained one after the other; write one of {', '.join(known)}"
            continue
        stage = known.index(stages.pop()) + 1
        if stage > latest + 1:
            yield path, f"is stage{stage}, which refines stage{latest + 1}; put a phase that trains stage{latest + 1} before it"
        latest = max(latest, stage)
