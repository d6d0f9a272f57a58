"""Hand new weights to the rollout engine, and prove after every update that it holds them."""

from __future__ import annotations

from tasks.engines import Dtype
from tasks.engines.forward import score
from tasks.engines.proof import TOLERANCE, prove_weights
from trainer.lora import plain_weights
from trainer.open_policy import Policy


def sync_weights(policy: Policy, dtype: Dtype) -> float:
    """Update the engine and compare it with a plain forward of the trained model on fixed prompts.

    Returns:
        The largest difference in nats; 0 for an engine that decodes with the trained module itself.

    Raises:
        WeightMismatch: the engine does not hold the new weights; its rollouts would be off-policy unseen.
    """
    if policy.live:
        return 0.0
    policy.engine.update(plain_weights(policy.model))
    expected = score(policy.model, policy.probes, len(policy.probes))
    return prove_weights(policy.engine, policy.probes, expected, TOLERANCE[dtype])
