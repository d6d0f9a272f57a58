"""Areas, isotonic crossings with censoring on both ends, and the speed ratio with its coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.stats import (
    Crossing,
    collapsed,
    crossing,
    last_mean,
    normalised_auc,
    ratio_interval,
    speed_log_ratios,
    value_at,
)

CLOSE = {"rel": 1e-9, "abs": 1e-12}


def random_curve(generator):
    x = [0, *np.cumsum(generator.integers(1, 50, generator.integers(1, 12))).tolist()]
    return x, generator.random(len(x)).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_area_matches_many_thin_slices(seed):
    generator = np.random.default_rng(seed)
    x, y = random_curve(generator)
    end = float(generator.uniform(0.05, 1) * x[-1])
    middle = (np.arange(200_000) + 0.5) * end / 200_000
    assert normalised_auc(x, y, end) == pytest.approx(np.interp(middle, x, y).mean(), abs=1e-6)
    assert normalised_auc(x, y, x[-1]) == pytest.approx(normalised_auc(x, y), **CLOSE)
    assert value_at(x, y, end) == pytest.approx(float(np.interp(end, x, y)), **CLOSE)


@pytest.mark.parametrize("end", [0, -1, 11])
def test_nothing_is_read_beyond_the_curve(end):
    for read in (normalised_auc, value_at):
        with pytest.raises(ValueError, match="not read beyond its last checkpoint"):
            read([0, 10], [0.0, 1.0], end)
    with pytest.raises(ValueError, match="end="):
        crossing([0, 10], [0.0, 1.0], 0.5, end=end)


def test_the_last_three_leave_the_untrained_policy_out():
    assert last_mean([9.0, 1.0]) == 1
    assert last_mean([9.0, 1.0, 2.0]) == 1.5
    assert last_mean([9.0, 7.0, 1.0, 2.0, 3.0]) == 2


def isotonic_by_definition(values):
    """Max over starts of min over ends of block means: the textbook min-max formula."""
    n = len(values)
    return [
        max(min(math.fsum(values[i : j + 1]) / (j - i + 1) for j in range(k, n)) for i in range(k + 1))
        for k in range(n)
    ]


def crossing_by_definition(x, y, level, end):
    """Cut the curve at the end, then walk along the segments of the fitted line."""
    y = [*(v for at, v in zip(x, y, strict=True) if at < end), float(np.interp(end, x, y))]
    x = [*(at for at in x if at < end), end]
    fit = isotonic_by_definition(y)
    if fit[0] >= level - 1e-12:
        return 0.0, "left"
    if fit[1] >= level - 1e-12:
        return float(x[1]), "left"
    for k in range(2, len(x)):
        if fit[k] >= level - 1e-12:
            return x[k - 1] + (x[k] - x[k - 1]) * (level - fit[k - 1]) / (fit[k] - fit[k - 1]), ""
    return end, "right"


@pytest.mark.parametrize("seed", range(60))
def test_crossings_match_their_definition(seed):
    generator = np.random.default_rng(seed)
    x, y = random_curve(generator)
    if seed % 2:
        y = sorted(y)
    end = float(x[-1] if seed % 3 else generator.uniform(0.5, 1) * x[-1])
    kinds = set()
    for level in np.linspace(0.01, 0.99, 15):
        found = crossing(x, y, level, end=end)
        at, kind = crossing_by_definition(x, y, level, end)
        assert (found.at, found.censored) == (pytest.approx(at, rel=1e-9), kind)
        assert found.at <= end
        kinds.add(kind)
    times = [crossing(x, y, level, end=end) for level in np.linspace(0.01, 0.99, 15)]
    assert [one.at for one in times if not one.censored] == sorted(
        one.at for one in times if not one.censored
    )


@pytest.mark.parametrize(
    ("values", "level", "found"),
    [
        ([0.5, 0.6, 0.7, 0.8], 0.5, Crossing(0.0, "left")),  # there before any training
        ([0.1, 0.6, 0.7, 0.8], 0.5, Crossing(10.0, "left")),  # there at the first look: when is not known
        ([0.1, 0.5, 0.7, 0.8], 0.5, Crossing(10.0, "left")),  # exactly there at the first look
        ([0.1, 0.3, 0.7, 0.8], 0.5, Crossing(15.0, "")),
        ([0.1, 0.3, 0.4, 0.5], 0.5, Crossing(30.0, "")),  # at the very last look is still reached
        ([0.1, 0.3, 0.4, 0.49], 0.5, Crossing(30.0, "right")),
        ([0.1, 0.2, 0.9, 0.1], 0.6, Crossing(30.0, "right")),  # one lucky look: the fit is .1 .2 .5 .5
        ([0.3, 0.3, 0.3, 0.3], 0.3, Crossing(0.0, "left")),
        ([0.1, 0.1, 0.1, 0.1], 0.3, Crossing(30.0, "right")),
    ],
)
def test_both_ends_are_censored_as_such(values, level, found):
    got = crossing([0, 10, 20, 30], values, level)
    assert (got.at, got.censored) == (pytest.approx(found.at), found.censored)


def test_what_comes_after_the_end_changes_no_crossing():
    before = crossing([0, 10, 20], [0.0, 0.5, 0.6], 0.55, end=20)
    assert before.censored == ""
    assert crossing([0, 10, 20, 30, 40], [0.0, 0.5, 0.6, 0.0, 0.0], 0.55, end=20) == before
    cut = crossing([0, 10, 20, 30], [0.0, 0.3, 0.4, 0.8], 0.5, end=25)  # 0.6 at 25, on the line
    assert (cut.at, cut.censored) == (pytest.approx(22.5), "")


def test_equal_block_means_reach_a_level_despite_rounding():
    values = [0.1, 0.2, 0.7, 0.6, 0.8 - 0.2]  # block mean .6333 three times; level read off it
    level = (0.7 + 0.6 + 0.6) / 3
    assert crossing([0, 1, 2, 3, 4], values, level).censored == ""


def speed_ratio(baseline_sl, arm_sl):
    """What `paired_differences` makes of the two."""
    return ratio_interval(speed_log_ratios(baseline_sl, arm_sl))


def test_speed_ratio_is_the_formula():
    baseline, arm = [[10.0, 20.0], [12.0, 40.0], [9.0, 30.0]], [[5.0, 16.0], [8.0, 20.0], [9.0, 25.0]]
    logs = [
        math.fsum(math.log(a) - math.log(b) for a, b in zip(one, other, strict=True)) / 2
        for one, other in zip(baseline, arm, strict=True)
    ]
    assert speed_log_ratios(baseline, arm).tolist() == pytest.approx(logs, **CLOSE)
    found = speed_ratio(baseline, arm)
    bounds = scipy_stats.t.interval(0.95, 2, loc=np.mean(logs), scale=scipy_stats.sem(logs))
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(bounds)), **CLOSE)
    assert found.mean == pytest.approx(scipy_stats.gmean(np.exp(logs)), **CLOSE)
    turned = speed_ratio(arm, baseline)
    assert (turned.low, turned.mean) == pytest.approx((1 / found.high, 1 / found.mean), **CLOSE)
    scaled = speed_ratio(np.multiply(baseline, 7), np.multiply(arm, 7))
    assert scaled.mean == pytest.approx(found.mean, **CLOSE)  # the unit of x drops out


@pytest.mark.parametrize(
    ("baseline", "arm", "message"),
    [
        ([[1.0]], [[1.0, 2.0]], "equal ones"),
        ([1.0], [1.0], "equal ones"),
        ([[0.0]], [[1.0]], "positive and finite"),
        ([[1.0]], [[math.nan]], "positive and finite"),
    ],
)
def test_speed_needs_times(baseline, arm, message):
    with pytest.raises(ValueError, match=message):
        speed_ratio(baseline, arm)


def test_equal_ratios_have_no_interval():
    found = ratio_interval([0.25, 0.25, 0.25])
    assert (found.low, found.high, found.mean) == (None, None, pytest.approx(math.exp(0.25)))


@pytest.mark.parametrize("n", [5, 10])
def test_the_ratio_interval_covers_95_times_in_100(n):
    """Model: log ratios normal around log 1.5, SD 0.3."""
    log_rs = np.random.default_rng(5).normal(math.log(1.5), 0.3, (8000, n))  # SD of the share: 0.24 %
    half = scipy_stats.t.ppf(0.975, n - 1) * log_rs.std(axis=1, ddof=1) / math.sqrt(n)
    first = ratio_interval(log_rs[0])  # the formula below is the function's
    assert (first.low, first.high) == pytest.approx(
        (np.exp(log_rs[0].mean() - half[0]), np.exp(log_rs[0].mean() + half[0])), **CLOSE
    )
    assert 0.93 < np.mean(np.abs(log_rs.mean(axis=1) - math.log(1.5)) <= half) < 0.97


def noisy_crossings(generator, speed, luck_s, noise=0.015):
    """Saturating curves .3 + .2 (1 - exp(-x / tau)), tau shared by the arms of a seed up to 15 %."""
    x = np.concatenate([[0], np.geomspace(2, 300, 20)])
    times = []
    for luck in luck_s:
        tau = 60 * luck * np.exp(generator.normal(0, 0.15)) / speed
        y = 0.3 + 0.2 * (1 - np.exp(-x / tau)) + generator.normal(0, noise, len(x)) * (x > 0)
        found = [crossing(x, y, level) for level in (0.35, 0.4, 0.45)]
        assert all(one.censored == "" for one in found)
        times.append([one.at for one in found])
    return times


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_the_speed_of_noisy_curves_is_covered(n):
    """Model: log-spaced looks, noise of 1.5 points a look, truth 1.5. The SD of the share is 0.5 %."""
    generator = np.random.default_rng(n)
    found = []
    for _ in range(2000):
        luck_s = np.exp(generator.normal(0, 0.1, n))
        found.append(
            speed_ratio(noisy_crossings(generator, 1.0, luck_s), noisy_crossings(generator, 1.5, luck_s))
        )
    assert 0.93 < np.mean([one.low <= 1.5 <= one.high for one in found]) < 0.97
    assert 1.45 < scipy_stats.gmean([one.mean for one in found]) < 1.53


def test_collapse_has_one_definition():
    for base, peak, final in itertools.product(range(0, 100, 7), range(0, 100, 9), range(100)):  # points
        lost = (peak - base >= 3 and 2 * final < base + peak) or final <= base - 3
        assert collapsed(base / 100, peak / 100, final / 100) == lost, (base, peak, final)
    assert not collapsed(0.5, 0.52, 0.50)  # gained less than 3 points: nothing to lose
    assert not collapsed(0.5, 0.5, 0.48)
    assert collapsed(0.5, 0.5, 0.46)
    assert collapsed(0.5, 0.54, 0.51)
