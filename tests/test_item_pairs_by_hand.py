"""Differences by item and optimism of peaks by hand: whole frames and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.item_pairs import item_differences, optimism_table
from benchmark.stats import MIN_DRAWS, Interval, crossed_interval, peak_optimism, t_interval
from tasks.errors import UserError
from tests.tables import same

COLUMNS = "task arm baseline endpoint statement difference n_seeds n_items n_clusters n_left_out reason"
EQUAL = "all differences are equal or cancel: no spread to build an interval from"
ONE_CLUSTER = "1 cluster of items: nothing to tell other items by"


def items_of(cells, *, task="sums", split="test", names="ijk", clusters=("c", "c", ""), n=4):
    """Make scores of items: (arm, seed, step) -> the mean of every item; None: no row."""
    records = [
        {"arm": arm, "seed": seed, "step": step, "task": task, "split": split, "item": item}
        | {"cluster": cluster, "n": n, "mean": mean}
        for (arm, seed, step), means in cells.items()
        for item, cluster, mean in zip(names, clusters, means, strict=True)
        if mean is not None
    ]
    return pd.DataFrame(records).astype({"seed": "Int64"})


CELLS = {
    ("base", pd.NA, 0): (0.0, 0.0, 0.0),
    ("grpo", 4, 1): (0.5, 0.5, 1.0),
    ("grpo", 1, 1): (0.0, 0.5, 0.5),
    ("new", 1, 1): (0.5, 0.5, 1.0),
    ("new", 4, 1): (1.0, 0.5, 1.0),
    ("old", 1, 1): (0.25, 0.75, 0.75),
    ("old", 4, 1): (0.75, 0.75, 1.25),
}


def two_tasks():
    """Task words has one item, and on validation all arms are alike."""
    return pd.concat(
        [
            items_of({place: one[:1] for place, one in CELLS.items()}, task="words", names="w", clusters="d"),
            items_of(dict.fromkeys(CELLS, (1.0, 0.0, 1.0)), split="validation"),
            items_of(CELLS),
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "endpoint", "level", "share"),
    [
        ({"endpoint": "final", "level": 0.8}, "final", 0.8, 1.0),
        ({}, "auc", 0.95, 0.5),  # the area under a straight line from 0
    ],
)
def test_differences_by_item_by_hand(arguments, endpoint, level, share):
    new_si = share * np.array([[0.5, 0.0, 0.5], [0.5, 0.0, 0.0]])
    these = t_interval([share / 3, share / 6], level)
    like = crossed_interval(new_si, ["c", "c", "k"], level)
    level_old = Interval(share * 0.25, None, None, 2)
    word = Interval(share * 0.5, None, None, 2)
    rows = [
        ("sums", "new", "these items", these, 2, 3, 2, 0, ""),
        ("sums", "new", "items like these", like, 2, 3, 2, 0, ""),
        ("sums", "old", "these items", level_old, 2, 3, 2, 0, EQUAL),
        ("sums", "old", "items like these", level_old, 2, 3, 2, 0, EQUAL),
        ("words", "new", "these items", word, 2, 1, 1, 0, EQUAL),
        ("words", "new", "items like these", word, 2, 1, 1, 0, ONE_CLUSTER),
        ("words", "old", "these items", level_old, 2, 1, 1, 0, EQUAL),
        ("words", "old", "items like these", level_old, 2, 1, 1, 0, ONE_CLUSTER),
    ]
    wanted = [(task, arm, "grpo", endpoint, *rest) for task, arm, *rest in rows]
    same(item_differences(two_tasks(), "grpo", **arguments), COLUMNS, wanted)


def test_one_seed_another_baseline_and_another_split():
    one_seed = two_tasks().query("seed.isna() or seed == 4")
    few = "1 pair of seeds: no interval, train at least 2 (5 to be useful)"
    # auc: half of grpo - new and of old - new at the only checkpoint
    rows = [("grpo", -0.5 / 6), ("old", 0.25 / 6)]
    same(
        item_differences(one_seed.query("task == 'sums'"), "new"),
        COLUMNS,
        [
            ("sums", arm, "new", "auc", said, Interval(mean, None, None, 1), 1, 3, 2, 0, few)
            for arm, mean in rows
            for said in ("these items", "items like these")
        ],
    )
    alike = Interval(0.0, None, None, 2)
    same(
        item_differences(two_tasks(), split="validation"),
        COLUMNS,
        [
            ("sums", arm, "grpo", "auc", said, alike, 2, 3, 2, 0, EQUAL)
            for arm in ("new", "old")
            for said in ("these items", "items like these")
        ],
    )
    alone = item_differences(two_tasks().query("arm in ('base', 'grpo')"))
    same(alone, COLUMNS, [])


@pytest.mark.parametrize("lacking", ["grpo", "new"])
def test_arms_with_other_seeds_or_items_are_refused(lacking):
    def refusal(gone):
        with pytest.raises(UserError) as caught:
            item_differences(items_of(CELLS).query(f"not (arm == '{lacking}' and {gone})"), split="test")
        return str(caught.value)

    one = "is there for only one of 'new' and 'grpo'; pairs need both, so train or score the other one"
    assert refusal("seed == 4") == f"task 'sums': seed 4 {one}"
    assert refusal("item in ('k', 'j')") == f"task 'sums': item j {one}"
    assert refusal("seed == 4 and item == 'j'") == (
        f"task 'sums': seeds of '{lacking}' differ in their items; score them again"
    )


def test_an_item_without_a_score_is_refused():
    with pytest.raises(UserError) as caught:
        item_differences(items_of(CELLS).query("not (arm == 'base' and item == 'j')"))
    assert str(caught.value) == (
        "task 'sums', arm 'grpo', seed 1, step 0: item 'j' has no score there; arms are compared on the same "
        "items, so generate and score what is missing"
    )


def test_the_baseline_must_have_items():
    with pytest.raises(UserError) as caught:
        item_differences(items_of(CELLS), "gpro")
    assert str(caught.value) == "baseline 'gpro': no items of that arm; did you mean 'grpo'?"
    with pytest.raises(UserError, match="baseline 'base': no items of that arm; choose from grpo, new, old"):
        item_differences(items_of(CELLS), "base")


OPTIMISM = "task arm seed raw_max optimism p_equal n_checkpoints n_items n_left_out"


@pytest.mark.parametrize("draws", [None, 2500])
def test_optimism_by_hand(draws):
    """The base and step 0 of an arm are no trained checkpoints; an item without a row is left out."""
    cells = {
        ("base", pd.NA, 0): (1.0, 1.0, 1.0),
        ("new", 7, 0): (1.0, 1.0, 1.0),
        ("new", 7, 2): (0.25, 0.5, None),
        ("new", 7, 1): (0.5, 0.5, 0.25),
        ("grpo", 3, 1): (0.75, 0.5, 0.25),
        ("grpo", 3, 2): (0.0, 0.5, 0.5),
        ("grpo", 3, 3): (0.25, 0.0, 0.5),
    }
    validation = items_of({("new", 7, 1): (1.0, 1.0, 0.0)}, split="validation")
    items = pd.concat(
        [items_of(cells), items_of({("new", 7, 5): (1.0, 0.0, 1.0)}, task="add", n=1), validation]
    )
    tables = [
        ("add", "new", 7, 2 / 3, [[1, 0, 1]], 1, 0),
        ("sums", "grpo", 3, 0.5, [[3, 2, 1], [0, 2, 2], [1, 0, 2]], 4, 0),
        ("sums", "new", 7, 0.5, [[2, 2], [1, 2]], 4, 1),
    ]
    arguments = {} if draws is None else {"draws": draws}
    rows = []
    for (*place, raw_max, right, n, left_out), child in zip(
        tables, np.random.default_rng(4).spawn(3), strict=True
    ):
        found = peak_optimism(right, np.full_like(right, n), child, draws or MIN_DRAWS)
        sizes = (len(right), len(right[0]), left_out)
        rows.append((*place, raw_max, found.expected, found.p_equal, *sizes))
    same(optimism_table(items, np.random.default_rng(4), **arguments), OPTIMISM, rows)
    one = optimism_table(items, np.random.default_rng(4), split="validation")
    assert one[["arm", "raw_max", "n_checkpoints"]].to_numpy().tolist() == [["new", 2 / 3, 1]]
    same(optimism_table(items, np.random.default_rng(4), split="train"), OPTIMISM, [])


def test_optimism_needs_an_item_that_every_checkpoint_has():
    cells = {("new", 7, 1): (0.5, 0.5, None), ("new", 7, 2): (None, None, 0.5)}
    with pytest.raises(UserError) as caught:
        optimism_table(items_of(cells), np.random.default_rng(0))
    assert str(caught.value) == "task 'sums', arm 'new', seed 7: no item has a score at every checkpoint"
