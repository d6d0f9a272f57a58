"""Scores of items to means, errors and parts of variance. Here the policy is fixed; seeds come elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from benchmark.stats.interval import as_vector


def item_standard_error(score_i: ArrayLike, cluster_i: Sequence[str] | None = None) -> float | None:
    """Standard error of the mean over items, robust to clusters of items that are not independent:

        se = sqrt(C / (C - 1) * sum over clusters c of (sum over i in c of (score_i - mean))^2) / n

    with C clusters; C / (C - 1) is the finite-cluster correction. Where every item is a cluster of its own
    that is SD(ddof 1) / sqrt(n). Average the completions of each item first: they share the item, so counting
    them one by one would make the error too small. Source: Miller, arXiv:2411.00640, section 2.2; the same as
    statsmodels' cov_type="cluster" on an intercept.

    Args:
        score_i: (n,) mean score of each item.
        cluster_i: n names; items with equal ones (a template, say) are one cluster. None: each stands alone.

    Returns:
        In units of the score; None with fewer than two clusters. 0.0 is a real answer: all items scored the
        same.

    >>> item_standard_error([0.0, 1.0])
    0.5
    >>> item_standard_error([1.0]) is None
    True
    >>> item_standard_error([0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"])
    0.5
    """
    item_i = as_vector(score_i, at_least=0)
    if cluster_i is None:
        return float(item_i.std(ddof=1) / np.sqrt(len(item_i))) if len(item_i) >= 2 else None
    if len(cluster_i) != len(item_i):
        raise ValueError(f"{len(item_i)} scores and {len(cluster_i)} clusters: want one cluster per score")
    names, index_i = np.unique(np.array(cluster_i, dtype=str), return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    sum_c = np.bincount(index_i, weights=item_i - item_i.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * (sum_c**2).sum()) / len(item_i))


@dataclass(frozen=True)
class VarianceParts:
    """The variance of avg@k, split; the parts add up to the squared standard error over items."""

    between: float
    """From which items were asked; more samples an item do not lower it. May come out a little below 0."""
    within: float
    """From the sampling of answers; it falls with 1 / k."""


def variance_parts(right_i: ArrayLike, n_i: ArrayLike) -> VarianceParts | None:
    """Split the variance of the mean over items of right_i / n_i.

        within = mean_i(p_i (1 - p_i) / (n_i - 1)) / I, p_i = right_i / n_i: unbiased for E[p (1 - p)] / (I k)
        between = SD(p_i, ddof 1)^2 / I - within: unbiased for Var(true p_i) / I

    Source: evaluation.md 5.4; Miller, arXiv:2411.00640, section 3.

    Args:
        right_i: (I,) right completions of each item.
        n_i: (I,) graded completions of each item.

    Returns:
        None with fewer than two items, or where an item has a single completion: the two parts cannot be
        told apart then.

    >>> variance_parts([2, 0], [2, 2])
    VarianceParts(between=0.25, within=0.0)
    """
    right, n = as_vector(right_i, at_least=1), as_vector(n_i, at_least=1)
    if right.shape != n.shape or (n < 1).any() or (right < 0).any() or (right > n).any():
        raise ValueError("want 0 <= right <= n and 1 <= n for every item")
    if len(n) < 2 or (n < 2).any():
        return None
    p = right / n
    within = float((p * (1 - p) / (n - 1)).mean() / len(p))
    return VarianceParts(float(p.var(ddof=1) / len(p)) - within, within)
