"""Outcome rewards of a group to advantages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STD_EPSILON = 1e-4
EQUAL = 1e-9
"""Rewards of a group that differ by no more are equal: the group carries no signal."""


def group_advantages(reward_g: Sequence[float | None], *, standardised: bool = True) -> NDArray[np.float64]:
    """Centre the rewards of one group, and divide by their spread:

        a_i = (r_i - mean r) / (std r + 1e-4), std with ddof = 1     (arXiv 2509.21154, section 2)

    A reward of None (the grader could not tell) leaves the statistics of the group, and its completion gets
    advantage 0. A group with fewer than two known rewards, or with equal ones, has advantage 0 throughout.

    Args:
        reward_g: G outcome rewards.
        standardised: False leaves the division out (Dr. GRPO).

    Returns:
        (G,) float64.

    >>> group_advantages([1.0, 0.0, None]).round(4).tolist()
    [0.707, -0.707, 0.0]
    """
    reward = np.array([np.nan if r is None else r for r in reward_g], dtype=np.float64)
    known = np.isfinite(reward)
    advantage = np.zeros_like(reward)
    if has_signal(reward_g):
        spread = reward[known].std(ddof=1) + STD_EPSILON if standardised else 1.0
        advantage[known] = (reward[known] - reward[known].mean()) / spread
    return advantage


def has_signal(reward_g: Sequence[float | None]) -> bool:
    """Return whether the known rewards of a group differ."""
    known = [r for r in reward_g if r is not None]
    return len(known) >= 2 and max(known) - min(known) > EQUAL
