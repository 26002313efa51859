"""`lr_find`: the learning-rate range test of a config, with its picture and its suggestion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from toolkit.build import build_run
from toolkit.config import load_config
from toolkit.errors import ConfigError
from toolkit.extension.discovery import load_plugins
from toolkit.reporting.figures import BLUE, GREEN, INK, MUTED, ORANGE, new_figure, save_figure
from toolkit.reporting.files import write_json_atomic
from toolkit.training.listener import SilentListener
from toolkit.training.lr_find import RULE, RangeTest, range_test
from toolkit.training.runtime import active, choose_runtime


def lr_find(
    config: Path,
    overrides: Iterable[str] = (),
    *,
    low: float = 1e-5,
    high: float = 1.0,
    steps: int = 200,
    out: Path | None = None,
    synthetic: bool = False,
    plugin_files: Sequence[Path] = (),
) -> tuple[RangeTest, Path]:
    """Run the test on the config's first phase; writes lr_find.png and lr_find.json.

    Args:
        low, high: learning rates at the first and the last step, of the first parameter group; the others keep their ratio to it.
        steps: batches of the config's size.
        out: folder of the two files; default runs/lr_find/<config name>.

    Returns: the test and the folder.
    Raises: ConfigError as for a run, or where the loss diverges at once.
    """
    overrides = tuple(overrides)
    plugins = load_plugins(plugin_files)
    checked, _ = load_config(config, overrides=overrides, synthetic=synthetic, registry=plugins.registry)
    if not checked.fit.phases:
        raise ConfigError(f"{config}: fit: {checked.fit.name} has no learning rate to find; a range test needs 'phases'")
    folder = out if out is not None else Path("runs") / "lr_find" / config.stem
    runtime = choose_runtime(checked.runtime)
    with active(runtime):
        run = build_run(checked, plugins, runtime, synthetic=synthetic)
        try:
            test = range_test(run.job(folder), SilentListener(), low=low, high=high, steps=steps)
        finally:
            run.close()
    phase = checked.fit.phases[0]
    facts = {
        "config": config.name,
        "overrides": list(overrides),
        "synthetic": synthetic,
        "optimizer": phase.optimizer.name,
        "batch_size": checked.fit.batch_size,
        "seed": checked.seed,
        "runtime": str(runtime),
        "low": low,
        "high": high,
        "steps": steps,
        "rule": RULE,
    }
    _draw(test, folder / "lr_find.png", f"{config.stem}, {phase.optimizer.name}, batch {checked.fit.batch_size}")
    write_json_atomic(folder / "lr_find.json", facts | asdict(test))
    return test, folder


def _draw(test: RangeTest, path: Path, title: str) -> None:
    figure, (axes,) = new_figure(width_in=6.4, height_in=4.2)
    axes.plot(test.rates, test.losses, color=BLUE, alpha=0.3, linewidth=1, label="loss of each batch")
    axes.plot(test.rates, test.smoothed, color=BLUE, linewidth=2, label="smoothed")
    for rate, label, color in (
        (test.suggested, "steepest fall", ORANGE),
        (test.tenth_of_lowest, "a tenth of the lowest", GREEN),
    ):
        if rate is not None:
            axes.axvline(rate, color=color, linewidth=1.2, linestyle="--", label=f"{label}: {rate:.2g}")
    axes.set_xscale("log")
    top = max(test.smoothed[: max(2, test.smoothed.index(min(test.smoothed)) + 1)])
    bottom = min(min(test.losses), min(test.smoothed))
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.25 * (top - bottom))  # what diverges leaves the picture
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title(title, loc="left", color=INK, size=11, weight="bold")
    figure.legend(fontsize=9, edgecolor="none", loc="outside lower center", ncols=2)
    if test.diverged:
        axes.axvline(test.rates[-1], color=MUTED, linewidth=0.9, linestyle=":")
        axes.annotate("diverged ", (test.rates[-1], 0.98), xycoords=("data", "axes fraction"), ha="right", va="top", size=8.5, color=MUTED)
    save_figure(figure, path)
