"""Hand new weights to the rollout engine, and prove after every update that it holds them."""

from __future__ import annotations

from tasks.engines import Dtype, WeightMismatch
from tasks.engines.forward import score
from tasks.engines.proof import TOLERANCE, prove_weights
from trainer.distributed import gather
from trainer.lora import plain_weights
from trainer.open_policy import Policy


def sync_weights(policy: Policy, dtype: Dtype) -> float:
    """Update the engine and compare it with a plain forward of the trained model on fixed prompts.

    Returns:
        The largest difference in nats over all processes; 0 where the engine decodes with the model itself.

    Raises:
        WeightMismatch: the engine does not hold the new weights; its rollouts would be off-policy unseen.
    """
    if policy.live:
        return 0.0
    policy.engine.update(plain_weights(policy.model))
    expected = score(policy.model, policy.probes, len(policy.probes))
    gap, trouble = 0.0, ""
    try:
        gap = prove_weights(policy.engine, policy.probes, expected, TOLERANCE[dtype])
    except WeightMismatch as mismatch:
        trouble = str(mismatch)
    # every process learns of it: the one that keeps the log, and those that would wait for ever
    everywhere = gather((gap, trouble))
    for _, told in everywhere:
        if told:
            raise WeightMismatch(told)
    return max(one for one, _ in everywhere)
