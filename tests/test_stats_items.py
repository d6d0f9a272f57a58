"""Items, answers, components, peaks, whole-seed resampling: definitions, references and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.anova import anova_lm

from benchmark.stats import (
    Interval,
    crossed_interval,
    improvement_interval,
    improvement_probability,
    interquartile_mean,
    iqm_interval,
    item_standard_error,
    peak_optimism,
    t_interval,
    variance_components,
    variance_parts,
)
from benchmark.stats.peak import binomial_sum

CLOSE = {"rel": 1e-9, "abs": 1e-12}


@pytest.mark.parametrize("clusters", [10, 40])
def test_item_intervals_cover_other_items(clusters):
    """Model: clusters of five items that share a normal effect; the mean over all such items is covered."""
    generator = np.random.default_rng(clusters)
    names = np.repeat(np.arange(clusters), 5).astype(str).tolist()
    critical, hits = scipy_stats.t.ppf(0.975, clusters - 1), []
    for _ in range(3000):  # SD of the share: 0.4 %
        score = np.repeat(generator.normal(0, 0.2, clusters), 5) + generator.normal(0, 0.2, 5 * clusters)
        hits.append(abs(score.mean()) <= item_standard_error(score, names) * critical)
    assert 0.93 < np.mean(hits) < 0.97


def test_variance_parts_add_up_and_match_their_definition():
    generator = np.random.default_rng(2)
    n = generator.integers(2, 9, 40)
    right = generator.binomial(n, generator.random(40))
    parts = variance_parts(right, n)
    p = right / n
    within = math.fsum(a * (1 - a) / (b - 1) for a, b in zip(p, n, strict=True)) / 40**2
    assert parts.within == pytest.approx(within, **CLOSE)
    assert parts.within + parts.between == pytest.approx(item_standard_error(p) ** 2, **CLOSE)
    assert variance_parts([1, 2], [1, 4]) is None  # one answer: the parts cannot be told apart
    assert variance_parts([2], [4]) is None
    with pytest.raises(ValueError, match="right <= n"):
        variance_parts([5, 1], [4, 4])
    for right, n in (([1, 2, 1], [4, 4]), ([-1, 2], [4, 4]), ([1, 0], [4, 0]), ([0, 0, 0], [4, 0])):
        with pytest.raises(ValueError, match=r"^want 0 <= right <= n and 1 <= n for every item$"):
            variance_parts(right, n)
    assert variance_parts([1, 4], [4, 4]) is not None  # two items are enough


def test_variance_parts_are_unbiased():
    """Var(true p) / I and E[p (1 - p)] / (I k) with p uniform: 1/12 and 1/6."""
    generator = np.random.default_rng(4)
    found = [variance_parts(generator.binomial(4, generator.random(50)), [4] * 50) for _ in range(3000)]
    assert np.mean([one.between for one in found]) == pytest.approx(1 / 12 / 50, rel=0.02)
    assert np.mean([one.within for one in found]) == pytest.approx(1 / 6 / 50 / 4, rel=0.02)


def test_components_match_the_anova_of_statsmodels():
    generator = np.random.default_rng(1)
    table = generator.normal(0, 1, (6, 1)) + generator.normal(0, 2, 9) + generator.normal(0, 0.5, (6, 9))
    import pandas as pd

    long = pd.DataFrame([{"y": table[s, i], "s": str(s), "i": str(i)} for s in range(6) for i in range(9)])
    squares = anova_lm(OLS.from_formula("y ~ C(s) + C(i)", long).fit())
    mean_s, mean_i, rest = squares["sum_sq"] / squares["df"]
    found = variance_components(table)
    assert found.residual == pytest.approx(rest)
    assert found.seed == pytest.approx((mean_s - rest) / 9)
    assert found.item == pytest.approx((mean_i - rest) / 6)


def test_components_are_unbiased():
    generator = np.random.default_rng(8)
    found = [
        variance_components(
            generator.normal(0, 0.2, (6, 1))
            + generator.normal(0, 0.3, 40)
            + generator.normal(0, 0.5, (6, 40))
        )
        for _ in range(1500)
    ]
    assert np.mean([one.seed for one in found]) == pytest.approx(0.04, rel=0.1)
    assert np.mean([one.item for one in found]) == pytest.approx(0.09, rel=0.05)
    assert np.mean([one.residual for one in found]) == pytest.approx(0.25, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("clusters", [40, 200])
def test_crossed_intervals_cover_other_seeds_and_items(seeds, clusters):
    """Model: 200 items, SDs .05 (seeds), .1 (clusters), .1 (items), .4 (the rest). SD of the share .4 %."""
    generator = np.random.default_rng(seeds + clusters)
    index = np.arange(200) * clusters // 200
    names = index.astype(str).tolist()
    hits, narrower = [], 0
    for _ in range(3000):
        table = generator.normal(0, 0.05, (seeds, 1)) + generator.normal(0, 0.4, (seeds, 200))
        table += generator.normal(0, 0.1, clusters)[index] + generator.normal(0, 0.1, 200)
        found = crossed_interval(table, names)
        hits.append(found.low <= 0 <= found.high)
        these = t_interval(table.mean(axis=1))
        narrower += these.low <= 0 <= these.high
    assert 0.93 < np.mean(hits) < 0.97
    assert narrower / 3000 < np.mean(hits)  # "these items" does not cover what other items would say


def test_crossed_by_hand():
    """Effects of seeds and items without a rest: V_both = 0 here and V is the sum of the two."""
    table = np.array([[0.0, 2.0], [2.0, 4.0]])
    found = crossed_interval(table)
    by_seed = by_item = 2 * (2.0**2 + 2.0**2) / 16
    both = 4 / 3 * (4 + 0 + 0 + 4) / 16
    variance = max(by_seed + by_item - both, by_seed)
    freedom = variance**2 / (by_seed**2 + by_item**2)
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(scipy_stats.t.ppf(0.975, freedom) * math.sqrt(variance), **CLOSE)


def test_crossed_needs_seeds_items_and_clusters():
    assert crossed_interval([[0.0, 1.0], [1.0, 0.0]], ["a", "a"]).low is None
    for nothing in (
        [[1.0, 1.0], [1.0, 1.0]],
        [[1, -1], [-1, 1]],  # every seed and every item sums to nothing
        [[0.3, 0.1, 0.2], [0.1, 0.2, 0.3], [0.2, 0.3, 0.1]],
    ):
        mean = pytest.approx(np.mean(nothing))
        assert crossed_interval(nothing) == Interval(mean, None, None, len(nothing))
    for bad in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, math.nan], [1.0, 2.0]]):
        with pytest.raises(ValueError, match="2 or more seeds by 2 or more items"):
            crossed_interval(bad)
        with pytest.raises(ValueError, match="2 or more seeds by 2 or more items"):
            variance_components(bad)
    with pytest.raises(ValueError, match="2 items and 1 clusters"):
        crossed_interval([[0.0, 1.0], [1.0, 0.0]], ["a"])


@pytest.mark.parametrize(("samples", "points"), [(1, 11.2), (8, 3.9), (32, 2.0), (64, 1.4)])
def test_optimism_of_21_equal_checkpoints_on_30_items(samples, points):
    """evaluation.md 3.4: mean 30 %, difficulties Beta with concentration 1."""
    generator = np.random.default_rng(samples)
    true, found = [], []
    for _ in range(25):
        p = generator.beta(0.3, 0.7, 30)
        right = generator.binomial(samples, np.tile(p, (21, 1)))
        result = peak_optimism(right, np.full((21, 30), samples), generator, 2000)
        true.append(result.raw_max - p.mean())
        found.append(result.expected)
    assert np.mean(true) * 100 == pytest.approx(points, rel=0.15)
    assert np.mean(found) * 100 == pytest.approx(points, rel=0.15)


def test_optimism_matches_drawing_every_item_by_itself():
    generator = np.random.default_rng(0)
    n = generator.integers(1, 5, (4, 12))
    right = generator.binomial(n, generator.random(12))
    p = right.sum(axis=0) / n.sum(axis=0)
    drawn = generator.binomial(n, p, size=(40_000, 4, 12)) / n
    most = drawn.mean(axis=2).max(axis=1)
    found = peak_optimism(right, n, np.random.default_rng(1), 40_000)
    assert found.expected == pytest.approx(most.mean() - p.mean(), abs=0.002)
    assert found.raw_max == pytest.approx((right / n).mean(axis=1).max(), **CLOSE)
    assert found.p_equal == pytest.approx(np.mean(most >= found.raw_max - 1e-12), abs=0.015)


@pytest.mark.parametrize(("n", "items"), [(1, 1), (1, 2), (5, 4), (16, 40), (3, 300), (8, 3)])
def test_the_law_of_a_sum_of_binomials_is_their_convolution(n, items):
    p = np.random.default_rng(items).integers(0, 9, items) / 8  # some of them certain
    law = np.ones(1)
    for one in p:
        law = np.convolve(law, scipy_stats.binom.pmf(np.arange(n + 1), n, one))
    assert binomial_sum(n, p) == pytest.approx(law, abs=1e-14)


def test_a_sum_of_certain_items_is_certain():
    assert binomial_sum(4, np.array([0.0, 1.0, 1.0])) == pytest.approx(np.eye(13)[8], abs=1e-14)


def test_a_checkpoint_that_is_better_is_seen():
    generator = np.random.default_rng(3)
    right = generator.binomial(4, 0.3, (9, 100))
    right[4] = generator.binomial(4, 0.6, 100)
    assert peak_optimism(right, np.full((9, 100), 4), generator, 2000).p_equal == 1 / 2001


def test_equal_generators_draw_equal_numbers():
    right, n = np.array([[1, 2], [2, 0]]), np.full((2, 2), 2)
    assert peak_optimism(right, n, np.random.default_rng(7)) == peak_optimism(
        right, n, np.random.default_rng(7)
    )
    value = np.random.default_rng(0).random((10, 2))
    assert iqm_interval(value, np.random.default_rng(7)) == iqm_interval(value, np.random.default_rng(7))
    assert iqm_interval(value, np.random.default_rng(7)) != iqm_interval(value, np.random.default_rng(8))


@pytest.mark.parametrize(
    ("right", "n", "draws", "message"),
    [
        ([[1, 2]], [[1, 1]], 2000, "right <= n"),
        ([[0, 0]], [[1, 0]], 2000, "1 <= n"),
        ([[0]], [[1, 1]], 2000, "equal ones"),
        ([[0]], [[1]], 1999, "want 2000 or more"),
    ],
)
def test_optimism_refuses_what_it_cannot_draw(right, n, draws, message):
    with pytest.raises(ValueError, match=message):
        peak_optimism(right, n, np.random.default_rng(0), draws)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (5, 3), (10, 2), (7, 5)])
def test_iqm_matches_scipy_and_its_definition(shape):
    value = np.random.default_rng(shape[0]).random(shape)
    ordered = sorted(value.ravel().tolist())
    cut = len(ordered) // 4
    assert interquartile_mean(value) == pytest.approx(np.mean(ordered[cut : len(ordered) - cut]), **CLOSE)
    assert interquartile_mean(value) == pytest.approx(scipy_stats.trim_mean(value, 0.25, axis=None), **CLOSE)


def test_improvement_leaves_pairs_of_one_seed_out():
    generator = np.random.default_rng(1)
    ours, theirs = generator.integers(0, 4, (5, 3)), generator.integers(0, 4, (5, 3))
    wins = [
        (ours[s, t] > theirs[u, t]) + 0.5 * (ours[s, t] == theirs[u, t])
        for t in range(3)
        for s in range(5)
        for u in range(5)
        if s != u
    ]
    assert improvement_probability(ours, theirs) == pytest.approx(np.mean(wins), **CLOSE)
    assert improvement_probability(theirs, ours) == pytest.approx(1 - np.mean(wins), **CLOSE)
    everyone = scipy_stats.mannwhitneyu(ours[:, 0], theirs[:, 0]).statistic
    diagonal = sum((ours[s, 0] > theirs[s, 0]) + 0.5 * (ours[s, 0] == theirs[s, 0]) for s in range(5))
    assert improvement_probability(ours[:, :1], theirs[:, :1]) == pytest.approx((everyone - diagonal) / 20)


def test_few_seeds_have_an_estimate_and_no_bootstrap():
    value = np.random.default_rng(0).random((9, 2))
    assert iqm_interval(value, np.random.default_rng(0)).low is None
    found = improvement_interval(value, value[::-1], np.random.default_rng(0))
    assert (found.low, found.n, found.mean) == (None, 9, improvement_probability(value, value[::-1]))
    for act in (
        lambda: iqm_interval(np.ones((10, 2)), np.random.default_rng(0), 1999),
        lambda: improvement_interval(np.ones((10, 2)), np.ones((10, 2)), np.random.default_rng(0), 10),
    ):
        with pytest.raises(ValueError, match="want 2000 or more"):
            act()
    assert iqm_interval(np.ones((10, 2)), np.random.default_rng(0)).low is None  # no spread
    with pytest.raises(ValueError, match="equal ones with 2 or more seeds"):
        improvement_probability([[1.0]], [[2.0]])
    with pytest.raises(ValueError, match="seeds by tasks"):
        interquartile_mean([[math.nan]])


def paired_scores(generator, seeds, tasks, shift):
    luck = generator.normal(0, math.sqrt(0.5), (seeds, 1))  # of the seed: shared by arms and tasks
    own = generator.normal(0, math.sqrt(0.5), (2, seeds, tasks))
    return shift + luck + own[0], luck + own[1]


def coverage_of_the_secondary(runs):
    """Model: normal scores, half of the variance shared by a seed's arms and tasks, ten seeds, two tasks."""
    generator = np.random.default_rng(6)
    truth = scipy_stats.norm.cdf(0.5 / math.sqrt(2))
    hits = np.zeros((runs, 2))
    for run in range(runs):
        ours, theirs = paired_scores(generator, 10, 2, 0.5)
        middle = iqm_interval(theirs, generator, 2000)
        better = improvement_interval(ours, theirs, generator, 2000)
        hits[run] = middle.low <= 0 <= middle.high, better.low <= truth <= better.high
    return hits.mean(axis=0)


@pytest.mark.slow
def test_whole_seed_bootstraps_cover_95_times_in_100():
    middle, better = coverage_of_the_secondary(4000)  # SD of the share: 0.34 %
    assert 0.93 < middle < 0.97
    assert 0.93 < better < 0.97


def test_whole_seed_bootstraps_widen_the_tails_as_hesterberg_does():
    value = np.random.default_rng(0).normal(0, 1, (12, 1))
    found = iqm_interval(value, np.random.default_rng(1), 4000)
    index = np.random.default_rng(1).integers(12, size=(4000, 12))
    drawn = scipy_stats.trim_mean(value[:, 0][index], 0.25, axis=1)
    tail = scipy_stats.norm.cdf(-math.sqrt(12 / 11) * scipy_stats.t.ppf(0.975, 11))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [tail, 1 - tail])), **CLOSE)
    plain = scipy_stats.bootstrap(
        (value[:, 0],),
        lambda sample, axis: scipy_stats.trim_mean(sample, 0.25, axis=axis),
        confidence_level=1 - 2 * tail,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.2)  # two sets of draws
