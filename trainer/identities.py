"""The two identities that make GRPO a process reward model; every run logs how far they are off.

With one update per batch, all members of a node have the same P and D, so (theorem 1 and eq. 9 of the paper)

    GRPO:    Σ_i Σ_t (P·a_i - D)           =  Σ over token-nodes v of |v| (P_v·A_v - D_v)
    λ-GRPO:  Σ_i Σ_t (P·a_i - D) / |λ|     =  Σ over token-nodes v of     (P_v·A_v - D_v)

where A_v is the mean advantage of the members. Before an update P is 1, so the residual of one of the forms
tests the tree, the advantages and, with a KL term, D: members with a shared prefix must have one D, whatever
padding or kernel. What the update really summed up is compared too: `loss_residual`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.batch import Batch
from trainer.config import TrainConfig
from trainer.tree import ProcessTree, node_means, process_set_sizes, spans
from trainer.update import UpdateResult

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
    grpo_nodes, lambda_nodes = node_sums(tree, advantage_g, ratios, kls)
    return abs(grpo_tokens - grpo_nodes) / scale, abs(lambda_tokens - lambda_nodes) / scale


def node_sums(
    tree: ProcessTree, advantage_g: Floats, ratios: Sequence[Floats], kls: Sequence[Floats]
) -> tuple[float, float]:
    """Return the sums over token-nodes: (Σ |v| (P·A - D), Σ (P·A - D)), what GRPO and λ-GRPO maximise times
    N."""
    grpo = plain = 0.0
    advantage_v = node_means(tree, advantage_g)
    for node, (first, last, start, end) in enumerate(spans(tree)):
        members = tree.order_g[first:last]
        ratio_t = np.mean([ratios[member][start:end] for member in members], axis=0)
        kl_t = np.mean([kls[member][start:end] for member in members], axis=0)
        total = float((ratio_t * advantage_v[node] - kl_t).sum())
        plain += total
        grpo += (last - first) * total
    return grpo, plain


def loss_residual(batch: Batch, result: UpdateResult, config: TrainConfig) -> float:
    """Return |loss·N + Σ| / max(1, Σ |terms|): the loss that the update computed against what it should be.

    For `grpo` and `lambda_grpo` Σ is the sum over the nodes of the trees, for other arms and with masked
    tokens or importance weights the sum over tokens. It notices a lost row or micro-batch, a stream out of
    order and a weight that did not arrive.
    """
    cap = config.importance_cap
    scale = total = 0.0
    row = 0
    for group in batch.groups:
        kls = result.kls[row : row + len(group.rows)]
        for one, kl_t, importance_t in zip(group.rows, kls, result.importance[row:], strict=False):
            rho_t = 1.0 if cap is None else np.minimum(importance_t, cap)
            term_t = one.weight_t * one.advantage * rho_t - one.kl_weight_t * kl_t
            scale += float(np.abs(term_t).sum())
            total += 0.0 if _has_node_form(config) else float(term_t.sum())
        if group.rows and _has_node_form(config):
            ones = [np.ones(len(kl_t)) for kl_t in kls]
            total += node_sums(group.tree, group.advantage_g, ones, kls)[config.arm == "lambda_grpo"]
        row += len(group.rows)
    return abs(result.loss * batch.normaliser + total) / max(1.0, scale)


def _has_node_form(config: TrainConfig) -> bool:
    plain = config.truncated == "kept" and config.importance_cap is None
    return plain and config.arm in ("grpo", "lambda_grpo")


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
