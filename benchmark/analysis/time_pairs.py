"""Pairs of times to levels: what is censored is counted and never dropped, and a bound stays a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.analysis.summaries import on_axis
from benchmark.endpoints import Axis
from benchmark.stats import speed_log_ratios


@dataclass(frozen=True)
class Pairs:
    """One comparison before any statistics; `n_censored`, `bound` and `reason` as in `paired_differences`."""

    endpoint: str
    axis: Axis
    unit: str
    difference_s: np.ndarray | None
    """One per seed, on the log scale for a ratio; None with a reason."""
    n: int
    margin: float | None = None
    """Of equivalence, on the scale of `difference_s`."""
    level: float | None = None
    n_censored: int = 0
    bound: str = ""
    reason: str = ""


def levels_of(runs: pd.DataFrame) -> list[int]:
    """Return the numbers of the levels that the task of these runs has."""
    numbers = range(1, sum(name.startswith("level_") for name in runs.columns) + 1)
    return [number for number in numbers if not pd.isna(runs[f"level_{number}"].iloc[0])]


def time_pairs(ours: pd.DataFrame, theirs: pd.DataFrame, axis: Axis, number: int) -> Pairs:
    """Compare the times to one level; a run that is not there by the end counts with the end."""
    name = f"time_to_{number}"
    column, reason = on_axis(name, axis), ours[f"{axis}_reason"].iloc[0]
    level = float(ours[f"level_{number}"].iloc[0])
    censored = pd.concat([ours[f"{column}_censored"], theirs[f"{column}_censored"]])
    at = pd.concat([ours[column], theirs[column]])
    left, right = censored == "left", int((censored == "right").sum())
    if left.any():
        reason = too_late(int(left.sum()), len(censored), float(at[left].max()))
    elif right == len(censored) and not reason:
        reason = f"no run reaches {level:g} by {ours[f'{axis}_end'].iloc[0]:g} {axis}"
    if reason:
        return Pairs(name, axis, axis, None, len(ours), None, level, reason=reason)
    both = (ours[column] - theirs[column]).to_numpy(dtype=np.float64)
    if right:
        end = f"{ours[f'{axis}_end'].iloc[0]:g} {axis}"
        reason = f"restricted means up to {end}: {right} of {len(censored)} runs never get there"
    return Pairs(name, axis, axis, both, len(ours), None, level, right, reason=reason)


def speed_pairs(ours: pd.DataFrame, theirs: pd.DataFrame, axis: Axis, margin: float) -> Pairs:
    """Compare speeds over every level that some run reaches, chosen before the runs and not by them.

    A run that is not at a level by the end counts with the end. That flatters it, so the ratio is a bound:
    "at most" where such runs are the arm's alone, "at least" where they are the baseline's alone.
    """
    numbers, n, reason = levels_of(ours), len(ours), ours[f"{axis}_reason"].iloc[0]
    names = [on_axis(f"time_to_{number}", axis) for number in numbers]
    shown = np.array([f"{ours[f'level_{number}'].iloc[0]:g}" for number in numbers])
    kind_asl = np.array([one[[f"{name}_censored" for name in names]] for one in (ours, theirs)], dtype=str)
    nobody_l = (kind_asl == "right").all(axis=(0, 1))
    early_l = (kind_asl == "left").any(axis=(0, 1))
    if not reason and early_l.any():
        reason = f"level {', '.join(shown[early_l])}: some run is there too early to tell when"
    elif not reason and nobody_l.all():
        reason = "no run reaches any level"
    if reason:
        return Pairs("speed", axis, "ratio", None, n, margin, reason=reason)
    kept = [name for name, nobody in zip(names, nobody_l, strict=True) if not nobody]
    ratios = speed_log_ratios(*(one[kept].to_numpy(dtype=np.float64) for one in (theirs, ours)))
    late_a = (kind_asl[:, :, ~nobody_l] == "right").any(axis=2).sum(axis=1)
    notes = [f"without the levels {', '.join(shown[nobody_l])}: no run gets there"] if nobody_l.any() else []
    if late_a.any():
        end = f"{ours[f'{axis}_end'].iloc[0]:g} {axis}"
        notes.append(
            f"{late_a.sum()} of {2 * n} runs never get to some level and count with the end, {end}, which "
            "makes the ratio a bound"
        )
    return Pairs(
        "speed",
        axis,
        "ratio",
        ratios,
        n,
        margin=None if late_a.any() else margin,
        n_censored=int(late_a.sum()),
        bound={(False, False): "", (True, False): "at most", (False, True): "at least"}.get(
            (bool(late_a[0]), bool(late_a[1])), "neither"
        ),
        reason="; ".join(notes),
    )


def too_late(left: int, n: int, late: float) -> str:
    """Say that `left` of n runs were there at the first look already, the latest of them at `late`."""
    where = "the untrained policy" if late == 0 else f"the first look ({late:g})"
    return (
        f"{left} of {n} runs are there at {where} already: the schedule looks too late, or the level is low"
    )
