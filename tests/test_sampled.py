"""avg@k, pass@k and maj@k against their plain definitions."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from tasks.majority import majority_shares
from tasks.sampled import RIGHT, maj_at_k, metric_names, pass_at_k, sample_metrics, vote
from tasks.schema import AnswerKind, Grade, Status


def graded(*answers: str | None, right: str = "7") -> list[Grade]:
    """Return a grade per answer; None is a text without an answer."""
    return [
        Grade(status=Status.UNPARSED, answer=None)
        if answer is None
        else Grade(status=Status.CORRECT if answer == right else Status.WRONG, answer=answer)
        for answer in answers
    ]


@pytest.mark.parametrize(
    ("n", "right", "k"), [(n, c, k) for n in range(1, 7) for c in range(n + 1) for k in range(1, n + 1)]
)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n: int, right: int, k: int) -> None:
    subsets = list(combinations([1] * right + [0] * (n - right), k))
    assert pass_at_k(n, right, k) == pytest.approx(np.mean([max(subset) for subset in subsets]), abs=1e-15)


def test_pass_at_k_is_unbiased_where_the_usual_shortcut_is_not() -> None:
    p, n, k = 0.3, 8, 4
    outcomes = list(product([0, 1], repeat=n))
    chance = [p ** sum(one) * (1 - p) ** (n - sum(one)) for one in outcomes]
    mean = sum(c * pass_at_k(n, sum(one), k) for c, one in zip(chance, outcomes, strict=True))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


@pytest.mark.parametrize(("n", "right", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 2), (3, -1, 2)])
def test_pass_at_k_refuses_more_than_there_is(n: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="want 1 <= k <= n"):
        pass_at_k(n, right, k)


@pytest.mark.parametrize(
    ("answers", "k", "want"),
    [
        (["7", "7", "3"], 3, 1.0),
        (["7", "3", "3"], 3, 0.0),
        (["7", "3"], 2, 0.5),  # a tie is split
        (["7", "3", "4"], 3, 1 / 3),
        (["7", None, None], 3, 1.0),  # who says nothing does not vote
        ([None, None], 2, 0.0),
        (["7", "3", "3"], 2, (0.5 + 0.5 + 0.0) / 3),  # pairs: 7-3, 7-3, 3-3
        (["7", "7", "3", "3"], 1, 0.5),
    ],
)
def test_maj_at_k_is_the_mean_over_subsets(answers: list[str | None], k: int, want: float) -> None:
    assert maj_at_k(graded(*answers), k) == pytest.approx(want, abs=1e-15)


def test_right_answers_are_one_answer_and_wrong_ones_are_compared_as_text() -> None:
    half = [Grade(status=Status.CORRECT, answer=text) for text in ("0.5", "1/2")]
    wrong = [Grade(status=Status.WRONG, answer="3")] * 2
    assert vote(half[0]) == vote(half[1]) != vote(wrong[0])
    assert maj_at_k([*half, *wrong], 4) == 0.5  # two against two, not one, one and two
    assert vote(Grade(status=Status.WRONG, answer="$3$")) == vote(wrong[0])
    assert vote(Grade(status=Status.TRUNCATED, answer="7")) == ""


def by_subsets(votes: list[str], k: int) -> float:
    """The definition: every subset, the point shared by those with the most votes."""
    shares = []
    for subset in combinations(votes, k):
        counts = Counter(one for one in subset if one)
        first = [name for name, count in counts.items() if count == max(counts.values())]
        shares.append((RIGHT in first) / max(len(first), 1))
    return float(np.mean(shares))


@pytest.mark.parametrize("seed", range(60))
def test_majorities_are_counted_as_if_every_subset_was_looked_at(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = np.array([RIGHT, "", "3", "4", "5", "6"])
    votes = [str(one) for one in rng.choice(names, size=rng.integers(2, 13), p=rng.dirichlet(np.ones(6)))]
    grades = [
        Grade(status=Status.CORRECT, answer="7")
        if one == RIGHT
        else Grade(status=Status.WRONG if one else Status.UNPARSED, answer=one or None)
        for one in votes
    ]
    for k in range(1, len(votes) + 1):
        found = maj_at_k(grades, k)
        assert found == pytest.approx(by_subsets(votes, k), abs=1e-14)
        assert found == maj_at_k(grades[::-1], k)


def test_majorities_of_many_items_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(1)
    others = rng.integers(0, 9, (300, 6)) * (rng.random((300, 6)) < 0.6)
    right, blank = rng.integers(0, 20, 300), rng.integers(0, 3, 300)
    together = majority_shares(right, others, blank, [2, 4, 16, 32])
    for at in range(300):
        alone = majority_shares(right[[at]], others[[at], ::-1], blank[[at]], [2, 4, 16, 32])
        assert together[at].tobytes() == alone[0].tobytes()
    too_few = (right + others.sum(axis=1) + blank)[:, None] < [2, 4, 16, 32]
    assert (np.isnan(together) == too_few).all()
    assert too_few.any()
    assert (together[~too_few] <= 1).all()


def test_majorities_have_a_largest_item() -> None:
    one = np.ones(1, dtype=int)
    assert majority_shares(999 * one, one[:, None], 0 * one, [512])[0, 0] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="1001 samples of an item"):
        majority_shares(1000 * one, one[:, None], 0 * one, [2])


def test_metrics_leave_out_what_could_not_be_graded() -> None:
    error = Grade(status=Status.ERROR, answer="7", detail="time")
    assert sample_metrics(graded("7", "3", "7", None), 4) == {
        "accuracy": 0.5,
        "pass@2": pytest.approx(1 - 1 / 6),
        "maj@2": pytest.approx((1 + 0.5 + 0.5 + 1 + 1 + 0) / 6),  # 77 73 37 7- 7- 3-
        "pass@4": 1.0,
        "maj@4": 1.0,
    }
    some = sample_metrics([*graded("7", "3"), error, error], 4)
    assert some["accuracy"] == 0.5
    assert some["pass@2"] == 1.0
    assert some["pass@4"] is None
    assert some["maj@4"] is None
    assert sample_metrics([error], 1) == {"accuracy": None}
    assert list(some) == metric_names(4)


def test_missing_samples_are_not_wrong_ones() -> None:
    with pytest.raises(ValueError, match="3 samples of an item that has 4"):
        sample_metrics(graded("7", "3", "7"), 4)


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "want"),
    [
        ("choice", ["C", "C"], ["A", "(A)", "a)", "A. dog"], 0.0),
        ("text", ["Bob", "Bob"], ["Ann", "ann", "Ann."], 0.0),
        ("math", ["5", "5"], ["6", "x=6", r"\frac{12}{2}"], 0.0),
        ("path", ["LR", "LR"], ["RL", "R L", " RL"], 0.0),
    ],
)
def test_wrong_answers_vote_together_however_they_are_written(
    kind: AnswerKind, right: list[str], wrong: list[str], want: float
) -> None:
    grades = [Grade(status=Status.CORRECT, answer=one) for one in right]
    grades += [Grade(status=Status.WRONG, answer=one) for one in wrong]
    assert maj_at_k(grades, len(grades), kind) == want
