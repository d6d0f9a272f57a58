"""Tables of what was not measured or answered cleanly."""

from __future__ import annotations

from typing import Any

from benchmark.analysis.curves import BASE, COUNTS
from benchmark.report.arms import ARM, TASK
from benchmark.report.results import Results
from benchmark.report.table import Column, Show, Table, absent, plain

NAMES = (*COUNTS, "n_loose")


def count_table(results: Results) -> Table:
    """Count completions, not items, and keep the untrained policy apart: all arms share it."""
    rows = results.rows[(results.rows["split"] == "test") & (results.rows["missing"] == "")]
    rows = rows.assign(n_completions=rows["n_asked"] * rows["n_samples"])
    if "n_loose" not in rows:
        rows = rows.assign(n_loose=None)
    order = [BASE, *results.arm_names]
    records = []
    for task in results.tasks:
        for arm in order:
            chosen = rows[(rows["task"] == task) & (rows["arm"] == arm)]
            record: dict[str, Any] = {
                "task": task,
                "arm": arm,
                "n_completions": int(chosen["n_completions"].sum()),
            }
            # One row without the count (older than the column) and the total is not known.
            known = {name: not chosen[name].isna().any() for name in NAMES}
            record |= {name: int(chosen[name].sum()) if known[name] else None for name in NAMES}
            total = record["n_completions"]
            shares = {
                f"{name}_share": record[name] / total if total and known[name] else None for name in NAMES
            }
            records.append(record | shares)
    columns = [TASK, ARM, Column("n_completions", "completions", plain)]
    for name in NAMES:
        columns += [Column(name, name.removeprefix("n_"), plain), Column(f"{name}_share", "share", _share)]
    note = (
        "Test split, all checkpoints and seeds. Truncated and unparsed completions count as wrong; "
        "ungraded ones are left out of the values; loose: the answer stood neither in a box nor after "
        '"the answer is".'
    )
    return Table("counts", "Completions without a clean answer", columns, records, note)


_share: Show = lambda value: plain(None) if absent(value) else f"{100 * value:.1f} %"  # noqa: E731


def unmeasured_table(results: Results) -> Table | None:
    """Say which tasks of the suite have no numbers, and why; None where all have."""
    rows = results.rows[results.rows["missing"] != ""]
    if rows.empty:
        return None
    reasons = rows.groupby("task")["missing"].first()
    records = [{"task": task, "reason": reason} for task, reason in reasons.items()]
    return Table("not_measured", "Not measured", (TASK, Column("reason", "why", plain)), records)
