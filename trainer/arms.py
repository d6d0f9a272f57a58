"""The arms: what each token of a group weighs, and what the weighted sum of a step is divided by.

The loss knows nothing more. An arm is a row of the table at the end: a weight per token from the process
tree of its group, and a normaliser from totals over the whole optimizer step, so that no micro-batch split,
order or number of processes can change it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.tree import ProcessTree, node_any, process_set_sizes, token_nodes

Floats = NDArray[np.float64]
Weigh = Callable[[ProcessTree, Floats, np.random.Generator], list[Floats]]
"""Tree, (G,) advantages, generator -> G arrays (len(y_i),): the weight of each token."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the counted completions of an optimizer step: all groups, all processes."""

    tokens: float = 0.0
    """N = Σ_i len(y_i)."""
    distinct: float = 0.0
    """Σ_{i,t} 1/|λ(i,t)|: the number of token-nodes where every completion counts."""
    completions: float = 0.0
    token_limit: float = 0.0
    """Σ_i max_new_tokens."""

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            tokens=self.tokens + other.tokens,
            distinct=self.distinct + other.distinct,
            completions=self.completions + other.completions,
            token_limit=self.token_limit + other.token_limit,
        )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """How a training algorithm weighs tokens."""

    weigh: Weigh
    """Weights of the policy term, and of the KL term unless `weigh_kl` says otherwise."""
    normalise: Callable[[Totals], float]
    """What the weighted sum of the step is divided by."""
    weigh_kl: Weigh | None = None
    standardised: bool = True
    """Advantages are divided by the standard deviation of their group's rewards."""


def ones(tree: ProcessTree, advantage_g: Floats, generator: np.random.Generator) -> list[Floats]:
    """Weigh every token 1: GRPO with the token mean."""
    return [np.ones(length) for length in tree.length_g]


def inverse_set_size(tree: ProcessTree, advantage_g: Floats, generator: np.random.Generator) -> list[Floats]:
    """Weigh token (i,t) by 1/|λ(i,t)|: λ-GRPO (arXiv 2509.21154, eq. 9)."""
    return [1.0 / size for size in process_set_sizes(tree)]


def permuted(tree: ProcessTree, advantage_g: Floats, generator: np.random.Generator) -> list[Floats]:
    """Give the tokens of each completion its 1/|λ| values in random order: the same mass at other places."""
    return [generator.permutation(weight_t) for weight_t in inverse_set_size(tree, advantage_g, generator)]


def inverse_length(tree: ProcessTree, advantage_g: Floats, generator: np.random.Generator) -> list[Floats]:
    """Weigh by 1/len(y_i): each completion is a mean over its tokens."""
    return [np.full(length, 1.0 / max(length, 1)) for length in tree.length_g]


def inverse_set_size_and_length(
    tree: ProcessTree, advantage_g: Floats, generator: np.random.Generator
) -> list[Floats]:
    """Weigh by 1/(|λ(i,t)| len(y_i)): what the authors' release computes by default."""
    return [1.0 / (size * max(len(size), 1)) for size in process_set_sizes(tree)]


def conflict_free(tree: ProcessTree, advantage_g: Floats, generator: np.random.Generator) -> list[Floats]:
    """Weigh 0 what would push down a prefix that a better completion shares: GTPO (arXiv 2508.03772).

    That is a token of a completion with negative advantage whose process set has a member with a positive
    one.
    """
    good_v = node_any(tree, advantage_g > 0)
    return [
        np.where(good_v[node_t] & (advantage < 0), 0.0, 1.0)
        for node_t, advantage in zip(token_nodes(tree), advantage_g, strict=True)
    ]


def token_mean(totals: Totals) -> float:
    """Divide by N, the plain token count of the step, whatever the weights: the normaliser of DAPO."""
    return totals.tokens


def node_mean(totals: Totals) -> float:
    """Divide by Σ 1/|λ|: the mean over distinct prefixes."""
    return totals.distinct


def token_mean_at_node_mass(totals: Totals) -> float:
    """Divide by N²/Σ 1/|λ|: the token mean times (Σ 1/|λ|)/N, the loss mass that λ-GRPO has on this step."""
    return totals.tokens**2 / totals.distinct if totals.distinct else 0.0


def completion_mean(totals: Totals) -> float:
    """Divide by the number of completions."""
    return totals.completions


def constant_length(totals: Totals) -> float:
    """Divide by max_new_tokens per completion, a constant: Dr. GRPO (arXiv 2503.20783)."""
    return totals.token_limit


ARMS = {
    "grpo": Arm(weigh=ones, normalise=token_mean),
    "lambda_grpo": Arm(weigh=inverse_set_size, normalise=token_mean),
    "lambda_node_mean": Arm(weigh=inverse_set_size, normalise=node_mean),
    "grpo_scale_matched": Arm(weigh=ones, normalise=token_mean_at_node_mass),
    "lambda_permuted": Arm(weigh=permuted, normalise=token_mean),
    "lambda_policy_only": Arm(weigh=inverse_set_size, weigh_kl=ones, normalise=token_mean),
    "grpo_seq_mean": Arm(weigh=inverse_length, normalise=completion_mean),
    "lambda_seq_mean": Arm(weigh=inverse_set_size_and_length, normalise=completion_mean),
    "dr_grpo": Arm(weigh=ones, normalise=constant_length, standardised=False),
    "gtpo": Arm(weigh=conflict_free, normalise=token_mean),
}
"""Name -> arm, as in a recipe's `arm` key."""
