"""Hand new weights to the rollout engine, and prove after every update that it holds them."""

from __future__ import annotations

from transformers import PreTrainedModel

from tasks.engines import Dtype, Engine
from tasks.engines.forward import score
from tasks.engines.proof import TOLERANCE, prove_weights
from trainer.lora import plain_weights


def sync_weights(model: PreTrainedModel, engine: Engine, probes: list[list[int]], dtype: Dtype) -> float:
    """Update the engine and compare it with a plain forward of the trained model on fixed prompts.

    Returns:
        The largest difference in nats.

    Raises:
        WeightMismatch: the engine does not hold the new weights; its rollouts would be off-policy unseen.
    """
    engine.update(plain_weights(model))
    return prove_weights(engine, probes, score(model, probes, len(probes)), TOLERANCE[dtype])
