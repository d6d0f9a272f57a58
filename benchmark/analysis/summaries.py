"""One training run to the numbers that sum it up, on every axis that the rows allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.curves import COUNTS, RUN, learning_curves, macro_curves
from benchmark.endpoints import Axis, Endpoints, check_endpoints
from benchmark.stats import collapsed, crossing, last_mean, normalised_auc, value_at

AXIS_COLUMN: dict[Axis, str] = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}
"""The column of `learning_curves` that holds an axis."""


def on_axis(endpoint: str, axis: str) -> str:
    """Return the column of `summarize_runs` that holds an endpoint on an axis.

    >>> on_axis("auc", "steps"), on_axis("auc", "tokens"), on_axis("time_to_2", "seconds")
    ('auc', 'auc_tokens', 'seconds_to_2')
    """
    if endpoint.startswith("time_to_"):
        return f"{axis}_to_{endpoint.removeprefix('time_to_')}"
    return endpoint if axis == "steps" else f"{endpoint}_{axis}"


def summarize_runs(
    frame: pd.DataFrame,
    *,
    endpoints: Endpoints | None = None,
    metric: str = "accuracy",
    kind: str = "real",
) -> pd.DataFrame:
    """Sum up every training run by a few numbers; those without another unit are in metric units.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them.
        endpoints: of the suite; rows made under other ones are refused. None: the defaults, and no check.
        metric: as for `learning_curves`.
        kind: as for `learning_curves`.

    Returns:
        One row per (task, arm, seed), sorted by them; with two tasks or more the task `MACRO` comes last and
        is their mean, checkpoint by checkpoint. A number that does not exist is NaN (text columns: "").
        base: test value of the untrained policy, the same for all arms and seeds.
        final: test value at `last_step`; final_tokens, final_seconds: at the end of that axis.
        last3: mean test value of the last three trained checkpoints.
        peak: test value at `peak_step`, where *validation* is best (first on ties, step 0 takes part).
        raw_max: the best test value of all. It was chosen on the data it is read from: never a headline.
        auc: `normalised_auc` of the test values, step 0 included; auc_tokens, auc_seconds: on these axes.
        drop: final - peak, below 0 where the run lost what it had (above 0 where lower is better).
        collapsed: whether it lost most of its gain (`stats.collapsed`).
        steps_end, tokens_end, seconds_end: where the axis ends for every run of the task: the suite's
        horizon, else the smallest last value of all runs.
        tokens_reason, seconds_reason: why the columns of that axis are NaN, or "".
        level_1, level_2, ...: the levels of the task, rising; NaN where it has fewer than the richest task.
        steps_to_1, tokens_to_1, seconds_to_1, ...: when the isotonic fit reached the level, in units of the
        axis, and beside each steps_to_1_censored, ...: "" reached there; "right" not reached by then (the
        number is the end of the axis: show ">number"); "left" reached at the first look already, or at step
        0 where the number is 0 (show "<=number": the schedule looks too late).
        n_items: items in the test split (the fewest of any checkpoint).
        n_completions (ungraded ones too), n_truncated, n_unparsed, n_ungraded: totals over the run's own
        test checkpoints, the shared step 0 left out. higher_is_better: as in the rows.

    Raises:
        UserError: what `learning_curves` and `check_endpoints` refuse.
    """
    chosen = endpoints or Endpoints()
    if endpoints is not None:
        check_endpoints(frame[frame["kind"] == kind], endpoints)
    curves = learning_curves(frame, metric=metric, kind=kind)
    blocks = [curves, macro_curves(curves)]
    most = max(len(chosen.levels_of(task)) for block in blocks for task in {*block["task"], ""})
    return pd.DataFrame(
        [
            dict(zip(RUN, name, strict=True)) | _summary(run, ends, chosen.levels_of(name[0]), most)
            for block in blocks
            for _, of_task in block.groupby("task")
            for ends in [_ends(of_task, chosen)]
            for name, run in of_task.groupby(RUN)
        ]
    )


def _ends(curves: pd.DataFrame, endpoints: Endpoints) -> dict[Axis, float | str]:
    """Return where each axis ends for all runs of a task, or why the axis cannot be used."""
    return {axis: _end(curves, axis, endpoints.horizon.get(axis)) for axis in AXIS_COLUMN}


def _end(curves: pd.DataFrame, axis: Axis, horizon: float | None) -> float | str:
    devices = sorted(set(curves.loc[curves["step"] > 0, "train_device"]))
    if axis == "seconds" and len(devices) > 1:
        return f"trained on {', '.join(devices)}: seconds compare on one kind of machine only"
    last = float("inf")
    for (_, arm, seed), run in curves.groupby(RUN):
        x = run[AXIS_COLUMN[axis]].to_numpy(dtype=np.float64)
        if not np.isfinite(x).all() or x[0] != 0 or not (np.diff(x) > 0).all():
            return f"arm {arm}, seed {seed}: its {axis} do not rise from 0 with every checkpoint"
        if horizon is not None and x[-1] < horizon:
            return f"arm {arm}, seed {seed}: ends at {x[-1]:g} {axis}, the horizon is {horizon:g}"
        last = min(last, float(x[-1]))
    return last if horizon is None else horizon


def _summary(
    run: pd.DataFrame, ends: dict[Axis, float | str], levels: tuple[float, ...], most: int
) -> dict[str, Any]:
    higher = bool(run["higher_is_better"].iloc[0])
    sign = 1 if higher else -1
    step, test = run["step"].to_numpy(), run["test"].to_numpy()
    at = int(np.argmax(sign * run["validation"].to_numpy()))
    own = run[run["step"] > 0]
    numbers: dict[str, Any] = {
        "base": float(test[0]),
        "final": float(test[-1]),
        "peak": float(test[at]),
        "peak_step": int(step[at]),
        "raw_max": float(sign * (sign * test).max()),
        "auc": float("nan"),  # set below: the columns keep their places
        "last_step": int(step[-1]),
        "n_items": int(run["n_items"].min()),
    }
    numbers |= {name: int(own[name].sum()) for name in ("n_completions", *COUNTS)}
    numbers |= {"last3": last_mean(test), "drop": float(test[-1] - test[at])}
    numbers |= {"collapsed": collapsed(sign * test[0], sign * test[at], sign * test[-1])}
    numbers |= {f"level_{i + 1}": levels[i] if i < len(levels) else float("nan") for i in range(most)}
    for axis, end in ends.items():
        numbers |= _numbers_on(run, axis, end, levels, most)
    return numbers | {"higher_is_better": higher}


def _numbers_on(
    run: pd.DataFrame, axis: Axis, end: float | str, levels: tuple[float, ...], most: int
) -> dict[str, Any]:
    sign = 1 if run["higher_is_better"].iloc[0] else -1
    x, test = run[AXIS_COLUMN[axis]].to_numpy(dtype=np.float64), run["test"].to_numpy()
    last = None if isinstance(end, str) else end
    nan = float("nan")
    numbers: dict[str, Any] = {f"{axis}_end": nan if last is None else last}
    numbers[f"{axis}_reason"] = end if isinstance(end, str) else ""
    numbers[on_axis("auc", axis)] = nan if last is None else normalised_auc(x, test, last)
    if axis != "steps":
        numbers[on_axis("final", axis)] = nan if last is None else value_at(x, test, last)
    for i in range(most):
        name, found = on_axis(f"time_to_{i + 1}", axis), None
        if last is not None and i < len(levels):
            found = crossing(x, sign * test, sign * levels[i], end=last)
        numbers[name] = found.at if found else nan
        numbers[f"{name}_censored"] = found.censored if found else ""
    return numbers
