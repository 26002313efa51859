"""Phases: which part of a model learns, the rest being frozen."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from torch import nn

from toolkit.errors import ConfigError


@dataclass(frozen=True)
class TrainedPart:
    """The part of a model that a phase trains.

    names: of the submodules; empty for the whole model.
    """

    model: nn.Module
    names: tuple[str, ...]

    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer is given, each parameter once."""
        parts = [self.model.get_submodule(name) for name in self.names] or [self.model]
        return list(dict.fromkeys(parameter for part in parts for parameter in part.parameters()))

    def freeze_the_rest(self) -> None:
        """Switch gradients on for this part and off for the rest."""
        learning = set(self.parameters())
        for parameter in self.model.parameters():
            parameter.requires_grad_(parameter in learning)

    def train_mode(self) -> None:
        """Train mode for this part; frozen modules stay in eval mode, so that their batch-norm statistics keep still."""
        self.model.train(not self.names)
        for name in self.names:
            self.model.get_submodule(name).train()


def trained_part(model: nn.Module, train: str | tuple[str, ...], path: str = "fit.phases") -> TrainedPart:
    """The part that `fit.phases[].train` names: "all", or submodules by their dotted names.

    Args:
        path: of the option, for messages.

    Raises: ConfigError if the model has no such submodule or it has nothing to learn.
    """
    names = () if train == "all" else (train,) if isinstance(train, str) else train
    if not names and train != "all":
        raise ConfigError("an empty list trains nothing; write all, or name the parts that learn", path=path)
    known = {name for name, _ in model.named_modules() if name}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are: all, {', '.join(n for n, _ in model.named_children())}"
            raise ConfigError(f"the model has no part named '{name}'; {hint}", path=path)
    part = TrainedPart(model, names)
    if not part.parameters():
        raise ConfigError(f"{', '.join(names) or 'the model'} has nothing to learn", path=path)
    return part
