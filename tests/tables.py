"""Tables in tests: rows taken out or changed, and a whole frame against rows written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.rows import to_frame
from benchmark.stats import Interval

SCALE = {"final": 1.0, "peak": 0.9, "auc": 0.8, "last3": 0.7, "final_tokens": 0.6, "auc_tokens": 0.5}
"""In these runs every endpoint is a multiple of the final value, so that one taken for another shows."""
NO_CLOCK = "rows of cpu, cuda: seconds compare on one kind of machine only"


def without(rows, **place):
    """Leave out the rows that have all these fields."""
    kept = [row for row in rows if any(getattr(row, name) != value for name, value in place.items())]
    assert len(kept) < len(rows)
    return kept


def change(rows, fields, **place):
    """Set fields of the rows that have all of `place`."""
    hit = [all(getattr(row, name) == value for name, value in place.items()) for row in rows]
    assert any(hit)
    return [row.model_copy(update=fields) if chosen else row for row, chosen in zip(rows, hit, strict=True)]


def line(table, **place):
    """Return the one row at a place."""
    found = table[np.logical_and.reduce([table[name] == value for name, value in place.items()])]
    assert len(found) == 1, (place, len(found))
    return found.iloc[0]


def same(table: pd.DataFrame, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """Compare all of a table: names and order of its columns, every cell of every row, also its bounds."""
    assert list(table.columns) == columns.split()
    found, wanted = (
        [_flat(dict(zip(table.columns, row, strict=True))) for row in of]
        for of in (table.itertuples(index=False, name=None), rows)
    )
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, nan_ok=True)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Write an interval as four cells: `approx` looks no deeper."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Interval):
            flat |= {f"{name}.{part}": getattr(value, part) for part in ("mean", "low", "high", "n")}
        else:
            flat[name] = None if value is pd.NA else value
    return flat


def measured(make_row, values, **fields):
    """Make rows: (task, arm, seed, step) -> (validation, test); None: no row there.

    Tokens are 100 per step and seconds 2; the test splits have 50 items and validation has 80.
    """
    sizes = {"validation": 80, "test": 50}
    return [
        make_row(
            **{"task": task, "arm": arm, "seed": seed, "step": step, "split": split, "value": value}
            | {"n_items": sizes[split], "tokens": 100 * step, "train_s": 2.0 * step}
            | fields
        )
        for (task, arm, seed, step), both in values.items()
        for split, value in zip(sizes, both, strict=True)
        if value is not None
    ]


def endpoint_rows(make_rows, seed=0, **fields):
    """Make a frame of synthetic runs with many items and five checkpoints."""
    return to_frame(make_rows(np.random.default_rng(seed), n_items=2000, steps=(2, 5, 10, 20, 40), **fields))


def runs_by_hand(arm, final, *, task="sums", base=0.1, higher=True, seeds=None, **columns):
    """Make runs with these final values; steps and tokens can be used, seconds cannot."""
    chosen = range(len(final)) if seeds is None else seeds
    fixed = {"task": task, "arm": arm, "base": base, "higher_is_better": higher, "steps_reason": ""}
    fixed |= {"tokens_reason": "", "seconds_reason": NO_CLOCK, "final_seconds": np.nan, "auc_seconds": np.nan}
    scaled = {name: np.array(final) * scale for name, scale in SCALE.items()}
    return pd.DataFrame(fixed | {"seed": list(chosen)} | scaled | columns)
