"""From rows to runs, arms and paired differences: against plain loops, and no hole goes unnoticed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmark.analysis.compare import (
    ENDPOINTS,
    _compare,
    arm_table,
    paired_differences,
    summarize_runs,
)
from benchmark.analysis.summaries import on_axis
from benchmark.analysis.time_pairs import Pairs
from benchmark.endpoints import MACRO, Endpoints
from benchmark.rows import to_frame
from benchmark.stats import (
    Interval,
    holm,
    minimum_detectable_effect,
    sign_flip_p,
)
from tasks.errors import UserError
from tests.tables import endpoint_rows, line, without


@pytest.fixture
def rows(make_rows):
    return make_rows(np.random.default_rng(3), seeds=[4, 7, 9])


def test_arms_are_averaged_over_seeds(rows):
    runs = summarize_runs(to_frame(rows))
    for mean in arm_table(runs).to_dict("records"):
        own = runs[(runs["task"] == mean["task"]) & (runs["arm"] == mean["arm"])]
        assert (mean["n_seeds"], mean["n_items"]) == (3, 400 if mean["task"] == MACRO else 200)
        assert mean["base"] == Interval(own["base"].iloc[0], None, None, 1)
        for endpoint in ENDPOINTS:
            value_s = own[endpoint].to_numpy()
            bounds = scipy_stats.t.interval(0.95, 2, loc=value_s.mean(), scale=scipy_stats.sem(value_s))
            assert (mean[endpoint].low, mean[endpoint].high) == pytest.approx(bounds, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_differences_are_paired_by_seed(make_rows, seed):
    runs = summarize_runs(to_frame(make_rows(np.random.default_rng(seed))))
    shuffled = runs.sample(frac=1, random_state=np.random.default_rng(seed))
    found = paired_differences(shuffled).to_dict("records")
    places = [("final", "steps"), ("peak", "steps"), ("auc", "steps"), ("last3", "steps")]
    places += [("final", "tokens"), ("auc", "tokens"), ("final", "seconds"), ("auc", "seconds")]
    assert [(r["task"], r["endpoint"], r["axis"]) for r in found] == [
        (task, *place) for task in ("sums", "words", MACRO) for place in places
    ]
    for record in found:
        value = {
            (r["arm"], r["seed"]): r[on_axis(record["endpoint"], record["axis"])]
            for r in runs.to_dict("records")
            if r["task"] == record["task"]
        }
        ours, theirs = ([value[arm, s] for s in range(5)] for arm in ("lambda_grpo", "grpo"))
        test = scipy_stats.ttest_rel(ours, theirs)
        bounds = test.confidence_interval(0.95)
        assert (record["arm"], record["baseline"], record["n"], record["reason"]) == (
            "lambda_grpo",
            "grpo",
            5,
            "",
        )
        assert (record["difference"].low, record["difference"].high) == pytest.approx(
            tuple(bounds), rel=1e-9, abs=1e-12
        )
        difference_s = np.subtract(ours, theirs)
        assert record["p"] == sign_flip_p(difference_s)
        assert record["mde"] == minimum_detectable_effect(np.std(difference_s, ddof=1), 5)
        assert (test.pvalue < 0.05) == (not record["difference"].low <= 0 <= record["difference"].high)
    swapped = paired_differences(runs, "lambda_grpo").to_dict("records")
    assert [r["difference"].mean for r in swapped] == pytest.approx([-r["difference"].mean for r in found])


def test_one_pair_gives_a_difference_and_a_reason(make_rows):
    runs = summarize_runs(to_frame(make_rows(np.random.default_rng(0), seeds=[0], tasks=["sums"])))
    for record in paired_differences(runs).to_dict("records"):
        assert record["difference"].low is record["difference"].high is record["p"] is record["mde"] is None
        assert record["n"] == 1
        assert "1 pair" in record["reason"]
        assert math.isfinite(record["difference"].mean)


def test_equal_differences_give_a_p_but_no_interval(make_rows):
    runs = summarize_runs(to_frame(make_rows(np.random.default_rng(0), tasks=["sums"])))
    runs.loc[runs["arm"] == "lambda_grpo", "final"] = (
        runs.loc[runs["arm"] == "grpo", "final"].to_numpy() + 0.1
    )
    record = paired_differences(runs).to_dict("records")[0]
    assert (record["difference"].low, record["mde"], record["p"]) == (None, None, 2 / 32)
    assert "all 5 differences are equal" in record["reason"]


def test_a_seed_of_one_arm_only_is_named(rows):
    runs = summarize_runs(to_frame(without(rows, arm="grpo", seed=7)))
    with pytest.raises(UserError, match=r"seeds 7 exist only for arm 'lambda_grpo'"):
        paired_differences(runs)


def test_the_baseline_must_be_there_and_may_be_alone(make_rows):
    runs = summarize_runs(to_frame(make_rows(np.random.default_rng(0), gain={"grpo": 0.1})))
    with pytest.raises(UserError, match="did you mean 'grpo'"):
        paired_differences(runs, "gpro")
    assert paired_differences(runs).empty


def test_arms_that_learn_nothing_are_not_called_equivalent(make_rows):
    idle = endpoint_rows(make_rows, gain={"grpo": 0.0, "lambda_grpo": 0.0}, tasks=["sums"], seed_sd=0.002)
    record = line(paired_differences(summarize_runs(idle)), endpoint="auc", axis="steps")
    assert abs(record["difference"].high) < 0.03
    assert (record["verdict"], record["p_equivalent"]) == ("no statement", None)
    assert record["reason"] == (
        "grpo's own gain is not shown to exceed the margin, so this task cannot show it"
    )
    learnt = endpoint_rows(make_rows, gain={"grpo": 0.2, "lambda_grpo": 0.2}, tasks=["sums"], seed_sd=0.002)
    record = line(paired_differences(summarize_runs(learnt)), endpoint="auc", axis="steps")
    assert record["verdict"] == "equivalent"


def test_holm_is_over_tasks_and_the_mean_stands_alone(make_rows):
    table = paired_differences(summarize_runs(endpoint_rows(make_rows, tasks=["a", "b", "c"])))
    for _, family in table.groupby(["endpoint", "axis"]):
        tasks = family[family["task"] != MACRO]
        assert tasks["p_holm"].tolist() == pytest.approx(holm(tasks["p_t"].tolist()))
        mean = family[family["task"] == MACRO].iloc[0]
        assert mean["p_holm"] == mean["p_t"]
    primary = table[table["role"] == "primary"]
    assert primary[["task", "endpoint", "axis"]].to_numpy().tolist() == [[MACRO, "auc", "steps"]]
    alone = paired_differences(summarize_runs(endpoint_rows(make_rows, tasks=["a"])))
    assert alone[alone["role"] == "primary"][["task", "endpoint"]].to_numpy().tolist() == [["a", "auc"]]


@pytest.mark.parametrize("seed", range(6))
def test_verdicts_follow_from_the_adjusted_tests(make_rows, seed):
    gain = {"grpo": 0.2, "lambda_grpo": (0.1, 0.2, 0.3)[seed % 3]}
    chosen = Endpoints(levels={"sums": [0.36]}, margin=(0.01, 0.1)[seed // 3])
    table = paired_differences(
        summarize_runs(endpoint_rows(make_rows, seed, gain=gain), endpoints=chosen), endpoints=chosen
    )
    for record in table.to_dict("records"):
        if record["p_holm"] is None:
            assert (record["verdict"], bool(record["reason"])) == ("no statement", True)
            continue
        above = record["difference"].mean > (1 if record["unit"] == "ratio" else 0)
        idle = record["unit"] == "metric" and record["p_equivalent"] is None
        wanted = "no statement" if idle or record["bound"] else "none"
        if record["p_holm"] <= 0.05 and not record["bound"]:
            wanted = "higher" if above else "lower"
        elif record["p_equivalent"] is not None and record["p_equivalent"] <= 0.05:
            wanted = "equivalent"
        assert record["verdict"] == wanted
        if record["endpoint"].startswith("time_to_"):
            assert record["p_equivalent"] is None
        assert not (idle and chosen.margin == 0.01)
    assert set(table["verdict"]) & ({"higher", "lower"} if seed % 3 != 1 else {"none", "equivalent"})


def test_few_pairs_show_an_interval_and_conclude_nothing(make_rows):
    runs = summarize_runs(
        endpoint_rows(make_rows, seeds=[0, 1, 2, 3], gain={"grpo": 0.1, "lambda_grpo": 0.5})
    )
    for record in paired_differences(runs).to_dict("records"):
        assert record["verdict"] == "no statement"
        assert record["difference"].low is not None
        assert record["reason"] == "4 pairs: fewer than the 5 that a conclusion needs"
    enough = summarize_runs(endpoint_rows(make_rows, gain={"grpo": 0.1, "lambda_grpo": 0.5}))
    found = paired_differences(enough, endpoints=Endpoints(min_pairs=5))
    assert line(found, task=MACRO, endpoint="auc", axis="steps")["verdict"] == "higher"
    found = paired_differences(enough, endpoints=Endpoints(min_pairs=6))
    assert line(found, task=MACRO, endpoint="auc", axis="steps")["verdict"] == "no statement"


def test_the_worst_seed_and_collapses_are_said(make_rows):
    frame = endpoint_rows(make_rows, tasks=["sums"])
    lost = (frame["arm"] == "grpo") & (frame["seed"] == 3) & (frame["step"] == 40)
    frame.loc[lost, "value"] = 0.2
    row = line(arm_table(summarize_runs(frame)), arm="grpo")
    assert (row["worst"], row["worst_seed"], row["n_collapsed"]) == (0.2, 3, 1)
    run = line(summarize_runs(frame), arm="grpo", seed=3)
    assert run["drop"] == run["final"] - run["peak"] < -0.1


def test_two_arms_that_did_the_same_have_no_interval(rows):
    """Not a reused seed: the arms agree, their differences are 0 and nothing can be said."""
    grpo = [row for row in rows if row.arm in ("grpo", "base")]
    twin = [row.model_copy(update={"arm": "twin"}) for row in grpo if row.arm == "grpo"]
    for record in paired_differences(summarize_runs(to_frame(grpo + twin))).to_dict("records"):
        assert (record["difference"].mean, record["difference"].low, record["p"]) == (0, None, 1)
        assert (record["verdict"], record["mde"]) == ("no statement", None)
        assert "all 3 differences are equal" in record["reason"]


def test_beyond_forty_pairs_there_is_no_exact_p_and_all_else_stays(make_rows):
    rows = make_rows(np.random.default_rng(0), seeds=range(41), tasks=["sums"])
    for n, p, reason in ((40, True, ""), (41, False, "no exact p: 41 pairs, it is counted for up to 40")):
        runs = summarize_runs(to_frame([row for row in rows if row.seed is None or row.seed < n]))
        for record in paired_differences(runs).to_dict("records"):
            assert (record["n"], record["p"] is not None, record["reason"]) == (n, p, reason)
            assert record["p_t"] is not None
            assert record["difference"].low < record["difference"].high
            assert record["verdict"] == "higher"


def test_both_reasons_are_told():
    difference_s = np.linspace(1, 3, 41)
    few = Pairs(
        "time", "steps", "steps", difference_s, n=41, n_censored=2, reason="2 of 43 pairs are censored"
    )
    reason = _compare(few, Endpoints())["reason"]
    assert reason == "2 of 43 pairs are censored; no exact p: 41 pairs, it is counted for up to 40"
