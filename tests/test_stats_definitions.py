"""Intervals against loops that spell their definition out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.stats import (
    Interval,
    crossed_interval,
    improvement_interval,
    improvement_probability,
    item_standard_error,
    minimum_detectable_effect,
    ratio_interval,
)
from benchmark.stats.interval import all_equal, as_vector


def robust(groups: list[list[float]], size: int) -> float:
    """G / (G - 1) * sum over groups of (sum of residuals)^2 / N^2."""
    return len(groups) / (len(groups) - 1) * sum(sum(group) ** 2 for group in groups) / size**2


def crossed_by_definition(table: np.ndarray, clusters: list[str], level: float) -> tuple[float, float, float]:
    seeds, items = table.shape
    mean = table.sum() / table.size
    rest = [[table[s, i] - mean for i in range(items)] for s in range(seeds)]
    names = sorted(set(clusters))
    members = {name: [i for i in range(items) if clusters[i] == name] for name in names}
    by_seed = robust(rest, table.size)
    by_cluster = robust([[rest[s][i] for s in range(seeds) for i in members[c]] for c in names], table.size)
    both = robust([[rest[s][i] for i in members[c]] for s in range(seeds) for c in names], table.size)
    variance = max(by_seed + by_cluster - both, by_seed, by_cluster)
    freedom = variance**2 / (by_seed**2 / (seeds - 1) + by_cluster**2 / (len(names) - 1))
    half = stats.t.ppf(1 - (1 - level) / 2, freedom) * variance**0.5
    return mean, mean - half, mean + half


@pytest.mark.parametrize("kind", ["noise", "seeds differ", "items differ", "both differ"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_crossed_interval_is_its_definition(kind, level):
    rng = np.random.default_rng(5)
    for seeds, items in ((3, 7), (8, 4), (5, 12)):
        table = 0.1 + 0.05 * rng.normal(size=(seeds, items))
        table += rng.normal(size=(seeds, 1)) * (kind in ("seeds differ", "both differ"))
        table += rng.normal(size=(1, items)) * (kind in ("items differ", "both differ"))
        names = [f"c{i // 2}" for i in range(items)]
        for clusters in (None, names):
            found = crossed_interval(table, clusters, level)
            want = crossed_by_definition(table, clusters or [f"{i:03d}" for i in range(items)], level)
            assert (found.mean, found.low, found.high) == pytest.approx(want, rel=1e-12)
            assert found.n == seeds


def test_clusters_with_long_names_are_told_apart():
    table = np.random.default_rng(1).normal(size=(4, 4))
    long = ["template-of-a-long-name-1", "template-of-a-long-name-1", "template-of-a-long-name-2", "x"]
    short = ["a", "a", "b", "c"]
    assert crossed_interval(table, long).low == pytest.approx(crossed_interval(table, short).low, rel=1e-12)


def improvement_by_definition(ours, theirs, index):
    """Mean over pairs of drawn seeds that are not the same seed; 1/2 where all are."""
    points = []
    for s in index:
        for u in index:
            if s != u:
                wins = [(a > b) + 0.5 * (a == b) for a, b in zip(ours[s], theirs[u], strict=True)]
                points.append(sum(wins) / len(wins))
    return sum(points) / len(points) if points else 0.5


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_improvement_interval_is_its_definition(level):
    rng = np.random.default_rng(2)
    ours, theirs = rng.integers(5, size=(10, 2)) + 1.0, rng.integers(5, size=(10, 2)) + 0.0
    found = improvement_interval(ours, theirs, np.random.default_rng(3), draws=2000, level=level)
    index_bs = np.random.default_rng(3).integers(10, size=(2000, 10))
    drawn = [improvement_by_definition(ours, theirs, index) for index in index_bs]
    tail = stats.norm.cdf(-((10 / 9) ** 0.5) * stats.t.ppf(0.5 + level / 2, 9))
    want = np.quantile(drawn, [tail, 1 - tail])
    assert (found.low, found.high) == pytest.approx(tuple(want), rel=1e-12)
    assert found.mean == improvement_by_definition(ours, theirs, range(10))
    assert found.n == 10


def test_two_seeds_have_an_improvement_and_no_interval():
    ours, theirs = [[1.0], [2.0]], [[0.0], [3.0]]
    assert improvement_probability(ours, theirs) == 0.5
    assert improvement_interval(ours, theirs, np.random.default_rng(0)).low is None


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_a_ratio_is_the_mean_of_logarithms_back_on_its_scale(level):
    logs = [0.1, -0.2, 0.4, 0.3]
    found, plain = (
        ratio_interval(logs, level),
        stats.t.interval(level, 3, np.mean(logs), np.std(logs, ddof=1) / 2),
    )
    assert (found.mean, found.low, found.high, found.n) == (
        pytest.approx(math.exp(0.15)),
        pytest.approx(math.exp(plain[0])),
        pytest.approx(math.exp(plain[1])),
        4,
    )
    assert ratio_interval(logs) == ratio_interval(logs, 0.95)
    assert ratio_interval([0.5]) == Interval(math.exp(0.5), None, None, 1)
    with pytest.raises(ValueError, match="level=1: must lie"):
        ratio_interval(logs, 1)


@pytest.mark.parametrize(
    ("values", "equal"),
    [
        ([0.0, 1e-12], True),
        ([0.0, 1.5e-12], False),
        ([1.0, 1.0 + 1.5e-12], False),
        ([1e6, 1e6 + 5e-7], True),
        ([1e6, 1e6 + 2e-6], False),
        ([-1e6, -1e6 - 5e-7], True),
        ([3.0], True),
    ],
)
def test_values_are_equal_within_a_billionth_of_a_thousandth_of_their_size(values, equal):
    assert all_equal(np.array(values)) is equal


def test_numbers_become_floats_on_one_axis():
    assert as_vector([1, 2], at_least=2).dtype == np.float64
    assert as_vector(["1.5"], at_least=1).tolist() == [1.5]
    for values, shape in (([[1.0]], "(1, 1)"), ([], "(0,)"), ([1.0, math.nan], "(2,)"), ([math.inf], "(1,)")):
        with pytest.raises(ValueError, match="want one axis, 1 or more values, all of them finite") as caught:
            as_vector(values, at_least=1)
        assert str(caught.value).startswith(f"got shape {shape}")


@pytest.mark.parametrize("names", ["ab", "aabbb", "abcabcc", "aaaab"])
def test_the_error_over_clusters_is_the_spread_of_their_sums(names):
    scores = np.random.default_rng(len(names)).random(len(names))
    rest = scores - scores.mean()
    groups = sorted(set(names))
    squares = [sum(rest[i] for i, name in enumerate(names) if name == group) ** 2 for group in groups]
    variance = len(groups) / (len(groups) - 1) * sum(squares) / len(names) ** 2
    assert item_standard_error(scores, list(names)) == pytest.approx(variance**0.5)
    assert item_standard_error(scores, ["one"] * len(names)) is None
    with pytest.raises(ValueError, match=r"^3 scores and 2 clusters: want one cluster per score$"):
        item_standard_error([1.0, 0.0, 1.0], ["a", "b"])


def test_an_effect_needs_noise_pairs_and_a_power_above_the_level():
    rule = "want difference_sd > 0, n >= 2 and 0 < alpha < power < 1"
    for arguments in ((0.0, 5), (0.1, 1), (0.1, 5, 0.05, 0.05), (0.1, 5, 0.0), (0.1, 5, 0.05, 1.0)):
        with pytest.raises(ValueError, match=rule) as caught:
            minimum_detectable_effect(*arguments)
        assert str(caught.value).endswith(rule)
