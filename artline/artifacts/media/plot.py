"""Plots: a small table and what is drawn of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from artline.artifacts.media.base import Content, FileMedia, Source
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.table import Table

__all__ = ["FORMS", "Plot"]

FORMS = ("line", "scatter", "bar", "histogram", "heatmap")
MOST_CELLS = 1_000_000
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
# The parts that a form is drawn of, by the channel of Vega-Lite each is drawn on; the last ones may lack.
_CHANNELS: dict[str, dict[str, str]] = {
    "line": {"x": "x", "y": "y", "series": "color"},
    "scatter": {"x": "x", "y": "y", "series": "color"},
    "bar": {"label": "x", "value": "y"},
    "histogram": {"value": "x"},
    "heatmap": {"x": "x", "y": "y", "value": "color"},
}
_MARKS: dict[str, Any] = {
    "line": {"type": "line"},
    "scatter": {"type": "point"},
    "bar": {"type": "bar"},
    "histogram": {"type": "bar"},
    "heatmap": {"type": "rect"},
}
_DISCRETE = {("bar", "label"), ("heatmap", "x"), ("heatmap", "y"), ("line", "series"), ("scatter", "series")}


class Plot(FileMedia):
    """A plot: the columns that it is drawn of, and how.

    ``form`` is line, scatter, bar, histogram or heatmap; ``fields`` tells which column is which part (``x``,
    ``y``, ``series``; ``label``, ``value``); ``names`` are those of the axes where a column's own will not
    do. ``columns`` are lists of equal length by name; those that no field names are left out. Made by
    ``artline.plot``; at most a million cells. Raises UsageError.
    """

    kind = "plot"
    record_type = "plot-file"
    list_type = "plots"
    items = "plots"
    folder = "plot"
    suffixes = (".plot.json",)

    def __init__(
        self,
        form: str,
        columns: Mapping[str, Sequence[Any]],
        fields: Mapping[str, str],
        title: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        if form not in FORMS:
            raise UsageError(f"a plot of form {form!r} is not known. Use one of: {', '.join(FORMS)}")
        for part, column in fields.items():
            if part not in _CHANNELS[form]:
                raise UsageError(f"a {form} has no '{part}'. It has: {', '.join(_CHANNELS[form])}")
            if column not in columns:
                raise UsageError(f"the table has no column '{column}'. It has: {', '.join(columns)}")
        kept = {column: cells for column, cells in columns.items() if column in fields.values()}
        cells = sum(map(len, kept.values()))
        if cells > MOST_CELLS:
            raise UsageError(
                f"a plot of {cells:,} cells is more than can be drawn ({MOST_CELLS:,}). Plot fewer rows, and "
                "log the whole as a Table"
            )
        document = {
            "form": form,
            "title": title,
            "fields": dict(fields),
            "names": {str(part): str(name) for part, name in (names or {}).items()},
            "columns": {name: [_plain(cell) for cell in column] for name, column in kept.items()},
        }
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
        super().__init__(Content(text.encode()), ".plot.json", None)

    def __repr__(self) -> str:
        return f"<Plot {self.form}{' ' + self.title if self.title else ''}>"

    @cached_property
    def document(self) -> dict[str, Any]:
        """All of it: ``form``, ``title``, ``fields``, ``names``, ``columns``; NaN and infinities as None."""
        found: dict[str, Any] = json.loads(self.data)
        return found

    @property
    def form(self) -> str:
        """line, scatter, bar, histogram or heatmap."""
        return str(self.document["form"])

    @property
    def title(self) -> str:
        """What stands above it."""
        return str(self.document["title"])

    @property
    def table(self) -> Table:
        """The columns that are drawn, as a Table."""
        from artline.artifacts.table import Table

        columns = self.document["columns"]
        return Table(list(columns), list(zip(*columns.values(), strict=True)))

    def to_vega_lite(self) -> dict[str, Any]:
        """Return the plot as a Vega-Lite specification (version 5), its data in it."""
        columns, fields = self.document["columns"], self.document["fields"]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        encoding: dict[str, Any] = {}
        for part, column in fields.items():
            channel: dict[str, Any] = {
                "field": _escaped(column),
                "type": "nominal" if (self.form, part) in _DISCRETE else _measure(columns[column]),
                "title": self.document["names"].get(part, column),
            }
            if (self.form, part) in _DISCRETE:
                channel["sort"] = None
            encoding[_CHANNELS[self.form][part]] = channel
        if self.form == "histogram":
            encoding["x"]["bin"] = {"maxbins": 50}
            encoding["y"] = {"aggregate": "count", "type": "quantitative"}
        spec: dict[str, Any] = {
            "$schema": SCHEMA,
            "data": {"values": rows},
            "mark": _MARKS[self.form],
            "encoding": encoding,
        }
        if self.title:
            spec["title"] = self.title
        return spec

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        return {"form": self.form, "title": self.title}

    def restore(self, record: Mapping[str, Any], source: Source) -> None:
        """Nothing more: the file holds everything."""


def _plain(cell: Any) -> Any:
    """Return a cell in JSON's types; what is no finite number is None."""
    if hasattr(cell, "item") and hasattr(cell, "dtype"):
        cell = cell.item()
    if cell is None or isinstance(cell, bool | int | str):
        return cell
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if hasattr(cell, "__float__"):
        return _plain(float(cell))
    raise UsageError(f"a plot is drawn of numbers, texts and times, not of a {type(cell).__name__}")


def _measure(cells: Sequence[Any]) -> str:
    found = next((cell for cell in cells if cell is not None), 0.0)
    if isinstance(found, str):
        try:
            datetime.fromisoformat(found)
        except ValueError:
            return "nominal"
        return "temporal"
    return "nominal" if isinstance(found, bool) else "quantitative"


def _escaped(column: str) -> str:
    """Return a column's name as Vega-Lite takes it literally."""
    for special in ("\\", ".", "[", "]", "'", '"'):
        column = column.replace(special, f"\\{special}")
    return column
