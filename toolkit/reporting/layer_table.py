"""The layers of a network as a table of text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from toolkit.models.inspect import Axis, Field, Inspection, Layer

_HEADINGS = ("layer", "kind", "output", "parameters", "MACs", "memory", "field", "stride", "padding")
_LEFT = 3  # columns of words; numbers stand right
_NOTES = {
    "*": "several paths meet here: the field spans them all",
    "all": "every output sees the same pixels",
    "?": "an operation on the way is not understood",
}


def layer_table(inspection: Inspection) -> str:
    """One line per layer, then the totals; receptive field, stride and padding in pixels of the picture, of one picture all else."""
    rows = [_HEADINGS, *(_row(layer) for layer in inspection.layers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    used = [f"{mark}: {note}" for mark, note in _NOTES.items() if any(mark in cell for row in rows[1:] for cell in row[-3:])]
    return "\n".join([*lines, lines[1], *totals(inspection), *used])


def totals(inspection: Inspection) -> list[str]:
    """What the network needs as a whole, one line each."""
    frozen = inspection.parameters - inspection.trainable
    lines = [f"parameters   {inspection.parameters:,}" + (f", {frozen:,} of them frozen" if frozen else "")]
    if inspection.unlisted_parameters:
        lines.append(f"             {inspection.unlisted_parameters:,} of them in parts that no prediction uses")
    return [
        *lines,
        f"MACs         {inspection.macs:,} for one picture of {_shape(inspection.input_shape)}",
        f"weights      {as_bytes(4 * inspection.parameters)} in float32",
        f"activations  {as_bytes(inspection.activation_bytes)} for one picture in float32",
    ]


def inspection_as_json(inspection: Inspection) -> dict[str, Any]:
    """The same as JSON values: fields as [rows, columns], null where unknown."""
    return {
        "input_shape": list(inspection.input_shape),
        "parameters": inspection.parameters,
        "trainable_parameters": inspection.trainable,
        "macs": inspection.macs,
        "activation_bytes": inspection.activation_bytes,
        "layers": [_layer_as_json(layer) for layer in inspection.layers],
    }


def as_bytes(count: int) -> str:
    """A size a person can read.

    >>> as_bytes(262144), as_bytes(92953896), as_bytes(40)
    ('256.0 KiB', '88.6 MiB', '40 B')
    """
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def shown_field(field: Field | None) -> tuple[str, str, str]:
    """Size, stride and padding as the table shows them: one number where rows and columns agree, else rows x columns."""
    if field is None:
        return "?", "?", "?"
    rows, columns = field.rows, field.columns
    size = _both(rows.size, columns.size) + ("*" if field.several else "")
    if rows.stride == columns.stride == 0:
        return size, "all", _both(rows.padding, columns.padding)
    return size, _both(rows.stride, columns.stride), _both(rows.padding, columns.padding)


def _row(layer: Layer) -> tuple[str, ...]:
    kind = f"{layer.kind} {layer.window}".rstrip()
    numbers = (f"{layer.parameters:,}" if layer.parameters else "-", f"{layer.macs:,}" if layer.macs else "-")
    memory = as_bytes(layer.activation_bytes) if layer.activation_bytes else "-"
    return (layer.name or "(network)", kind, _shape(layer.output_shape), *numbers, memory, *shown_field(layer.field))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    words = [f"{cell:<{width}}" for cell, width in zip(row[:_LEFT], widths[:_LEFT], strict=True)]
    return "  ".join([*words, *(f"{cell:>{width}}" for cell, width in zip(row[_LEFT:], widths[_LEFT:], strict=True))]).rstrip()


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _both(rows: int | Fraction, columns: int | Fraction) -> str:
    return f"{float(rows):g}" if rows == columns else f"{float(rows):g}x{float(columns):g}"


def _layer_as_json(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "window": layer.window,
        "output_shape": list(layer.output_shape),
        "parameters": layer.parameters,
        "macs": layer.macs,
        "activation_bytes": layer.activation_bytes,
        "field": layer.field
        and {
            "size": _pair(layer.field, "size"),
            "stride": _pair(layer.field, "stride"),
            "padding": _pair(layer.field, "padding"),
            "several_paths": layer.field.several,
        },
    }


def _pair(field: Field, name: str) -> list[float]:
    axes: tuple[Axis, Axis] = (field.rows, field.columns)
    return [_plain(getattr(axis, name)) for axis in axes]


def _plain(number: int | Fraction) -> int | float:
    return number if isinstance(number, int) else int(number) if number.denominator == 1 else float(number)
