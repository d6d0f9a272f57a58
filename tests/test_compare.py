"""From rows to runs, arms and paired differences: against plain loops, and no hole goes unnoticed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from benchmark.compare import ENDPOINTS, arm_table, paired_differences, summarize_runs
from benchmark.curves import learning_curves
from benchmark.endpoints import MACRO
from benchmark.rows import to_frame
from benchmark.stats import Interval, minimum_detectable_effect, normalised_auc, sign_flip_p
from benchmark.summaries import on_axis
from tasks.errors import UserError

STEPS = (0, 10, 20, 40)


@pytest.fixture
def rows(make_rows):
    return make_rows(np.random.default_rng(3), seeds=[4, 7, 9])


def without(rows, **place):
    """Leave out the rows that have all these fields."""
    kept = [row for row in rows if any(getattr(row, name) != value for name, value in place.items())]
    assert len(kept) < len(rows)
    return kept


def change(rows, fields, **place):
    """Set fields of the rows that have all of `place`."""
    hit = [all(getattr(row, name) == value for name, value in place.items()) for row in rows]
    assert any(hit)
    return [row.model_copy(update=fields) if chosen else row for row, chosen in zip(rows, hit, strict=True)]


def curve(rows, task, arm, seed, split):
    """One curve, read off the rows one by one; step 0 is the arm "base"."""
    wanted = {(arm, seed, step) for step in STEPS[1:]} | {("base", None, 0)}
    found = {
        r.step: r.value
        for r in rows
        if r.task == task and r.split == split and (r.arm, r.seed, r.step) in wanted
    }
    return [found[step] for step in STEPS]


@pytest.mark.parametrize("seed", range(10))
def test_summaries_match_plain_loops(make_rows, seed):
    generator = np.random.default_rng(seed)
    rows = make_rows(generator, seeds=[4, 7, 9], n_items=20)  # few items: ties on validation are common
    runs = summarize_runs(to_frame(rows))
    assert len(runs) == (2 + 1) * 2 * 3  # two tasks and their mean
    for run in runs[runs["task"] != MACRO].to_dict("records"):
        place = (rows, run["task"], run["arm"], run["seed"])
        test, validation = curve(*place, "test"), curve(*place, "validation")
        best = validation.index(max(validation))
        assert (run["base"], run["final"], run["raw_max"]) == (test[0], test[-1], max(test))
        assert (run["peak"], run["peak_step"], run["last_step"]) == (test[best], STEPS[best], 40)
        assert run["auc"] == normalised_auc(STEPS, test)
        counts = [run[f"n_{name}"] for name in ("items", "completions", "truncated", "unparsed", "ungraded")]
        assert counts == [20, 3 * 20 * 2, 3 * 2, 3 * 3, 3 * 1]
    assert runs.groupby("task")["base"].nunique().tolist() == [1, 1, 1]
    shuffled = generator.permutation(len(rows))
    pd.testing.assert_frame_equal(summarize_runs(to_frame([rows[i] for i in shuffled])), runs)


def test_curves_are_in_order(rows):
    place = (
        learning_curves(to_frame(rows[::-1]))[["task", "arm", "seed", "step"]].apply(tuple, axis=1).tolist()
    )
    assert place == sorted(place)
    assert len(place) == 2 * 2 * 3 * 4


def hand_made(make_row, validation, test, **fields):
    places = [("base", None, 0), *(("grpo", 0, step) for step in STEPS[1:])]
    return [
        make_row(arm=arm, seed=seed, step=step, split=split, value=value, **fields)
        for split, values in (("validation", validation), ("test", test))
        for (arm, seed, step), value in zip(places, values, strict=True)
    ]


@pytest.mark.parametrize(
    ("validation", "step"),
    [([0.1, 0.5, 0.5, 0.2], 10), ([0.9, 0.5, 0.5, 0.2], 0), ([0.1, 0.2, 0.3, 0.4], 40), ([0.2] * 4, 0)],
)
def test_the_peak_is_chosen_on_validation(make_row, validation, step):
    test = [0.30, 0.31, 0.99, 0.33]
    (run,) = summarize_runs(to_frame(hand_made(make_row, validation, test))).to_dict("records")
    assert (run["peak_step"], run["peak"], run["raw_max"]) == (step, test[STEPS.index(step)], 0.99)


def test_where_lower_is_better_the_peak_is_the_lowest(make_row):
    rows = hand_made(make_row, [3, 1, 2, 2], [30, 10, 5, 20], metric="loss", higher_is_better=False)
    (run,) = summarize_runs(to_frame(rows), metric="loss").to_dict("records")
    assert (run["peak"], run["peak_step"], run["raw_max"]) == (10, 10, 5)


@pytest.mark.parametrize(
    "place",
    [
        {"arm": "grpo", "seed": 7, "step": 20, "task": "words", "split": "test"},
        {"arm": "lambda_grpo", "seed": 9, "step": 40, "task": "sums", "split": "validation"},
        {"arm": "base", "step": 0, "task": "words", "split": "test"},
        {"arm": "base", "step": 0, "task": "words", "split": "validation"},
        {"arm": "base", "step": 0, "task": "words"},
        {"arm": "grpo", "seed": 4, "task": "words"},
        {"task": "words", "split": "validation"},
    ],
)
def test_a_missing_cell_is_named(rows, place):
    with pytest.raises(UserError, match="no row") as caught:
        learning_curves(to_frame(without(rows, **place)))
    message = str(caught.value)
    named = {"arm": "{!r}", "seed": "seed {}", "step": "step {}", "task": "task {!r}", "split": "{}"}
    assert all(text.format(place[name]) in message for name, text in named.items() if name in place)
    assert "`python -m benchmark run toy`" in message


def test_a_null_value_is_named_and_not_counted_as_zero(rows):
    holed = change(rows, {"value": None}, arm="grpo", seed=7, step=20, task="words", split="test")
    with pytest.raises(UserError, match=r"'grpo', seed 7, step 20, task 'words', test: 'accuracy' is null"):
        learning_curves(to_frame(holed))


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"suite": "other"}, {"seed": 7}, "column 'suite': other, toy"),
        ({"model": "big"}, {"arm": "grpo"}, "column 'model'"),
        ({"engine": "vllm"}, {"arm": "base"}, "column 'engine'"),
        ({"task_version": "2"}, {"task": "sums", "step": 40}, "task 'sums', column 'task_version': 1, 2"),
        ({"seed": None}, {"arm": "grpo", "seed": 7, "step": 20}, "only arm 'base'"),
        ({"step": 0}, {"arm": "grpo", "seed": 7, "step": 20}, "only arm 'base'"),
        ({"step": 10}, {"arm": "base"}, "only arm 'base'"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows, fields, place, message):
    with pytest.raises(UserError, match=message):
        learning_curves(to_frame(change(rows, fields, **place)))


def test_smoke_rows_are_never_read_as_results(make_rows):
    generator = np.random.default_rng(0)
    real, smoke = make_rows(generator), make_rows(generator, kind="smoke")
    pd.testing.assert_frame_equal(summarize_runs(to_frame(real + smoke)), summarize_runs(to_frame(real)))
    assert not summarize_runs(to_frame(real + smoke), kind="smoke").equals(summarize_runs(to_frame(real)))
    with pytest.raises(UserError, match=f"none of the {len(smoke)} rows is of that kind; smoke rows"):
        summarize_runs(to_frame(smoke))


def test_nothing_to_read_is_an_error(rows):
    with pytest.raises(UserError, match="none of the 0 rows"):
        learning_curves(to_frame([]))
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        learning_curves(to_frame(rows), metric="acuracy")
    with pytest.raises(UserError, match="train an arm"):
        learning_curves(to_frame([row for row in rows if row.arm == "base"]))
    with pytest.raises(UserError, match="two rows"):
        learning_curves(pd.concat([to_frame(rows), to_frame(rows[-1:])]))


def test_arms_are_averaged_over_seeds(rows):
    runs = summarize_runs(to_frame(rows))
    for line in arm_table(runs).to_dict("records"):
        own = runs[(runs["task"] == line["task"]) & (runs["arm"] == line["arm"])]
        assert (line["n_seeds"], line["n_items"]) == (3, 400 if line["task"] == MACRO else 200)
        assert line["base"] == Interval(own["base"].iloc[0], None, None, 1)
        for endpoint in ENDPOINTS:
            value_s = own[endpoint].to_numpy()
            bounds = scipy_stats.t.interval(0.95, 2, loc=value_s.mean(), scale=scipy_stats.sem(value_s))
            assert (line[endpoint].low, line[endpoint].high) == pytest.approx(bounds, rel=1e-9)


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
