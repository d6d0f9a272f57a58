"""Tests on paired differences: is there one, is there none, and for how many tasks at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmark.stats.interval import all_equal, as_vector

MAX_SIGN_FLIP_PAIRS = 40


def sign_flip_p(difference_s: ArrayLike) -> float:
    """Exact two-sided sign-flip p: the share of all 2^n sign assignments with |sum| >= |observed sum|.

    Exact when the differences are symmetric around 0 under "no effect"; no p below 2 / 2^n exists.
    The 2^n sums are those of two halves added pairwise, so sorting one half counts them without listing them.

    Args:
        difference_s: (n,) paired differences, 1 <= n <= 40.

    Raises:
        ValueError: no differences, more than 40, or one that is not finite.

    >>> sign_flip_p([0.1, 0.2, 0.3])
    0.25
    """
    difference = as_vector(difference_s, at_least=1)
    if len(difference) > MAX_SIGN_FLIP_PAIRS:
        raise ValueError(
            f"{len(difference)} pairs: exact up to {MAX_SIGN_FLIP_PAIRS}, use the t interval beyond"
        )
    middle = len(difference) // 2
    left, right = _signed_sums(difference[:middle]), np.sort(_signed_sums(difference[middle:]))
    # Equal sums added in another order differ in the last bits; they count as equal.
    observed = abs(difference.sum()) - 1e-12 * np.abs(difference).sum()
    if observed <= 0:
        return 1.0
    above = len(right) - np.searchsorted(right, observed - left, side="left")
    below = np.searchsorted(right, -observed - left, side="right")
    return float((above.sum() + below.sum()) / 2 ** len(difference))


def _signed_sums(value_s: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for value in value_s:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def paired_t_p(difference_s: ArrayLike) -> float | None:
    """Two-sided p of the paired t test that the mean difference is 0; None where `t_interval` has no bounds.

    >>> round(paired_t_p([0.1, 0.2, 0.3]), 6)
    0.07418
    """
    difference = as_vector(difference_s, at_least=1)
    if all_equal(difference):
        return None
    return float(2 * stats.t.sf(abs(difference.mean()) / _error(difference), len(difference) - 1))


def equivalence_p(difference_s: ArrayLike, margin: float) -> float | None:
    """P of two one-sided t tests: at most alpha shows that the mean difference lies inside (-margin, margin).

        p = max(P(T > (mean + margin) / se), P(T < (mean - margin) / se)), T with n - 1 degrees of freedom

    Equivalent at alpha exactly when the 1 - 2 alpha t interval lies inside the margin. Source: Schuirmann
    1987; the same as statsmodels' `ttost_paired`.

    Args:
        difference_s: (n,) paired differences.
        margin: > 0, in their units, declared beforehand.

    Returns:
        None with fewer than two pairs or without spread: nothing can be shown then.

    >>> round(equivalence_p([0.01, -0.01, 0.0], 0.03), 6)
    0.017549
    """
    difference = as_vector(difference_s, at_least=1)
    if not 0 < margin < np.inf:
        raise ValueError(f"margin={margin}: want a positive number")
    if all_equal(difference):
        return None
    nearer = (margin - abs(difference.mean())) / _error(difference)  # the larger p is that of this side
    return float(stats.t.sf(nearer, len(difference) - 1))


def _error(difference_s: np.ndarray) -> float:
    return float(difference_s.std(ddof=1) / np.sqrt(len(difference_s)))


def holm(p_t: Sequence[float | None]) -> list[float | None]:
    """Adjust p values so that the chance of any false claim among them stays at alpha (Holm 1979).

    Sorted p(1) <= ... <= p(m): adjusted p(j) = max over i <= j of min(1, (m - i + 1) * p(i)). A test that
    could not be made (None) stays None and does not count in m. The same as statsmodels' `multipletests`,
    which collects garbage on every call: a second for the tables of one suite.

    >>> holm([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    known = [at for at, p in enumerate(p_t) if p is not None]
    adjusted: list[float | None] = [None] * len(p_t)
    worst = 0.0
    for rank, at in enumerate(sorted(known, key=lambda at: p_t[at] or 0.0)):
        worst = max(worst, min(1.0, (len(known) - rank) * (p_t[at] or 0.0)))
        adjusted[at] = worst
    return adjusted
