"""The gate's decision on plain arrays: paired differences in, verdict out. Nothing here draws or reads.

At each look two one-sided paired t tests are made of all pairs so far, against one nominal threshold:

    p_worse      = P(T <= mean / se)               small: the candidate is worse than the baseline
    p_acceptable = P(T >= (mean + margin) / se)    small: it is not worse by the margin or more

with T Student's t with n - 1 degrees of freedom and se = SD(ddof 1) / sqrt(n). FAIL where p_worse reaches
the threshold, else PASS where p_acceptable does, else more pairs. The thresholds spend 5 % over the looks
(in the shape of O'Brien and Fleming): a candidate that changes nothing is failed in at most 5 % of all gates,
and one that is worse by exactly the margin passes in at most 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LOOKS = (4, 6, 8, 10)
"""Pairs at each look."""
THRESHOLDS = (0.0020, 0.0097, 0.0222, 0.0371)
"""Nominal one-sided p at each look; together 5 % (tests/test_gate_decide.py simulates it)."""
ALPHA = 0.05
"""What the thresholds spend on each of the two errors."""
MARGIN = 0.03
"""Largest loss that may pass, in units of the endpoint: 3 points of accuracy."""
EQUAL = 1e-12
"""Differences that are within this of each other have no spread (values are means of 0s and 1s)."""


class Verdict(StrEnum):
    """What the gate says."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    MORE = "more"
    """Undecided, and there are looks left."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One look at the pairs so far. Numbers that the pairs cannot give are None, and `reason` says why."""

    verdict: Verdict
    reason: str
    n: int
    """Pairs that the decision rests on."""
    effect: float
    """Mean difference, candidate minus baseline."""
    sd: float
    """Of the differences, ddof 1."""
    low: float | None
    """Two-sided interval at 1 - 2 * threshold: its ends and the two tests say the same."""
    high: float | None
    level: float
    """Of that interval."""
    p_worse: float | None
    p_acceptable: float | None
    threshold: float


def decide(
    difference_s: ArrayLike,
    *,
    margin: float = MARGIN,
    looks: Sequence[int] = LOOKS,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Decision:
    """Go through the looks that the pairs are enough for; the first that decides is final.

    Args:
        difference_s: (n,) candidate minus baseline per seed, in the order of the seeds; pairs beyond the last
            look that they complete are not read.
        margin: largest loss that may pass, above 0.
        looks: pairs at each look, increasing, the first at least 2.
        thresholds: nominal one-sided p of each.

    Returns:
        The look that decided, else the last one: MORE where looks are left, INCONCLUSIVE after the last.

    Raises:
        ValueError: fewer pairs than the first look, a value that is not finite, or a plan that is none.

    >>> decide([-0.05, -0.06, -0.055, -0.045]).verdict.value
    'fail'
    >>> decide([0.001, -0.002, 0.002, 0.0]).verdict.value
    'pass'
    >>> decide([0.0, -0.02, -0.05, 0.01]).verdict.value
    'more'
    """
    difference = np.asarray(difference_s, dtype=np.float64)
    _check_plan(margin, looks, thresholds)
    if difference.ndim != 1 or len(difference) < looks[0] or not np.isfinite(difference).all():
        raise ValueError(
            f"differences of shape {difference.shape}: want at least {looks[0]}, one axis, all finite"
        )
    decision = None
    for n, threshold in zip(looks, thresholds, strict=True):
        if n > len(difference):
            break
        decision = look(difference[:n], threshold, margin=margin, last=n == looks[-1])
        if decision.verdict is not Verdict.MORE:
            break
    assert decision is not None
    return decision


def look(difference_s: np.ndarray, threshold: float, *, margin: float = MARGIN, last: bool) -> Decision:
    """Make both tests of one look.

    Equal differences have no spread, and a t test of them would be certain of anything. They mean that the
    items are few or that something is not what it seems, so such a look does not decide.

    Args:
        difference_s: (n,) n >= 2.
        threshold: nominal one-sided p.
        margin: largest loss that may pass.
        last: whether no look follows.
    """
    n, effect, sd = len(difference_s), float(difference_s.mean()), float(difference_s.std(ddof=1))
    level = 1 - 2 * threshold
    undecided = Verdict.INCONCLUSIVE if last else Verdict.MORE
    shared = {"n": n, "effect": effect, "level": level, "threshold": threshold}
    if np.ptp(difference_s) <= EQUAL * max(1.0, float(np.abs(difference_s).max())):
        return Decision(
            verdict=undecided,
            reason=f"all {n} differences are {effect:+.4f}: no spread, so no test can be made",
            sd=0.0,
            low=None,
            high=None,
            p_worse=None,
            p_acceptable=None,
            **shared,  # type: ignore[arg-type]
        )
    error = sd / np.sqrt(n)
    p_worse = float(stats.t.cdf(effect / error, n - 1))
    p_acceptable = float(stats.t.sf((effect + margin) / error, n - 1))
    half = float(stats.t.ppf(1 - threshold, n - 1) * error)
    if p_worse <= threshold:
        verdict, reason = Verdict.FAIL, f"worse than the baseline: p {p_worse:.2g} <= {threshold:g}"
    elif p_acceptable <= threshold:
        verdict = Verdict.PASS
        reason = f"a loss of {margin:g} or more is rejected: p {p_acceptable:.2g} <= {threshold:g}"
    else:
        verdict = undecided
        reason = f"neither a loss nor the absence of one of {margin:g} is shown at {threshold:g}"
    return Decision(
        verdict=verdict,
        reason=reason,
        sd=sd,
        low=effect - half,
        high=effect + half,
        p_worse=p_worse,
        p_acceptable=p_acceptable,
        **shared,  # type: ignore[arg-type]
    )


def _check_plan(margin: float, looks: Sequence[int], thresholds: Sequence[float]) -> None:
    rising = all(a < b for a, b in pairwise(looks))
    sound = len(looks) == len(thresholds) and len(looks) > 0 and looks[0] >= 2 and rising
    if not (sound and margin > 0 and all(0 < p < 0.5 for p in thresholds)):
        raise ValueError(
            f"margin={margin}, looks={tuple(looks)}, thresholds={tuple(thresholds)}: want a margin above 0, "
            "increasing looks from 2 on and one threshold in (0, 0.5) each"
        )
