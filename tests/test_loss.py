"""The objective against the numbers worked out for the paper's example, and the arms against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainer.advantages import EQUAL, group_advantages, has_signal
from trainer.arms import ARMS
from trainer.identities import identity_residual, prefix_disagreement
from trainer.loss import clipped_tokens, importance_weights, kl_term, policy_term, weighted_loss
from trainer.tree import ProcessTree, process_tree

WORDS = ["ABCD", "ABEFHI", "JKLM", "JKLNQST", "JKLNQU", "VWYZ"]
FIGURE_1 = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
FLAW = [0.5, 0.5, 1.0, 0.0, 0.0, 0.5]


def prefix_hash(text: str) -> float:
    value = 0
    for letter in text:
        value = (31 * value + ord(letter)) % 10007
    return value / 10007


def objective(arm: str, rewards: list[float], *, depends_on_prefix: bool, clip: float = 0.5) -> float:
    """Return the objective of the worked example: P and D made up from the prefix, or P = 1 and D = 0."""
    tree = process_tree([[ord(letter) for letter in word] for word in WORDS])
    # the worked example standardises without the 1e-4, so it is undone here
    reward = np.array(rewards)
    advantage_g = (reward - reward.mean()) / reward.std(ddof=1)
    prefixes = [word[: t + 1] for word in WORDS for t in range(len(word))]
    ratio = [0.8 + 0.4 * prefix_hash(p) if depends_on_prefix else 1.0 for p in prefixes]
    kl = [0.004 * prefix_hash("d" + p) if depends_on_prefix else 0.0 for p in prefixes]
    advantage = np.repeat(advantage_g, [len(word) for word in WORDS])
    policy = policy_term(torch.tensor(ratio, dtype=torch.float64), torch.tensor(advantage), clip, clip)
    weight = torch.tensor(np.concatenate(weigh(arm, tree, advantage_g)))
    loss = weighted_loss(policy, torch.tensor(kl), weight, weight, float(len(prefixes)))
    return -loss.item()


def weigh(arm: str, tree: ProcessTree, advantage_g: np.ndarray) -> list[np.ndarray]:
    return ARMS[arm].weigh(tree, advantage_g, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arm", "rewards", "depends_on_prefix", "expected"),
    [
        ("grpo", FIGURE_1, False, -0.088342),
        ("lambda_grpo", FIGURE_1, False, -0.029447),
        ("grpo", FLAW, False, -0.164267),
        ("lambda_grpo", FLAW, False, -0.064278),
        ("grpo", FIGURE_1, True, -0.0872393903),
        ("lambda_grpo", FIGURE_1, True, -0.0349216766),
        ("grpo", FLAW, True, -0.1500020449),
        ("lambda_grpo", FLAW, True, -0.0546261537),
    ],
)
def test_worked_example(arm: str, rewards: list[float], depends_on_prefix: bool, expected: float) -> None:
    tolerance = 1e-9 if depends_on_prefix else 1e-6  # as many digits as were printed
    assert objective(arm, rewards, depends_on_prefix=depends_on_prefix) == pytest.approx(
        expected, abs=tolerance
    )


@pytest.mark.parametrize(("rewards", "expected"), [(FIGURE_1, -0.105199), (FLAW, -0.166255)])
def test_worked_example_with_a_clip_of_a_tenth(rewards: list[float], expected: float) -> None:
    assert objective("grpo", rewards, depends_on_prefix=True, clip=0.1) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("arm", "expected"), [("grpo", -0.4428), ("lambda_grpo", 0.8856)])
def test_the_sign_of_the_best_trajectory_flips(arm: str, expected: float) -> None:
    """JKLM has the best reward; all its tokens together are pushed down by GRPO and up by λ-GRPO."""
    tree = process_tree([[ord(letter) for letter in word] for word in WORDS])
    reward = np.array(FLAW)
    advantage_g = (reward - reward.mean()) / reward.std(ddof=1)
    weights = weigh(arm, tree, advantage_g)
    net = sum(
        weights[i][t] * advantage_g[i]
        for t in range(4)
        for i, word in enumerate(WORDS)
        if word[: t + 1] == "JKLM"[: t + 1]
    )
    assert net == pytest.approx(expected, abs=5e-5)


def test_without_a_shared_prefix_the_arms_are_equal() -> None:
    tree = process_tree([[1, 2], [3, 2], [4]])
    for ours, theirs in zip(*(weigh(arm, tree, np.ones(3)) for arm in ("grpo", "lambda_grpo")), strict=True):
        assert (ours == theirs).all()


def test_kl_is_k3_with_its_gradient() -> None:
    logp = torch.tensor([-1.0, -2.0, -0.3], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([-1.5, -1.0, -0.3], dtype=torch.float64)
    ratio = (reference - logp).exp()
    assert torch.allclose(kl_term(logp, reference, 0.04), 0.04 * (ratio - ratio.log() - 1), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: kl_term(x, reference, 0.04), (logp,))


def test_the_weight_divides_the_kl_too() -> None:
    policy, kl = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 2.0])
    weight = torch.tensor([0.5, 0.25])
    assert weighted_loss(policy, kl, weight, weight, 4.0).item() == -(0.5 * 1.0 + 0.25 * 2.0) / 4.0
    apart = weighted_loss(policy, kl, weight, torch.ones(2), 4.0)
    assert apart.item() == -(0.5 * 2.0 + 0.25 * 4.0 - 3.0) / 4.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope", "cut"),
    [
        (1.0, 2.0, 2.0, 2.0, None),
        (1.5, 2.0, 2 * 1.28, 0.0, "high"),  # a good token that has risen enough
        (1.5, -2.0, -3.0, -2.0, None),  # a bad token that has risen is pushed back
        (0.5, -2.0, -2 * 0.8, 0.0, "low"),  # a bad token that has fallen enough
        (0.5, 2.0, 1.0, 2.0, None),
        (1.25, 1.0, 1.25, 1.0, None),  # the upper bound is the wider one
        (1.5, 0.5, 0.5 * 1.28, 0.0, "high"),  # the size of the advantage does not matter
        (0.5, 0.5, 0.25, 0.5, None),
        (1.5, 0.0, 0.0, 0.0, None),  # there is no gradient to cut off
        (0.5, 0.0, 0.0, 0.0, None),
    ],
)
def test_the_clip_takes_the_worse_of_two_values(
    ratio: float, advantage: float, value: float, slope: float, cut: str | None
) -> None:
    ratio_n = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    advantage_n = torch.tensor([advantage], dtype=torch.float64)
    term = policy_term(ratio_n, advantage_n, 0.2, 0.28)
    term.sum().backward()
    assert term.item() == pytest.approx(value, rel=1e-12)
    assert ratio_n.grad is not None
    assert ratio_n.grad.item() == pytest.approx(slope, rel=1e-12)
    low, high = clipped_tokens(ratio_n.detach(), advantage_n, 0.2, 0.28)
    assert (low.item(), high.item()) == (cut == "low", cut == "high")


@pytest.mark.parametrize(("ratio", "advantage"), [(0.75, -2.0), (1.25, 2.0)])
def test_a_ratio_on_the_bound_is_not_clipped_yet(ratio: float, advantage: float) -> None:
    ratio_n = torch.tensor([ratio], requires_grad=True)
    policy_term(ratio_n, torch.tensor([advantage]), 0.25, 0.25).sum().backward()
    assert ratio_n.grad is not None
    assert ratio_n.grad.item() == advantage
    cut = clipped_tokens(ratio_n.detach(), torch.tensor([advantage]), 0.25, 0.25)
    assert not any(side.item() for side in cut)


def test_importance_weights_are_the_ratio_up_to_a_cap() -> None:
    old, rollout = torch.tensor([-1.0, -1.0, -1.0]).double(), torch.tensor([-1.0, -2.0, 0.0]).double()
    weight = importance_weights(old, rollout, 2.0)
    np.testing.assert_allclose(weight.numpy(), [1.0, 2.0, np.exp(-1.0)], rtol=1e-12)
    assert importance_weights(old, rollout, math.inf)[1].item() == pytest.approx(math.e)


@pytest.mark.parametrize("seed", range(20))
def test_advantages_are_standardised_with_ddof_1(seed: int) -> None:
    reward = np.random.default_rng(seed).integers(0, 2, size=8).astype(float)
    by_hand = (reward - reward.mean()) / (np.sqrt(((reward - reward.mean()) ** 2).sum() / 7) + 1e-4)
    np.testing.assert_allclose(group_advantages(reward.tolist()), by_hand, rtol=1e-12)


def test_advantages_without_the_division_are_centred() -> None:
    centred = group_advantages([1.0, 0.0, 0.0, 0.0], standardised=False)
    np.testing.assert_allclose(centred, [0.75, -0.25, -0.25, -0.25])


def test_a_group_has_a_signal_when_known_rewards_differ() -> None:
    assert has_signal([1.0, 0.0])
    assert has_signal([0.0, None, 2e-9])
    assert not has_signal([0.3, 0.3 + 1e-12])  # rounding is no signal
    assert not has_signal([0.0, EQUAL])
    assert not has_signal([1.0, None])
    assert not has_signal([None, None])
    assert not has_signal([])


def test_whole_numbers_are_rewards_too() -> None:
    assert group_advantages([1, 0]).tolist() == group_advantages([1.0, 0.0]).tolist()


def test_unknown_rewards_leave_the_group() -> None:
    np.testing.assert_allclose(
        group_advantages([1.0, None, 0.0, 0.0])[[0, 2, 3]], group_advantages([1.0, 0.0, 0.0])
    )
    assert group_advantages([1.0, None, 0.0])[1] == 0.0
    assert group_advantages([1.0, None]).tolist() == [0.0, 0.0]
    assert group_advantages([1.0, 1.0, 1.0]).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(20))
def test_identities_hold_and_notice_a_member_that_differs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = [rng.integers(0, 2, size=rng.integers(1, 9)).tolist() for _ in range(6)]
    tree = process_tree(group)
    advantage_g = rng.normal(size=6)
    table: dict[tuple[int, ...], tuple[float, float]] = {}
    for row in group:
        for t in range(len(row)):
            table.setdefault(tuple(row[: t + 1]), (rng.uniform(0.5, 1.5), rng.uniform(0, 0.1)))
    ratios = [np.array([table[tuple(row[: t + 1])][0] for t in range(len(row))]) for row in group]
    kls = [np.array([table[tuple(row[: t + 1])][1] for t in range(len(row))]) for row in group]
    assert max(identity_residual(tree, advantage_g, ratios, kls)) < 1e-12
    assert prefix_disagreement(tree, ratios) == 0.0
    shared = next(i for i, row in enumerate(group) if sum(h[0] == row[0] for h in group) > 1)
    ratios[shared] = ratios[shared] + 0.3
    assert min(identity_residual(tree, advantage_g, ratios, kls)) > 1e-6
    assert prefix_disagreement(tree, ratios) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(1.0, 1.5, (0.5 / 2.5, 0.25 / 2.5)), (0.1, 0.2, (0.1, 0.05))],  # terms below 1 are not scaled up
)
def test_residuals_are_relative_to_the_terms(
    first: float, second: float, expected: tuple[float, float]
) -> None:
    """Two completions of one equal token with opposite advantages: the node form is 0, whatever P is."""
    tree = process_tree([[7], [7]])
    ratios, kls = [np.array([first]), np.array([second])], [np.zeros(1), np.zeros(1)]
    found = identity_residual(tree, np.array([1.0, -1.0]), ratios, kls)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("counts", [(2, 3), (3, 3)])
def test_identities_need_one_stream_per_member(counts: tuple[int, int]) -> None:
    ratios, kls = ([np.ones(1)] * count for count in counts)
    with pytest.raises(ValueError, match="zip"):
        identity_residual(process_tree([[7], [7]]), np.ones(counts[0]), ratios, kls)
