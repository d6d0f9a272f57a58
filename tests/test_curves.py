"""Rows to complete curves: the whole frame by hand, and every row that does not fit is named."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.curves import learning_curves, macro_curves
from benchmark.rows import to_frame
from tasks.errors import UserError
from tests.tables import change, measured, same, without

COLUMNS = (
    "task arm seed step validation test n_items n_completions n_truncated n_unparsed n_ungraded "
    "higher_is_better tokens seconds train_device"
)
VALUES = {
    ("sums", "base", None, 0): (0.2, 0.1),
    ("sums", "grpo", 3, 10): (0.5, 0.4),
    ("sums", "new", 3, 10): (0.6, 0.5),
    ("words", "base", None, 0): (0.4, 0.3),
    ("words", "grpo", 3, 10): (0.7, 0.6),
    ("words", "grpo", 3, 20): (0.8, 0.7),
    ("words", "new", 3, 10): (0.9, 0.8),
    ("words", "new", 3, 20): (1.0, 0.9),
    ("gsm8k", "base", None, 0): (None, 0.0),
    ("gsm8k", "grpo", 3, 10): (None, 0.1),
    ("gsm8k", "new", 3, 10): (None, 0.2),
}
"""Two tasks with other steps than each other, and a published test set, which has no validation split."""


@pytest.fixture
def rows(make_rows):
    return make_rows(np.random.default_rng(3), seeds=[4, 7, 9])


def test_the_curves_of_three_tasks_by_hand(make_row):
    here = {"n_truncated": 4, "n_unparsed": 5, "n_ungraded": 6}
    rows = measured(make_row, VALUES, **here)
    elsewhere = measured(make_row, VALUES, **here, kind="smoke", suite="quick")
    elsewhere += measured(make_row, VALUES, **here, metric="pass@2", model="other")
    elsewhere += [make_row(task="absent", value=None, missing="not on this machine", engine="other")]
    counts = (50, 100, 4, 5, 6, True)
    start, ten, twenty = (*counts, 0, 0.0, "cpu"), (*counts, 1000, 20.0, "cpu"), (*counts, 2000, 40.0, "cpu")
    same(
        learning_curves(to_frame(elsewhere + rows)),
        COLUMNS,
        [
            ("gsm8k", "grpo", 3, 0, 0.3, 0.0, *start),  # validation: the mean of .2 and .4
            ("gsm8k", "grpo", 3, 10, 0.6, 0.1, *ten),
            ("gsm8k", "new", 3, 0, 0.3, 0.0, *start),
            ("gsm8k", "new", 3, 10, 0.75, 0.2, *ten),
            ("sums", "grpo", 3, 0, 0.2, 0.1, *start),
            ("sums", "grpo", 3, 10, 0.5, 0.4, *ten),
            ("sums", "new", 3, 0, 0.2, 0.1, *start),
            ("sums", "new", 3, 10, 0.6, 0.5, *ten),
            ("words", "grpo", 3, 0, 0.4, 0.3, *start),
            ("words", "grpo", 3, 10, 0.7, 0.6, *ten),
            ("words", "grpo", 3, 20, 0.8, 0.7, *twenty),
            ("words", "new", 3, 0, 0.4, 0.3, *start),
            ("words", "new", 3, 10, 0.9, 0.8, *ten),
            ("words", "new", 3, 20, 1.0, 0.9, *twenty),
        ],
    )
    other = change(rows[:4], {"kind": "smoke", "metric": "loss", "higher_is_better": False})
    found = learning_curves(to_frame(rows + other), metric="loss", kind="smoke")
    assert found["higher_is_better"].tolist() == [False, False]


def test_curves_are_in_order(rows):
    places = learning_curves(to_frame(rows[::-1]))[["task", "arm", "seed", "step"]]
    found = list(places.itertuples(index=False, name=None))
    assert found == sorted(found)
    assert len(found) == 2 * 2 * 3 * 4


def curves_of(*points):
    """Curves without their columns of counts: (task, arm, seed, step, validation, test, number)."""
    records = [
        (*point, number, 2 * number, 1 * number, 3 * number, 4 * number, True, 100 * point[3], 5.0, "cpu")
        for *point, number in points
    ]
    return pd.DataFrame(records, columns=COLUMNS.split())


def test_the_mean_over_tasks_by_hand():
    both = curves_of(
        ("words", "new", 1, 10, 0.6, 0.5, 10),
        ("words", "grpo", 1, 0, 0.1, 0.2, 20),
        ("words", "grpo", 1, 10, 0.4, 0.5, 30),
        ("words", "new", 1, 0, 0.1, 0.2, 40),
        ("sums", "new", 1, 0, 0.3, 0.6, 1),
        ("sums", "new", 1, 10, 0.8, 0.9, 2),
        ("sums", "grpo", 1, 0, 0.3, 0.6, 3),
        ("sums", "grpo", 1, 10, 0.6, 0.9, 4),
    )
    same(
        macro_curves(both),
        COLUMNS,
        [
            ("macro_mean", "grpo", 1, 0, 0.2, 0.4, 23, 46, 23, 69, 92, True, 0, 5.0, "cpu"),
            ("macro_mean", "grpo", 1, 10, 0.5, 0.7, 34, 68, 34, 102, 136, True, 1000, 5.0, "cpu"),
            ("macro_mean", "new", 1, 0, 0.2, 0.4, 41, 82, 41, 123, 164, True, 0, 5.0, "cpu"),
            ("macro_mean", "new", 1, 10, 0.7, 0.7, 12, 24, 12, 36, 48, True, 1000, 5.0, "cpu"),
        ],
    )
    mixed = both.assign(higher_is_better=both["task"] == "sums")
    shorter = both[(both["task"] != "sums") | (both["step"] == 0)]
    for none in (both[both["task"] == "sums"], mixed, shorter):
        same(macro_curves(none), COLUMNS, [])


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (
            {"arm": "grpo", "seed": 7, "step": 20, "task": "words", "split": "test"},
            "arm 'grpo', seed 7, step 20, task 'words', test",
        ),
        (
            {"arm": "lambda_grpo", "seed": 9, "step": 40, "task": "sums", "split": "validation"},
            "arm 'lambda_grpo', seed 9, step 40, task 'sums', validation",
        ),
        (
            {"arm": "base", "task": "words", "split": "test"},
            "arm 'base', seed none, step 0, task 'words', test",
        ),
        ({"arm": "base", "task": "words"}, "arm 'base', seed none, step 0, task 'words', test"),
        ({"arm": "grpo", "seed": 4, "task": "words"}, "arm 'grpo', seed 4, step 10, task 'words', test"),
        ({"task": "words", "split": "validation"}, "arm 'base', seed none, step 0, task 'words', validation"),
    ],
)
def test_a_missing_cell_is_named(rows, place, named):
    holed = change(without(rows, **place), {"metric": "f1", "suite": "short"})
    assert refusal(to_frame(holed), metric="f1") == (
        f"{named}: no row with metric 'f1'; complete it with `python -m benchmark run short`, "
        "with the --out and --set that made the rows"
    )


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"schema_version": 2}, {"seed": 7}, "column 'schema_version': 1, 2"),
        ({"suite": "other"}, {"seed": 7}, "column 'suite': other, toy"),
        ({"model": "big"}, {"arm": "grpo"}, "column 'model': big, tiny"),
        ({"engine": "vllm"}, {"arm": "base"}, "column 'engine': transformers, vllm"),
        ({"higher_is_better": False}, {"arm": "base"}, "column 'higher_is_better': False, True"),
        ({"task_version": "2"}, {"task": "sums", "step": 40}, "task 'sums', column 'task_version': 1, 2"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows, fields, place, message):
    assert refusal(to_frame(change(rows, fields, **place))) == (
        f"{message} cannot be compared; keep the rows of one, or score again"
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"seed": None}, "arm 'grpo', seed none, step 20"),
        ({"step": 0}, "arm 'grpo', seed 7, step 0"),
        ({"arm": "base"}, "arm 'base', seed 7, step 20"),
        ({"arm": "base", "step": 0}, "arm 'base', seed 7, step 0"),
        ({"arm": "base", "seed": None}, "arm 'base', seed none, step 20"),
    ],
)
def test_the_untrained_policy_is_one_arm(rows, fields, named):
    place = {"arm": "grpo", "seed": 7, "step": 20, "task": "sums", "split": "test"}
    assert refusal(to_frame(change(rows, fields, **place))) == (
        f"{named}, task 'sums', test: only arm 'base' has step 0, and only it has no seed; "
        "write the untrained policy as that arm"
    )


def refusal(frame, **arguments):
    """Return what `learning_curves` says when it refuses."""
    with pytest.raises(UserError) as caught:
        learning_curves(frame, **arguments)
    return str(caught.value)


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (math.inf, "inf")])
def test_a_value_that_is_no_number_is_named_and_not_counted_as_zero(rows, value, shown):
    place = {"arm": "grpo", "seed": 7, "step": 20, "task": "words", "split": "test"}
    assert refusal(to_frame(change(rows, {"value": value, "n_ungraded": 9}, **place))) == (
        f"arm 'grpo', seed 7, step 20, task 'words', test: 'accuracy' is {shown} (9 ungraded completions); "
        "find out why, then score it again with `python -m benchmark run toy`, "
        "with the --out and --set that made the rows"
    )


def test_weights_count_once(make_row):
    values = {("sums", "base", None, 0): (0.1, 0.1)}
    values |= {("sums", "grpo", seed, step): (0.2, 0.2) for seed in (0, 1) for step in (1, 2)}
    rows = measured(make_row, values)
    copied = change(rows, {"weights_hash": "grpo-0-1"}, seed=1, step=1)
    assert refusal(to_frame(copied)) == (
        "arm 'grpo', seed 1, step 1, task 'sums', validation: has the weights of arm 'grpo', seed 0; a run "
        "counts once, so train it with a seed of its own"
    )
    unknown = change(rows, {"weights_hash": ""})
    frozen = change(rows, {"weights_hash": "grpo-0-1"}, seed=0)
    for fine in (unknown, frozen, [*unknown[:2], *rows[2:]]):
        assert len(learning_curves(to_frame(fine))) == 6
    late = [*change(rows[:4], {"weights_hash": ""}), *change(rows[4:], {"weights_hash": "one"}, step=2)]
    assert refusal(to_frame(late)).startswith("arm 'grpo', seed 1, step 2, task 'sums', validation: has the")


def test_nothing_to_read_is_an_error(rows):
    frame = to_frame(rows)
    assert refusal(to_frame([])).startswith("kind 'real': none of the 0 rows is of that kind; smoke rows")
    assert refusal(to_frame(change(rows, {"kind": "smoke"}))) == (
        f"kind 'real': none of the {len(rows)} rows is of that kind; smoke rows carry no result, so score a "
        "real suite with `python -m benchmark run SUITE`"
    )
    assert refusal(frame, kind="smoke") == (
        f"kind 'smoke': none of the {len(rows)} rows is of that kind; run a smoke suite first"
    )
    assert refusal(frame, metric="acuracy") == (
        "metric 'acuracy': no measured row has it; did you mean 'accuracy'?"
    )
    for untrained in ([row for row in rows if row.arm == "base"], rows[:1]):
        assert refusal(to_frame(untrained)) == (
            "arm 'base' is the only one with rows; train an arm with `python -m benchmark run toy`, "
            "with the --out and --set that made the rows"
        )
    assert refusal(pd.concat([frame, to_frame(rows[-1:])])) == (
        "arm 'lambda_grpo', seed 9, step 40, task 'words', test: two rows; build the frame with "
        "`rows.to_frame`, it keeps the later one"
    )
    assert refusal(to_frame(without(rows, split="test"))) == (
        "suite 'toy': no test rows, so there is nothing to claim; it is for `python -m benchmark gate`"
    )


def test_a_test_set_alone_has_nothing_to_choose_a_checkpoint_on(make_row):
    alone = {place: both for place, both in VALUES.items() if place[0] == "gsm8k"}
    assert refusal(to_frame(measured(make_row, alone))) == (
        "task 'gsm8k': no task has validation rows, so no checkpoint can be chosen without looking at the "
        "test split; add a task with a validation split to the suite"
    )


def test_a_checkpoint_has_one_set_of_weights(rows):
    """One task was scored again after the run was trained again, the other kept its old numbers."""
    message = (
        "arm 'grpo', seed 9, step 20, task 'words', test: measured on weights others, task 'sums', "
        r"validation on grpo-9-20; .* score it whole with `python -m benchmark run toy`"
    )
    place = {"arm": "grpo", "seed": 9, "step": 20, "task": "words", "split": "test"}
    with pytest.raises(UserError, match=message):
        learning_curves(to_frame(change(rows, {"weights_hash": "others"}, **place)))
    names = {"grpo": "0123456789abcdef", "other": "fedcba9876543210"}  # 12 digits tell them apart
    long = change(rows, {"weights_hash": names["grpo"]}, arm="grpo", seed=9, step=20)
    long = change(long, {"weights_hash": names["other"]}, **place)
    with pytest.raises(
        UserError, match=r"measured on weights fedcba987654, .* on 0123456789ab; a checkpoint"
    ):
        learning_curves(to_frame(long))
    with pytest.raises(UserError, match=r"arm 'base', .* measured on weights others"):
        learning_curves(to_frame(change(rows, {"weights_hash": "others"}, arm="base", task="words")))
