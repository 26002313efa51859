"""The table and the JSON of a network's layers."""

from __future__ import annotations

import json
from fractions import Fraction

import torch
from torch import Tensor, nn

from toolkit.models.inspect import Axis, Field, inspect_model
from toolkit.reporting.layer_table import as_bytes, inspection_as_json, layer_table, shown_field


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, padding=1)
        self.second = nn.Conv2d(64, 64, 5, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(64 * 16 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        return self.dense(self.pool(first + self.second(first)).flatten(1))  # type: ignore[no-any-return]


def test_the_table_has_a_line_per_layer_with_separators_and_says_what_its_marks_mean() -> None:
    network = Network()
    network.first.requires_grad_(False)
    lines = layer_table(inspect_model(network, (3, 32, 32))).splitlines()
    assert [line.split() for line in (lines[0], *lines[2:6])] == [
        ["layer", "kind", "output", "parameters", "MACs", "memory", "field", "stride", "padding"],
        ["first", "Conv2d", "3x3", "64x32x32", "1,792", "1,769,472", "256.0", "KiB", "3", "1", "1"],
        ["second", "Conv2d", "5x5", "64x32x32", "102,464", "104,857,600", "256.0", "KiB", "7", "1", "3"],
        ["pool", "MaxPool2d", "2x2/2", "64x16x16", "-", "-", "64.0", "KiB", "8*", "2", "3"],
        ["dense", "Linear", "10", "163,850", "163,840", "40", "B", "38*", "all", "3"],
    ]
    assert lines[7:] == [
        "parameters   268,106, 1,792 of them frozen",
        "MACs         106,790,912 for one picture of 3x32x32",
        "weights      1.0 MiB in float32",
        "activations  576.0 KiB for one picture in float32",
        "*: several paths meet here: the field spans them all",
        "all: every output sees the same pixels",
    ]


def test_fields_that_differ_between_rows_and_columns_show_both() -> None:
    assert shown_field(Field(Axis(3, 1, 1, 8), Axis(5, Fraction(1, 2), 1, 8))) == ("3x5", "1x0.5", "1")
    assert shown_field(None) == ("?", "?", "?")


def test_json_holds_the_same() -> None:
    written = json.loads(json.dumps(inspection_as_json(inspect_model(Network(), (3, 32, 32)))))
    assert (written["parameters"], written["macs"], written["input_shape"]) == (268106, 106790912, [3, 32, 32])
    assert written["layers"][2] == {
        "name": "pool",
        "kind": "MaxPool2d",
        "window": "2x2/2",
        "output_shape": [64, 16, 16],
        "parameters": 0,
        "macs": 0,
        "activation_bytes": 65536,
        "field": {"size": [8, 8], "stride": [2, 2], "padding": [3, 3], "several_paths": True},
    }


def test_bytes_are_shown_in_units_a_person_reads() -> None:
    assert [as_bytes(n) for n in (1023, 1024, 3 * 2**20, 5 * 2**31)] == ["1023 B", "1.0 KiB", "3.0 MiB", "10.0 GiB"]


def test_parts_that_no_prediction_uses_are_told() -> None:
    class WithSpare(Network):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(10, 3)

    with torch.no_grad():
        assert "33 of them in parts that no prediction uses" in layer_table(inspect_model(WithSpare(), (3, 32, 32)))
