"""Every optimizer of timm by its name there: `timm/lamb`, `timm/nadamw`, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from torch.optim import Optimizer

from toolkit.errors import ConfigError
from toolkit.training.optim import NotNegative, Params, Rate, Share


def timm_optimizer(name: str) -> Callable[..., Any] | None:
    """The factory of timm's optimizer `name`, or None."""
    return partial(build_timm_optimizer, name) if name in timm_optimizer_names() else None


def timm_optimizer_names() -> Iterable[str]:
    """Every optimizer of timm that needs no package of its own."""
    import timm.optim

    return cast(list[str], timm.optim.list_optimizers(exclude_filters=["apex*", "bnb*", "fused*"]))


def build_timm_optimizer(
    name: str,
    params: Params,
    /,
    *,
    lr: Rate,
    weight_decay: NotNegative = 0.0,
    momentum: Share | None = None,
    betas: tuple[Share, ...] | None = None,
    eps: Rate | None = None,
) -> Optimizer:
    """An optimizer of timm.

    Args:
        lr: learning rate.
        weight_decay: as the optimizer understands it; for all parameters.
        momentum: of optimizers that have one.
        betas: decay rates of the running means, of optimizers that have them.
        eps: added to the denominator, of optimizers that have one.

    Raises: ConfigError if the optimizer has no such option or cannot do with its value.
    """
    import timm.optim

    given = {"momentum": momentum, "betas": betas, "eps": eps}
    options = {option: value for option, value in given.items() if value is not None}
    try:
        cls = timm.optim.get_optimizer_class(name, bind_defaults=True)
        return cast(Optimizer, cls(params, lr=lr, weight_decay=weight_decay, **options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer timm/{name}: {error}; change or leave out the option it speaks of") from error
