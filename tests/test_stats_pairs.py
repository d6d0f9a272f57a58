"""Tests on pairs: against statsmodels and scipy, their levels, and how many pairs are enough."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from benchmark.stats import (
    equivalence_p,
    holm,
    minimum_detectable_effect,
    paired_t_p,
    pairs_needed,
    t_interval,
)

CLOSE = {"rel": 1e-9, "abs": 1e-12}


@pytest.mark.parametrize("seed", range(8))
def test_holm_matches_statsmodels_and_its_definition(seed):
    generator = np.random.default_rng(seed)
    p = generator.random(seed % 8 + 1) ** 3
    if len(p) > 2:
        p[1] = p[0]  # ties
    found = holm(p.tolist())
    assert found == pytest.approx(multipletests(p, method="holm")[1].tolist(), **CLOSE)
    ordered = sorted(p)
    for one, adjusted in zip(p, found, strict=True):
        rank = [at for at, other in enumerate(ordered) if other <= one]
        assert adjusted == pytest.approx(max(min(1, (len(p) - at) * ordered[at]) for at in rank), **CLOSE)


def test_what_could_not_be_tested_does_not_count():
    assert holm([]) == []
    assert holm([None, None]) == [None, None]
    assert holm([0.04, None, 0.01, None]) == [0.04, None, 0.02, None]
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.0, 0.5]) == [0.0, 0.5]


def test_holm_keeps_the_familywise_level():
    """Three tasks without any difference: the chance of one claim or more stays near 5 %."""
    difference_rts = np.random.default_rng(3).normal(0, 1, (4000, 3, 6))
    p_rt = scipy_stats.ttest_1samp(difference_rts, 0, axis=2).pvalue
    share = np.mean([min(holm(p_t.tolist())) <= 0.05 for p_t in p_rt])
    assert 0.04 < share < 0.06  # SD 0.34 %
    assert np.mean((p_rt <= 0.05).any(axis=1)) > 0.12  # without it


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_t_and_equivalence_match_scipy_and_statsmodels(n, seed):
    generator = np.random.default_rng(seed)
    ours, theirs = generator.normal(0.5, 0.03, n), generator.normal(0.49, 0.03, n)
    assert paired_t_p(ours - theirs) == pytest.approx(scipy_stats.ttest_rel(ours, theirs).pvalue, **CLOSE)
    for margin in (0.005, 0.03, 0.1):
        reference = ttost_paired(ours, theirs, -margin, margin)[0]
        assert equivalence_p(ours - theirs, margin) == pytest.approx(float(reference), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_tests_and_intervals_say_the_same(seed):
    difference = np.random.default_rng(seed).normal(0.02, 0.02, 6)
    interval = t_interval(difference, 0.95)
    assert (paired_t_p(difference) <= 0.05) == (not interval.low <= 0 <= interval.high)
    narrow = t_interval(difference, 0.90)
    assert (equivalence_p(difference, 0.03) <= 0.05) == (narrow.low >= -0.03 and narrow.high <= 0.03)
    assert equivalence_p(-difference, 0.03) == pytest.approx(equivalence_p(difference, 0.03), **CLOSE)


@pytest.mark.parametrize("n", [5, 10])
def test_equivalence_is_rarely_claimed_at_the_margin(n):
    """Model: the true difference is the margin itself; 5 % of claims are allowed."""
    difference_rs = np.random.default_rng(n).normal(0.03, 0.02, (4000, n))
    share = np.mean([equivalence_p(one, 0.03) <= 0.05 for one in difference_rs])
    assert 0.04 < share < 0.06  # SD 0.34 %


def test_without_spread_nothing_is_shown():
    for values in ([0.1], [0.1, 0.1, 0.1]):
        assert paired_t_p(values) is None
        assert equivalence_p(values, 1.0) is None


@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan, math.inf])
def test_a_margin_is_positive(margin):
    with pytest.raises(ValueError, match="margin="):
        equivalence_p([0.1, 0.2], margin)


@pytest.mark.parametrize("ratio", [0.4, 0.8, 1.0, 1.5, 2.0, 3.7])
def test_pairs_needed_is_the_smallest_number_that_is_enough(ratio):
    n = pairs_needed(0.03, 0.03 / ratio)
    assert minimum_detectable_effect(0.03 / ratio, n) <= 0.03
    assert n == 2 or minimum_detectable_effect(0.03 / ratio, n - 1) > 0.03


def test_pairs_needed_by_hand_and_its_limits():
    assert pairs_needed(1.0, 0.01) == 2
    with pytest.raises(ValueError, match="effect=0"):
        pairs_needed(0, 0.1)
    with pytest.raises(ValueError, match="more than 100,000 pairs"):
        pairs_needed(1e-6, 1.0)


@pytest.mark.parametrize(("alpha", "power"), [(0.01, 0.8), (0.05, 0.95), (0.1, 0.5)])
@pytest.mark.parametrize("sd", [0.02, 0.05, 0.11])
def test_pairs_needed_hold_at_other_levels_and_powers(sd, alpha, power):
    n = pairs_needed(0.03, sd, alpha, power)
    assert minimum_detectable_effect(sd, n, alpha, power) <= 0.03
    assert minimum_detectable_effect(sd, n - 1, alpha, power) > 0.03


def test_an_effect_of_exactly_the_detectable_size_is_found():
    assert pairs_needed(minimum_detectable_effect(0.02, 8), 0.02) == 8
    assert pairs_needed(minimum_detectable_effect(0.02, 7), 0.02) == 7


@pytest.mark.parametrize("effect", [0, -0.03, float("nan")])
def test_pairs_for_no_effect_are_refused(effect):
    with pytest.raises(ValueError, match=rf"^effect={effect}: want a positive number$"):
        pairs_needed(effect, 0.1)
