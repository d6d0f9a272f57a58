"""Outcome rewards of a group to advantages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STD_EPSILON = 1e-4


def group_advantages(reward_g: Sequence[float | None]) -> NDArray[np.float64]:
    """Standardise the rewards of one group: a_i = (r_i - mean r) / (std r + 1e-4), std with ddof = 1.

    A reward of None (the grader could not tell) leaves the statistics of the group, and its completion gets
    advantage 0. A group with fewer than two known rewards, or with equal ones, has advantage 0 throughout.

    Args:
        reward_g: G outcome rewards.

    Returns:
        (G,) float64.

    >>> group_advantages([1.0, 0.0, None]).round(4).tolist()
    [0.707, -0.707, 0.0]
    """
    reward = np.array([np.nan if r is None else r for r in reward_g], dtype=np.float64)
    known = np.isfinite(reward)
    advantage = np.zeros_like(reward)
    if known.sum() >= 2:
        spread = reward[known].std(ddof=1) + STD_EPSILON
        advantage[known] = (reward[known] - reward[known].mean()) / spread
    return advantage
