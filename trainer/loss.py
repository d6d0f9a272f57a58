"""The objective, token by token. It sees flat streams and weights; it has never heard of trees or arms."""

from __future__ import annotations

import torch
from torch import Tensor


def policy_term(ratio_n: Tensor, advantage_n: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Return min(P a, clip(P, 1 - ε_low, 1 + ε_high) a) (arXiv 2509.21154, section 2).

    Args:
        ratio_n: (N,) P = exp(logp - old logp), with gradient. With one update per batch P is 1 in value, so
            only its gradient acts and nothing can leave the clip range.
        advantage_n: (N,) the advantage of each token's completion.
        clip_low: ε_low in (0, 1].
        clip_high: ε_high > 0.

    Returns:
        (N,) the policy term of each token, to be maximised.
    """
    return torch.minimum(ratio_n * advantage_n, ratio_n.clamp(1 - clip_low, 1 + clip_high) * advantage_n)


def clipped_tokens(
    ratio_n: Tensor, advantage_n: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """Return (N,) bool: where the lower and where the upper clip has cut the gradient off."""
    low = (ratio_n < 1 - clip_low) & (advantage_n < 0)
    high = (ratio_n > 1 + clip_high) & (advantage_n > 0)
    return low, high


def kl_term(logp_n: Tensor, reference_logp_n: Tensor, beta: float) -> Tensor:
    """Return D = β (π_ref/π - ln(π_ref/π) - 1), the k3 estimator, with its gradient (no score-function term).

    Args:
        logp_n: (N,) log-probabilities under the policy, with gradient.
        reference_logp_n: (N,) under the frozen starting policy.
        beta: coefficient β.

    Returns:
        (N,) non-negative.
    """
    log_ratio = reference_logp_n - logp_n
    return beta * (torch.exp(log_ratio) - log_ratio - 1)


def importance_weights(old_logp_n: Tensor, rollout_logp_n: Tensor, cap: float) -> Tensor:
    """Return min(π_old/π_rollout, cap): truncated importance sampling for rollouts drawn by another engine.

    Args:
        old_logp_n: (N,) the trainer's log-probabilities before the update, without gradient.
        rollout_logp_n: (N,) those under which the tokens were drawn.
        cap: upper bound; math.inf only measures.
    """
    return torch.exp(old_logp_n - rollout_logp_n).clamp(max=cap)


def weighted_loss(
    policy_n: Tensor, kl_n: Tensor, policy_weight_n: Tensor, kl_weight_n: Tensor, normaliser: float
) -> Tensor:
    """Return -(1/N) Σ (w·P·a - w_kl·D) over the tokens at hand.

    The normaliser belongs to the whole optimizer step, so the losses of its micro-batches add up.
    """
    return -(policy_weight_n * policy_n - kl_weight_n * kl_n).sum() / normaliser
