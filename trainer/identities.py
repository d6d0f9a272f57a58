"""The two identities that make GRPO a process reward model; every run logs how far they are off.

With one update per batch, all members of a node have the same P and D, so (theorem 1 and eq. 9 of the paper)

    GRPO:    Σ_i Σ_t (P·a_i - D)           =  Σ over token-nodes v of |v| (P_v·A_v - D_v)
    λ-GRPO:  Σ_i Σ_t (P·a_i - D) / |λ|     =  Σ over token-nodes v of     (P_v·A_v - D_v)

where A_v is the mean advantage of the members. A residual above rounding means a wrong tree or weight, or
P and D that differ between members with a shared prefix (padding, dropout, batch-dependent kernels).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.tree import ProcessTree, node_means, process_set_sizes, spans

Floats = NDArray[np.float64]


def identity_residual(
    tree: ProcessTree, advantage_g: Floats, ratios: Sequence[Floats], kls: Sequence[Floats]
) -> tuple[float, float]:
    """Return (GRPO, λ-GRPO) residuals: |token form - node form| / max(1, Σ |terms|).

    Args:
        tree: the tree of the group.
        advantage_g: (G,) advantages.
        ratios: G arrays (len(y_i),): P of each token.
        kls: G arrays (len(y_i),): D of each token.
    """
    sizes = process_set_sizes(tree)
    terms = [p * a - d for p, a, d in zip(ratios, advantage_g, kls, strict=True)]
    scale = max(1.0, sum(float(np.abs(term).sum()) for term in terms))
    grpo_tokens = sum(float(term.sum()) for term in terms)
    lambda_tokens = sum(float((term / size).sum()) for term, size in zip(terms, sizes, strict=True))
    grpo_nodes = lambda_nodes = 0.0
    advantage_v = node_means(tree, advantage_g)
    for node, size in enumerate(tree.size_v):
        members = tree.order_g[tree.first_v[node] : tree.last_v[node]]
        span = slice(tree.start_v[node], tree.end_v[node])
        ratio_t = np.mean([ratios[member][span] for member in members], axis=0)
        kl_t = np.mean([kls[member][span] for member in members], axis=0)
        total = float((ratio_t * advantage_v[node] - kl_t).sum())
        lambda_nodes += total
        grpo_nodes += int(size) * total
    return abs(grpo_tokens - grpo_nodes) / scale, abs(lambda_tokens - lambda_nodes) / scale


def prefix_disagreement(tree: ProcessTree, logprobs: Sequence[Floats]) -> float:
    """Return the largest difference in log-probability between members that share a prefix.

    It should be rounding. More means that padding, dropout or a kernel let one row influence another.

    Args:
        tree: the tree of the group.
        logprobs: G arrays (len(y_i),).
    """
    worst = 0.0
    for first, last, start, end in spans(tree):
        if last - first > 1 and end > start:
            shared = np.stack([logprobs[member][start:end] for member in tree.order_g[first:last]])
            worst = max(worst, float(np.ptp(shared, axis=0).max()))
    return worst
