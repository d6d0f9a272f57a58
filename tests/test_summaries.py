"""One run to its numbers: two frames by hand, and synthetic runs against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.compare import arm_table, paired_differences
from benchmark.analysis.curves import learning_curves
from benchmark.analysis.summaries import summarize_runs
from benchmark.endpoints import MACRO, Endpoints
from benchmark.rows import to_frame
from benchmark.stats import crossing, normalised_auc
from tasks.errors import UserError
from tests.tables import change, endpoint_rows, line, measured, same

STEPS = (0, 10, 20, 40)
NAN = math.nan
HEAD = (
    "task arm seed base final peak peak_step raw_max auc last_step n_items n_completions n_truncated "
    "n_unparsed n_ungraded last3 drop collapsed"
)
LEVELS = Endpoints(levels={"sums": [0.38, 0.41], "words": [0.5]})


def curves_by_hand(make_row, curves, **fields):
    """Make rows: (task, arm, seed) -> (validation, test) at every one of `STEPS`."""
    values = {
        (task, arm if step else "base", seed if step else None, step): (validation[at], test[at])
        for (task, arm, seed), (validation, test) in curves.items()
        for at, step in enumerate(STEPS)
    }
    return measured(make_row, values, **fields)


def test_two_tasks_and_their_mean_by_hand(make_row):
    curves = {
        ("words", "grpo", 0): ([0.3, 0.3, 0.3, 0.3], [0.2, 0.2, 0.4, 0.4]),
        ("words", "grpo", 1): ([0.3, 0.2, 0.3, 0.4], [0.2, 0.25, 0.35, 0.45]),
        ("sums", "grpo", 0): ([0.1, 0.5, 0.5, 0.2], [0.1, 0.3, 0.5, 0.8]),
        ("sums", "grpo", 1): ([0.1, 0.2, 0.3, 0.25], [0.1, 0.5, 0.6, 0.12]),
    }
    rows = curves_by_hand(make_row, curves, n_truncated=4, n_unparsed=5, n_ungraded=6)
    rows = change(rows, {"n_truncated": 99, "n_unparsed": 99, "n_ungraded": 99}, arm="base")
    rows = change(rows, {"n_items": 40}, task="sums", seed=0, step=20, split="test")
    rows = change(rows, {"tokens": 3000}, seed=1, step=40)  # fewer than the 4000 of the other seed
    rows = change(rows, {"train_s": 5.0}, seed=1)
    chosen = Endpoints(levels={"sums": [0.4, 0.9], "words": [0.3], MACRO: [0.3]})
    reason = "arm grpo, seed 1: its seconds do not rise from 0 with every checkpoint"
    no_seconds, true = (NAN, reason, NAN, NAN, NAN, "", NAN, ""), True
    to, none = (40.0, ""), (NAN, "")  # end and reason of steps; a level that the task does not have
    tokens = (3000.0, "")
    by_axis = "{0}_to_1 {0}_to_1_censored {0}_to_2 {0}_to_2_censored"
    same(
        summarize_runs(to_frame(rows), endpoints=chosen),
        f"{HEAD} level_1 level_2 steps_end steps_reason {by_axis.format('steps')} "
        f"tokens_end tokens_reason auc_tokens final_tokens {by_axis.format('tokens')} "
        f"seconds_end seconds_reason auc_seconds final_seconds {by_axis.format('seconds')} higher_is_better",
        [
            (
                *("sums", "grpo", 0, 0.1, 0.8, 0.3, 10, 0.8, 0.475, 40, 40, 280, 12, 15, 18),
                *(1.6 / 3, 0.5, False, 0.4, 0.9, *to, 15.0, "", 40.0, "right"),
                *(*tokens, 1175 / 3000, 0.65, 1500.0, "", 3000.0, "right", *no_seconds, true),
            ),
            (
                *("sums", "grpo", 1, 0.1, 0.12, 0.6, 20, 0.6, 0.3925, 40, 50, 300, 12, 15, 18),
                *(1.22 / 3, -0.48, True, 0.4, 0.9, *to, 10.0, "left", 40.0, "right"),
                *(*tokens, 1210 / 3000, 0.12, 1000.0, "left", 3000.0, "right", *no_seconds, true),
            ),
            (
                *("words", "grpo", 0, 0.2, 0.4, 0.2, 0, 0.4, 0.325, 40, 50, 300, 12, 15, 18),
                *(1 / 3, 0.2, False, 0.3, NAN, *to, 15.0, "", *none),
                *(*tokens, 0.3, 0.4, 1500.0, "", *none, *no_seconds, true),
            ),
            (
                *("words", "grpo", 1, 0.2, 0.45, 0.45, 40, 0.45, 0.33125, 40, 50, 300, 12, 15, 18),
                *(0.35, 0.0, False, 0.3, NAN, *to, 15.0, "", *none),
                *(*tokens, 925 / 3000, 0.45, 1500.0, "", *none, *no_seconds, true),
            ),
            (
                *(MACRO, "grpo", 0, 0.15, 0.6, 0.25, 10, 0.6, 0.4, 40, 90, 580, 24, 30, 36),
                *(1.3 / 3, 0.35, False, 0.3, NAN, *to, 12.5, "", *none),
                *(*tokens, 1037.5 / 3000, 0.525, 1250.0, "", *none, *no_seconds, true),
            ),
            (
                *(MACRO, "grpo", 1, 0.15, 0.285, 0.285, 40, 0.475, 0.361875, 40, 100, 600, 24, 30, 36),
                *(1.135 / 3, 0.0, False, 0.3, NAN, *to, 10.0, "left", *none),
                *(*tokens, 1067.5 / 3000, 0.285, 1000.0, "left", *none, *no_seconds, true),
            ),
        ],
    )


def test_a_metric_where_lower_is_better_by_hand(make_row):
    """The suite says where the axes end; seconds stop before that."""
    curves = {
        ("sums", "new", 0): ([0.8, 0.3, 0.5, 0.9], [0.8, 0.6, 0.2, 0.79]),
        ("sums", "new", 1): ([0.8, 0.3, 0.5, 0.9], [0.8, 0.6, 0.7, 0.65]),
    }
    rows = curves_by_hand(make_row, curves, metric="loss", higher_is_better=False, kind="smoke")
    chosen = Endpoints(levels={"sums": [0.5]}, horizon={"steps": 30, "tokens": 4000, "seconds": 90})
    seconds = (NAN, "arm new, seed 0: ends at 80 seconds, the horizon is 90", NAN, NAN, NAN, "")
    counts = (40, 50, 300, 6, 9, 3)
    same(
        summarize_runs(to_frame(rows), endpoints=chosen, metric="loss", kind="smoke"),
        f"{HEAD} level_1 steps_end steps_reason steps_to_1 steps_to_1_censored "
        "tokens_end tokens_reason auc_tokens final_tokens tokens_to_1 tokens_to_1_censored "
        "seconds_end seconds_reason auc_seconds final_seconds seconds_to_1 seconds_to_1_censored "
        "higher_is_better",
        [
            (
                *("sums", "new", 0, 0.8, 0.79, 0.6, 10, 0.2, 0.4825, *counts, 0.53, 0.19, True, 0.5),
                # the fit up to 30 is .8 .6 and then the mean of .2 and .495; up to 40 that of .2 and .79
                *(30.0, "", 10 + 10 * 0.1 / (0.6 - 0.3475), ""),
                *(4000.0, "", 0.5225, 0.79, 1000 + 1000 * 0.1 / (0.6 - 0.495), "", *seconds, False),
            ),
            (
                *("sums", "new", 1, 0.8, 0.65, 0.6, 10, 0.6, 20.375 / 30, *counts, 0.65, 0.05, False, 0.5),
                *(30.0, "", 30.0, "right", 4000.0, "", 0.675, 0.65, 4000.0, "right", *seconds, False),
            ),
        ],
    )


@pytest.mark.parametrize(
    ("column", "step", "value", "reason"),
    [
        ("tokens", 0, 50, "arm grpo, seed 0: its tokens do not rise from 0 with every checkpoint"),
        ("tokens", 20, 1000, "arm grpo, seed 0: its tokens do not rise from 0 with every checkpoint"),
        ("train_s", 40, math.inf, "arm grpo, seed 0: its seconds do not rise from 0 with every checkpoint"),
        ("device", 40, "cuda", "trained on cpu, cuda: seconds compare on one kind of machine only"),
        ("tokens", 20, 1001, ""),
    ],
)
def test_an_axis_that_cannot_be_used_says_why(make_row, column, step, value, reason):
    frame = to_frame(curves_by_hand(make_row, {("sums", "grpo", 0): ([0.1] * 4, [0.1] * 4)}))
    frame.loc[frame["step"] == step, column] = value
    (run,) = summarize_runs(frame).to_dict("records")
    unusable = {"train_s": "seconds", "device": "seconds"}.get(column, "tokens")
    for axis in ("tokens", "seconds"):
        said = reason if axis == unusable else ""
        assert run[f"{axis}_reason"] == said
        lacking = [math.isnan(run[f"{name}{axis}{end}"]) for name, end in (("", "_end"), ("auc_", ""))]
        assert lacking == [bool(said)] * 2


def test_the_first_step_is_a_trained_checkpoint(make_row):
    places = [("sums", "base", None, 0), ("sums", "grpo", 0, 1), ("sums", "grpo", 0, 2)]
    (run,) = summarize_runs(to_frame(measured(make_row, dict.fromkeys(places, (0.1, 0.1))))).to_dict(
        "records"
    )
    assert (run["n_completions"], run["n_truncated"]) == (200, 4)


def test_rows_made_under_other_endpoints_are_refused(make_row):
    curve = {("sums", "grpo", 0): ([0.1] * 4, [0.1] * 4)}
    real = curves_by_hand(make_row, curve, endpoints=LEVELS.digest())
    smoke = curves_by_hand(make_row, curve, kind="smoke", endpoints="0123456789abcdef")
    frame = to_frame(real + smoke)
    assert len(summarize_runs(frame, endpoints=LEVELS)) == len(summarize_runs(frame, kind="smoke")) == 1
    with pytest.raises(UserError, match="rows made under 0123456789ab, the suite declares"):
        summarize_runs(frame, endpoints=LEVELS, kind="smoke")
    with pytest.raises(UserError, match="column 'endpoints': rows made under"):
        summarize_runs(frame, endpoints=Endpoints())


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


@pytest.mark.parametrize(
    ("validation", "step"),
    [([0.1, 0.5, 0.5, 0.2], 10), ([0.9, 0.5, 0.5, 0.2], 0), ([0.1, 0.2, 0.3, 0.4], 40), ([0.2] * 4, 0)],
)
def test_the_peak_is_chosen_on_validation(make_row, validation, step):
    test = [0.30, 0.31, 0.99, 0.33]
    rows = curves_by_hand(make_row, {("sums", "grpo", 0): (validation, test)})
    (run,) = summarize_runs(to_frame(rows)).to_dict("records")
    assert (run["peak_step"], run["peak"], run["raw_max"]) == (step, test[STEPS.index(step)], 0.99)


def test_smoke_rows_are_never_read_as_results(make_rows):
    generator = np.random.default_rng(0)
    real, smoke = make_rows(generator), make_rows(generator, kind="smoke")
    pd.testing.assert_frame_equal(summarize_runs(to_frame(real + smoke)), summarize_runs(to_frame(real)))
    assert not summarize_runs(to_frame(real + smoke), kind="smoke").equals(summarize_runs(to_frame(real)))
    with pytest.raises(UserError, match=f"none of the {len(smoke)} rows is of that kind; smoke rows"):
        summarize_runs(to_frame(smoke))


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
    early = alike.assign(step=alike["step"].replace(alike.loc[alike["step"] > 0, "step"].min(), 1))
    early.loc[(early["step"] == 1) & (early["arm"] == "grpo"), "train_device"] = "H100"
    assert summarize_runs(early)["seconds_reason"].str.contains("trained on EPYC, H100").all()
    unknown = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]).assign(train_s=0.0))
    assert unknown["seconds_reason"].str.contains("do not rise from 0").all()
