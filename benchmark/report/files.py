"""Tables for machines: CSV that no spreadsheet runs, and records for JSON. Metric units, nine digits."""

from __future__ import annotations

import csv
import io
from typing import Any

from benchmark.report.table import Table, raw
from benchmark.stats import Interval

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A text cell that begins with one of these is a formula to a spreadsheet."""


def as_csv(table: Table) -> str:
    """Return the table as CSV: a missing value is an empty field, a number a number, a text no formula.

    A text that begins like a formula gets an apostrophe in front, which spreadsheets take as "this is text".
    """
    records = [_flat(table, record) for record in table.records]
    fields = list(dict.fromkeys(name for record in records for name in record))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_text(name) for name in fields or [column.name for column in table.columns]])
    writer.writerows([_field(record.get(name)) for name in fields] for record in records)
    return file.getvalue()


def as_records(table: Table) -> list[dict[str, Any]]:
    """Return the table as JSON holds it: an `Interval` is {"mean", "low", "high", "n"}, missing is null."""
    return [
        {column.name: _nested(record.get(column.name)) for column in table.columns}
        for record in table.records
    ]


def _nested(value: Any) -> Any:
    if isinstance(value, Interval):
        return {name: raw(getattr(value, name)) for name in ("mean", "low", "high", "n")}
    if isinstance(value, list | tuple):
        return [_nested(one) for one in value]
    return raw(value)


def _flat(table: Table, record: dict[str, Any]) -> dict[str, Any]:
    spread = {
        column.name
        for column in table.columns
        if any(isinstance(each.get(column.name), Interval) for each in table.records)
    }
    fields: dict[str, Any] = {}
    for column in table.columns:
        value = record.get(column.name)
        if column.name not in spread:
            fields[column.name] = value
            continue
        bounds = (value.low, value.high) if isinstance(value, Interval) else (None, None)
        fields[column.name] = value.mean if isinstance(value, Interval) else value
        fields[f"{column.name}_low"], fields[f"{column.name}_high"] = bounds
    return fields


def _field(value: Any) -> str:
    if isinstance(value, list | tuple):
        return _text(" ".join(str(raw(one)) for one in value))
    value = raw(value)
    if value is None:
        return ""
    return _text(value) if isinstance(value, str) else f"{value}"


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
