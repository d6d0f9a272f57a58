"""k samples of one item to its scores: avg@k, pass@k and maj@k, as they are defined and nothing else.

All three take the grades of one item. What the grader could not judge is left out before any of them, and
counted elsewhere; an item with nothing left has no score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np

from tasks.grading import canonical
from tasks.majority import majority_shares
from tasks.schema import AnswerKind, Grade, Status

RIGHT = "\0right"
"""The vote of every right answer; no text of a model normalises to it."""


def sample_metrics(
    grades: Sequence[Grade], samples: int, kind: AnswerKind = "math"
) -> dict[str, float | None]:
    """Return every metric of one item that was answered `samples` times.

    "accuracy" is avg@k: the mean score of the samples. With more than one sample there are "pass@k" and
    "maj@k" for k = 2, 4, 8, ... up to `samples`; a k that fewer gradable samples are left for is None.

    Raises:
        ValueError: another number of grades: missing samples are not wrong ones.
    """
    if len(grades) != samples:
        raise ValueError(f"{len(grades)} samples of an item that has {samples}")
    known = [one for one in grades if one.score is not None]
    right = sum(one.score == 1 for one in known)
    metrics: dict[str, float | None] = {"accuracy": right / len(known) if known else None}
    for k in subset_sizes(samples):
        enough = k <= len(known)
        metrics[f"pass@{k}"] = pass_at_k(len(known), right, k) if enough else None
        metrics[f"maj@{k}"] = maj_at_k(known, k, kind) if enough else None
    return metrics


def metric_names(samples: int) -> list[str]:
    """Return the names that `sample_metrics` gives.

    >>> metric_names(5)
    ['accuracy', 'pass@2', 'maj@2', 'pass@4', 'maj@4']
    """
    return ["accuracy", *(f"{name}@{k}" for k in subset_sizes(samples) for name in ("pass", "maj"))]


def subset_sizes(samples: int) -> list[int]:
    """Return 2, 4, 8, ... up to the number of samples."""
    return [1 << power for power in range(1, samples.bit_length()) if 1 << power <= samples]


def pass_at_k(n: int, right: int, k: int) -> float:
    """Return the chance that k of n samples, drawn without replacement, hold a right one.

        pass@k = 1 - C(n - c, k) / C(n, k)

    Unbiased for a fresh draw of k. Source: Chen et al., arXiv:2107.03374, eq. 1.

    Raises:
        ValueError: not 1 <= k <= n, or not 0 <= right <= n.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ValueError(f"pass@{k} of {right} right ones among {n}: want 1 <= k <= n and 0 <= right <= n")
    return 1 - comb(n - right, k) / comb(n, k)


def maj_at_k(grades: Sequence[Grade], k: int, kind: AnswerKind = "math") -> float:
    """Return the chance that the answer given most often among k of the samples is right.

    The mean over all subsets of k samples (`tasks.majority`). A sample without an answer does not vote;
    answers with equally many votes share the point; a subset without a vote scores 0.

    Raises:
        ValueError: fewer than k samples.
    """
    if not 1 <= k <= len(grades):
        raise ValueError(f"maj@{k} of {len(grades)} samples")
    votes = Counter(vote(one, kind) for one in grades)
    right, blank = (np.array([votes.pop(name, 0)]) for name in (RIGHT, ""))
    others = np.array([list(votes.values())], dtype=int)
    return float(majority_shares(right, others, blank, [k])[0, 0])


def vote(grade: Grade, kind: AnswerKind = "math") -> str:
    """Return what two samples share if they plainly gave the same answer; "" for no answer.

    Right answers are one answer, however they are written: all of them equal the reference. Wrong ones are
    compared as letters, words or moves; in mathematics as numbers where they are plain ones, else as
    normalised text, so two ways to write a wrong formula are two votes.
    """
    if grade.status is Status.CORRECT:
        return RIGHT
    return canonical(grade.answer, kind) if grade.status is Status.WRONG and grade.answer else ""
