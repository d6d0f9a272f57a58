"""How small a difference could have been found."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import optimize, stats


def minimum_detectable_effect(difference_sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true mean difference that a two-sided paired t test finds with probability `power`.

    Solves P(|T| > t(1 - alpha / 2, n - 1)) = power for the mean d, T noncentral t with n - 1 degrees of
    freedom and noncentrality d * sqrt(n) / difference_sd. (T^2 is noncentral F with 1 and n - 1.)

    Args:
        difference_sd: SD of the paired differences (> 0), usually estimated from the same n pairs.
        n: pairs, at least 2.
        alpha: level of the test, in (0, power).
        power: in (alpha, 1).

    Returns:
        In the units of `difference_sd`.

    Raises:
        ValueError: an argument outside its range.
    """
    if n < 2 or not difference_sd > 0 or not 0 < alpha < power < 1:
        raise ValueError(
            f"difference_sd={difference_sd}, n={n}, alpha={alpha}, power={power}: "
            "want difference_sd > 0, n >= 2 and 0 < alpha < power < 1"
        )
    return _standard_shift(n, alpha, power) * difference_sd / float(np.sqrt(n))


@cache
def _standard_shift(n: int, alpha: float, power: float) -> float:
    """Noncentrality at which the test has the power; a table asks for the same few again and again."""
    critical = stats.t.ppf(1 - alpha / 2, n - 1) ** 2

    def excess(shift: float) -> float:
        # Through F: scipy's noncentral t is NaN at some shifts (df 1, shift 8).
        return float(stats.ncf.sf(critical, 1, n - 1, shift**2) - power)

    upper = 1.0
    while excess(upper) < 0:
        upper *= 2
    return float(optimize.brentq(excess, 1e-6, upper, xtol=1e-10))


def pairs_needed(effect: float, difference_sd: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Fewest pairs of seeds with which a true mean difference of `effect` is found with the power.

    The smallest n whose `minimum_detectable_effect` is not above the effect.

    Args:
        effect: > 0, in the units of `difference_sd`, such as 0.03 for 3 points.
        difference_sd: SD of the paired differences (> 0), from an A/A study.
        alpha: level of the two-sided paired t test.
        power: in (alpha, 1).

    Raises:
        ValueError: an argument outside its range, or more than 100,000 pairs.

    >>> pairs_needed(0.03, 0.02)
    6
    """
    if not effect > 0:
        raise ValueError(f"effect={effect}: want a positive number")
    low, high = 1, 2
    while minimum_detectable_effect(difference_sd, high, alpha, power) > effect:
        low, high = high, 2 * high
        if high > 100_000:
            raise ValueError(f"effect={effect}, difference_sd={difference_sd}: more than 100,000 pairs")
    while high - low > 1:
        middle = (low + high) // 2
        enough = minimum_detectable_effect(difference_sd, middle, alpha, power) <= effect
        low, high = (low, middle) if enough else (middle, high)
    return high
