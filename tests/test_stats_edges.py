"""Edges of the estimators: what has no interval keeps its estimate, and errors say the numbers they mean."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats import (
    Interval,
    crossed_interval,
    crossing,
    improvement_interval,
    improvement_probability,
    interquartile_mean,
    iqm_interval,
    normalised_auc,
    peak_optimism,
    speed_log_ratios,
    value_at,
)

NINE = np.random.default_rng(0).random((9, 2))
TEN = np.random.default_rng(1).random((2, 10, 2))


def test_few_seeds_keep_their_estimate():
    generator = np.random.default_rng(0)
    assert iqm_interval(NINE, generator) == Interval(interquartile_mean(NINE), None, None, 9)
    found = improvement_interval(NINE, NINE[::-1], generator)
    assert found == Interval(improvement_probability(NINE, NINE[::-1]), None, None, 9)


def test_robust_intervals_are_of_95_in_100_and_10_000_draws():
    ours, theirs = TEN
    for interval, scores in ((iqm_interval, (ours,)), (improvement_interval, (ours, theirs))):
        found = interval(*scores, np.random.default_rng(5))
        assert found == interval(*scores, np.random.default_rng(5), 10_000, 0.95)
        assert found.low < found.mean < found.high
    assert iqm_interval(ours, np.random.default_rng(5)).mean == interquartile_mean(ours)


@pytest.mark.parametrize("scores", [[1.0, 2.0], [[]], [[1.0, np.nan]], 3.0])
def test_scores_are_seeds_by_tasks(scores):
    with pytest.raises(ValueError, match="seeds"):
        interquartile_mean(scores)


def test_integers_are_numbers_too():
    table = [[1, 2, 4], [2, 2, 3]]
    assert crossed_interval(table) == crossed_interval(np.array(table, dtype=float))
    assert interquartile_mean(table) == interquartile_mean(np.array(table, dtype=float))
    assert speed_log_ratios([[4, 8]], [[2, 8]]) == pytest.approx(speed_log_ratios([[4.0, 8.0]], [[2.0, 8.0]]))


def test_no_spread_keeps_the_mean_and_the_number_of_seeds():
    assert crossed_interval(np.full((3, 4), 0.25)) == Interval(0.25, None, None, 3)
    assert crossed_interval([[1, -1], [-1, 1]]) == Interval(0.0, None, None, 2)  # they cancel
    assert crossed_interval([[0, 1, 2], [1, 2, 6]], ["c"] * 3) == Interval(2.0, None, None, 2)
    assert iqm_interval(np.full((10, 2), 0.25), np.random.default_rng(0)) == Interval(0.25, None, None, 10)
    tiny = crossed_interval(0.25 + 1e-9 * np.random.default_rng(0).normal(size=(3, 4)))
    assert tiny.low is not None  # little is not none


def test_times_below_one_are_times():
    assert speed_log_ratios([[0.5]], [[0.25]]).tolist() == pytest.approx([np.log(2)])
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^want times that are positive and finite$"):
            speed_log_ratios([[0.5]], [[bad]])


def test_a_curve_is_read_within_its_range():
    step, value = [0, 2, 8], [0.0, 0.4, 1.0]
    assert value_at(step, value, 0.5) == pytest.approx(0.1)
    for at in (0, 9):
        with pytest.raises(ValueError, match=rf"^{at} is not in \(0, 8\]: a curve is not read beyond"):
            value_at(step, value, at)
        with pytest.raises(ValueError, match=rf"end={at} is not in \(0, 8\]"):
            crossing(step, value, 0.5, end=at)
    with pytest.raises(ValueError, match="first step is 2: the curve starts at step 0"):
        normalised_auc([2, 8], [0.4, 1.0])


def test_right_answers_and_their_number_are_checked_by_name():
    with pytest.raises(ValueError, match=r"^want 0 <= right <= n and 1 <= n for every checkpoint and item$"):
        peak_optimism([[2]], [[1]], np.random.default_rng(0))
