"""The objective, token by token. It sees flat streams and weights; it has never heard of trees."""

from __future__ import annotations

import torch
from torch import Tensor


def policy_term(logp_n: Tensor, old_logp_n: Tensor, advantage_n: Tensor) -> Tensor:
    """Return P·a with the ratio P = exp(logp - old logp) (arXiv 2509.21154, section 2).

    With one update per batch the old policy is the current one, so P is 1 in value and only its gradient
    acts; nothing is clipped because nothing can leave the clip range.

    Args:
        logp_n: (N,) log-probabilities of the sampled tokens, at the sampling temperature, with gradient.
        old_logp_n: (N,) the same before the update, without gradient.
        advantage_n: (N,) the advantage of each token's completion.

    Returns:
        (N,) the policy term of each token, to be maximised.
    """
    return torch.exp(logp_n - old_logp_n) * advantage_n


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


def weighted_loss(policy_n: Tensor, kl_n: Tensor, weight_n: Tensor, normaliser: float) -> Tensor:
    """Return -(1/N) Σ w·(P·a - D) over the tokens at hand; the weight divides the KL term too.

    The normaliser belongs to the whole optimizer step, so the losses of its micro-batches add up.
    """
    return -(weight_n * (policy_n - kl_n)).sum() / normaliser
