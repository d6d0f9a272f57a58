"""Where the noise comes from, seeds or items, and what may be said beyond these items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmark.stats.interval import Interval


@dataclass(frozen=True)
class Components:
    """Variances of one score, in squared units of it; an estimate may come out below 0 and is left there."""

    seed: float
    item: float
    residual: float
    """Seed by item, and the sampling of answers."""


def variance_components(score_si: ArrayLike) -> Components:
    """Split the variance of a seeds x items table: score[s, i] = mean + seed[s] + item[i] + residual[s, i].

    With mean squares of the two-way table without replication:
        residual = MS_residual, seed = (MS_seed - MS_residual) / I, item = (MS_item - MS_residual) / S

    Args:
        score_si: (S, I), S >= 2, I >= 2, complete and finite.

    Raises:
        ValueError: another shape, or a hole.

    >>> variance_components([[0.0, 2.0], [0.0, 2.0]])
    Components(seed=0.0, item=2.0, residual=0.0)
    """
    score = _table(score_si)
    seeds, items = score.shape
    of_seed, of_item = score.mean(axis=1), score.mean(axis=0)
    rest = score - of_seed[:, None] - of_item + score.mean()
    residual = float((rest**2).sum() / ((seeds - 1) * (items - 1)))
    seed = float(of_seed.var(ddof=1)) - residual / items
    return Components(seed, float(of_item.var(ddof=1)) - residual / seeds, residual)


def crossed_interval(
    difference_si: ArrayLike, cluster_i: Sequence[str] | None = None, level: float = 0.95
) -> Interval:
    """Mean of a seeds x items table with an interval for other seeds *and* other items like these.

    Both seeds and clusters of items are samples. With V_seed, V_cluster and V_both the cluster-robust
    variances of the mean, by seed, by cluster and by (seed, cluster), each with its G / (G - 1):
        V = max(V_seed + V_cluster - V_both, V_seed, V_cluster)
        df = V^2 / (V_seed^2 / (S - 1) + V_cluster^2 / (C - 1))
        mean -+ t(1 - (1 - level) / 2, df) * sqrt(V)
    V is never below V_seed, the variance behind "on these items". Where seeds hardly differ that is wider
    than need be. Sources: Cameron, Gelbach and Miller 2011 (two-way clusters), Satterthwaite 1946 (df).

    Args:
        difference_si: (S, I) complete; paired differences by seed and item, say.
        cluster_i: I names; items that are not independent share one. None: each stands alone.
        level: coverage in (0, 1).

    Returns:
        n is the number of seeds. No bounds with fewer than two clusters, or where V is 0 up to rounding: no
        spread, or spread that cancels in every seed and cluster, as in a Latin square.

    Raises:
        ValueError: fewer than two seeds or items, a hole, or another number of clusters.
    """
    table = _table(difference_si)
    seeds, items = table.shape
    names = np.arange(items).astype(str) if cluster_i is None else np.array(cluster_i, dtype=str)
    if len(names) != items:
        raise ValueError(f"{items} items and {len(names)} clusters: want one cluster per item")
    _, index_i = np.unique(names, return_inverse=True)
    clusters = int(index_i.max()) + 1
    mean = float(table.mean())
    if clusters < 2:
        return Interval(mean, None, None, seeds)
    sum_sc = np.zeros((seeds, clusters))
    np.add.at(sum_sc.T, index_i, (table - mean).T)
    by_seed = _robust(sum_sc.sum(axis=1), table.size)
    by_cluster = _robust(sum_sc.sum(axis=0), table.size)
    variance = max(by_seed + by_cluster - _robust(sum_sc.ravel(), table.size), by_seed, by_cluster)
    if variance <= (1e-12 * max(1.0, float(np.abs(table).max()))) ** 2:
        return Interval(mean, None, None, seeds)
    freedom = variance**2 / (by_seed**2 / (seeds - 1) + by_cluster**2 / (clusters - 1))
    half = float(stats.t.ppf(0.5 + level / 2, freedom) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half, seeds)


def _robust(sum_g: np.ndarray, size: int) -> float:
    return float(len(sum_g) / (len(sum_g) - 1) * (sum_g**2).sum() / size**2)


def _table(values: ArrayLike) -> np.ndarray:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"got shape {table.shape}: want 2 or more seeds by 2 or more items, none missing")
    return table
