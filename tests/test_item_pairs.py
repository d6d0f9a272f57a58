"""Differences by seed and by item: two statements, the same items, and no hole goes unnoticed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.item_pairs import item_differences, optimism_table
from benchmark.stats import crossed_interval, peak_optimism, t_interval
from tasks.errors import UserError

STEPS = (10, 30)


@pytest.fixture
def items():
    generator = np.random.default_rng(0)
    rows = []
    cells = [("base", pd.NA, 0)]
    cells += [(arm, seed, step) for arm in ("grpo", "lambda_grpo") for seed in (3, 5, 8) for step in STEPS]
    for arm, seed, step in cells:
        for split in ("validation", "test"):
            for item in range(12):
                rows.append(
                    {"arm": arm, "seed": seed, "step": step, "task": "sums", "split": split}
                    | {"item": f"i{item:02}", "cluster": f"c{item % 4}" if item < 8 else ""}
                    | {"n": 4, "mean": generator.integers(0, 5) / 4}
                )
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def endpoint_by_loops(items, arm, seed, item, endpoint):
    def score(who, step):
        rows = items[(items["arm"] == who) & (items["step"] == step) & (items["item"] == item)]
        rows = rows[rows["split"] == "test"]
        return float((rows if who == "base" else rows[rows["seed"] == seed])["mean"].iloc[0])

    first, second, last = score("base", 0), score(arm, 10), score(arm, 30)
    return last if endpoint == "final" else (10 * (first + second) / 2 + 20 * (second + last) / 2) / 30


@pytest.mark.parametrize("endpoint", ["final", "auc"])
def test_differences_match_plain_loops_and_are_two_statements(items, endpoint):
    shuffled = items.sample(frac=1, random_state=np.random.default_rng(1))
    these, like = item_differences(shuffled, endpoint=endpoint).to_dict("records")
    names = sorted(set(items["item"]))
    table = np.array(
        [
            [
                endpoint_by_loops(items, "lambda_grpo", seed, item, endpoint)
                - endpoint_by_loops(items, "grpo", seed, item, endpoint)
                for item in names
            ]
            for seed in (3, 5, 8)
        ]
    )
    clusters = [f"c{i % 4}" if i < 8 else f"i{i:02}" for i in range(12)]
    wanted = {
        "these items": t_interval(table.mean(axis=1)),
        "items like these": crossed_interval(table, clusters),
    }
    for record in (these, like):
        found, expected = record["difference"], wanted[record["statement"]]
        assert (found.mean, found.low, found.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
        assert (record["n_seeds"], record["n_items"], record["n_clusters"]) == (3, 12, 8)
        assert (record["arm"], record["baseline"], record["reason"]) == ("lambda_grpo", "grpo", "")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"arm": "grpo", "seed": 5, "step": 10, "item": "i03"}, "seed 5, step 10: item 'i03' has no score"),
        ({"arm": "grpo", "seed": 5}, "seed 5 is there for only one of 'lambda_grpo' and 'grpo'"),
        ({"arm": "lambda_grpo", "item": "i07"}, "item i07 is there for only one of"),
        ({"arm": "lambda_grpo", "seed": 5, "item": "i07"}, "differ in their items"),
        ({"arm": "base", "item": "i01"}, "step 0: item 'i01' has no score"),
        ({"arm": "grpo"}, "baseline 'grpo': no items of that arm"),
    ],
)
def test_a_hole_is_named(items, place, message):
    gone = np.logical_and.reduce([(items[name] == value).fillna(False) for name, value in place.items()])
    with pytest.raises(UserError, match=message):
        item_differences(items[~gone])


def ungraded(items, **place):
    """Say that the grader could not judge the item there."""
    hit = np.logical_and.reduce([(items[name] == value).fillna(False) for name, value in place.items()])
    return items.assign(n=items["n"].mask(hit, 0), mean=items["mean"].mask(hit))


@pytest.mark.parametrize(
    ("place", "endpoint"),
    [
        ({"arm": "grpo", "seed": 5, "step": 30}, "auc"),
        ({"arm": "lambda_grpo", "seed": 3, "step": 10}, "auc"),
        ({"arm": "base"}, "auc"),
        ({"arm": "grpo", "seed": 5, "step": 30}, "final"),
    ],
)
def test_an_item_that_could_not_be_judged_is_left_out_and_counted(items, place, endpoint):
    found = item_differences(ungraded(items, item="i02", **place), endpoint=endpoint).to_dict("records")
    want = item_differences(items[items["item"] != "i02"], endpoint=endpoint).to_dict("records")
    assert [one | {"n_left_out": 1} for one in want] == found
    assert {(one["n_items"], one["n_left_out"]) for one in found} == {(11, 1)}


def test_the_final_value_needs_no_earlier_checkpoint(items):
    holed = ungraded(ungraded(items, item="i02", step=10), item="i03", arm="base")
    want, found = (item_differences(one, endpoint="final").to_dict("records") for one in (items, holed))
    assert found == want
    assert {one["n_left_out"] for one in found} == {0}


def test_no_item_that_was_judged_everywhere_is_an_error(items):
    with pytest.raises(UserError, match="no item has a score at every checkpoint of 'lambda_grpo'") as told:
        item_differences(ungraded(items, arm="grpo", seed=5, step=30))
    assert str(told.value).endswith("'grpo'; find out why the grader could not judge them")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda items: items[items["seed"].isna() | (items["seed"] == 3)], "1 pair of seeds"),
        (lambda items: items.assign(mean=0.5), "all differences are equal or cancel"),
        (lambda items: items.assign(cluster="one"), "1 cluster of items"),
    ],
)
def test_not_enough_has_a_reason_and_no_interval(items, change, reason):
    records = item_differences(change(items)).to_dict("records")
    empty = [one for one in records if one["difference"].low is None]
    assert empty
    assert all(reason in one["reason"] for one in empty)
    assert all(one["reason"] == "" for one in records if one["difference"].low is not None)


def test_optimism_is_that_of_the_estimator(items):
    table = optimism_table(items, np.random.default_rng(4), draws=2000)
    assert table[["arm", "seed"]].to_numpy().tolist() == [
        [arm, seed] for arm in ("grpo", "lambda_grpo") for seed in (3, 5, 8)
    ]
    own = items[(items["arm"] == "grpo") & (items["seed"] == 3) & (items["split"] == "test")]
    right = own.pivot(index="step", columns="item", values="mean").to_numpy() * 4
    child = np.random.default_rng(4).spawn(6)[0]
    found = peak_optimism(right, np.full(right.shape, 4), child, 2000)
    first = table.iloc[0]
    assert (first["raw_max"], first["optimism"], first["p_equal"]) == (
        found.raw_max,
        found.expected,
        found.p_equal,
    )
    holed = ungraded(items, arm="grpo", step=30, item="i02")
    line = optimism_table(holed, np.random.default_rng(4), draws=2000).iloc[0]
    assert (line["n_items"], line["n_left_out"]) == (11, 1)
    with pytest.raises(UserError, match="no item has a score at every checkpoint"):
        optimism_table(items.assign(n=0), np.random.default_rng(4), draws=2000)
