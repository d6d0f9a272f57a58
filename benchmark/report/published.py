"""Numbers printed elsewhere, beside ours and never among them: published.toml."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

import pandas as pd
from pydantic import Field

from benchmark.report.table import Column, Table, percent, plain
from tasks.settings import Settings, build_settings, read_toml

FILE = Path(__file__).parent.parent / "published.toml"


class Entry(Settings):
    """One line of a printed table."""

    model: str
    setting: str
    """What tells two lines with the same model and arm apart, such as "β = 0"."""
    arm: str
    values: dict[str, float]
    """Task of ours -> the number, a fraction."""


class Printed(Settings):
    """One printed table."""

    source: str
    protocol: str
    """What the numbers are; they were not made with ours."""
    entry: list[Entry] = Field(min_length=1)


@cache
def published() -> tuple[Printed, ...]:
    """Return every printed table."""
    tables = read_toml(FILE)["table"]
    return tuple(build_settings(Printed, one, source=f"{FILE.name} [[table]]") for one in tables)


def published_cell(model: str, arm: str, task: str) -> str:
    """Return the numbers printed for an arm, task and starting policy as text; "" where there are none.

    >>> published_cell("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "lambda_grpo", "aime24")
    '36.7 % (β = 0), 40.0 % (β = 0.04)'
    """
    found = [
        percent(entry.values[task]) + (f" ({entry.setting})" if entry.setting else "")
        for printed in published()
        for entry in printed.entry
        if _same_model(model, entry.model) and entry.arm == arm and task in entry.values
    ]
    return ", ".join(found)


def published_table(model: str, arms: Collection[str], peaks: pd.DataFrame) -> Table:
    """List every number printed for these tasks and arms, whatever its model, beside our peak.

    Args:
        model: starting policy of our rows.
        arms: ours, the untrained policy included.
        peaks: of our arms: task, arm, base and peak.
    """
    ours = {(row["task"], row["arm"]): row["peak"] for row in peaks.to_dict("records")}
    ours |= {(row["task"], "base"): row["base"] for row in peaks.to_dict("records")}
    records = [
        {
            "task": task,
            "arm": entry.arm,
            "published": value,
            "published_model": entry.model,
            "setting": entry.setting,
            "same_model": "yes" if _same_model(model, entry.model) else "no",
            "ours": ours.get((task, entry.arm)),
            "source": printed.source,
        }
        for printed in published()
        for entry in printed.entry
        for task, value in entry.values.items()
        if entry.arm in arms and task in set(peaks["task"])
    ]
    columns = (
        Column("task", "task", plain),
        Column("arm", "arm", plain),
        Column("published", "published elsewhere", percent),
        Column("published_model", "with the model", plain),
        Column("setting", "setting", plain),
        Column("same_model", "our model", plain),
        Column("ours", "ours: base, or peak chosen on validation", percent),
        Column("source", "source", plain),
    )
    return Table(
        "published",
        "Published elsewhere",
        columns,
        records,
        _note(str(record["source"]) for record in records),
    )


def _note(sources: Iterable[str]) -> str:
    named = set(sources)
    lines = [f"{one.source}: {one.protocol}." for one in published() if one.source in named]
    return "\n".join([*lines, "Not measured by us, and not by our protocol; no comparison here uses them."])


def _same_model(ours: str, theirs: str) -> bool:
    return ours.rstrip("/").rpartition("/")[2].lower() == theirs.lower()
