"""avg@k, pass@k and maj@k of a set of items: the item's own estimators live in `tasks.sampled`."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from benchmark.stats.interval import Interval, as_vector
from benchmark.stats.items import item_interval
from tasks.sampled import maj_at_k, pass_at_k
from tasks.schema import AnswerKind, Grade

Clusters = Sequence[str] | None


def mean_avg_at_k(right_i: ArrayLike, n_i: ArrayLike, clusters: Clusters = None) -> Interval:
    """Return avg@k: the mean over items of each item's share of right completions, with `item_interval`.

    Items weigh the same however many of their completions could be graded.

    >>> mean_avg_at_k([1, 4], [4, 4]).mean
    0.625
    """
    right, n = as_vector(right_i, at_least=1), as_vector(n_i, at_least=1)
    return item_interval(
        [pass_at_k(int(of), int(good), 1) for good, of in zip(right, n, strict=True)], clusters
    )


def mean_pass_at_k(right_i: ArrayLike, n_i: ArrayLike, k: int, clusters: Clusters = None) -> Interval:
    """Return pass@k: the mean over items of 1 - C(n - c, k) / C(n, k), with `item_interval`.

    Raises:
        ValueError: an item has fewer than k completions: missing is not wrong, so nothing is averaged.

    >>> mean_pass_at_k([1, 0], [4, 4], 2).mean
    0.25
    """
    right, n = as_vector(right_i, at_least=1), as_vector(n_i, at_least=1)
    return item_interval(
        [pass_at_k(int(of), int(good), k) for good, of in zip(right, n, strict=True)], clusters
    )


def mean_maj_at_k(
    grades_i: Sequence[Sequence[Grade]], k: int, kind: AnswerKind = "math", clusters: Clusters = None
) -> Interval:
    """Return maj@k: the mean over items of `tasks.sampled.maj_at_k`, with `item_interval`.

    Raises:
        ValueError: an item has fewer than k grades.
    """
    return item_interval([maj_at_k(grades, k, kind) for grades in grades_i], clusters)
