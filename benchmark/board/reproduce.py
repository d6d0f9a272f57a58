"""Another entry that trained the same arms again: does it come to equivalent results?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from statsmodels.stats.weightstats import ttost_ind

from benchmark.board.declared import trained_weights
from benchmark.board.opened import Opened
from benchmark.board.reading import Fault, shown
from benchmark.board.records import Reproduced
from benchmark.board.schedule import entry_endpoints
from benchmark.board.standing import group_key
from benchmark.board.summed import Summed, primary_reason, primary_values, sum_up
from benchmark.stats.interval import all_equal


def reproduce(opened: Opened, again: Opened) -> tuple[Reproduced | None, list[str]]:
    """Compare every arm of an entry with the same arm of an entry that somebody else trained.

    Two one-sided Welch tests per arm on the primary endpoint of the training seeds, against the margin that
    the suite declares; all arms have to be equivalent, so nothing is adjusted (an intersection-union test).

    Returns:
        The finding, None unless every arm is equivalent, and a line for each arm.

    Raises:
        Fault: the two cannot be compared in every arm of the suite, or the second was not trained by somebody
            else.
    """
    _independent(opened, again)
    first, second = sum_up(opened), sum_up(again)
    if opened.entry.id == again.entry.id or group_key(first) != group_key(second):
        raise Fault(
            f"{again.entry.id}: cannot be compared with {opened.entry.id}; suite, base model, task versions, "
            "engine and steps of a reproduction are those of the entry, and it is another one"
        )
    endpoints = entry_endpoints(opened.entry)
    arms = sorted(opened.entry.suite["arms"])
    for arm in arms:
        if arm not in again.entry.suite["arms"]:
            raise Fault(f"{again.entry.id}: has no arm {arm!r}, which {opened.entry.id} has")
    ours, theirs = _all_of(arms, first), _all_of(arms, second)
    lines, worst = [], 0.0
    for arm in arms:
        p = equivalence(ours[arm], theirs[arm], endpoints.margin)
        worst = max(worst, 1.0 if p is None else p)
        lines.append(
            f"{arm}: {np.mean(list(ours[arm].values())):.4f} and {np.mean(list(theirs[arm].values())):.4f}, "
            + (f"p = {p:.2g} of equivalence" if p is not None else "too few seeds, or no spread, to test")
        )
    if worst > endpoints.alpha:
        return None, lines
    finding = Reproduced(
        reproduction=again.entry.id,
        content=again.digest,
        reproduced_by=again.entry.author,
        margin=endpoints.margin,
        largest_p=worst,
    )
    return finding, lines


def _all_of(arms: Sequence[str], one: Summed) -> dict[str, dict[int, float]]:
    """Return the `primary_values` of an entry; every arm has to have them, else nothing was compared."""
    values = primary_values(one)
    for arm in arms:
        if arm not in values:
            raise Fault(
                f"{one.opened.entry.id}: not comparable: arm {shown(arm)} has no primary endpoint: "
                f"{shown(primary_reason(one))}"
            )
    return values


def equivalence(ours: Mapping[int, float], theirs: Mapping[int, float], margin: float) -> float | None:
    """Return p of two one-sided Welch tests that the means differ by less than the margin, or None.

    None: fewer than two seeds, or no spread.
    """
    left, right = np.array(list(ours.values())), np.array(list(theirs.values()))
    if min(len(left), len(right)) < 2 or (all_equal(left) and all_equal(right)):
        return None
    return float(ttost_ind(left, right, -margin, margin, usevar="unequal")[0])


def _independent(opened: Opened, again: Opened) -> None:
    """Refuse a copy, and runs of the same author or of nobody."""
    ours, theirs = trained_weights(opened.rows), trained_weights(again.rows)
    if ours & theirs:
        raise Fault(
            f"{again.entry.id}: {len(ours & theirs)} checkpoints have the weights of {opened.entry.id}: "
            "a copy is no reproduction; train again, with other seeds"
        )
    if not again.entry.author or same_person(again.entry.author, opened.entry.author):
        raise Fault(
            f"{again.entry.id}: its author is {shown(again.entry.author or 'nobody')}, of {opened.entry.id} "
            f"{shown(opened.entry.author or 'nobody')}; somebody else reproduces, and says who"
        )


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same but for case and spaces."""
    return one.casefold().split() == other.casefold().split()
