"""False alarms of every endpoint of the comparison of arms, on real curves of one arm.

Disjoint sets of runs stand in as two arms and go through `compare.paired_differences`, and as entries of a
leaderboard through its tied sets. Everything either of them claims is a false alarm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from benchmark.aa.study import Alarms, count_alarms
from benchmark.analysis.compare import paired_differences
from benchmark.analysis.curves import BASE
from benchmark.analysis.summaries import summarize_runs
from benchmark.board.ties import tied_sets
from benchmark.endpoints import MACRO, Endpoints, Reference

ENTRIES = 4
"""Rows of one leaderboard, as many disjoint sets of seeds."""


def endpoint_alarms(frame: pd.DataFrame, arm: str, *, sizes: Sequence[int] = (5, 10)) -> list[Alarms]:
    """Count what is claimed of two arms, or of entries, that are the same.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them; the validation split is read. It takes the
            place of the test split too, so the peak is chosen on the values that it is read from: in both
            arms alike.
        arm: whose runs are compared with each other.
        sizes: pairs, or seeds of an entry.

    Returns:
        For each size a line per endpoint and axis with the verdict of `paired_differences`, one with its
        exact sign flip, and one for the tied sets of `ENTRIES` entries (any of them "below": Holm's promise).
    """
    rows = frame[frame["arm"].isin([arm, BASE]) & (frame["split"] == "validation")].assign(endpoints="")
    endpoints = Endpoints(reference=_references(rows))
    both = pd.concat([rows, rows.assign(split="test")], ignore_index=True)
    runs = summarize_runs(both, endpoints=endpoints)
    found = []
    for n in sizes:
        found += _compared(runs, n, endpoints)
        found.append(_tied(runs, n, endpoints))
    return found


def _references(rows: pd.DataFrame) -> dict[str, Reference]:
    """Return the mean gain of all runs per task: levels that are the same for every comparison."""
    references = {}
    for task, of_task in rows.groupby("task"):
        base = float(of_task.loc[of_task["arm"] == BASE, "value"].mean())
        last = of_task[of_task["step"] == of_task["step"].max()]
        gain = float(last["value"].mean()) - base
        if gain > 0:
            references[str(task)] = Reference(base=base, gain=gain)
    return references


def _compared(runs: pd.DataFrame, n: int, endpoints: Endpoints) -> list[Alarms]:
    seeds = sorted(set(runs["seed"]))
    verdicts: dict[tuple[str, str], list[str]] = {}
    flips: dict[tuple[str, str], list[bool]] = {}
    for at in range(0, len(seeds) - 2 * n + 1, 2 * n):
        sets = [seeds[at : at + n], seeds[at + n : at + 2 * n]]
        table = paired_differences(_as_arms(runs, sets), "set 0", endpoints)
        for row in table[table["task"] == _headline(runs)].to_dict("records"):
            place = (str(row["endpoint"]), str(row["axis"]))
            verdicts.setdefault(place, []).append(str(row["verdict"]))
            flips.setdefault(place, []).extend([row["p"] <= endpoints.alpha] if row["p"] is not None else [])
    found = []
    for (endpoint, axis), said in verdicts.items():
        claims = [verdict in ("higher", "lower") for verdict in said if verdict != "no statement"]
        note = ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(said).items()))
        found.append(count_alarms(f"verdict on {endpoint} over {axis}, {n} pairs", "real", claims, note))
        name = f"exact sign flip of {endpoint} over {axis}, {n} pairs"
        found.append(count_alarms(name, "real", flips[endpoint, axis]))
    return found


def _as_arms(runs: pd.DataFrame, sets: Sequence[Sequence[int]]) -> pd.DataFrame:
    """Give the runs of each set an arm of their own and the seeds 0 to n - 1."""
    parts = []
    for number, seeds in enumerate(sets):
        order = {seed: at for at, seed in enumerate(seeds)}
        part = runs[runs["seed"].isin(seeds)]
        parts.append(part.assign(arm=f"set {number}", seed=part["seed"].map(order)))
    return pd.concat(parts, ignore_index=True)


def _tied(runs: pd.DataFrame, n: int, endpoints: Endpoints) -> Alarms:
    auc = runs[runs["task"] == _headline(runs)].set_index("seed")["auc"].sort_index()
    values = [float(value) for value in auc]
    claims = []
    for at in range(0, len(values) - ENTRIES * n + 1, ENTRIES * n):
        sets = {
            (f"entry {k}", "arm"): dict(enumerate(values[at + k * n : at + (k + 1) * n]))
            for k in range(ENTRIES)
        }
        ties = tied_sets(sets, alpha=endpoints.alpha, min_seeds=endpoints.min_pairs)
        claims.append(any(tie.place == "below" for tie in ties.values()))
    return count_alarms(f"tied set of {ENTRIES} entries: any below, {n} seeds", "real", claims)


def _headline(runs: pd.DataFrame) -> str:
    tasks = set(runs["task"])
    return MACRO if MACRO in tasks else str(min(tasks))
