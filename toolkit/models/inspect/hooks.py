"""Look at what a module gives while the network runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def outputs_of(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[dict[str, Tensor]]:
    """The output of each named module's last call, by name, filled as the network runs; part of the graph of gradients.

    What follows is given a copy, so that a layer that works in place does not change what was taken.
    """
    found: dict[str, Tensor] = {}

    def take(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if not isinstance(output, Tensor):
                return None
            found[name] = output
            return output.clone()

        return hook

    handles = [module.register_forward_hook(take(name)) for name, module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
