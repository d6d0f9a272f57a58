"""Robust summaries over seeds and tasks, never the headline; intervals by resampling whole seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmark.stats.interval import Interval
from benchmark.stats.peak import MIN_DRAWS

MIN_SEEDS = 10
"""A bootstrap over fewer seeds covers too rarely; the estimate is shown without an interval then."""


def interquartile_mean(value_st: ArrayLike) -> float:
    """Mean of the middle half of all runs' scores over seeds and tasks (scipy's `trim_mean` at 25 %).

    floor(n / 4) values go at either end. Source: Agarwal et al., arXiv:2108.13264.

    >>> interquartile_mean([[0.0, 1.0], [3.0, 100.0]])
    2.0
    """
    return float(stats.trim_mean(_scores(value_st), 0.25, axis=None))


def improvement_probability(ours_st: ArrayLike, theirs_st: ArrayLike) -> float:
    """Chance that a run of the arm beats a run of the baseline with *another* seed, averaged over tasks.

        mean over t and s != u of [ours[s, t] > theirs[u, t]] + [equal] / 2

    Runs with the same seed are paired and so not independent: they are left out. Without that this is the
    Mann-Whitney U over S^2, as in Agarwal et al., arXiv:2108.13264.

    Args:
        ours_st: (S, T), S >= 2; larger is better.
        theirs_st: (S, T), same seeds in the same order.

    >>> improvement_probability([[1.0], [3.0]], [[2.0], [2.0]])
    0.5
    """
    win_su = _wins(ours_st, theirs_st)
    return float(win_su[~np.eye(len(win_su), dtype=bool)].mean())


def iqm_interval(
    value_st: ArrayLike, generator: np.random.Generator, draws: int = 10_000, level: float = 0.95
) -> Interval:
    """`interquartile_mean` with a whole-seed bootstrap interval; no bounds with fewer than `MIN_SEEDS`."""
    value = _scores(value_st)

    def of(index_bs: np.ndarray) -> np.ndarray:
        return np.asarray(stats.trim_mean(value[index_bs].reshape(len(index_bs), -1), 0.25, axis=1))

    return _seed_bootstrap(interquartile_mean(value), of, len(value), generator, draws, level)


def improvement_interval(
    ours_st: ArrayLike,
    theirs_st: ArrayLike,
    generator: np.random.Generator,
    draws: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """`improvement_probability` with a whole-seed bootstrap interval, both arms resampled together."""
    win_su = _wins(ours_st, theirs_st)

    def of(index_bs: np.ndarray) -> np.ndarray:
        other = index_bs[:, :, None] != index_bs[:, None, :]
        wins = win_su[index_bs[:, :, None], index_bs[:, None, :]]
        # A draw of one seed alone has no pair; it says nothing, as 1/2 does. Chance S^(1 - S).
        pairs = other.sum(axis=(1, 2))
        return np.where(pairs > 0, (wins * other).sum(axis=(1, 2)) / np.maximum(pairs, 1), 0.5)

    return _seed_bootstrap(
        improvement_probability(ours_st, theirs_st), of, len(win_su), generator, draws, level
    )


def _seed_bootstrap(
    value: float,
    statistic: Callable[[np.ndarray], np.ndarray],
    seeds: int,
    generator: np.random.Generator,
    draws: int,
    level: float,
) -> Interval:
    """Percentile interval over whole seeds, its tails widened for few of them (Hesterberg 2015).

    The plain percentile interval is too short by sqrt((n - 1) / n) and by z instead of t; so the quantiles
    are taken at Phi(-+ sqrt(n / (n - 1)) * t(1 - (1 - level) / 2, n - 1)).
    """
    if draws < MIN_DRAWS:
        raise ValueError(f"draws={draws}: want {MIN_DRAWS} or more")
    if seeds < MIN_SEEDS:
        return Interval(value, None, None, seeds)
    drawn_b = statistic(generator.integers(seeds, size=(draws, seeds)))
    if np.ptp(drawn_b) == 0:
        return Interval(value, None, None, seeds)
    tail = stats.norm.cdf(-np.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.5 + level / 2, seeds - 1))
    low, high = np.quantile(drawn_b, [tail, 1 - tail])
    return Interval(value, float(low), float(high), seeds)


def _wins(ours_st: ArrayLike, theirs_st: ArrayLike) -> np.ndarray:
    ours, theirs = _scores(ours_st), _scores(theirs_st)
    if ours.shape != theirs.shape or len(ours) < 2:
        raise ValueError(f"got shapes {ours.shape} and {theirs.shape}: want equal ones with 2 or more seeds")
    one, other = ours[:, None], theirs[None]
    return np.asarray(((one > other) + 0.5 * (one == other)).mean(axis=2))


def _scores(value_st: ArrayLike) -> np.ndarray:
    value = np.asarray(value_st, dtype=np.float64)
    if value.ndim != 2 or not value.size or not np.isfinite(value).all():
        raise ValueError(f"got shape {value.shape}: want seeds by tasks, all of them finite")
    return value
