"""Who cannot be told from the best: tied sets instead of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats as scipy_stats

from benchmark.stats import holm, paired_t_p
from benchmark.stats.interval import all_equal

Who: TypeAlias = tuple[str, str]
"""(entry, arm)."""
Place = Literal["best", "tied", "below", "no statement"]


@dataclass(frozen=True, kw_only=True)
class Tie:
    """Where a row stands in its group."""

    place: Place
    reason: str
    """What it rests on, or why nothing can be said."""
    p: float | None = None
    """After Holm, against the best."""


def tied_sets(
    values: Mapping[Who, Mapping[int, float]], *, alpha: float, min_seeds: int, sign: int = 1
) -> dict[Who, Tie]:
    """Compare every row with the one that has the best mean.

    A row is tied with the best unless a two-sided t test on the seeds' values says otherwise at `alpha`,
    after Holm over all rows of the group. Arms of one entry share their seeds and are paired by them; arms of
    different entries are not, and Welch's test compares them. The best is chosen on the values that are
    tested, so the set is a screening: it holds the truly best row with about 1 - alpha, and it ranks nothing
    inside.

    Args:
        values: row -> training seed -> primary endpoint; finite.
        alpha: level of the family of tests.
        min_seeds: with fewer seeds nothing is said about a row.
        sign: 1 where higher is better, else -1.
    """
    ties = {who: Tie(place="no statement", reason=_few(of, min_seeds)) for who, of in values.items()}
    enough = [who for who in sorted(values) if len(values[who]) >= min_seeds]
    if not enough:
        return ties
    best = max(enough, key=lambda who: (sign * float(np.mean(list(values[who].values()))), who))
    others = [who for who in enough if who != best]
    ties[best] = Tie(place="best", reason="the best mean" if others else "nothing to compare with")
    raw = [_p(best, values[best], who, values[who]) for who in others]
    for who, p in zip(others, holm(raw), strict=True):
        if p is None:
            ties[who] = Tie(
                place="no statement", reason="its differences from the best have no spread to test"
            )
        else:
            place: Place = "below" if p <= alpha else "tied"
            ties[who] = Tie(
                place=place, reason=f"p = {p:.2g} against the best, after Holm over {len(others)}", p=p
            )
    return ties


def _few(of: Mapping[int, float], least: int) -> str:
    return f"{len(of)} training seed{'s' if len(of) != 1 else ''}: a test needs {least}"


def _p(best: Who, best_of: Mapping[int, float], who: Who, of: Mapping[int, float]) -> float | None:
    if best[0] == who[0]:
        seeds = sorted(best_of.keys() & of.keys())
        return paired_t_p(np.array([best_of[seed] - of[seed] for seed in seeds]))
    ours, theirs = np.array(list(best_of.values())), np.array(list(of.values()))
    if all_equal(ours) and all_equal(theirs):
        return None
    return float(scipy_stats.ttest_ind(ours, theirs, equal_var=False).pvalue)
