"""A table before it has a format: named columns, records of raw values, and how people read each value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmark.stats import Interval

MISSING = "\N{EN DASH}"
Show = Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """One column; files for machines get `name` and the raw value, people get `heading` and `show(value)`."""

    name: str
    """In CSV and JSON; an `Interval` becomes `name`, `name_low` and `name_high` in CSV."""
    heading: str
    show: Show
    optional: bool = False
    """People do not see the column where no record has a value."""
    machines_only: bool = False
    """People read it in another column."""


@dataclass(frozen=True)
class Table:
    """Records under columns, with a name that is a file name and a note that says how to read it."""

    name: str
    title: str
    columns: Sequence[Column]
    records: Sequence[dict[str, Any]]
    note: str = ""
    empty: str = ""
    """What stands in place of a table without records."""

    def header(self) -> list[str]:
        """Return the headings that people read."""
        return [column.heading for column in self._shown()]

    def lines(self) -> list[list[str]]:
        """Return the cells as people read them."""
        columns = self._shown()
        return [[column.show(record.get(column.name)) for column in columns] for record in self.records]

    def _shown(self) -> list[Column]:
        def empty(name: str) -> bool:
            return all(absent(record.get(name)) or record.get(name) == "" for record in self.records)

        return [
            column
            for column in self.columns
            if not (column.machines_only or (column.optional and empty(column.name)))
        ]


def absent(value: Any) -> bool:
    """Say whether there is no value: None, NaN or pandas' NA."""
    return value is None or (not isinstance(value, Interval | str) and bool(pd.isna(value)))


def plain(value: Any) -> str:
    """Write a name or a count.

    >>> plain("grpo"), plain(6), plain(None)
    ('grpo', '6', '–')
    """
    return MISSING if absent(value) or value == "" else f"{value}"


def number(digits: int) -> Show:
    """Write a number with so many significant digits.

    >>> number(3)(0.03125)
    '0.0312'
    """
    return lambda value: MISSING if absent(value) else f"{value:.{digits}g}"


def quantity(value: float | None) -> str:
    """Write steps, tokens or seconds with four digits and no exponent.

    >>> quantity(17460.3), quantity(4.0524), quantity(64.0)
    ('17460', '4.052', '64')
    """
    return MISSING if absent(value) else f"{float(f'{value:.4g}'):.12g}"


def quantities(value: Interval | float | None) -> str:
    """Write an `Interval` of such numbers with its bounds."""
    return _with_bounds(value, quantity, "")


def percent(value: Interval | float | None) -> str:
    """Write a share of 1 in percent with its bounds, or the reason why there are none.

    >>> percent(Interval(0.5, 0.45, 0.55, 5)), percent(Interval(0.5, None, None, 1)), percent(0.5)
    ('50.0 % [45.0, 55.0]', '50.0 % [–: 1 seed]', '50.0 %')
    """
    return _with_bounds(value, lambda share: f"{100 * share:.1f}", " %")


def points(value: Interval | float | None) -> str:
    """Write a difference of shares in percentage points, signed, with its bounds.

    >>> points(Interval(0.05, 0.01, 0.09, 5)), points(-0.0123)
    ('+5.00 [+1.00, +9.00]', '-1.23')
    """
    return _with_bounds(value, lambda share: f"{100 * share + 0.0:+.2f}", "")


def ratio(value: Interval | float | None) -> str:
    """Write a ratio with its bounds.

    >>> ratio(Interval(1.5, 1.1, 2.0, 5))
    '1.50 [1.10, 2.00]'
    """
    return _with_bounds(value, lambda factor: f"{factor:.2f}", "")


def _with_bounds(value: Interval | float | None, show: Callable[[float], str], unit: str) -> str:
    if not isinstance(value, Interval):
        return MISSING if absent(value) or value is None else show(value) + unit
    if absent(value.mean):
        return MISSING
    text = show(value.mean) + unit
    if value.low is None or value.high is None:
        return f"{text} [{MISSING}: {'1 seed' if value.n < 2 else f'{value.n} equal values'}]"
    return f"{text} [{show(value.low)}, {show(value.high)}]"


def raw(value: Any) -> Any:
    """Return what a file for machines holds: None, bool, int, str, or a float of nine significant digits.

    Nine: more than any accuracy has, fewer than platforms disagree on.

    >>> raw(1 / 3), raw(np.int64(6)), raw(float("nan"))
    (0.333333333, 6, None)
    """
    if absent(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        rounded = float(f"{value:.9g}")
        return rounded if rounded else 0.0  # no -0.0
    return str(value)
