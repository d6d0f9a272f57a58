"""The top of a report: what was asked, what was measured, the one verdict, and what it rests on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmark.analysis.curves import BASE
from benchmark.endpoints import MACRO
from benchmark.report.claims import NOUNS, sentence, task_name
from benchmark.report.results import Results
from benchmark.report.table import MISSING

SMOKE = "SMOKE RUN: it only shows that the machinery works. Its numbers mean nothing."


def summary(results: Results) -> list[str]:
    """Return the summary, a paragraph each."""
    endpoints = results.endpoints
    table = results.differences
    primary = table[table["role"] == "primary"].to_dict("records")
    tested = int((table["p_t"].notna() & (table["axis"] != "seconds")).sum())
    place = MACRO if MACRO in set(results.runs["task"]) else results.tasks[0]
    lines = [
        f"Primary endpoint: {NOUNS[endpoints.primary]} over {endpoints.primary_axis}, {task_name(place)}, "
        f"against {results.baseline}, paired by seed.",
        *(f"{verdict(record)}: {sentence(record, endpoints)}" for record in primary),
        _measured(results),
        f"{tested} comparisons here, {len(primary)} of them primary"
        f"{_corrected(results, len(primary))}; equivalence margin {100 * endpoints.margin:g} points, "
        f"{endpoints.speed_margin:g} times for speeds.",
    ]
    if not results.others:
        lines.insert(1, f"{MISSING} (there is no other arm: nothing is compared)")
    return lines


def verdict(record: dict[str, Any]) -> str:
    """Write the verdict of a comparison in capitals.

    >>> verdict({"verdict": "none"}), verdict({"verdict": "higher"})
    ('NO DIFFERENCE SHOWN', 'HIGHER')
    """
    words = {"none": "no difference shown", "equivalent": "equivalent within the margin"}
    return str(words.get(record["verdict"], record["verdict"])).upper()


def _corrected(results: Results, primary: int) -> str:
    if len(results.tasks) == 1:
        return " (uncorrected: one task)"
    return (
        f" (those are not corrected for being {primary}), the others by Holm over tasks only"
        if primary > 1
        else ", the others corrected by Holm over tasks only"
    )


def _measured(results: Results) -> str:
    seeds = results.runs.groupby(["task", "arm"]).size()
    low, high = int(seeds.min()), int(seeds.max())
    trained = results.rows[results.rows["arm"] != BASE]
    runs = results.runs[results.runs["task"] != MACRO]
    items = runs.groupby("task")["n_items"].min()
    graded = int((runs["n_completions"] - runs["n_ungraded"]).sum())
    return (
        f"Measured: {len(results.arm_names)} arms ({', '.join(results.arm_names)}), {_span(low, high)} "
        f"training seed{'' if high == 1 else 's'} each, {trained['step'].nunique()} checkpoints a run, "
        f"{', '.join(f'{task} ({count} items)' for task, count in items.items())}; {graded} graded "
        "completions on test."
    )


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def facts(rows: pd.DataFrame, *, command: str, engine: str) -> dict[str, str]:
    """Return where the numbers come from: command, commits, engine, versions, suite, policy, metric."""
    places = zip(rows["git_sha"], rows["git_dirty"], strict=True)
    commits = sorted({f"{sha} with uncommitted changes" if dirty else sha for sha, dirty in places})
    versions = sorted({f"{name} {version}" for found in rows["versions"] for name, version in found.items()})
    return {  # a row of a set that is not there has no device
        "Command": f"`{command}`",
        "Commit": f"rows scored at {', '.join(commits)}",
        "Engine": f"{engine}; device {', '.join(sorted(set(rows['device']) - {''}))}",
        "Versions": ", ".join(versions) or f"{MISSING} (the rows name none)",
        "Suite": f"{rows['suite'].iloc[0]}, starting policy {rows['model'].iloc[0]}",
        "Metric": str(rows["metric"].iloc[0]),
    }


def how_to_read(results: Results) -> str:
    """Return the paragraph that says what brackets and columns are."""
    seeds = results.runs.groupby(["task", "arm"]).size()
    low, high = int(seeds.min()), int(seeds.max())
    level = f"{100 * (1 - results.endpoints.alpha):g} %"
    return (
        f"Brackets: {level} t interval over {_span(low, high)} training seed{'' if high == 1 else 's'}; the "
        "items are fixed, so it speaks about these items only.\nFinal, peak and area are test values. "
        "Peak is the test value at the step that validation picks. The area is the mean height of the "
        "curve from step 0 to the last step.\nBase is one untrained policy, the same for every arm: it "
        "has no interval over seeds."
    )
