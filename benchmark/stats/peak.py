"""How much of a maximum over checkpoints is luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

MIN_DRAWS = 2_000
"""Of any resampling; fewer leave digits that the draws decide."""


@dataclass(frozen=True)
class Optimism:
    """A raw maximum beside what equal checkpoints would have shown."""

    raw_max: float
    expected: float
    """By how much the maximum of equally good checkpoints exceeds their common mean, on average."""
    p_equal: float
    """How often equally good checkpoints reach the raw maximum; not small: nothing shows a peak."""


def peak_optimism(
    right_ki: ArrayLike, n_ki: ArrayLike, generator: np.random.Generator, draws: int = MIN_DRAWS
) -> Optimism:
    """Parametric bootstrap of "all checkpoints are equally good and only the answers vary".

    Item i is right with p_i = sum_k right_ki / sum_k n_ki at every checkpoint, so easy and hard items stay
    what they are. Draw right_ki ~ Binomial(n_ki, p_i), average the item means of each checkpoint, take the
    largest:  expected = mean over draws of max_k(mean_i(right_ki / n_ki)) - mean_i(p_i).
    Items with equal p and n are drawn together: a sum of such binomials is one binomial. p_i is estimated
    from the data, which makes the spread about 1 / (2 sum_k n_ki) of itself too small.
    Source: evaluation.md finding 1 and section 5.3.

    Args:
        right_ki: (K, I) right completions of each trained checkpoint and item.
        n_ki: (K, I) graded completions, each >= 1.
        generator: the only source of randomness.
        draws: at least 2,000.

    Returns:
        In accuracy; p_equal counts the observed table as one of the draws, so it is never 0.

    Raises:
        ValueError: shapes differ, an item has no completion, or too few draws.
    """
    right, n = np.asarray(right_ki, dtype=np.float64), np.asarray(n_ki, dtype=np.int64)
    if right.ndim != 2 or right.shape != n.shape or not right.size:
        raise ValueError(f"got shapes {right.shape} and {n.shape}: want two equal ones, checkpoints by items")
    if (n < 1).any() or (right < 0).any() or (right > n).any():
        raise ValueError("want 0 <= right <= n and 1 <= n for every checkpoint and item")
    if draws < MIN_DRAWS:
        raise ValueError(f"draws={draws}: want {MIN_DRAWS} or more")
    p_i = right.sum(axis=0) / n.sum(axis=0)
    max_b = np.zeros(draws)
    for n_i in n:
        (p_g, n_g), count_g = np.unique(np.vstack([p_i, n_i]), axis=1, return_counts=True)
        drawn = generator.binomial(n_g.astype(np.int64) * count_g, p_g, size=(draws, len(p_g)))
        np.maximum(max_b, (drawn / n_g).sum(axis=1) / len(p_i), out=max_b)
    raw_max = float((right / n).mean(axis=1).max())
    beaten = int((max_b >= raw_max - 1e-12).sum())
    return Optimism(raw_max, float(max_b.mean() - p_i.mean()), (beaten + 1) / (draws + 1))
