"""maj@k exactly: the mean over all subsets of k samples, counted instead of drawn, for many items at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb

import numpy as np

MOST_SAMPLES = 1_000
"""Of one item; the number of subsets of a few more is no float any longer."""
BLOCK = 2_000
"""Items that are counted side by side: bounds the memory, and changes no bit of a result."""


def majority_shares(
    right_u: np.ndarray, others_uv: np.ndarray, blank_u: np.ndarray, sizes: Sequence[int]
) -> np.ndarray:
    """Return the chance that the right answer has the most votes among k samples, ties split.

    Only the number of votes for each answer matters. With R votes for the right answer, c_v for the wrong
    answer v and B samples that do not vote, a subset of k with r right ones gives 1/(t + 1) where no wrong
    answer has more than r votes and t of them have r, so

        maj@k = sum over r >= 1, t of C(R, r) W(k - r, r, t) / (t + 1) / C(R + sum c + B, k)

    where W(x, r, t) counts the ways to take x samples that are not right, at most r of every answer and
    exactly r of t of them: the coefficient of z^x y^t in
    (1 + z)^B prod_v [sum_{i < r} C(c_v, i) z^i + C(c_v, r) z^r y].

    Args:
        right_u: (U,) votes for the right answer, for each of U items.
        others_uv: (U, V) votes for every wrong answer, zero where an item has fewer.
        blank_u: (U,) samples that do not vote.
        sizes: the k.

    Returns:
        (U, len(sizes)); NaN where an item has fewer than k samples. Exact up to rounding; counts below 2^53,
        those of 56 samples, are exact integers. An item's values do not depend on the others.

    Raises:
        ValueError: more than `MOST_SAMPLES` samples of an item.
    """
    others_uv = -np.sort(-others_uv, axis=1)
    n_u = right_u + others_uv.sum(axis=1) + blank_u
    if n_u.max(initial=0) > MOST_SAMPLES:
        raise ValueError(f"{n_u.max()} samples of an item; majorities are counted up to {MOST_SAMPLES}")
    blocks = [
        _wins(right_u[at : at + BLOCK], others_uv[at : at + BLOCK], blank_u[at : at + BLOCK], sizes)
        for at in range(0, len(n_u), BLOCK)
    ]
    wins_us = np.concatenate([np.zeros((0, len(sizes))), *blocks])
    ways_us = binomials(n_u.max(initial=0), max(sizes, default=0))[n_u][:, list(sizes)]
    return np.where(ways_us > 0, wins_us / np.maximum(ways_us, 1), np.nan)


def _wins(
    right_u: np.ndarray, others_uv: np.ndarray, blank_u: np.ndarray, sizes: Sequence[int]
) -> np.ndarray:
    """Sum up the subsets that the right answer wins, a shared win in part."""
    most = max(sizes, default=0)
    choose = binomials(int((right_u + others_uv.sum(axis=1) + blank_u).max()), most)
    wins_us = np.zeros((len(right_u), len(sizes)))
    for r in range(1, min(most, int(right_u.max())) + 1):
        rivals_uv = np.where(others_uv >= r, others_uv, 0)
        free_u = blank_u + (others_uv - rivals_uv).sum(axis=1)  # too few to tie: as good as blank
        rival_ux = _rival_ways(rivals_uv, r, most - r, choose)
        for at, k in enumerate(sizes):
            ways_u = np.zeros(len(right_u))
            for x in range(k - r + 1):
                ways_u += rival_ux[:, x] * choose[free_u, k - r - x]
            wins_us[:, at] += choose[right_u, r] * ways_u
    return wins_us


def _rival_ways(rivals_uv: np.ndarray, r: int, most: int, choose: np.ndarray) -> np.ndarray:
    """Count the ways to take x of the votes of rivals, at most r of each; t rivals with r divide by t + 1.

    Returns:
        (U, most + 1), by x.
    """
    rivals = int((rivals_uv > 0).sum(axis=1).max())
    ways_uxt = np.zeros((len(rivals_uv), most + 1, min(rivals, most // r) + 1))
    ways_uxt[:, 0, 0] = 1
    for v in range(rivals):
        is_one_u, old = rivals_uv[:, v] > 0, ways_uxt
        ways_uxt = old.copy()  # none of this answer
        for i in range(1, min(r, most + 1)):
            ways_uxt[:, i:] += (is_one_u * choose[rivals_uv[:, v], i])[:, None, None] * old[:, : most + 1 - i]
        if r <= most:
            tie_u = (is_one_u * choose[rivals_uv[:, v], r])[:, None, None]
            ways_uxt[:, r:, 1:] += tie_u * old[:, : most + 1 - r, :-1]
    shared_ux = np.zeros(ways_uxt.shape[:2])
    for t in range(ways_uxt.shape[2]):  # not `sum`, whose order depends on how many there are
        shared_ux += ways_uxt[:, :, t] / (t + 1)
    return shared_ux


@cache
def binomials(n: int, k: int) -> np.ndarray:
    """Return C(i, j) for i = 0..n and j = 0..k, as floats.

    >>> binomials(3, 2).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 2.0, 1.0], [1.0, 3.0, 3.0]]
    """
    return np.array([[float(comb(i, j)) for j in range(k + 1)] for i in range(n + 1)])
