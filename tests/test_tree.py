"""The process tree against its definition, written with list slices."""

from __future__ import annotations

import random

import numpy as np
import pytest

from trainer.tree import (
    depths,
    leaves,
    node_means,
    process_set_sizes,
    process_tree,
    set_size_histogram,
    tree_statistics,
)

Group = list[list[int]]

# the six completions of the paper's figures, one letter a token; |λ|, depth and shared share by hand
PAPER = ["ABCD", "ABEFHI", "JKLM", "JKLNQST", "JKLNQU", "VWYZ"]
PAPER_SIZES = ["2211", "221111", "3331", "3332211", "333221", "1111"]


def letters(words: list[str]) -> Group:
    return [[ord(letter) for letter in word] for word in words]


def sizes_by_definition(group: Group) -> Group:
    return [[sum(h[: t + 1] == g[: t + 1] for h in group) for t in range(len(g))] for g in group]


def sets_by_definition(group: Group) -> set[frozenset[int]]:
    """Return every distinct process set: the members that share a prefix, for all prefixes."""
    prefixes = {tuple(g[:t]) for g in group for t in range(len(g) + 1)}
    sets = {frozenset(i for i, g in enumerate(group) if tuple(g[: len(p)]) == p) for p in prefixes}
    exact = {frozenset(i for i, h in enumerate(group) if h == g) for g in group}  # a strict prefix has a leaf
    return sets | exact


def random_group(rng: random.Random, vocabulary: int) -> Group:
    return [[rng.randrange(vocabulary) for _ in range(rng.randint(0, 7))] for _ in range(rng.randint(1, 7))]


def sizes(group: Group) -> Group:
    return [row.tolist() for row in process_set_sizes(process_tree(group))]


@pytest.mark.parametrize("vocabulary", [1, 2, 3, 40])  # one path, bushy trees, almost no sharing
@pytest.mark.parametrize("seed", range(25))
def test_sizes_and_nodes_match_the_definition(vocabulary: int, seed: int) -> None:
    group = random_group(random.Random(seed), vocabulary)
    tree = process_tree(group)
    assert sizes(group) == sizes_by_definition(group)
    assert {row.dtype for row in process_set_sizes(tree)} == {np.dtype(np.int64)}
    members = {frozenset(tree.order_g[a:b].tolist()) for a, b in zip(tree.first_v, tree.last_v, strict=True)}
    assert members == sets_by_definition(group)
    assert len(members) == len(tree.first_v)  # each set is one node


@pytest.mark.parametrize("seed", range(10))
def test_order_of_the_group_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    group = random_group(rng, 2)
    order = rng.sample(range(len(group)), len(group))
    assert sizes([group[i] for i in order]) == [sizes(group)[i] for i in order]


@pytest.mark.parametrize("seed", range(10))
def test_distinct_prefixes_are_the_sum_of_inverse_sizes(seed: int) -> None:
    group = [row for row in random_group(random.Random(seed), 2) if row] or [[1]]
    prefixes = {tuple(g[: t + 1]) for g in group for t in range(len(g))}
    total = sum((1 / row).sum() for row in process_set_sizes(process_tree(group)))
    assert total == pytest.approx(len(prefixes), rel=1e-12)
    tokens = sum(map(len, group))
    assert tree_statistics(process_tree(group))["nodes_per_token"] == pytest.approx(len(prefixes) / tokens)


def test_paper_example() -> None:
    tree = process_tree(letters(PAPER))
    assert ["".join(map(str, row)) for row in sizes(letters(PAPER))] == PAPER_SIZES
    found = tree_statistics(tree)
    assert found["set_size"] == pytest.approx(sum(map(int, "".join(PAPER_SIZES))) / 31)
    assert found["path_depth"] == pytest.approx(13 / 6)
    assert found["intermediate"] == pytest.approx(np.mean([2 / 4, 2 / 6, 3 / 4, 5 / 7, 5 / 6, 0]))
    assert found["intermediate_below_root"] == found["intermediate"]  # nothing is shared by all six
    assert found["nodes_per_token"] == pytest.approx(21 / 31)
    assert found["flat"] == 0.0
    assert found["duplicates"] == 0.0


def test_step_rewards_of_the_paper() -> None:
    tree = process_tree(letters(PAPER))
    reward_v = node_means(tree, np.array([0.5, 0.5, 1.0, 0.0, 0.0, 0.5]))
    by_members = {
        "".join(PAPER[i] + " " for i in sorted(tree.order_g[a:b])): reward
        for a, b, reward in zip(tree.first_v, tree.last_v, reward_v, strict=True)
    }
    assert by_members["JKLM JKLNQST JKLNQU "] == pytest.approx(1 / 3)
    assert by_members["JKLNQST JKLNQU "] == 0.0
    assert by_members["JKLM "] == 1.0


def test_duplicates_are_one_leaf_and_prefixes_have_their_own() -> None:
    tree = process_tree([[5, 6], [5, 6], [5], [9]])
    assert len(leaves(tree)) == 3
    assert sizes([[5, 6], [5, 6], [5], [9]]) == [[3, 2], [3, 2], [3], [1]]
    found = tree_statistics(tree)
    assert found["duplicates"] == 0.25
    assert found["path_depth"] == pytest.approx((2 + 2 + 1) / 3)


def test_shared_opening_counts_only_with_the_root() -> None:
    found = tree_statistics(process_tree([[1, 2, 3], [1, 2, 4]]))
    assert found["flat"] == 1.0
    assert found["intermediate"] == pytest.approx(2 / 3)
    assert found["intermediate_below_root"] == 0.0


def test_a_group_is_flat_without_a_step_between_root_and_leaves() -> None:
    assert tree_statistics(process_tree([[1, 2], [3], [4]]))["flat"] == 1.0
    assert tree_statistics(process_tree([[1, 2], [1, 3], [4]]))["flat"] == 0.0


def test_a_single_token_is_shared_whole() -> None:
    found = tree_statistics(process_tree([[5], [5, 6]]))
    assert found["intermediate"] == pytest.approx((1 / 1 + 1 / 2) / 2)
    alone = tree_statistics(process_tree([[5]]))
    assert (alone["set_size"], alone["nodes_per_token"], alone["intermediate"]) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("seed", range(10))
def test_the_histogram_counts_every_token_once(seed: int) -> None:
    group = random_group(random.Random(seed), 2)
    flat = [size for row in sizes_by_definition(group) for size in row]
    lows = [low for low in (1, 2, 4) if low <= len(group)]  # groups have 1 to 7 members
    want = {low: sum(low <= size < 2 * low for size in flat) for low in lows}
    found = set_size_histogram(process_tree(group))
    assert found == want
    assert list(found) == lows  # an empty bin is 0, not absent


def test_degenerate_groups() -> None:
    assert sizes([[]]) == [[]]
    assert sizes([[4, 4]]) == [[1, 1]]
    alone = process_tree([[4, 4]])
    assert alone.parent_v.tolist() == [-1]
    assert depths(alone).tolist() == [0]
    assert depths(alone).dtype == np.int64
    assert tree_statistics(process_tree([[], []]))["nodes_per_token"] == 0.0
    with pytest.raises(ValueError, match=r"^a group needs at least one completion, got none$"):
        process_tree([])


def test_large_ids_sort_as_numbers() -> None:
    group = [[70_000], [10_000], [9_000], [256, 1], [256], [255]]
    assert sizes(group) == sizes_by_definition(group)
    assert process_tree(group).order_g.tolist() == [5, 4, 3, 2, 1, 0]


def test_unknown_values_leave_the_mean() -> None:
    tree = process_tree([[1, 2], [1, 3], [4]])
    means = node_means(tree, np.array([1.0, np.nan, np.nan]))
    by_members = {
        tuple(sorted(tree.order_g[a:b])): m for a, b, m in zip(tree.first_v, tree.last_v, means, strict=True)
    }
    assert by_members[(0, 1)] == 1.0
    assert np.isnan(by_members[(2,)])
