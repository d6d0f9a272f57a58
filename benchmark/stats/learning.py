"""One learning curve to numbers: area, value at a place, last three, and when it first reached a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from benchmark.stats.interval import as_vector

Censored = Literal["", "left", "right"]


def normalised_auc(step_k: ArrayLike, value_k: ArrayLike, end: float | None = None) -> float:
    """Area under a learning curve divided by its range of steps: the mean height of the curve.

        auc = sum_k (step[k+1] - step[k]) * (value[k] + value[k+1]) / 2 / step[-1]

    In metric units. The range is the suite's, from step 0 to the last checkpoint, equal for all runs.
    Subtracting the base value gives the "area above base" of evaluation.md 5.2; differences are the same.
    On tokens or seconds runs do not end at the same place: `end` cuts the curve there, where a value is read
    off the straight line between its neighbours.

    Args:
        step_k: (K,) strictly increasing steps (or tokens, seconds), the first is 0, K >= 2.
        value_k: (K,) metric at each of them.
        end: in units of `step_k`, 0 < end <= step[-1]; None is step[-1].

    Raises:
        ValueError: shapes differ, step 0 is missing, steps do not increase, a value is not finite, or the
            curve ends before `end`.

    >>> normalised_auc([0, 1, 4], [0.0, 0.5, 0.5])
    0.4375
    >>> normalised_auc([0, 1, 4], [0.0, 0.5, 0.5], end=2)
    0.375
    """
    step, value = _curve(step_k, value_k)
    if end is None:
        return float(np.trapezoid(value, step) / step[-1])
    last = value_at(step, value, end)
    kept = step < end
    return float(np.trapezoid([*value[kept], last], [*step[kept], end]) / end)


def value_at(step_k: ArrayLike, value_k: ArrayLike, at: float) -> float:
    """Return the height of a curve at one place, on the straight line between its neighbours.

    Raises:
        ValueError: as for `normalised_auc`; nothing is ever read beyond the last checkpoint.

    >>> value_at([0, 10], [0.0, 1.0], 4)
    0.4
    """
    step, value = _curve(step_k, value_k)
    if not 0 < at <= step[-1]:
        raise ValueError(
            f"{at:g} is not in (0, {step[-1]:g}]: a curve is not read beyond its last checkpoint"
        )
    return float(np.interp(at, step, value))


def last_mean(value_k: ArrayLike, count: int = 3) -> float:
    """Mean of the last `count` trained checkpoints, or of all where there are fewer; step 0 takes no part.

    >>> last_mean([0.0, 0.5, 0.25, 0.75, 1.0])
    0.6666666666666666
    """
    return float(as_vector(value_k, at_least=2)[1:][-count:].mean())


@dataclass(frozen=True)
class Crossing:
    """When a curve first reached a level."""

    at: float
    """Where; with `censored` "left" an upper bound and with "right" a lower one, in units of x."""
    censored: Censored
    """"left": already there at the first look after step 0, or at step 0 itself (`at` is 0 then): the
    schedule looks too late. "right": not there to stay by the end, shown as ">at". "": interpolated."""


def crossing(x_k: ArrayLike, value_k: ArrayLike, level: float, *, end: float | None = None) -> Crossing:
    """First place where the isotonic fit of a curve reaches a level, between looks by a straight line.

    The fit is the non-decreasing sequence nearest to the values in least squares, all with the same weight:
    one lucky checkpoint does not count as having got there, and a run that got there and lost it again by
    the end may count as not there either. Pass -value and -level where lower is better.

    Args:
        x_k: (K,) steps, tokens or seconds of each checkpoint, from 0.
        value_k: (K,) metric at each of them.
        level: preset, in metric units.
        end: the curve is cut there, as for `normalised_auc`, so nothing beyond it counts; None is x[-1].

    Raises:
        ValueError: as for `normalised_auc`.

    >>> crossing([0, 10, 20], [0.0, 0.25, 0.75], 0.5)
    Crossing(at=15.0, censored='')
    >>> crossing([0, 10, 20], [0.0, 0.25, 0.75], 0.8)
    Crossing(at=20.0, censored='right')
    >>> crossing([0, 10, 20], [0.0, 0.25, 0.75], 0.2)
    Crossing(at=10.0, censored='left')
    """
    x, value = _curve(x_k, value_k)
    last = float(x[-1]) if end is None else end
    if not 0 < last <= x[-1]:
        raise ValueError(f"end={last:g} is not in (0, {x[-1]:g}]")
    value = np.append(value[x < last], np.interp(last, x, value))
    x = np.append(x[x < last], last)
    fit = isotonic_regression(value).x
    # A block mean of equal values may miss them by a rounding: 1e-12 is not a difference in accuracy.
    reached = np.flatnonzero(fit >= level - 1e-12)
    if not len(reached):
        return Crossing(last, "right")
    first = int(reached[0])
    if first <= 1:
        return Crossing(float(x[first]), "left")
    share = (level - fit[first - 1]) / (fit[first] - fit[first - 1])
    return Crossing(float(x[first - 1] + min(share, 1.0) * (x[first] - x[first - 1])), "")


def speed_log_ratios(baseline_sl: ArrayLike, arm_sl: ArrayLike) -> np.ndarray:
    """Log of how many times as fast the arm is, one per pair of seeds.

        log ratio[s] = mean over levels l of (log x_baseline[s, l] - log x_arm[s, l])

    Source: evaluation.md 5.2, A the baseline and B the arm, so that above 0 the arm is faster.

    Args:
        baseline_sl: (S, L) crossings of the baseline, > 0.
        arm_sl: (S, L) those of the arm, same seeds, same levels.

    Returns:
        (S,) natural logarithms.

    Raises:
        ValueError: shapes differ, or a time that is not positive and finite.
    """
    ours, theirs = (np.asarray(one, dtype=np.float64) for one in (arm_sl, baseline_sl))
    if ours.ndim != 2 or ours.shape != theirs.shape or not ours.size:
        raise ValueError(f"got shapes {theirs.shape} and {ours.shape}: want two equal ones, seeds by levels")
    both = np.stack([ours, theirs])
    if not (np.isfinite(both) & (both > 0)).all():
        raise ValueError("want times that are positive and finite")
    return np.asarray(np.log(theirs / ours).mean(axis=1))


def _curve(step_k: ArrayLike, value_k: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    step, value = as_vector(step_k, at_least=2), as_vector(value_k, at_least=2)
    if step.shape != value.shape:
        raise ValueError(f"{len(step)} steps and {len(value)} values: want one value per step")
    if step[0] != 0:
        raise ValueError(f"first step is {step[0]:g}: the curve starts at step 0, score the untrained policy")
    if not (np.diff(step) > 0).all():
        raise ValueError(f"steps {step.tolist()}: want them strictly increasing")
    return step, value
