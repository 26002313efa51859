import hashlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from toolkit.errors import ResourceError
from toolkit.reporting import curves
from toolkit.reporting.curves import plot_curves
from toolkit.reporting.figures import PALETTE, new_figure, save_figure

ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "phase": "head", "train/loss": 2.0, "val/loss": 2.5, "train/accuracy": 0.3, "val/accuracy": 0.25, "lr": 0.1},
    {"epoch": 2, "phase": "head", "train/loss": 1.0, "val/loss": 1.5, "train/accuracy": 0.6, "val/accuracy": 0.5, "lr": 0.1},
    {"epoch": 3, "phase": "all", "train/loss": 0.5, "train/accuracy": 0.8, "val/accuracy/cat": 0.1, "lr": 0.01},
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """Every axes that a metric was drawn into."""
    axes_list: list[Axes] = []
    draw = curves._draw

    def keep(axes: Axes, *rest: Any) -> None:
        draw(axes, *rest)
        axes_list.append(axes)

    monkeypatch.setattr(curves, "_draw", keep)
    return axes_list


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    return {str(line.get_label()): [(x, y) for x, y in np.asarray(line.get_xydata()).tolist()] for line in axes.get_lines()}


def test_there_is_a_file_with_all_and_one_for_each_metric(tmp_path: Path) -> None:
    files = plot_curves(ROWS, tmp_path / "plots")
    assert [file.name for file in files] == ["curves.png", "curve_loss.png", "curve_accuracy.png"]
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 400


def test_training_and_validation_stand_together_with_their_own_epochs(drawn: list[Axes], tmp_path: Path) -> None:
    plot_curves(ROWS, tmp_path)
    assert [axes.get_title("left") for axes in drawn] == ["loss", "accuracy", "loss", "accuracy"]
    assert lines(drawn[0])["training"] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert lines(drawn[0])["validation"] == [(1, 2.5), (2, 1.5)]


def test_the_chosen_epoch_is_marked_where_it_has_a_score(drawn: list[Axes], tmp_path: Path) -> None:
    plot_curves(ROWS, tmp_path, best_epoch=2)
    assert lines(drawn[1])["chosen: epoch 2, 0.5"] == [(2, 0.5)]
    plot_curves(ROWS, tmp_path, best_epoch=3)
    assert not [label for label in lines(drawn[5]) if "chosen" in label]


def test_phases_are_named_only_where_there_are_several(drawn: list[Axes], tmp_path: Path) -> None:
    plot_curves(ROWS, tmp_path)
    assert [text.get_text() for text in drawn[0].texts] == ["head", "all"]
    plot_curves(ROWS[:2], tmp_path)
    assert [text.get_text() for text in drawn[4].texts] == []


def test_values_that_fall_far_are_drawn_on_a_logarithmic_scale_and_rising_ones_are_not(drawn: list[Axes], tmp_path: Path) -> None:
    plot_curves([{"epoch": epoch, "train/loss": 10.0**-epoch} for epoch in range(1, 5)], tmp_path)
    plot_curves([{"epoch": epoch, "train/loss": 4.0 - epoch} for epoch in range(1, 5)], tmp_path)
    plot_curves([{"epoch": epoch, "train/accuracy": 10.0 ** (epoch - 4)} for epoch in range(1, 5)], tmp_path)
    assert [axes.get_yscale() for axes in drawn] == ["log", "log", "linear", "linear", "linear", "linear"]


def test_a_single_epoch_can_be_drawn(tmp_path: Path) -> None:
    assert len(plot_curves(ROWS[:1], tmp_path, best_epoch=1)) == 3


def test_without_rows_there_are_no_files(tmp_path: Path) -> None:
    assert plot_curves([], tmp_path / "plots") == []
    assert plot_curves([{"epoch": 1, "phase": "all"}], tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


def test_a_metric_name_never_leaves_the_folder(tmp_path: Path) -> None:
    files = plot_curves([{"epoch": 1, "val/..\\x y": 1.0}], tmp_path / "plots")
    assert files[1].name == "curve_.._x_y.png"


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    digests = [[hashlib.sha256(file.read_bytes()).digest() for file in plot_curves(ROWS[:1], tmp_path / name)] for name in ("a", "b")]
    assert digests[0] == digests[1]


def test_a_figure_has_as_many_axes_as_asked_for_in_the_palette(tmp_path: Path) -> None:
    figure, axes = new_figure(2, 3)
    assert len(axes) == 6
    assert [axes[5].plot([0, 1])[0].get_color() for _ in PALETTE] == list(PALETTE)
    save_figure(figure, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert math.isclose(picture.width / picture.height, 13.2 / 6.0, rel_tol=0.01)
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_figure_that_cannot_be_saved_is_told(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("a file")
    figure, _ = new_figure()
    with pytest.raises(ResourceError, match=r"cannot write .*plots/a\.png: (File exists|Not a directory)"):
        save_figure(figure, tmp_path / "plots" / "a.png")


@pytest.mark.slow
def test_drawing_never_imports_pyplot() -> None:
    code = "import sys, toolkit.reporting.curves, toolkit.reporting.report; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
