"""How much of a maximum over checkpoints is luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

MIN_DRAWS = 2_000
"""Of any resampling; fewer leave digits that the draws decide."""
NEGLIGIBLE = 40.0
"""Of -log: frequencies whose weight is below e^-40 change no probability in double precision."""


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
    Items with equal n at every checkpoint are drawn together, as one draw of the sum of their binomials.
    p_i is estimated from the data, which makes the spread about 1 / (2 sum_k n_ki) of itself too small.
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
    n_ku, of_i = np.unique(n, axis=1, return_inverse=True)
    mean_kb = np.zeros((len(n), draws))
    for u in range(n_ku.shape[1]):
        law = {n_k: np.cumsum(binomial_sum(n_k, p_i[of_i == u])) for n_k in set(n_ku[:, u].tolist())}
        for k, n_k in enumerate(n_ku[:, u].tolist()):
            drawn_b = np.searchsorted(law[n_k], law[n_k][-1] * generator.random(draws), side="right")
            mean_kb[k] += drawn_b / n_k / len(p_i)
    max_b = mean_kb.max(axis=0)
    raw_max = float((right / n).mean(axis=1).max())
    beaten = int((max_b >= raw_max - 1e-12).sum())
    return Optimism(raw_max, float(max_b.mean() - p_i.mean()), (beaten + 1) / (draws + 1))


def binomial_sum(n: int, p_i: np.ndarray) -> np.ndarray:
    """Return the law of the sum of independent Binomial(n, p_i), by its characteristic function.

    phi(t) = prod_i (1 - p_i + p_i e^(-it))^n at the N = n I + 1 frequencies t = 2 pi f / N, and back by a
    Fourier transform. As |phi(t)| <= exp(-v (1 - cos t)) with the variance v = n sum_i p_i (1 - p_i), most
    frequencies of a wide law are left out.

    Args:
        n: draws of each.
        p_i: (I,) chances.

    Returns:
        (N,) the probability of each sum from 0 to n I, to about 1e-15.
    """
    p_g, count_g = np.unique(p_i, return_counts=True)
    size = n * len(p_i) + 1
    turn_f = 2 * np.pi * np.arange(size // 2 + 1) / size
    turn_f = turn_f[n * (p_i * (1 - p_i)).sum() * (1 - np.cos(turn_f)) < NEGLIGIBLE]
    phi_f = np.ones(len(turn_f), dtype=np.complex128)
    for p, count in zip(p_g, count_g, strict=True):
        phi_f *= (1 - p + p * np.exp(-1j * turn_f)) ** (n * count)
    return np.fft.irfft(phi_f, size).clip(min=0)
