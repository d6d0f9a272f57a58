"""Means with t intervals, on the plain and on the log scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean over n values with a confidence interval, in the units of the values."""

    mean: float
    low: float | None
    """None, with `high`, when n < 2 or when all values are equal (see `t_interval`)."""
    high: float | None
    n: int


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student t interval of the mean: mean -+ t(1 - (1 - level) / 2, n - 1) * SD(ddof 1) / sqrt(n).

    With n < 2 there is no spread to measure and the bounds are None. They are None as well when all values
    are equal (within 1e-12 of their size): the formula would give zero width, that is certainty, while n
    equal accuracies mostly show that items are few or that training changed nothing.

    Args:
        values: (n,) one value per training seed, n >= 1, finite.
        level: coverage in (0, 1).

    Raises:
        ValueError: no values, a value that is not finite, or a level outside (0, 1).

    >>> interval = t_interval([0.25, 0.75], level=0.5)
    >>> round(interval.low, 9), round(interval.high, 9)
    (0.25, 0.75)
    >>> t_interval([0.5])
    Interval(mean=0.5, low=None, high=None, n=1)
    """
    value_s = as_vector(values, at_least=1)
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must lie in (0, 1)")
    mean, n = float(value_s.mean()), len(value_s)
    if all_equal(value_s):  # one value is, too
        return Interval(mean, None, None, n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * value_s.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(log_ratios: ArrayLike, level: float = 0.95) -> Interval:
    """Geometric mean of ratios with the t interval of their logarithms, back on the ratio scale.

        exp(mean), exp(mean -+ t * SD / sqrt(n)) of the log ratios

    Args:
        log_ratios: (n,) natural logarithm of one ratio per pair of seeds.
        level: coverage in (0, 1).

    Raises:
        ValueError: as for `t_interval`.

    >>> ratio_interval([0.0, 0.0])
    Interval(mean=1.0, low=None, high=None, n=2)
    """
    plain = t_interval(log_ratios, level)
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (plain.low, plain.high))
    return Interval(float(np.exp(plain.mean)), low, high, plain.n)


def all_equal(value_s: np.ndarray) -> bool:
    """Return whether the values differ by no more than 1e-12 of their size."""
    return bool(np.ptp(value_s) <= 1e-12 * max(1.0, float(np.abs(value_s).max())))


def as_vector(values: ArrayLike, *, at_least: int) -> np.ndarray:
    """Return a float vector; anything but finite numbers on one axis is a `ValueError`."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or len(vector) < at_least or not np.isfinite(vector).all():
        raise ValueError(
            f"got shape {vector.shape}: want one axis, {at_least} or more values, all of them finite"
        )
    return vector
