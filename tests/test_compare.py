"""From rows to runs, arms and paired differences: against plain loops, and no hole goes unnoticed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from benchmark.analysis.compare import (
    ENDPOINTS,
    arm_table,
    crossing_table,
    paired_differences,
    summarize_runs,
)
from benchmark.analysis.curves import learning_curves
from benchmark.analysis.summaries import on_axis
from benchmark.endpoints import MACRO, Endpoints
from benchmark.rows import to_frame
from benchmark.stats import (
    Interval,
    crossing,
    holm,
    minimum_detectable_effect,
    normalised_auc,
    ratio_interval,
    sign_flip_p,
    speed_log_ratios,
)
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


def test_beyond_forty_pairs_there_is_no_exact_p_and_all_else_stays(make_rows):
    rows = make_rows(np.random.default_rng(0), seeds=range(41), tasks=["sums"])
    for n, p, reason in ((40, True, ""), (41, False, "no exact p: 41 pairs, it is counted for up to 40")):
        runs = summarize_runs(to_frame([row for row in rows if row.seed is None or row.seed < n]))
        for record in paired_differences(runs).to_dict("records"):
            assert (record["n"], record["p"] is not None, record["reason"]) == (n, p, reason)
            assert record["p_t"] is not None
            assert record["difference"].low < record["difference"].high
            assert record["verdict"] == "higher"


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


def endpoint_rows(make_rows, seed=0, **fields):
    return to_frame(make_rows(np.random.default_rng(seed), n_items=2000, steps=(2, 5, 10, 20, 40), **fields))


LEVELS = Endpoints(levels={"sums": [0.38, 0.41], "words": [0.5]})


def line(table, **place):
    found = table[np.logical_and.reduce([table[name] == value for name, value in place.items()])]
    assert len(found) == 1, (place, len(found))
    return found.iloc[0]


def test_the_mean_over_tasks_is_taken_checkpoint_by_checkpoint(make_rows):
    runs = summarize_runs(endpoint_rows(make_rows), endpoints=LEVELS)
    by_task = {task: group.set_index(["arm", "seed"]) for task, group in runs.groupby("task")}
    assert runs["task"].iloc[-1] == MACRO
    for name in ("base", "final", "last3", "auc", "auc_tokens", "final_seconds"):
        mean = (by_task["sums"][name] + by_task["words"][name]) / 2
        assert by_task[MACRO][name].tolist() == pytest.approx(mean.tolist())
    for name in ("n_items", "n_completions", "n_truncated"):
        assert (by_task[MACRO][name] == by_task["sums"][name] + by_task["words"][name]).all()
    alone = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]))
    assert MACRO not in set(alone["task"])


def test_crossings_are_those_of_the_estimator_on_every_axis(make_rows):
    frame = endpoint_rows(make_rows)
    runs, curves = summarize_runs(frame, endpoints=LEVELS), learning_curves(frame)
    for (task, arm, seed), curve in curves.groupby(["task", "arm", "seed"]):
        run = line(runs, task=task, arm=arm, seed=seed)
        for axis, column in (("steps", "step"), ("tokens", "tokens"), ("seconds", "seconds")):
            for number, level in enumerate(LEVELS.levels_of(task), start=1):
                found = crossing(curve[column], curve["test"], level)
                assert run[f"level_{number}"] == level
                assert (run[f"{axis}_to_{number}"], run[f"{axis}_to_{number}_censored"]) == (
                    found.at,
                    found.censored,
                )
    assert runs.loc[runs["task"] == "words", "steps_to_2"].isna().all()


def test_axes_end_where_the_shortest_run_does_or_where_the_suite_says(make_rows):
    frame = endpoint_rows(make_rows)
    short = (frame["arm"] == "grpo") & (frame["seed"] == 2)
    frame.loc[short, "tokens"] = frame.loc[short, "tokens"] * 4 // 5
    runs = summarize_runs(frame)
    assert set(runs["tokens_end"]) == {32_000}
    curve = learning_curves(frame).query("task == 'sums' and arm == 'lambda_grpo' and seed == 0")
    run = line(runs, task="sums", arm="lambda_grpo", seed=0)
    assert run["auc_tokens"] == pytest.approx(normalised_auc(curve["tokens"], curve["test"], 32_000))
    assert run["final_tokens"] == pytest.approx(np.interp(32_000, curve["tokens"], curve["test"]))
    declared = summarize_runs(frame, endpoints=Endpoints(horizon={"tokens": 20_000}))
    assert set(declared["tokens_end"]) == {20_000}
    late = summarize_runs(frame, endpoints=Endpoints(horizon={"tokens": 36_000}))
    assert late["auc_tokens"].isna().all()
    assert set(late["tokens_reason"]) == {"arm grpo, seed 2: ends at 32000 tokens, the horizon is 36000"}
    table = paired_differences(late)
    lacking = table[(table["axis"] == "tokens")]
    assert set(lacking["verdict"]) == {"no statement"}
    assert all(one is None for one in [*lacking["difference"], *lacking["p"], *lacking["p_holm"]])
    assert lacking["reason"].str.contains("the horizon is 36000").all()


def test_seconds_of_two_kinds_of_machine_are_not_compared(make_rows):
    frame = endpoint_rows(make_rows, tasks=["sums"])
    frame.loc[frame["arm"] == "grpo", "device"] = "cuda"  # of rows that do not say what trained them
    runs = summarize_runs(frame)
    assert runs["auc_seconds"].isna().all()
    assert runs["seconds_reason"].str.contains("cpu, cuda: seconds compare on one kind of machine").all()
    assert line(arm_table(runs), arm="grpo")["auc_seconds"] is None
    trained = endpoint_rows(make_rows, tasks=["sums"])
    trained.loc[trained["arm"] == "grpo", "train_device"] = "H100"
    trained.loc[trained["arm"] == "lambda_grpo", "train_device"] = "EPYC"  # all texts by one machine
    runs = summarize_runs(trained)
    assert runs["auc_seconds"].isna().all()
    assert runs["seconds_reason"].str.contains("trained on EPYC, H100: seconds compare on one kind").all()
    table = paired_differences(runs)
    assert set(table[table["axis"] == "seconds"]["verdict"]) == {"no statement"}
    alike = trained.assign(train_device="EPYC").assign(device=trained["arm"])
    alike.loc[alike["arm"] == "base", "train_device"] = ""
    assert set(summarize_runs(alike)["seconds_reason"]) == {""}
    unknown = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]).assign(train_s=0.0))
    assert unknown["seconds_reason"].str.contains("do not rise from 0").all()


def speed_ratio(by_arm, names, baseline="grpo", arm="lambda_grpo"):
    return ratio_interval(speed_log_ratios(by_arm[baseline][names], by_arm[arm][names]))


def test_speed_uses_the_levels_that_some_run_reaches(make_rows):
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=LEVELS)
    record = line(paired_differences(runs, endpoints=LEVELS), endpoint="speed", axis="tokens")
    by_arm = {arm: group.sort_values("seed") for arm, group in runs.groupby("arm")}
    wanted = speed_ratio(by_arm, ["tokens_to_1", "tokens_to_2"])
    assert (record["difference"], record["unit"], record["reason"]) == (wanted, "ratio", "")
    assert (record["verdict"], record["bound"]) == ("higher", "")
    far = Endpoints(levels={"sums": [0.38, 0.99]})
    table = paired_differences(
        summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=far), endpoints=far
    )
    record = line(table, endpoint="speed", axis="steps")
    assert record["reason"] == "without the levels 0.99: no run gets there"
    assert (record["difference"], record["bound"]) == (speed_ratio(by_arm, ["steps_to_1"]), "")
    never = line(table, endpoint="time_to_2", axis="steps")
    assert (never["difference"], never["verdict"]) == (None, "no statement")
    assert never["reason"] == "no run reaches 0.99 by 40 steps"
    nowhere = Endpoints(levels={"sums": [0.99]})
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=nowhere)
    record = line(paired_differences(runs, endpoints=nowhere), endpoint="speed", axis="steps")
    assert (record["difference"], record["reason"]) == (None, "no run reaches any level")


def crossing_runs(grpo, arm, end=100.0, seeds=6):
    """Runs that are at two levels after so many steps; None: not by the end."""
    records = []
    for name, times in (("grpo", grpo), ("fast", arm)):
        for seed in range(seeds):
            record = {"task": "sums", "arm": name, "seed": seed, "base": 0.1, "higher_is_better": True}
            record |= dict.fromkeys(("final", "peak", "auc", "last3"), 0.5 + 0.01 * seed)
            record |= {"steps_reason": "", "steps_end": end, "level_1": 0.3, "level_2": 0.6}
            for number, at in enumerate(times, start=1):
                record[f"steps_to_{number}"] = end if at is None else at * (1 + seed / 50 * (name == "fast"))
                record[f"steps_to_{number}_censored"] = "" if at is not None else "right"
            records.append(record)
    return pd.DataFrame(records)


STEPS_ONLY = Endpoints(axes=["steps"], levels={"sums": [0.3, 0.6]})


@pytest.mark.parametrize(
    ("grpo", "fast", "bound", "verdict"),
    [
        ((40, 90), (10, 20), "", "higher"),
        ((40, 90), (10, None), "at most", "no statement"),  # half the time to .3, and never at .6
        ((20, 90), (40, None), "at most", "lower"),  # slower to .3, and never at .6
        ((40, None), (20, 90), "at least", "higher"),
        ((10, None), (40, 90), "at least", "no statement"),
        ((40, None), (10, None), "", "higher"),  # nobody is at .6: it is left out, and named
    ],
)
def test_an_arm_that_never_gets_there_is_never_called_faster(grpo, fast, bound, verdict):
    table = paired_differences(crossing_runs(grpo, fast), endpoints=STEPS_ONLY)
    record = line(table, endpoint="speed")
    assert (record["bound"], record["verdict"]) == (bound, verdict)
    assert (record["p_equivalent"] is None) == bool(bound)
    if bound:
        assert record["n_censored"] == 6
        assert record["reason"].startswith("6 of 12 runs never get to some level and count with the end")
    swapped = line(paired_differences(crossing_runs(fast, grpo), endpoints=STEPS_ONLY), endpoint="speed")
    assert swapped["bound"] == {"at most": "at least", "at least": "at most"}.get(bound, "")


def test_a_speed_bounded_on_both_sides_says_nothing():
    runs = crossing_runs((40, 90), (10, 20))
    for arm, seed in (("grpo", 0), ("fast", 1)):
        hit = (runs["arm"] == arm) & (runs["seed"] == seed)
        runs.loc[hit, ["steps_to_2", "steps_to_2_censored"]] = [100.0, "right"]
    record = line(paired_differences(runs, endpoints=STEPS_ONLY), endpoint="speed")
    assert record["p_holm"] < 0.05
    assert (record["bound"], record["verdict"], record["n_censored"]) == ("neither", "no statement", 2)
    time = line(paired_differences(runs, endpoints=STEPS_ONLY), endpoint="time_to_2")
    assert time["reason"] == "restricted means up to 100 steps: 2 of 12 runs never get there"


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


def test_a_level_that_is_there_too_early_is_an_error_in_the_schedule(make_rows):
    early = Endpoints(levels={"sums": [0.31, 0.44]})
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=early)
    table = paired_differences(runs, endpoints=early)
    speed = line(table, endpoint="speed", axis="steps")
    assert (speed["difference"], speed["verdict"]) == (None, "no statement")
    assert speed["reason"] == "level 0.31: some run is there too early to tell when"
    record = line(table, endpoint="time_to_1", axis="steps")
    assert (record["difference"], record["p"], record["verdict"]) == (None, None, "no statement")
    assert "the schedule looks too late" in record["reason"]
    shown = line(crossing_table(runs), arm="grpo", axis="steps", number=1)
    assert shown["n_left"] > 0
    assert shown["restricted"] is None
    assert shown["text"].startswith("<=")
    assert "the schedule looks too late" in shown["reason"]


def test_crossing_table_counts_both_ends(make_rows):
    far = Endpoints(levels={"sums": [0.44, 0.47, 0.99]})
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=far)
    table = crossing_table(runs)
    for row in table.to_dict("records"):
        own = runs[runs["arm"] == row["arm"]]
        name = f"{row['axis']}_to_{row['number']}"
        kinds = own[f"{name}_censored"].tolist()
        counts = [kinds.count(""), kinds.count("left"), kinds.count("right")]
        assert [row["n_reached"], row["n_left"], row["n_right"]] == counts
        if not row["n_left"]:
            assert row["restricted"].mean == pytest.approx(own[name].mean())
            assert row["text"].startswith(">") == (row["n_right"] > 0)
    never = line(table, arm="grpo", axis="tokens", number=3)
    assert (never["n_right"], never["text"], never["restricted"].low) == (5, ">40000", None)
    nothing = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]))
    assert crossing_table(nothing).empty


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


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"schema_version": 2}, {"seed": 7}, "column 'schema_version': 1, 2 cannot be compared"),
        ({"value": math.inf}, {"arm": "grpo", "seed": 7, "step": 20}, "is inf"),
        (
            {"weights_hash": "grpo-4-20"},
            {"arm": "grpo", "seed": 9, "step": 20},
            "the weights of arm 'grpo', seed 4",
        ),
        ({"weights_hash": "grpo-4-20"}, {"arm": "lambda_grpo", "seed": 9, "step": 20}, "a run counts once"),
    ],
)
def test_bad_rows_are_refused(rows, fields, place, message):
    with pytest.raises(UserError, match=message):
        learning_curves(to_frame(change(rows, fields, **place)))


def test_a_checkpoint_has_one_set_of_weights(rows):
    """One task was scored again after the run was trained again, the other kept its old numbers."""
    message = (
        "arm 'grpo', seed 9, step 20, task 'words', test: measured on weights others, task 'sums', "
        r"validation on grpo-9-20; .* score it whole with `python -m benchmark run toy`"
    )
    place = {"arm": "grpo", "seed": 9, "step": 20, "task": "words", "split": "test"}
    with pytest.raises(UserError, match=message):
        learning_curves(to_frame(change(rows, {"weights_hash": "others"}, **place)))
    with pytest.raises(UserError, match=r"arm 'base', .* measured on weights others"):
        learning_curves(to_frame(change(rows, {"weights_hash": "others"}, arm="base", task="words")))


def test_two_arms_that_did_the_same_have_no_interval(rows):
    """Not a reused seed: the arms agree, their differences are 0 and nothing can be said."""
    grpo = [row for row in rows if row.arm in ("grpo", "base")]
    twin = [row.model_copy(update={"arm": "twin"}) for row in grpo if row.arm == "grpo"]
    for record in paired_differences(summarize_runs(to_frame(grpo + twin))).to_dict("records"):
        assert (record["difference"].mean, record["difference"].low, record["p"]) == (0, None, 1)
        assert (record["verdict"], record["mde"]) == ("no statement", None)
        assert "all 3 differences are equal" in record["reason"]


def test_a_suite_without_a_test_split_claims_nothing(rows):
    frame = to_frame(without(rows, split="test"))
    with pytest.raises(UserError, match="no test rows, so there is nothing to claim"):
        learning_curves(frame)
