"""Items that training turned: counted by hand on five items."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.analysis.flips import KINDS, arm_flips, flip_counts, moved_items
from tests.flips import SCORES, item_scores
from tests.tables import same


def by_hand():
    """Three checkpoints of one run of two, another task, and another split that must not be read."""
    cells = {
        ("base", 0, 0): "010100-111",
        ("new", 5, 10): "0101101110",
        ("new", 5, 20): "0111001100",
        ("new", 5, 30): "1001001-01",  # 2 and 4 were right only between
        ("new", 2, 30): "1111111111",
        ("grpo", 7, 30): "1111111111",
        ("grpo", 5, 10): "1111111111",
        ("grpo", 5, 30): "11-0011110",
    }
    other = {("base", 0, 0): "10", ("new", 5, 10): "01", ("grpo", 5, 10): "11"}
    return pd.concat(
        [
            item_scores(cells, task="words"),
            item_scores(other),
            item_scores({place: digits[::-1] for place, digits in other.items()}, split="validation"),
            item_scores(
                {place: digits[:1] for place, digits in other.items()}, task="tens", split="validation"
            ),
        ]
    )


FLIPS = "task arm seed gained lost gained_and_lost kept n_items"


def test_flips_are_counted_between_the_untrained_policy_and_the_last_checkpoint():
    same(
        flip_counts(by_hand()),
        FLIPS,
        [
            ("sums", "grpo", 5, 1, 0, 0, 1, 2),
            ("sums", "new", 5, 1, 1, 0, 0, 2),
            ("words", "grpo", 5, 2, 2, 1, 3, 8),
            ("words", "grpo", 7, 4, 0, 0, 5, 9),
            ("words", "new", 2, 4, 0, 0, 5, 9),
            ("words", "new", 5, 1, 2, 2, 2, 8),
        ],
    )
    same(
        flip_counts(by_hand(), split="validation"),
        FLIPS,
        [
            ("sums", "grpo", 5, 1, 0, 0, 1, 2),
            ("sums", "new", 5, 1, 1, 0, 0, 2),
            ("tens", "grpo", 5, 0, 0, 0, 1, 1),
            ("tens", "new", 5, 0, 1, 0, 0, 1),
        ],
    )


def test_flips_between_arms_are_of_one_seed_at_the_last_checkpoint():
    columns = "task arm seed only_arm only_baseline both neither n_items"
    assert arm_flips(by_hand(), "absent").empty
    same(
        arm_flips(by_hand(), "grpo"),
        columns,
        [("sums", "new", 5, 0, 1, 1, 0, 2), ("words", "new", 5, 2, 3, 2, 1, 8)],
    )
    same(
        arm_flips(by_hand(), "new"),
        columns,
        [("sums", "grpo", 5, 1, 0, 1, 0, 2), ("words", "grpo", 5, 3, 2, 2, 1, 8)],
    )
    same(
        arm_flips(by_hand(), "new", split="validation"),
        columns,
        [("sums", "grpo", 5, 1, 0, 1, 0, 2), ("tens", "grpo", 5, 1, 0, 0, 0, 1)],
    )


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
    scores = SCORES.assign(mean=SCORES["mean"].where(~SCORES["item"].isin(["i0", "i1"]), 0.5))
    rows = flip_counts(scores).set_index(["arm", "seed"])
    assert rows.loc[("lambda_grpo", 0), ["gained", "lost", "kept"]].tolist() == [1, 1, 1]
    assert rows.loc[("grpo", 0), ["lost", "gained_and_lost"]].tolist() == [1, 0]
    only = arm_flips(scores, "grpo").set_index("seed")[["only_arm", "only_baseline"]]
    assert only.loc[1].tolist() == [0, 2]


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


def test_the_items_that_moved_most_by_hand():
    cells = {  # items a to e, in eighths
        ("base", pd.NA, 0): (4, 4, 4, 4, 4),
        ("new", 0, 10): (4, 2, 4, 6, 6),
        ("grpo", 1, 20): (8, 0, 4, 8, 8),
        ("grpo", 1, 10): (6, 2, 4, 4, 4),
        ("grpo", 0, 10): (4, 4, 4, 2, 2),
        ("grpo", 0, 20): (6, 0, 4, 8, 8),
    }
    scores = pd.DataFrame(
        {"arm": arm, "seed": seed, "step": step, "task": task, "split": split, "item": item}
        | {"mean": (eighths if (task, split) == ("sums", "test") else 8) / 8}
        for (arm, seed, step), row in cells.items()
        for item, eighths in list(zip("abcde", row, strict=True))[::-1]
        for task, split in (("sums", "validation"), ("words", "test"), ("sums", "test"))
    )
    # last - base, mean over arms: a (3/8 + 0) / 2, b (-4/8 - 2/8) / 2, c 0, d and e (4/8 + 2/8) / 2
    course = {
        "d": [0.5, 0.375, 1.0, 0.5, 0.75],
        "e": [0.5, 0.375, 1.0, 0.5, 0.75],
        "a": [0.5, 0.625, 0.875, 0.5, 0.5],
        "b": [0.5, 0.375, 0.0, 0.5, 0.25],
    }
    for count, items in ((9, "deab"), (3, "deb"), (2, "db"), (1, "b"), (0, "")):
        moved = moved_items(scores, "sums", count=count)
        assert list(moved.columns) == [("grpo", 0), ("grpo", 10), ("grpo", 20), ("new", 0), ("new", 10)]
        assert dict(zip(moved.index, moved.to_numpy().tolist(), strict=True)) == {
            item: course[item] for item in items
        }
        assert "".join(moved.index) == items
    assert moved_items(scores, "sums", count=9, split="validation").empty
