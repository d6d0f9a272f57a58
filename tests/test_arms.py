"""Every arm against its row of the table, by definition: list slices and sums, no tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
import pytest

from tasks.schema import Grade, Status
from trainer.arms import ARMS, Totals
from trainer.batch import Batch, build_batch
from trainer.tree import process_tree

Pair = tuple[list[list[float]], list[list[float]]]


class Definition:
    """One group with the quantities of the table: a, |λ|, lengths."""

    def __init__(self, tokens: list[tuple[int, ...]], rewards: list[float]) -> None:
        self.tokens = tokens
        self.centred = [r - np.mean(rewards) for r in rewards]
        self.spread = np.std(rewards, ddof=1) + 1e-4
        self.sets = [
            [[j for j, other in enumerate(tokens) if other[: t + 1] == row[: t + 1]] for t in range(len(row))]
            for row in tokens
        ]

    def coefficients(
        self, weight: Callable[[int, int], float], *, standardised: bool = True
    ) -> list[list[float]]:
        scale = self.spread if standardised else 1.0
        return [
            [weight(i, t) * self.centred[i] / scale for t in range(len(row))]
            for i, row in enumerate(self.tokens)
        ]


def by_definition(arm: str, groups: list[Definition], limit: int) -> list[list[list[float]]]:
    """Return what multiplies the gradient of log π of every token, the normaliser included."""
    tokens = sum(len(row) for group in groups for row in group.tokens)
    mass = sum(1 / len(s) for group in groups for row in group.sets for s in row)
    completions = sum(len(group.tokens) for group in groups)

    def gtpo(g: Definition, i: int, t: int) -> float:
        good = any(g.centred[j] > 0 for j in g.sets[i][t])
        return 0.0 if g.centred[i] < 0 and good else 1 / tokens

    table: dict[str, Callable[[Definition, int, int], float]] = {
        "grpo": lambda g, i, t: 1 / tokens,
        "lambda_grpo": lambda g, i, t: 1 / len(g.sets[i][t]) / tokens,
        "lambda_policy_only": lambda g, i, t: 1 / len(g.sets[i][t]) / tokens,
        "lambda_node_mean": lambda g, i, t: 1 / len(g.sets[i][t]) / mass,
        "grpo_scale_matched": lambda g, i, t: (mass / tokens) / tokens,
        "grpo_seq_mean": lambda g, i, t: 1 / len(g.tokens[i]) / completions,
        "lambda_seq_mean": lambda g, i, t: 1 / len(g.sets[i][t]) / len(g.tokens[i]) / completions,
        "dr_grpo": lambda g, i, t: 1 / (completions * limit),
        "gtpo": gtpo,
    }
    return [group.coefficients(partial(table[arm], group), standardised=arm != "dr_grpo") for group in groups]


def coefficients(batch: Batch) -> list[list[list[float]]]:
    return [
        [(row.weight_t * row.advantage / batch.normaliser).tolist() for row in group.rows]
        for group in batch.groups
    ]


def define(made: ModuleType, seed: int, **shape: int) -> list[Definition]:
    groups, grades = made.make_groups(seed, **shape)
    return [
        Definition([c.tokens for c in group.completions], [grade.score for grade in graded])
        for group, graded in zip(groups, grades, strict=True)
    ]


@pytest.mark.parametrize("arm", sorted(ARMS.keys() - {"lambda_permuted"}))
@pytest.mark.parametrize("seed", range(5))
def test_every_token_has_the_coefficient_of_the_table(made: ModuleType, arm: str, seed: int) -> None:
    config = made.make_config(arm=arm)
    got = coefficients(made.make_batch(seed, config, groups=3))
    want = by_definition(arm, define(made, seed, groups=3), config.max_new_tokens)
    for ours, theirs in zip(got, want, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_permuted_weights_are_the_same_values_elsewhere(made: ModuleType, seed: int) -> None:
    ours = made.make_batch(seed, made.make_config(arm="lambda_permuted"), members=6).rows
    plain = made.make_batch(seed, made.make_config(arm="lambda_grpo"), members=6).rows
    assert [sorted(r.weight_t) for r in ours] == [sorted(r.weight_t) for r in plain]
    assert any((a.weight_t != b.weight_t).any() for a, b in zip(ours, plain, strict=True))
    again = made.make_batch(seed, made.make_config(arm="lambda_permuted"), members=6).rows
    assert all((a.weight_t == b.weight_t).all() for a, b in zip(ours, again, strict=True))
    assert all((a.weight_t == a.kl_weight_t).all() for a in ours)  # one permutation for both terms


def test_the_permutation_depends_on_the_step(made: ModuleType) -> None:
    config = made.make_config(arm="lambda_permuted")
    groups, grades = made.make_groups(0, members=8)
    one, two = (build_batch(groups, grades, config, step).rows for step in (1, 2))
    assert any((a.weight_t != b.weight_t).any() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_the_kl_term_has_the_weight_of_its_token_unless_the_arm_says_otherwise(
    made: ModuleType, arm: str
) -> None:
    for row in made.make_batch(1, made.make_config(arm=arm)).rows:
        want = np.ones(len(row.weight_t)) if arm == "lambda_policy_only" else row.weight_t
        np.testing.assert_array_equal(row.kl_weight_t, want)


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_masked_completions_leave_the_sum_and_the_normaliser_but_not_the_tree(
    made: ModuleType, arm: str
) -> None:
    groups, grades = made.make_groups(3, groups=3, members=6, limit=4)
    kept = build_batch(groups, grades, made.make_config(arm=arm, max_new_tokens=4), 1)
    masked = build_batch(groups, grades, made.make_config(arm=arm, max_new_tokens=4, truncated="masked"), 1)
    cut = [len(row.weight_t) == 4 for row in kept.rows]
    assert 0 < sum(cut) < len(cut)
    assert masked.normaliser < kept.normaliser
    for was, now, out in zip(kept.rows, masked.rows, cut, strict=True):
        assert now.advantage == was.advantage  # still in the mean reward
        want = np.zeros(4) if out else was.weight_t
        np.testing.assert_array_equal(now.weight_t, want)
        np.testing.assert_array_equal(now.kl_weight_t, np.zeros(4) if out else was.kl_weight_t)


@pytest.mark.parametrize("arm", ["grpo", "lambda_node_mean", "grpo_seq_mean", "dr_grpo"])
def test_groups_with_equal_rewards_are_kept_or_dropped(made: ModuleType, arm: str) -> None:
    groups, grades = made.make_groups(4)
    grades[0] = [Grade(status=Status.CORRECT, answer="1")] * 4
    kept = build_batch(groups, grades, made.make_config(arm=arm), 1)
    dropped = build_batch(groups, grades, made.make_config(arm=arm, equal_reward_groups="dropped"), 1)
    alone = build_batch(groups[1:], grades[1:], made.make_config(arm=arm), 1)
    assert len(kept.rows) == 8
    assert kept.normaliser > dropped.normaliser
    assert dropped.normaliser == alone.normaliser
    assert len(dropped.rows) == 4
    assert [len(group.tree.order_g) for group in dropped.groups] == [4, 4]  # its tree is still described


def test_a_step_without_any_signal_has_no_normaliser_when_groups_are_dropped(made: ModuleType) -> None:
    groups, _ = made.make_groups(5)
    grades = [[Grade(status=Status.WRONG, answer="1")] * 4] * 2
    batch = build_batch(groups, grades, made.make_config(equal_reward_groups="dropped"), 1)
    assert batch.normaliser == 0.0
    assert batch.rows == []


def test_totals_add_up() -> None:
    one = Totals(tokens=1.0, distinct=2.0, completions=3.0, token_limit=4.0)
    two = Totals(tokens=10.0, distinct=20.0, completions=30.0, token_limit=40.0)
    assert one + two == Totals(tokens=11.0, distinct=22.0, completions=33.0, token_limit=44.0)


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_no_completion_is_no_normaliser(arm: str) -> None:
    assert ARMS[arm].normalise(Totals()) == 0.0


@pytest.mark.parametrize("better", [0.0, 1.0])
@pytest.mark.parametrize("worse", [0.0, -1.0])
def test_gtpo_spares_a_shared_prefix_only_from_bad_for_good(better: float, worse: float) -> None:
    """An advantage of zero is neither: it pushes nothing down, and protects nothing."""
    advantage_g = np.array([better, worse])
    weights = ARMS["gtpo"].weigh(process_tree([[1, 2], [1, 3]]), advantage_g, np.random.default_rng(0))
    spared = better > 0 > worse
    assert [weight_t.tolist() for weight_t in weights] == [[1.0, 1.0], [1.0 - spared, 1.0]]


def test_gtpo_needs_one_advantage_per_completion() -> None:
    with pytest.raises(ValueError, match="zip"):
        ARMS["gtpo"].weigh(process_tree([[1], [2]]), np.ones(3), np.random.default_rng(0))
