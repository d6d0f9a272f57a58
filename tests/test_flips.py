"""Items that training turned: counted by hand on five items."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.analysis.flips import KINDS, arm_flips, flip_counts, moved_items
from tests.flips import SCORES


def test_flips_are_counted_between_the_untrained_policy_and_the_last_checkpoint():
    rows = flip_counts(SCORES).set_index(["arm", "seed"])
    kinds = ["gained", "lost", "gained_and_lost", "kept", "n_items"]
    assert rows.loc[("grpo", 0), kinds].tolist() == [1, 1, 1, 1, 5]
    assert rows.loc[("grpo", 1), kinds].tolist() == [0, 0, 0, 2, 5]
    assert rows.loc[("lambda_grpo", 0), kinds].tolist() == [3, 1, 0, 1, 5]
    assert rows.loc[("lambda_grpo", 1), kinds].tolist() == [1, 2, 0, 0, 5]


def test_flips_between_arms_are_of_one_seed_at_the_last_checkpoint():
    rows = arm_flips(SCORES, "grpo").set_index(["arm", "seed"])
    assert rows.index.tolist() == [("lambda_grpo", 0), ("lambda_grpo", 1)]
    assert rows.loc[("lambda_grpo", 0), ["only_arm", "only_baseline", "both", "neither"]].tolist() == [
        3,
        1,
        1,
        0,
    ]
    assert rows.loc[("lambda_grpo", 1), ["only_arm", "only_baseline", "both", "neither"]].tolist() == [
        1,
        2,
        0,
        2,
    ]


def test_an_item_without_a_graded_sample_is_no_flip():
    scores = SCORES.copy()
    scores.loc[(scores["arm"] == "base") & (scores["item"] == "i0"), ["n", "mean"]] = [0, np.nan]
    rows = flip_counts(scores).set_index(["arm", "seed"])
    assert rows.loc[("grpo", 0), ["gained", "n_items"]].tolist() == [0, 4]


def test_the_items_that_moved_most_come_with_their_course():
    moved = moved_items(SCORES, "sums", count=3)
    # last - base, mean over arms and seeds: i0 +.75, i1 +.25, i2 +.25, i3 -.5, i4 -.5
    assert moved.index.tolist() == ["i0", "i3", "i4"]
    assert moved.loc["i0", ("grpo", 0)] == 0
    assert moved.loc["i0", ("lambda_grpo", 20)] == 1
    assert moved.loc["i3", "grpo"].tolist() == [1, 1, 1]


def test_other_splits_and_tasks_do_not_count():
    other = SCORES.assign(split="validation", mean=1 - SCORES["mean"])
    both = pd.concat([SCORES, other, SCORES.assign(task="zeros", mean=0.0)])
    expected = flip_counts(SCORES)
    assert flip_counts(both).query("task == 'sums'").reset_index(drop=True).equals(expected)
    assert flip_counts(both).query("task == 'zeros'")[["gained", "lost", "kept"]].to_numpy().sum() == 0
    assert flip_counts(both, "validation")[["gained", "lost"]].to_numpy().tolist() == (
        expected[["lost", "gained"]].to_numpy().tolist()
    )
    assert (
        arm_flips(both, "grpo")
        .query("task == 'sums'")
        .reset_index(drop=True)
        .equals(arm_flips(SCORES, "grpo"))
    )
    assert moved_items(both, "sums", count=3).equals(moved_items(SCORES, "sums", count=3))
    assert moved_items(both, "zeros", count=3).empty


def test_half_of_the_samples_right_is_not_right():
    scores = SCORES.assign(mean=SCORES["mean"].where(SCORES["item"] != "i0", 0.5))
    rows = flip_counts(scores).set_index(["arm", "seed"])
    assert rows.loc[("lambda_grpo", 0), ["gained", "lost", "kept"]].tolist() == [2, 1, 1]
    assert arm_flips(scores, "grpo").set_index("seed").loc[1, "only_arm"] == 0


def test_a_seed_that_the_baseline_lacks_is_not_compared():
    scores = SCORES[~((SCORES["arm"] == "grpo") & (SCORES["seed"] == 1))]
    assert arm_flips(scores, "grpo")[["arm", "seed"]].to_numpy().tolist() == [["lambda_grpo", 0]]


def test_no_rows_give_an_empty_table_with_its_columns():
    assert list(flip_counts(SCORES, "validation")) == ["task", "arm", "seed", *KINDS, "n_items"]
    assert list(arm_flips(SCORES, "grpo", "validation"))[3:-1] == [
        "only_arm",
        "only_baseline",
        "both",
        "neither",
    ]
