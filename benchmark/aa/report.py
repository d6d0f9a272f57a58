"""The A/A study of a folder as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.aa.endpoints import endpoint_alarms
from benchmark.aa.study import Alarms, false_alarms, seeds_needed
from benchmark.gate.decide import LOOKS, MARGIN
from benchmark.gate.results import Results, auc, final
from benchmark.stats import minimum_detectable_effect, t_interval, variance_components
from tasks.errors import UserError
from tasks.files import write_json, write_text

FEWEST = 2 * LOOKS[0]
GENERATOR_SEED = 20260
TRIALS = 2000


def study(results: Results, rows: pd.DataFrame, pairs: int, trials: int) -> dict[str, Any]:
    """Return everything the study finds, missing numbers as None.

    Args:
        results: runs of one arm.
        rows: those that the results were read from, with their tokens and seconds.
        pairs: of the suite's own comparisons, for the minimum detectable effect.
        trials: simulated comparisons per test.

    Raises:
        UserError: fewer runs than two sets of the smallest look.
    """
    if len(results.runs) < FEWEST:
        raise UserError(
            f"{len(results.runs)} runs: an A/A study compares disjoint sets, train at least {FEWEST} seeds"
        )
    auc_s = np.array([auc(results, run) for run in results.runs])
    final_s = np.array([final(results, run) for run in results.runs])
    spread = float(np.sqrt(2) * auc_s.std(ddof=1))
    generator = np.random.default_rng(GENERATOR_SEED)
    alarms = false_alarms(auc_s, generator, trials=trials) + endpoint_alarms(rows, results.arm)
    return {
        "arm": results.arm,
        "seeds": [run.seed for run in results.runs],
        "auc": auc_s.tolist(),
        "endpoints": {name: _spread(value) for name, value in (("auc", auc_s), ("final", final_s))},
        "components": {
            task: _components(results, task) for task in sorted(results.items) if results.items[task]
        },
        "alarms": [asdict(one) for one in alarms],
        "effect": MARGIN,
        "seeds_needed": seeds_needed(auc_s),
        "pairs": pairs,
        "mde": minimum_detectable_effect(spread, pairs) if spread > 0 and pairs > 1 else None,
    }


def _spread(value_s: np.ndarray) -> dict[str, Any]:
    interval = t_interval(value_s)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n} | {
        "sd": float(value_s.std(ddof=1))
    }


def _components(results: Results, task: str) -> dict[str, Any]:
    """Split the variance of the last checkpoint; items without a score in some run are left out."""
    table = np.array([run.items[task] for run in results.runs], dtype=np.float64)
    known = np.isfinite(table).all(axis=0)
    if known.sum() < 2:
        return {"reason": "fewer than two items have a score in every run"}
    found = variance_components(table[:, known])
    seed, item, residual = (max(0.0, one) for one in (found.seed, found.item, found.residual))
    return {
        "seed": seed,
        "item": item,
        "residual": residual,
        "items": int(known.sum()),
        "run_sd": float(np.sqrt(seed + residual / known.sum())),
        "run_sd_new_items": float(np.sqrt(seed + (item + residual) / known.sum())),
    }


def write_study(out: Path, name: str, found: dict[str, Any]) -> str:
    """Write aa.json and aa.md into a folder; returns the Markdown."""
    text = markdown(name, found)
    write_json(out / "aa.json", {"suite": name, **found})
    write_text(out / "aa.md", text)
    return text


def markdown(name: str, found: dict[str, Any]) -> str:
    """Return the study as Markdown."""
    lines = [
        f"# A/A study: {found['arm']} of suite {name}, {len(found['seeds'])} seeds",
        "",
        "## Spread",
        "",
        "| endpoint | mean | 95 % interval | SD between seeds, points | n |",
        "|---|---:|---:|---:|---:|",
    ]
    for endpoint, one in found["endpoints"].items():
        bounds = "none" if one["low"] is None else f"[{one['low']:.4f}, {one['high']:.4f}]"
        lines.append(f"| {endpoint} | {one['mean']:.4f} | {bounds} | {100 * one['sd']:.2f} | {one['n']} |")
    lines += ["", *_component_lines(found["components"]), "", *_need_lines(found), ""]
    lines += ["## False alarms", "", *_alarm_lines([Alarms(**one) for one in found["alarms"]])]
    return "\n".join(lines) + "\n"


def _component_lines(components: dict[str, Any]) -> list[str]:
    if not components:
        return ["Variance components: not known, the folder has no texts."]
    lines = [
        "| last checkpoint | seed SD | item SD | residual SD | SD of a run, these items | new items |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for task, one in components.items():
        if "reason" in one:
            lines.append(f"| {task} | {one['reason']} | | | | |")
            continue
        sds = [np.sqrt(one[name]) for name in ("seed", "item", "residual")]
        sds += [one["run_sd"], one["run_sd_new_items"]]
        lines.append(f"| {task} | " + " | ".join(f"{100 * sd:.2f}" for sd in sds) + " |")
    return [*lines, "", "In points of accuracy."]


def _need_lines(found: dict[str, Any]) -> list[str]:
    if found["seeds_needed"] is None or found["mde"] is None:
        return ["Seeds needed: not known, the runs do not differ or the suite has one seed."]
    return [
        f"A paired t test finds {100 * found['effect']:g} points of AUC with power 0.8 from "
        f"**{found['seeds_needed']} pairs** on; the suite's {found['pairs']} pairs find "
        f"{100 * found['mde']:.2f} points. "
        "Pairs here share the items alone; those of one seed spread less as a rule."
    ]


def _alarm_lines(alarms: Sequence[Alarms]) -> list[str]:
    lines = [
        "| test | runs | stated | alarms | rate | exact 95 % interval | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for one in alarms:
        rate = f"{one.alarms / one.trials:.3f}" if one.trials else "none"
        bounds = "none" if one.low is None or one.high is None else f"[{one.low:.3f}, {one.high:.3f}]"
        cells = [one.test, one.source, f"{one.stated:g}", f"{one.alarms} of {one.trials}", rate, bounds]
        lines.append("| " + " | ".join([*cells, one.note]) + " |")
    return lines
